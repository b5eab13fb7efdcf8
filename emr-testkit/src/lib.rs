#![doc = include_str!("../README.md")]

pub mod again;
#[cfg(feature = "chain")]
pub mod chain;
#[cfg(feature = "people")]
pub mod directories;
#[cfg(feature = "node")]
pub mod node;
pub mod part;
#[cfg(feature = "people")]
pub mod people;

/// The result of a test or of a step of a test. Any error fails the test.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
