//! Logging in: a challenge, its signature, and the token for it.

use std::fmt;

use emr_core::{AccountIndex, UnixTime};
use serde::{Deserialize, Serialize};

/// Asks for a login challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginChallengeRequest {
    /// The account that wants to log in.
    pub account: AccountIndex,
}

/// What a node contributes to the message that the account signs (`emr_crypto::LoginMessage`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginChallenge {
    /// 32 random bytes, hex.
    pub nonce: String,
    /// When it expires.
    pub expires: UnixTime,
}

/// Logs in with a signed message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginRequest {
    /// The account that logs in.
    pub account: AccountIndex,
    /// The nonce, hex.
    pub nonce: String,
    /// When the challenge expires, unchanged from the challenge.
    pub expires: UnixTime,
    /// The address to which the client sends this: scheme, host and port, as in [`emr_core::Origin`].
    pub origin: String,
    /// The RSA public key to which the account commits: SPKI DER, base64.
    pub public_key: String,
    /// The commitment's salt ([`crate::encryption`]), hex; empty for doctors and hospitals.
    pub commitment_salt: String,
    /// RSA-PSS signature, base64.
    pub signature: String,
}

/// Omits the data that allow a login, and the data that identify a patient's key.
impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest").field("account", &self.account).finish_non_exhaustive()
    }
}

/// What a login gives.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginToken {
    /// The bearer token. Secret.
    pub token: String,
    /// When it expires.
    pub expires: UnixTime,
}

impl fmt::Debug for LoginToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}
