//! How much each account may store. No writer's share fills a patient's space, and no patient uses up the room for the
//! key directories of others. A Revoke that leaves the directory as it is needs no room. So no quota stops a Revoke.

use std::collections::BTreeMap;

use emr_api::StorageAmount;
use emr_core::{AccountIndex, Codec};
use emr_crypto::is_directory_block;
use emr_ipfs::Cid;
use emr_rollup::{
    operation::{Blocks, Operation},
    state::ledger::PatientLeaves,
};

use super::space::Free;
use crate::{
    mempool::{Charge, Mempool, Principal, Referenced, Staging, Usage},
    request_error::{RequestError, RequestErrorKind},
};

const GIB: u64 = 1 << 30;
/// One patient's key directories take at most this part of the free space.
const SHARES: u64 = 64;

/// The limits of one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quotas {
    /// What an account may have in staging: as many blocks as the largest record that can be walked.
    pub(crate) staged: Usage,
    /// What all accounts together may have in staging.
    pub(crate) staged_by_all: Usage,
    /// What the key directories of one patient may take while there is much space, in staging and held together. They
    /// count in no other limit, so that a Revoke finds room for its directory.
    pub(crate) directories: Usage,
    /// What they may take as long as the disk has any space for directories. It is kept free for every patient.
    pub(crate) least_directories: Usage,
    /// It is kept free for at least this many patients.
    pub(crate) least_patients: u64,
    /// What one writer may use in the records of one patient. It is a quarter of the patient's space, so only four
    /// writers together can fill it.
    pub(crate) writer: Usage,
    /// What a patient may use in their own records. It is half of the space, so that there is room for the doctors.
    pub(crate) own: Usage,
    /// What all writers together may use in the records of one patient.
    pub(crate) patient: Usage,
    /// How many record slots of one patient a writer may hold. Deleted records count: a slot is never used again.
    pub(crate) writer_slots: usize,
    /// How many of their own 65,536 record slots a patient may hold.
    pub(crate) own_slots: usize,
    /// Free space that no block uses, so that the node can write Revokes into its file. The space for directories is kept
    /// free in addition: many accounts can fill a disk, each within its quota.
    pub(crate) kept_free: Usage,
}

impl Quotas {
    /// The limits for records allow one block for each 64 KiB. Clients cut attachments into blocks of 256 KiB.
    pub(crate) const DEFAULT: Self = Self {
        staged: Usage { bytes: StorageAmount::STAGED.bytes, blocks: StorageAmount::STAGED.blocks },
        staged_by_all: Usage { bytes: 16 * GIB, blocks: 131_072 },
        directories: Usage { bytes: 32 << 20, blocks: 1024 },
        least_directories: Usage { bytes: 1 << 20, blocks: 32 },
        least_patients: 256,
        writer: Usage { bytes: 2 * GIB, blocks: 32_768 },
        own: Usage { bytes: 4 * GIB, blocks: 65_536 },
        patient: Usage { bytes: 8 * GIB, blocks: 131_072 },
        writer_slots: 4096,
        own_slots: 32_768,
        kept_free: Usage { bytes: 128 << 20, blocks: 8192 },
    };

    /// The free space that only Revokes and key directories may use, if there are so many patients.
    fn reserve(&self, patients: usize) -> Usage {
        let (each, patients) = (self.least_directories, self.least_patients.max(patients as u64));
        Usage {
            bytes: self.kept_free.bytes.saturating_add(each.bytes.saturating_mul(patients)),
            blocks: self.kept_free.blocks.saturating_add(each.blocks.saturating_mul(patients)),
        }
    }

