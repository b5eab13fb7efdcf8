//! Batches: what was sealed, how far each batch got, and which operations it holds.

use alloy::primitives::B256;
use emr_api::{
    OperationStatus,
    form::{As, Prefixed},
};
use emr_core::UnixTime;
use emr_rollup::batch::PublicInputs;
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{Mempool, MempoolError, Sequence, damaged, decode, encode, operations::set_status};

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
    /// How far it got.
    pub stage: BatchStage,
}

/// What the settlement of a batch changes in the tables.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The batch, with its new stage.
    pub record: BatchRecord,
    /// Operations of a superseded batch: it was sealed here with the same number. They wait again.
    pub requeued: Vec<Sequence>,
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

    /// Stores that batches are on L1.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn settle(&self, settled: &[Settled]) -> Result<(), MempoolError> {
        let transaction = self.write()?;
        for Settled { record, requeued } in settled {
            put(&transaction, record)?;
            set_status(&transaction, requeued.iter().copied(), &OperationStatus::Pending)?;
            let status = OperationStatus::Settled { batch: record.number };
            set_status(&transaction, record.operations.iter().copied(), &status)?;
        }
        Ok(transaction.commit()?)
    }

    /// Removes all batches after `last`. The operations in `pending` wait again.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn rewind(&self, last: u64, pending: &[Sequence]) -> Result<(), MempoolError> {
        let transaction = self.write()?;
        transaction.open_table(BATCHES)?.retain_in(last + 1.., |_, _| false)?;
        set_status(&transaction, pending.iter().copied(), &OperationStatus::Pending)?;
        Ok(transaction.commit()?)
    }
}
