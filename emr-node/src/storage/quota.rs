//! How much each may store. Nobody's share fills a patient's space, and key directories are outside all of it: no quota stands in the
//! way of a Revoke.

use emr_core::{AccountIndex, Codec};
use emr_crypto::KeyDirectory;
use emr_ipfs::Cid;
use emr_rollup::{
    operation::{Action, Operation, PutRecord},
    state::ledger::PatientLeaves,
};

use crate::{
    http::refusal::{Refusal, RefusalKind},
    mempool::{Mempool, Principal, Usage},
};

const GIB: u64 = 1 << 30;

/// The limits of one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quotas {
    /// Blocks of an account that nothing refers to: the largest record that is walked, with attachments.
    pub(crate) staged: Usage,
    /// Key directories of an account that nothing refers to, beyond that.
    pub(crate) staged_directories: Usage,
    /// One writer in the records of one patient: a quarter of her space, so that it takes four who collude to fill it.
    pub(crate) writer: Usage,
    /// The patient in her own records: half, so that she leaves room for her doctors.
    pub(crate) own: Usage,
    /// All writers in the records of one patient.
    pub(crate) patient: Usage,
    /// Record slots of one patient that one writer holds, deleted records included: a slot is never used again.
    pub(crate) writer_slots: usize,
    /// Record slots that the patient holds of her own 65,536.
    pub(crate) own_slots: usize,
    /// Bytes of the disk that only Revokes and key directories use: many accounts can fill it, each within its quota.
    pub(crate) kept_free: u64,
}

impl Quotas {
    /// 64 KiB a block: clients cut attachments into blocks of four times that.
    pub(crate) const DEFAULT: Self = Self {
        staged: Usage { bytes: 2 * GIB, blocks: 16_384 },
        staged_directories: Usage { bytes: 16 << 20, blocks: 16 },
        writer: Usage { bytes: 2 * GIB, blocks: 32_768 },
        own: Usage { bytes: 4 * GIB, blocks: 65_536 },
        patient: Usage { bytes: 8 * GIB, blocks: 131_072 },
        writer_slots: 4096,
        own_slots: 32_768,
        kept_free: 256 << 20,
    };

    /// Refuses what is neither a Revoke nor a key directory while the disk is nearly full.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) fn check_space(&self, mempool: &Mempool) -> Result<(), Refusal> {
        if mempool.free_space()? >= self.kept_free {
            return Ok(());
        }
        Err(Refusal::unavailable(
            "this node's disk is nearly full: it takes only Revokes until its operator makes space",
        ))
    }

    /// What the uploader of a block may have here that nothing refers to.
    pub(crate) fn staged_with(&self, codec: Codec, bytes: &[u8]) -> Usage {
        let Self { staged, staged_directories, .. } = *self;
        if is_directory(codec, bytes) {
            return Usage {
                bytes: staged.bytes + staged_directories.bytes,
                blocks: staged.blocks + staged_directories.blocks,
            };
        }
        staged
    }

    /// What a writer may have in a patient's records.
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
    /// [`Refusal`] that says whose quota is used up.
    pub(crate) fn check_room(
        &self,
        mempool: &Mempool,
        writer: &Principal,
        patient: &Principal,
        cids: &[Cid],
    ) -> Result<(), Refusal> {
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
            return Err(Refusal::new(RefusalKind::TooLarge, full));
        }
        if !used.values().fold(growth, sum).is_within(&self.patient) {
            let full = format!(
                "the records of patient {} would have more than {}, all writers together: the patient can see who \
                 uses it (`emr-patient storage`) and delete records",
                patient.account,
                written(&self.patient)
            );
            return Err(Refusal::new(RefusalKind::TooLarge, full));
        }
        Ok(())
    }

    /// Whether the signer of a PutRecord may hold one more slot, if it does not hold this one.
    ///
    /// # Errors
    /// [`Refusal`] that says whose quota is used up.
    pub(crate) fn check_slots(&self, leaves: Option<&PatientLeaves>, operation: &Operation) -> Result<(), Refusal> {
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
        Err(Refusal::new(RefusalKind::TooLarge, full))
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

fn written(usage: &Usage) -> String {
    format!("{} MiB or {} blocks", usage.bytes >> 20, usage.blocks)
}
