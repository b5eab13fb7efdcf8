//! Operations: what is signed, and by whom it may be signed (`docs/encoding.md`, "The signed message").

use emr_core::{
    AccountEpoch, AccountIndex, ClassMask, GrantSlot, Purpose, RecordSlot, Revision, Rights, UnixTime, Uses, Version,
};
use halo2curves::ff::Field;
use serde::{Deserialize, Serialize};

use crate::{
    layout,
    primitive::{
        eddsa::{PublicKey, Signature, SignatureError, SigningKey},
        field::{Fr, hex_element},
        poseidon::{self, Tag},
    },
    state::leaf::{GrantLeaf, RecordLeaf, Target},
};

/// The longest an operation may wait: `valid_until` is at most the batch's time and this. Seconds.
pub const MAX_VALIDITY: u64 = 7 * 24 * 3600;
/// What clients sign for, leaving a day for clocks and sealing. Seconds.
pub const CLIENT_VALIDITY: u64 = 6 * 24 * 3600;

/// The kinds of operation that batches hold. 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Kind {
    /// Padding.
    Noop = 0,
    /// Writes a record's next version.
    PutRecord = 1,
    /// Deletes a record.
    Tombstone = 2,
    /// Writes a grant.
    SetGrant = 4,
    /// Ends a grant.
    Revoke = 5,
    /// Records the use of a grant.
    RequestAccess = 6,
    /// Admits an account; comes through the L1 queue.
    Register = 16,
}

impl Kind {
    /// The code in packed fields.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind as prose and JSON write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::PutRecord => "put-record",
            Self::Tombstone => "tombstone",
            Self::SetGrant => "set-grant",
            Self::Revoke => "revoke",
            Self::RequestAccess => "request-access",
            Self::Register => "register",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

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

/// What an operation does: its own fields, as signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Action {
    /// Writes a record's next version.
    PutRecord {
        /// Where.
        slot: RecordSlot,
        /// The revision it replaces; 0 for an empty slot.
        expected: Revision,
        /// The leaf after it.
        leaf: RecordLeaf,
    },
    /// Deletes a record, for good.
    Tombstone {
        /// Where.
        slot: RecordSlot,
        /// The revision it replaces.
        expected: Revision,
        /// The leaf after it: status tombstone, next revision, else as before.
        leaf: RecordLeaf,
    },
    /// Writes a grant.
    SetGrant {
        /// Where: from [`GrantSlot::FIRST_ORDINARY`] on.
        slot: GrantSlot,
        /// The version it replaces; 0 for an empty slot.
        expected: Version,
        /// The leaf after it, with `uses` 0: the count in the state is carried over.
        leaf: GrantLeaf,
        /// The key directory in force.
        #[serde(with = "hex_element")]
        directory_before: Fr,
        /// The key directory from then on.
        #[serde(with = "hex_element")]
        directory_after: Fr,
    },
    /// Ends whatever grant a slot holds.
    Revoke {
        /// Where.
        slot: GrantSlot,
        /// At least the version in the state: the highest the patient ever signed for the slot.
        expected: Version,
        /// Salt of the cleared leaf.
        #[serde(with = "hex_element")]
        leaf_salt: Fr,
        /// The directory is replaced only if this one is in force; rights die either way.
        #[serde(with = "hex_element")]
        directory_before: Fr,
        /// The key directory from then on.
        #[serde(with = "hex_element")]
        directory_after: Fr,
    },
    /// Records that the signer uses a grant to read.
    RequestAccess {
        /// The grant's slot.
        slot: GrantSlot,
        /// The use count it replaces.
        expected: Uses,
        /// Why, and for which class.
        purpose: Purpose,
    },
}

