//! What the node holds in memory: the settled state, and the soft state, which includes every acknowledged operation.

pub(crate) mod access;
pub(crate) mod delegate;
pub(crate) mod emergency;
pub(crate) mod finality;
pub(crate) mod history;
pub(crate) mod open;
pub(crate) mod pointers;
pub(crate) mod queues;
pub(crate) mod rekeyed;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use emr_chain::QueueName;
use emr_core::{AccountIndex, Cid, UnixTime};
use emr_rollup::{
    l1_operation::{AccountRule, L1Operation},
    operation::DirectoryCommitment,
    primitive::field::{self, Fr},
    state::{leaf::LeafHash, ledger::Ledger},
    version::CircuitSizes,
};
use rpds::RedBlackTreeMapSync;

use crate::{
    derivation::SettledLedger,
    mempool::{Acknowledged, BatchRecord, Pointer, Principal, Sequence},
    state::{finality::FinalStates, history::History, open::OpenOperations, queues::L1Queues, rekeyed::Rekeyed},
};

/// The node's view. A clone shares the large parts. A writer makes large changes on a clone and then swaps it in. So
/// readers wait only for the swap.
#[derive(Clone, Debug)]
pub(crate) struct NodeState {
    /// The state that is settled on L1.
    pub(crate) settled: Arc<Ledger>,
    /// Which settled state L1 cannot take back any more.
    pub(crate) finality: FinalStates,
    /// `settled`, then the queued L1 operations, then the open operations in the order of their acknowledgement.
    pub(crate) soft: Arc<Ledger>,
    /// Number of settled batches.
    pub(crate) batches: u64,
    /// Time of the last settled batch.
    pub(crate) last_time: UnixTime,
    /// Its commitment; 0 before the first.
    pub(crate) last_commitment: Fr,
    /// What the settled operations alone mean for access. Snapshots hold it.
    pub(crate) settled_history: History,
    /// The entries on L1 that no settled batch includes yet.
    pub(crate) queues: L1Queues,
    /// Operations that are neither settled nor returned nor replaced.
    pub(crate) open: OpenOperations,
    /// The sealed batch that is not settled yet.
    pub(crate) outstanding: Option<BatchRecord>,
    /// What all acknowledged operations mean for access.
    pub(crate) history: Arc<History>,
    /// What settled Rekeys replaced.
    pub(crate) rekeyed: Rekeyed,
    /// The sizes that L1 takes.
    pub(crate) sizes: Arc<CircuitSizes>,
    /// Whether it took others before.
    pub(crate) resized: bool,
    pub(crate) pointers: RedBlackTreeMapSync<[u8; 32], Pointer>,
    /// The hospital's account, once it is registered.
    pub(crate) hospital: Option<AccountIndex>,
}

impl NodeState {
    /// The settled part, for a snapshot.
    pub(crate) fn settled_ledger(&self) -> SettledLedger {
        SettledLedger {
            batches: self.batches,
            last_time: self.last_time,
            commitment: self.last_commitment,
            ledger: Ledger::clone(&self.settled),
            history: self.settled_history.clone(),
            rekeyed: self.rekeyed.clone(),
            sizes: Arc::clone(&self.sizes),
            resized: self.resized,
        }
    }

    /// Adds the known operations to a state that has none yet, and builds the soft state. `history` is that of the settled operations. Of the
    /// settled operations, it needs no other ones.
    pub(crate) fn add_known(&mut self, mut operations: BTreeMap<Sequence, Acknowledged>, mut history: History) {
        // Only the registrations: they say who owns the accounts.
        self.rebuild_soft();
        // An account may belong to somebody else now. Operations from before that have no effect for the new owner: they are not executed, and
        // what they took away is not taken away. They stay in the file, in case a reorganisation gives the account back.
        operations.retain(|_, operation| self.is_of_its_principals(operation));
        for (sequence, operation) in &operations {
            history.deny(*sequence, operation);
        }
        for (sequence, operation) in operations {
            if operation.is_open() {
                self.open.insert(sequence, operation);
            }
        }
        self.history = Arc::new(history);
        self.rebuild_soft();
    }

    /// Builds the whole soft state again, and adds the open operations to the history.
    pub(crate) fn rebuild_soft(&mut self) {
        self.soft = Arc::clone(&self.settled);
        let soft = Arc::make_mut(&mut self.soft);
        for queued in self.queues.iter() {
            // The contract queues nothing that the statement refuses. If it did, the entry would have no effect here. The batch that will
            // take the entry has a later time. Only an audit entry has it, and nobody reads the audit chain of the soft state.
            let _ = soft.consume(&queued.operation, self.last_time);
        }
        let history = Arc::make_mut(&mut self.history);
        for (sequence, open) in self.open.iter() {
            execute(soft, history, sequence, open);
        }
    }

