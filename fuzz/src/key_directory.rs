//! A key directory from a node, as bytes.

use emr_crypto::{KeyDirectory, PatientDirectory};

use crate::craft::Open;

pub(crate) fn check(data: &[u8]) -> bool {
    let Ok(directory) = KeyDirectory::from_bytes(data) else { return false };
    assert_eq!(directory.to_bytes(), data, "one byte form");
    if let Err(error) = directory.open_for(&Open) {
        crate::one_line(&error);
    }
    match PatientDirectory::open(directory, &Open) {
        Ok(own) => assert_eq!(own.published().to_bytes(), data),
        Err(error) => crate::one_line(&error),
    }
    true
}

pub(crate) fn seeds() -> crate::Seeds {
    // Crafted and not random, so that the corpus does not change with each run.
    crate::directory::published()
}
