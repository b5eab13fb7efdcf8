//! Block stores, from outside.
#![expect(clippy::unwrap_used, reason = "tests")]

mod contract;
mod dag;
mod disk;
mod hostile_node;
mod kubo;
mod power_cut;
