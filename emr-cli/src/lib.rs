#![doc = include_str!("../README.md")]

pub mod account;
pub mod attachments;
mod audit_events;
pub mod break_glass;
pub mod cards;
mod classed;
pub mod close;
pub mod conform;
mod consent;
pub mod delegate;
#[cfg(feature = "hospital")]
pub mod demo;
pub mod disclose;
pub mod doctor;
mod export;
pub mod failure;
pub mod force;
pub mod history;
#[cfg(feature = "hospital")]
pub mod hospital;
mod identity;
pub mod input;
pub mod invite;
mod jwe;
mod jwe_import;
mod keystore;
pub mod light;
pub mod link;
pub(crate) mod money;
mod ndjson;
mod ndjson_lines;
pub(crate) mod on_l1;
pub mod options;
pub mod outbox;
mod ownership;
pub mod participant;
pub mod passphrase;
pub mod patient;
pub mod records;
pub mod rekey;
pub mod report;
pub mod rotate;
pub mod start;
pub mod storage;
mod validate;
