//! Keys made with OpenSSL for these tests (`tests/fixtures/README.md`), and an in-memory store of blocks.

use std::collections::HashMap;
use std::sync::LazyLock;

use cid::Cid;
use emr_core::{AccountIndex, Class, RecordSlot, Version};
use emr_crypto::{
    AuthoredRecord, DirectoryRoot, EncryptionSecret, KeyDirectory, KeyProfile, PatientDirectory, RecordContext,
    RsaSecret, SealedRecord, SigningContext,
};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../fixtures/", $name)).as_slice()
    };
}
pub(crate) use fixture;

fn secret(pem: &[u8]) -> RsaSecret {
    RsaSecret::from_pem(std::str::from_utf8(pem).unwrap()).unwrap()
}

/// The RSA keys alone.
pub(crate) mod rsa {
    use super::*;

    pub(crate) static PATIENT: LazyLock<RsaSecret> = LazyLock::new(|| secret(fixture!("patient-3072.pem")));
    pub(crate) static DOCTOR: LazyLock<RsaSecret> = LazyLock::new(|| secret(fixture!("doctor-3072.pem")));
    /// The file is in PKCS#1 form.
    pub(crate) static OTHER_DOCTOR: LazyLock<RsaSecret> = LazyLock::new(|| secret(fixture!("doctor-2048.pem")));
    pub(crate) static HOSPITAL: LazyLock<RsaSecret> = LazyLock::new(|| secret(fixture!("hospital-4096.pem")));
}

/// An RSA key with a new X-Wing key.
pub(crate) fn hybrid(rsa: &RsaSecret) -> EncryptionSecret {
    EncryptionSecret::with_rsa(rsa.clone(), KeyProfile::Hybrid)
}

pub(crate) static PATIENT: LazyLock<EncryptionSecret> = LazyLock::new(|| hybrid(&secret(fixture!("patient-3072.pem"))));
pub(crate) static DOCTOR: LazyLock<EncryptionSecret> = LazyLock::new(|| hybrid(&secret(fixture!("doctor-3072.pem"))));
/// RSA alone; the file is in PKCS#1 form.
pub(crate) static OTHER_DOCTOR: LazyLock<EncryptionSecret> =
    LazyLock::new(|| secret(fixture!("doctor-2048.pem")).into());
pub(crate) static HOSPITAL: LazyLock<EncryptionSecret> =
    LazyLock::new(|| hybrid(&secret(fixture!("hospital-4096.pem"))));

/// The directory as a reader gets it: decoded from its blocks.
pub(crate) fn fetched(directory: &PatientDirectory) -> KeyDirectory {
    reassembled(directory.published())
}

pub(crate) fn reassembled(directory: &KeyDirectory) -> KeyDirectory {
    let root = DirectoryRoot::from_bytes(directory.root().to_bytes()).unwrap();
    let blocks: Blocks = Blocks(directory.blocks().map(|(cid, block)| (cid, block.to_vec())).collect());
    let in_order: Vec<_> = root.links().map(|link| blocks.get(link).unwrap()).collect();
    KeyDirectory::assemble(root, in_order).unwrap()
}

pub(crate) fn account(index: u64) -> AccountIndex {
    AccountIndex::new(index).unwrap()
}

pub(crate) fn context(class: Class) -> RecordContext {
    RecordContext {
        domain: [0xd0; 32],
        patient: account(5),
        slot: RecordSlot::new(3).unwrap(),
        version: Version::new(1).unwrap(),
        class,
    }
}

/// A record by [`DOCTOR`].
pub(crate) fn authored(record: Vec<u8>) -> AuthoredRecord {
    let authorship = b"an authorship".to_vec();
    AuthoredRecord {
        record,
        signature: DOCTOR.rsa().sign_pss(SigningContext::AUTHORSHIP, &authorship),
        authorship,
        author: account(7),
        author_key: DOCTOR.public().committed(None),
        commitment_seed: [0xc0; 32],
        attachments: Vec::new(),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no such block")]
pub(crate) struct NoSuchBlock;

/// The blocks that a node holds.
#[derive(Clone, Default)]
pub(crate) struct Blocks(pub(crate) HashMap<Cid, Vec<u8>>);

impl Blocks {
    pub(crate) fn of(sealed: &SealedRecord) -> Self {
        Self(sealed.blocks.iter().cloned().collect())
    }

    pub(crate) fn get(&self, cid: &Cid) -> Result<Vec<u8>, NoSuchBlock> {
        self.0.get(cid).cloned().ok_or(NoSuchBlock)
    }

    /// Stores bytes under their CID, as anyone can.
    pub(crate) fn put(&mut self, codec: u64, bytes: Vec<u8>) -> Cid {
        use sha2::{Digest, Sha256};
        let hash = cid::multihash::Multihash::wrap(0x12, &Sha256::digest(&bytes)).unwrap();
        let cid = Cid::new_v1(codec, hash);
        self.0.insert(cid, bytes);
        cid
    }

    /// A manifest with these links, made by someone else.
    pub(crate) fn put_manifest(&mut self, links: &[Cid]) -> Cid {
        let bytes = serde_ipld_dagcbor::to_vec(&links).unwrap();
        self.put(0x71, bytes)
    }
}