    /// Refuses if a disk is nearly full. Not called for a patient's Revoke of a grant, or for a key directory.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) fn check_space(&self, free: &Free, patients: usize) -> Result<(), RequestError> {
        if self.reserve(patients).is_within(&free.both()) {
            return Ok(());
        }
        Err(RequestError::unavailable(
            "this node's disk is nearly full: it takes only Revokes until its operator makes space",
        ))
    }

    /// The free bytes of the node's disk beyond what only Revokes and key directories may use.
    pub(crate) fn spare_bytes(&self, free: &Free, patients: usize) -> u64 {
        free.node.without(self.reserve(patients)).bytes
    }

    /// What one patient's key directories may take now, in staging and held together.
    ///
    /// Only the space beyond the reserve is shared, and each patient gets a small part of it: so patients who take much
    /// leave the reserve alone. From the reserve, each patient takes at most the least room. So all of them find theirs.
    pub(crate) fn directory_room(&self, free: &Free, patients: usize) -> Usage {
        let free = free.both();
        if !self.kept_free.is_within(&free) {
            return Usage::default();
        }
        let (spare, least, most) = (free.without(self.reserve(patients)), self.least_directories, self.directories);
        Usage {
            bytes: most.bytes.min(spare.bytes / SHARES).max(least.bytes),
            blocks: most.blocks.min(spare.blocks / SHARES).max(least.blocks),
        }
    }

    /// How much may be in staging now.
    pub(crate) fn staging(&self, free: &Free, patients: usize) -> Staging {
        Staging {
            each: self.staged,
            all: self.staged_by_all,
            directories: self.directory_room(free, patients),
            free: free.both().without(self.reserve(patients)),
        }
    }

    /// Whether an operation of the signer may hold the blocks of this key directory of the patient. Blocks that are held already,
    /// or that the patient uploaded, take no more room than they have.
    ///
    /// # Errors
    /// `no-directory-room`.
    pub(crate) fn check_directory(
        &self,
        mempool: &Mempool,
        signer: &Principal,
        patient: &Principal,
        directory: &[Cid],
        room: &Usage,
    ) -> Result<(), RequestError> {
        match mempool.directories_with(patient, signer, directory)? {
            Some(with) if !with.is_within(room) => Err(no_directory_room(patient.account)),
            _ => Ok(()),
        }
    }

    /// What a writer may use in a patient's records.
    pub(crate) fn share(&self, writer: AccountIndex, patient: AccountIndex) -> Usage {
        if writer == patient { self.own } else { self.writer }
    }

    /// How many slots of a patient a writer may hold.
    pub(crate) fn slots(&self, writer: AccountIndex, patient: AccountIndex) -> usize {
        if writer == patient { self.own_slots } else { self.writer_slots }
    }

    /// Whether a record with these blocks stays within its author's share and the patient's space.
    ///
    /// A Rekey stores a record a second time until its first copy is removed, a day after the Rekey is settled. The second copies together may be
    /// as large as the whole space, so that a patient can rekey all records at once, even if a writer's share is full. They do not count in the shares.
    ///
    /// # Errors
    /// [`RequestError`] that names the quota that is used up.
    pub(crate) fn check_room(
        &self,
        mempool: &Mempool,
        signer: &Principal,
        patient: &Principal,
        blocks: &Referenced,
    ) -> Result<(), RequestError> {
        let Some(author) = blocks.charge.author() else { return Ok(()) };
        let growth = mempool.growth(patient, &author, signer, &blocks.cids)?;
        if growth == Usage::default() {
            return Ok(());
        }
        let (used, _) = mempool.used(patient)?;
        let all = used.values().copied().fold(growth, Usage::and);
        if !all.is_within(&self.patient.and(self.patient)) {
            let full = format!(
                "the records of patient {} would have more than twice {}: old ciphertext counts until it is removed, a day \
                 after the rekey that replaced it is settled; try again then",
                patient.account,
                written(&self.patient)
            );
            return Err(RequestError::new(RequestErrorKind::TooLarge, full));
        }
        if matches!(blocks.charge, Charge::Rekeyed { .. }) {
            return Ok(());
        }
        let twice = mempool.stored_twice(patient)?;
        let of_author = |of: &BTreeMap<Principal, Usage>| of.get(&author).copied().unwrap_or_default();
        let share = self.share(author.account, patient.account);
        if !growth.and(of_author(&used)).without(of_author(&twice)).is_within(&share) {
            let full = format!(
                "account {} would have more than its share of patient {}'s space, {}: delete records of yours; \
                 a deleted record gives its space back a day after it is settled",
                author.account,
                patient.account,
                written(&share)
            );
            return Err(RequestError::new(RequestErrorKind::TooLarge, full));
        }
        if !twice.values().copied().fold(all, Usage::without).is_within(&self.patient) {
            let full = format!(
                "the records of patient {} would have more than {}, all writers together: the patient can see who \
                 uses it (`emr-patient storage`) and delete records",
                patient.account,
                written(&self.patient)
            );
            return Err(RequestError::new(RequestErrorKind::TooLarge, full));
        }
        Ok(())
    }

    /// Whether the author of a record that an operation stores holds its slot already, or may hold one more.
    ///
    /// # Errors
    /// [`RequestError`] that names the quota that is used up.
    pub(crate) fn check_slots(
        &self,
        leaves: Option<&PatientLeaves>,
        operation: &Operation,
    ) -> Result<(), RequestError> {
        let Blocks::Record { slot, leaf } = operation.action.blocks() else { return Ok(()) };
        let (writer, patient) = (leaf.author, operation.patient);
        let Some(leaves) = leaves else { return Ok(()) };
        if leaves.records.get(&slot).is_some_and(|leaf| leaf.author == writer) {
            return Ok(());
        }
        let limit = self.slots(writer, patient);
        if slots_of(leaves, writer) < limit {
            return Ok(());
        }
        let full = format!(
            "account {writer} holds {limit} record slots of patient {patient}, which is the most one writer may: write new \
             versions of records instead of new records"
        );
        Err(RequestError::new(RequestErrorKind::TooLarge, full))
    }
}

/// Refuses a key directory because the patient has too many.
pub(super) fn no_directory_room(patient: AccountIndex) -> RequestError {
    let message = format!(
        "this node has no room for another key directory of patient {patient} now: end the grant without a new directory; \
         directories that are not in force any more make room after 24 hours"
    );
    RequestError::new(RequestErrorKind::NoDirectoryRoom, message)
}

/// How many record slots a writer holds. Deleted records count.
pub(crate) fn slots_of(leaves: &PatientLeaves, writer: AccountIndex) -> usize {
    leaves.records.values().filter(|leaf| leaf.author == writer).count()
}

/// Whether a block has the form of a key directory's root, or of one of its other blocks.
pub(crate) fn is_directory(codec: Codec, bytes: &[u8]) -> bool {
    codec == Codec::DagCbor && is_directory_block(bytes)
}

pub(super) fn written(usage: &Usage) -> String {
    format!("{} MiB or {} blocks", usage.bytes >> 20, usage.blocks)
}
