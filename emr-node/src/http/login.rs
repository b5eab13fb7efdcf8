//! Logins: a client signs a challenge with the RSA key to which the account's identity leaf commits, and gets a bearer
//! token.
//!
//! Challenges use no memory. The nonce contains a tag under a key of this process, so that the node accepts only nonces
//! that it sent. The node remembers only used nonces, until they expire. It keeps tokens as digests.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use emr_api::encryption::{self, CommittedKey};
use emr_api::{LoginChallenge, LoginRequest, LoginToken};
use emr_core::{AccountIndex, AccountStatus, UnixTime};
use emr_crypto::LoginMessage;
use emr_rollup::{
    operation::Domain,
    primitive::{field, keccak::keccak256},
    state::leaf::{IdentityLeaf, LeafHash},
};

use crate::{
    mempool::Principal,
    request_error::{RequestError, RequestErrorKind},
};

/// How long a challenge can be answered, in seconds.
const CHALLENGE_SECONDS: u64 = 120;
/// How long a token is valid, in seconds.
const TOKEN_SECONDS: u64 = 3600;
/// How many tokens an account can have. A new one replaces the oldest.
const TOKENS_PER_ACCOUNT: usize = 16;
/// How often an account can log in while a challenge is valid. Only the holder of its key can use this up.
const LOGINS_PER_ACCOUNT: usize = 64;
/// How often expired logins of all accounts are removed, in seconds.
const SWEEP: u64 = 60;

/// Issues challenges and tokens.
#[derive(Debug)]
pub(crate) struct Logins {
    domain: [u8; 32],
    key: [u8; 32],
    remembered: Mutex<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    accounts: BTreeMap<Principal, OfAccount>,
    /// Tokens by digest.
    tokens: BTreeMap<[u8; 32], Token>,
    /// When expired logins were last removed.
    swept: Option<UnixTime>,
}

/// The remembered nonces and tokens of an account. Their number is limited, so no account takes memory from another.
#[derive(Debug, Default)]
struct OfAccount {
    /// Used nonces, until they expire.
    used: BTreeMap<[u8; 32], UnixTime>,
    /// Digests of its tokens, oldest first.
    tokens: VecDeque<[u8; 32]>,
}

#[derive(Clone, Copy, Debug)]
struct Token {
    /// The account's owner at the login.
    principal: Principal,
    /// The account's identity leaf at the login. Another key, epoch or status ends the token.
    identity: LeafHash,
    expires: UnixTime,
}

impl Remembered {
    /// Removes expired nonces and tokens, at most once in [`SWEEP`] seconds.
    fn sweep(&mut self, now: UnixTime) {
        if self.swept.is_some_and(|swept| now < swept.saturating_add(SWEEP)) {
            return;
        }
        self.swept = Some(now);
        self.tokens.retain(|_, token| token.expires >= now);
        let tokens = &self.tokens;
        self.accounts.retain(|_, account| {
            account.used.retain(|_, expires| *expires >= now);
            account.tokens.retain(|digest| tokens.contains_key(digest));
            !account.used.is_empty() || !account.tokens.is_empty()
        });
    }

    /// Records that an account used a nonce.
    fn use_nonce(&mut self, account: Principal, nonce: [u8; 32], expires: UnixTime, now: UnixTime) -> Nonce {
        let used = &mut self.accounts.entry(account).or_default().used;
        used.retain(|_, expires| *expires >= now);
        if used.contains_key(&nonce) {
            return Nonce::Used;
        }
        if used.len() >= LOGINS_PER_ACCOUNT {
            let first = used.values().min().map_or(0, |expires| expires.get().saturating_sub(now.get()));
            return Nonce::TooMany { seconds: first + 1 };
        }
        used.insert(nonce, expires);
        Nonce::Fresh
    }
}

/// Whether an account can use a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nonce {
    Fresh,
    Used,
    /// The account has used many nonces lately.
    TooMany {
        /// Seconds until the first of them expires.
        seconds: u64,
    },
}

fn unauthorized(message: &str) -> RequestError {
    RequestError::new(RequestErrorKind::Unauthorized, message)
}

