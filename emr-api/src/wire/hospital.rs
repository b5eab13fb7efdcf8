//! What a hospital sees of its provers and inviters.

use alloy::primitives::Address;
use emr_core::UnixTime;
use serde::{Deserialize, Serialize};

use crate::form::{AddressText, As, Hex};

/// A new prover. The node gets only the digest of its credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewProver {
    /// Its name ([`crate::prover::is_name`]).
    pub name: String,
    /// The credential's digest ([`crate::prover::ProverCredential::digest`]).
    #[serde(with = "As::<Hex<32>>")]
    pub digest: [u8; 32],
}

/// A prover that has a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProverView {
    /// Its name.
    pub name: String,
    /// When it was added.
    pub added: UnixTime,
}

/// A person whose invitations were used today, or were ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviterView {
    /// The Ethereum address that registered their account. It stays the same if the account gets another owner.
    #[serde(with = "As::<AddressText>")]
    pub address: Address,
    /// How many of their invitations were used today (UTC).
    pub today: u32,
    /// When their invitations were ended.
    pub ended: Option<UnixTime>,
}
