//! What the node holds in memory: the settled state, and the soft one in which every acknowledged operation counts.

pub(crate) mod access;
pub(crate) mod history;
pub(crate) mod pointers;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use emr_core::{AccountIndex, UnixTime};
use emr_rollup::{
    l1_operation::L1Operation,
    operation::DirectoryCommitment,
    primitive::field::{self, Fr},
    state::ledger::Ledger,
};

use crate::{
    mempool::{Acknowledged, BatchRecord, Pointer, Principal, Sequence},
    state::history::History,
};

/// An entry of the L1 queue that no settled batch has taken.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) operation: L1Operation,
    pub(crate) seen: Instant,
}

/// The node's view. A clone shares what is large: whoever changes much does so on a clone and swaps it in, so that readers
/// never wait for more than that.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// The state that L1 has.
    pub(crate) settled: Arc<Ledger>,
    /// `settled`, then the queued L1 operations, then the open operations in the order of their acknowledgement.
    pub(crate) soft: Arc<Ledger>,
    /// Number of settled batches.
    pub(crate) batches: u64,
    /// Time of the last settled batch.
    pub(crate) last_time: UnixTime,
    /// Position on L1 of the first entry of `queue`.
    pub(crate) queue_head: u64,
    pub(crate) queue: VecDeque<Queued>,
    /// Operations that are neither settled nor returned.
    pub(crate) open: BTreeMap<Sequence, Acknowledged>,
    /// The sealed batch that is not settled yet.
    pub(crate) outstanding: Option<BatchRecord>,
    pub(crate) history: Arc<History>,
    pub(crate) pointers: Arc<BTreeMap<[u8; 32], Pointer>>,
    /// The hospital's account, once it is registered.
    pub(crate) hospital: Option<AccountIndex>,
}

impl State {
    /// Makes the whole soft state, and notes what the open operations mean for serving.
    pub(crate) fn rebuild_soft(&mut self) {
        self.soft = Arc::clone(&self.settled);
        let soft = Arc::make_mut(&mut self.soft);
        for queued in &self.queue {
            // The contract queues nothing that the statement refuses; were it so, the entry would have no effect here.
            let _ = soft.consume(&queued.operation);
        }
        self.execute_open(|_| true);
    }

    /// Makes the soft state of some patients: their settled state, then the open operations on them. Operations that are settled or returned
    /// change nothing else.
    pub(crate) fn rebuild_patients(&mut self, patients: &BTreeSet<AccountIndex>) {
        if patients.iter().any(|patient| self.settled.patient(*patient).is_none()) {
            return self.rebuild_soft();
        }
        if patients.is_empty() {
            return;
        }
        let soft = Arc::make_mut(&mut self.soft);
        for patient in patients {
            soft.restore(*patient, &self.settled);
        }
        self.execute_open(|patient| patients.contains(&patient));
    }

    fn execute_open(&mut self, concerns: impl Fn(AccountIndex) -> bool) {
        let (soft, history) = (Arc::make_mut(&mut self.soft), Arc::make_mut(&mut self.history));
        for (sequence, acknowledged) in &self.open {
            // What no longer executes is returned at the next sealing. Each runs at the time of its acknowledgement, so
            // that expiry alone does not take it out.
            if concerns(acknowledged.signed.operation.patient)
                && soft.execute(&acknowledged.signed, acknowledged.acknowledged).is_ok()
            {
                history.record(*sequence, acknowledged, soft);
            }
        }
    }

    /// The queue grows at its end.
    pub(crate) fn enqueue(&mut self, entries: Vec<L1Operation>) {
        if entries.is_empty() {
            return;
        }
        let (soft, seen) = (Arc::make_mut(&mut self.soft), Instant::now());
        for operation in entries {
            match operation {
                // A new account has nothing yet that an open operation could be on: it may come after these.
                L1Operation::Register(_) => drop(soft.consume(&operation)),
            }
            self.queue.push_back(Queued { operation, seen });
        }
    }

    /// Whose an account is in the soft state. No operation changes an identity leaf yet; one that does must keep this as it was at
    /// the registration, or the owner loses what the tables hold.
    pub(crate) fn principal(&self, account: AccountIndex) -> Option<Principal> {
        self.soft.identity(account)?;
        Some(Principal { account, identity: field::to_bytes(&self.soft.trees().identity(account).element()) })
    }

    /// Whether an account still is whose it was.
    pub(crate) fn is_current(&self, principal: &Principal) -> bool {
        self.principal(principal.account).as_ref() == Some(principal)
    }

    /// Whether signer and patient of an operation still are who they were when it was acknowledged.
    pub(crate) fn is_of_its_principals(&self, acknowledged: &Acknowledged) -> bool {
        self.is_current(&acknowledged.signer) && self.is_current(&acknowledged.patient)
    }

    /// What a commitment is over.
    pub(crate) fn pointer(&self, commitment: &Fr) -> Option<&Pointer> {
        self.pointers.get(&field::to_bytes(commitment))
    }

    /// CID of the key directory that a commitment is over.
    pub(crate) fn directory(&self, commitment: DirectoryCommitment) -> Option<&str> {
        match self.pointer(&commitment.element())? {
            Pointer::Directory(cid) => Some(cid),
            Pointer::Record(_) => None,
        }
    }
}
