#![doc = include_str!("../README.md")]

pub mod encryption;
pub mod receipt;
pub mod route;
mod wire;

pub use wire::*;
