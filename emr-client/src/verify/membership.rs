//! Checks that leaves are in the settled state, by their paths to roots that L1 holds. Pure.

use emr_core::{AccountEpoch, AccountIndex, AccountStatus, Role};
use emr_rollup::{
    layout::ACCOUNT_DEPTH,
    primitive::{
        eddsa::PublicKey,
        field::{Fr, to_u64},
    },
    state::{
        leaf::{IdentityLeaf, LeafHash, MedicalLeaf},
        state_root,
        tree::Path,
    },
    statement::IdentityFields,
};

use crate::verify::settled_state::SettledState;

/// Why a proof does not show that a leaf is in the settled state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// The two roots do not hash to the state root that L1 holds.
    #[error(
        "the node proves against the state after batch {node}, but L1 holds another one after batch {settled}: ask again in a moment, or another node"
    )]
    OtherState {
        /// The last batch that the node names.
        node: u64,
        /// The number of batches settled on L1.
        settled: u64,
    },
    /// The path does not have as many levels as its tree, so it proves nothing.
    #[error("the node's path of the {leaf} is for a tree of depth {actual} instead of {expected}: use another node")]
    PathLength {
        /// The leaf.
        leaf: &'static str,
        /// The tree's depth.
        expected: usize,
        /// The path's number of levels.
        actual: usize,
    },
    /// The path leads to another root.
    #[error("the {leaf} that the node sent is not in the state that L1 holds: use another node")]
    NotThere {
        /// The leaf.
        leaf: &'static str,
    },
    /// The identity leaf has a value that no registration gives.
    #[error("the identity that the node sent is malformed ({field}): use another node")]
    Identity {
        /// The field.
        field: &'static str,
    },
}

/// Reads an identity leaf's fields. Each must be in range, because other fields could have the same hash if one were
/// out of range.
///
/// # Errors
/// [`MembershipError::Identity`] if a field is out of range.
pub fn identity_leaf(fields: &IdentityFields) -> Result<IdentityLeaf, MembershipError> {
    let malformed = |field| MembershipError::Identity { field };
    let byte = |element: &Fr| to_u64(element).and_then(|value| u8::try_from(value).ok());
    let org = to_u64(&fields.org).ok_or(malformed("org"))?;
    Ok(IdentityLeaf {
        role: byte(&fields.role).and_then(Role::from_code).ok_or(malformed("role"))?,
        status: byte(&fields.status).and_then(AccountStatus::from_code).ok_or(malformed("status"))?,
        org: if org == 0 { None } else { Some(AccountIndex::new(org).map_err(|_| malformed("org"))?) },
        epoch: to_u64(&fields.epoch).and_then(|epoch| AccountEpoch::new(epoch).ok()).ok_or(malformed("epoch"))?,
        key: PublicKey::from_coordinates(fields.key_x, fields.key_y).map_err(|_| malformed("key"))?,
        encryption: fields.encryption,
    })
}

/// Checks that a leaf value is at a position under a root.
///
/// # Errors
/// [`MembershipError::PathLength`] if the path has another length than the tree's depth. [`MembershipError::NotThere`]
/// if it does not lead to the root.
pub fn check_path(
    leaf: &'static str,
    root: Fr,
    depth: usize,
    position: u64,
    value: LeafHash,
    path: &Path,
) -> Result<(), MembershipError> {
    if path.depth() != depth {
        return Err(MembershipError::PathLength { leaf, expected: depth, actual: path.depth() });
    }
    let inside = u32::try_from(position).ok().filter(|position| u64::from(*position) >> depth == 0);
    if inside.is_some_and(|position| path.root(position, value) == root) {
        Ok(())
    } else {
        Err(MembershipError::NotThere { leaf })
    }
}

/// The identity root and the medical root of a state that L1 holds. Only [`Self::of`] makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateRoots {
    identity: Fr,
    medical: Fr,
    batch: u64,
}

impl StateRoots {
    /// Accepts two roots from a node if they hash to the settled state root. `batch` is the last batch of that state
    /// according to the node; only the error uses it.
    ///
    /// # Errors
    /// [`MembershipError::OtherState`] if they do not.
    pub fn of(state: &SettledState, identity: Fr, medical: Fr, batch: u64) -> Result<Self, MembershipError> {
        if state_root(identity, medical) != state.root() {
            return Err(MembershipError::OtherState { node: batch, settled: state.batches() });
        }
        Ok(Self { identity, medical, batch: state.batches() })
    }

    /// The last batch of the state, by L1's count.
    pub const fn batch(&self) -> u64 {
        self.batch
    }

    /// Checks that an account has this identity leaf.
    ///
    /// # Errors
    /// [`MembershipError`] if the path does not show it.
    pub fn check_identity(
        &self,
        account: AccountIndex,
        leaf: &IdentityLeaf,
        path: &Path,
    ) -> Result<(), MembershipError> {
        check_path("identity", self.identity, ACCOUNT_DEPTH, account.get(), leaf.hash(), path)
    }

    /// Checks that a patient has this medical leaf, or that the patient has none.
    ///
    /// # Errors
    /// [`MembershipError`] if the path does not show it.
    pub fn check_medical(
        &self,
        patient: AccountIndex,
        leaf: Option<&MedicalLeaf>,
        path: &Path,
    ) -> Result<(), MembershipError> {
        let value = leaf.map_or(LeafHash::EMPTY, MedicalLeaf::hash);
        check_path("medical leaf", self.medical, ACCOUNT_DEPTH, patient.get(), value, path)
    }
}
