//! The patient's light check: it recomputes the patient's part of the state from their identity and a state root on L1. Pure.
//!
//! The node sends *all* leaves of the patient's subtree. If it omits, adds or changes one, the root differs, so it cannot hide
//! who has access. The audit chain tells what was done; [`crate::verify::audit`] proves it page by page.

use std::collections::BTreeSet;

use emr_api::{GrantView, RecordSummary, StoredAt, SubtreeView};
use emr_core::{AccountIndex, Cid, Opaque, RecordSlot, Role, UnixTime};
use emr_rollup::{
    layout::{GRANT_DEPTH, RECORD_DEPTH},
    operation::{DirectoryCommitment, Domain, SignedOperation},
    primitive::{
        eddsa::PublicKey,
        field::{self, Fr},
    },
    state::{
        leaf::{IdentityLeaf, LeafHash, Target},
        tree::SparseMerkleTree,
    },
};

use crate::{
    verify::membership::{MembershipError, StateRoots, identity_leaf},
    verify::settled_state::SettledState,
};

/// Why the node's data about a patient's subtree are not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LightError {
    /// The identity leaf or the medical leaf is not in the settled state.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The answer is for another patient.
    #[error("the node answered for patient {0} instead: use another node")]
    OtherPatient(AccountIndex),
    /// The identity leaf is not the patient's.
    #[error("the account does not hold your {0}: someone else registered it, or this is another identity's profile")]
    NotYou(&'static str),
    /// A slot occurs twice.
    #[error("the node lists {0} twice: use another node")]
    Twice(String),
    /// The leaves that the node lists do not have the committed root: it hides, adds or changes some.
    #[error(
        "the {0} that the node lists are not all that the state holds: it hides or changes some. Use another node, and tell your hospital"
    )]
    NotAll(&'static str),
    /// The chain's last entry for a leaf has another value than the leaf.
    #[error("the audit chain does not account for {0}: tell your hospital")]
    Unaccounted(String),
    /// The directory's address does not have the committed value.
    #[error("the node names a key directory that you did not publish: use another node")]
    Directory,
    /// A record's address does not have the committed value.
    #[error("the node names a wrong address for record {0}: use another node")]
    Stored(RecordSlot),
    /// An operation that waits, according to the node, is another patient's, or has the patient's name but not their signature.
    #[error("the node lists a waiting operation that is not yours: use another node")]
    Pending,
}

/// What the patient knows about their own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The rollup.
    pub domain: Domain,
    /// The patient's account.
    pub account: AccountIndex,
    /// The patient's rollup key.
    pub key: PublicKey,
    /// The commitment to the patient's RSA key.
    pub encryption: Fr,
}

/// Every leaf of a patient in the settled state, verified. Only [`verify_subtree`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedLeaves {
    state: SettledState,
    grants: Vec<GrantView>,
    records: Vec<RecordSummary>,
    audit_head: Fr,
    audit_length: u64,
    directory: Option<Cid>,
    pending: Vec<SignedOperation>,
}

impl VerifiedLeaves {
    /// The state against which the leaves were checked.
    pub const fn state(&self) -> &SettledState {
        &self.state
    }

    /// Every grant slot that was ever written, including revoked grants.
    pub fn grants(&self) -> &[GrantView] {
        &self.grants
    }

    /// The grants that hold at a given time: who has access then.
    pub fn access(&self, now: UnixTime) -> impl Iterator<Item = &GrantView> {
        self.grants.iter().filter(move |view| {
            view.grant.grantee.is_some() && view.grant.rights.bits() != 0 && now <= view.grant.not_after
        })
    }

    /// Every record slot that was ever written, including deleted records.
    pub fn records(&self) -> &[RecordSummary] {
        &self.records
    }

    /// The head of the audit chain.
    pub(crate) const fn audit_head(&self) -> Fr {
        self.audit_head
    }

    /// How many entries the audit chain has according to the node. The end of the walk proves it.
    pub(crate) const fn audit_length(&self) -> u64 {
        self.audit_length
    }

