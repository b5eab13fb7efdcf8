//! Key directories of test patients.

use std::sync::LazyLock;

use emr_api::NamedEpoch;
use emr_core::{AccountIndex, Class};
use emr_crypto::{Past, PatientDirectory};

use crate::people::people;

static FIRST: LazyLock<PatientDirectory> = LazyLock::new(|| PatientDirectory::create(&people().patient.identity));

/// A directory in which every class is in its first epoch. Each call gives another directory with another address, but with the same epoch
/// keys. So a test can name the epoch of a record without the directory that the node has.
pub fn first_directory() -> PatientDirectory {
    let mut directory = FIRST.clone();
    let reader = AccountIndex::new(AccountIndex::MAX).expect("in range");
    let granted =
        directory.grant(reader, people().doctor.identity.encryption_key(), Class::Summary.into(), Past::Included);
    granted.expect("room for a reader");
    directory
}

/// The epoch of a class in every [`first_directory`].
pub fn first_epoch(class: Class) -> NamedEpoch {
    NamedEpoch::from(&FIRST.published().current_public(class))
}
