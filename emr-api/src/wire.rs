//! The node's HTTP interface: paths, requests and answers. JSON, except blocks, which are raw bytes.
//!
//! | method and path | who | body → answer |
//! |---|---|---|
//! | `GET /v1/status` | anyone | → [`NodeStatus`] |
//! | `POST /v1/accounts` | anyone with an invitation | [`RelayRegistration`] → [`Registered`] |
//! | `GET /v1/accounts/{account}` | anyone | → [`AccountView`] |
//! | `POST /v1/login/challenge` | anyone | [`ChallengeRequest`] → [`Challenge`] |
//! | `POST /v1/login` | anyone | [`LoginRequest`] → [`Session`]; the token goes into `Authorization: Bearer` |
//! | `POST /v1/blocks?codec=raw` or `dag-cbor` | an account | bytes → [`BlockPut`] |
//! | `GET /v1/blocks/{cid}` | an account that may read the record or directory of the block | → bytes |
//! | `POST /v1/operations` | the signer | [`Submission`] → [`Receipt`] |
//! | `POST /v1/revokes` | the signer | [`Submission`] of a Revoke → [`Receipt`]; with capacity that only Revokes can use |
//! | `GET /v1/operations/{id}` | signer or patient | → [`OperationStatus`] |
//! | `GET /v1/patients/{patient}` | the patient, or a live grantee | → [`PatientView`] |
//! | `GET /v1/patients/{patient}/subtree` | the patient | → [`SubtreeView`](crate::SubtreeView) |
//! | `GET /v1/patients/{patient}/grants` | the patient | → [`OwnGrantsView`](crate::OwnGrantsView) |
//! | `GET /v1/patients/{patient}/audit?end=N&limit=N` | the patient | → [`AuditPage`](crate::AuditPage) |
//! | `GET /v1/patients/{patient}/records` | the patient, or a live grantee | → `Vec<`[`RecordSummary`]`>`, of the classes that the caller may read |
//! | `GET /v1/patients/{patient}/records/{slot}` | the patient, or a live grantee with a session | → [`RecordView`] |
//! | `GET /v1/patients/{patient}/storage` | the patient | → [`StorageView`] |
//! | `POST /v1/batches/seal` | the hospital | → [`BatchView`]: seals what is pending now |
//! | `GET /v1/batches/{number}` | anyone | → [`BatchView`] |
//! | `GET /v1/provers` | the hospital | → `Vec<`[`ProverView`]`>` |
//! | `POST /v1/provers` | the hospital | [`NewProver`] → [`ProverView`] |
//! | `DELETE /v1/provers/{name}` | the hospital | → 204 |
//! | `GET /v1/inviters` | the hospital | → `Vec<`[`InviterView`]`>` |
//! | `DELETE /v1/inviters/{address}` | the hospital | → 204: ends the invitations of this inviter |
//! | `PUT /v1/inviters/{address}` | the hospital | → 204: accepts them again |
//! | `GET /v1/prover/job` | a prover ([`crate::prover`]), or the hospital | → [`ProofJob`], or 204 |
//! | `POST /v1/prover/jobs/{number}` | a prover, or the hospital | proof bytes → 202 |
//!
//! Every refusal has a [`Problem`] as body. With `too-many` (429) and with some `unavailable` (503), the header `Retry-After` says
//! after how many seconds the same request may succeed.

use std::fmt;

use emr_core::{AccountEpoch, AccountIndex, AccountStatus, GrantSlot, RecordSlot, Role, StateRoot, UnixTime};
use emr_crypto::Epoch;
use emr_rollup::{
    batch::PublicInputs,
    operation::{DirectoryCommitment, OperationId, SignedOperation},
    primitive::field::{Fr, hex_element},
    state::{
        leaf::{GrantLeaf, MedicalLeaf, RecordLeaf},
        tree::Path,
    },
    statement::{BatchWitness, IdentityFields},
};
use serde::{Deserialize, Serialize};

use crate::invitation::Invitation;

