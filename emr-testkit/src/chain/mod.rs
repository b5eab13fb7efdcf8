//! Chains for tests, with funded accounts, and a contract that exercises a chain's features.

pub mod hostile;
mod probe;

use std::{collections::BTreeMap, fs, time::Duration};

use alloy::{
    eips::BlockId,
    primitives::{Address, B256, U256},
    providers::Provider,
    signers::local::PrivateKeySigner,
};
use emr_chain::endpoint::Endpoint;
use emr_devnet::{ChainConfig, EmbeddedChain, RpcServer, serve_rpc};

use crate::{
    Outcome,
    part::{Anvil, Geth},
};

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
    /// A real geth.
    Geth(Geth),
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

    /// Starts `geth --dev` with `arguments` and the same accounts, chain number and rules. It makes a block for each
    /// transaction, or only when [`seal`](Self::seal) is called if there is a long `--dev.period`. Returns `None` if
    /// geth is not installed and not required.
    ///
    /// # Errors
    /// Fails if geth is required but not installed, or if it does not start.
    pub fn geth(arguments: &[&str]) -> Outcome<Option<Self>> {
        let mut genesis = genesis()?;
        // Every block since Prague calls these. anvil and the embedded chain leave them out.
        let system: serde_json::Value = serde_json::from_str(include_str!("system_contracts.json"))?;
        for (address, account) in system.as_object().into_iter().flatten() {
            genesis["alloc"][address] = account.clone();
        }
        let blobs = |target, max, fraction| serde_json::json!({ "target": target, "max": max, "baseFeeUpdateFraction": fraction });
        for fork in FORKS_BY_BLOCK.iter().chain(&FORKS_BY_TIME) {
            genesis["config"][fork] = 0.into();
        }
        genesis["config"]["terminalTotalDifficulty"] = 0.into();
        genesis["config"]["depositContractAddress"] = serde_json::json!(Address::ZERO);
        genesis["config"]["blobSchedule"] = serde_json::json!({
            "cancun": blobs(3, 6, 3_338_477), "prague": blobs(6, 9, 5_007_716), "osaka": blobs(6, 9, 5_007_716),
        });
        Ok(Geth::with_genesis_or_skip(&genesis.to_string(), arguments)?.map(Self::Geth))
    }

    /// Makes a block with what waits, this many seconds after the newest one. Only for geth with a `--dev.period`.
    ///
    /// # Errors
    /// Fails for other nodes, and if geth refuses.
    pub async fn seal(&self, seconds: u64) -> Outcome {
        let Self::Geth(_) = self else { return Err("only geth is told so".into()) };
        let provider = self.endpoint()?.connect(None)?;
        // With a period, geth makes the first block by itself soon after its start.
        while provider.get_block_number().await? == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let newest = provider.get_block(BlockId::latest()).await?.ok_or("no newest block")?;
        let attributes = serde_json::json!({
            "timestamp": format!("{:#x}", newest.header.timestamp + seconds),
            "prevRandao": B256::ZERO,
            "suggestedFeeRecipient": Address::ZERO,
            "withdrawals": [],
            "parentBeaconBlockRoot": B256::ZERO,
        });
        let none = serde_json::Value::Null;
        let sealed: B256 = provider.raw_request("testing_commitBlockV1".into(), (attributes, &none, &none)).await?;
        let sealed = provider.get_block(sealed.into()).await?.ok_or("no sealed block")?;
        // The pool forgets what is in the block a little later.
        loop {
            let pool: serde_json::Value = provider.raw_request("txpool_content".into(), ()).await?;
            let pool = pool.to_string();
            if !sealed.transactions.hashes().any(|hash| pool.contains(&hash.to_string())) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
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
            Self::Geth(geth) => geth.url().parse()?,
        })
    }
}

/// Ethereum's rules up to Osaka, by the names in geth's genesis.
const FORKS_BY_BLOCK: [&str; 10] = [
    "homesteadBlock",
    "eip150Block",
    "eip155Block",
    "eip158Block",
    "byzantiumBlock",
    "constantinopleBlock",
    "petersburgBlock",
    "istanbulBlock",
    "berlinBlock",
    "londonBlock",
];
const FORKS_BY_TIME: [&str; 4] = ["shanghaiTime", "cancunTime", "pragueTime", "osakaTime"];

/// The first block of the embedded chain, as a genesis file has it.
fn genesis() -> Outcome<serde_json::Value> {
    let alloc: serde_json::Map<_, _> = prefunded()?
        .into_iter()
        .map(|(address, balance)| (address.to_string(), serde_json::json!({ "balance": format!("{balance:#x}") })))
        .collect();
    Ok(serde_json::json!({
        "config": { "chainId": 31_337 },
        "nonce": "0x0", "timestamp": "0x0", "extraData": "0x", "gasLimit": "0x1c9c380", "difficulty": "0x0",
        "mixHash": B256::ZERO, "coinbase": Address::ZERO, "baseFeePerGas": "0x342770c0", "alloc": alloc,
    }))
}

/// Starts anvil with the same first block as the embedded chain.
fn start_anvil() -> Outcome<Option<Anvil>> {
    let folder = tempfile::tempdir()?;
    let genesis = folder.path().join("genesis.json");
    fs::write(&genesis, self::genesis()?.to_string())?;
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
