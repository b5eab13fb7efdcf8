#![doc = include_str!("../README.md")]

pub mod encryption;
pub mod invitation;
pub mod prover;
pub mod receipt;
pub mod route;
mod wire;

pub use wire::*;
