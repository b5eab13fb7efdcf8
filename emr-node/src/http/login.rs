//! Logins: a challenge signed with the RSA key that the account's identity leaf commits to, against a bearer token.
//!
//! Challenges cost the node no memory: the nonce carries a tag under a key of this process, so that only what was handed out is
//! accepted, and only nonces that were used are remembered, until they lapse. Tokens are kept as digests.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use emr_api::encryption::CommittedKey;
use emr_api::{Challenge, LoginRequest, Session};
use emr_core::{AccountIndex, AccountStatus, UnixTime};
use emr_crypto::{Challenge as SignedChallenge, RsaPublic};
use emr_rollup::{
    operation::Domain,
    primitive::{
        field::{self, Fr},
        keccak::keccak256,
    },
    state::leaf::IdentityLeaf,
};

use crate::http::refusal::{Refusal, RefusalKind};

/// How long a challenge may be answered. Seconds.
const CHALLENGE_SECONDS: u64 = 120;
/// How long a token is valid. Seconds.
const TOKEN_SECONDS: u64 = 3600;
/// How many tokens an account may have; the oldest goes.
const TOKENS_PER_ACCOUNT: usize = 16;
/// How many logins are remembered at once: valid tokens, and used nonces.
const MAX_REMEMBERED: usize = 100_000;
/// The longest public key, in base64: SPKI DER of 4096 bits.
const MAX_KEY_TEXT: usize = 1024;

/// Hands out challenges and tokens.
#[derive(Debug)]
pub(crate) struct Logins {
    domain: [u8; 32],
    key: [u8; 32],
    remembered: Mutex<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    used: BTreeMap<[u8; 32], UnixTime>,
    tokens: BTreeMap<[u8; 32], Token>,
    by_account: BTreeMap<AccountIndex, VecDeque<[u8; 32]>>,
}

#[derive(Clone, Copy, Debug)]
struct Token {
    account: AccountIndex,
    expires: UnixTime,
    /// The identity leaf at the login: another key, epoch or standing ends it.
    identity: Fr,
}

impl Remembered {
    fn forget_old(&mut self, now: UnixTime) {
        self.used.retain(|_, expires| *expires >= now);
        self.tokens.retain(|_, token| token.expires >= now);
        let tokens = &self.tokens;
        self.by_account.retain(|_, digests| {
            digests.retain(|digest| tokens.contains_key(digest));
            !digests.is_empty()
        });
    }
}

fn unauthorized(message: &str) -> Refusal {
    Refusal::new(RefusalKind::Unauthorized, message)
}

impl Logins {
    pub(crate) fn new(domain: Domain) -> Self {
        Self { domain: field::to_bytes(&domain.element()), key: rand::random(), remembered: Mutex::default() }
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The second half of a nonce: Keccak-256 under this process's key, which prefixes; sponges need no HMAC.
    fn tag(&self, account: AccountIndex, expires: UnixTime, random: &[u8]) -> [u8; 16] {
        let numbers = [account.get().to_be_bytes(), expires.get().to_be_bytes()].concat();
        let digest = keccak256(&[&self.key[..], &numbers, random].concat());
        std::array::from_fn(|i| digest[i])
    }

    /// A challenge for an account.
    pub(crate) fn challenge(&self, account: AccountIndex, now: UnixTime) -> Challenge {
        let expires = now.saturating_add(CHALLENGE_SECONDS);
        let random: [u8; 16] = rand::random();
        let nonce = [random, self.tag(account, expires, &random)].concat();
        Challenge { nonce: hex::encode(nonce), expires }
    }

    /// Logs in: `identity` is the account's leaf, `verifier` this hospital's account.
    ///
    /// # Errors
    /// `unauthorized`, always the same for a wrong key, signature or nonce; `malformed`; `unavailable`.
    pub(crate) fn login(
        &self,
        request: &LoginRequest,
        identity: &IdentityLeaf,
        verifier: AccountIndex,
        now: UnixTime,
    ) -> Result<Session, Refusal> {
        let failed =
            || unauthorized("the login is not valid: ask for a new challenge and sign it with the account's key");
        let mut nonce = [0; 32];
        hex::decode_to_slice(&request.nonce, &mut nonce)
            .map_err(|_| Refusal::malformed("the nonce is 64 hex digits"))?;
        if request.public_key.len() > MAX_KEY_TEXT || request.signature.len() > MAX_KEY_TEXT {
            return Err(Refusal::malformed("key and signature are those of an RSA key of at most 4096 bits"));
        }
        let key = BASE64.decode(&request.public_key).ok().and_then(|der| RsaPublic::from_der(&der).ok());
        let key = key.ok_or_else(|| Refusal::malformed("the public key is SPKI DER in base64"))?;
        let signature = BASE64.decode(&request.signature).map_err(|_| Refusal::malformed("the signature is base64"))?;
        let salt = match request.commitment_salt.as_str() {
            "" => None,
            text => {
                let mut salt = [0; 32];
                hex::decode_to_slice(text, &mut salt).map_err(|_| Refusal::malformed("the salt is 64 hex digits"))?;
                Some(salt)
            }
        };
        // Compared as digests: how much of a guess is right must not show in the time it takes.
        let tag = self.tag(request.account, request.expires, &nonce[..16]);
        if keccak256(&tag) != keccak256(&nonce[16..]) {
            return Err(failed());
        }
        let committed = CommittedKey { key, salt };
        if !committed.matches(identity.role, &identity.encryption) || identity.status != AccountStatus::Active {
            return Err(failed());
        }
        let challenge = SignedChallenge {
            domain: self.domain,
            verifier,
            account: request.account,
            nonce,
            expires: request.expires,
        };
        challenge.verify(&committed.key, &signature, now).map_err(|_| failed())?;

        let mut remembered = self.remembered();
        if remembered.used.len() >= MAX_REMEMBERED || remembered.tokens.len() >= MAX_REMEMBERED {
            remembered.forget_old(now);
            if remembered.used.len() >= MAX_REMEMBERED || remembered.tokens.len() >= MAX_REMEMBERED {
                return Err(Refusal::unavailable("too many logins at present: try again in a minute"));
            }
        }
        if remembered.used.insert(nonce, request.expires).is_some() {
            return Err(failed());
        }
        let token: [u8; 32] = rand::random();
        let (digest, expires) = (keccak256(&token), now.saturating_add(TOKEN_SECONDS));
        remembered.tokens.insert(digest, Token { account: request.account, expires, identity: identity.hash() });
        let digests = remembered.by_account.entry(request.account).or_default();
        digests.push_back(digest);
        let oldest = if digests.len() > TOKENS_PER_ACCOUNT { digests.pop_front() } else { None };
        if let Some(oldest) = oldest {
            remembered.tokens.remove(&oldest);
        }
        Ok(Session { token: hex::encode(token), expires })
    }

    /// The account that a bearer token is for. `identity` looks up an account's leaf: the token is good only as long as that is
    /// what it was at the login.
    ///
    /// # Errors
    /// `unauthorized`.
    pub(crate) fn account_of(
        &self,
        token: &str,
        now: UnixTime,
        identity: impl FnOnce(AccountIndex) -> Option<Fr>,
    ) -> Result<AccountIndex, Refusal> {
        let mut bytes = [0; 32];
        let known = hex::decode_to_slice(token, &mut bytes)
            .ok()
            .and_then(|()| self.remembered().tokens.get(&keccak256(&bytes)).copied())
            .filter(|token| token.expires >= now && identity(token.account) == Some(token.identity));
        known.map(|token| token.account).ok_or_else(|| unauthorized("the login has lapsed or is unknown: log in again"))
    }
}
