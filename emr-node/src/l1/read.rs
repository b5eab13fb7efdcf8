//! Reads what a derivation needs from L1: from the newest snapshot that L1 agrees with, or from the deployment.

use std::sync::Arc;

use alloy::{primitives::Address, providers::DynProvider};
use emr_chain::{Head, Rollup, SettlementLayer, header::Finality};

use super::follow::{FollowError, Position, block, final_block, gas_used, look, queues};
use crate::{
    derivation::{BatchOnL1, L1Data, SettledLedger},
    l1::clock::Clock,
    snapshot::{Header, Kept, Snapshots, Unusable},
};

/// Reads L1 for derivations.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) rollup: &'a Rollup<DynProvider>,
    pub(crate) clock: &'a Clock,
    pub(crate) hospital: Address,
    pub(crate) finality: Finality,
    pub(crate) snapshots: &'a Arc<Snapshots>,
    /// The state before the first batch.
    pub(crate) genesis: SettledLedger,
}

/// Where a derivation starts, and what it needs of L1.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) base: SettledLedger,
    pub(crate) l1: L1Data,
    /// The block of L1 up to which it was read.
    pub(crate) position: Position,
    pub(crate) head: Head,
}

impl Reader<'_> {
    /// Reads everything after the newest snapshot that can be used, at L1's head. `below` leaves out the snapshots with so many batches or more.
    /// Of batches with known gas, no receipt is read.
    pub(crate) async fn read(&self, below: Option<u64>, known_gas: impl Fn(u64) -> bool) -> Result<Start, FollowError> {
        let (position, head) = look(self.rollup, self.clock).await?;
        let final_block = final_block(self.rollup, self.finality, &head).await?;
        let kept = self.snapshots.newest_first().unwrap_or_else(|error| {
            tracing::warn!(%error, "the snapshots cannot be listed");
            Vec::new()
        });
        // With one that L1 can still take back, nothing opens until it cannot.
        let is_final = |kept: &Kept| kept.header.as_ref().is_ok_and(|header| header.block.number <= final_block);
        let (first, then): (Vec<_>, Vec<_>) = kept.into_iter().partition(is_final);
        let kept = first.into_iter().chain(then);
        for kept in kept.filter(|kept| below.is_none_or(|below| kept.batches < below)) {
            let tried = match kept.header {
                Ok(header) => self.after(&header, (&head, final_block), &known_gas).await?,
                Err(unusable) => Err(unusable),
            };
            match tried {
                Ok((base, l1)) => {
                    tracing::info!(
                        batches = kept.batches,
                        after = l1.batches.len(),
                        "the state is derived from a snapshot"
                    );
                    return Ok(Start { base, l1, position, head });
                }
                Err(unusable) => {
                    tracing::warn!(batches = kept.batches, %unusable, "a snapshot is not used; an older one is tried");
                }
            }
        }
        tracing::info!(batches = head.batch_count, "no snapshot can be used: every batch is read and executed");
        let base = self.genesis.clone();
        let l1 = self.since(self.rollup.deployed_at(), base.batches, (&head, final_block), &known_gas).await?;
        Ok(Start { base, l1, position, head })
    }

    /// A snapshot, and what L1 has after it.
    async fn after(
        &self,
        header: &Header,
        (head, final_block): (&Head, u64),
        known_gas: &impl Fn(u64) -> bool,
    ) -> Result<Result<(SettledLedger, L1Data), Unusable>, FollowError> {
        let Position { number, hash } = header.block;
        let there = if number <= head.block_number { block(self.rollup.provider(), number).await? } else { None };
        if there.is_none_or(|(there, _)| there != hash) {
            return Ok(Err(Unusable::Reorganised(number)));
        }
        if head.batch_count < header.batches {
            return Ok(Err(Unusable::OtherState));
        }
        let (snapshots, header, sizes) = (Arc::clone(self.snapshots), *header, Arc::clone(&self.genesis.sizes));
        let loaded = tokio::task::spawn_blocking(move || snapshots.load(&header, &sizes)).await;
        let base = match loaded.map_err(|_| FollowError::Stopping)? {
            Ok(snapshot) => SettledLedger { resized: self.genesis.resized, ..snapshot.settled },
            Err(unusable) => return Ok(Err(unusable)),
        };
        // The events of that block itself are read again: batches that it settled are left out by their numbers.
        let l1 = self.since(number, base.batches, (head, final_block), known_gas).await?;
        let next = l1.batches.first().map(|on_l1| on_l1.batch.content.pre);
        if next.unwrap_or(head.state_root) != base.ledger.trees().root() {
            return Ok(Err(Unusable::OtherState));
        }
        Ok(Ok((base, l1)))
    }

    /// Everything that L1 has after so many batches, which were settled in `from_block` or earlier.
    async fn since(
        &self,
        from_block: u64,
        known: u64,
        (head, final_block): (&Head, u64),
        known_gas: &impl Fn(u64) -> bool,
    ) -> Result<L1Data, FollowError> {
        let mut batches = Vec::new();
        for batch in self.rollup.batches(from_block).await? {
            // The chain may have new batches since the head was read.
            if batch.number > known && batch.number <= head.batch_count {
                let gas_used =
                    if known_gas(batch.number) { None } else { gas_used(self.rollup, batch.tx_hash).await? };
                batches.push(BatchOnL1 { batch, gas_used });
            }
        }
        // This is checked before anything is derived and written: an Ethereum node may be behind in its logs, or omit some.
        let numbers = batches.iter().map(|on_l1| on_l1.batch.number);
        let last = batches.last().map(|on_l1| on_l1.batch.content.post);
        if !numbers.eq(known + 1..=head.batch_count) || last.is_some_and(|post| post != head.state_root) {
            let shown = known + batches.len() as u64;
            return Err(FollowError::Incomplete { shown, settled: head.batch_count });
        }
        let hospital = self.rollup.account_of(self.hospital).await?;
        Ok(L1Data { batches, queues: queues(self.rollup, head).await?, hospital, from_block, final_block })
    }
}
