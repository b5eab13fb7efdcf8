//! The invitation that a registration needs if the hospital is to pay for it. One-time, expiring, signed by the hospital or a doctor of it,
//! and bound to nothing but its nonce: anyone who has the code may use it, once.
//!
//! The signature is EIP-712, domain ("EMR Rollup", "1", chain, contract), `Invitation(uint64 inviter,bytes16 nonce,uint64 expires)`, by the
//! Ethereum key that owns the inviter's account.
//!
//! As text it is one word: `emr1`, then base32 (RFC 4648, lower case, no padding) of 93 bytes: inviter (3), nonce (16), expiry (5), signature
//! (65), and the first 4 bytes of Keccak-256 over `emr1` and the bytes before. Numbers are big-endian. Upper case is read too.

use std::{fmt, str::FromStr};

use alloy::{
    primitives::{Address, B256, Signature},
    signers::SignerSync,
    sol_types::SolStruct,
};
use data_encoding::BASE32_NOPAD;
use emr_chain::RollupInstance;
use emr_core::{AccountIndex, UnixTime};
use emr_rollup::primitive::keccak::keccak256;
use serde::{Deserialize, Serialize};

use crate::receipt::domain;

mod eip712 {
    alloy::sol! {
        /// What the inviter signs.
        struct Invitation {
            uint64 inviter;
            bytes16 nonce;
            uint64 expires;
        }
    }
}

/// The longest that an invitation may be valid, from now on. Seconds: 90 days. A node keeps used nonces that long.
pub const MAX_VALIDITY: u64 = 90 * 86_400;

/// How every code begins.
const PREFIX: &str = "emr1";
/// How far the clocks of inviter and node may differ at that limit. Seconds.
const CLOCK_TOLERANCE: u64 = 900;
const TAG_BYTES: usize = 4;
const BYTES: usize = 3 + 16 + 5 + 65 + TAG_BYTES;

/// A text is no invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationTextError {
    /// It is something else.
    #[error(
        "this is not an invitation: one begins with {PREFIX}, and is what `emr-hospital invite` or `emr-doctor invite` prints"
    )]
    NotACode,
    /// It was one once.
    #[error("this invitation is mistyped or cut off: copy the whole word again")]
    Mistyped,
}

/// An invitation does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationError {
    /// Its time is over.
    #[error("this invitation is no longer valid: ask for a new one")]
    Expired,
    /// It would hold too long.
    #[error("this invitation is valid for more than 90 days: ask for one that ends earlier")]
    TooLong,
    /// The inviter did not sign it.
    #[error("this invitation is not signed by account {0} for this chain and contract: ask for a new one")]
    Signature(AccountIndex),
}

/// An invitation. The text ([`fmt::Display`], [`FromStr`]) is what people pass on, and its JSON form.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Invitation {
    inviter: AccountIndex,
    nonce: [u8; 16],
    expires: UnixTime,
    signature: [u8; 65],
}

impl Invitation {
    /// Signs an invitation with a fresh nonce. `key` owns the account `inviter`.
    ///
    /// # Errors
    /// [`alloy::signers::Error`] if the signer fails, which a local key does not.
    pub fn issue(
        instance: &RollupInstance,
        key: &impl SignerSync,
        inviter: AccountIndex,
        expires: UnixTime,
    ) -> Result<Self, alloy::signers::Error> {
        let nonce = rand::random();
        let signature = key.sign_hash_sync(&signing_hash(instance, inviter, nonce, expires))?.as_bytes();
        Ok(Self { inviter, nonce, expires, signature })
    }

    /// The account that says it invites.
    pub const fn inviter(&self) -> AccountIndex {
        self.inviter
    }

    /// What makes it one-time; 16 random bytes.
    pub const fn nonce(&self) -> [u8; 16] {
        self.nonce
    }

    /// The last second of its validity.
    pub const fn expires(&self) -> UnixTime {
        self.expires
    }

