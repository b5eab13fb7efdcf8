//! Talking to a node over HTTP: requests, by the rule of [`emr_chain::exchange`], typed refusals, login.

mod endpoints;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use emr_api::{prover::ProverCredential, route};
use emr_chain::exchange::{Answer, Body, Exchange, ExchangeError};
use emr_core::{AccountIndex, AddressError, Cid, HttpAddress, PlainHttp, UnixTime, cid::BlockMismatch};
use emr_crypto::Challenge;
use reqwest::{Method, StatusCode, header::RETRY_AFTER};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Mutex;

use crate::keys::{self, KeyError, Keys};

/// How long a busy node is waited for, in all, before its refusal is handed on.
const BUSY: Duration = Duration::from_secs(30);
/// The largest answer, in bytes: a patient's subtree with every record slot used. Also the largest proof job.
pub(crate) const MAX_ANSWER: usize = 64 << 20;
/// How much of an answer that is not understood is shown.
pub(crate) const SHOWN: usize = 200;
/// How much of a refusal is shown.
const MAX_SHOWN: usize = 500;
/// A login is renewed this many seconds before it lapses.
const RENEW_BEFORE: u64 = 30;
/// A challenge that lapses later than this many seconds from now is not signed.
const LONGEST_CHALLENGE: u64 = 24 * 3600;

/// Why a node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The address is not one to use.
    #[error("the hospital node's address cannot be used: {0}")]
    Address(#[from] AddressError),
    /// Nobody answers, or not in time.
    #[error("the node at {node} cannot be reached ({reason}): check that it runs, and its address; nothing is lost")]
    Unreachable {
        /// The node.
        node: String,
        /// What happened.
        reason: String,
    },
    /// It refused.
    #[error("{}", .problem.message)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why.
        problem: emr_api::Problem,
        /// After how long it may do it, if it says so.
        retry_after: Option<Duration>,
    },
    /// An answer that is none.
    #[error("the node's answer to {request} makes no sense ({reason}): check the address, or update the program")]
    Malformed {
        /// Method and path.
        request: String,
        /// What is wrong.
        reason: String,
    },
    /// Too much.
    #[error("the node's answer to {request} is larger than {limit} bytes: use another node")]
    TooLarge {
        /// Method and path.
        request: String,
        /// The limit.
        limit: usize,
    },
    /// Other bytes than asked for.
    #[error(transparent)]
    WrongBlock(#[from] BlockMismatch),
    /// It stored a block under another name.
    #[error("the node stored block {expected} as {actual}: use another node")]
    StoredElsewhere {
        /// The block's name.
        expected: Cid,
        /// What it said.
        actual: String,
    },
    /// It asked to sign something that is no login challenge.
    #[error("the node's login challenge is not one to sign ({0}): use another node, and check this machine's clock")]
    Challenge(&'static str),
    /// What holds the keys did not sign the login.
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

    /// The state moved on: read it again and try once more.
    pub fn is_stale(&self) -> bool {
        self.has_code("stale")
    }

    /// Access was taken back.
    pub fn is_revoked(&self) -> bool {
        self.has_code("revoked")
    }

    /// A RequestAccess is needed first.
    pub fn is_no_session(&self) -> bool {
        self.has_code("no-session")
    }

    /// There is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.has_code("not-found")
    }

    /// The node may do it later: it is down, busy, or its login lapsed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 401 || *status == 429,
            _ => false,
        }
    }
}

