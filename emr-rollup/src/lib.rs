#![doc = include_str!("../README.md")]

pub mod batch;
#[cfg(feature = "prover")]
pub mod circuit;
pub mod data;
pub mod field;
pub mod jubjub;
pub mod leaf;
pub mod ledger;
pub mod operation;
pub mod poseidon;
#[cfg(feature = "prover")]
pub mod prover;
pub mod registration;
pub mod signature;
pub mod state;
pub mod statement;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tree;
