//! The earlier versions of a record: listing them, and reading one of them.

use emr_api::{AuthorProof, RecordProof, RecordVersionsView, RecordView, RevisionView};
use emr_core::{Cid, Reason, RecordSlot, Revision, Version};
use emr_crypto::OpenError;

use crate::{
    client::Client,
    error::ClientError,
    flow::{
        request::Requested,
        retrieve::{ReadError, refused},
    },
    patience::Patience,
    verify::{
        card::{Card, CheckedCard},
        history::{HistoryError, Revisions, check_previous, check_version},
        membership::{MembershipError, identity_leaf},
        record::{AuthenticRecord, RecordId, check_membership},
        settled_state::SettledState,
    },
};

/// The most pages that are read of one record: 65,536 revisions.
const MAX_PAGES: usize = 1024;

/// What shows that a version is the record's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionProof {
    /// The settled state holds its leaf. For the newest revision.
    State,
    /// The patient's audit chain has the operation that wrote it, with its time and its signer.
    AuditChain,
    /// The authorship of the version after it names it, and its author signed it. Its time is what the node says.
    Authorship,
    /// Nothing: only the node says that it existed. A version after it, or the version itself, is closed to the reader.
    Unproved,
}

/// One revision of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// What the node says of it.
    pub revision: RevisionView,
    /// What of this is proved.
    pub proof: VersionProof,
}

/// What is known about the versions of a record, the newest revision first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHistory {
    /// The revisions that the reader may know of.
    pub entries: Vec<HistoryEntry>,
    /// The last batch of the state against which they were checked.
    pub batch: u64,
}

/// An earlier or the newest settled version of a record, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrievedVersion {
    /// The record.
    pub record: AuthenticRecord,
    /// When it was written, and in which batch.
    pub revision: RevisionView,
    /// What shows that it is this version of the record.
    pub proof: VersionProof,
}

/// The list of a node, checked as far as it can be without opening anything.
struct Listed {
    id: RecordId,
    state: SettledState,
    proof: RecordProof,
    directory: Cid,
    revisions: Revisions,
    authors: Vec<AuthorProof>,
}

impl Client {
    /// Lists the settled versions of a record, with what is proved of each. A reader's proof opens every version, the newest
    /// first, so it fetches them all. If the node asks for an access request and `reason` is given, access to the record's class
    /// is requested first.
    ///
    /// # Errors
    /// [`HistoryError`] if the node's list does not hold. Otherwise as for [`Self::retrieve`].
    pub async fn history(
        &self,
        patient: &Card,
        slot: RecordSlot,
        reason: Option<Reason>,
    ) -> Result<(RecordHistory, Option<Requested>), ClientError> {
        let patient = self.check_card(patient).await?;
        let (listed, requested) = self.list_versions(&patient, slot, reason).await?;
        let entries = listed.revisions.as_slice();
        let own = self.account()? == patient.account();
        let mut linked = Vec::new();
        if !own {
            match self.walk_versions(&patient, &listed, Version::ZERO, &mut linked).await {
                Err(error) if !is_closed(&error) => return Err(error),
                _ => {}
            }
        }
        // The newest authorship is in the leaf that the state holds.
        let mut proved: Vec<_> = entries.first().map(|newest| newest.leaf.authored).into_iter().collect();
        proved.extend(linked.iter().map(|version| version.leaf().authored));
        let proof = |place: usize, revision: &RevisionView| match place {
            _ if own => VersionProof::AuditChain,
            0 => VersionProof::State,
            _ if proved.contains(&revision.leaf.authored) => VersionProof::Authorship,
            _ => VersionProof::Unproved,
        };
        let entry = |(place, revision): (usize, &RevisionView)| HistoryEntry {
            revision: revision.clone(),
            proof: proof(place, revision),
        };
        let entries = entries.iter().enumerate().map(entry).collect();
        Ok((RecordHistory { entries, batch: listed.state.batches() }, requested))
    }

    /// Reads one settled version of a record and verifies it. A reader other than the patient fetches all versions after it too,
    /// because these lead to it.
    ///
    /// # Errors
    /// [`HistoryError`] if there is no such version, or nothing proves it, or its key is of an epoch that the reader does not
    /// have. Otherwise as for [`Self::retrieve`].
    pub async fn retrieve_version(
        &self,
        patient: &Card,
        slot: RecordSlot,
        version: Version,
        reason: Option<Reason>,
    ) -> Result<(RetrievedVersion, Option<Requested>), ClientError> {
        let patient = self.check_card(patient).await?;
        let (listed, requested) = self.list_versions(&patient, slot, reason).await?;
        let row = listed.revisions.version(version)?.clone();
        let (record, proof) = if self.account()? == patient.account() {
            (self.open_version(&patient, &listed, &row).await?, VersionProof::AuditChain)
        } else {
            let mut linked = Vec::new();
            self.walk_versions(&patient, &listed, version, &mut linked).await?;
            let proof = if linked.len() == 1 { VersionProof::State } else { VersionProof::Authorship };
            (linked.pop().ok_or(HistoryError::NoSuchVersion(version))?, proof)
        };
        Ok((RetrievedVersion { record, revision: row, proof }, requested))
    }

