//! The node's HTTP interface: paths, requests and answers. JSON, except blocks, which are raw bytes.
//!
//! | method and path | who | body → answer |
//! |---|---|---|
//! | `GET /v1/status` | anybody | → [`NodeStatus`] |
//! | `POST /v1/accounts` | anybody with an invitation | [`RelayRegistration`] → [`Registered`] |
//! | `GET /v1/accounts/{account}` | anybody | → [`AccountView`] |
//! | `POST /v1/login/challenge` | anybody | [`ChallengeRequest`] → [`Challenge`] |
//! | `POST /v1/login` | anybody | [`LoginRequest`] → [`Session`]; the token goes into `Authorization: Bearer` |
//! | `POST /v1/blocks?codec=raw` or `dag-cbor` | an account | bytes → [`BlockPut`] |
//! | `GET /v1/blocks/{cid}` | whoever may read what it belongs to | → bytes |
//! | `POST /v1/operations` | the signer | [`Submission`] → [`Receipt`] |
//! | `POST /v1/revokes` | the signer | [`Submission`] of a Revoke → [`Receipt`]; with room that only Revokes use |
//! | `GET /v1/operations/{id}` | signer or patient | → [`OperationStatus`] |
//! | `GET /v1/patients/{patient}` | the patient, or a live grantee | → [`PatientView`] |
//! | `GET /v1/patients/{patient}/subtree` | the patient | → [`SubtreeView`](crate::SubtreeView) |
//! | `GET /v1/patients/{patient}/grants` | the patient | → [`OwnGrantsView`](crate::OwnGrantsView) |
//! | `GET /v1/patients/{patient}/audit?end=N&limit=N` | the patient | → [`AuditPage`](crate::AuditPage) |
//! | `GET /v1/patients/{patient}/records` | the patient, or a live grantee | → `Vec<`[`RecordSummary`]`>`, of his classes |
//! | `GET /v1/patients/{patient}/records/{slot}` | the patient, or a live grantee with a session | → [`RecordView`] |
//! | `GET /v1/patients/{patient}/storage` | the patient | → [`StorageView`] |
//! | `POST /v1/batches/seal` | the hospital | → [`BatchView`]: seals what is pending now |
//! | `GET /v1/batches/{number}` | anybody | → [`BatchView`] |
//! | `GET /v1/provers` | the hospital | → `Vec<`[`ProverView`]`>` |
//! | `POST /v1/provers` | the hospital | [`NewProver`] → [`ProverView`] |
//! | `DELETE /v1/provers/{name}` | the hospital | → 204 |
//! | `GET /v1/inviters` | the hospital | → `Vec<`[`InviterView`]`>` |
//! | `DELETE /v1/inviters/{address}` | the hospital | → 204: invitations of this inviter no longer count |
//! | `PUT /v1/inviters/{address}` | the hospital | → 204: they count again |
//! | `GET /v1/prover/job` | a prover ([`crate::prover`]), or the hospital | → [`ProofJob`], or 204 |
//! | `POST /v1/prover/jobs/{number}` | a prover, or the hospital | proof bytes → 202 |
//!
//! Every refusal has a [`Problem`] as body. With `too-many` (429) and with some `unavailable` (503) the header `Retry-After` says
//! after how many seconds the same request may succeed.

use std::fmt;

use emr_core::{AccountEpoch, AccountIndex, AccountStatus, GrantSlot, RecordSlot, Role, StateRoot, UnixTime};
use emr_crypto::Epoch;
use emr_rollup::{
    batch::PublicInputs,
    operation::{OperationId, SignedOperation},
    primitive::field::{Fr, hex_element},
    state::{
        leaf::{GrantLeaf, MedicalLeaf, RecordLeaf},
        tree::Path,
    },
    statement::{BatchWitness, IdentityFields},
};
use serde::{Deserialize, Serialize};

use crate::invitation::Invitation;

/// Why a request was refused. The status code says what kind; `code` is stable, `message` says what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// For programs: `unauthorized`, `forbidden`, `revoked`, `no-session`, `not-found`, `refused`, `stale`, `too-large`,
    /// `too-many`, `unavailable`, `malformed`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// What a node is and how it is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Chain id of the L1.
    pub chain_id: u64,
    /// Address of the rollup contract, `0x` and 40 hex digits.
    pub contract: String,
    /// The block of its deployment, where its events begin.
    pub deployed_at: u64,
    /// Number of the circuit version.
    pub circuit_version: u32,
    /// The hospital's account, once it has one.
    pub hospital: Option<AccountIndex>,
    /// Number of settled batches.
    pub batches: u64,
    /// The settled state root.
    pub state_root: StateRoot,
    /// Entries of the L1 queue that wait for a batch.
    pub queued: u64,
    /// Acknowledged operations that wait for a batch.
    pub pending: u64,
    /// What the node is busy with, for people: `idle`, `proving 3`, `waiting for a proof of 3`, `settling 3`, `stuck at 3: ..`, or a
    /// stage of reading the keys.
    pub activity: String,
    /// How far the proof is that the node makes at present.
    #[serde(default)]
    pub progress: Option<ProofProgress>,
    /// Whether the trusted setup is the development one.
    pub development_setup: bool,
}

