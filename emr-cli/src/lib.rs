#![doc = include_str!("../README.md")]

pub mod account;
pub mod cards;
#[cfg(feature = "hospital")]
pub mod demo;
pub mod doctor;
pub mod failure;
#[cfg(feature = "hospital")]
pub mod hospital;
pub mod input;
pub mod options;
pub mod passphrase;
pub mod patient;
pub mod records;
pub mod report;
pub mod session;
pub mod start;