/// Why a request was refused. The HTTP status gives the kind. `code` is stable, and `message` says what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// For programs: `unauthorized`, `forbidden`, `revoked`, `no-session`, `not-found`, `refused`, `stale`, `too-large`,
    /// `too-many`, `unavailable`, `malformed`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A node's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Chain id of the L1.
    pub chain_id: u64,
    /// Address of the rollup contract, `0x` and 40 hex digits.
    pub contract: String,
    /// The block of its deployment, from which its events are read.
    pub deployed_at: u64,
    /// Number of the circuit version.
    pub circuit_version: u32,
    /// The hospital's account, if it has one already.
    pub hospital: Option<AccountIndex>,
    /// Number of settled batches.
    pub batches: u64,
    /// The settled state root.
    pub state_root: StateRoot,
    /// Entries of the L1 queue that wait for a batch.
    pub queued: u64,
    /// Acknowledged operations that wait for a batch.
    pub pending: u64,
    /// What the node is doing, for people: `idle`, `proving 3`, `waiting for a proof of 3`, `settling 3`, `stuck at 3: ..`, or a stage of
    /// reading the keys.
    pub activity: String,
    /// The progress of the proof that the node is making.
    #[serde(default)]
    pub progress: Option<ProofProgress>,
    /// Whether it does what it should.
    pub health: NodeHealth,
    /// Whether the trusted setup is the development one.
    pub development_setup: bool,
}

/// What an operator looks at first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHealth {
    /// The node's time: compare the others with it.
    pub now: UnixTime,
    /// Why the node takes no operations, or only Revokes, if that is so.
    pub halted: Option<String>,
    /// Number of the newest L1 block that the node saw.
    pub l1_block: u64,
    /// Time of that block, Unix seconds.
    pub l1_block_time: u64,
    /// When the Ethereum node last answered.
    pub l1_reached: UnixTime,
    /// When the oldest operation that is not settled yet was acknowledged.
    pub oldest: Option<UnixTime>,
    /// How many operations are not settled yet although their receipt's time is over.
    pub overdue: u64,
}

/// The progress of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofProgress {
    /// The batch.
    pub batch: u64,
    /// Milliseconds since the prover began.
    pub elapsed_ms: u64,
    /// The total milliseconds of the last proof, if there was one.
    pub estimate_ms: Option<u64>,
}

/// A registration that its owner signed (EIP-712), and for which the node pays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayRegistration {
    /// The owner's Ethereum address.
    pub owner: String,
    /// The role.
    pub role: Role,
    /// The hospital that the doctor belongs to.
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

/// Asks for a login challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeRequest {
    /// The account that wants to log in.
    pub account: AccountIndex,
}

/// A challenge to sign with the RSA key (`emr_crypto`'s login challenge).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// 32 random bytes, hex.
    pub nonce: String,
    /// When it expires.
    pub expires: UnixTime,
}

/// A signed challenge.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginRequest {
    /// The account that logs in.
    pub account: AccountIndex,
    /// The nonce, hex.
    pub nonce: String,
    /// When the challenge expires, unchanged from the challenge.
    pub expires: UnixTime,
    /// The RSA public key to which the account commits: SPKI DER, base64.
    pub public_key: String,
    /// The commitment's salt ([`crate::encryption`]), hex; empty for doctors and hospitals.
    pub commitment_salt: String,
    /// RSA-PSS signature, base64.
    pub signature: String,
}

/// Omits the data that allow a login, and the data that identify a patient's key.
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
    /// When it expires.
    pub expires: UnixTime,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// A stored block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockPut {
    /// Its CID.
    pub cid: String,
}

/// The address of a record's manifest. `stored` in the record leaf commits to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAt {
    /// The manifest's CID.
    pub manifest: String,
    /// 32 bytes of salt, hex.
    pub salt: String,
}

/// An operation with the addresses to which it commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The operation.
    pub signed: SignedOperation,
    /// PutRecord: the address of the record.
    pub stored: Option<StoredAt>,
    /// PutRecord: the epoch of its class under which the record is sealed. If that epoch is over, the node answers `stale`, and the writer
    /// seals again to the current epoch. A node cannot see whether the epoch is true. A writer who lies gives their record to old readers.
    pub epoch: Option<Epoch>,
    /// SetGrant and Revoke: CID of the new key directory.
    pub directory: Option<String>,
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
    /// EIP-712 signature over these three fields ([`crate::receipt`]), hex.
    pub signature: String,
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

