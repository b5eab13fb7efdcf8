//! Registering an account through the node, and what the state says of it.

use alloy::primitives::{Address, B256};
use emr_core::{AccountEpoch, AccountIndex, AccountStatus, KemHash, Role, UnixTime};
use emr_rollup::{
    primitive::field::{Fr, hex_element},
    state::tree::Path,
    statement::IdentityFields,
};
use serde::{Deserialize, Serialize};

use crate::{
    form::{AddressText, As, Hex, HexUpTo, Prefixed},
    invitation::Invitation,
};

/// The longest RSA modulus and signature in bytes: 4096 bits.
const MAX_RSA: usize = 512;

/// A registration that its owner signed (EIP-712), and for which the node pays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayRegistration {
    /// The owner's Ethereum address.
    #[serde(with = "As::<AddressText>")]
    pub owner: Address,
    /// The role.
    pub role: Role,
    /// The hospital that the doctor belongs to.
    pub org: Option<AccountIndex>,
    /// The x coordinate of Q.
    #[serde(with = "hex_element")]
    pub q_x: Fr,
    /// The y coordinate of Q.
    #[serde(with = "hex_element")]
    pub q_y: Fr,
    /// A patient's encryption key commitment; 0 for others, whose commitment the contract computes.
    #[serde(with = "hex_element")]
    pub encryption: Fr,
    /// A doctor's or hospital's second key; none for patients, whose commitment covers it.
    pub kem_hash: KemHash,
    /// RSA modulus, big-endian; empty for patients.
    #[serde(with = "As::<HexUpTo<MAX_RSA>>")]
    pub rsa_modulus: Vec<u8>,
    /// RSA signature proving possession; empty for patients.
    #[serde(with = "As::<HexUpTo<MAX_RSA>>")]
    pub rsa_signature: Vec<u8>,
    /// When the signature expires.
    pub deadline: UnixTime,
    /// The owner's EIP-712 signature. An owner that is a contract has no such signature, and registers on L1 itself.
    #[serde(with = "As::<Hex<65>>")]
    pub signature: [u8; 65],
    /// The invitation that makes the hospital pay. The owner's signature does not cover it, because it concerns only the hospital.
    #[serde(default)]
    pub invitation: Option<Invitation>,
}

/// A successful registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The account that the contract assigned.
    pub account: AccountIndex,
    /// The transaction.
    #[serde(with = "As::<Prefixed<32>>")]
    pub tx_hash: B256,
}

/// An account in the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// The account.
    pub account: AccountIndex,
    /// Its role.
    pub role: Role,
    /// Its status.
    pub status: AccountStatus,
    /// Its hospital.
    pub org: Option<AccountIndex>,
    /// Its epoch.
    pub epoch: AccountEpoch,
    /// Its identity leaf.
    pub identity: IdentityFields,
    /// Whether it is in the settled state, or still in the queue.
    pub settled: bool,
    /// The proof that the leaf is in the settled state; absent while it is in the queue.
    pub proof: Option<IdentityProof>,
}

/// The proof from an identity leaf to a state root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityProof {
    /// The last batch of the state.
    pub batch: u64,
    /// Path of the identity leaf under the identity root.
    pub path: Path,
    /// The identity root.
    #[serde(with = "hex_element")]
    pub identity_root: Fr,
    /// The medical root.
    #[serde(with = "hex_element")]
    pub medical_root: Fr,
}
