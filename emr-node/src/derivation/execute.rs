//! Executes a settled batch on the state before it.

use std::collections::{BTreeMap, BTreeSet};

use emr_chain::SettledBatch;
use emr_core::{AccountIndex, UnixTime};
use emr_rollup::{
    batch::{BatchData, D1Entry, D2Entry, PublicInputs},
    l1_operation::L1Operation,
    operation::Operation,
    primitive::field::{self, NotCanonical},
    state::{
        StateTrees,
        leaf::{AuditEntry, Target},
        ledger::Ledger,
    },
    version::{CircuitSizes, CircuitVersion},
};

use super::DerivationError;
use crate::{
    mempool::{Acknowledged, BatchRecord, Sequence},
    state::open::OpenOperations,
};

/// A collection of operations: all that were ever acknowledged, or the open ones.
pub(super) trait KnownOperations {
    fn operation(&self, sequence: Sequence) -> Option<&Acknowledged>;
    /// In the order of acknowledgement.
    fn all(&self) -> Box<dyn Iterator<Item = (Sequence, &Acknowledged)> + '_>;
}

impl KnownOperations for BTreeMap<Sequence, Acknowledged> {
    fn operation(&self, sequence: Sequence) -> Option<&Acknowledged> {
        self.get(&sequence)
    }

    fn all(&self) -> Box<dyn Iterator<Item = (Sequence, &Acknowledged)> + '_> {
        Box::new(self.iter().map(|(sequence, operation)| (*sequence, operation)))
    }
}

impl KnownOperations for OpenOperations {
    fn operation(&self, sequence: Sequence) -> Option<&Acknowledged> {
        self.get(sequence)
    }

    fn all(&self) -> Box<dyn Iterator<Item = (Sequence, &Acknowledged)> + '_> {
        Box::new(self.iter())
    }
}

/// The operations among which those of a settled batch are found.
///
/// L1 has hashes of what an operation wrote, but not its id. It names the leaf in the clear. So the operations are found by their leaf:
/// then a batch costs as much as it holds, however many operations the node knows.
pub(super) struct Candidates<'a> {
    known: &'a dyn KnownOperations,
    settled: BTreeSet<Sequence>,
    /// Built when a batch first comes without a record of its operations.
    by_leaf: Option<BTreeMap<(AccountIndex, u8, u64), BTreeSet<Sequence>>>,
}

/// A leaf as a key that can be ordered.
fn leaf(patient: AccountIndex, target: Target) -> (AccountIndex, u8, u64) {
    (patient, target.tree() as u8, target.slot())
}

impl<'a> Candidates<'a> {
    pub(super) fn new(known: &'a dyn KnownOperations) -> Self {
        Self { known, settled: BTreeSet::new(), by_leaf: None }
    }

    /// The operation with this sequence, if no batch settled it so far.
    fn recorded(&self, sequence: Sequence) -> Option<&'a Acknowledged> {
        self.known.operation(sequence).filter(|_| !self.settled.contains(&sequence))
    }

    /// The operations on the leaf of an entry of D2 that no batch settled so far, in the order of their acknowledgement.
    pub(super) fn on_leaf_of(&mut self, entry: &D2Entry) -> impl Iterator<Item = (Sequence, &'a Acknowledged)> {
        let (known, settled) = (self.known, &self.settled);
        let by_leaf = self.by_leaf.get_or_insert_with(|| {
            let mut by_leaf = BTreeMap::<_, BTreeSet<Sequence>>::new();
            for (sequence, acknowledged) in known.all().filter(|(sequence, _)| !settled.contains(sequence)) {
                let operation = &acknowledged.signed.operation;
                by_leaf.entry(leaf(operation.patient, operation.action.target())).or_default().insert(sequence);
            }
            by_leaf
        });
        let found = entry.target().and_then(|(patient, target)| by_leaf.get(&leaf(patient, target)));
        found.into_iter().flatten().filter_map(|sequence| Some((*sequence, known.operation(*sequence)?)))
    }

    /// The operation was settled: it is no candidate any more.
    fn rule_out(&mut self, sequence: Sequence, operation: &Operation) {
        self.settled.insert(sequence);
        let by_leaf = self.by_leaf.as_mut();
        let on_leaf = by_leaf.and_then(|by_leaf| by_leaf.get_mut(&leaf(operation.patient, operation.action.target())));
        if let Some(on_leaf) = on_leaf {
            on_leaf.remove(&sequence);
        }
    }
}

/// A settled batch that was executed.
pub(super) struct Executed {
    /// The state after it.
    pub(super) ledger: Ledger,
    /// Its operations, in its order.
    pub(super) operations: Vec<Sequence>,
    pub(super) public: PublicInputs,
}

