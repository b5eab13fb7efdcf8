#![doc = include_str!("../README.md")]

pub mod client;
pub mod error;
pub mod flow;
pub mod keys;
pub mod node;
mod patience;
pub mod profile;
pub mod verify;

pub use client::Client;
pub use error::{ClientError, Code, ErrorKind};
pub use profile::FileError;
