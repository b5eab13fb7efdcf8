//! What a node is and does, its batches, and the jobs of its provers.

use alloy::primitives::{Address, B256};
use emr_chain::{DeploymentRecord, PerQueue, QueueProgress};
use emr_core::{AccountIndex, StateRoot, UnixTime};
use emr_rollup::{batch::PublicInputs, setup::SetupChoice, statement::BatchWitness, version::CircuitVersion};
use serde::{Deserialize, Serialize};

use crate::form::{AddressText, As, Maybe, Prefixed};

/// A node's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Chain id of the L1.
    pub chain_id: u64,
    /// Address of the rollup contract.
    #[serde(with = "As::<AddressText>")]
    pub contract: Address,
    /// What the contract was made from. Its address commits to it, so a client need not believe the node.
    pub deployment: DeploymentRecord,
    /// The block of its deployment, from which its events are read.
    pub deployed_at: u64,
    /// Number of the circuit version.
    pub circuit_version: u32,
    /// The sizes in which batches are proved, in L1's order.
    pub sizes: Vec<CircuitVersion>,
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
    /// What the node is doing, for people: `idle`, `proving 3`, `waiting for a proof of 3`, `settling 3`, `stuck at 3:
    /// ..`, or a stage of reading the keys.
    pub activity: String,
    /// The progress of the proof that the node is making.
    #[serde(default)]
    pub progress: Option<ProofProgress>,
    /// The node's health.
    pub health: NodeHealth,
    /// The trusted setup of the proofs. Anyone can forge proofs under the development setup.
    pub setup: SetupChoice,
}

/// The values that an operator checks first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHealth {
    /// The node's time. Compare the other times with it.
    pub now: UnixTime,
    /// Why the node takes no operations, or only Revokes, if that is so.
    pub halted: Option<String>,
    /// Number of the newest L1 block that the node saw.
    pub l1_block: u64,
    /// Time of that block, Unix seconds.
    pub l1_block_time: u64,
    /// When the Ethereum node last answered.
    pub l1_reached: UnixTime,
    /// The queues on L1 at that block. Anyone may settle urgent entries that are overdue.
    pub queues: PerQueue<QueueProgress>,
    /// From when anyone may also settle registrations that are overdue.
    pub strangers_from: UnixTime,
    /// When the oldest operation that is not settled yet was acknowledged.
    pub oldest: Option<UnixTime>,
    /// How many operations are not settled yet although their receipt's time is over.
    pub overdue: u64,
    /// What the node does not do any more, because a bug ended the task: for people.
    pub ended_tasks: Vec<String>,
    /// Whether the disk of the node's folder or the block store is nearly full: then the node takes only Revokes.
    pub nearly_full: bool,
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

/// A batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchView {
    /// Its number; the first is 1.
    pub number: u64,
    /// `sealed`, `proving`, `settling` or `settled`.
    pub state: String,
    /// Its public inputs.
    pub public: PublicInputs,
    /// The number of L1 and L2 operations.
    pub operations: u64,
    /// The time from witness to proof, if the batch is proved.
    pub prove_seconds: Option<f64>,
    /// Size of the proof.
    pub proof_bytes: Option<u64>,
    /// Gas of the settlement transaction.
    pub gas_used: Option<u64>,
    /// The settlement transaction.
    #[serde(default, with = "Maybe::<Prefixed<32>>")]
    pub tx_hash: Option<B256>,
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
