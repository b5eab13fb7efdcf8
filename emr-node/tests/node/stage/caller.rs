//! HTTP requests like those of participants.

use std::{error, time::Duration};

use emr_api::{
    BlockPut, LoginChallenge, LoginChallengeRequest, LoginRequest, LoginToken, NodeStatus, PatientView, Problem,
    Receipt, Submission,
};
use emr_core::{
    AccountIndex, Origin,
    cid::{Cid, Codec, cid_of},
};
use emr_crypto::LoginMessage;
use emr_rollup::{
    operation::{Domain, Kind},
    primitive::field,
};
use reqwest::{Client, RequestBuilder, Url};
use serde::{Serialize, de::DeserializeOwned};

use emr_testkit::{Outcome, people::Person};

/// The answer to a request, or the refusal.
pub(crate) type Answer<T> = Result<T, Refused>;

/// A refusal, as the node sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.message)
    }
}

impl error::Error for Refused {}

/// The refusal's code.
pub(crate) fn code<T: std::fmt::Debug>(answer: Answer<T>) -> String {
    match answer {
        Ok(answer) => panic!("must be refused, but gave {answer:?}"),
        Err(refused) => refused.code,
    }
}

/// A request body with another text in one field, named by its path (`stored.salt`).
pub(crate) fn with_field(body: &impl Serialize, field: &str, text: String) -> Outcome<serde_json::Value> {
    let mut body = serde_json::to_value(body)?;
    let old = body.pointer_mut(&format!("/{}", field.replace('.', "/"))).ok_or("no such field")?;
    *old = text.into();
    Ok(body)
}

/// A participant, or a stranger, who sends requests to the node.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) url: Url,
    pub(crate) http: Client,
    pub(crate) token: Option<String>,
    pub(crate) domain: Domain,
    pub(crate) person: &'static Person,
    pub(crate) account: AccountIndex,
}

impl Caller {
    pub(crate) fn anonymous(url: Url, domain: Domain, person: &'static Person, account: AccountIndex) -> Self {
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().expect("a client");
        Self { url, http, token: None, domain, person, account }
    }

    /// The same caller at another address of this machine, with its own connections.
    pub(crate) fn at(&self, address: [u8; 4]) -> Self {
        let http = Client::builder().no_proxy().local_address(Some(address.into())).timeout(Duration::from_secs(60));
        Self { http: http.build().expect("a client"), ..self.clone() }
    }

    pub(crate) async fn log_in(
        url: Url,
        domain: Domain,
        person: &'static Person,
        account: AccountIndex,
    ) -> Outcome<Self> {
        let mut caller = Self::anonymous(url, domain, person, account);
        let login = caller.sign_in().await?;
        let login_token: LoginToken = caller.post("v1/login", &login).await?;
        caller.token = Some(hex::encode(login_token.token));
        Ok(caller)
    }

    /// Gets a challenge and signs it.
    pub(crate) async fn sign_in(&self) -> Outcome<LoginRequest> {
        let status: NodeStatus = self.get("v1/status").await?;
        let verifier = status.hospital.ok_or("no hospital")?;
        let challenge: LoginChallenge =
            self.post("v1/login/challenge", &LoginChallengeRequest { account: self.account }).await?;
        self.answer(&challenge, verifier)
    }

    pub(crate) fn answer(&self, challenge: &LoginChallenge, verifier: AccountIndex) -> Outcome<LoginRequest> {
        self.answer_at(challenge, verifier, self.url.as_str())
    }

    /// The answer of a client whose user gave this address of a node.
    pub(crate) fn answer_at(
        &self,
        challenge: &LoginChallenge,
        verifier: AccountIndex,
        url: &str,
    ) -> Outcome<LoginRequest> {
        let origin: Origin = url.parse()?;
        let signed = LoginMessage {
            domain: field::to_bytes(&self.domain.element()),
            verifier,
            account: self.account,
            nonce: challenge.nonce,
            expires: challenge.expires,
            origin: origin.digest(),
        };
        let key = self.person.identity.committed_key();
        Ok(LoginRequest {
            account: self.account,
            nonce: challenge.nonce,
            expires: challenge.expires,
            origin,
            public_key: key.rsa,
            kem_hash: key.kem,
            commitment_salt: key.salt,
            signature: signed.sign(self.person.identity.rsa()),
        })
    }

    fn request(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer<Vec<u8>> {
        let unreachable =
            |error: reqwest::Error| Refused { status: 0, code: "unreachable".into(), message: format!("{error:?}") };
        let response = self.request(request).send().await.map_err(unreachable)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        let problem: Problem = serde_json::from_slice(&bytes).map_err(|_| Refused {
            status: status.as_u16(),
            code: "not a problem".into(),
            message: String::from_utf8_lossy(&bytes).into_owned(),
        })?;
        Err(Refused { status: status.as_u16(), code: problem.code, message: problem.message })
    }

    pub(crate) fn join(&self, path: &str) -> Url {
        self.url.join(path).expect("a path")
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        let bytes = self.send(self.http.get(self.join(path))).await?;
        Ok(read(&bytes))
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &(impl Serialize + Sync)) -> Answer<T> {
        let bytes = self.send(self.http.post(self.join(path)).json(body)).await?;
        Ok(read(&bytes))
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer<Vec<u8>> {
        self.send(self.http.delete(self.join(path))).await
    }

    pub(crate) async fn post_bytes(&self, path: &str, body: Vec<u8>) -> Answer<Vec<u8>> {
        self.send(self.http.post(self.join(path)).body(body)).await
    }

    pub(crate) async fn put_block(&self, codec: Codec, bytes: &[u8]) -> Answer<Cid> {
        let name = match codec {
            Codec::Raw => "raw",
            Codec::DagCbor => "dag-cbor",
        };
        let put: BlockPut = read(&self.post_bytes(&format!("v1/blocks?codec={name}"), bytes.to_vec()).await?);
        assert_eq!(put.cid, cid_of(codec, bytes));
        Ok(cid_of(codec, bytes))
    }

    pub(crate) async fn block(&self, cid: &Cid) -> Answer<Vec<u8>> {
        self.send(self.http.get(self.join(&format!("v1/blocks/{cid}")))).await
    }

    pub(crate) async fn submit(&self, submission: &Submission) -> Answer<Receipt> {
        let revokes = submission.signed.operation.action.kind() == Kind::Revoke;
        self.post(if revokes { "v1/revokes" } else { "v1/operations" }, submission).await
    }

    pub(crate) async fn view(&self, patient: AccountIndex) -> Answer<PatientView> {
        self.get(&format!("v1/patients/{patient}")).await
    }
}

/// Reads JSON. An empty body (status 204) is read as null.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> T {
    let bytes = if bytes.is_empty() { b"null" } else { bytes };
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}
