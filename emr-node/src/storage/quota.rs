//! How much each account may store. No writer's share fills a patient's space. No quota limits the key directories that
//! operations hold. So no quota stops a Revoke.

use emr_core::{AccountIndex, Codec};
use emr_crypto::KeyDirectory;
use emr_ipfs::Cid;
use emr_rollup::{
    operation::{Action, Operation, PutRecord},
    state::ledger::PatientLeaves,
};

use crate::{
    mempool::{Mempool, Principal, Staging, Usage},
    request_error::{RequestError, RequestErrorKind},
};

const GIB: u64 = 1 << 30;

/// The limits of one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quotas {
    /// What an account may have in staging: as many blocks as the largest record that can be walked.
    pub(crate) staged: Usage,
    /// What all accounts together may have in staging.
    pub(crate) staged_by_all: Usage,
    /// What a patient's key directories may take in staging, beside these limits, so that a Revoke finds room for its
    /// directory.
    pub(crate) staged_directories: Usage,
    /// What the key directories of all patients together may take in staging while the disk is nearly full. The more of
    /// it is used, the less a patient may have.
    pub(crate) staged_directories_by_all: Usage,
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
    /// Free space on the disk that only Revokes and key directories may use: many accounts can fill the disk, each
    /// within its quota. Bytes.
    pub(crate) kept_free: u64,
}

impl Quotas {
    /// The limits for records allow one block for each 64 KiB. Clients cut attachments into blocks of 256 KiB.
    pub(crate) const DEFAULT: Self = Self {
        staged: Usage { bytes: 2 * GIB, blocks: 16_384 },
        staged_by_all: Usage { bytes: 16 * GIB, blocks: 131_072 },
        staged_directories: Usage { bytes: 4 << 20, blocks: 16 },
        staged_directories_by_all: Usage { bytes: 256 << 20, blocks: 4096 },
        writer: Usage { bytes: 2 * GIB, blocks: 32_768 },
        own: Usage { bytes: 4 * GIB, blocks: 65_536 },
        patient: Usage { bytes: 8 * GIB, blocks: 131_072 },
        writer_slots: 4096,
        own_slots: 32_768,
        kept_free: 256 << 20,
    };

    /// Refuses if the disk is nearly full. Not called for a patient's Revoke of a grant, or for a key directory.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) fn check_space(&self, mempool: &Mempool) -> Result<(), RequestError> {
        if mempool.free_space()? >= self.kept_free {
            return Ok(());
        }
        Err(RequestError::unavailable(
            "this node's disk is nearly full: it takes only Revokes until its operator makes space",
        ))
    }

    /// How much may be in staging now.
    ///
    /// # Errors
    /// `unavailable` if the disk cannot be asked.
    pub(crate) fn staging(&self, mempool: &Mempool) -> Result<Staging, RequestError> {
        Ok(Staging {
            each: self.staged,
            all: self.staged_by_all,
            directories: self.staged_directories,
            all_directories: self.staged_directories_by_all,
            free: mempool.free_space()?.saturating_sub(self.kept_free),
        })
    }

    /// What a writer may use in a patient's records.
    pub(crate) fn share(&self, writer: AccountIndex, patient: AccountIndex) -> Usage {
        if writer == patient { self.own } else { self.writer }
    }

    /// How many slots of a patient a writer may hold.
    pub(crate) fn slots(&self, writer: AccountIndex, patient: AccountIndex) -> usize {
        if writer == patient { self.own_slots } else { self.writer_slots }
    }

    /// Whether a record with these blocks stays within its writer's share and the patient's space.
    ///
    /// # Errors
    /// [`RequestError`] that names the quota that is used up.
    pub(crate) fn check_room(
        &self,
        mempool: &Mempool,
        writer: &Principal,
        patient: &Principal,
        cids: &[Cid],
    ) -> Result<(), RequestError> {
        let growth = mempool.growth(patient, writer, cids)?;
        if growth == Usage::default() {
            return Ok(());
        }
        let (used, _) = mempool.used(patient)?;
        let sum = |usage: Usage, other: &Usage| Usage {
            bytes: usage.bytes.saturating_add(other.bytes),
            blocks: usage.blocks.saturating_add(other.blocks),
        };
        let share = self.share(writer.account, patient.account);
        if !sum(growth, used.get(writer).unwrap_or(&Usage::default())).is_within(&share) {
            let full = format!(
                "account {} would have more than its share of patient {}'s space, {}: delete records of yours; \
                 a deleted record gives its space back a day after it is settled",
                writer.account,
                patient.account,
                written(&share)
            );
            return Err(RequestError::new(RequestErrorKind::TooLarge, full));
        }
        if !used.values().fold(growth, sum).is_within(&self.patient) {
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

    /// Whether the signer of a PutRecord holds its slot already, or may hold one more.
    ///
    /// # Errors
    /// [`RequestError`] that names the quota that is used up.
    pub(crate) fn check_slots(
        &self,
        leaves: Option<&PatientLeaves>,
        operation: &Operation,
    ) -> Result<(), RequestError> {
        let Action::PutRecord(PutRecord { slot, .. }) = operation.action else { return Ok(()) };
        let (writer, patient) = (operation.signer, operation.patient);
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

/// How many record slots a writer holds. Deleted records count.
pub(crate) fn slots_of(leaves: &PatientLeaves, writer: AccountIndex) -> usize {
    leaves.records.values().filter(|leaf| leaf.author == writer).count()
}

/// Whether a block is a key directory.
pub(crate) fn is_directory(codec: Codec, bytes: &[u8]) -> bool {
    codec == Codec::DagCbor && KeyDirectory::from_bytes(bytes).is_ok()
}

pub(super) fn written(usage: &Usage) -> String {
    format!("{} MiB or {} blocks", usage.bytes >> 20, usage.blocks)
}
