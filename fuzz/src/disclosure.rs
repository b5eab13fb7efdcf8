//! A disclosure, which somebody hands over as a file.

use std::sync::LazyLock;

use emr_core::commitment::DisclosureError;
use emr_core::{Commitment, CommitmentRoot, Disclosure, Record, SaltSeed, fhir};

static RECORD: LazyLock<Record> = LazyLock::new(|| fhir::import(crate::fhir::PATIENT).expect("a resource"));
static ROOT: LazyLock<CommitmentRoot> = LazyLock::new(|| Commitment::of(&RECORD, &SEED).root());
const SEED: SaltSeed = SaltSeed::new([7; 32]);

pub(crate) fn check(data: &[u8]) -> bool {
    let disclosure = match Disclosure::from_dag_cbor(data) {
        Ok(disclosure) => disclosure,
        Err(error) => {
            crate::one_line(&error);
            return false;
        }
    };
    assert_eq!(disclosure.to_dag_cbor(), data, "one byte form");
    match disclosure.verify(&ROOT) {
        // Nothing that is accepted says anything but the record.
        Ok(shown) => assert!(shown.iter().all(|(key, value)| RECORD.get(key) == Some(value))),
        Err(error) => {
            assert!(matches!(error, DisclosureError::NotCommitted | DisclosureError::Malformed));
            crate::one_line(&error);
        }
    }
    true
}

pub(crate) fn seeds() -> crate::Seeds {
    let commitment = Commitment::of(&RECORD, &SEED);
    let some = |step: usize| commitment.disclose(RECORD.fields().keys().step_by(step)).map(|shown| shown.to_dag_cbor());
    Ok([1, 2, 5].map(some).into_iter().collect::<Result<_, _>>()?)
}
