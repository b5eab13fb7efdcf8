#![doc = include_str!("../README.md")]

pub mod api;
pub mod encryption;
pub mod receipt;
