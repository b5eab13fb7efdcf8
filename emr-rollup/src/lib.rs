#![doc = include_str!("../README.md")]

#[cfg(all(test, feature = "prover"))]
extern crate self as emr_rollup;

pub mod audit;
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
pub mod tree;
