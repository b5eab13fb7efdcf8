//! Registering an account through the node, and what the state says of it.

use emr_core::{AccountEpoch, AccountIndex, AccountStatus, Role, UnixTime};
use emr_rollup::{
    primitive::field::{Fr, hex_element},
    state::tree::Path,
    statement::IdentityFields,
};
use serde::{Deserialize, Serialize};

use crate::invitation::Invitation;

/// A registration that its owner signed (EIP-712), and for which the node pays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayRegistration {
    /// The owner's Ethereum address.
    pub owner: String,
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
    /// RSA modulus, big-endian hex; empty for patients.
    pub rsa_modulus: String,
    /// RSA signature proving possession, hex; empty for patients.
    pub rsa_signature: String,
    /// When the signature expires.
    pub deadline: UnixTime,
    /// EIP-712 signature, hex.
    pub signature: String,
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
    pub tx_hash: String,
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
