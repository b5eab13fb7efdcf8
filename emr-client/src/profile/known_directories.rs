//! The current key epochs of the patient's own key directories. Kept durably: a node removes a directory a day after another one replaced it, and
//! keys that a delegate handed on lead into the directory of that time.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use alloy::primitives::Address;
use emr_core::{AccountIndex, Class, ClassMask};
use emr_crypto::{DirectoryRoot, KeyEpoch};
use emr_durable::Disk;
use emr_rollup::operation::DirectoryCommitment;
use serde::{Deserialize, Serialize};

use crate::profile::{
    OwnedAccount,
    durable::{self, FileError},
};

/// How many directories are kept, the newest. Of an older one, the epochs count as those of today, so at worst a new epoch begins that nobody
/// needs. A node names at most 64 directories of which delegates handed on keys.
const MOST: usize = 512;
/// The largest file that is read, in bytes. [`MOST`] directories take about 260,000.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The current epoch of each class in a key directory, by the class's code. JSON: a list of 16 numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CurrentEpochs([KeyEpoch; 16]);

impl CurrentEpochs {
    /// Those of a directory.
    pub fn of(directory: &DirectoryRoot) -> Self {
        Self(Class::ALL.map(|class| directory.current_public(class).epoch()))
    }

    /// The classes that have a later epoch here than in `earlier`.
    pub fn later_than(&self, earlier: &Self) -> ClassMask {
        let epochs = Class::ALL.into_iter().zip(self.0.iter().zip(&earlier.0));
        epochs.filter(|(_, (here, earlier))| here > earlier).map(|(class, _)| class).collect()
    }
}

/// An entry of the file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    account: AccountIndex,
    owner: Address,
    directory: DirectoryCommitment,
    epochs: CurrentEpochs,
}

/// The file.
#[derive(Debug)]
pub(super) struct KnownDirectories {
    disk: Disk,
    path: PathBuf,
    /// The oldest first.
    known: Mutex<Vec<Entry>>,
}

impl KnownDirectories {
    pub(super) fn open(disk: &Disk, path: PathBuf) -> Result<Self, FileError> {
        let known = Mutex::new(durable::read_json(&path, MAX_FILE_BYTES)?.unwrap_or_default());
        Ok(Self { disk: disk.clone(), path, known })
    }

    /// The epochs of a directory of this patient. `None` if they are not known.
    pub(super) fn epochs(&self, patient: OwnedAccount, directory: DirectoryCommitment) -> Option<CurrentEpochs> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().rev().find(|entry| entry.is(patient, directory)).map(|entry| entry.epochs)
    }

    /// Notes the epochs of directories. What is known of a directory stays as it is.
    pub(super) fn note(
        &self,
        patient: OwnedAccount,
        directories: &BTreeMap<DirectoryCommitment, CurrentEpochs>,
    ) -> Result<(), FileError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut noted = known.clone();
        for (directory, epochs) in directories {
            if !noted.iter().any(|entry| entry.is(patient, *directory)) {
                let OwnedAccount { account, owner } = patient;
                noted.push(Entry { account, owner, directory: *directory, epochs: *epochs });
            }
        }
        if noted.len() > known.len() {
            noted.drain(..noted.len().saturating_sub(MOST));
            durable::replace_json(&self.disk, &self.path, &noted)?;
            *known = noted;
        }
        Ok(())
    }
}

impl Entry {
    fn is(&self, patient: OwnedAccount, directory: DirectoryCommitment) -> bool {
        (self.account, self.owner, self.directory) == (patient.account, patient.owner, directory)
    }
}

#[cfg(test)]
mod tests {
    use emr_rollup::primitive::field::Fr;

    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn epochs(laboratory: u32, others: u32) -> Result<CurrentEpochs, Box<dyn std::error::Error>> {
        let (laboratory, others) = (KeyEpoch::try_from(laboratory)?, KeyEpoch::try_from(others)?);
        Ok(CurrentEpochs(Class::ALL.map(|class| if class == Class::Laboratory { laboratory } else { others })))
    }

    #[test]
    fn only_a_later_epoch_is_later() -> TestResult {
        let (lab, all) = (ClassMask::from(Class::Laboratory), ClassMask::ALL);
        assert_eq!(epochs(2, 1)?.later_than(&epochs(1, 1)?), lab);
        assert_eq!(epochs(3, 3)?.later_than(&epochs(2, 1)?), all);
        for same_or_earlier in [epochs(2, 1)?, epochs(3, 1)?] {
            assert_eq!(epochs(2, 1)?.later_than(&same_or_earlier), ClassMask::default());
        }
        Ok(())
    }

    #[test]
    fn the_newest_are_kept_and_each_patient_has_their_own() -> TestResult {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("directories.json");
        let owned = |owner| -> Result<_, emr_core::OutOfRange> {
            Ok(OwnedAccount { account: AccountIndex::new(4)?, owner: Address::repeat_byte(owner) })
        };
        let (patient, other) = (owned(1)?, owned(2)?);
        let directory = |number: usize| DirectoryCommitment::from(Fr::from(number as u64));
        let known = KnownDirectories::open(&Disk::default(), path.clone())?;
        known.note(patient, &BTreeMap::from([(directory(0), epochs(2, 1)?)]))?;
        // A later claim about the same directory changes nothing.
        known.note(patient, &BTreeMap::from([(directory(0), epochs(1, 1)?)]))?;
        let known = KnownDirectories::open(&Disk::default(), path.clone())?;
        assert_eq!(known.epochs(patient, directory(0)), Some(epochs(2, 1)?));
        assert_eq!(known.epochs(patient, directory(1)), None);
        assert_eq!(known.epochs(other, directory(0)), None, "another owner of the account");
        let epochs = epochs(3, 3)?;
        known.note(other, &(1..=MOST).map(|number| (directory(number), epochs)).collect())?;
        let known = KnownDirectories::open(&Disk::default(), path)?;
        assert_eq!(known.epochs(patient, directory(0)), None, "the oldest");
        assert_eq!(known.epochs(other, directory(MOST)), Some(epochs));
        Ok(())
    }
}
