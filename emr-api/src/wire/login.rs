//! Logging in: a challenge, its signature, and the token for it.

use std::fmt;

use emr_core::{AccountIndex, KemHash, Origin, UnixTime};
use emr_crypto::RsaPublic;
use serde::{Deserialize, Serialize};

use crate::form::{As, Base64UpTo, Hex, Maybe, OriginText, RsaKeyText};

/// Asks for a login challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginChallengeRequest {
    /// The account that wants to log in.
    pub account: AccountIndex,
}

/// What a node contributes to the message that the account signs (`emr_crypto::LoginMessage`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginChallenge {
    /// 32 random bytes.
    #[serde(with = "As::<Hex<32>>")]
    pub nonce: [u8; 32],
    /// When it expires.
    pub expires: UnixTime,
}

/// Logs in with a signed message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginRequest {
    /// The account that logs in.
    pub account: AccountIndex,
    /// The nonce.
    #[serde(with = "As::<Hex<32>>")]
    pub nonce: [u8; 32],
    /// When the challenge expires, unchanged from the challenge.
    pub expires: UnixTime,
    /// The address to which the client sends this.
    #[serde(with = "As::<OriginText>")]
    pub origin: Origin,
    /// The RSA public key to which the account commits.
    #[serde(with = "As::<RsaKeyText>")]
    pub public_key: RsaPublic,
    /// The second key to which the account commits.
    pub kem_hash: KemHash,
    /// The commitment's salt ([`crate::encryption`]); `None` for doctors and hospitals.
    #[serde(default, with = "Maybe::<Hex<32>>")]
    pub commitment_salt: Option<[u8; 32]>,
    /// RSA-PSS signature, at most 4096 bits.
    #[serde(with = "As::<Base64UpTo<512>>")]
    pub signature: Vec<u8>,
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
    /// The bearer token: 64 hex digits in `Authorization`. Secret.
    #[serde(with = "As::<Hex<32>>")]
    pub token: [u8; 32],
    /// When it expires.
    pub expires: UnixTime,
}

impl fmt::Debug for LoginToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}
