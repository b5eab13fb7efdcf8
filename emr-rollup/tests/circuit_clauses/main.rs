//! One lie per clause, consistent in everything else. The plain-Rust statement and the constraint system must both refuse it,
//! and for that clause. The native check is bypassed: `BatchCircuit` lays out any witness.
#![cfg(feature = "prover")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod batch;
mod harness;
mod parties;
mod target;