/// The data about a patient that a grantee needs to act. They come from the soft state, in which every acknowledged operation counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatientView {
    /// The patient.
    pub patient: AccountIndex,
    /// The patient's account epoch.
    pub epoch: AccountEpoch,
    /// CID of the patient's key directory, if there is one already.
    pub directory: Option<String>,
    /// What her medical leaf commits to as key directory.
    pub directory_commitment: DirectoryCommitment,
    /// The grants that are live for whoever asks; all of them for the patient.
    pub grants: Vec<GrantView>,
    /// The lowest record slot that was never written.
    pub next_record_slot: RecordSlot,
    /// The proof of the patient's medical leaf in the settled state.
    pub proof: MedicalProof,
    /// The patient's acknowledged operations that lead from the settled key directory to this one, in order: each `directory_before` is
    /// the previous `directory_after`. A writer checks their signatures. So no node can make a writer seal to the node's keys, or to an
    /// epoch that the patient ended.
    pub directory_operations: Vec<SignedOperation>,
}

/// The proof from a patient's medical leaf, or from the empty leaf at their index, to a state root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MedicalProof {
    /// The last batch of the state; 0 before the first.
    pub batch: u64,
    /// The leaf; absent while the patient's registration is not settled.
    pub leaf: Option<MedicalLeaf>,
    /// The path at the patient's index under the medical root.
    pub path: Path,
    /// The identity root.
    #[serde(with = "hex_element")]
    pub identity_root: Fr,
    /// The medical root.
    #[serde(with = "hex_element")]
    pub medical_root: Fr,
}

/// A grant with its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantView {
    /// Its slot.
    pub slot: GrantSlot,
    /// The grant.
    pub grant: GrantLeaf,
}

/// A record in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSummary {
    /// Its slot.
    pub slot: RecordSlot,
    /// Its leaf.
    pub leaf: RecordLeaf,
    /// The address of its manifest.
    pub stored: StoredAt,
    /// Whether this version is in the settled state.
    pub settled: bool,
}

/// A record with the data that its reader checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordView {
    /// Its slot.
    pub slot: RecordSlot,
    /// Its leaf.
    pub leaf: RecordLeaf,
    /// The address of its manifest.
    pub stored: StoredAt,
    /// CID of the patient's key directory.
    pub directory: String,
    /// The author's identity leaf.
    pub author: IdentityFields,
    /// The proof that the leaf is in the settled state; absent while this version waits for a batch.
    pub proof: Option<RecordProof>,
}

/// The proof from a record leaf to a state root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordProof {
    /// The last batch of the state.
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
    /// The number of L1 and L2 operations, without padding.
    pub operations: u64,
    /// The time from witness to proof, if the batch is proved.
    pub prove_seconds: Option<f64>,
    /// Size of the proof.
    pub proof_bytes: Option<u64>,
    /// Gas of the settlement transaction.
    pub gas_used: Option<u64>,
    /// The settlement transaction.
    pub tx_hash: Option<String>,
}

/// A new prover. The node gets only the digest of its credential.
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
    /// When it was added.
    pub added: UnixTime,
}

/// A person whose invitations were used today, or were ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviterView {
    /// Their Ethereum address.
    pub address: String,
    /// How many of their invitations were used today (UTC).
    pub today: u32,
    /// When their invitations were ended.
    pub ended: Option<UnixTime>,
}

/// A sealed batch for a prover. It is secret, because it shows who did what to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofJob {
    /// The batch's number.
    pub number: u64,
    /// The witness.
    pub witness: BatchWitness,
    /// The public inputs.
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

/// A writer's share of a patient's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterStorage {
    /// The writer.
    pub account: AccountIndex,
    /// Their use: all versions of records that are not deleted, and records that were returned in the last 30 days.
    pub used: StorageAmount,
    /// Their limit.
    pub limit: StorageAmount,
    /// The number of their record slots, with deleted records.
    pub slots: u64,
    /// The limit of record slots.
    pub slot_limit: u64,
}

/// Who uses how much of a patient's space on a node. A deleted record's space becomes free a day after the deletion is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageView {
    /// The patient.
    pub patient: AccountIndex,
    /// The writers' shares.
    pub writers: Vec<WriterStorage>,
    /// The limit of all writers together.
    pub limit: StorageAmount,
    /// The use by the patient's key directories, which are outside the limits.
    pub directories: StorageAmount,
}
