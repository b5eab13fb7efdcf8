#![doc = include_str!("../README.md")]

mod access;
mod clock;
mod follow;
mod history;
mod http;
mod login;
pub mod mempool;
mod node;
mod pipeline;
mod pointers;
mod policy;
mod proving;
mod refusal;
mod routes;
mod sequencer;
mod settle;
mod state;
mod turn;

pub use clock::L1Ahead;
pub use follow::FollowError;
pub use history::SESSION_SECONDS;
pub use node::{Node, NodeConfig, RunningNode, StartError};
pub use policy::SealPolicy;
pub use proving::{Activity, ProverConfig, ProvingError};
pub use sequencer::DeriveError;
