//! Submissions, receipts, and the status of operations.

use emr_core::{Cid, UnixTime};
use emr_crypto::{EpochPublicKey, KeyEpoch};
use emr_rollup::operation::{OperationId, SignedOperation};
use serde::{Deserialize, Serialize};

use crate::form::{As, CidText, Hex, Maybe};

/// The address of a record's manifest. `stored` in the record leaf commits to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAt {
    /// The manifest's CID.
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
    /// The epoch's public key (X25519), as the key directory shows it.
    #[serde(with = "As::<Hex<32>>")]
    pub key: [u8; 32],
}

impl From<EpochPublicKey> for NamedEpoch {
    fn from(public: EpochPublicKey) -> Self {
        Self { number: public.epoch(), key: *public.as_bytes() }
    }
}

/// An operation with the addresses to which it commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The operation.
    pub signed: SignedOperation,
    /// PutRecord and Rekey: the address of the record.
    pub stored: Option<StoredAt>,
    /// PutRecord and Rekey: the epoch of its class under which the record is sealed. If the key directory in force has another epoch or another key, the
    /// node answers `stale`, and the writer seals again to the current epoch. A node cannot see whether the epoch is true. A writer who lies
    /// gives their record to old readers.
    pub epoch: Option<NamedEpoch>,
    /// SetGrant and Revoke: CID of the new key directory.
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
    /// A Revoke whose place a newer one for the same slot took. The newer one revokes at least as much.
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
