//! The embedded chain, verified reads and endpoints, seen from outside.

#[path = "../suite/mod.rs"]
mod suite;

mod conformance;
mod crash;
mod lying_node;
mod same_as_anvil;
mod server;
