//! Changes each field of each kind's witness, one at a time. The circuit must refuse it, unless the field is on the
//! list of those that the operation does not use. This finds constraints that are missing altogether. Changes of single
//! cells cannot find those.
#![cfg(feature = "prover")]
#![expect(clippy::unwrap_used, reason = "tests")]

use emr_rollup::testing::scenario::*;
use emr_rollup::{
    batch::PublicInputs,
    circuit::{BatchCircuit, Diagnosis},
    operation::Kind,
    primitive::field::{self, Fr},
    state::tree::levels,
    statement::{BatchWitness, EntryWitness, check_batch},
    version::CircuitVersion,
};
use serde_json::Value;

/// One L1 slot and one L2 slot, so that a batch is one operation.
const SINGLE: CircuitVersion =
    CircuitVersion { number: 1, account_depth: 4, grant_depth: 2, record_depth: 4, max_l1: 1, max_l2: 1, k: 12 };

/// The paths of all elements of a JSON tree.
fn elements(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.len() == 66 => found.push(path),
        Value::Object(map) => map.iter().for_each(|(key, value)| elements(value, format!("{path}/{key}"), found)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, value)| elements(value, format!("{path}/{i}"), found));
        }
        _ => {}
    }
}

fn changed(witness: &Value, path: &str, by: Fr) -> BatchWitness {
    let mut witness = witness.clone();
    let place = witness.pointer_mut(path).unwrap();
    let mut bytes = [0; 32];
    field_bytes(place, &mut bytes);
    let value = field::from_bytes(&bytes).unwrap() + by;
    *place = Value::String(format!("0x{}", hex::encode(field::to_bytes(&value))));
    serde_json::from_value(witness).unwrap()
}

fn field_bytes(value: &Value, bytes: &mut [u8; 32]) {
    hex::decode_to_slice(value.as_str().unwrap().trim_start_matches("0x"), bytes).unwrap();
}

/// Whether an operation of this kind does not read a field, so that its witness may hold anything there.
fn unused(kind: u64, delegated: bool, path: &str) -> bool {
    let field = path.trim_start_matches("/operations/0/");
    let is_record = matches!(kind, 1..=3);
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| field.starts_with(prefix));
    // No grant is needed.
    let authority = !delegated && starts(&["authority"]);
    // The target is not read as the other kind of leaf.
    let other = if is_record { starts(&["old_grant/", "new_grant/"]) } else { starts(&["old_record/", "new_record/"]) };
    // A slot of the records tree has a longer path than one of the grants tree.
    let above = !is_record
        && (levels(SINGLE.grant_depth)..levels(SINGLE.record_depth))
            .any(|level| field.starts_with(&format!("target_path/{level}/")));
    authority || other || above
}

/// Whether an L1 operation does not read a field of its witness.
fn unused_entry(entry: &EntryWitness, path: &str) -> bool {
    let field = path.trim_start_matches("/entries/0/");
    let is_patient = entry.identity.role == Fr::from(1);
    let ends = is_patient && entry.entry.kind == Fr::from(u64::from(Kind::ForcedRevoke.code()));
    let medical = field.starts_with("medical/") && !is_patient;
    let grant = (field == "grant" || field.starts_with("grant_path/")) && !ends;
    medical || grant
}

#[test]
fn every_witness_field_matters() {
    let batches = one_by_one(SINGLE);
    std::thread::scope(|scope| {
        for half in 0..2 {
            let batches = &batches;
            scope.spawn(move || {
                for (i, (witness, public)) in batches.iter().enumerate().filter(|(i, _)| i % 2 == half) {
                    every_field_matters(i, witness, public);
                }
            });
        }
    });
}

fn every_field_matters(batch: usize, witness: &BatchWitness, public: &PublicInputs) {
    let honest = BatchCircuit::new(witness, public);
    assert_eq!(Diagnosis::new(&honest, public).failures(), []);
    let json = serde_json::to_value(witness).unwrap();
    let mut paths = Vec::new();
    elements(&json, String::new(), &mut paths);
    let entry = witness.entries.first();
    let operation = witness.operations.first();
    let kind = operation.map_or(0, |operation| field::to_u64(&operation.message.header.kind).unwrap());
    let delegated = operation
        .is_some_and(|operation| operation.message.header.signer != operation.message.header.patient)
        && matches!(kind, 1 | 2 | 4 | 5);
    for path in paths {
        let witness = changed(&json, &path, Fr::from(1));
        let circuit = BatchCircuit::new(&witness, public);
        let refused = !Diagnosis::new(&circuit, public).failures().is_empty();
        if unused(kind, delegated, &path) || entry.is_some_and(|entry| unused_entry(entry, &path)) {
            continue;
        }
        assert!(refused, "batch {batch}, kind {kind}: {path} is free");
        // The statement must refuse it too. Otherwise an honest batch could not be proved.
        assert!(check_batch(&witness, public).is_err(), "batch {batch}, kind {kind}: {path} is needlessly bound");
    }
}
