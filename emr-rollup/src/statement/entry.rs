//! The statement for one L1 operation. It is total: an entry that cannot take effect is consumed and changes nothing.

use emr_core::{AccountEpoch, Role};
use halo2curves::ff::Field;

use super::{Clause, EntryWitness, IdentityFields, MedicalFields, Violation, is_code, number, require};
use crate::{
    batch::D1Entry,
    l1_operation::{AccountRule, L1Rule, MedicalRule},
    layout,
    operation::{DirectoryCommitment, Kind},
    primitive::{
        field::Fr,
        poseidon::{self, Tag},
    },
    state::{
        leaf::{LeafHash, MedicalLeaf, Tree, extend_head},
        tree::empty_root,
    },
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

/// Checks one L1 operation of a batch with this time, and returns its effect.
///
/// # Errors
/// [`Violation`] with the clause that the entry breaks.
pub fn check_entry(
    version: &CircuitVersion,
    time: u64,
    (identity_root, medical_root): (Fr, Fr),
    witness: &EntryWitness,
) -> Result<EntryEffect, Violation> {
    let (entry, old) = (&witness.entry, &witness.identity);
    let rule = check_ranges(version, witness)?;
    let position = number(&entry.account) as u32;
    // An account that is not registered has leaf 0. Then all its fields are 0, so its role is no patient's.
    let old_identity = if old.is_empty() { LeafHash::EMPTY } else { old.hash() };
    require(
        witness.identity_path.root(position, old_identity) == identity_root,
        Clause::L1AsQueued,
        "identity leaf under the identity root",
    )?;
    let is_patient = is_code(&old.role, Role::Patient.code());
    let old_medical = if is_patient { witness.medical.hash() } else { LeafHash::EMPTY };
    require(
        witness.medical_path.root(position, old_medical) == medical_root,
        Clause::L1AsQueued,
        "medical leaf under the medical root",
    )?;

    let d1 = entry.entry();
    let allowed = match rule.account {
        AccountRule::Fresh => old.is_empty(),
        AccountRule::Registered => !old.is_empty(),
        AccountRule::Patient => is_patient,
    };
    // No epoch follows the last one. The entry must not make the batch impossible, so it has no effect.
    if !allowed || old.epoch == Fr::from(AccountEpoch::MAX) {
        return Ok(EntryEffect { identity_root, medical_root, d1 });
    }
    let identity = IdentityFields {
        role: rule.profile.of(entry.role, old.role),
        status: rule.status.of(entry.status, old.status),
        org: rule.profile.of(entry.org, old.org),
        epoch: old.epoch + Fr::ONE,
        key_x: rule.keys.of(entry.key_x, old.key_x),
        key_y: rule.keys.of(entry.key_y, old.key_y),
        encryption: rule.keys.of(entry.opaque, old.encryption),
    };
    let medical = match rule.medical {
        MedicalRule::EmptyForPatient if is_code(&entry.role, Role::Patient.code()) => empty_medical(version).hash(),
        MedicalRule::EmptyForPatient | MedicalRule::Stays => old_medical,
        MedicalRule::GrantsEnd => without_grants(version, time, witness)?.hash(),
    };
    Ok(EntryEffect {
        identity_root: witness.identity_path.root(position, identity.hash()),
        medical_root: witness.medical_path.root(position, medical),
        d1,
    })
}

/// Checks C19, and the shapes that the circuit has by construction.
fn check_ranges(version: &CircuitVersion, witness: &EntryWitness) -> Result<&'static L1Rule, Violation> {
    let (entry, old) = (&witness.entry, &witness.identity);
    entry.check_ranges()?;
    require(number(&entry.tree) <= Tree::Grants as u64, Clause::InRange, "tree of an entry")?;
    old.check_ranges()?;
    require(
        !old.is_empty() || *old == IdentityFields::default(),
        Clause::InRange,
        "an empty identity leaf holds nothing",
    )?;
    let kind = Kind::L1.into_iter().find(|kind| is_code(&entry.kind, kind.code()));
    let rule = kind.and_then(Kind::l1_rule).ok_or(Violation { clause: Clause::L1AsQueued, detail: "kind" })?;
    require(
        witness.identity_path.depth() == version.account_depth
            && witness.medical_path.depth() == version.account_depth
            && witness.grant_path.depth() == version.grant_depth,
        Clause::L1AsQueued,
        "path length",
    )?;
    require(number(&entry.account) >> version.account_depth == 0, Clause::L1AsQueued, "account beyond the tree")?;
    require(number(&entry.slot) >> version.grant_depth == 0, Clause::L1AsQueued, "slot beyond the tree")?;
    Ok(rule)
}

/// The medical leaf after the end of the grant in the queued slot, or of all grants. The records stay.
fn without_grants(version: &CircuitVersion, time: u64, witness: &EntryWitness) -> Result<MedicalFields, Violation> {
    let (entry, old, path) = (&witness.entry, &witness.medical, &witness.grant_path);
    let slot = number(&entry.slot) as u32;
    require(path.root(slot, witness.grant) == old.grants_root, Clause::L1AsQueued, "grant under the grants root")?;
    let one_slot = entry.tree != Fr::ZERO;
    let packed =
        layout::AUDIT_ENTRY.pack_elements([entry.kind, entry.account, entry.tree, entry.slot, Fr::ZERO, time.into()]);
    let audit_entry = poseidon::hash(Tag::AuditEntry, &[packed, LeafHash::EMPTY.element(), Fr::ZERO]);
    Ok(MedicalFields {
        grants_root: if one_slot { path.root(slot, LeafHash::EMPTY) } else { empty_root(version.grant_depth) },
        records_root: old.records_root,
        audit_head: extend_head(old.audit_head, audit_entry),
        key_directory: if entry.replace_directory == Fr::ONE { entry.opaque.into() } else { old.key_directory },
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
