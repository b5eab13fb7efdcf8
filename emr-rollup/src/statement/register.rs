//! Admitting an account. The operation is total: an entry that cannot take effect is consumed and changes nothing.

use emr_core::{AccountEpoch, Role};
use halo2curves::ff::Field;

use super::{Clause, RegistrationWitness, Violation, require};
use crate::{
    batch::Words,
    operation::Kind,
    primitive::field::{Fr, to_u64},
    state::{leaf::MedicalLeaf, tree::empty_root},
    statement::IdentityFields,
    version::CircuitVersion,
};

/// What a registration does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrationEffect {
    /// Identity root after.
    pub identity_root: Fr,
    /// Medical root after.
    pub medical_root: Fr,
    /// The entry's words.
    pub d1: Words,
}

/// Checks one L1 operation and says what it does.
///
/// # Errors
/// The clause it breaks.
pub fn check_registration(
    version: &CircuitVersion,
    (identity_root, medical_root): (Fr, Fr),
    witness: &RegistrationWitness,
) -> Result<RegistrationEffect, Violation> {
    let entry = &witness.entry;
    entry.check_ranges()?;
    require(entry.kind == Fr::from(u64::from(Kind::Register.code())), Clause::L1AsQueued, "kind")?;
    require(
        witness.identity_path.depth() == version.account_depth && witness.medical_path.depth() == version.account_depth,
        Clause::L1AsQueued,
        "path length",
    )?;
    let position = to_u64(&entry.account).unwrap_or(u64::MAX) as u32;
    require(u64::from(position) >> version.account_depth == 0, Clause::L1AsQueued, "account beyond the tree")?;
    require(
        witness.identity_path.root(position, witness.old_identity) == identity_root,
        Clause::L1AsQueued,
        "identity leaf under the identity root",
    )?;
    require(
        witness.medical_path.root(position, witness.old_medical) == medical_root,
        Clause::L1AsQueued,
        "medical leaf under the medical root",
    )?;
    let d1 = entry.words();
    if witness.old_identity != Fr::ZERO {
        // Already registered: consumed without effect.
        return Ok(RegistrationEffect { identity_root, medical_root, d1 });
    }
    require(witness.old_medical == Fr::ZERO, Clause::L1AsQueued, "a medical leaf without an identity")?;
    let identity = IdentityFields {
        role: entry.role,
        status: entry.status,
        org: entry.org,
        epoch: AccountEpoch::FIRST.get().into(),
        key_x: entry.key_x,
        key_y: entry.key_y,
        encryption: entry.opaque,
    };
    let is_patient = entry.role == Fr::from(u64::from(Role::Patient.code()));
    let medical = if is_patient { registered_medical(version).hash() } else { Fr::ZERO };
    Ok(RegistrationEffect {
        identity_root: witness.identity_path.root(position, identity.hash()),
        medical_root: witness.medical_path.root(position, medical),
        d1,
    })
}

/// The medical leaf of a new patient at this version's depths.
pub(crate) fn registered_medical(version: &CircuitVersion) -> MedicalLeaf {
    MedicalLeaf {
        grants_root: empty_root(version.grant_depth),
        records_root: empty_root(version.record_depth),
        audit_head: Fr::ZERO,
        key_directory: Fr::ZERO,
    }
}
