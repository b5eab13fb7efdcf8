//! The patient's light check: everything that is said of her, recomputed from her identity and a state root on L1. Pure.
//!
//! The node sends *all* leaves of her subtree. One that it leaves out, adds or changes makes another root, so it cannot hide
//! who has access. What was done is in the audit chain, which [`crate::verify::audit`] proves page by page.

use std::collections::BTreeSet;

use emr_api::{GrantView, RecordSummary, SubtreeView};
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
    verify::record::stored_at,
    verify::settled_state::SettledState,
};

/// Why the node's account of a patient's subtree is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LightError {
    /// Identity or medical leaf are not in the settled state.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The answer is for another patient.
    #[error("the node answered for patient {0} instead: use another node")]
    OtherPatient(AccountIndex),
    /// The identity leaf is not hers.
    #[error("the account does not hold your {0}: someone else registered it, or this is another identity's profile")]
    NotYou(&'static str),
    /// A slot comes twice.
    #[error("the node lists {0} twice: use another node")]
    Twice(String),
    /// What the node lists does not make the root that is committed to: it hides, adds or changes something.
    #[error(
        "the {0} that the node lists are not all that the state holds: it hides or changes some. Use another node, and tell your hospital"
    )]
    NotAll(&'static str),
    /// The chain's last entry for a leaf says another value than the leaf has.
    #[error("the audit chain does not account for {0}: tell your hospital")]
    Unaccounted(String),
    /// The directory's address is not the one that is committed to.
    #[error("the node names a key directory that you did not publish: use another node")]
    Directory,
    /// A record's address is not the one that is committed to.
    #[error("the node names a wrong address for record {0}: use another node")]
    Stored(RecordSlot),
    /// An operation that is said to wait is another patient's, or in her name and not signed by her.
    #[error("the node lists a waiting operation that is not yours: use another node")]
    Pending,
}

/// What a patient knows of herself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The rollup.
    pub domain: Domain,
    /// Her account.
    pub account: AccountIndex,
    /// Her rollup key.
    pub key: PublicKey,
    /// The commitment to her RSA key.
    pub encryption: Fr,
}

/// Every leaf that the settled state holds of a patient, verified. Only [`verify_subtree`] makes one.
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
    /// The state it was checked against.
    pub const fn state(&self) -> &SettledState {
        &self.state
    }

    /// Every grant slot that was ever written, revoked ones included.
    pub fn grants(&self) -> &[GrantView] {
        &self.grants
    }

    /// Who has access at a time: the grants that hold then.
    pub fn access(&self, now: UnixTime) -> impl Iterator<Item = &GrantView> {
        self.grants.iter().filter(move |view| {
            view.grant.grantee.is_some() && view.grant.rights.bits() != 0 && now <= view.grant.not_after
        })
    }

    /// Every record slot that was ever written, deleted ones included.
    pub fn records(&self) -> &[RecordSummary] {
        &self.records
    }

    /// The head of the audit chain.
    pub(crate) const fn audit_head(&self) -> Fr {
        self.audit_head
    }

    /// How many entries the audit chain has by the node's word; proved at the end of the walk.
    pub(crate) const fn audit_length(&self) -> u64 {
        self.audit_length
    }

    /// Each leaf with its place.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (Target, LeafHash)> {
        let grants = self.grants.iter().map(|view| (Target::Grant(view.slot), view.grant.hash()));
        grants.chain(self.records.iter().map(|record| (Target::Record(record.slot), record.leaf.hash())))
    }

    /// The key directory in force.
    pub const fn directory(&self) -> Option<&Cid> {
        self.directory.as_ref()
    }

    /// What the node says is still to come. Those in her own name she signed; of others' only the node knows the keys, and
    /// nothing proves that it is all.
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

/// Root of the tree of these leaves; each slot once.
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

/// Root of the tree of these grants; each slot once.
pub(crate) fn grants_root(grants: &[GrantView]) -> Result<Fr, LightError> {
    root(GRANT_DEPTH, grants.iter().map(|view| (Target::Grant(view.slot), view.grant.hash())))
}

/// Recomputes a patient's grants and records from all leaves and compares them with the settled state.
///
/// # Errors
/// [`LightError`].
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

    let directory = view.directory.as_ref().map(|text| Cid::try_from(text.as_str())).transpose();
    let directory = directory.map_err(|_| LightError::Directory)?;
    if directory.as_ref().map_or(DirectoryCommitment::NONE, DirectoryCommitment::of) != view.medical.key_directory {
        return Err(LightError::Directory);
    }
    for record in &view.records {
        let wrong = LightError::Stored(record.slot);
        let (manifest, salt) = stored_at(record.slot, &record.stored).map_err(|_| wrong.clone())?;
        if field::from_opaque(Opaque::stored(&manifest, &salt).as_bytes()) != record.leaf.stored {
            return Err(wrong);
        }
    }
    let made_up = |signed: &SignedOperation| {
        let operation = &signed.operation;
        let hers = operation.signer == view.patient;
        operation.patient != view.patient || hers && signed.verify(expected.domain, &expected.key).is_err()
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
