//! Each test breaks one clause with a batch that is consistent in everything else. The plain-Rust statement and the
//! constraint system must both refuse it for that clause. `BatchCircuit` lays out any witness, without the plain-Rust
//! check.
#![cfg(feature = "prover")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod across;
mod batch;
mod delegates;
mod entries;
mod harness;
mod parties;
mod target;
