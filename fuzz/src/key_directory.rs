//! A key directory from a node, as bytes: its root and its blocks. The links in the root are changed to those of the blocks. Otherwise
//! every changed block would be refused before it is decoded.
//!
//! Parts of the input: the root, and each block. In the root, the byte string "key" stands for an X-Wing public key: sixteen keys of 1216 bytes
//! would leave nothing to the fuzzer.

use emr_crypto::{DirectoryRoot, KeyDirectory, PatientDirectory};
use serde_bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::craft::{self, Open, PUBLIC};

/// "key" as a DAG-CBOR byte string.
const SHORT: &[u8] = b"\x43key";

/// The public key as a DAG-CBOR byte string.
fn key() -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(Bytes::new(PUBLIC.as_bytes())).expect("bytes")
}

fn replaced(mut bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut result = Vec::new();
    while let Some(at) = bytes.windows(old.len()).position(|window| window == old) {
        result.extend_from_slice(&bytes[..at]);
        result.extend_from_slice(new);
        bytes = &bytes[at + old.len()..];
    }
    result.extend_from_slice(bytes);
    result
}

/// The root of a crafted directory as this target takes it.
pub(crate) fn without_keys(root: &[u8]) -> Vec<u8> {
    replaced(root, &key(), SHORT)
}

/// The root with the digests of these blocks in its links.
fn relinked(root: &DirectoryRoot, blocks: &[&[u8]]) -> Vec<u8> {
    let mut bytes = root.to_bytes().to_vec();
    for (link, block) in root.links().zip(blocks) {
        let digest = link.hash().digest();
        if let Some(at) = bytes.windows(digest.len()).position(|window| window == digest) {
            bytes[at..at + digest.len()].copy_from_slice(&Sha256::digest(block));
        }
    }
    bytes
}

pub(crate) fn check(data: &[u8]) -> bool {
    let parts = craft::parts(data);
    let [root, blocks @ ..] = parts.as_slice() else { return false };
    let root = replaced(root, SHORT, &key());
    let root = match DirectoryRoot::from_bytes(&root) {
        Ok(read) => {
            assert_eq!(read.to_bytes(), root, "one byte form");
            DirectoryRoot::from_bytes(&relinked(&read, blocks))
        }
        Err(error) => {
            crate::one_line(&error);
            return false;
        }
    };
    // Two equal blocks have equal links.
    let Ok(root) = root else { return false };
    let directory = match KeyDirectory::assemble(root, blocks.iter().map(|block| block.to_vec())) {
        Ok(directory) => directory,
        Err(error) => {
            crate::one_line(&error);
            return false;
        }
    };
    assert!(directory.blocks().map(|(_, block)| block).take(blocks.len()).eq(blocks.iter().copied()), "one byte form");
    let cid = directory.cid();
    if let Err(error) = directory.open_for(&Open) {
        crate::one_line(&error);
    }
    match PatientDirectory::open(directory, &Open) {
        Ok(own) => assert_eq!(own.published().cid(), cid),
        Err(error) => crate::one_line(&error),
    }
    true
}

pub(crate) fn seeds() -> crate::Seeds {
    // Crafted and not random, so that the corpus does not change with each run.
    crate::directory::published()
}
