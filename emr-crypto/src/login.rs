//! The message that an account signs to log in. It proves to a node that the caller holds an account's RSA key.

use emr_core::{AccountIndex, Origin, UnixTime};

use crate::random;
use crate::rsa_key::{BadSignature, RsaPublic, RsaSecret, SigningContext};

/// Why bytes are not a login message, or a node refuses its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoginMessageError {
    /// The signature came too late.
    #[error("the login challenge has expired; log in again, and check both clocks if this repeats")]
    Expired,
    /// The signature is not that of the account's key.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// The bytes are not the 112 bytes of a login message.
    #[error("not a login message")]
    Malformed,
}

/// The message that an account signs to log in. Nonce and expiry come from the node's challenge; a node accepts each
/// nonce once.
///
/// Bytes: domain 32 | verifier 4 | account 4 | nonce 32 | expires 8 | origin 32, integers big-endian; 112 in all.
/// Signed with RSA-PSS in the context [`SigningContext::LOGIN`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginMessage {
    /// The rollup's domain, 32 bytes big-endian.
    pub domain: [u8; 32],
    /// The account of the hospital that asks. A signer who knows the hospital checks it.
    pub verifier: AccountIndex,
    /// The account that must prove itself.
    pub account: AccountIndex,
    /// Random, so that no signature can be used twice.
    pub nonce: [u8; 32],
    /// The last second in which the signature is accepted.
    pub expires: UnixTime,
    /// Digest of the address to which the signer sends the answer ([`emr_core::Origin::digest`]). It comes from the
    /// signer's user, not from the node. A node accepts only addresses that lead to it. Without this, a node could
    /// forward another node's challenge and log in there in the signer's name.
    pub origin: [u8; 32],
}

impl LoginMessage {
    /// Size in bytes.
    pub const BYTES: usize = 112;

    /// Makes a message with a new random nonce.
    pub fn new(
        domain: [u8; 32],
        verifier: AccountIndex,
        account: AccountIndex,
        expires: UnixTime,
        origin: &Origin,
    ) -> Self {
        Self { domain, verifier, account, nonce: random::bytes(), expires, origin: origin.digest() }
    }

    /// The 112 bytes.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..32].copy_from_slice(&self.domain);
        bytes[32..36].copy_from_slice(&(self.verifier.get() as u32).to_be_bytes());
        bytes[36..40].copy_from_slice(&(self.account.get() as u32).to_be_bytes());
        bytes[40..72].copy_from_slice(&self.nonce);
        bytes[72..80].copy_from_slice(&self.expires.get().to_be_bytes());
        bytes[80..].copy_from_slice(&self.origin);
        bytes
    }

    /// Decodes the 112 bytes.
    ///
    /// # Errors
    /// Returns [`LoginMessageError::Malformed`] for another length or a number out of range.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LoginMessageError> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().map_err(|_| LoginMessageError::Malformed)?;
        let number = |from: usize, to: usize| bytes[from..to].iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        let account = |from| AccountIndex::new(number(from, from + 4)).map_err(|_| LoginMessageError::Malformed);
        let array = |from: usize| std::array::from_fn(|i| bytes[from + i]);
        Ok(Self {
            domain: array(0),
            verifier: account(32)?,
            account: account(36)?,
            nonce: array(40),
            expires: UnixTime::new(number(72, 80)).map_err(|_| LoginMessageError::Malformed)?,
            origin: array(80),
        })
    }

    /// Signs the message.
    pub fn sign(&self, key: &RsaSecret) -> Vec<u8> {
        key.sign_pss(SigningContext::LOGIN, &self.to_bytes())
    }

    /// Checks a signature. The caller must look up the key of [`Self::account`], and check that it issued the nonce and
    /// that nobody has used it yet.
    ///
    /// # Errors
    /// Returns [`LoginMessageError::Expired`] after [`Self::expires`], and [`LoginMessageError::Signature`] for a
    /// signature by another key or of another message.
    pub fn verify(&self, key: &RsaPublic, signature: &[u8], now: UnixTime) -> Result<(), LoginMessageError> {
        if now > self.expires {
            return Err(LoginMessageError::Expired);
        }
        Ok(key.verify_pss(SigningContext::LOGIN, &self.to_bytes(), signature)?)
    }
}