    /// Checks its time alone, which needs nothing of the inviter.
    ///
    /// # Errors
    /// [`InvitationError::Expired`], [`InvitationError::TooLong`].
    pub fn check_time(&self, now: UnixTime) -> Result<(), InvitationError> {
        if self.expires < now {
            return Err(InvitationError::Expired);
        }
        if self.expires > now.saturating_add(MAX_VALIDITY + CLOCK_TOLERANCE) {
            return Err(InvitationError::TooLong);
        }
        Ok(())
    }

    /// Checks that `owner`, who owns the inviter's account on L1, signed it for this chain and contract, and its time. Pure. Whether the
    /// inviter may invite, and whether it was used, the node knows.
    ///
    /// # Errors
    /// [`InvitationError`].
    pub fn verify(&self, instance: &RollupInstance, owner: Address, now: UnixTime) -> Result<(), InvitationError> {
        self.check_time(now)?;
        let hash = signing_hash(instance, self.inviter, self.nonce, self.expires);
        let signer =
            Signature::from_raw(&self.signature).and_then(|signature| signature.recover_address_from_prehash(&hash));
        if signer.is_ok_and(|signer| signer == owner) { Ok(()) } else { Err(InvitationError::Signature(self.inviter)) }
    }
}

fn signing_hash(instance: &RollupInstance, inviter: AccountIndex, nonce: [u8; 16], expires: UnixTime) -> B256 {
    eip712::Invitation { inviter: inviter.get(), nonce: nonce.into(), expires: expires.get() }
        .eip712_signing_hash(&domain(instance))
}

fn tag(payload: &[u8]) -> [u8; TAG_BYTES] {
    let digest = keccak256(&[PREFIX.as_bytes(), payload].concat());
    [digest[0], digest[1], digest[2], digest[3]]
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&self.inviter.get().to_be_bytes()[5..]);
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.expires.get().to_be_bytes()[3..]);
        bytes.extend_from_slice(&self.signature);
        bytes.extend_from_slice(&tag(&bytes));
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

/// Without nonce and signature: anyone who has the code may use it, so it does not go into logs.
impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("inviter", &self.inviter)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl FromStr for Invitation {
    type Err = InvitationTextError;

    fn from_str(text: &str) -> Result<Self, InvitationTextError> {
        let text = text.trim();
        let (prefix, digits) = text.split_at_checked(PREFIX.len()).ok_or(InvitationTextError::NotACode)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(InvitationTextError::NotACode);
        }
        if digits.len() != BASE32_NOPAD.encode_len(BYTES) {
            return Err(InvitationTextError::Mistyped);
        }
        let bytes = BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes());
        let bytes = bytes.map_err(|_| InvitationTextError::Mistyped)?;
        let (payload, sum) = bytes.split_at_checked(BYTES - TAG_BYTES).ok_or(InvitationTextError::Mistyped)?;
        if sum != tag(payload) {
            return Err(InvitationTextError::Mistyped);
        }
        let (mut nonce, mut signature) = ([0; 16], [0; 65]);
        nonce.copy_from_slice(&payload[3..19]);
        signature.copy_from_slice(&payload[24..89]);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        let inviter = AccountIndex::new(number(&payload[..3])).map_err(|_| InvitationTextError::Mistyped)?;
        let expires = UnixTime::new(number(&payload[19..24])).map_err(|_| InvitationTextError::Mistyped)?;
        Ok(Self { inviter, nonce, expires, signature })
    }
}

impl TryFrom<String> for Invitation {
    type Error = InvitationTextError;

    fn try_from(text: String) -> Result<Self, InvitationTextError> {
        text.parse()
    }
}

impl From<Invitation> for String {
    fn from(invitation: Invitation) -> Self {
        invitation.to_string()
    }
}

#[cfg(test)]
mod tests {
    use alloy::signers::local::PrivateKeySigner;

    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn instance() -> RollupInstance {
        RollupInstance { chain_id: 31337, contract: Address::repeat_byte(1) }
    }

