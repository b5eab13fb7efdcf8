//! Chains to test on, with funded accounts, and a contract that shows what a chain does.

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
/// From 254 on, where there is no key.
pub fn account(n: u8) -> Outcome<PrivateKeySigner> {
    Ok(PrivateKeySigner::from_bytes(&B256::repeat_byte(n.wrapping_add(1)))?)
}

/// What every chain starts with: 1000 ether for each of four accounts.
///
/// # Errors
/// None is expected.
pub fn prefunded() -> Outcome<BTreeMap<Address, U256>> {
    let ether = U256::from(10).pow(U256::from(18));
    (0..4).map(|n| Ok((account(n)?.address(), ether * U256::from(1000)))).collect()
}

/// The start of a chain in the process.
///
/// # Errors
/// None is expected.
pub fn config() -> Outcome<ChainConfig> {
    Ok(ChainConfig { prefunded: prefunded()?, ..ChainConfig::default() })
}

/// A chain to test on; dropping it stops it.
#[derive(Debug)]
pub enum Node {
    /// In this process.
    Embedded(EmbeddedChain),
    /// The same over HTTP.
    Served(RpcServer),
    /// A real anvil.
    Anvil(Anvil),
}

impl Node {
    /// A fresh chain in this process.
    ///
    /// # Errors
    /// None is expected.
    pub fn embedded() -> Outcome<Self> {
        Ok(Self::Embedded(EmbeddedChain::temporary(&config()?)?))
    }

    /// A fresh chain in this process, served on a free port.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn served() -> Outcome<Self> {
        let chain = EmbeddedChain::temporary(&config()?)?;
        Ok(Self::Served(serve_rpc(chain, "127.0.0.1:0".parse()?).await?))
    }

    /// A fresh anvil with the same first block; `None` where no anvil is at hand and none is required.
    ///
    /// # Errors
    /// If it is required and missing, or does not start.
    pub fn anvil() -> Outcome<Option<Self>> {
        Ok(start_anvil()?.map(Self::Anvil))
    }

    /// Where it is.
    ///
    /// # Errors
    /// None is expected.
    pub fn endpoint(&self) -> Outcome<Endpoint> {
        Ok(match self {
            Self::Embedded(chain) => Endpoint::in_process(chain.transport()),
            Self::Served(server) => server.url().as_str().parse()?,
            Self::Anvil(anvil) => anvil.url().parse()?,
        })
    }
}

/// A real anvil with the same first block.
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
    // anvil takes the base fee for the first block after genesis, where EIP-1559 takes an eighth less than in genesis.
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
