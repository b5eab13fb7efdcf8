//! The grants of others of which the patient was told, emergency grants or those of delegates: the newest version in each slot. Kept durably.
//!
//! Each epoch of the patient has its own versions: they may begin again after a forced revocation, which begins an epoch. A grant that outlasts
//! an epoch is told once more.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use alloy::primitives::Address;
use emr_core::{AccountEpoch, AccountIndex, GrantSlot, Version};
use emr_durable::Disk;

use crate::profile::{
    OwnedAccount,
    durable::{self, FileError},
};

/// The largest file that is read, in bytes. The 1,024 slots of a patient take about 130,000.
const MAX_FILE_BYTES: u64 = 512 << 10;

/// A patient in one of their epochs.
pub(crate) type InEpoch = (OwnedAccount, AccountEpoch);

/// The file.
#[derive(Debug)]
pub(super) struct KnownGrants {
    disk: Disk,
    path: PathBuf,
    newest: Mutex<BTreeMap<(InEpoch, GrantSlot), Version>>,
}

impl KnownGrants {
    pub(super) fn open(disk: &Disk, path: PathBuf) -> Result<Self, FileError> {
        let list: Vec<(AccountIndex, Address, AccountEpoch, GrantSlot, Version)> =
            durable::read_json(&path, MAX_FILE_BYTES)?.unwrap_or_default();
        let entry =
            |(account, owner, epoch, slot, version)| (((OwnedAccount { account, owner }, epoch), slot), version);
        let newest = Mutex::new(list.into_iter().map(entry).collect());
        Ok(Self { disk: disk.clone(), path, newest })
    }

    /// Whether this grant, or a newer one of its slot, was noted.
    pub(super) fn knows(&self, patient: InEpoch, slot: GrantSlot, version: Version) -> bool {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.get(&(patient, slot)).is_some_and(|newest| version <= *newest)
    }

    /// Notes grants. Returns how many of them are new.
    pub(super) fn note(
        &self,
        patient: InEpoch,
        grants: impl IntoIterator<Item = (GrantSlot, Version)>,
    ) -> Result<usize, FileError> {
        let mut known = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = known.clone();
        let mut new = 0;
        for (slot, version) in grants {
            let before = newest.entry((patient, slot)).or_insert(Version::ZERO);
            if version > *before {
                *before = version;
                new += 1;
            }
        }
        if new > 0 {
            let list: Vec<_> = newest
                .iter()
                .map(|(((of, epoch), slot), version)| (of.account, of.owner, epoch, slot, version))
                .collect();
            durable::replace_json(&self.disk, &self.path, &list)?;
            *known = newest;
        }
        Ok(new)
    }
}
