#![doc = include_str!("../README.md")]

mod evm;
mod failure;
mod ledger;
mod rpc;
mod server;
mod state;
mod store;
mod transport;
mod trie;
mod view;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use alloy::primitives::{Address, U256};
use emr_durable::Disk;
use serde_json::value::RawValue;

use ledger::Ledger;
use store::Store;

pub use failure::RpcFailure;
pub use ledger::OpenError;
pub use server::{RpcServer, serve_rpc};
pub use store::StoreError;
pub use transport::EmbeddedTransport;

/// The chain id that development tools use.
pub const DEVELOPMENT_CHAIN_ID: u64 = 31_337;

/// How a new chain starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainConfig {
    /// The chain id (EIP-155).
    pub chain_id: u64,
    /// Balances in the first block, in wei. They have no effect on a chain that already exists.
    pub prefunded: BTreeMap<Address, U256>,
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self { chain_id: DEVELOPMENT_CHAIN_ID, prefunded: BTreeMap::new() }
    }
}

impl ChainConfig {
    /// Gives `address` a balance in the first block, in wei.
    #[must_use]
    pub fn prefund(mut self, address: Address, balance: U256) -> Self {
        self.prefunded.insert(address, balance);
        self
    }
}

/// A handle on the chain; clones share it.
#[derive(Clone, Debug)]
pub struct EmbeddedChain {
    ledger: Arc<Ledger>,
}

impl EmbeddedChain {
    /// Opens the chain in `folder`, or starts one there. One process at a time can hold it.
    ///
    /// # Errors
    ///
    /// If the folder holds a chain with another id, another process has it open, or it cannot be read or written.
    pub fn open(folder: &Path, config: &ChainConfig) -> Result<Self, OpenError> {
        Self::open_on(&Disk::default(), folder, config)
    }

    /// As [`Self::open`], on a disk that a test may watch.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(disk: &Disk, folder: &Path, config: &ChainConfig) -> Result<Self, OpenError> {
        Ok(Self { ledger: Arc::new(Ledger::open(Store::open(disk, folder)?, config)?) })
    }

    /// A chain that lives in memory, as long as its handles.
    ///
    /// # Errors
    ///
    /// As [`Self::open`]; none is expected.
    pub fn temporary(config: &ChainConfig) -> Result<Self, OpenError> {
        Ok(Self { ledger: Arc::new(Ledger::open(Store::in_memory()?, config)?) })
    }

    /// The chain id.
    pub fn chain_id(&self) -> u64 {
        self.ledger.chain_id
    }

    /// The chain as an alloy transport.
    pub fn transport(&self) -> EmbeddedTransport {
        EmbeddedTransport::new(self.clone())
    }

    /// Answers one JSON-RPC request. This computes and writes on the calling thread.
    ///
    /// # Errors
    ///
    /// What a node would answer as a JSON-RPC error.
    pub fn request(&self, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, RpcFailure> {
        rpc::answer(&self.ledger, method, params)
    }

    /// Puts the chain's clock `seconds` further ahead of the machine's, for good; returns by how much it is ahead in
    /// all. The next block has the new time.
    ///
    /// # Errors
    ///
    /// If it would be ahead by 2^32 seconds or more, or the disk refuses.
    pub fn advance_clock(&self, seconds: u64) -> Result<u64, RpcFailure> {
        self.ledger.advance_clock(seconds)
    }
}
