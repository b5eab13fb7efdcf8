#![doc = include_str!("../README.md")]

pub mod encryption;
pub mod form;
pub mod invitation;
pub mod json;
pub mod prover;
pub mod receipt;
pub mod route;
pub mod settlement;
pub mod url_token;
mod wire;

pub use wire::*;
