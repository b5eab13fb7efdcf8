//! Chains for tests, with funded accounts, and a contract that exercises a chain's features.

pub mod hostile;
mod probe;

use std::{collections::BTreeMap, fs};

use alloy::{
    primitives::{Address, B256, U256},
    signers::local::PrivateKeySigner,
};
use emr_chain::endpoint::Endpoint;
use emr_devnet::{ChainConfig, EmbeddedChain, RpcServer, serve_rpc};

use crate::{Outcome, part::Anvil};

pub use probe::Probe;

/// The n-th test account.
///
/// # Errors
/// Fails from 254 on, where there is no valid key.
pub fn account(n: u8) -> Outcome<PrivateKeySigner> {
    Ok(PrivateKeySigner::from_bytes(&B256::repeat_byte(n.wrapping_add(1)))?)
}

/// The balances at the start of every chain: 1000 ether for each of four accounts.
///
/// # Errors
/// No error is expected.
pub fn prefunded() -> Outcome<BTreeMap<Address, U256>> {
    let ether = U256::from(10).pow(U256::from(18));
    (0..4).map(|n| Ok((account(n)?.address(), ether * U256::from(1000)))).collect()
}

/// The configuration of a chain in this process.
///
/// # Errors
/// No error is expected.
pub fn config() -> Outcome<ChainConfig> {
    Ok(ChainConfig { prefunded: prefunded()?, ..ChainConfig::default() })
}

/// A chain for tests. Dropping it stops it.
#[derive(Debug)]
pub enum Node {
    /// A chain in this process.
    Embedded(EmbeddedChain),
    /// A chain in this process, served over HTTP.
    Served(RpcServer),
    /// A real anvil.
    Anvil(Anvil),
}

impl Node {
    /// Starts a chain in this process.
    ///
    /// # Errors
    /// No error is expected.
    pub fn embedded() -> Outcome<Self> {
        Ok(Self::Embedded(EmbeddedChain::temporary(&config()?)?))
    }

    /// Starts a chain in this process and serves it on a free port.
    ///
    /// # Errors
    /// Fails if there is no free port.
    pub async fn served() -> Outcome<Self> {
        let chain = EmbeddedChain::temporary(&config()?)?;
        Ok(Self::Served(serve_rpc(chain, "127.0.0.1:0".parse()?).await?))
    }

    /// Starts anvil with the same first block. Returns `None` if anvil is not installed and not required.
    ///
    /// # Errors
    /// Fails if anvil is required but not installed, or if it does not start.
    pub fn anvil() -> Outcome<Option<Self>> {
        Ok(start_anvil()?.map(Self::Anvil))
    }

    /// The endpoint of the chain.
    ///
    /// # Errors
    /// No error is expected.
    pub fn endpoint(&self) -> Outcome<Endpoint> {
        Ok(match self {
            Self::Embedded(chain) => Endpoint::in_process(chain.transport()),
            Self::Served(server) => server.url().as_str().parse()?,
            Self::Anvil(anvil) => anvil.url().parse()?,
        })
    }
}

/// Starts anvil with the same first block as the embedded chain.
fn start_anvil() -> Outcome<Option<Anvil>> {
    let folder = tempfile::tempdir()?;
    let genesis = folder.path().join("genesis.json");
    let alloc: serde_json::Map<_, _> = prefunded()?
        .into_iter()
        .map(|(address, balance)| (address.to_string(), serde_json::json!({ "balance": format!("{balance:#x}") })))
        .collect();
    let json = serde_json::json!({
        "config": { "chainId": 31_337 },
        "nonce": "0x0", "timestamp": "0x0", "extraData": "0x", "gasLimit": "0x1c9c380", "difficulty": "0x0",
        "mixHash": B256::ZERO, "coinbase": Address::ZERO, "baseFeePerGas": "0x342770c0", "alloc": alloc,
    });
    fs::write(&genesis, json.to_string())?;
    let genesis = genesis.to_str().ok_or("the temporary folder is not UTF-8")?;
    // By EIP-1559, the base fee of the first block after genesis is an eighth less than in genesis. anvil does not
    // reduce it.
    Ok(Anvil::start_or_skip(&[
        "--accounts",
        "0",
        "--hardfork",
        "osaka",
        "--disable-default-create2-deployer",
        "--base-fee",
        "875000000",
        "--init",
        genesis,
    ])?)
}
