//! An authorship from an opened envelope.

use emr_core::{AccountIndex, Authorship, Class, CommitmentRoot, Opaque, RecordSlot, Version};

pub(crate) fn check(data: &[u8]) -> bool {
    match Authorship::from_dag_cbor(data) {
        Ok(authorship) => {
            assert_eq!(authorship.to_dag_cbor(), data, "one byte form");
            assert_eq!(authorship.version.get() == 1, authorship.previous.is_none());
            true
        }
        Err(error) => {
            crate::one_line(&error);
            false
        }
    }
}

pub(crate) fn seeds() -> crate::Seeds {
    let first = Authorship {
        domain: [3; 32],
        patient: AccountIndex::new(7)?,
        slot: RecordSlot::new(300)?,
        version: Version::new(1)?,
        class: Class::Laboratory,
        commitment: CommitmentRoot::new([0xc0; 32]),
        previous: None,
    };
    let second = Authorship { version: Version::new(2)?, previous: Some(Opaque::of(b"first")), ..first.clone() };
    Ok(vec![first.to_dag_cbor(), second.to_dag_cbor()])
}
