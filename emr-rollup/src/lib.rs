#![doc = include_str!("../README.md")]

#[cfg(all(test, feature = "prover"))]
extern crate self as emr_rollup;

pub mod batch;
#[cfg(feature = "prover")]
pub mod circuit;
pub mod l1_operation;
pub mod layout;
pub mod operation;
pub mod primitive;
#[cfg(feature = "prover")]
pub mod prover;
pub mod state;
pub mod statement;
pub mod version;