/// Whether an operation can have written an entry of D2. Does not check the signature: that takes a hundred times longer.
fn may_have_written(operation: &Operation, entry: &D2Entry, time: UnixTime) -> bool {
    let action = &operation.action;
    let line = || AuditEntry {
        kind: action.kind(),
        signer: operation.signer,
        target: action.target().into(),
        purpose: action.purpose(),
        time,
        new_leaf: entry.leaf,
        salt: operation.salt,
    };
    entry.target() == Some((operation.patient, action.target())) && line().hash() == entry.audit_entry
}

/// Executes a settled batch. `sizes` are those that L1 takes now, and `resized` says whether it took others before. If `recorded` is that batch, its operations are those that the record names. Otherwise they are found among the
/// candidates by what they wrote. `executed` is called after each operation, with the ledger at that point.
pub(super) fn execute<'a>(
    (ledger, sizes, resized): (&Ledger, &CircuitSizes, bool),
    settled: &SettledBatch,
    recorded: Option<&BatchRecord>,
    candidates: &mut Candidates<'a>,
    mut executed: impl FnMut(Sequence, &Acknowledged, &Ledger),
) -> Result<Executed, DerivationError> {
    let (number, content) = (settled.number, &settled.content);
    let commitment = field::from_bytes(&content.commitment).map_err(|_| DerivationError::Inconsistent(number))?;
    let (pre, post) = (content.pre, content.post);
    if ledger.trees().root() != pre {
        return Err(DerivationError::Fork(number));
    }
    let read = || {
        let d1 = content.d1.iter().map(D1Entry::from_bytes).collect::<Result<_, _>>()?;
        let d2 = content.d2.iter().map(D2Entry::from_bytes).collect::<Result<_, _>>()?;
        Ok::<_, NotCanonical>(BatchData { d1, d2 })
    };
    let data = read().map_err(|_| DerivationError::Inconsistent(number))?;
    // L1 compared the batch with its sizes. If registrars changed them since, the position can be another size's. The commitment is for one size.
    let known = CircuitSizes::v1_all();
    let others = known.iter().filter(|_| resized);
    let holds = |size: &&CircuitVersion| size.holds(data.d1.len(), data.d2.len());
    let mut sizes = sizes.get(content.size).into_iter().chain(others).filter(holds).peekable();
    if sizes.peek().is_none() {
        return Err(DerivationError::Inconsistent(number));
    }
    let unknown = || match derive_trees(ledger.trees().clone(), &data, content.time) {
        Some(trees) if trees.root() == post => DerivationError::UnknownOperations(number),
        _ => DerivationError::Inconsistent(number),
    };

    let mut next = ledger.clone();
    for entry in &data.d1 {
        let operation = L1Operation::from_entry(entry).map_err(|_| DerivationError::Inconsistent(number))?;
        next.consume(&operation, content.time).map_err(|_| DerivationError::Inconsistent(number))?;
    }
    let recorded = recorded.filter(|record| record.public.commitment == commitment && record.time == content.time);
    let mut operations = Vec::new();
    for (position, entry) in data.d2.iter().enumerate() {
        let wrote = |(sequence, operation): (Sequence, &'a Acknowledged)| {
            if !may_have_written(&operation.signed.operation, entry, content.time) {
                return None;
            }
            let checked = next.check(&operation.signed, content.time).ok()?;
            (checked.d2() == entry).then_some((sequence, operation, checked))
        };
        let found = match recorded.and_then(|record| record.operations.get(position)) {
            Some(sequence) => candidates.recorded(*sequence).and_then(|operation| wrote((*sequence, operation))),
            None => candidates.on_leaf_of(entry).find_map(wrote),
        };
        let (sequence, operation, checked) = found.ok_or_else(unknown)?;
        next.apply(checked).map_err(|_| unknown())?;
        executed(sequence, operation, &next);
        candidates.rule_out(sequence, &operation.signed.operation);
        operations.push(sequence);
    }
    if next.trees().root() != post {
        return Err(unknown());
    }
    let derived = |size| PublicInputs::derive(size, ledger.domain(), number, (pre, post), content.time.get(), &data);
    let public = sizes.map(derived).find(|public| public.commitment == commitment);
    let public = public.ok_or(DerivationError::Inconsistent(number))?;
    Ok(Executed { ledger: next, operations, public })
}

/// The state after a batch, derived from its data alone.
fn derive_trees(mut trees: StateTrees, data: &BatchData, time: UnixTime) -> Option<StateTrees> {
    trees.apply(data, time).ok().map(|()| trees)
}

#[cfg(test)]
mod tests;
