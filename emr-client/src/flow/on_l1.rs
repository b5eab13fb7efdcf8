//! Whether L1 holds the effect of an operation, as far as a node's word is not enough.
//!
//! An operation that is settled leaves the outbox, with the blocks of its record. So a lying node must not decide that it is settled. The patient's
//! own grants, records and deletions are compared with the proved state. Everything else is compared with the data of the batch that the node
//! names. The batch holds a hash for each operation, which nobody can make without the operation's salt.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map},
};

use emr_chain::{BatchContent, SettlementLayer};
use emr_core::RecordSlot;
use emr_rollup::{
    batch::D2Entry,
    operation::{Operation, SignedOperation},
    state::leaf::{AuditEntry, RecordLeaf},
};

use crate::{client::Client, error::ClientError, flow::own_grants::Effect};

/// What was read of L1 in one run, so that many operations need one read.
#[derive(Debug, Default)]
pub(crate) struct OnL1 {
    own_records: Option<BTreeMap<RecordSlot, RecordLeaf>>,
    /// `None` if L1 has no such batch.
    batches: BTreeMap<u64, Option<BatchContent>>,
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
        match operation.action.record() {
            None if own => match self.effect_of(signed).await? {
                Effect::InForce => return Ok(true),
                Effect::None => return Ok(false),
                // Somebody else wrote the slot later. The batch tells.
                Effect::Unknown => {}
            },
            Some((slot, leaf)) if own => {
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
            _ => {}
        }
        self.batch_holds(operation, batch, on_l1).await
    }

    /// Whether the batch with this number on L1 holds this very operation.
    ///
    /// # Errors
    /// [`ClientError`] if L1 cannot be asked.
    pub(crate) async fn batch_holds(
        &self,
        operation: &Operation,
        batch: u64,
        on_l1: &mut OnL1,
    ) -> Result<bool, ClientError> {
        let content = match on_l1.batches.entry(batch) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(free) => {
                free.insert(self.rollup.batch(batch).await?.map(|settled| settled.content))
            }
        };
        Ok(content.as_ref().is_some_and(|content| holds(content, operation)))
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

/// Whether a batch holds this very operation: one of its entries is of the leaf that the operation writes, and has the hash that the operation gives
/// in the patient's audit chain.
fn holds(content: &BatchContent, operation: &Operation) -> bool {
    let target = operation.action.target();
    let place = D2Entry::place_of(operation.patient, target);
    let is_it = |entry: D2Entry| {
        let audited = AuditEntry {
            kind: operation.action.kind(),
            signer: operation.signer,
            target: target.into(),
            purpose: operation.action.purpose(),
            time: content.time,
            new_leaf: entry.leaf,
            salt: operation.salt,
        };
        entry.place == place && entry.audit_entry == audited.hash()
    };
    content.d2.iter().any(|words| D2Entry::from_bytes(words).is_ok_and(is_it))
}