    /// Builds the soft state of some accounts again: their settled state, the queued L1 operations on them, then the open operations on
    /// them. This is enough after operations on them were settled, returned or replaced: an operation depends on its signer's identity and
    /// on its patient's subtree, and changes only the latter.
    pub(crate) fn rebuild_accounts(&mut self, accounts: &BTreeSet<AccountIndex>) {
        if accounts.is_empty() {
            return;
        }
        if accounts.iter().any(|account| self.settled.trees().account(*account).is_none()) {
            return self.rebuild_soft();
        }
        let (soft, history) = (Arc::make_mut(&mut self.soft), Arc::make_mut(&mut self.history));
        for account in accounts {
            soft.restore(*account, &self.settled);
        }
        for queued in self.queues.iter().filter(|queued| accounts.contains(&queued.operation.account())) {
            // As in `rebuild_soft`.
            let _ = soft.consume(&queued.operation, self.last_time);
        }
        for patient in accounts {
            for (sequence, open) in self.open.on_patient(*patient) {
                execute(soft, history, sequence, open);
            }
        }
    }

    /// Adds entries at the end of a queue.
    pub(crate) fn enqueue(&mut self, queue: QueueName, entries: Vec<L1Operation>) {
        if entries.is_empty() {
            return;
        }
        let soft = Arc::make_mut(&mut self.soft);
        let mut concerned = BTreeSet::new();
        for operation in &entries {
            match operation.rule().account {
                // No open operation can concern a new account yet. So the registration may be executed after them.
                AccountRule::Fresh => drop(soft.consume(operation, self.last_time)),
                AccountRule::Registered | AccountRule::Patient => drop(concerned.insert(operation.account())),
            }
        }
        self.queues.append(queue, entries);
        // What these accounts signed for others may have no effect any more.
        let signed = self.open.iter().filter(|(_, open)| concerned.contains(&open.signed.operation.signer));
        let others: Vec<_> = signed.map(|(_, open)| open.signed.operation.patient).collect();
        concerned.extend(others);
        self.rebuild_accounts(&concerned);
    }

    /// The owner of an account in the soft state. L1 operations change the identity leaf, but not its owner: they keep what the tables hold
    /// for them.
    pub(crate) fn principal(&self, account: AccountIndex) -> Option<Principal> {
        let registration = self.soft.trees().registration(account)?;
        Some(Principal { account, identity: field::to_bytes(&registration.element()) })
    }

    /// The owner of an account, and its identity leaf, which changes with each new status, key and epoch.
    pub(crate) fn present(&self, account: AccountIndex) -> Option<(Principal, LeafHash)> {
        Some((self.principal(account)?, self.soft.trees().identity(account)))
    }

    /// The settled state, then the queued L1 operations on one account.
    pub(crate) fn settled_and_queued(&self, account: AccountIndex) -> Ledger {
        let mut ledger = Ledger::clone(&self.settled);
        for queued in self.queues.iter().filter(|queued| queued.operation.account() == account) {
            // As in `rebuild_soft`.
            let _ = ledger.consume(&queued.operation, self.last_time);
        }
        ledger
    }

    /// Whether the account still belongs to this principal.
    pub(crate) fn is_current(&self, principal: &Principal) -> bool {
        self.principal(principal.account).as_ref() == Some(principal)
    }

    /// Whether the accounts of an operation's signer and patient still belong to the same principals as at its
    /// acknowledgement.
    pub(crate) fn is_of_its_principals(&self, acknowledged: &Acknowledged) -> bool {
        self.is_current(&acknowledged.signer) && self.is_current(&acknowledged.patient)
    }

    /// What a commitment commits to.
    pub(crate) fn pointer(&self, commitment: &Fr) -> Option<&Pointer> {
        self.pointers.get(&field::to_bytes(commitment))
    }

    /// CID of the key directory that a commitment commits to.
    pub(crate) fn directory(&self, commitment: DirectoryCommitment) -> Option<Cid> {
        match self.pointer(&commitment.element())? {
            Pointer::Directory(cid) => Some(*cid),
            Pointer::Record(_) | Pointer::HandedOn(_) => None,
        }
    }
}

/// Executes an open operation on the soft state, and adds it to the history. It is executed with the time of its
/// acknowledgement, so expiry alone does not remove its effect. An operation that no longer executes has no effect; it
/// is returned at the next sealing.
fn execute(soft: &mut Ledger, history: &mut History, sequence: Sequence, open: &Acknowledged) {
    if soft.execute(&open.signed, open.acknowledged).is_ok() {
        history.record(sequence, open, soft);
    }
}

/// Changes an entry of a map whose clones share their entries. A missing entry is the default first.
fn change<K: Ord + Clone, V: Clone + Default>(
    map: &mut RedBlackTreeMapSync<K, Arc<V>>,
    key: K,
    change: impl FnOnce(&mut V),
) {
    let mut entry = map.get(&key).cloned().unwrap_or_default();
    // Otherwise the map still shares the entry, and it would be copied.
    map.remove_mut(&key);
    change(Arc::make_mut(&mut entry));
    map.insert_mut(key, entry);
}
