#![doc = include_str!("../README.md")]

mod chain;
mod controls;
mod evm;
mod failure;
mod rpc;
mod server;
mod store;
mod transport;
mod trie;
mod view;
mod world_state;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use alloy::primitives::{Address, U256};
use emr_durable::Disk;
use serde_json::value::RawValue;

use chain::Chain;
use store::Store;

pub use chain::OpenError;
pub use failure::RpcFailure;
pub use server::{RpcServer, serve_rpc};
pub use store::StoreError;
pub use transport::EmbeddedTransport;

/// The usual chain id of development tools.
pub const DEVELOPMENT_CHAIN_ID: u64 = 31_337;

/// The configuration of a new chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainConfig {
    /// The chain id (EIP-155).
    pub chain_id: u64,
    /// Balances in the first block, in wei. They have no effect on a chain that already exists.
    pub prefunded: BTreeMap<Address, U256>,
    /// How many seconds the chain's clock is behind the machine's, before anything moves it. A test that lets days pass begins so many days ago,
    /// and is not ahead of programs that use the machine's clock. The folder does not keep it.
    pub clock_behind: u64,
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self { chain_id: DEVELOPMENT_CHAIN_ID, prefunded: BTreeMap::new(), clock_behind: 0 }
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

/// A handle to the chain. Clones share the same chain.
#[derive(Clone, Debug)]
pub struct EmbeddedChain {
    chain: Arc<Chain>,
}

impl EmbeddedChain {
    /// Opens the chain in `folder`, or starts a new one there. Only one process at a time can have it open.
    ///
    /// # Errors
    ///
    /// Fails if the folder holds a chain with another id, if another process has it open, or if it cannot be read or
    /// written.
    pub fn open(folder: &Path, config: &ChainConfig) -> Result<Self, OpenError> {
        Self::open_on(&Disk::default(), folder, config)
    }

    /// The same as [`Self::open`], on a disk that a test can observe.
    ///
    /// # Errors
    /// The same as [`Self::open`].
    pub fn open_on(disk: &Disk, folder: &Path, config: &ChainConfig) -> Result<Self, OpenError> {
        Ok(Self { chain: Arc::new(Chain::open(Store::open(disk, folder)?, config)?) })
    }

    /// Starts a chain in memory. It is gone when its last handle is dropped.
    ///
    /// # Errors
    ///
    /// Has the errors of [`Self::open`], but none of them is expected.
    pub fn temporary(config: &ChainConfig) -> Result<Self, OpenError> {
        Ok(Self { chain: Arc::new(Chain::open(Store::in_memory()?, config)?) })
    }

    /// The chain id.
    pub fn chain_id(&self) -> u64 {
        self.chain.chain_id
    }

    /// The chain as an alloy transport.
    pub fn transport(&self) -> EmbeddedTransport {
        EmbeddedTransport::new(self.clone())
    }

    /// Answers one JSON-RPC request. This computes and writes on the calling thread.
    ///
    /// # Errors
    ///
    /// Returns the JSON-RPC error that a node would answer.
    pub fn request(&self, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, RpcFailure> {
        rpc::answer(&self.chain, method, params)
    }

    /// Moves the chain's clock `seconds` ahead, permanently. Returns by how much it was moved in total. The next block has the new time.
    ///
    /// # Errors
    ///
    /// Fails if the clock would be ahead by 2^32 seconds or more, or if the disk cannot be written.
    pub fn advance_clock(&self, seconds: u64) -> Result<u64, RpcFailure> {
        self.chain.advance_clock(seconds)
    }
}