    /// Each leaf's hash with its slot.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (Target, LeafHash)> {
        let grants = self.grants.iter().map(|view| (Target::Grant(view.slot), view.grant.hash()));
        grants.chain(self.records.iter().map(|record| (Target::Record(record.slot), record.leaf.hash())))
    }

    /// The key directory in force.
    pub const fn directory(&self) -> Option<&Cid> {
        self.directory.as_ref()
    }

    /// The operations that wait, according to the node. Those in the patient's name have the patient's signature. The signatures of others are
    /// not checked, and nothing proves that the list is complete.
    pub fn pending(&self) -> &[SignedOperation] {
        &self.pending
    }
}

pub(crate) fn name(target: Target) -> String {
    match target {
        Target::Grant(slot) => format!("grant {slot}"),
        Target::Record(slot) => format!("record {slot}"),
    }
}

/// The root of the tree of these leaves. Each slot may occur once.
fn root(depth: usize, leaves: impl Iterator<Item = (Target, LeafHash)>) -> Result<Fr, LightError> {
    let mut tree = SparseMerkleTree::new(depth);
    let mut seen = BTreeSet::new();
    for (target, leaf) in leaves {
        if !seen.insert(target.slot()) {
            return Err(LightError::Twice(name(target)));
        }
        tree.set(target.slot() as u32, leaf);
    }
    Ok(tree.root())
}

fn check_identity(expected: &Expectation, leaf: &IdentityLeaf) -> Result<(), LightError> {
    let checks = [
        ("role", leaf.role == Role::Patient),
        ("rollup key", leaf.key == expected.key),
        ("encryption key", leaf.encryption == expected.encryption),
    ];
    checks.into_iter().find(|(_, holds)| !holds).map_or(Ok(()), |(what, _)| Err(LightError::NotYou(what)))
}

/// The root of the tree of these grants. Each slot may occur once.
pub(crate) fn grants_root(grants: &[GrantView]) -> Result<Fr, LightError> {
    root(GRANT_DEPTH, grants.iter().map(|view| (Target::Grant(view.slot), view.grant.hash())))
}

/// Recomputes a patient's grants and records from all leaves and compares them with the settled state.
///
/// # Errors
/// [`LightError`] if the leaves do not agree with the settled state, or do not belong to this patient.
pub fn verify_subtree(
    expected: &Expectation,
    view: &SubtreeView,
    state: &SettledState,
) -> Result<VerifiedLeaves, LightError> {
    if view.patient != expected.account {
        return Err(LightError::OtherPatient(view.patient));
    }
    let identity = identity_leaf(&view.identity)?;
    check_identity(expected, &identity)?;
    let roots = StateRoots::of(state, view.identity_root, view.medical_root, view.batch)?;
    roots.check_identity(view.patient, &identity, &view.identity_path)?;
    roots.check_medical(view.patient, Some(&view.medical), &view.medical_path)?;

    if grants_root(&view.grants)? != view.medical.grants_root {
        return Err(LightError::NotAll("grants"));
    }
    let records = view.records.iter().map(|record| (Target::Record(record.slot), record.leaf.hash()));
    if root(RECORD_DEPTH, records)? != view.medical.records_root {
        return Err(LightError::NotAll("records"));
    }

    let directory = view.directory;
    if directory.as_ref().map_or(DirectoryCommitment::NONE, DirectoryCommitment::of) != view.medical.key_directory {
        return Err(LightError::Directory);
    }
    for record in &view.records {
        let StoredAt { manifest, salt } = record.stored;
        if field::from_opaque(Opaque::stored(&manifest, &salt).as_bytes()) != record.leaf.stored {
            return Err(LightError::Stored(record.slot));
        }
    }
    let made_up = |signed: &SignedOperation| {
        let operation = &signed.operation;
        let own = operation.signer == view.patient;
        operation.patient != view.patient || own && signed.verify(expected.domain, &expected.key).is_err()
    };
    if view.pending.iter().any(made_up) {
        return Err(LightError::Pending);
    }
    Ok(VerifiedLeaves {
        state: *state,
        grants: view.grants.clone(),
        records: view.records.clone(),
        audit_head: view.medical.audit_head,
        audit_length: view.audit_length,
        directory,
        pending: view.pending.clone(),
    })
}
