//! The scene's snapshots: one after each batch. Every restart derives the state from the first batch and from each snapshot, and compares.

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use alloy::primitives::keccak256;
use emr_rollup::state::snapshot::PlainBytes;

use super::*;
use crate::{
    derivation::DerivationError, l1::follow::Position, mempool::BatchRecord, snapshot::Snapshot, state::NodeState,
};

/// Everything that a derivation leads to, in memory and in the file.
struct Led {
    settled: Vec<u8>,
    soft: Vec<u8>,
    numbers: String,
    open: String,
    tables: String,
}

impl Led {
    fn to(state: &NodeState, mempool: &Mempool) -> Outcome<Self> {
        let bytes = |write: &dyn Fn(&mut Vec<u8>) -> io::Result<()>| {
            let mut bytes = Vec::new();
            write(&mut bytes).map(|()| bytes)
        };
        let batches = mempool.batches_after(0)?.into_values().collect::<Vec<BatchRecord>>();
        let (operations, unsettled) = (mempool.operations()?, mempool.unsettled_and([])?);
        Ok(Self {
            settled: bytes(&|out| {
                state.settled.write_to(out)?;
                state.settled_history.write_to(out)?;
                state.rekeyed.write_to(out)
            })?,
            soft: bytes(&|out| {
                state.soft.write_to(out)?;
                state.history.write_to(out)
            })?,
            numbers: format!("{} {} {:?}", state.batches, state.last_time, state.last_commitment),
            open: format!("{:?} {:?}", state.open.iter().collect::<Vec<_>>(), state.outstanding),
            tables: format!("{operations:?} {:?} {batches:?} {:?}", unsettled.keys(), mempool.hospital()?),
        })
    }

    /// What differs, if anything does.
    fn differs(&self, other: &Self) -> Option<&'static str> {
        let parts = [
            ("the settled state", self.settled == other.settled),
            ("the soft state", self.soft == other.soft),
            ("the numbers", self.numbers == other.numbers),
            ("the open operations", self.open == other.open),
            ("the tables", self.tables == other.tables),
        ];
        parts.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
    }
}

impl Scene {
    /// The block of L1 that holds the last of so many batches. It depends on all of them.
    fn block(&self, batches: usize) -> Position {
        let commitments: Vec<u8> = self.l1[..batches].iter().flat_map(|on_l1| on_l1.batch.content.commitment).collect();
        Position { number: 100 * batches as u64, hash: keccak256(commitments) }
    }

    pub(super) fn write_snapshot(&self) {
        let settled = self.engine.state().settled_ledger();
        let block = self.block(settled.batches as usize);
        self.engine.snapshots.write(&Snapshot { settled, block });
    }

    /// The snapshots that L1's chain has, the newest first.
    fn snapshots(&self) -> Outcome<Vec<SettledLedger>> {
        let (snapshots, sizes) = (Snapshots::in_test(self.folder.path()), Arc::new(CircuitSizes::v1()));
        let mut on_chain = Vec::new();
        for kept in snapshots.newest_first()? {
            let header = kept.header?;
            let batches = kept.batches as usize;
            if batches <= self.l1.len() && header.block == self.block(batches) {
                on_chain.push(snapshots.load(&header, &sizes)?.settled);
            }
        }
        Ok(on_chain)
    }

    /// Derives on a copy of the file, which no node may have open.
    fn derived(&self, base: SettledLedger) -> Outcome<Result<Led, DerivationError>> {
        let copy = tempfile::tempdir()?;
        std::fs::copy(self.folder.path().join("mempool.redb"), copy.path().join("mempool.redb"))?;
        let mempool = open_mempool(copy.path())?;
        let view = view(&self.queue, &self.l1, base.batches as usize);
        match derive(&mempool, base, view) {
            Ok(state) => Led::to(&state, &mempool).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Compares all derivations. Returns the newest snapshot that can be used, or the state before the first batch.
    pub(super) fn newest_base(&mut self) -> Outcome<SettledLedger> {
        let fresh = self.derived(genesis())??;
        let mut newest = None;
        for base in self.snapshots()? {
            match self.derived(base.clone())? {
                Ok(led) => {
                    if let Some(what) = led.differs(&fresh) {
                        return Err(format!("from the snapshot of batch {}, {what} differs", base.batches).into());
                    }
                    self.compared += 1;
                    newest.get_or_insert(base);
                }
                // L1 took batches back, and gave them back later.
                Err(error) if error.may_be_the_snapshot() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(newest.unwrap_or_else(genesis))
    }
}

/// What a start needs, from the first batch and from the newest snapshot.
pub(in crate::storage::tests) struct StartTimes {
    pub(in crate::storage::tests) from_first: Duration,
    /// For reading all operations and batches from the file; a part of `from_first`.
    pub(in crate::storage::tests) read_all: Duration,
    pub(in crate::storage::tests) load: Duration,
    pub(in crate::storage::tests) rest: Duration,
    /// For reading the pointers, and how many they are; a part of `rest` and of `from_first`.
    pub(in crate::storage::tests) pointers: (Duration, usize),
    pub(in crate::storage::tests) write: Duration,
    /// How many operations the start from the snapshot read.
    pub(in crate::storage::tests) read: usize,
}

impl Scene {
    pub(in crate::storage::tests) fn newest_snapshot(&self) -> PathBuf {
        self.folder.path().join(format!("snapshots/{}.snapshot", self.l1.len()))
    }

    /// Measures both on the running node's file.
    pub(in crate::storage::tests) fn measure_start(&self) -> Outcome<StartTimes> {
        let (mempool, snapshots) = (&self.engine.mempool, &self.engine.snapshots);
        let began = Instant::now();
        self.write_snapshot();
        let write = began.elapsed();

        let began = Instant::now();
        drop((mempool.operations()?, mempool.batches_after(0)?));
        let read_all = began.elapsed();
        let began = Instant::now();
        let first = derive(mempool, genesis(), view(&self.queue, &self.l1, 0))?;
        let from_first = began.elapsed();

        let began = Instant::now();
        let header = snapshots.newest_first()?.remove(0).header?;
        let base = snapshots.load(&header, &first.sizes)?.settled;
        let load = began.elapsed();
        let began = Instant::now();
        let view = view(&self.queue, &self.l1, base.batches as usize);
        let state = derive(mempool, base, view)?;
        let rest = began.elapsed();
        if state.settled.trees().root() != first.settled.trees().root() {
            return Err("the snapshot leads to another state".into());
        }
        let began = Instant::now();
        let pointers = mempool.pointers()?.len();
        let pointers = (began.elapsed(), pointers);
        let read = mempool.unsettled_and([])?.len();
        Ok(StartTimes { from_first, read_all, load, rest, pointers, write, read })
    }
}
