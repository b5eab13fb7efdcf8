//! A version for each grant slot, which only rises. Kept durably.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use emr_core::{AccountIndex, GrantSlot, Version};
use emr_durable::Disk;

use crate::profile::durable::{self, FileError};

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// A file of versions, by account and slot.
#[derive(Debug)]
pub(super) struct SlotVersions {
    disk: Disk,
    path: PathBuf,
    versions: Mutex<BTreeMap<(AccountIndex, GrantSlot), Version>>,
}

impl SlotVersions {
    pub(super) fn open(disk: &Disk, path: PathBuf) -> Result<Self, FileError> {
        let list: Vec<(AccountIndex, GrantSlot, Version)> =
            durable::read_json(&path, MAX_FILE_BYTES)?.unwrap_or_default();
        let versions = list.into_iter().map(|(account, slot, version)| ((account, slot), version)).collect();
        Ok(Self { disk: disk.clone(), path, versions: Mutex::new(versions) })
    }

    /// The slot's version, or 0.
    pub(super) fn get(&self, account: AccountIndex, slot: GrantSlot) -> Version {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.get(&(account, slot)).copied().unwrap_or(Version::ZERO)
    }

    /// Raises versions. Returns how many of them are higher than before. What is not higher changes nothing.
    pub(super) fn raise(
        &self,
        account: AccountIndex,
        slots: impl IntoIterator<Item = (GrantSlot, Version)>,
    ) -> Result<usize, FileError> {
        let mut known = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut versions = known.clone();
        let mut raised = 0;
        for (slot, version) in slots {
            let before = versions.entry((account, slot)).or_insert(Version::ZERO);
            if version > *before {
                *before = version;
                raised += 1;
            }
        }
        if raised > 0 {
            let list: Vec<_> = versions.iter().map(|((account, slot), version)| (account, slot, version)).collect();
            durable::replace_json(&self.disk, &self.path, &list)?;
            *known = versions;
        }
        Ok(raised)
    }
}
