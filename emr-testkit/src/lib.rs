#![doc = include_str!("../README.md")]

pub mod again;
#[cfg(feature = "chain")]
pub mod chain;
#[cfg(feature = "node")]
pub mod node;
pub mod part;
#[cfg(feature = "people")]
pub mod people;

/// What a test, or a step of one, gives: anything that goes wrong fails it.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
