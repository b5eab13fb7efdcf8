//! Submissions, receipts, and the status of operations.

use emr_core::{Cid, KemHash, UnixTime};
use emr_crypto::{EpochPublicKey, KeyEpoch};
use emr_rollup::operation::{OperationId, SignedOperation};
use serde::{Deserialize, Serialize};

use crate::form::{As, CidText, Hex, Maybe};

/// The address of a record's manifest, or of the keys that a delegate hands on. A record leaf commits to the first with `stored`, a delegate's
/// SetGrant to the second with its salt ([`Opaque::handed_on`](emr_core::Opaque::handed_on)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAt {
    /// The CID of the manifest, or of the keys.
    #[serde(with = "As::<CidText>")]
    pub manifest: Cid,
    /// 32 bytes of salt.
    #[serde(with = "As::<Hex<32>>")]
    pub salt: [u8; 32],
}

/// The epoch of a class, as a submission names it. Two key directories that were made from the same one have equal epoch numbers and different
/// keys, so the number alone does not tell which key a record is sealed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedEpoch {
    /// The epoch's number.
    pub number: KeyEpoch,
    /// The hash of the epoch's public key (X-Wing), which the key directory shows.
    pub key: KemHash,
}

impl From<&EpochPublicKey> for NamedEpoch {
    fn from(public: &EpochPublicKey) -> Self {
        Self { number: public.epoch(), key: public.key().hash() }
    }
}

/// An operation with the addresses to which it commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The operation.
    pub signed: SignedOperation,
    /// PutRecord and Rekey: the address of the record. A delegate's SetGrant with READ: the address of the keys that it hands on.
    pub stored: Option<StoredAt>,
    /// PutRecord and Rekey: the epoch of its class under which the record is sealed. If the key directory in force has another epoch or another key, the
    /// node answers `stale`, and the writer seals again to the current epoch. A node cannot see whether the epoch is true. A writer who lies
    /// gives their record to old readers.
    pub epoch: Option<NamedEpoch>,
    /// SetGrant and Revoke of the patient: CID of the new key directory.
    #[serde(default, with = "Maybe::<CidText>")]
    pub directory: Option<Cid>,
}

/// The node's promise, signed by the hospital's Ethereum key: the operation is durable and will be settled or returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The operation.
    pub operation: OperationId,
    /// When it was acknowledged.
    pub acknowledged: UnixTime,
    /// The time by which it will be settled or returned.
    pub settle_by: UnixTime,
    /// EIP-712 signature over these three fields ([`crate::receipt`]).
    #[serde(with = "As::<Hex<65>>")]
    pub signature: [u8; 65],
}

/// The status of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum OperationStatus {
    /// It is acknowledged and waits for a batch.
    Pending,
    /// It is in a sealed batch.
    Sealed {
        /// The batch.
        batch: u64,
    },
    /// Its batch is settled on L1.
    Settled {
        /// The batch.
        batch: u64,
    },
    /// A Revoke whose place a newer one for the same slot took; the newer one revokes at least as much. Or a delegate's operation that gave way
    /// to one of the patient.
    Replaced {
        /// The newer operation.
        by: OperationId,
    },
    /// It was returned to its author. Its blocks stay for 30 days.
    Returned {
        /// The reason.
        reason: String,
    },
}
