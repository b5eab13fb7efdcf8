#![doc = include_str!("../README.md")]

pub mod admission;
pub mod api;
pub mod card;
pub mod client;
pub mod directory_check;
mod durable;
pub mod encryption;
pub mod grant;
pub mod light;
pub mod membership;
pub mod node_api;
mod node_endpoints;
pub mod outbox;
pub mod own_directory;
mod own_grants;
pub mod profile;
pub mod receipt;
pub mod register;
pub mod request;
pub mod retrieve;
pub mod revoke;
pub mod seen;
pub mod settled_state;
pub mod submit;
pub mod upload;
pub mod verify;

pub use client::{Client, ClientError};
pub use durable::FileError;
