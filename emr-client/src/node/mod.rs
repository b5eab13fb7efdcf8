//! The HTTP client of a node: requests by the rules of [`emr_chain::exchange`], typed refusals, and login.

mod endpoints;
pub(crate) mod parallel;

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use emr_api::{prover::ProverCredential, route};
use emr_chain::exchange::{Answer, Body, Exchange, ExchangeError};
use emr_core::{
    AccountIndex, AddressError, Cid, HttpAddress, Origin, PlainHttp, UnixTime, cid::BlockMismatch, is_harmless,
};
use emr_crypto::LoginMessage;
use reqwest::{Method, StatusCode, header::RETRY_AFTER};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Mutex;

use crate::keys::{self, KeyError, Keys};

/// An answer that is on its way: its status and its body.
type Exchanged<'a> = Pin<Box<dyn Future<Output = Result<(StatusCode, Vec<u8>), NodeError>> + Send + 'a>>;

/// How long, in all, the client waits for a busy node before it returns the refusal.
const BUSY: Duration = Duration::from_secs(30);
/// The largest answer, in bytes: a patient's subtree with every record slot used. Also the largest proof job.
pub(crate) const MAX_ANSWER: usize = 64 << 20;
/// How many characters are shown of a refusal.
const MAX_SHOWN: usize = 500;
/// How many seconds before its end a login is renewed.
const RENEW_BEFORE: u64 = 30;
/// The longest validity of a challenge that is signed, in seconds from now.
const LONGEST_CHALLENGE: u64 = 24 * 3600;

/// Why a node did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The address cannot be used.
    #[error("the hospital node's address cannot be used: {0}")]
    Address(#[from] AddressError),
    /// The node does not answer, or not in time.
    #[error("the node at {node} cannot be reached ({reason}): check that it runs, and its address; nothing is lost")]
    Unreachable {
        /// The node's address.
        node: String,
        /// What happened.
        reason: String,
    },
    /// The node refused.
    #[error("{}", .problem.message)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The reason.
        problem: emr_api::Problem,
        /// When to try again, if the node said so.
        retry_after: Option<Duration>,
    },
    /// The answer cannot be decoded, or is about something else.
    #[error("the node's answer to {request} makes no sense ({reason}): check the address, or update the program")]
    Malformed {
        /// Method and path of the request.
        request: String,
        /// What is wrong.
        reason: String,
    },
    /// The answer is too large.
    #[error("the node's answer to {request} is larger than {limit} bytes: use another node")]
    TooLarge {
        /// Method and path of the request.
        request: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The node sent other bytes than the block that was asked for.
    #[error(transparent)]
    WrongBlock(#[from] BlockMismatch),
    /// The node stored a block under another CID.
    #[error("the node stored block {expected} as {actual}: use another node")]
    StoredElsewhere {
        /// The block's CID.
        expected: Cid,
        /// The CID that the node named.
        actual: String,
    },
    /// The node's login challenge must not be signed.
    #[error("the node's login challenge is not one to sign ({0}): use another node, and check this machine's clock")]
    LoginChallenge(&'static str),
    /// The keys did not sign the login.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// This client has no account.
    #[error("this needs an account: register first")]
    NotRegistered,
}

impl NodeError {
    fn has_code(&self, code: &str) -> bool {
        matches!(self, Self::Refused { problem, .. } if problem.code == code)
    }

    /// Whether the state changed meanwhile: read it again and try again.
    pub fn is_stale(&self) -> bool {
        self.has_code("stale")
    }

    /// Whether the node has no room for a new key directory of the patient now.
    pub fn is_no_directory_room(&self) -> bool {
        self.has_code("no-directory-room")
    }

    /// Whether the node has no room for blocks that no operation refers to yet. Later it will have.
    pub fn is_no_room_now(&self) -> bool {
        self.has_code("no-room-now")
    }

    /// Whether the patient revoked the access.
    pub fn is_revoked(&self) -> bool {
        self.has_code("revoked")
    }

    /// Whether a RequestAccess is needed first.
    pub fn is_no_session(&self) -> bool {
        self.has_code("no-session")
    }

    /// Whether the node does not have a block of a record: store it, and hand the record in again.
    pub fn is_missing_block(&self) -> bool {
        self.has_code("missing-block")
    }

    /// Whether the node has no such thing.
    pub fn is_not_found(&self) -> bool {
        self.has_code("not-found")
    }

    /// Whether the node may do it later: it is down or busy, or the login has expired.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 401 || *status == 429,
            _ => false,
        }
    }
}

