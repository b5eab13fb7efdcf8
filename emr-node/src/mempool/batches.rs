//! Batches: what was sealed, how far each batch got, and which operations it holds.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use emr_api::{
    OperationStatus,
    form::{As, Prefixed},
};
use emr_chain::PerQueue;
use emr_core::UnixTime;
use emr_rollup::batch::PublicInputs;
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{
    Mempool, MempoolError, Principal, Sequence, damaged, decode, encode, operations::set_status, pin_hospital,
};

/// Number to batch.
const BATCHES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("batches");

/// A proof that verified, kept until its batch is settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptProof {
    /// The proof.
    #[serde(with = "hex::serde")]
    pub bytes: Vec<u8>,
    /// Time from witness to proof, if this node made the proof. Seconds.
    pub seconds: Option<f64>,
}

/// The stages of a batch: sealed, proven, sent, settled. Each stage carries what is known from then on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchStage {
    /// Its operations and time are fixed.
    Sealed,
    /// Its proof was made and verified.
    Proven(KeptProof),
    /// Its transaction may have been sent.
    Sent(KeptProof),
    /// It is on L1.
    Settled(OnChain),
}

/// What is known about a batch that L1 has accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnChain {
    /// The settlement transaction.
    #[serde(with = "As::<Prefixed<32>>")]
    pub tx_hash: B256,
    /// Its gas, if the node asked for it.
    pub gas_used: Option<u64>,
    /// Size of the proof in bytes.
    pub proof_bytes: u64,
    /// Time from witness to proof, if this node made the proof. Seconds.
    pub prove_seconds: Option<f64>,
}

impl BatchStage {
    /// The proof of a batch that is not settled yet.
    pub const fn proof(&self) -> Option<&KeptProof> {
        match self {
            Self::Proven(proof) | Self::Sent(proof) => Some(proof),
            Self::Sealed | Self::Settled(_) => None,
        }
    }

    /// What L1 says, once it has accepted the batch.
    pub const fn on_chain(&self) -> Option<&OnChain> {
        match self {
            Self::Settled(on_chain) => Some(on_chain),
            Self::Sealed | Self::Proven(_) | Self::Sent(_) => None,
        }
    }

    /// Time from witness to proof, if this node made the proof. Seconds.
    pub fn prove_seconds(&self) -> Option<f64> {
        match self {
            Self::Sealed => None,
            Self::Proven(proof) | Self::Sent(proof) => proof.seconds,
            Self::Settled(on_chain) => on_chain.prove_seconds,
        }
    }
}

/// A batch as the node stores it: enough to make the same batch again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// Its number; the first is 1.
    pub number: u64,
    /// Its time.
    pub time: UnixTime,
    /// Its public inputs.
    pub public: PublicInputs,
    /// Its L2 operations, in order.
    pub operations: Vec<Sequence>,
    /// How many of its queue entries are of the urgent queue. They come first.
    pub urgent: u16,
    /// How far it got.
    pub stage: BatchStage,
}

impl BatchRecord {
    /// How many entries of each queue it takes.
    pub fn entries(&self) -> PerQueue<usize> {
        let urgent = usize::from(self.urgent);
        PerQueue { urgent, ordinary: (self.public.n1 as usize).saturating_sub(urgent) }
    }
}

/// What a derivation of the state from L1 changes in the tables. All of it is written in one transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DerivedChanges {
    /// Batches whose record is new, or other than before.
    pub records: Vec<BatchRecord>,
    /// All batches after this one are removed.
    pub remove_after: Option<u64>,
    /// The operations whose status changes, with the new status.
    pub statuses: BTreeMap<Sequence, OperationStatus>,
    /// The hospital, if its registration is settled now.
    pub hospital: Option<Principal>,
}

pub(super) fn create(transaction: &WriteTransaction) -> Result<(), MempoolError> {
    transaction.open_table(BATCHES)?;
    Ok(())
}

fn put(transaction: &WriteTransaction, record: &BatchRecord) -> Result<(), MempoolError> {
    transaction.open_table(BATCHES)?.insert(record.number, encode(record)?.as_slice())?;
    Ok(())
}

impl Mempool {
    /// A batch by its number.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn batch(&self, number: u64) -> Result<Option<BatchRecord>, MempoolError> {
        let table = self.read()?.open_table(BATCHES)?;
        table.get(number)?.map(|row| decode(row.value())).transpose()
    }

    /// The batches after this one, by their number.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn batches_after(&self, number: u64) -> Result<BTreeMap<u64, BatchRecord>, MempoolError> {
        let table = self.read()?.open_table(BATCHES)?;
        table
            .range(number + 1..)?
            .map(|row| row.map_err(MempoolError::from).and_then(|(k, v)| Ok((k.value(), decode(v.value())?))))
            .collect()
    }

    /// The batch that is sealed but not settled.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn outstanding(&self) -> Result<Option<BatchRecord>, MempoolError> {
        let table = self.read()?.open_table(BATCHES)?;
        let last: Option<BatchRecord> = table.last()?.map(|(_, row)| decode(row.value())).transpose()?;
        Ok(last.filter(|record| record.stage.on_chain().is_none()))
    }

    /// Stores a sealed batch. Marks the operations that no longer execute as returned, with the reason.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn seal(&self, record: Option<&BatchRecord>, returned: &[(Sequence, String)]) -> Result<(), MempoolError> {
        let transaction = self.write()?;
        if let Some(record) = record {
            put(&transaction, record)?;
            let sealed = OperationStatus::Sealed { batch: record.number };
            set_status(&transaction, record.operations.iter().copied(), &sealed)?;
        }
        for (sequence, reason) in returned {
            set_status(&transaction, [*sequence], &OperationStatus::Returned { reason: reason.clone() })?;
        }
        Ok(transaction.commit()?)
    }

    /// Stores how far a sealed batch got.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn advance(&self, record: &BatchRecord) -> Result<(), MempoolError> {
        let transaction = self.write()?;
        put(&transaction, record)?;
        Ok(transaction.commit()?)
    }

    /// Removes a batch that can never be settled. Its operations wait again.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn unseal(&self, number: u64) -> Result<(), MempoolError> {
        let transaction = self.write()?;
        let removed = {
            let mut table = transaction.open_table(BATCHES)?;
            let removed: Option<BatchRecord> = table.remove(number)?.map(|row| decode(row.value())).transpose()?;
            removed.ok_or_else(|| damaged(format_args!("batch {number} is missing")))?
        };
        set_status(&transaction, removed.operations, &OperationStatus::Pending)?;
        Ok(transaction.commit()?)
    }

    /// Stores what follows from L1. Without changes, nothing is written.
    ///
    /// # Errors
    /// [`MempoolError`]. Then all changes are stored, or none.
    pub fn apply_derived(&self, changes: &DerivedChanges) -> Result<(), MempoolError> {
        if *changes == DerivedChanges::default() {
            return Ok(());
        }
        let transaction = self.write()?;
        if let Some(last) = changes.remove_after {
            transaction.open_table(BATCHES)?.retain_in(last + 1.., |_, _| false)?;
        }
        for record in &changes.records {
            put(&transaction, record)?;
        }
        for (sequence, status) in &changes.statuses {
            set_status(&transaction, [*sequence], status)?;
        }
        if let Some(hospital) = &changes.hospital {
            pin_hospital(&transaction, hospital)?;
        }
        Ok(transaction.commit()?)
    }
}
