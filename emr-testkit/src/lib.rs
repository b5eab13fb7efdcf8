#![doc = include_str!("../README.md")]

#[cfg(feature = "chain")]
pub mod chain;
pub mod part;

/// What a test, or a step of one, gives: anything that goes wrong fails it.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