/// What a client needs to log in.
#[derive(Clone)]
pub struct Login {
    /// The rollup's domain, 32 bytes big-endian.
    pub domain: [u8; 32],
    /// The hospital that runs the node. The signature is valid for this hospital only, and only at the address of the
    /// client.
    pub hospital: AccountIndex,
    /// The account that logs in.
    pub account: AccountIndex,
    /// The keys that sign the login.
    pub keys: Arc<dyn Keys>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("account", &self.account)
            .field("hospital", &self.hospital)
            .finish_non_exhaustive()
    }
}

/// A client of a node's HTTP interface. It logs in by itself where an endpoint needs a login, and keeps the token.
/// Clones share connections and login.
#[derive(Clone, Debug)]
pub struct NodeClient {
    http: Exchange,
    address: HttpAddress,
    login: Arc<RwLock<Option<Arc<Login>>>>,
    credential: Option<ProverCredential>,
    token: Arc<Mutex<Option<emr_api::LoginToken>>>,
}

pub(crate) fn json<T: Serialize>(value: &T) -> Body {
    Body::Json(serde_json::to_vec(value).expect("wire types have a JSON form"))
}

/// A text from a node in a form that is safe to show: without characters that a terminal obeys or that nobody sees, and cut to a few lines.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if is_harmless(c) { c } else { ' ' }).collect()
}

impl NodeClient {
    /// A client of the node at an address: `https`, or plain http on this machine. Nothing is sent yet.
    ///
    /// # Errors
    /// [`NodeError::Address`] if the address cannot be used.
    pub fn new(address: &str) -> Result<Self, NodeError> {
        Self::at(HttpAddress::parse(address, PlainHttp::ThisMachine)?)
    }

    /// A client of the node at an address that was checked. Nothing is sent yet.
    ///
    /// # Errors
    /// [`NodeError::Unreachable`] if no HTTP client can be set up.
    pub fn at(address: HttpAddress) -> Result<Self, NodeError> {
        let http = Exchange::with(&address)
            .map_err(|error| NodeError::Unreachable { node: address.to_string(), reason: error.to_string() })?;
        Ok(Self { http, address, login: Arc::default(), credential: None, token: Arc::default() })
    }

    /// A client of the same node for another participant. It shares the connections but has no login.
    #[must_use]
    pub fn for_another(&self) -> Self {
        Self { login: Arc::default(), credential: None, token: Arc::default(), ..self.clone() }
    }

    /// The same client with a login.
    #[must_use]
    pub fn with_login(self, login: Login) -> Self {
        self.set_login(login);
        self
    }

