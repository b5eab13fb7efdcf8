//! Tests of the block stores through the public interface.
#![expect(clippy::unwrap_used, reason = "tests")]

mod contract;
mod dag;
mod disk;
mod hostile_node;
mod kubo;
mod power_cut;
