//! The node's endpoints, one method each.

use alloy::primitives::Address;
use emr_api::{AUDIT_PAGE, BlockPut, BlocksDropped, DropBlocks, LinkOfPatient, LinksPage, route};
use emr_core::{
    AccountIndex, Cid, Codec, GrantSlot, RecordSlot, Revision,
    cid::{MAX_BLOCK_BYTES, cid_of, codec_of, verify_block},
};
use emr_rollup::operation::OperationId;
use reqwest::{Method, StatusCode};

use emr_chain::exchange::Body;

use crate::node::{MAX_ANSWER, NodeClient, NodeError, json, printable};

/// The largest page of an audit chain, in bytes. An entry has fewer than 512 bytes as JSON.
const MAX_AUDIT_PAGE: usize = AUDIT_PAGE * 512 + 1024;

/// Refuses an answer about something that was not asked for.
fn about(request: &str, asked: bool) -> Result<(), NodeError> {
    if asked {
        return Ok(());
    }
    Err(NodeError::Malformed { request: request.to_owned(), reason: "it is about something else".to_owned() })
}

impl NodeClient {
    /// The node's description and status.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense. The same holds for the methods below.
    pub async fn status(&self) -> Result<emr_api::NodeStatus, NodeError> {
        self.open(Method::GET, route::STATUS, Body::None).await
    }

