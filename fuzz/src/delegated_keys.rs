//! The keys that a delegate hands on, from a node.

use std::sync::LazyLock;

use emr_core::ClassMask;
use emr_crypto::{DelegatedKeys, KeyDirectory};

use crate::craft::Open;

static DIRECTORY: LazyLock<KeyDirectory> = LazyLock::new(|| {
    let published = crate::directory::published().expect("directories");
    KeyDirectory::from_bytes(published.first().expect("one")).expect("a directory")
});

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
    let reader = emr_crypto::RsaSecret::from_pem(crate::public_key::DOCTOR)?.public();
    Ok(vec![DelegatedKeys::hand_on(&links, &DIRECTORY, links.classes(), &reader)?.to_bytes().to_vec()])
}
