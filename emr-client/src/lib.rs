#![doc = include_str!("../README.md")]

pub mod client;
mod connections;
pub mod error;
pub mod flow;
pub mod keys;
pub mod l1_client;
pub mod node;
mod patience;
pub mod profile;
pub mod shlink;
pub mod verify;

pub use client::Client;
pub use connections::Connections;
pub use error::{ClientError, Code, ErrorKind};
pub use l1_client::L1Client;
pub use profile::FileError;
