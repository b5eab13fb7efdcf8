//! Tests of the chain through its public interface: a suite that also runs on anvil, kills, and hostile requests.

mod clock;
mod conformance;
mod crash;
mod power_cut;
mod reorganisation;
mod same_as_anvil;
mod server;
