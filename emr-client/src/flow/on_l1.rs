//! Whether L1 holds the effect of an operation, as far as a node's word is not enough.
//!
//! An operation that is settled leaves the outbox, with the blocks of its record. So a lying node must not decide that it is settled. The patient's
//! own grants, records and deletions are compared with the proved state. The records and deletions of others are compared with the data of the
//! batch that the node names, and so are a doctor's emergency grants. A request for access has neither keys nor blocks that could be lost:
//! there the node's word counts.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map},
};

use emr_chain::{SettlementLayer, Words};
use emr_core::{AccountIndex, RecordSlot, Uses};
use emr_rollup::{
    batch::D2Entry,
    operation::{Action, BreakGlass, PutRecord, Rekey, SignedOperation, Tombstone},
    state::leaf::{GrantLeaf, LeafHash, RecordLeaf, Target},
};

use crate::{client::Client, error::ClientError};

/// What was read of L1 in one run, so that many operations need one read.
#[derive(Debug, Default)]
pub(crate) struct OnL1 {
    own_records: Option<BTreeMap<RecordSlot, RecordLeaf>>,
    batches: BTreeMap<u64, Vec<Words>>,
}

/// The record leaf that an operation writes.
const fn written(action: &Action) -> Option<(RecordSlot, RecordLeaf)> {
    match action {
        Action::PutRecord(PutRecord { slot, leaf, .. })
        | Action::Tombstone(Tombstone { slot, leaf, .. })
        | Action::Rekey(Rekey { slot, leaf, .. }) => Some((*slot, *leaf)),
        _ => None,
    }
}

impl Client {
    /// Whether an operation that the node calls settled in this batch is in force.
    ///
    /// # Errors
    /// [`ClientError`] if the node or L1 cannot be asked.
    pub(crate) async fn is_settled(
        &self,
        signed: &SignedOperation,
        batch: u64,
        on_l1: &mut OnL1,
    ) -> Result<bool, ClientError> {
        let operation = &signed.operation;
        let own = operation.signer == operation.patient;
        if let Action::BreakGlass(BreakGlass { slot, leaf, .. }) = operation.action {
            // Nodes take no use of an emergency grant, so its slot counts none.
            let leaf = GrantLeaf { uses: Uses::ZERO, ..leaf };
            return self.is_in_batch(operation.patient, Target::Grant(slot), leaf.hash(), batch, on_l1).await;
        }
        let Some((slot, leaf)) = written(&operation.action) else {
            return if own { self.is_in_force(signed).await } else { Ok(true) };
        };
        if own {
            if on_l1.own_records.is_none() {
                on_l1.own_records = Some(self.own_records().await?);
            }
            let now = on_l1.own_records.as_ref().and_then(|records| records.get(&slot));
            match now.map(|now| now.revision.cmp(&leaf.revision)) {
                None | Some(Ordering::Less) => return Ok(false),
                Some(Ordering::Equal) => return Ok(now == Some(&leaf)),
                // A later version replaced it, or another one took its place. The batch tells.
                Some(Ordering::Greater) => {}
            }
        }
        self.is_in_batch(operation.patient, Target::Record(slot), leaf.hash(), batch, on_l1).await
    }

    /// Whether a batch on L1 wrote this leaf.
    async fn is_in_batch(
        &self,
        patient: AccountIndex,
        target: Target,
        leaf: LeafHash,
        batch: u64,
        on_l1: &mut OnL1,
    ) -> Result<bool, ClientError> {
        let entries = match on_l1.batches.entry(batch) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(free) => {
                let settled = self.rollup.batch(batch).await?;
                free.insert(settled.map(|settled| settled.content.d2).unwrap_or_default())
            }
        };
        Ok(entries.iter().any(|words| wrote(words, patient, target, leaf)))
    }

    /// The patient's records in the proved state. None if nothing of the patient is settled, or the node's list does not agree with L1.
    async fn own_records(&self) -> Result<BTreeMap<RecordSlot, RecordLeaf>, ClientError> {
        let (view, _) = self.patient_view(&self.own_card().await?).await?;
        if view.proof.leaf.is_none() {
            return Ok(BTreeMap::new());
        }
        match self.own_leaves().await {
            Ok(leaves) => Ok(leaves.records().iter().map(|record| (record.slot, record.leaf)).collect()),
            // A batch was settled between the two reads, or the node lies. It is asked again.
            Err(ClientError::Light(_)) => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }
}

/// Whether an entry of a batch says that this leaf was written.
fn wrote(words: &Words, patient: AccountIndex, target: Target, leaf: LeafHash) -> bool {
    D2Entry::from_bytes(words)
        .is_ok_and(|entry| entry.place == D2Entry::place_of(patient, target) && entry.leaf == leaf)
}
