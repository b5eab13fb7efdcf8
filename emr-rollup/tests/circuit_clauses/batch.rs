//! C10 to C19: the roots after an operation, the batch, and the public inputs.

use emr_rollup::{
    batch::PublicInputs,
    circuit::{BatchCircuit, CellId, Demand, Diagnosis},
    primitive::field::Fr,
    statement::{Clause, check_batch},
    testing::scenario::*,
};
use halo2_proofs::dev::MockProver;

use crate::harness::*;

#[test]
fn the_forger_is_honest_unless_told_otherwise() {
    let (witness, public) = forger(operations(&VERSION).len()).finish();
    assert_eq!(failures(&witness, &public), []);
    assert_eq!(check_batch(&witness, &public), Ok(()));
    assert_eq!(public, honest(VERSION).1);
}

/// An L1 or L2 slot computes its results. So a lie about a result shows where the result is compared: in the roots and
/// the data.
#[test]
fn c10_c11_c12_c16_what_is_left_follows() {
    type Lie = fn(&mut Fr, &mut emr_rollup::statement::MedicalFields);
    let root: Lie = |_, next| next.grants_root += Fr::from(1);
    let head: Lie = |_, next| next.audit_head += Fr::from(1);
    let skipped: Lie = |_, next| next.audit_head = Fr::from(0);
    let records: Lie = |_, next| next.records_root += Fr::from(1);
    let entry: Lie = |entry, _| *entry += Fr::from(1);
    let directory: Lie = |_, next| next.key_directory = (next.key_directory.element() + Fr::from(1)).into();
    for (clause, what, lie, shows) in [
        (Clause::SubtreeRoot, "another root", root, &[Clause::RootsChain][..]),
        (Clause::AuditHead, "another head", head, &[Clause::RootsChain]),
        (Clause::AuditHead, "no entry", skipped, &[Clause::RootsChain]),
        (Clause::AuditHead, "another entry", entry, &[Clause::DataCommitment, Clause::PublicInputs]),
        (Clause::MedicalLeaf, "the records change too", records, &[Clause::RootsChain]),
        (
            Clause::MedicalLeaf,
            "another directory",
            directory,
            &[Clause::RootsChain, Clause::DataCommitment, Clause::PublicInputs],
        ),
    ] {
        let mut forger = forger(SET);
        let witness = forger.operation(&operations(&VERSION)[SET]);
        forger.push_lying(witness, lie);
        let (witness, public) = forger.finish();
        let found = clauses(&failures(&witness, &public));
        assert_eq!(found, shows.iter().copied().map(Some).collect(), "{clause:?}: {what}");
        assert!(check_batch(&witness, &public).is_err(), "{clause:?}: {what}");
    }
    // One operation has another time than the rest, so its audit entry differs from the one that the circuit computes.
    let mut forger = forger(SET);
    let witness = forger.operation(&operations(&VERSION)[SET]);
    forger.time += 5;
    forger.push(witness);
    forger.time -= 5;
    let (witness, public) = forger.finish();
    assert_eq!(
        clauses(&failures(&witness, &public)),
        only([Clause::RootsChain, Clause::DataCommitment, Clause::PublicInputs])
    );
    assert!(check_batch(&witness, &public).is_err());
}

/// Gates that compute: a change of any of their cells is noticed there.
#[test]
fn c10_c11_c12_c13_cells_are_bound() {
    let (witness, public) = forger(1).finish();
    let circuit = BatchCircuit::new(&witness, &public);
    let diagnosis = Diagnosis::new(&circuit, &public);
    for clause in [Clause::SubtreeRoot, Clause::AuditHead, Clause::MedicalLeaf, Clause::RootsChain] {
        let mut tried = 0;
        let of_clause = |cell: &CellId| diagnosis.origin(*cell).is_some_and(|origin| origin.clause() == clause);
        for cell in diagnosis.cells().filter(of_clause).step_by(7) {
            // The hint for the inverse of 0 may be anything.
            let l = diagnosis.value(CellId { column: 0, ..cell });
            if diagnosis.is_inverse(cell) && l == Fr::from(0) {
                continue;
            }
            let failures = diagnosis.failures_if(cell, diagnosis.value(cell) + one());
            assert!(!failures.is_empty(), "{cell:?} is free");
            // A copy constraint can refuse instead, if another gate computed the value. Rows that only fill a lane have
            // no clause.
            let elsewhere = failures.iter().all(|failure| failure.gate == "copy" || failure.origin.is_none());
            let here = clauses(&failures).contains(&Some(clause));
            assert!(here || elsewhere, "{cell:?} of {:?}: {failures:?}", diagnosis.origin(cell));
            tried += 1;
        }
        assert!(tried > 10, "{clause:?}: {tried} cells");
    }
}