    /// Asks the node to relay a registration and to pay for it.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn relay(&self, registration: &emr_api::RelayRegistration) -> Result<emr_api::Registered, NodeError> {
        self.open(Method::POST, route::ACCOUNTS, json(registration)).await
    }

    /// An account as the state holds it.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn account(&self, account: AccountIndex) -> Result<emr_api::AccountView, NodeError> {
        let path = route::account(account);
        // Anyone may ask, but a request with a token does not count against the limits of an address that others share.
        let token = self.token(None).await.ok();
        let (_, answer) = self.exchange(Method::GET, &path, Body::None, token.as_deref(), MAX_ANSWER).await?;
        let view: emr_api::AccountView = Self::read(&path, &answer)?;
        about(&path, view.account == account).map(|()| view)
    }

    /// Stores a block. It may be repeated.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn put_block(&self, codec: Codec, bytes: &[u8]) -> Result<Cid, NodeError> {
        let path = route::blocks(codec);
        let body = || Body::Bytes(bytes.to_vec());
        let (_, answer) = self.authorized(Method::POST, &path, body, MAX_ANSWER).await?;
        let put: emr_api::BlockPut = Self::read(&path, &answer)?;
        let expected = cid_of(codec, bytes);
        if put.cid == expected {
            Ok(expected)
        } else {
            Err(NodeError::StoredElsewhere { expected, actual: put.cid.to_string() })
        }
    }

    /// Gives up blocks that this account uploaded. The node does not keep room for them any more. Returns how many it had.
    ///
    /// # Errors
    /// The same.
    pub async fn drop_blocks(&self, cids: &[Cid]) -> Result<u64, NodeError> {
        let mut dropped = 0;
        for cids in cids.chunks(DropBlocks::MOST) {
            let request = DropBlocks { blocks: cids.iter().map(|cid| BlockPut { cid: *cid }).collect() };
            let (_, answer) =
                self.authorized(Method::POST, route::DROPPED_BLOCKS, || json(&request), MAX_ANSWER).await?;
            let answer: BlocksDropped = Self::read(route::DROPPED_BLOCKS, &answer)?;
            dropped += answer.dropped;
        }
        Ok(dropped)
    }

    /// Gets a block and checks its hash.
    ///
    /// # Errors
    /// [`NodeError::WrongBlock`] if the bytes do not have this hash. Other variants as above.
    pub async fn block(&self, cid: &Cid) -> Result<Vec<u8>, NodeError> {
        codec_of(cid)?;
        let path = route::block(cid);
        let (_, bytes) = self.authorized(Method::GET, &path, || Body::None, MAX_BLOCK_BYTES).await?;
        verify_block(cid, &bytes)?;
        Ok(bytes)
    }

    /// Hands in an operation. A patient's Revoke goes to the route that takes these only. If the same operation is handed in again, the node gives the
    /// same receipt.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn submit(&self, submission: &emr_api::Submission) -> Result<emr_api::Receipt, NodeError> {
        let operation = &submission.signed.operation;
        let revokes = operation.action.rule().ends_rights && !operation.is_by_delegate();
        let path = if revokes { route::REVOKES } else { route::OPERATIONS };
        let (_, answer) = self.authorized(Method::POST, path, || json(submission), MAX_ANSWER).await?;
        Self::read(path, &answer)
    }

    /// The status of an operation.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn operation(&self, id: OperationId) -> Result<emr_api::OperationStatus, NodeError> {
        let status = self.get(&route::operation(id)).await?;
        Ok(match status {
            emr_api::OperationStatus::Returned { reason } => {
                emr_api::OperationStatus::Returned { reason: printable(&reason) }
            }
            other => other,
        })
    }

    /// A patient's view: what a grantee needs to act.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn patient(&self, patient: AccountIndex) -> Result<emr_api::PatientView, NodeError> {
        let path = route::patient(patient);
        let view: emr_api::PatientView = self.get(&path).await?;
        about(&path, view.patient == patient).map(|()| view)
    }

    /// All leaves of the patient's subtree.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn subtree(&self, patient: AccountIndex) -> Result<emr_api::SubtreeView, NodeError> {
        let path = route::subtree(patient);
        let view: emr_api::SubtreeView = self.get(&path).await?;
        about(&path, view.patient == patient).map(|()| view)
    }

    /// How much of the patient's space on the node each account uses.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn storage(&self, patient: AccountIndex) -> Result<emr_api::StorageView, NodeError> {
        self.get(&route::storage(patient)).await
    }

    /// All of the patient's grants.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn grants(&self, patient: AccountIndex) -> Result<emr_api::OwnGrantsView, NodeError> {
        self.get(&route::grants(patient)).await
    }

    /// The grants that delegates gave: all of a patient's own, or those for this account.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn delegated_grants(&self, patient: AccountIndex) -> Result<Vec<emr_api::DelegatedGrant>, NodeError> {
        self.get(&route::delegated_grants(patient)).await
    }

    /// What this account needs to change grants of a patient whose delegate it is.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn managed_grants(&self, patient: AccountIndex) -> Result<emr_api::ManagedGrants, NodeError> {
        self.get(&route::managed_grants(patient)).await
    }

    /// A free slot for an emergency grant of this account. A slot that is not for emergency grants is refused.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn emergency_slot(&self, patient: AccountIndex) -> Result<emr_api::EmergencySlot, NodeError> {
        let path = route::emergency_slot(patient);
        let view: emr_api::EmergencySlot = self.get(&path).await?;
        about(&path, view.slot < GrantSlot::FIRST_ORDINARY).map(|()| view)
    }

    /// A page of the patient's audit chain: the entries before position `end`.
    ///
    /// # Errors
    /// [`NodeError`] as above. It is [stale](NodeError::is_stale) if the chain has fewer than `end` entries.
    pub async fn audit(&self, patient: AccountIndex, end: u64) -> Result<emr_api::AuditPage, NodeError> {
        let path = route::audit(patient, end, AUDIT_PAGE);
        let (_, answer) = self.authorized(Method::GET, &path, || Body::None, MAX_AUDIT_PAGE).await?;
        Self::read(&path, &answer)
    }

    /// The patient's records that this account may know of.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn records(&self, patient: AccountIndex) -> Result<Vec<emr_api::RecordSummary>, NodeError> {
        self.get(&route::records(patient)).await
    }

    /// A record with its proof.
    ///
    /// # Errors
    /// [`NodeError`] as above. [`NodeError::is_no_session`] tells whether access has to be requested first.
    pub async fn record(&self, patient: AccountIndex, slot: RecordSlot) -> Result<emr_api::RecordView, NodeError> {
        let path = route::record(patient, slot);
        let view: emr_api::RecordView = self.get(&path).await?;
        about(&path, view.slot == slot).map(|()| view)
    }

    /// Makes a link of this patient. If the same is sent again, the node gives the same number.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn create_link(&self, new: &emr_api::NewLink) -> Result<emr_api::LinkMade, NodeError> {
        let path = route::LINKS;
        let (_, answer) = self.authorized(Method::POST, path, || json(new), MAX_ANSWER).await?;
        Self::read(path, &answer)
    }

    /// This patient's links.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn links(&self) -> Result<Vec<emr_api::LinkView>, NodeError> {
        self.get(route::LINKS).await
    }

    /// A link of this patient, with all openings that the node keeps.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn link(&self, number: u32) -> Result<emr_api::LinkView, NodeError> {
        let path = route::link(number);
        let view: emr_api::LinkView = self.get(&path).await?;
        about(&path, view.number == number).map(|()| view)
    }

    /// Ends a link of this patient.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn end_link(&self, number: u32) -> Result<(), NodeError> {
        self.authorized(Method::DELETE, &route::link(number), || Body::None, MAX_ANSWER).await.map(drop)
    }

    /// A page of a record's settled versions: the revisions before this one.
    ///
    /// # Errors
    /// As for [`Self::record`].
    pub async fn versions(
        &self,
        patient: AccountIndex,
        slot: RecordSlot,
        before: Revision,
    ) -> Result<emr_api::RecordVersionsView, NodeError> {
        let path = route::versions(patient, slot, before);
        let view: emr_api::RecordVersionsView = self.get(&path).await?;
        about(&path, view.slot == slot).map(|()| view)
    }

    /// Seals the operations that wait into a batch. Only the hospital may do this.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn seal(&self) -> Result<emr_api::BatchView, NodeError> {
        let path = route::SEAL;
        let (_, answer) = self.authorized(Method::POST, path, || Body::None, MAX_ANSWER).await?;
        Self::read(path, &answer)
    }

    /// A batch.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn batch(&self, number: u64) -> Result<emr_api::BatchView, NodeError> {
        self.open(Method::GET, &route::batch(number), Body::None).await
    }

    /// The provers that have a credential. Only the hospital may ask.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn provers(&self) -> Result<Vec<emr_api::ProverView>, NodeError> {
        self.get(route::PROVERS).await
    }

    /// Who invited today, and whose invitations no longer count. Only the hospital may ask.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn inviters(&self) -> Result<Vec<emr_api::InviterView>, NodeError> {
        self.get(route::INVITERS).await
    }

    /// Sets whether invitations of this Ethereum address count from now on. Only the hospital may do this.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn set_inviter(&self, address: Address, counts: bool) -> Result<(), NodeError> {
        let method = || if counts { Method::PUT } else { Method::DELETE };
        self.authorized(method(), &route::inviter(address), || Body::None, MAX_ANSWER).await.map(drop)
    }

    /// The links of all patients, by account and number. Only the hospital may ask.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn hospital_links(&self) -> Result<Vec<LinkOfPatient>, NodeError> {
        let (mut links, mut from) = (Vec::new(), None);
        loop {
            let path = route::hospital_links(from);
            let LinksPage { links: more, next } = self.get(&path).await?;
            links.extend(more);
            if next.is_none() {
                return Ok(links);
            }
            about(&path, next > from)?;
            from = next;
        }
    }

    /// Ends a patient's link. Only the hospital may do this.
    ///
    /// # Errors
    /// [`NodeError`] if there is no such link, or the node does not answer or refuses.
    pub async fn end_hospital_link(&self, patient: AccountIndex, number: u32) -> Result<(), NodeError> {
        let path = route::hospital_link(patient, number);
        self.authorized(Method::DELETE, &path, || Body::None, MAX_ANSWER).await.map(drop)
    }

    /// Adds a prover and its credential. Only the hospital may do this.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn add_prover(&self, prover: &emr_api::NewProver) -> Result<emr_api::ProverView, NodeError> {
        let path = route::PROVERS;
        let (_, answer) = self.authorized(Method::POST, path, || json(prover), MAX_ANSWER).await?;
        Self::read(path, &answer)
    }

    /// Ends a prover's credential. Only the hospital may do this.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn remove_prover(&self, name: &str) -> Result<(), NodeError> {
        let path = route::prover(name);
        self.authorized(Method::DELETE, &path, || Body::None, MAX_ANSWER).await.map(|_| ())
    }

    /// The next batch to prove, if one waits. Only a prover or the hospital may ask.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn proof_job(&self) -> Result<Option<emr_api::ProofJob>, NodeError> {
        let path = route::PROOF_JOB;
        let (status, answer) = self.authorized(Method::GET, path, || Body::None, MAX_ANSWER).await?;
        if status == StatusCode::NO_CONTENT { Ok(None) } else { Self::read(path, &answer).map(Some) }
    }

    /// Hands in a proof. Only a prover or the hospital may do this.
    ///
    /// # Errors
    /// [`NodeError`] if the node does not answer, refuses, or answers what makes no sense.
    pub async fn proof(&self, number: u64, proof: &[u8]) -> Result<(), NodeError> {
        let path = route::proof(number);
        self.authorized(Method::POST, &path, || Body::Bytes(proof.to_vec()), MAX_ANSWER).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use emr_api::{AuditPage, GrantView, OwnGrantsView, RecordSummary, StoredAt};
    use emr_core::{
        AccountEpoch, Class, ClassMask, GrantSlot, OutOfRange, Purpose, RecordStatus, Revision, Rights, UnixTime, Uses,
        Version,
    };
    use emr_rollup::{
        operation::{Action, Domain, Kind, Operation, SetGrant},
        primitive::{eddsa::SigningKey, field::Fr},
        state::leaf::{AuditEntry, AuditTarget, GrantLeaf, RecordLeaf},
    };
    use serde::Serialize;

    use super::*;

    fn size(value: &impl Serialize) -> usize {
        serde_json::to_vec(value).expect("JSON").len()
    }

    fn longest<T: Copy>(values: impl IntoIterator<Item = T>, name: impl Fn(T) -> usize) -> T {
        values.into_iter().max_by_key(|value| name(*value)).expect("one at least")
    }

    /// Builds the largest answers that an honest node can give: every field has its greatest length. If the client refused them, patients with
    /// many records could not use their account.
    #[test]
    fn the_largest_answers_of_an_honest_node_are_taken() -> Result<(), OutOfRange> {
        let (element, account) = (-Fr::one(), AccountIndex::new(AccountIndex::MAX)?);
        let (slot, grant_slot) = (RecordSlot::new(RecordSlot::MAX)?, GrantSlot::new(GrantSlot::MAX)?);
        let class = longest(Class::ALL, |class| class.name().len());
        let purpose = longest((0..=u8::MAX).filter_map(Purpose::from_code), |purpose| size(&purpose));
        let entry = AuditEntry {
            kind: Kind::RequestAccess,
            signer: account,
            target: AuditTarget::Record(slot),
            purpose: Some(purpose),
            time: UnixTime::new(UnixTime::MAX)?,
            new_leaf: element.into(),
            salt: element,
        };
        let page = AuditPage { first: u64::MAX, before: element, entries: vec![entry; AUDIT_PAGE] };
        assert!(size(&page) <= MAX_AUDIT_PAGE, "{} bytes", size(&page));

        let grant = GrantLeaf {
            grantee: Some(account),
            rights: Rights::READ | Rights::WRITE | Rights::MANAGE,
            scope: ClassMask::ALL,
            not_after: UnixTime::new(UnixTime::MAX)?,
            uses: Uses::new(Uses::MAX)?,
            version: Version::new(Version::MAX)?,
            salt: element,
        };
        let operation = Operation {
            signer: account,
            signer_epoch: AccountEpoch::new(AccountEpoch::MAX)?,
            patient: account,
            patient_epoch: AccountEpoch::new(AccountEpoch::MAX)?,
            valid_until: UnixTime::new(UnixTime::MAX)?,
            salt: element,
            action: Action::SetGrant(SetGrant {
                slot: grant_slot,
                expected: Version::new(Version::MAX)?,
                leaf: grant,
                directory_before: element.into(),
                directory_after: element.into(),
            }),
        };
        let signed = operation.sign(Domain::new(31337, [1; 20]), &SigningKey::from_seed(&[1; 32]), Some(grant_slot));
        let grants = OwnGrantsView {
            batch: u64::MAX,
            grants: vec![GrantView { slot: grant_slot, grant }; GrantSlot::MAX as usize + 1],
            // More than all operations together that a node keeps waiting.
            pending: vec![signed; 4_096],
        };
        assert!(size(&grants) <= MAX_ANSWER / 8, "{} bytes", size(&grants));

        let record = RecordSummary {
            slot,
            leaf: RecordLeaf {
                status: RecordStatus::Tombstone,
                class,
                author: account,
                custodian: Some(account),
                version: Version::new(Version::MAX)?,
                revision: Revision::new(Revision::MAX)?,
                authored: element,
                stored: element,
            },
            stored: StoredAt { manifest: cid_of(Codec::Raw, b""), salt: [0xff; 32] },
            settled: false,
        };
        let records = (size(&record) + 1) * (RecordSlot::MAX as usize + 1);
        assert!(records + size(&grants) < MAX_ANSWER, "{records} bytes of records");
        Ok(())
    }
}
