//! The keys that a delegate hands on, from a node.

use std::sync::LazyLock;

use emr_core::ClassMask;
use emr_crypto::{DelegatedKeys, EncryptionKey, KeyDirectory, RsaSecret};

use crate::craft::{self, Open};

static DIRECTORY: LazyLock<KeyDirectory> = LazyLock::new(crate::directory::first);

pub(crate) fn check(data: &[u8]) -> bool {
    let Ok(keys) = DelegatedKeys::from_bytes(data) else { return false };
    assert_eq!(keys.to_bytes(), data, "one byte form");
    match keys.open(&Open, &DIRECTORY, ClassMask::ALL) {
        Ok(ring) => {
            let patient = DIRECTORY.open_for(&Open).expect("a reader");
            if let Err(error) = keys.reader_key(&patient, ClassMask::ALL) {
                crate::one_line(&error);
            }
            drop(ring);
        }
        Err(error) => crate::one_line(&error),
    }
    true
}

pub(crate) fn seeds() -> crate::Seeds {
    let links = DIRECTORY.links_of(&Open)?;
    let reader = RsaSecret::from_pem(crate::public_key::DOCTOR)?.public();
    let xwing = Some(craft::PUBLIC.clone());
    let seal = |reader: EncryptionKey| DelegatedKeys::hand_on(&links, &DIRECTORY, links.classes(), &reader);
    let blocks = [seal(reader.clone().into())?, seal(EncryptionKey::new(reader, xwing))?];
    Ok(blocks.map(|block| block.to_bytes().to_vec()).into())
}
