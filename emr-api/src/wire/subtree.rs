//! A patient's subtree in the settled state: all leaves, all grants, pages of the audit chain. Only the patient may see it.

use emr_core::{AccountIndex, Cid};
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

use crate::{
    GrantView, RecordSummary,
    form::{CidText, Maybe},
};

/// The largest number of entries in an [`AuditPage`]. A node may send fewer than requested, but at least one.
pub const AUDIT_PAGE: usize = 1_000;

/// Every leaf of a patient's subtree in the settled state, for the patient's light check. The audit chain comes in pages
/// ([`AuditPage`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtreeView {
    /// The patient.
    pub patient: AccountIndex,
    /// The last batch of the state.
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
    /// All grants that were ever written.
    pub grants: Vec<GrantView>,
    /// All records that were ever written.
    pub records: Vec<RecordSummary>,
    /// The number of entries in the audit chain. The medical leaf holds its head.
    pub audit_length: u64,
    /// CID of the key directory.
    #[serde(default, with = "Maybe::<CidText>")]
    pub directory: Option<Cid>,
    /// Acknowledged operations on the subtree that wait for a batch.
    pub pending: Vec<SignedOperation>,
}

/// A patient's grants, which are the basis for granting and revoking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnGrantsView {
    /// The last batch of the settled state.
    pub batch: u64,
    /// All grants that were ever written, as in the settled state. The grants root follows from them.
    pub grants: Vec<GrantView>,
    /// The patient's acknowledged operations on grants that wait for a batch, in their order.
    pub pending: Vec<SignedOperation>,
}

/// A page of a patient's audit chain in the settled state.
///
/// A reader requests pages from the newest entry to the oldest. Hashing the entries, starting with `before`, gives the head after the
/// last of them. The reader knows this head already: from the medical leaf, or as `before` of the following page. So each page is
/// verified when it arrives. Entries never change their position, so a batch that is settled between two pages changes no page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// The position of the first entry here. The chain's first entry has position 0.
    pub first: u64,
    /// The chain's head before that entry. It is 0 before the chain's first entry.
    #[serde(with = "hex_element")]
    pub before: Fr,
    /// The entries, oldest first, at most [`AUDIT_PAGE`].
    pub entries: Vec<AuditEntry>,
}
