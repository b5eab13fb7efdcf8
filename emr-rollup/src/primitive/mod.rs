//! The arithmetic of the rollup, with circomlib's parameters.

pub mod eddsa;
pub mod field;
pub mod jubjub;
pub mod keccak;
pub mod poseidon;
