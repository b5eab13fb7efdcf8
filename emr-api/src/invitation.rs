//! The invitation that a registration needs so that the hospital pays for it. It can be used once, expires, and is
//! signed by the hospital or one of its doctors. It is not bound to a person: anyone who has the code can use it.
//!
//! The signature is EIP-712, domain ("EMR Rollup", "1", chain, contract), `Invitation(uint64 inviter,bytes16
//! nonce,uint64 expires)`, by the Ethereum key that owns the inviter's account.
//!
//! As text it is one word: `emr1`, then base32 (RFC 4648, lower case, no padding) of 121 bytes: chain id (8), contract (20), inviter
//! (3), nonce (16), expiry (5), signature (65), and the first 4 bytes of Keccak-256 over `emr1` and the preceding bytes.
//! Numbers are big-endian. Upper case is accepted too.
//!
//! So whoever has an invitation knows the contract from the inviter, and not from the node that they register at. The
//! contract's address commits to its code and to the keys of its proofs ([`DeploymentRecord`](emr_chain::DeploymentRecord)).

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
        /// The message that the inviter signs.
        struct Invitation {
            uint64 inviter;
            bytes16 nonce;
            uint64 expires;
        }
    }
}

/// The longest validity of an invitation, from now on: 90 days, in seconds. A node keeps used nonces that long.
pub const MAX_VALIDITY: u64 = 90 * 86_400;

/// The prefix of every code.
const PREFIX: &str = "emr1";
/// How much the clocks of inviter and node may differ at this limit, in seconds.
const CLOCK_TOLERANCE: u64 = 900;
const TAG_BYTES: usize = 4;
const BYTES: usize = 8 + 20 + 3 + 16 + 5 + 65 + TAG_BYTES;

/// Why a text is not an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationTextError {
    /// The text is something else.
    #[error(
        "this is not an invitation: one begins with {PREFIX}, and is what `emr-hospital invite` or `emr-doctor invite` prints"
    )]
    NotACode,
    /// The text is a damaged invitation.
    #[error("this invitation is mistyped or cut off: copy the whole code again")]
    Mistyped,
}

/// Why an invitation is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationError {
    /// It has expired.
    #[error("this invitation is no longer valid: ask for a new one")]
    Expired,
    /// It would be valid for too long.
    #[error("this invitation is valid for more than 90 days: ask for one that ends earlier")]
    TooLong,
    /// It is for another contract.
    #[error("this invitation is for contract {} on chain {}: register at the hospital that gave it to you", .0.contract, .0.chain_id)]
    Elsewhere(RollupInstance),
    /// The inviter did not sign it.
    #[error("this invitation is not signed by account {0} for this chain and contract: ask for a new one")]
    Signature(AccountIndex),
}

/// An invitation. Its text ([`fmt::Display`], [`FromStr`]) is the code that people pass on, and also its JSON form.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Invitation {
    instance: RollupInstance,
    inviter: AccountIndex,
    nonce: [u8; 16],
    expires: UnixTime,
    signature: [u8; 65],
}

impl Invitation {
    /// Signs an invitation with a new nonce. `key` must own the account `inviter`.
    ///
    /// # Errors
    /// Returns [`alloy::signers::Error`] if the signer fails. A local key does not fail.
    pub fn issue(
        instance: &RollupInstance,
        key: &impl SignerSync,
        inviter: AccountIndex,
        expires: UnixTime,
    ) -> Result<Self, alloy::signers::Error> {
        let nonce = rand::random();
        let signature = key.sign_hash_sync(&signing_hash(instance, inviter, nonce, expires))?.as_bytes();
        Ok(Self { instance: *instance, inviter, nonce, expires, signature })
    }

    /// The chain and contract that it is for.
    pub const fn instance(&self) -> RollupInstance {
        self.instance
    }

    /// The account that the invitation names as inviter.
    pub const fn inviter(&self) -> AccountIndex {
        self.inviter
    }

    /// 16 random bytes, which make it usable only once.
    pub const fn nonce(&self) -> [u8; 16] {
        self.nonce
    }

    /// The last second of its validity.
    pub const fn expires(&self) -> UnixTime {
        self.expires
    }

    /// Checks only the time, which needs no knowledge of the inviter.
    ///
    /// # Errors
    /// Returns [`InvitationError::Expired`] after its end, and [`InvitationError::TooLong`] if the end is more than
    /// [`MAX_VALIDITY`] away.
    pub fn check_time(&self, now: UnixTime) -> Result<(), InvitationError> {
        if self.expires < now {
            return Err(InvitationError::Expired);
        }
        if self.expires > now.saturating_add(MAX_VALIDITY + CLOCK_TOLERANCE) {
            return Err(InvitationError::TooLong);
        }
        Ok(())
    }

    /// Checks the time, and that `owner` signed the invitation for this chain and contract. `owner` must be the owner
    /// of the inviter's account on L1. Only the node knows whether the inviter may invite, and whether the invitation
    /// was used.
    ///
    /// # Errors
    /// Returns [`InvitationError`] if the time or the signature is wrong.
    pub fn verify(&self, instance: &RollupInstance, owner: Address, now: UnixTime) -> Result<(), InvitationError> {
        self.check_time(now)?;
        if self.instance != *instance {
            return Err(InvitationError::Elsewhere(self.instance));
        }
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
        bytes.extend_from_slice(&self.instance.chain_id.to_be_bytes());
        bytes.extend_from_slice(self.instance.contract.as_slice());
        bytes.extend_from_slice(&self.inviter.get().to_be_bytes()[5..]);
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.expires.get().to_be_bytes()[3..]);
        bytes.extend_from_slice(&self.signature);
        bytes.extend_from_slice(&tag(&bytes));
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

/// Omits nonce and signature. Anyone who has the code can use it, so it must not go into logs.
impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("instance", &self.instance)
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
        let (instance, payload) = payload.split_at_checked(28).ok_or(InvitationTextError::Mistyped)?;
        nonce.copy_from_slice(&payload[3..19]);
        signature.copy_from_slice(&payload[24..89]);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        let inviter = AccountIndex::new(number(&payload[..3])).map_err(|_| InvitationTextError::Mistyped)?;
        let expires = UnixTime::new(number(&payload[19..24])).map_err(|_| InvitationTextError::Mistyped)?;
        let instance =
            RollupInstance { chain_id: number(&instance[..8]), contract: Address::from_slice(&instance[8..]) };
        Ok(Self { instance, inviter, nonce, expires, signature })
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
    fn a_code_is_one_word_and_can_be_parsed_again() -> TestResult {
        let (invitation, _) = issued(1_800_000_000)?;
        let code = invitation.to_string();
        assert_eq!(code.len(), 4 + 194);
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
    fn it_is_valid_for_one_inviter_time_chain_and_contract() -> TestResult {
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
        let other_chain = RollupInstance { chain_id: 1, ..instance() };
        let elsewhere_said = Err(InvitationError::Elsewhere(instance()));
        assert_eq!(invitation.verify(&other_chain, owner, now), elsewhere_said);
        let elsewhere = RollupInstance { contract: Address::repeat_byte(2), ..instance() };
        assert_eq!(invitation.verify(&elsewhere, owner, now), elsewhere_said);
        // The signature covers them, which the node checks: a code that was changed registers nobody at its hospital.
        for moved in [other_chain, elsewhere] {
            assert_eq!(Invitation { instance: moved, ..invitation }.verify(&moved, owner, now), forged);
        }
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
