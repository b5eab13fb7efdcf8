#![doc = include_str!("../README.md")]

pub mod field;
pub mod jubjub;
pub mod poseidon;
pub mod signature;
pub mod tree;
