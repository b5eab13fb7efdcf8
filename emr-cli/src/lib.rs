#![doc = include_str!("../README.md")]

pub mod failure;
pub mod options;
pub mod passphrase;
pub mod report;
