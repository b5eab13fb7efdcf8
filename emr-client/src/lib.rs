#![doc = include_str!("../README.md")]

pub mod client;
pub mod flow;
pub mod node;
mod patience;
pub mod profile;
pub mod verify;

pub use client::{Client, ClientError};
pub use profile::FileError;
