//! What is signed: an action with its signer, its patient and the end of its validity, under a rollup's domain
//! (`docs/encoding.md`, "The signed message").

use emr_core::{AccountEpoch, AccountIndex, GrantSlot, UnixTime};
use serde::{Deserialize, Serialize};

use super::{Action, Authority, OperationId};
use crate::{
    primitive::{
        eddsa::{PublicKey, Signature, SignatureError, SigningKey},
        field::{Fr, hex_element},
    },
    statement::Message,
};

/// The longest time that an operation may wait, in seconds: `valid_until` is at most the batch's time plus this.
pub const MAX_VALIDITY: u64 = 7 * 24 * 3600;
/// The validity that clients sign, in seconds. It leaves a day for wrong clocks and for sealing.
pub const CLIENT_VALIDITY: u64 = 6 * 24 * 3600;

/// Binds signatures to one rollup on one chain: `keccak256(abi.encode(chain id, contract)) >> 8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Domain(#[serde(with = "hex_element")] Fr);

impl Domain {
    /// The domain of a contract at a 20-byte address.
    pub fn new(chain_id: u64, contract: [u8; 20]) -> Self {
        let mut words = [0; 64];
        words[24..32].copy_from_slice(&chain_id.to_be_bytes());
        words[44..].copy_from_slice(&contract);
        let digest = crate::primitive::keccak::keccak256(&words);
        let mut wide = [0; 32];
        wide[1..].copy_from_slice(&digest[..31]);
        Self(crate::primitive::field::reduce(&wide))
    }

    /// The element.
    pub fn element(self) -> Fr {
        self.0
    }
}

/// An operation before it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The account that signs.
    pub signer: AccountIndex,
    /// The epoch of the signer's identity leaf.
    pub signer_epoch: AccountEpoch,
    /// The patient whose subtree the operation changes.
    pub patient: AccountIndex,
    /// The epoch of the patient's identity leaf.
    pub patient_epoch: AccountEpoch,
    /// The last batch time at which it may take effect.
    pub valid_until: UnixTime,
    /// The salt of the audit entry.
    #[serde(with = "hex_element")]
    pub salt: Fr,
    /// What it does.
    pub action: Action,
}

impl Operation {
    /// Whether somebody manages a grant for the patient, under a grant with MANAGE.
    pub fn is_by_delegate(&self) -> bool {
        self.signer != self.patient && self.action.rule().authority == Authority::ManageUnlessOwn
    }

    /// The element that is signed.
    pub fn message(&self, domain: Domain) -> Fr {
        Message::from(self).hash(domain.element())
    }

    /// Signs the operation. `authority` names the grant that allows a doctor to write. It is not signed, because any live grant is enough.
    pub fn sign(self, domain: Domain, key: &SigningKey, authority: Option<GrantSlot>) -> SignedOperation {
        SignedOperation { operation: self, authority, signature: SignatureBytes(key.sign(self.message(domain))) }
    }
}

/// An operation with its signature, and a hint which grant allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOperation {
    /// What was signed.
    pub operation: Operation,
    /// The grant under which a doctor writes.
    pub authority: Option<GrantSlot>,
    /// The signature; 96 bytes in hex in JSON.
    pub signature: SignatureBytes,
}

impl SignedOperation {
    /// Checks the signature.
    ///
    /// # Errors
    /// [`SignatureError::Invalid`] if the signature is not valid for this key.
    pub fn verify(&self, domain: Domain, key: &PublicKey) -> Result<(), SignatureError> {
        key.verify(self.operation.message(domain), &self.signature.0)
    }

    /// The operation's id. It covers what is signed, but neither the signature nor the hint `authority`.
    pub fn id(&self, domain: Domain) -> OperationId {
        OperationId::from_bytes(crate::primitive::field::to_bytes(&self.operation.message(domain)))
    }
}

/// A signature that serializes as 192 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureBytes(pub Signature);

impl Serialize for SignatureBytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0.to_bytes()))
    }
}

impl<'de> Deserialize<'de> for SignatureBytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let mut bytes = [0; 96];
        let digits = String::deserialize(deserializer)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| Error::custom("it must be 192 hex digits"))?;
        Signature::from_bytes(&bytes).map(Self).map_err(Error::custom)
    }
}
