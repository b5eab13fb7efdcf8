//! The flows against a real node and a real chain, before anything is settled: what is proved and settled is in emr-node's
//! and emr-cli's tests.

mod crash;
mod everyday;
mod faults;
mod proxy;
mod scene;
