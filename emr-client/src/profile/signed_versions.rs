//! The highest version that was ever signed for each grant slot of a patient, kept durably. A Revoke must go beyond all of them.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use alloy::primitives::Address;
use emr_core::{AccountIndex, GrantSlot, Version};
use emr_durable::Disk;
use serde::{Deserialize, Serialize};

use crate::profile::{
    OwnedAccount,
    durable::{self, FileError},
};

/// The largest file that is read, in bytes. A patient's 960 slots take about 150,000.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// An entry of the file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    account: AccountIndex,
    owner: Address,
    slot: GrantSlot,
    version: Version,
}

impl Signed {
    const fn of((patient, slot): (OwnedAccount, GrantSlot), version: Version) -> Self {
        Self { account: patient.account, owner: patient.owner, slot, version }
    }

    const fn entry(self) -> ((OwnedAccount, GrantSlot), Version) {
        ((OwnedAccount { account: self.account, owner: self.owner }, self.slot), self.version)
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct SignedVersions {
    disk: Disk,
    path: PathBuf,
    known: Mutex<BTreeMap<(OwnedAccount, GrantSlot), Version>>,
}

impl SignedVersions {
    /// Reads the file, if there is one.
    pub(super) fn open(disk: &Disk, path: PathBuf) -> Result<Self, FileError> {
        let list: Vec<Signed> = durable::read_json(&path, MAX_FILE_BYTES)?.unwrap_or_default();
        let known = Mutex::new(list.into_iter().map(Signed::entry).collect());
        Ok(Self { disk: disk.clone(), path, known })
    }

    /// The highest version of a slot, or 0.
    pub(super) fn highest(&self, patient: OwnedAccount, slot: GrantSlot) -> Version {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(patient, slot)).copied().unwrap_or(Version::ZERO)
    }

    /// Notes durably that a version is about to be signed.
    pub(super) fn note(&self, patient: OwnedAccount, slot: GrantSlot, version: Version) -> Result<(), FileError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&(patient, slot)).is_some_and(|known| version <= *known) {
            return Ok(());
        }
        let mut versions = known.clone();
        versions.insert((patient, slot), version);
        let list: Vec<_> = versions.iter().map(|(of, version)| Signed::of(*of, *version)).collect();
        durable::replace_json(&self.disk, &self.path, &list)?;
        *known = versions;
        Ok(())
    }
}
