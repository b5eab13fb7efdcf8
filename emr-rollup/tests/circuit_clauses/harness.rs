//! Makes false batches from the honest history, and checks which clause refuses them.

use std::collections::BTreeSet;

use emr_rollup::{
    batch::PublicInputs,
    circuit::{BatchCircuit, Diagnosis, Failure},
    l1_operation::L1Operation,
    operation::SignedOperation,
    primitive::field::Fr,
    statement::{BatchWitness, Clause, EntryFields, OperationWitness, check_batch},
    testing::{forger::Forger, scenario::*},
    version::CircuitVersion,
};

pub(crate) const VERSION: CircuitVersion =
    CircuitVersion { number: 1, account_depth: 4, grant_depth: 2, record_depth: 4, max_l1: 5, max_l2: 13, k: 15 };

pub(crate) fn failures(witness: &BatchWitness, public: &PublicInputs) -> Vec<Failure> {
    let circuit = BatchCircuit::new(witness, public);
    Diagnosis::new(&circuit, public).failures()
}

/// The violated clauses. `None` stands for a row that only fills a lane.
pub(crate) fn clauses(failures: &[Failure]) -> BTreeSet<Option<Clause>> {
    failures.iter().map(|failure| failure.origin.map(|origin| origin.clause())).collect()
}

/// Exactly these clauses, and no row without a clause.
pub(crate) fn only<const N: usize>(clauses: [Clause; N]) -> BTreeSet<Option<Clause>> {
    clauses.map(Some).into()
}

/// Statement and circuit must both refuse the batch, for this clause and no other.
pub(crate) fn refused_for(clause: Clause, what: &str, (witness, public): (BatchWitness, PublicInputs)) {
    let failures = failures(&witness, &public);
    let found = clauses(&failures);
    let shown: Vec<_> = failures.iter().take(4).map(ToString::to_string).collect();
    assert_eq!(found, only([clause]), "{what}: {shown:#?}");
    let native = check_batch(&witness, &public).map_err(|violation| violation.clause);
    assert_eq!(native, Err(clause), "{what}: the plain-Rust statement");
}

pub(crate) fn entries() -> Vec<EntryFields> {
    registrations().into_iter().map(|registration| L1Operation::from(registration).fields()).collect()
}

pub(crate) fn forger_with(entries: &[EntryFields]) -> Forger {
    let mut forger = Forger::new(VERSION);
    for entry in entries {
        let witness = forger.entry(*entry);
        forger.push_entry(witness);
    }
    forger
}

/// The honest history up to operation `count`.
pub(crate) fn forger(count: usize) -> Forger {
    let mut forger = forger_with(&entries());
    push_all(&mut forger, &operations(&VERSION)[..count]);
    forger
}

pub(crate) fn push_all(forger: &mut Forger, operations: &[SignedOperation]) {
    for operation in operations {
        let witness = forger.operation(operation);
        forger.push(witness);
    }
}

/// The honest history, and then a batch with these entries.
pub(crate) fn forger_after(history: usize, entries: &[L1Operation]) -> Forger {
    let mut forger = forger(history);
    forger.begin_batch();
    push_entries(&mut forger, entries);
    forger
}

pub(crate) fn push_entries(forger: &mut Forger, entries: &[L1Operation]) {
    for entry in entries {
        let witness = forger.entry(entry.fields());
        forger.push_entry(witness);
    }
}

/// Operation `i` of the honest history, changed and signed again.
pub(crate) fn altered(i: usize, change: impl FnOnce(&mut OperationWitness)) -> (BatchWitness, PublicInputs) {
    let mut forger = forger(i);
    let mut witness = forger.operation(&operations(&VERSION)[i]);
    change(&mut witness);
    forger.sign(&mut witness);
    forger.push(witness);
    forger.finish()
}

/// The same as [`altered`], but not signed again.
pub(crate) fn tampered(i: usize, change: impl FnOnce(&mut OperationWitness)) -> (BatchWitness, PublicInputs) {
    let mut forger = forger(i);
    let mut witness = forger.operation(&operations(&VERSION)[i]);
    change(&mut witness);
    forger.push(witness);
    forger.finish()
}

/// The honest history up to an operation, and then another operation.
pub(crate) fn added(after: usize, operation: &SignedOperation) -> (BatchWitness, PublicInputs) {
    let mut forger = forger(after);
    let witness = forger.operation(operation);
    forger.push(witness);
    forger.finish()
}

pub(crate) fn one() -> Fr {
    Fr::from(1)
}

/// Replaces the first sibling of a path.
pub(crate) fn bent(path: &emr_rollup::state::tree::Path) -> emr_rollup::state::tree::Path {
    let mut siblings: Vec<_> = path.siblings().collect();
    siblings[0][0] += one();
    emr_rollup::state::tree::Path::new(siblings)
}

/// A name, the number of the operation to change, and the change.
pub(crate) type Case = (&'static str, usize, fn(&mut OperationWitness));

pub(crate) const SET: usize = 0;
pub(crate) const DOCTOR_PUT: usize = 2;
pub(crate) const PATIENT_PUT: usize = 3;
pub(crate) const SECOND_PUT: usize = 4;
pub(crate) const TOMBSTONE: usize = 5;
pub(crate) const REQUEST: usize = 6;
pub(crate) const REVOKE: usize = 7;
pub(crate) const REKEY: usize = 8;
pub(crate) const BREAK_GLASS: usize = 9;
