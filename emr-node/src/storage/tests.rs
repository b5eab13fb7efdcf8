//! Tests with a node's engine, mempool file and block store. L1 is a list of the batches that the sequencer sealed. No
//! proof is made.

mod clock;
mod delegated;
mod fuse;
mod histories;
mod kubo;
mod rekeyed;
mod reorganised;
mod room;
mod scene;
mod shares;
mod snapshots;
mod staging;
mod start_time;
mod sweeps;
