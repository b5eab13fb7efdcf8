#![doc = include_str!("../README.md")]

mod blockstore;
mod dag;
mod error;
mod store;

pub use blockstore::{Blockstore, FreeSpace, StoreFuture};
pub use dag::{Dag, DagLimits, links, walk};
pub use emr_core::cid::Cid;
pub use emr_core::cid::{Codec, MAX_BLOCK_BYTES};
pub use error::StoreError;
pub use store::{DiskStore, KuboStore};