/// A proof in the making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofProgress {
    /// The batch.
    pub batch: u64,
    /// Milliseconds since the prover began.
    pub elapsed_ms: u64,
    /// Milliseconds that the last proof took in all, once there was one.
    pub estimate_ms: Option<u64>,
}

/// A registration signed by its owner (EIP-712), for the node to pay for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayRegistration {
    /// The owner's Ethereum address.
    pub owner: String,
    /// The role.
    pub role: Role,
    /// The hospital to belong to.
    pub org: Option<AccountIndex>,
    /// Q, abscissa.
    #[serde(with = "hex_element")]
    pub q_x: Fr,
    /// Q, ordinate.
    #[serde(with = "hex_element")]
    pub q_y: Fr,
    /// A patient's encryption key commitment; 0 for others, whose commitment the contract computes.
    #[serde(with = "hex_element")]
    pub encryption: Fr,
    /// RSA modulus, big-endian hex; empty for patients.
    pub rsa_modulus: String,
    /// RSA signature proving possession, hex; empty for patients.
    pub rsa_signature: String,
    /// When the signature lapses.
    pub deadline: UnixTime,
    /// EIP-712 signature, hex.
    pub signature: String,
    /// What makes the hospital pay. Not covered by the owner's signature: it is the hospital's business alone.
    #[serde(default)]
    pub invitation: Option<Invitation>,
}

/// A registration went through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The account that the contract assigned.
    pub account: AccountIndex,
    /// The transaction.
    pub tx_hash: String,
}

/// What the state says of an account.
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

/// From an identity leaf to a state root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityProof {
    /// The batch that the state is after.
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

/// Asks for a login challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeRequest {
    /// Who wants to log in.
    pub account: AccountIndex,
}

/// A challenge to sign with the RSA key (`emr_crypto`'s login challenge).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// 32 random bytes, hex.
    pub nonce: String,
    /// When it lapses.
    pub expires: UnixTime,
}

/// A signed challenge.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginRequest {
    /// Who logs in.
    pub account: AccountIndex,
    /// The nonce, hex.
    pub nonce: String,
    /// When the challenge lapses, as it was given.
    pub expires: UnixTime,
    /// The RSA public key that the account's encryption commitment is over: SPKI DER, base64.
    pub public_key: String,
    /// The commitment's salt ([`crate::encryption`]), hex; empty for doctors and hospitals.
    pub commitment_salt: String,
    /// RSA-PSS signature, base64.
    pub signature: String,
}

/// Without what would log in, and without what would tell a patient's key from others.
impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest").field("account", &self.account).finish_non_exhaustive()
    }
}

/// A login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Bearer token. Secret.
    pub token: String,
    /// When it lapses.
    pub expires: UnixTime,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// A block was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockPut {
    /// Its CID.
    pub cid: String,
}

/// Where a record's manifest is: what `stored` in its leaf commits to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAt {
    /// The manifest's CID.
    pub manifest: String,
    /// 32 bytes of salt, hex.
    pub salt: String,
}

/// An operation with the pointers that its commitments are over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The operation.
    pub signed: SignedOperation,
    /// PutRecord: where the record is.
    pub stored: Option<StoredAt>,
    /// PutRecord: the epoch of its class under which the record is sealed. If that epoch is over, the node answers `stale`; the writer seals
    /// again to the epoch in force. A node cannot see whether it is the true one: a writer who lies gives old readers what they wrote.
    pub epoch: Option<Epoch>,
    /// SetGrant and Revoke: CID of the key directory from then on.
    pub directory: Option<String>,
}

/// The node's promise, signed by the hospital's Ethereum key: the operation is durable and will be settled or returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The operation.
    pub operation: OperationId,
    /// When it was acknowledged.
    pub acknowledged: UnixTime,
    /// By when it is settled or returned.
    pub settle_by: UnixTime,
    /// EIP-712 signature over the three ([`crate::receipt`]), hex.
    pub signature: String,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum OperationStatus {
    /// Acknowledged; waits for a batch.
    Pending,
    /// In a sealed batch.
    Sealed {
        /// The batch.
        batch: u64,
    },
    /// In force on L1.
    Settled {
        /// The batch.
        batch: u64,
    },
    /// A Revoke that gave its place to a newer one of the same slot, which takes at least as much.
    Replaced {
        /// The newer operation.
        by: OperationId,
    },
    /// Returned to its author; its blocks stay for 30 days.
    Returned {
        /// Why.
        reason: String,
    },
}

