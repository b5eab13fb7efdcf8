//! Verifies the earlier versions of a record. Pure: what the node lists comes in, and what of it holds goes out.
//!
//! The state holds only the newest revision of a record. There are two ways from it to the earlier ones:
//!
//! ```text
//! patient  every operation on the record is an entry of the audit chain, with the hash of the leaf that it wrote
//! reader   the authorship of version n names the digest of the authorship of version n - 1
//! ```
//!
//! The patient's way proves every revision, its time and who signed it, and that none is missing. A reader's way proves content
//! and author of the versions that the reader opens, as far back as no version between is closed to them. It ends at a version
//! of a class that the reader may not read. A Rekey writes another `stored` into the leaf and leaves `authored` as it is. So
//! both ways are the same before and after it.

use emr_api::{AuthorProof, RecordProof, RevisionView};
use emr_core::{Authorship, Opaque, RecordStatus, Revision, Version};
use emr_crypto::OpenedRecord;
use emr_rollup::{
    operation::Kind,
    state::leaf::{AuditEntry, AuditTarget, RecordLeaf},
};

use crate::verify::{
    membership::{MembershipError, StateRoots, identity_leaf},
    record::{AuthenticRecord, RecordId, RecordProofError, check_content, element},
    settled_state::SettledState,
};

/// Why the node's list of a record's versions is not believed, or a version cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The newest revision of the list is not the leaf in the state.
    #[error("the newest version that the node lists is not the one that the state holds: ask another node")]
    Newest,
    /// The list is longer than the record's revisions can be, or does not go back.
    #[error("the node lists the record's versions without end or order: ask another node")]
    Order,
    /// The list has a gap, and the reader may read everything.
    #[error("the node does not list revision {0} of the record: it hides a version. Ask another node")]
    Omitted(Revision),
    /// No operation leads from the revision before it to this one.
    #[error("no operation leads to revision {0} of the record as the node lists it: ask another node")]
    Impossible(Revision),
    /// The address does not have the value in the leaf.
    #[error("the node names a wrong address for revision {0} of the record: ask another node")]
    Stored(Revision),
    /// The patient's audit chain has other operations on this record.
    #[error("the node lists revision {0} of the record otherwise than your audit chain has it: ask another node")]
    Audit(Revision),
    /// The authorship of the version after it names another one.
    #[error(
        "version {0} of the record is not the one that the version after it names: do not rely on it, ask another node"
    )]
    NotPrevious(Version),
    /// The node does not show who the author is.
    #[error("the node does not prove who wrote version {0} of the record: ask another node")]
    Author(Version),
    /// A version between it and the newest one is closed to the reader, so nothing leads to it.
    #[error(
        "version {version} of the record cannot be proved to you, because version {closed} after it is closed to you: \
         ask the patient for the document, or for access to the class of that version"
    )]
    Unlinked {
        /// The version that was asked for.
        version: Version,
        /// The closed one.
        closed: Version,
    },
    /// The list has no such version.
    #[error("the record has no settled version {0} that you may know of: `history` lists the versions")]
    NoSuchVersion(Version),
    /// The node serves its blocks no more.
    #[error("version {0} of the record is not kept any more: the record was deleted")]
    NotKept(Version),
    /// The reader has no key of the epoch to which the version is sealed.
    #[error(
        "version {0} of the record does not open with your keys: it is sealed to an earlier key of its class. Ask the patient \
         for a grant with history"
    )]
    Closed(Version),
}

/// The revisions of a record that a node lists, the newest first. They fit each other and the settled leaf; an older one is not
/// proved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revisions(Vec<RevisionView>);

impl Revisions {
    /// Checks a list against the leaf that was proved to be in the state. `is_complete` says that the reader may see every
    /// class, so that the node may leave out none.
    ///
    /// # Errors
    /// [`HistoryError`] if the list cannot be the record's history.
    pub fn check(leaf: &RecordLeaf, listed: Vec<RevisionView>, is_complete: bool) -> Result<Self, HistoryError> {
        if listed.first().is_none_or(|newest| newest.leaf != *leaf) {
            return Err(HistoryError::Newest);
        }
        for (place, newer) in listed.iter().enumerate() {
            let older = listed.get(place + 1);
            let (revision, before) = (newer.leaf.revision, older.map_or(Revision::ZERO, |older| older.leaf.revision));
            if before >= revision {
                return Err(HistoryError::Order);
            }
            let is_next = revision.get() == before.get() + 1;
            if is_complete && !is_next {
                return Err(before.next().map_or(HistoryError::Order, HistoryError::Omitted));
            }
            let fits = if is_next { follows(newer, older) } else { follows_after_gap(newer, older) };
            if !fits {
                return Err(HistoryError::Impossible(revision));
            }
            let is_address =
                |at: &emr_api::StoredAt| element(Opaque::stored(&at.manifest, &at.salt)) == newer.leaf.stored;
            if !newer.stored.as_ref().is_none_or(is_address) {
                return Err(HistoryError::Stored(revision));
            }
        }
        Ok(Self(listed))
    }