    fn issued(expires: u64) -> Result<(Invitation, Address), Box<dyn std::error::Error>> {
        let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(7))?;
        let invitation = Invitation::issue(&instance(), &key, AccountIndex::new(77)?, UnixTime::new(expires)?)?;
        Ok((invitation, key.address()))
    }

    #[test]
    fn a_code_is_one_word_that_is_read_back() -> TestResult {
        let (invitation, _) = issued(1_800_000_000)?;
        let code = invitation.to_string();
        assert_eq!(code.len(), 4 + 149);
        assert!(
            code.starts_with("emr1") && code.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()),
            "{code}"
        );
        for copied in [code.clone(), format!("  {code}\n"), code.to_uppercase()] {
            assert_eq!(copied.parse(), Ok(invitation));
        }
        assert_ne!(issued(1_800_000_000)?.0, invitation, "each has its own nonce");
        assert!(!format!("{invitation:?}").contains("nonce"));
        Ok(())
    }

    #[test]
    fn every_mistyped_character_is_noticed() -> TestResult {
        let code = issued(1_800_000_000)?.0.to_string();
        for at in 4..code.len() {
            let mut wrong = code.clone().into_bytes();
            wrong[at] = if wrong[at] == b'a' { b'b' } else { b'a' };
            let wrong = String::from_utf8(wrong)?;
            assert_eq!(wrong.parse::<Invitation>(), Err(InvitationTextError::Mistyped), "{at}");
        }
        let swapped = format!("{}{}{}{}", &code[..20], &code[30..40], &code[20..30], &code[40..]);
        for wrong in [&code[..code.len() - 1], &format!("{code}a"), "emr1", &swapped, &code.replace('a', "ä")] {
            assert_eq!(wrong.parse::<Invitation>(), Err(InvitationTextError::Mistyped), "{wrong}");
        }
        for other in ["", "em", "emrä", "hello", &code[1..], "emr-prover-00", "0x1234"] {
            assert_eq!(other.parse::<Invitation>(), Err(InvitationTextError::NotACode), "{other}");
        }
        Ok(())
    }

    #[test]
    fn it_holds_for_one_inviter_time_chain_and_contract() -> TestResult {
        let (invitation, owner) = issued(1_000_000)?;
        let at = |now: u64| UnixTime::new(now).map(|now| invitation.verify(&instance(), owner, now));
        assert_eq!((at(999_999)?, at(1_000_000)?), (Ok(()), Ok(())));
        assert_eq!(at(1_000_001)?, Err(InvitationError::Expired));
        let (later, _) = issued(1_000_000 + MAX_VALIDITY)?;
        assert_eq!(later.verify(&instance(), owner, UnixTime::new(999_100)?), Ok(()));
        assert_eq!(later.verify(&instance(), owner, UnixTime::new(999_099)?), Err(InvitationError::TooLong));

        let now = UnixTime::new(999_999)?;
        let forged = Err(InvitationError::Signature(AccountIndex::new(77)?));
        assert_eq!(invitation.verify(&instance(), Address::repeat_byte(9), now), forged);
        assert_eq!(invitation.verify(&RollupInstance { chain_id: 1, ..instance() }, owner, now), forged);
        let elsewhere = RollupInstance { contract: Address::repeat_byte(2), ..instance() };
        assert_eq!(invitation.verify(&elsewhere, owner, now), forged);
        for changed in [
            Invitation { nonce: [0; 16], ..invitation },
            Invitation { expires: UnixTime::new(1_000_001)?, ..invitation },
            Invitation { signature: [0; 65], ..invitation },
            Invitation { signature: [0xff; 65], ..invitation },
        ] {
            assert_eq!(changed.verify(&instance(), owner, now), forged, "{changed:?}");
        }
        let other = Invitation { inviter: AccountIndex::new(78)?, ..invitation };
        assert_eq!(other.verify(&instance(), owner, now), Err(InvitationError::Signature(AccountIndex::new(78)?)));
        Ok(())
    }
}
