#![doc = include_str!("../README.md")]

pub mod endpoint;
pub mod exchange;
pub mod header;
mod http;
pub mod nodes;
pub mod proof;
pub mod submitter;

mod account_changes;
pub mod bindings;
mod deploy;
mod governance;
mod ownership;
mod queue;
mod registration;
mod registry;
mod revert;
mod rollup;
mod settlement_layer;
mod sizes;
mod transaction;

pub use account_changes::{QueuedChange, Revocation, SignedChange, SignedClosing, SignedRevocation, SignedRotation};
pub use deploy::{
    DEVELOPMENT_CHAINS, DeployError, Deployed, Deployment, DeploymentRecord, Officers, SizeDeployment, SizeRecord,
    VerifierCode, deploy, deploy_on_named_chain, factory,
};
pub use governance::{Change, Claim, GovernanceRefusal, Halt, Offices, Proposal, ProposalState};
pub use ownership::{
    AccountGuardians, Approval, OwnershipRefusal, Recovery, SignedTakeover, Takeover, recovery_slot, waiting_recovery,
};
pub use queue::{PerQueue, QueueEntry, QueueName, QueueProgress};
pub use registration::{CurvePoint, Registration, RollupInstance, RsaPossession, SignedRegistration, rsa_commitment};
pub use registry::{Account, PendingRegistration, Standing};
pub use revert::{Revert, RollupError};
pub use rollup::{Parameters, Rollup, STATE_ROOT_SLOT};
pub use settlement_layer::{BatchContent, Head, SettledBatch, SettlementLayer, Word, Words};
pub use sizes::{Size, SizesDigest};
pub use transaction::{L1Receipt, TRANSACTION_GAS_CAP};