/// What a grantee needs of a patient to act: the soft state, in which every acknowledged operation counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatientView {
    /// The patient.
    pub patient: AccountIndex,
    /// Her epoch.
    pub epoch: AccountEpoch,
    /// CID of her key directory, once there is one.
    pub directory: Option<String>,
    /// What her medical leaf commits to as key directory.
    #[serde(with = "hex_element")]
    pub directory_commitment: Fr,
    /// The grants that are live for whoever asks; all of them for the patient.
    pub grants: Vec<GrantView>,
    /// The lowest record slot never written.
    pub next_record_slot: RecordSlot,
    /// What the settled state holds at her index.
    pub proof: MedicalProof,
    /// The acknowledged operations of hers that took the key directory from the settled one to this one, in order: each
    /// `directory_before` is the last one's `directory_after`. A writer follows their signatures, so that no node can
    /// make him seal to keys of its own or to an epoch that she ended.
    pub directory_operations: Vec<SignedOperation>,
}

/// From a patient's medical leaf, or the empty leaf at her index, to a state root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MedicalProof {
    /// The batch that the state is after; 0 before the first.
    pub batch: u64,
    /// The leaf; absent while her registration is not settled.
    pub leaf: Option<MedicalLeaf>,
    /// The path at her index under the medical root.
    pub path: Path,
    /// The identity root.
    #[serde(with = "hex_element")]
    pub identity_root: Fr,
    /// The medical root.
    #[serde(with = "hex_element")]
    pub medical_root: Fr,
}

/// A grant and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantView {
    /// Its slot.
    pub slot: GrantSlot,
    /// The grant.
    pub grant: GrantLeaf,
}

/// A record as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSummary {
    /// Its slot.
    pub slot: RecordSlot,
    /// Its leaf.
    pub leaf: RecordLeaf,
    /// Where it is.
    pub stored: StoredAt,
    /// Whether this version is in the settled state.
    pub settled: bool,
}

/// A record with what its reader checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordView {
    /// Its slot.
    pub slot: RecordSlot,
    /// Its leaf.
    pub leaf: RecordLeaf,
    /// Where it is.
    pub stored: StoredAt,
    /// CID of the patient's key directory.
    pub directory: String,
    /// The author's identity leaf.
    pub author: IdentityFields,
    /// The proof that the leaf is in the settled state; absent while this version waits for a batch.
    pub proof: Option<RecordProof>,
}

/// From a record leaf to a state root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordProof {
    /// The batch that the state is after.
    pub batch: u64,
    /// Path of the record leaf under the records root.
    pub record_path: Path,
    /// The patient's medical leaf.
    pub medical: MedicalLeaf,
    /// Its path under the medical root.
    pub medical_path: Path,
    /// Path of the author's identity leaf under the identity root.
    pub author_path: Path,
    /// The identity root.
    #[serde(with = "hex_element")]
    pub identity_root: Fr,
    /// The medical root.
    #[serde(with = "hex_element")]
    pub medical_root: Fr,
}

/// A batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchView {
    /// Its number; the first is 1.
    pub number: u64,
    /// `sealed`, `proving`, `settling` or `settled`.
    pub state: String,
    /// Its public inputs.
    pub public: PublicInputs,
    /// Operations of both kinds; padding is not counted.
    pub operations: u64,
    /// Time from witness to proof, once proven.
    pub prove_seconds: Option<f64>,
    /// Size of the proof.
    pub proof_bytes: Option<u64>,
    /// Gas of the settlement transaction.
    pub gas_used: Option<u64>,
    /// The settlement transaction.
    pub tx_hash: Option<String>,
}

/// A prover to let in. The credential itself stays with whoever made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewProver {
    /// Its name ([`crate::prover::is_name`]).
    pub name: String,
    /// The credential's digest ([`crate::prover::ProverCredential::digest`]), hex.
    pub digest: String,
}

/// A prover that has a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProverView {
    /// Its name.
    pub name: String,
    /// Since when.
    pub added: UnixTime,
}

/// Somebody whose invitations were used today, or no longer count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviterView {
    /// Their Ethereum address.
    pub address: String,
    /// How many were used today (UTC).
    pub today: u32,
    /// Since when none counts.
    pub ended: Option<UnixTime>,
}

/// A sealed batch for a prover. Secret: it holds who did what to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofJob {
    /// The batch's number.
    pub number: u64,
    /// What to prove.
    pub witness: BatchWitness,
    /// Against what.
    pub public: PublicInputs,
}

/// An amount of storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageAmount {
    /// Bytes.
    pub bytes: u64,
    /// Blocks.
    pub blocks: u64,
}

/// What a writer has in a patient's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterStorage {
    /// The writer.
    pub account: AccountIndex,
    /// What they have: all versions of records that are not deleted, and what was returned in the last 30 days.
    pub used: StorageAmount,
    /// What they may have.
    pub limit: StorageAmount,
    /// The record slots that they hold, deleted records included.
    pub slots: u64,
    /// How many they may hold.
    pub slot_limit: u64,
}

/// Who uses how much of a patient's space on a node. A deleted record gives its space back a day after that is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageView {
    /// The patient.
    pub patient: AccountIndex,
    /// By account.
    pub writers: Vec<WriterStorage>,
    /// What all writers together may have.
    pub limit: StorageAmount,
    /// The patient's key directories, which are outside the limits.
    pub directories: StorageAmount,
}
