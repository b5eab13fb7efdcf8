//! The statement as a halo2 circuit.
//!
//! `config` has columns and gates, `poseidon` and `jubjub` the two large gates; `builder` fills a table from gadgets that know
//! wires only, `hints` is where values that no gate computes come in; `hashing`, `range` and `arithmetic` are its chips. On them stand the meanings: `packing`, `leaf`, `signature`,
//! `message`, `authority`, `target`, and the slots, `registration` and `operation`. `batch` puts the slots together.

mod arithmetic;
mod authority;
mod batch;
mod builder;
mod config;
mod diagnosis;
mod hashing;
mod hints;
mod jubjub;
mod leaf;
#[cfg(test)]
mod lies;
mod message;
mod operation;
mod origin;
mod packing;
mod poseidon;
mod range;
mod registration;
mod schedule;
mod signature;
mod table;
mod target;

pub use batch::BatchCircuit;
pub use config::Config;
pub use diagnosis::{Diagnosis, Failure};
pub use origin::{Origin, Part};
pub use table::CellId;