    /// The revisions.
    pub fn as_slice(&self) -> &[RevisionView] {
        &self.0
    }

    /// The newest ciphertext of a version.
    ///
    /// # Errors
    /// [`HistoryError::NoSuchVersion`] if the list has none.
    pub fn version(&self, version: Version) -> Result<&RevisionView, HistoryError> {
        let is_it = |row: &&RevisionView| row.leaf.version == version && row.leaf.status == RecordStatus::Live;
        self.0.iter().find(is_it).ok_or(HistoryError::NoSuchVersion(version))
    }

    /// Checks the revisions against the patient's whole audit chain, oldest entry first, which must end at the same settled
    /// state. Afterwards every revision is proved: its leaf, its kind, its signer and its time, and that there is no other.
    ///
    /// # Errors
    /// [`HistoryError::Audit`] for the newest revision that differs.
    pub fn check_audit<'a>(
        &self,
        id: &RecordId,
        audit: impl DoubleEndedIterator<Item = &'a AuditEntry>,
    ) -> Result<(), HistoryError> {
        let mut entries = audit.rev().filter(|entry| entry.target == AuditTarget::Record(id.slot));
        for row in &self.0 {
            let is_it = |entry: &AuditEntry| {
                (entry.kind, entry.signer, entry.time, entry.new_leaf)
                    == (row.kind, row.signer, row.time, row.leaf.hash())
            };
            if !entries.next().is_some_and(is_it) {
                return Err(HistoryError::Audit(row.leaf.revision));
            }
        }
        match entries.next() {
            None => Ok(()),
            Some(_) => Err(HistoryError::Audit(Revision::ZERO)),
        }
    }
}

/// Whether an operation can lead from `older`, or from an empty slot, to `newer`.
fn follows(newer: &RevisionView, older: Option<&RevisionView>) -> bool {
    let leaf = newer.leaf;
    let old = older.map(|older| older.leaf);
    if old.is_some_and(|old| old.status != RecordStatus::Live) {
        return false;
    }
    match (newer.kind, old) {
        (Kind::PutRecord, old) => {
            let version = old.map_or(Version::ZERO, |old| old.version).next();
            leaf.status == RecordStatus::Live
                && version.is_ok_and(|next| next == leaf.version)
                && newer.signer == leaf.author
        }
        (Kind::Rekey, Some(old)) => {
            leaf == RecordLeaf { custodian: leaf.custodian, stored: leaf.stored, revision: leaf.revision, ..old }
        }
        (Kind::Tombstone, Some(old)) => {
            leaf == RecordLeaf { status: RecordStatus::Tombstone, revision: leaf.revision, ..old }
        }
        _ => false,
    }
}

/// The same, with revisions between that the reader may not see because they are of another class. Only a PutRecord changes the
/// class. So the gap holds one, and another one ends it.
fn follows_after_gap(newer: &RevisionView, older: Option<&RevisionView>) -> bool {
    let (revision, version) = older.map_or((0, 0), |older| (older.leaf.revision.get(), older.leaf.version.get()));
    let steps = newer.leaf.revision.get().checked_sub(revision);
    let versions = newer.leaf.version.get().checked_sub(version);
    newer.kind == Kind::PutRecord
        && newer.leaf.status == RecordStatus::Live
        && newer.signer == newer.leaf.author
        && older.is_none_or(|older| older.leaf.status == RecordStatus::Live)
        && steps.zip(versions).is_some_and(|(steps, versions)| (2..=steps).contains(&versions))
}

/// Checks content and author of an opened version whose leaf is proved. `author` and `proof` show the author's identity in the
/// settled state.
///
/// # Errors
/// [`RecordProofError`] if something does not hold.
pub fn check_version(
    id: &RecordId,
    row: &RevisionView,
    author: &AuthorProof,
    proof: &RecordProof,
    opened: &OpenedRecord,
    state: &SettledState,
) -> Result<AuthenticRecord, RecordProofError> {
    let roots = StateRoots::of(state, proof.identity_root, proof.medical_root, proof.batch)?;
    let identity = identity_leaf(&author.identity)?;
    if author.account != row.leaf.author {
        return Err(MembershipError::NotThere { leaf: "identity" }.into());
    }
    roots.check_identity(author.account, &identity, &author.path)?;
    let stored = row.stored.as_ref().ok_or(RecordProofError::Mismatch("storage"))?;
    check_content(id, &row.leaf, stored, &identity, opened)
}

/// Checks that a leaf holds the version that a later authorship names as the one before it.
///
/// # Errors
/// [`HistoryError::NotPrevious`] if it does not.
pub fn check_previous(next: &Authorship, leaf: &RecordLeaf) -> Result<(), HistoryError> {
    let follows = leaf.version.next().is_ok_and(|version| version == next.version);
    if follows && next.previous.map(element) == Some(leaf.authored) {
        return Ok(());
    }
    Err(HistoryError::NotPrevious(leaf.version))
}
