//! A patient's subtree in the settled state, as only its patient sees it: all leaves, all grants, pages of the audit chain.

use emr_core::AccountIndex;
use emr_rollup::{
    operation::SignedOperation,
    primitive::field::{Fr, hex_element},
    state::{
        leaf::{AuditEntry, MedicalLeaf},
        tree::Path,
    },
    statement::IdentityFields,
};
use serde::{Deserialize, Serialize};

use crate::{GrantView, RecordSummary};

/// The most entries of an [`AuditPage`]. A node may send fewer than were asked for, but at least one.
pub const AUDIT_PAGE: usize = 1_000;

/// Every leaf of a patient's subtree in the settled state, for their light check. The audit chain comes in pages
/// ([`AuditPage`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtreeView {
    /// The patient.
    pub patient: AccountIndex,
    /// The batch that the state is after.
    pub batch: u64,
    /// The patient's identity leaf.
    pub identity: IdentityFields,
    /// Its path.
    pub identity_path: Path,
    /// The patient's medical leaf.
    pub medical: MedicalLeaf,
    /// Its path.
    pub medical_path: Path,
    /// The identity root.
    #[serde(with = "hex_element")]
    pub identity_root: Fr,
    /// The medical root.
    #[serde(with = "hex_element")]
    pub medical_root: Fr,
    /// Every grant ever written.
    pub grants: Vec<GrantView>,
    /// Every record ever written.
    pub records: Vec<RecordSummary>,
    /// Number of entries of the audit chain whose head the medical leaf holds.
    pub audit_length: u64,
    /// CID of the key directory.
    pub directory: Option<String>,
    /// Acknowledged operations on the subtree that wait for a batch.
    pub pending: Vec<SignedOperation>,
}

/// A patient's grants: what granting and revoking build on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnGrantsView {
    /// The batch that the settled state is after.
    pub batch: u64,
    /// Every grant that was ever written, as the settled state holds it. They make the grants root.
    pub grants: Vec<GrantView>,
    /// The patient's own acknowledged operations on grants that wait for a batch, in their order.
    pub pending: Vec<SignedOperation>,
}

/// A page of a patient's audit chain in the settled state.
///
/// Pages are asked for from the newest entry to the oldest. Folding the entries over `before` gives the head after the last
/// of them, which the reader knows already: from the medical leaf, or as `before` of the page after it. So each page is proved
/// when it comes. Entries keep their position for good, so a batch that is settled between two pages changes none of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// Position of the first entry here; the chain's first entry has 0.
    pub first: u64,
    /// The chain's head before that entry; 0 before the chain's first.
    #[serde(with = "hex_element")]
    pub before: Fr,
    /// The entries, oldest first; at most [`AUDIT_PAGE`].
    pub entries: Vec<AuditEntry>,
}