impl Logins {
    pub(crate) fn new(domain: Domain) -> Self {
        Self { domain: field::to_bytes(&domain.element()), key: rand::random(), remembered: Mutex::default() }
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The second half of a nonce: Keccak-256 with this process's key as prefix. A sponge needs no HMAC.
    fn tag(&self, account: AccountIndex, expires: UnixTime, random: &[u8]) -> [u8; 16] {
        let numbers = [account.get().to_be_bytes(), expires.get().to_be_bytes()].concat();
        let digest = keccak256(&[&self.key[..], &numbers, random].concat());
        std::array::from_fn(|i| digest[i])
    }

    /// Makes a challenge for an account.
    pub(crate) fn challenge(&self, account: AccountIndex, now: UnixTime) -> LoginChallenge {
        let expires = now.saturating_add(CHALLENGE_SECONDS);
        let random: [u8; 16] = rand::random();
        let mut nonce = [0; 32];
        let (first, second) = nonce.split_at_mut(16);
        first.copy_from_slice(&random);
        second.copy_from_slice(&self.tag(account, expires, &random));
        LoginChallenge { nonce, expires }
    }

    /// Checks a login and issues a token. `principal` and `identity` are those of the account, and `verifier` is this
    /// hospital's account. The caller has checked that the request's `origin` leads to this node.
    ///
    /// # Errors
    /// Returns `unauthorized` for a wrong key, signature or nonce, always with the same message; and
    /// `too-many` if the account logged in many times just now.
    pub(crate) fn login(
        &self,
        request: &LoginRequest,
        (principal, identity): (Principal, &IdentityLeaf),
        verifier: AccountIndex,
        now: UnixTime,
    ) -> Result<LoginToken, RequestError> {
        let failed =
            || unauthorized("the login is not valid: ask for a new challenge and sign it with the account's key");
        let nonce = request.nonce;
        // Compares digests, so that the time does not show how much of a guess is right.
        let tag = self.tag(request.account, request.expires, &nonce[..16]);
        if keccak256(&tag) != keccak256(&nonce[16..]) {
            return Err(failed());
        }
        let (rsa, kem) = (request.public_key.clone(), request.kem_hash);
        let committed = CommittedKey { rsa, kem, salt: request.commitment_salt };
        if !encryption::matches(&committed, identity.role, &identity.encryption)
            || identity.status != AccountStatus::Active
        {
            return Err(failed());
        }
        let challenge = LoginMessage {
            domain: self.domain,
            verifier,
            account: request.account,
            nonce,
            expires: request.expires,
            origin: request.origin.digest(),
        };
        challenge.verify(&committed.rsa, &request.signature, now).map_err(|_| failed())?;

        let mut remembered = self.remembered();
        remembered.sweep(now);
        match remembered.use_nonce(principal, nonce, request.expires, now) {
            Nonce::Fresh => {}
            Nonce::Used => return Err(failed()),
            Nonce::TooMany { seconds } => {
                let message = "this account has logged in many times just now: use the token that you have, or wait";
                return Err(RequestError::too_many(message, Duration::from_secs(seconds)));
            }
        }
        let token: [u8; 32] = rand::random();
        let (digest, expires) = (keccak256(&token), now.saturating_add(TOKEN_SECONDS));
        remembered.tokens.insert(digest, Token { principal, identity: identity.hash(), expires });
        let digests = &mut remembered.accounts.entry(principal).or_default().tokens;
        digests.push_back(digest);
        let oldest = if digests.len() > TOKENS_PER_ACCOUNT { digests.pop_front() } else { None };
        if let Some(oldest) = oldest {
            remembered.tokens.remove(&oldest);
        }
        Ok(LoginToken { token, expires })
    }

    /// The principal of a bearer token. `now_of` returns the current principal and identity leaf of an account. A token is valid only as
    /// long as both are those of the login.
    ///
    /// # Errors
    /// Returns `unauthorized` for an unknown or expired token.
    pub(crate) fn principal_of(
        &self,
        token: &str,
        now: UnixTime,
        now_of: impl FnOnce(AccountIndex) -> Option<(Principal, LeafHash)>,
    ) -> Result<Principal, RequestError> {
        let mut bytes = [0; 32];
        let known = hex::decode_to_slice(token, &mut bytes)
            .ok()
            .and_then(|()| self.remembered().tokens.get(&keccak256(&bytes)).copied())
            .filter(|token| {
                token.expires >= now && now_of(token.principal.account) == Some((token.principal, token.identity))
            });
        known
            .map(|token| token.principal)
            .ok_or_else(|| unauthorized("the login has lapsed or is unknown: log in again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An account that logs in as often as it can locks out only itself, for two minutes.
    #[test]
    fn an_account_uses_up_its_own_logins_only() -> Result<(), Box<dyn std::error::Error>> {
        let mut remembered = Remembered::default();
        let at = |seconds: u64| UnixTime::new(1_800_000_000 + seconds);
        let [hostile, honest] = [1, 2]
            .map(AccountIndex::new)
            .map(|account| account.map(|account| Principal { account, identity: [7; 32] }));
        let (hostile, honest) = (hostile?, honest?);
        let nonce = |number: u64| -> [u8; 32] { keccak256(&number.to_be_bytes()) };
        for number in 0..LOGINS_PER_ACCOUNT as u64 {
            assert_eq!(remembered.use_nonce(hostile, nonce(number), at(120)?, at(0)?), Nonce::Fresh);
        }
        for number in 0..200_000 {
            let refused = remembered.use_nonce(hostile, nonce(number), at(120)?, at(1)?);
            assert_ne!(refused, Nonce::Fresh);
        }
        assert_eq!(remembered.use_nonce(hostile, nonce(1000), at(120)?, at(1)?), Nonce::TooMany { seconds: 120 });
        assert_eq!(remembered.accounts[&hostile].used.len(), LOGINS_PER_ACCOUNT);
        assert_eq!(remembered.use_nonce(honest, nonce(1), at(120)?, at(1)?), Nonce::Fresh);
        assert_eq!(remembered.use_nonce(honest, nonce(1), at(120)?, at(1)?), Nonce::Used);
        assert_eq!(remembered.use_nonce(hostile, nonce(1000), at(240)?, at(121)?), Nonce::Fresh);
        // Expired entries use no memory.
        remembered.sweep(at(500)?);
        assert!(remembered.accounts.is_empty());
        Ok(())
    }
}
