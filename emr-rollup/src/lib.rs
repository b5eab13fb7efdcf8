#![doc = include_str!("../README.md")]

pub mod batch;
#[cfg(feature = "prover")]
pub mod circuit;
pub mod l1_operation;
pub mod layout;
pub mod operation;
pub mod primitive;
pub mod processor;
#[cfg(feature = "prover")]
pub mod prover;
pub mod setup;
pub mod state;
pub mod statement;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod version;
