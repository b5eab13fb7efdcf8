#![doc = include_str!("../README.md")]

pub mod encryption;
pub mod invitation;
pub mod prover;
pub mod receipt;
pub mod route;
mod subtree;
mod wire;

pub use subtree::*;
pub use wire::*;
