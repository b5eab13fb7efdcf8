#![doc = include_str!("../README.md")]

mod adopt;
mod derivation;
mod engine;
mod http;
mod l1;
mod links;
pub mod mempool;
mod node;
mod pipeline;
mod request_error;
mod sequencer;
mod snapshot;
mod start_check;
mod state;
mod storage;
mod tasks;

pub use adopt::{AdoptError, StoppedNode, adopt};
pub use derivation::DerivationError;
pub use http::limits::Limits;
pub use l1::clock::L1Ahead;
pub use l1::follow::FollowError;
pub use node::{Node, NodeConfig, RunningNode};
pub use pipeline::policy::SealPolicy;
pub use pipeline::prove::{Activity, ProverConfig, ProvingError};
pub use start_check::StartError;
pub use state::history::SESSION_SECONDS;
pub use tasks::{NodeTask, TaskEnded};
