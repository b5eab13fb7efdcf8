#![doc = include_str!("../README.md")]

pub mod batch;
pub mod data;
pub mod field;
pub mod jubjub;
pub mod leaf;
pub mod ledger;
pub mod operation;
pub mod poseidon;
pub mod registration;
pub mod signature;
pub mod state;
pub mod statement;
pub mod tree;
