//! The statement for one L1 operation. It is total: an entry that cannot take effect is consumed and changes nothing.

use emr_core::{AccountEpoch, Role};
use halo2curves::ff::Field;

use super::{Clause, EntryWitness, Violation, is_code, require};
use crate::{
    batch::D1Entry,
    l1_operation::{AccountRule, IdentityRule, MedicalRule},
    operation::{DirectoryCommitment, Kind},
    primitive::field::{Fr, to_u64},
    state::{
        leaf::{LeafHash, MedicalLeaf},
        tree::empty_root,
    },
    statement::IdentityFields,
    version::CircuitVersion,
};

/// The effect of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryEffect {
    /// The identity root after the entry.
    pub identity_root: Fr,
    /// The medical root after the entry.
    pub medical_root: Fr,
    /// The entry of D1.
    pub d1: D1Entry,
}

/// Checks one L1 operation and returns its effect.
///
/// # Errors
/// [`Violation`] with the clause that the entry breaks.
pub fn check_entry(
    version: &CircuitVersion,
    (identity_root, medical_root): (Fr, Fr),
    witness: &EntryWitness,
) -> Result<EntryEffect, Violation> {
    let entry = &witness.entry;
    entry.check_ranges()?;
    let kind = Kind::L1.into_iter().find(|kind| is_code(&entry.kind, kind.code()));
    let rule = kind.and_then(Kind::l1_rule).ok_or(Violation { clause: Clause::L1AsQueued, detail: "kind" })?;
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
    let d1 = entry.entry();
    match rule.account {
        AccountRule::Fresh if witness.old_identity != LeafHash::EMPTY => {
            return Ok(EntryEffect { identity_root, medical_root, d1 });
        }
        AccountRule::Fresh => {
            require(witness.old_medical == LeafHash::EMPTY, Clause::L1AsQueued, "a medical leaf without an identity")?;
        }
    }
    let identity = match rule.identity {
        IdentityRule::AsQueued => IdentityFields {
            role: entry.role,
            status: entry.status,
            org: entry.org,
            epoch: AccountEpoch::FIRST.get().into(),
            key_x: entry.key_x,
            key_y: entry.key_y,
            encryption: entry.opaque,
        },
    };
    let medical = match rule.medical {
        MedicalRule::EmptyForPatient if is_code(&entry.role, Role::Patient.code()) => empty_medical(version).hash(),
        MedicalRule::EmptyForPatient => LeafHash::EMPTY,
    };
    Ok(EntryEffect {
        identity_root: witness.identity_path.root(position, identity.hash()),
        medical_root: witness.medical_path.root(position, medical),
        d1,
    })
}

/// The medical leaf of a new patient at this version's depths.
pub(crate) fn empty_medical(version: &CircuitVersion) -> MedicalLeaf {
    MedicalLeaf {
        grants_root: empty_root(version.grant_depth),
        records_root: empty_root(version.record_depth),
        audit_head: Fr::ZERO,
        key_directory: DirectoryCommitment::NONE,
    }
}
