//! The commitment to a participant's encryption key, as the identity leaf holds it: one field element.

use emr_core::Role;
use emr_rollup::primitive::field::{self, Fr};

pub use emr_crypto::CommittedKey;

/// The commitment as a field element of the identity leaf.
pub fn element(key: &CommittedKey) -> Fr {
    field::from_opaque(key.commitment().as_bytes())
}

/// Whether an account of this role, with this element in its identity leaf, commits to the key. Each role has one formula: a patient's needs a
/// salt, and the others must not have one.
pub fn matches(key: &CommittedKey, role: Role, encryption: &Fr) -> bool {
    (role == Role::Patient) == key.salt.is_some() && element(key) == *encryption
}