    /// Sets the login of this client and its clones.
    pub fn set_login(&self, login: Login) {
        *self.login.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(login));
    }

    /// The same client for a prover. It shows this credential instead of logging in.
    #[must_use]
    pub fn with_credential(self, credential: ProverCredential) -> Self {
        Self { credential: Some(credential), ..self }
    }

    /// The node's address.
    pub const fn address(&self) -> &HttpAddress {
        &self.address
    }

    /// Makes a request. A busy node says when to try again, and then the request is repeated as long as all waiting
    /// together stays within [`BUSY`]. Every request of this interface may be repeated.
    ///
    /// Boxed: otherwise every crate that calls a flow compiles the HTTP client again.
    fn exchange<'a>(
        &'a self,
        method: Method,
        path: &'a str,
        body: Body,
        token: Option<&'a str>,
        limit: usize,
    ) -> Exchanged<'a> {
        Box::pin(async move {
            let mut left = BUSY;
            loop {
                match self.ask(&method, path, &body, token, limit).await {
                    Err(NodeError::Refused { retry_after: Some(wait), .. }) if wait <= left => {
                        // Each wait counts as a second at least, so the loop ends.
                        let wait = wait.max(Duration::from_secs(1));
                        left = left.saturating_sub(wait);
                        tokio::time::sleep(wait).await;
                    }
                    other => return other,
                }
            }
        })
    }

    async fn ask(
        &self,
        method: &Method,
        path: &str,
        body: &Body,
        token: Option<&str>,
        limit: usize,
    ) -> Result<(StatusCode, Vec<u8>), NodeError> {
        let name = format!("{method} {path}");
        let url = self.address.url().join(path).map_err(|_| AddressError::NotHttp)?;
        let asked = self.http.ask(method.clone(), url, token, body.clone(), limit).await;
        let Answer { status, headers, body: answer } = asked.map_err(|error| match error {
            ExchangeError::TooLarge(limit) => NodeError::TooLarge { request: name.clone(), limit },
            error => NodeError::Unreachable { node: self.address.to_string(), reason: error.to_string() },
        })?;
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        if status.is_success() {
            return Ok((status, answer));
        }
        match serde_json::from_slice::<emr_api::Problem>(&answer) {
            Ok(emr_api::Problem { code, message }) => {
                let problem = emr_api::Problem { code: printable(&code), message: printable(&message) };
                Err(NodeError::Refused { status: status.as_u16(), problem, retry_after })
            }
            Err(_) => Err(NodeError::Malformed {
                request: name,
                reason: format!("{status}: {}", printable(&String::from_utf8_lossy(&answer))),
            }),
        }
    }

    pub(crate) fn read<T: DeserializeOwned>(request: &str, answer: &[u8]) -> Result<T, NodeError> {
        emr_api::json::read(answer)
            .map_err(|error| NodeError::Malformed { request: request.to_owned(), reason: error.to_string() })
    }

    pub(crate) async fn open<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<T, NodeError> {
        let (_, answer) = self.exchange(method, path, body, None, MAX_ANSWER).await?;
        Self::read(path, &answer)
    }

    /// Makes a request with the account's login. It logs in if needed, and once more if the node refused the token.
    pub(crate) async fn authorized(
        &self,
        method: Method,
        path: &str,
        body: impl Fn() -> Body,
        limit: usize,
    ) -> Result<(StatusCode, Vec<u8>), NodeError> {
        if let Some(credential) = &self.credential {
            return self.exchange(method, path, body(), Some(credential.expose()), limit).await;
        }
        let token = self.token(None).await?;
        let first = self.exchange(method.clone(), path, body(), Some(&token), limit).await;
        match first {
            Err(NodeError::Refused { status: 401, .. }) => {
                let token = self.token(Some(&token)).await?;
                self.exchange(method, path, body(), Some(&token), limit).await
            }
            other => other,
        }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, NodeError> {
        let (_, answer) = self.authorized(Method::GET, path, || Body::None, MAX_ANSWER).await?;
        Self::read(path, &answer)
    }

    /// A token that is not `refused`.
    async fn token(&self, refused: Option<&str>) -> Result<String, NodeError> {
        let mut kept = self.token.lock().await;
        let now = UnixTime::now();
        if let Some(known) = kept.as_ref()
            && now.saturating_add(RENEW_BEFORE) < known.expires
            && refused != Some(hex::encode(known.token).as_str())
        {
            return Ok(hex::encode(known.token));
        }
        let login =
            self.login.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(NodeError::NotRegistered)?;
        let request = json(&emr_api::LoginChallengeRequest { account: login.account });
        let asked: emr_api::LoginChallenge = self.open(Method::POST, route::CHALLENGE, request).await?;
        let answer = answer(&login, &asked, self.address.origin(), now).await?;
        let fresh: emr_api::LoginToken = self.open(Method::POST, route::LOGIN, json(&answer)).await?;
        let token = hex::encode(fresh.token);
        *kept = Some(fresh);
        Ok(token)
    }
}

/// Signs a challenge for this account at this hospital's node and this address, if it is valid for a day at most.
async fn answer(
    login: &Login,
    asked: &emr_api::LoginChallenge,
    origin: Origin,
    now: UnixTime,
) -> Result<emr_api::LoginRequest, NodeError> {
    if asked.expires > now.saturating_add(LONGEST_CHALLENGE) {
        return Err(NodeError::LoginChallenge("it would be valid for more than a day"));
    }
    let message = LoginMessage {
        domain: login.domain,
        verifier: login.hospital,
        account: login.account,
        nonce: asked.nonce,
        expires: asked.expires,
        origin: origin.digest(),
    };
    let key = login.keys.committed_key();
    let signature = keys::with(&login.keys, move |keys| keys.sign_login(&message)).await?;
    Ok(emr_api::LoginRequest {
        account: login.account,
        nonce: asked.nonce,
        expires: asked.expires,
        origin,
        public_key: key.rsa,
        kem_hash: key.kem,
        commitment_salt: key.salt,
        signature,
    })
}