/// What a client logs in with.
#[derive(Clone)]
pub struct Login {
    /// The rollup's domain, 32 bytes big-endian.
    pub domain: [u8; 32],
    /// The hospital that runs the node: the signature is worth nothing elsewhere.
    pub hospital: AccountIndex,
    /// Who logs in.
    pub account: AccountIndex,
    /// What signs.
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

/// A node's HTTP interface. Logs in by itself where an endpoint needs it, and keeps the token. Clones share connections and login.
#[derive(Clone, Debug)]
pub struct NodeClient {
    http: Exchange,
    address: HttpAddress,
    login: Arc<RwLock<Option<Arc<Login>>>>,
    credential: Option<ProverCredential>,
    session: Arc<Mutex<Option<emr_api::Session>>>,
}

pub(crate) fn json<T: Serialize>(value: &T) -> Body {
    Body::Json(serde_json::to_vec(value).expect("wire types have a JSON form"))
}

/// What a node says, as it may be shown: no control characters, which a terminal would obey, and not more than a few lines.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl NodeClient {
    /// A client of the node at an address: `https`, or plain http on this machine. Nothing is sent yet.
    ///
    /// # Errors
    /// [`NodeError::Address`].
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
        Ok(Self { http, address, login: Arc::default(), credential: None, session: Arc::default() })
    }

    /// A client of the same node over the same connections, for somebody else: without login.
    #[must_use]
    pub fn for_another(&self) -> Self {
        Self { login: Arc::default(), credential: None, session: Arc::default(), ..self.clone() }
    }

    /// The same client, with what it logs in with.
    #[must_use]
    pub fn with_login(self, login: Login) -> Self {
        self.set_login(login);
        self
    }

    /// Sets what this client and its clones log in with from now on.
    pub fn set_login(&self, login: Login) {
        *self.login.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(login));
    }

    /// The same client for a prover: it shows this credential instead of logging in.
    #[must_use]
    pub fn with_credential(self, credential: ProverCredential) -> Self {
        Self { credential: Some(credential), ..self }
    }

    /// The node's address.
    pub const fn address(&self) -> &HttpAddress {
        &self.address
    }

    /// A request. A node that has too much to do says when to come back; then the request is made again, as long as that is within
    /// [`BUSY`] in all. Every request of this interface may be repeated.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Body,
        token: Option<&str>,
        limit: usize,
    ) -> Result<(StatusCode, Vec<u8>), NodeError> {
        let mut left = BUSY;
        loop {
            match self.ask(&method, path, &body, token, limit).await {
                Err(NodeError::Refused { retry_after: Some(wait), .. }) if wait <= left => {
                    // At least a second, so that the loop ends.
                    let wait = wait.max(Duration::from_secs(1));
                    left = left.saturating_sub(wait);
                    tokio::time::sleep(wait).await;
                }
                other => return other,
            }
        }
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
        serde_json::from_slice(answer)
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

    /// A request in the name of the account: logs in if need be, and once more if the token was not taken.
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

    /// A token, other than `refused`.
    async fn token(&self, refused: Option<&str>) -> Result<String, NodeError> {
        let mut session = self.session.lock().await;
        let now = UnixTime::now();
        if let Some(known) = session.as_ref()
            && now.saturating_add(RENEW_BEFORE) < known.expires
            && refused != Some(known.token.as_str())
        {
            return Ok(known.token.clone());
        }
        let login =
            self.login.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(NodeError::NotRegistered)?;
        let request = json(&emr_api::ChallengeRequest { account: login.account });
        let asked: emr_api::Challenge = self.open(Method::POST, route::CHALLENGE, request).await?;
        let answer = answer(&login, &asked, now).await?;
        let fresh: emr_api::Session = self.open(Method::POST, route::LOGIN, json(&answer)).await?;
        let token = fresh.token.clone();
        *session = Some(fresh);
        Ok(token)
    }
}

/// Signs a challenge, if it is one for this account and not for an unreasonable time.
async fn answer(login: &Login, asked: &emr_api::Challenge, now: UnixTime) -> Result<emr_api::LoginRequest, NodeError> {
    let mut nonce = [0; 32];
    hex::decode_to_slice(&asked.nonce, &mut nonce).map_err(|_| NodeError::Challenge("its nonce is not 32 bytes"))?;
    if asked.expires > now.saturating_add(LONGEST_CHALLENGE) {
        return Err(NodeError::Challenge("it would be valid for more than a day"));
    }
    let challenge = Challenge {
        domain: login.domain,
        verifier: login.hospital,
        account: login.account,
        nonce,
        expires: asked.expires,
    };
    let key = login.keys.committed_key();
    let signature = keys::with(&login.keys, move |keys| keys.sign_login(&challenge)).await?;
    Ok(emr_api::LoginRequest {
        account: login.account,
        nonce: hex::encode(nonce),
        expires: asked.expires,
        public_key: BASE64.encode(key.key.to_der()),
        commitment_salt: key.salt.map(hex::encode).unwrap_or_default(),
        signature: BASE64.encode(signature),
    })
}
