//! The node's endpoints, one method each.

use emr_api::route;
use emr_core::{
    AccountIndex, Cid, Codec, RecordSlot,
    cid::{MAX_BLOCK_BYTES, cid_of, codec_of, verify_block},
};
use reqwest::{Method, StatusCode};

use crate::node::{Body, MAX_ANSWER, NodeClient, NodeError, SHOWN, json, printable};

/// Refuses an answer about something else than was asked for.
fn about(request: &str, asked: bool) -> Result<(), NodeError> {
    if asked {
        return Ok(());
    }
    Err(NodeError::Malformed { request: request.to_owned(), reason: "it is about something else".to_owned() })
}

impl NodeClient {
    /// What the node is and how it is doing.
    ///
    /// # Errors
    /// [`NodeError`], here and below.
    pub async fn status(&self) -> Result<emr_api::NodeStatus, NodeError> {
        self.open(Method::GET, route::STATUS, Body::None).await
    }

    /// Has the node relay and pay for a registration.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn relay(&self, registration: &emr_api::RelayRegistration) -> Result<emr_api::Registered, NodeError> {
        self.open(Method::POST, route::ACCOUNTS, json(registration)).await
    }

    /// What the state says of an account.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn account(&self, account: AccountIndex) -> Result<emr_api::AccountView, NodeError> {
        let path = route::account(account);
        let view: emr_api::AccountView = self.open(Method::GET, &path, Body::None).await?;
        about(&path, view.account == account).map(|()| view)
    }

    /// Stores a block. Doing it twice changes nothing.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn put_block(&self, codec: Codec, bytes: &[u8]) -> Result<Cid, NodeError> {
        let path = route::blocks(codec);
        let body = || Body::Bytes(bytes.to_vec());
        let (_, answer) = self.authorized(Method::POST, &path, body, MAX_ANSWER).await?;
        let put: emr_api::BlockPut = Self::read(&path, &answer)?;
        let expected = cid_of(codec, bytes);
        if put.cid == expected.to_string() {
            Ok(expected)
        } else {
            Err(NodeError::StoredElsewhere { expected, actual: put.cid.chars().take(SHOWN).collect() })
        }
    }

    /// A block, hashed again here.
    ///
    /// # Errors
    /// [`NodeError`]; [`NodeError::WrongBlock`] if the bytes are not the block.
    pub async fn block(&self, cid: &Cid) -> Result<Vec<u8>, NodeError> {
        codec_of(cid)?;
        let path = route::block(cid);
        let (_, bytes) = self.authorized(Method::GET, &path, || Body::None, MAX_BLOCK_BYTES).await?;
        verify_block(cid, &bytes)?;
        Ok(bytes)
    }

    /// Hands in an operation; a Revoke where only Revokes are taken. Handing in the same one again gives its receipt again.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn submit(&self, submission: &emr_api::Submission) -> Result<emr_api::Receipt, NodeError> {
        let revokes = submission.signed.operation.action.rule().ends_rights;
        let path = if revokes { route::REVOKES } else { route::OPERATIONS };
        let (_, answer) = self.authorized(Method::POST, path, || json(submission), MAX_ANSWER).await?;
        Self::read(path, &answer)
    }

    /// What became of an operation.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn operation(&self, id: &[u8; 32]) -> Result<emr_api::OperationStatus, NodeError> {
        let status = self.get(&route::operation(id)).await?;
        Ok(match status {
            emr_api::OperationStatus::Replaced { by } => emr_api::OperationStatus::Replaced { by: printable(&by) },
            emr_api::OperationStatus::Returned { reason } => {
                emr_api::OperationStatus::Returned { reason: printable(&reason) }
            }
            other => other,
        })
    }

    /// What a grantee needs of a patient to act.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn patient(&self, patient: AccountIndex) -> Result<emr_api::PatientView, NodeError> {
        let path = route::patient(patient);
        let view: emr_api::PatientView = self.get(&path).await?;
        about(&path, view.patient == patient).map(|()| view)
    }

    /// The patient's whole subtree.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn subtree(&self, patient: AccountIndex) -> Result<emr_api::SubtreeView, NodeError> {
        let path = route::subtree(patient);
        let view: emr_api::SubtreeView = self.get(&path).await?;
        about(&path, view.patient == patient).map(|()| view)
    }

    /// The records that the account may know of.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn records(&self, patient: AccountIndex) -> Result<Vec<emr_api::RecordSummary>, NodeError> {
        self.get(&route::records(patient)).await
    }

    /// A record with its proof.
    ///
    /// # Errors
    /// [`NodeError`]; [`NodeError::is_no_session`] if access has to be requested first.
    pub async fn record(&self, patient: AccountIndex, slot: RecordSlot) -> Result<emr_api::RecordView, NodeError> {
        let path = route::record(patient, slot);
        let view: emr_api::RecordView = self.get(&path).await?;
        about(&path, view.slot == slot).map(|()| view)
    }

    /// Seals what is pending. For the hospital.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn seal(&self) -> Result<emr_api::BatchView, NodeError> {
        let path = route::SEAL;
        let (_, answer) = self.authorized(Method::POST, path, || Body::None, MAX_ANSWER).await?;
        Self::read(path, &answer)
    }

    /// A batch.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn batch(&self, number: u64) -> Result<emr_api::BatchView, NodeError> {
        self.open(Method::GET, &route::batch(number), Body::None).await
    }

    /// The provers that have a credential. For the hospital.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn provers(&self) -> Result<Vec<emr_api::ProverView>, NodeError> {
        self.get(route::PROVERS).await
    }

    /// Who invited today, and whose invitations no longer count. For the hospital.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn inviters(&self) -> Result<Vec<emr_api::InviterView>, NodeError> {
        self.get(route::INVITERS).await
    }

    /// Whether invitations of this Ethereum address count from now on. For the hospital.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn set_inviter(&self, address: &str, counts: bool) -> Result<(), NodeError> {
        let method = || if counts { Method::PUT } else { Method::DELETE };
        self.authorized(method(), &route::inviter(address), || Body::None, MAX_ANSWER).await.map(drop)
    }

    /// Lets a prover in. For the hospital.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn add_prover(&self, prover: &emr_api::NewProver) -> Result<emr_api::ProverView, NodeError> {
        let path = route::PROVERS;
        let (_, answer) = self.authorized(Method::POST, path, || json(prover), MAX_ANSWER).await?;
        Self::read(path, &answer)
    }

    /// Ends a prover's credential. For the hospital.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn remove_prover(&self, name: &str) -> Result<(), NodeError> {
        let path = route::prover(name);
        self.authorized(Method::DELETE, &path, || Body::None, MAX_ANSWER).await.map(|_| ())
    }

    /// The next batch to prove, if there is one. For a prover, or the hospital.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn proof_job(&self) -> Result<Option<emr_api::ProofJob>, NodeError> {
        let path = route::PROOF_JOB;
        let (status, answer) = self.authorized(Method::GET, path, || Body::None, MAX_ANSWER).await?;
        if status == StatusCode::NO_CONTENT { Ok(None) } else { Self::read(path, &answer).map(Some) }
    }

    /// Hands in a proof. For a prover, or the hospital.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn proof(&self, number: u64, proof: &[u8]) -> Result<(), NodeError> {
        let path = route::proof(number);
        self.authorized(Method::POST, &path, || Body::Bytes(proof.to_vec()), MAX_ANSWER).await.map(|_| ())
    }
}