#[test]
fn c13_c15_c16_c18_public_inputs_are_these() {
    let changed = |change: fn(&mut PublicInputs)| {
        let (witness, mut public) = honest(VERSION);
        change(&mut public);
        (witness, public)
    };
    refused_for(Clause::RootsChain, "pre", changed(|public| public.pre = another_root(public.pre)));
    refused_for(Clause::RootsChain, "post", changed(|public| public.post = another_root(public.post)));
    refused_for(Clause::DataCommitment, "commitment", changed(|public| public.commitment += Fr::from(1)));
    refused_for(Clause::PublicInputs, "y1", changed(|public| public.y1 += Fr::from(1)));
    refused_for(Clause::PublicInputs, "y2", changed(|public| public.y2 += Fr::from(1)));
    refused_for(Clause::PublicInputs, "n", changed(|public| public.n += 1));
    refused_for(Clause::L1AsQueued, "n1", changed(|public| public.n1 += 1));
    // z changes both evaluations. The time is in the audit entries, and so in everything after them.
    let (witness, public) = changed(|public| public.z += Fr::from(1));
    assert_eq!(clauses(&failures(&witness, &public)), only([Clause::PublicInputs]));
    let (witness, public) = changed(|public| public.time += 1);
    assert!(!failures(&witness, &public).is_empty() && check_batch(&witness, &public).is_err());
    // Data that differ from what was done.
    let mut forger = forger(3);
    forger.data.d2[1].leaf = (forger.data.d2[1].leaf.element() + one()).into();
    let (witness, public) = forger.finish();
    let found = clauses(&failures(&witness, &public));
    assert_eq!(found, only([Clause::DataCommitment, Clause::PublicInputs]));
    assert_eq!(check_batch(&witness, &public).map_err(|violation| violation.clause), Err(Clause::DataCommitment));
}

#[test]
fn c17_unused_slots_come_last_and_changes_nothing() {
    let (witness, public) = forger(3).finish();
    let mut early = witness.clone();
    let mut hole = witness.operations[0].clone();
    hole.message = Default::default();
    hole.signature = Default::default();
    early.operations.insert(0, hole);
    assert!(clauses(&failures(&early, &public)).contains(&Some(Clause::PublicInputs)));
    // An unused L2 slot may hold anything, but its data must be zeros and the root must stay.
    let circuit = BatchCircuit::new(&witness, &public);
    let diagnosis = Diagnosis::new(&circuit, &public);
    let unused: Vec<_> = diagnosis
        .cells()
        .filter(|cell| diagnosis.origin(*cell).is_some_and(|origin| origin.demand == Demand::UnusedData))
        .filter(|cell| cell.column == 6)
        .collect();
    assert!(!unused.is_empty());
    for cell in unused {
        let failures = diagnosis.failures_if(cell, diagnosis.value(cell) + one());
        assert!(clauses(&failures).contains(&Some(Clause::UnusedEmpty)), "{cell:?}: {failures:?}");
    }
}

#[test]
fn c19_every_field_is_in_range() {
    let cases: [Case; 11] = [
        ("expected", REVOKE, |w| w.message.header.expected += Fr::from(1 << 32)),
        ("valid_until", SET, |w| w.message.header.valid_until += Fr::from(1 << 40)),
        ("purpose", REQUEST, |w| w.message.header.purpose += Fr::from(256)),
        ("signer", DOCTOR_PUT, |w| w.message.header.signer += Fr::from(1 << 24)),
        ("slot", PATIENT_PUT, |w| w.message.header.slot += Fr::from(1 << 16)),
        ("grant scope", SET, |w| w.new_grant.scope += Fr::from(1 << 16)),
        ("grant grantee", SET, |w| w.new_grant.grantee += Fr::from(1 << 24)),
        ("record class", DOCTOR_PUT, |w| w.new_record.class += Fr::from(16)),
        ("old uses", REQUEST, |w| w.old_grant.uses += Fr::from(1 << 32)),
        ("signer's epoch", SET, |w| w.signer.epoch += Fr::from(1 << 32)),
        ("authority not_after", DOCTOR_PUT, |w| w.authority.not_after += Fr::from(1 << 40)),
    ];
    for (what, i, change) in cases {
        let (mut witness, public) = forger(8).finish();
        change(&mut witness.operations[i]);
        let found = clauses(&failures(&witness, &public));
        let outside = found.contains(&Some(Clause::InRange))
            || found.contains(&Some(Clause::SignerKnown))
            || found.contains(&Some(Clause::TargetExpected));
        assert!(outside, "{what}: {found:?}");
        let native = check_batch(&witness, &public).map_err(|violation| violation.clause);
        assert_eq!(native, Err(Clause::InRange), "{what}");
    }
    // A field that overflows into its neighbour. The packing is the same, but the fields differ.
    let overflow = tampered(SET, |w| {
        w.new_grant.rights -= one();
        w.new_grant.scope += Fr::from(1 << 16);
    });
    let found = clauses(&failures(&overflow.0, &overflow.1));
    assert_eq!(found, only([Clause::InRange]));
}

/// Reasons from 8 on are not assigned. Nobody could read an audit entry with one.
#[test]
fn c19_a_purpose_has_an_assigned_reason() {
    for reason in 8..16 {
        let case = altered(REQUEST, |w| w.message.header.purpose = Fr::from(reason << 4));
        refused_for(Clause::InRange, "unassigned reason", case);
    }
    for reason in 0..8 {
        let (witness, public) = altered(REQUEST, |w| w.message.header.purpose = Fr::from(reason << 4));
        assert_eq!(failures(&witness, &public), []);
        assert_eq!(check_batch(&witness, &public), Ok(()));
    }
}

/// The diagnosis finds the failures that MockProver finds.
#[test]
fn mock_prover_agrees() {
    for (witness, public) in [honest(VERSION), altered(SET, |w| w.message.header.valid_until = Fr::from(TIME - 1))] {
        let circuit = BatchCircuit::new(&witness, &public);
        let ours = Diagnosis::new(&circuit, &public).failures();
        let prover = MockProver::run(VERSION.k, &circuit, vec![public.elements().to_vec()]).unwrap();
        let theirs = prover.verify().err().unwrap_or_default();
        assert_eq!(ours.len(), theirs.len(), "{ours:?} {theirs:?}");
    }
}
