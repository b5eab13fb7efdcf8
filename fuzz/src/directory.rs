//! A key directory by a dishonest owner: any sections, segments and list of readers, sealed with the right keys. Its reader must end, and accept only epochs
//! that follow each other up to the published key.
//!
//! Parts of the input: the current epoch of all classes (up to 4 bytes), the section of the only reader, the owner's section, the only block
//! of the list of readers (none if it is empty), the segments (at most 256).

use emr_core::cid::cid_of;
use emr_core::{Cid, Class, Codec};
use emr_crypto::{DirectoryRoot, KeyDirectory, PatientDirectory, RsaSecret};
use serde::Serialize;
use serde_bytes::{ByteBuf, Bytes};
use sha2::{Digest, Sha256};

use crate::craft::{self, KEY, Open, PUBLIC, SECRET};

#[derive(Serialize)]
struct Section {
    wrap: ByteBuf,
    sealed: ByteBuf,
    algorithm: &'static str,
}

#[derive(Serialize)]
struct Node {
    owner: Section,
    classes: Vec<(u32, ByteBuf)>,
    readers: Vec<Cid>,
    sections: Vec<Cid>,
    version: u8,
    segments: Vec<Cid>,
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("plain data")
}

fn section(plaintext: &[u8], aad: &[u8]) -> Section {
    let sealed = craft::seal(&KEY, [0; 12], aad, &craft::padded(plaintext, 1024)).into();
    Section { wrap: KEY.to_vec().into(), sealed, algorithm: "RSA-OAEP-256" }
}

/// The root and the blocks that these parts make.
fn crafted(parts: &[&[u8]]) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let [epoch, reader, owner, list, segments @ ..] = parts else { return None };
    let epoch = epoch.iter().take(4).fold(0_u32, |epoch, byte| epoch << 8 | u32::from(*byte));
    let classes: Vec<(u32, ByteBuf)> = Class::ALL.map(|_| (epoch, PUBLIC.as_bytes().to_vec().into())).into();
    let aad = Sha256::digest(encoded(&classes));
    let seal = |segment: &&[u8]| craft::seal(&KEY, [0; 12], &aad, &craft::padded(segment, 192)).into();
    let segments: Vec<ByteBuf> = segments.iter().take(256).map(seal).collect();
    let mut blocks = vec![encoded(&[section(reader, &aad)]), encoded(&segments)];
    if !list.is_empty() {
        blocks.push(encoded(&[ByteBuf::from(craft::seal(&KEY, [0; 12], &aad, &craft::padded(list, 2048)))]));
    }
    let sections = vec![cid_of(Codec::DagCbor, &blocks[0])];
    let segments = vec![cid_of(Codec::DagCbor, &blocks[1])];
    let readers: Vec<Cid> = blocks[2..].iter().map(|block| cid_of(Codec::DagCbor, block)).collect();
    let owner = section(owner, &Sha256::digest(encoded(&(&classes, &sections, &segments, &readers))));
    Some((encoded(&Node { owner, classes, readers, sections, version: 2, segments }), blocks))
}

pub(crate) fn check(data: &[u8]) -> bool {
    let Some((root, blocks)) = crafted(&craft::parts(data)) else { return false };
    let Ok(root) = DirectoryRoot::from_bytes(&root) else { return false };
    let Ok(directory) = KeyDirectory::assemble(root, blocks) else { return false };
    let current = directory.current_public(Class::Summary).epoch();
    let read = directory.open_for(&Open);
    if let Ok(keys) = &read {
        let epochs = Class::ALL.into_iter().filter_map(|class| keys.epochs(class));
        assert!(epochs.into_iter().all(|(first, last)| first <= last && last == current));
    }
    let own = PatientDirectory::open(directory, &Open);
    if let Ok(own) = &own {
        let keys = own.keyring();
        assert!(Class::ALL.into_iter().all(|class| keys.epochs(class).is_some_and(|(first, _)| first.get() == 1)));
    }
    read.is_ok() && own.is_ok()
}

/// Three epochs in two segments; the reader reads some classes from the second segment on.
fn inputs() -> Vec<Vec<u8>> {
    let (secret, key) = (Bytes::new(&SECRET), Bytes::new(&KEY));
    let reader = encoded(&[(0_u8, (1_u32, key)), (5, (0, key))]);
    let owner = |keys: &[&Bytes]| encoded(&([(0_u32, key); 16], keys));
    let two = [encoded(&(1_u32, [secret; 2], Some((1_u32, key)))), encoded(&(3_u32, [secret], ()))];
    let one = encoded(&(1_u32, [secret], ()));
    let of_one = encoded(&[(5_u8, (0_u32, key))]);
    vec![
        craft::joined(&[vec![3], reader, owner(&[]), Vec::new(), two[0].clone(), two[1].clone()]),
        craft::joined(&[vec![1], of_one.clone(), owner(&[]), Vec::new(), one.clone()]),
        craft::joined(&[vec![1], of_one, owner(&[key]), listed(), one]),
    ]
}

/// A list of one reader.
fn listed() -> Vec<u8> {
    #[derive(Serialize)]
    struct Reader {
        account: u32,
        algorithm: &'static str,
        classes: Vec<(u8, u32)>,
        key: ByteBuf,
    }
    let key = RsaSecret::from_pem(crate::public_key::DOCTOR).expect("a key").public().to_der().into();
    encoded(&[Reader { account: 7, algorithm: "RSA-OAEP-256", classes: vec![(5, 1)], key }])
}

pub(crate) fn seeds() -> crate::Seeds {
    Ok(inputs())
}

/// The first two as published directories, as the target `key_directory` takes them.
pub(crate) fn published() -> crate::Seeds {
    let all = inputs().into_iter().take(2).map(|input| {
        let (root, blocks) = crafted(&craft::parts(&input))?;
        Some(craft::joined(&[&[crate::key_directory::without_keys(&root)][..], &blocks].concat()))
    });
    all.collect::<Option<_>>().ok_or_else(|| "too few parts".into())
}

/// The first of them.
pub(crate) fn first() -> KeyDirectory {
    let (root, blocks) = crafted(&craft::parts(&inputs()[0])).expect("all parts");
    KeyDirectory::assemble(DirectoryRoot::from_bytes(&root).expect("a root"), blocks).expect("a directory")
}
