//! The chain seen from outside: one suite for it, for its JSON-RPC and for anvil; kills; hostile requests.

mod conformance;
mod crash;
mod power_cut;
mod same_as_anvil;
mod server;
