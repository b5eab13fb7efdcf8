//! Grants that a delegate gave, and the slots that a delegate may change. Pure.

use std::collections::BTreeMap;

use emr_api::{DelegatedGrant, ManagedGrants, ManagedSlot};
use emr_core::{AccountIndex, Cid, GrantSlot, Opaque, Rights};
use emr_rollup::{
    layout::GRANT_DEPTH,
    operation::{Action, DirectoryCommitment, Domain, Kind, Operation},
    primitive::{eddsa::PublicKey, field},
    state::leaf::{AuditEntry, GrantLeaf, LeafHash, Target},
};

use crate::verify::{
    membership::{MembershipError, StateRoots, check_path},
    settled_state::SettledState,
};

/// Why what the node shows of a delegate's grants cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DelegationError {
    /// A slot is not proved.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// A grant is not one that a delegate signed, or the keys are not those that the delegate signed for.
    #[error("the node shows a grant that no delegate signed ({0}): use another node")]
    Forged(&'static str),
    /// L1 does not hold the grant.
    #[error("the node says that a delegate's grant is settled in batch {0}, but L1 does not hold it: use another node")]
    NotOnL1(u64),
}

/// A grant that has a delegate's signature. Whether it is in force, and so whether the delegate was one, the state tells. Only [`verify`] makes
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedByDelegate {
    operation: Operation,
    slot: GrantSlot,
    leaf: GrantLeaf,
    directory: DirectoryCommitment,
    keys: Option<Cid>,
}

impl SignedByDelegate {
    /// The delegate.
    pub const fn delegate(&self) -> AccountIndex {
        self.operation.signer
    }

    /// The whole operation.
    pub const fn operation(&self) -> &Operation {
        &self.operation
    }

    /// The grant's slot.
    pub const fn slot(&self) -> GrantSlot {
        self.slot
    }

    /// The grant, with 0 uses.
    pub const fn leaf(&self) -> &GrantLeaf {
        &self.leaf
    }

    /// The key directory that the keys lead into.
    pub const fn directory(&self) -> DirectoryCommitment {
        self.directory
    }

    /// The keys that the delegate handed on, if the grant lets somebody read.
    pub const fn keys(&self) -> Option<Cid> {
        self.keys
    }
}

/// Checks that a delegate with this rollup key signed a grant of this patient, with the keys that the node names. The statement checks that the
/// signer was a delegate, so the grant counts only if the state holds it.
///
/// # Errors
/// [`DelegationError::Forged`].
pub fn verify(
    grant: &DelegatedGrant,
    patient: AccountIndex,
    delegate: &PublicKey,
    domain: Domain,
) -> Result<SignedByDelegate, DelegationError> {
    let forged = DelegationError::Forged;
    let operation = grant.signed.operation;
    if operation.patient != patient || !operation.is_by_delegate() {
        return Err(forged("another patient or signer"));
    }
    let Action::SetGrant(set) = operation.action else { return Err(forged("another kind of operation")) };
    if set.directory_before != set.directory_after {
        return Err(forged("it replaces the key directory"));
    }
    grant.signed.verify(domain, delegate).map_err(|_| forged("the signature"))?;
    let reads = set.leaf.rights.contains(Rights::READ);
    let keys = grant.keys.filter(|_| reads);
    if let Some(at) = keys
        && field::from_opaque(Opaque::handed_on(&at.manifest, &at.salt).as_bytes()) != operation.salt
    {
        return Err(forged("the keys"));
    }
    let keys = keys.map(|at| at.manifest);
    Ok(SignedByDelegate { operation, slot: set.slot, leaf: set.leaf, directory: set.directory_after, keys })
}

/// The grants that a delegate may change, and a free slot. Each slot is proved in the settled state. Only [`verify_managed`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedSlots {
    grants: Vec<ManagedSlot>,
    free: Option<ManagedSlot>,
}

impl ProvedSlots {
    /// The slots that hold a grant, with the grant.
    pub fn grants(&self) -> impl Iterator<Item = (GrantSlot, GrantLeaf, bool)> {
        self.grants.iter().filter_map(|view| Some((view.slot, view.leaf?, view.waits)))
    }

    /// A slot that holds no grant.
    pub const fn free(&self) -> Option<&ManagedSlot> {
        self.free.as_ref()
    }
}

/// Checks the slots that a node shows to a delegate. Otherwise the node could make the delegate end the grant of somebody else.
///
/// # Errors
/// [`DelegationError`] if a slot is not as the settled state holds it, or a free slot is not free.
pub fn verify_managed(
    view: &ManagedGrants,
    patient: AccountIndex,
    state: &SettledState,
) -> Result<ProvedSlots, DelegationError> {
    let proof = &view.proof;
    let roots = StateRoots::of(state, proof.identity_root, proof.medical_root, proof.batch)?;
    roots.check_medical(patient, proof.leaf.as_ref(), &proof.path)?;
    let root = proof.leaf.ok_or(MembershipError::NotThere { leaf: "medical leaf" })?.grants_root;
    for slot in view.grants.iter().chain(&view.free) {
        let value = slot.leaf.as_ref().map_or(LeafHash::EMPTY, GrantLeaf::hash);
        check_path("grant", root, GRANT_DEPTH, slot.slot.get(), value, &slot.path)?;
    }
    let free = view.free.clone();
    let is_free = |slot: &ManagedSlot| {
        slot.slot >= GrantSlot::FIRST_ORDINARY && slot.leaf.is_none_or(|leaf| leaf.grantee.is_none())
    };
    if free.as_ref().is_some_and(|slot| !is_free(slot)) {
        return Err(DelegationError::Forged("a free slot that is not free"));
    }
    Ok(ProvedSlots { grants: view.grants.clone(), free })
}

/// Whether an audit entry tells that a delegate changed a grant of this patient.
pub fn is_by_delegate(entry: &AuditEntry, patient: AccountIndex) -> bool {
    matches!(entry.kind, Kind::SetGrant | Kind::Revoke) && entry.signer != patient
}

/// The delegates who wrote the newest grant of a slot, by slot. `entries` is the proved audit chain of the patient, oldest first.
pub fn givers(entries: &[AuditEntry], patient: AccountIndex) -> BTreeMap<GrantSlot, AccountIndex> {
    let mut givers = BTreeMap::new();
    let written = entries.iter().filter(|entry| matches!(entry.kind, Kind::SetGrant | Kind::Revoke | Kind::BreakGlass));
    for entry in written {
        if let Some(Target::Grant(slot)) = entry.target.leaf() {
            match is_by_delegate(entry, patient) {
                true => drop(givers.insert(slot, entry.signer)),
                false => drop(givers.remove(&slot)),
            }
        }
    }
    givers
}
