#![doc = include_str!("../README.md")]

pub mod account;
pub mod cards;
pub mod demo;
pub mod doctor;
pub mod failure;
pub mod hospital;
pub mod input;
pub mod options;
pub mod passphrase;
pub mod patient;
pub mod records;
pub mod report;
pub mod session;
pub mod start;