    /// Opens the newest version, then the one that it names, and so on down to `last`.
    async fn walk_versions(
        &self,
        patient: &CheckedCard,
        listed: &Listed,
        last: Version,
        linked: &mut Vec<AuthenticRecord>,
    ) -> Result<(), ClientError> {
        let newest = listed.revisions.as_slice().first().map_or(Version::ZERO, |newest| newest.leaf.version);
        let mut version = newest;
        loop {
            // The newest is that of the leaf in the state. A deletion keeps its authorship.
            let row = listed.revisions.version(version).map_err(|error| {
                if version == last { error } else { HistoryError::Unlinked { version: last, closed: version } }
            })?;
            if let Some(next) = linked.last() {
                check_previous(next.authorship(), &row.leaf)?;
            }
            linked.push(self.open_version(patient, listed, row).await?);
            if version <= last || version.get() <= 1 {
                return Ok(());
            }
            version = Version::new(version.get() - 1)?;
        }
    }

    /// Opens a version whose leaf is proved, or named by the version after it, and checks it.
    async fn open_version(
        &self,
        patient: &CheckedCard,
        listed: &Listed,
        row: &RevisionView,
    ) -> Result<AuthenticRecord, ClientError> {
        let (id, version) = (&listed.id, row.leaf.version);
        let stored = row.stored.ok_or(HistoryError::NotKept(version))?;
        let author = listed.authors.iter().find(|author| author.account == row.leaf.author);
        let author = author.ok_or(HistoryError::Author(version))?;
        let view = RecordView {
            slot: id.slot,
            leaf: row.leaf,
            stored,
            directory: listed.directory,
            author: author.identity,
            proof: None,
        };
        let opened = self.open_envelope(patient, id, &view).await.map_err(|error| match error {
            ClientError::Read(ReadError::Open { source: OpenError::Decryption(_), .. } | ReadError::NoKeys) => {
                HistoryError::Closed(version).into()
            }
            other => other,
        })?;
        Ok(check_version(id, row, author, &listed.proof, &opened, &listed.state)?)
    }

    /// The node's list, checked against the state, and against the audit chain if the record is the caller's own.
    async fn list_versions(
        &self,
        patient: &CheckedCard,
        slot: RecordSlot,
        reason: Option<Reason>,
    ) -> Result<(Listed, Option<Requested>), ClientError> {
        {
            let _turn = self.turn().await;
            self.deliver_waiting().await?;
        }
        let mut requested = None;
        let mut patience = Patience::new();
        loop {
            let pages = match self.version_pages(patient, slot).await {
                Err(ClientError::Node(error)) if error.is_no_session() && requested.is_none() => {
                    let class = self.class_of(patient, slot).await?;
                    let reason = reason.ok_or(ReadError::NotRequested { patient: patient.account(), class })?;
                    let _turn = self.turn().await;
                    requested = Some(self.request_checked(patient, class, reason).await?);
                    continue;
                }
                Err(ClientError::Node(error)) => return Err(refused(error, patient.account(), slot)),
                other => other?,
            };
            match self.check_versions(patient, slot, pages).await {
                Err(error) if error.is_other_state() && patience.again().await => {}
                other => return Ok((other?, requested)),
            }
        }
    }

    async fn version_pages(&self, patient: &CheckedCard, slot: RecordSlot) -> Result<RecordVersionsView, ClientError> {
        let mut before = Revision::new(Revision::MAX)?;
        let mut first: Option<RecordVersionsView> = None;
        for _ in 0..MAX_PAGES {
            let page = self.node.versions(patient.account(), slot, before).await?;
            let next = page.next;
            match &mut first {
                None => first = Some(page),
                Some(first) => {
                    // Every path must belong to one state.
                    if page.proof.identity_root != first.proof.identity_root || page.leaf != first.leaf {
                        let (node, settled) = (page.proof.batch, first.proof.batch);
                        return Err(MembershipError::OtherState { node, settled }.into());
                    }
                    first.revisions.extend(page.revisions);
                    first.authors.extend(page.authors);
                }
            }
            match (next, first.take_if(|_| next.is_none())) {
                (_, Some(all)) => return Ok(all),
                (Some(next), None) if next < before => before = next,
                _ => return Err(HistoryError::Order.into()),
            }
        }
        Err(HistoryError::Order.into())
    }

    async fn check_versions(
        &self,
        patient: &CheckedCard,
        slot: RecordSlot,
        pages: RecordVersionsView,
    ) -> Result<Listed, ClientError> {
        let RecordVersionsView { leaf, author, proof, directory, revisions, authors, .. } = pages;
        let id = RecordId { domain: self.domain(), patient: patient.account(), slot };
        let own = self.account()? == patient.account();
        let mut state = self.settled_state().await?;
        let batch = check_membership(&id, &leaf, &identity_leaf(&author)?, &proof, &state)?;
        let revisions = Revisions::check(&leaf, revisions, own)?;
        if own {
            let (verified, audit) = self.light_check_with_audit(usize::MAX).await?;
            let audited = verified.leaves().state();
            // The list is older than the audit chain.
            if audited.root() != state.root() {
                return Err(MembershipError::OtherState { node: batch, settled: audited.batches() }.into());
            }
            revisions.check_audit(&id, audit.iter())?;
            state = *audited;
        }
        Ok(Listed { id, state, proof, directory, revisions, authors })
    }
}

/// Whether a version is not for this reader, or not kept any more. Everything else that goes wrong is a fault.
fn is_closed(error: &ClientError) -> bool {
    match error {
        ClientError::History(error) => matches!(
            error,
            HistoryError::Unlinked { .. }
                | HistoryError::NoSuchVersion(_)
                | HistoryError::NotKept(_)
                | HistoryError::Closed(_)
        ),
        ClientError::Node(error) => error.is_not_found() || error.is_revoked() || error.is_no_session(),
        _ => false,
    }
}