impl Action {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::PutRecord { .. } => Kind::PutRecord,
            Self::Tombstone { .. } => Kind::Tombstone,
            Self::SetGrant { .. } => Kind::SetGrant,
            Self::Revoke { .. } => Kind::Revoke,
            Self::RequestAccess { .. } => Kind::RequestAccess,
        }
    }

    /// The leaf it writes.
    pub const fn target(&self) -> Target {
        match *self {
            Self::PutRecord { slot, .. } | Self::Tombstone { slot, .. } => Target::Record(slot),
            Self::SetGrant { slot, .. } | Self::Revoke { slot, .. } | Self::RequestAccess { slot, .. } => {
                Target::Grant(slot)
            }
        }
    }

    /// What the target's counter is compared with.
    pub const fn expected(&self) -> u64 {
        match self {
            Self::PutRecord { expected, .. } | Self::Tombstone { expected, .. } => expected.get(),
            Self::SetGrant { expected, .. } | Self::Revoke { expected, .. } => expected.get(),
            Self::RequestAccess { expected, .. } => expected.get(),
        }
    }

    /// Why, where the kind says so.
    pub const fn purpose(&self) -> Option<Purpose> {
        match self {
            Self::RequestAccess { purpose, .. } => Some(*purpose),
            _ => None,
        }
    }

    /// `new_packed`, `opaque_1`, `opaque_2`, `directory_before`, `directory_after` of the message.
    pub(crate) fn body(&self) -> [Fr; 5] {
        match self {
            Self::PutRecord { leaf, .. } | Self::Tombstone { leaf, .. } => {
                [leaf.packed(), leaf.authored, leaf.stored, Fr::ZERO, Fr::ZERO]
            }
            Self::SetGrant { leaf, directory_before, directory_after, .. } => {
                let signed = GrantLeaf { uses: Uses::ZERO, ..*leaf };
                [signed.packed(), leaf.salt, Fr::ZERO, *directory_before, *directory_after]
            }
            Self::Revoke { expected, leaf_salt, directory_before, directory_after, .. } => {
                // An `expected` at the maximum has no next version; the statement refuses it.
                let version = expected.next().unwrap_or(Version::ZERO);
                let leaf = revoked_leaf(Uses::ZERO, version, *leaf_salt);
                [leaf.packed(), *leaf_salt, Fr::ZERO, *directory_before, *directory_after]
            }
            Self::RequestAccess { .. } => [Fr::ZERO; 5],
        }
    }
}

/// What a Revoke leaves in a slot.
pub fn revoked_leaf(uses: Uses, version: Version, salt: Fr) -> GrantLeaf {
    GrantLeaf {
        grantee: None,
        rights: Rights::NONE,
        scope: ClassMask::default(),
        not_after: UnixTime::ZERO,
        uses,
        version,
        salt,
    }
}

/// An operation before it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who acts.
    pub signer: AccountIndex,
    /// The epoch of the signer's identity leaf.
    pub signer_epoch: AccountEpoch,
    /// On whose subtree.
    pub patient: AccountIndex,
    /// The epoch of the patient's identity leaf.
    pub patient_epoch: AccountEpoch,
    /// The last batch time at which it may take effect.
    pub valid_until: UnixTime,
    /// Salt of the audit entry.
    #[serde(with = "hex_element")]
    pub salt: Fr,
    /// What it does.
    pub action: Action,
}

impl Operation {
    /// `header` of the message.
    pub fn header(&self) -> Fr {
        let target = self.action.target();
        layout::HEADER.pack([
            u64::from(self.action.kind().code()),
            self.signer.get(),
            self.signer_epoch.get(),
            self.patient.get(),
            self.patient_epoch.get(),
            target.tree() as u64,
            target.slot(),
            self.action.expected(),
            self.action.purpose().map_or(0, |purpose| u64::from(purpose.code())),
            self.valid_until.get(),
        ])
    }

    /// The element that is signed.
    pub fn message(&self, domain: Domain) -> Fr {
        let [packed, opaque_1, opaque_2, before, after] = self.action.body();
        poseidon::hash(
            Tag::Message,
            &[domain.element(), self.header(), packed, opaque_1, opaque_2, before, after, self.salt],
        )
    }

    /// Signs it. `authority` names the grant that allows a doctor to write; it is not signed: any live grant will do.
    pub fn sign(self, domain: Domain, key: &SigningKey, authority: Option<GrantSlot>) -> SignedOperation {
        SignedOperation { operation: self, authority, signature: SignatureBytes(key.sign(self.message(domain))) }
    }
}

/// An operation with its signature and a hint where its authority is.
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
    /// [`SignatureError::Invalid`].
    pub fn verify(&self, domain: Domain, key: &PublicKey) -> Result<(), SignatureError> {
        key.verify(self.operation.message(domain), &self.signature.0)
    }

    /// The operation's name everywhere: its message element, 32 bytes.
    pub fn id(&self, domain: Domain) -> [u8; 32] {
        crate::primitive::field::to_bytes(&self.operation.message(domain))
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
        hex::decode_to_slice(String::deserialize(deserializer)?, &mut bytes).map_err(Error::custom)?;
        Signature::from_bytes(&bytes).map(Self).map_err(Error::custom)
    }
}
