//! The submitter against real Ethereum nodes, lost connections, crashes, and nodes that lie.

mod crashes;
mod fees;
mod foreign;
mod lies;
mod power_cut;
mod proxy;
mod words;

use std::{path::PathBuf, sync::Arc, time::Duration};

use alloy::{
    primitives::{Address, B256, U256},
    providers::{DynProvider, Provider},
    rpc::{
        json_rpc::{RpcRecv, RpcSend},
        types::TransactionReceipt,
    },
    sol_types::SolCall,
};
use emr_chain::{
    RollupError,
    endpoint::Endpoint,
    submitter::{Order, Pace, SubmitError, Submitter, SubmitterConfig},
};
use emr_durable::Disk;
use emr_testkit::{
    Outcome,
    chain::{Node, Probe, account},
};
use proxy::Proxy;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Fast enough for a test: some blocks in a second.
const PACE: Pace = Pace {
    poll: Duration::from_millis(20),
    again: Duration::from_millis(200),
    raise: Duration::from_millis(300),
    raise_blocks: 3,
};
const PATIENCE: Duration = Duration::from_secs(30);
/// Gas for one call of the contract.
const GAS: u64 = 200_000;
const GWEI: u128 = 1_000_000_000;

/// Runs each test on anvil and on geth.
macro_rules! on_anvil_and_geth {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            use emr_testkit::Outcome;

            use crate::submitter::Stage;

            #[tokio::test(flavor = "multi_thread")]
            async fn anvil() -> Outcome {
                match Stage::new().await? {
                    Some(stage) => super::$test(stage).await,
                    None => Ok(()),
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn geth() -> Outcome {
                match Stage::geth().await? {
                    Some(stage) => super::$test(stage).await,
                    None => Ok(()),
                }
            }
        }
    )+};
}
use on_anvil_and_geth;

/// A contract that counts calls on a real Ethereum node, and a proxy before the node.
struct Stage {
    node: Node,
    /// Talks to the node directly, with the key of the submitter's account.
    direct: DynProvider,
    proxy: Proxy,
    contract: Address,
    folder: TempDir,
}

impl Stage {
    async fn new() -> Outcome<Option<Self>> {
        let Some(node) = Node::anvil()? else { return Ok(None) };
        Self::on(node).await.map(Some)
    }

    /// On geth, which makes blocks only when it is told to.
    async fn geth() -> Outcome<Option<Self>> {
        let Some(node) = Node::geth(&["--dev.period", "86400"])? else { return Ok(None) };
        Self::on(node).await.map(Some)
    }

    async fn on(node: Node) -> Outcome<Self> {
        let endpoint = node.endpoint()?;
        let deployer = endpoint.connect(Some(account(0)?))?;
        let deploying = Probe::deploy_builder(&deployer, U256::ZERO).send().await?;
        if let Node::Geth(_) = node {
            node.seal(1).await?;
        }
        let contract = deploying.get_receipt().await?.contract_address.ok_or("no contract")?;
        let direct = endpoint.connect(Some(account(1)?))?;
        let Endpoint::Http(address) = &endpoint else { return Err("a real node has an address".into()) };
        let proxy = Proxy::before(address.url().clone()).await?;
        Ok(Self { node, direct, proxy, contract, folder: tempfile::tempdir()? })
    }

    fn record(&self) -> PathBuf {
        self.folder.path().join("transaction.json")
    }

    fn config(&self) -> Outcome<SubmitterConfig> {
        Ok(SubmitterConfig {
            provider: self.proxy.endpoint().connect(None)?,
            chain_id: 31_337,
            signer: account(1)?,
            record: self.record(),
            max_fee: None,
            pace: PACE,
        })
    }

    fn open(&self) -> Outcome<Arc<Submitter>> {
        Ok(Arc::new(Submitter::open(Disk::default(), self.config()?)?))
    }

    fn limited(&self, max_fee: u128) -> Outcome<Arc<Submitter>> {
        let config = SubmitterConfig { max_fee: Some(max_fee), ..self.config()? };
        Ok(Arc::new(Submitter::open(Disk::default(), config)?))
    }

    /// A call that the contract counts.
    fn order(&self, key: u64) -> Order {
        let call = Probe::storeCall { key: U256::from(key), value: U256::ONE };
        Order { to: self.contract, value: U256::ZERO, input: call.abi_encode().into() }
    }

    /// Calls one of the node's own methods.
    async fn anvil<T: RpcRecv>(&self, method: &'static str, parameters: impl RpcSend + 'static) -> Outcome<T> {
        Ok(self.direct.raw_request(method.into(), parameters).await?)
    }

    /// Whether each transaction gets a block at once. On geth, none does.
    async fn mining(&self, on: bool) -> Outcome {
        if let Node::Geth(_) = self.node {
            return if on { Err("geth would have to be started again".into()) } else { Ok(()) };
        }
        self.anvil::<Value>("evm_setAutomine", [on]).await.map(drop)
    }

    async fn mine(&self) -> Outcome {
        if let Node::Geth(_) = self.node {
            return self.node.seal(1).await;
        }
        self.anvil::<Value>("evm_mine", ()).await.map(drop)
    }

    /// What [`Self::take_back_to`] needs to come back to the newest block.
    async fn remember(&self) -> Outcome<Value> {
        match self.node {
            Node::Geth(_) => self.anvil("eth_blockNumber", ()).await,
            _ => self.anvil("evm_snapshot", ()).await,
        }
    }

    /// Takes back all blocks since then. The pool forgets their transactions.
    async fn take_back_to(&self, block: Value) -> Outcome {
        if let Node::Geth(_) = self.node {
            return self.anvil::<Value>("debug_setHead", [block]).await.map(drop);
        }
        assert!(self.anvil::<bool>("evm_revert", [block]).await?);
        self.anvil::<Value>("anvil_dropAllTransactions", ()).await.map(drop)
    }

    /// Mines a block with this base fee, in wei. The next one has it too.
    async fn mine_at(&self, base: u128) -> Outcome {
        self.next_base_fee(base).await?;
        self.mine().await?;
        self.next_base_fee(base).await
    }

    async fn next_base_fee(&self, base: u128) -> Outcome {
        self.anvil::<Value>("anvil_setNextBlockBaseFeePerGas", [format!("{base:#x}")]).await.map(drop)
    }

    /// Waits until the pool holds this number of transactions that can be mined.
    async fn until_waiting(&self, number: u64) -> Outcome {
        let expected = format!("{number:#x}");
        for _ in 0..500 {
            if self.anvil::<Value>("txpool_status", ()).await?["pending"] == expected {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("{} transactions wait, not {number}", self.anvil::<Value>("txpool_status", ()).await?).into())
    }

    /// How many calls the contract counted, and how many transactions of the account are mined.
    async fn made(&self) -> Outcome<(u64, u64)> {
        let calls = Probe::new(self.contract, &self.direct).count().call().await?.to();
        Ok((calls, self.direct.get_transaction_count(account(1)?.address()).await?))
    }
}

/// Sends a call as the rollup's client sends a settlement, without the simulation: other calls are taken back.
async fn submit(submitter: &Submitter, order: &Order) -> Result<TransactionReceipt, RollupError> {
    submit_after(submitter, order, false).await
}

/// Sends a call. Others come first, or are taken back.
async fn submit_after(submitter: &Submitter, order: &Order, first: bool) -> Result<TransactionReceipt, RollupError> {
    let mut turn = submitter.turn(PATIENCE).await;
    for _ in 0..3 {
        if let Some(receipt) = turn.resume(order, |_| first).await? {
            return Ok(receipt);
        }
        if let Some(receipt) = turn.send(order, GAS).await? {
            return Ok(receipt);
        }
    }
    Err(SubmitError::NonceUsed(submitter.account()).into())
}

type Sending = JoinHandle<Result<TransactionReceipt, RollupError>>;

fn spawn(submitter: &Arc<Submitter>, order: Order) -> Sending {
    let submitter = Arc::clone(submitter);
    tokio::spawn(async move { submit(&submitter, &order).await })
}

/// The hashes in the record's file, oldest first.
fn recorded(stage: &Stage) -> Outcome<Vec<B256>> {
    let contents: Value = serde_json::from_slice(&std::fs::read(stage.record())?)?;
    let sent = contents["sent"].as_array().ok_or("a list")?;
    sent.iter().map(|sent| Ok(serde_json::from_value(sent["hash"].clone())?)).collect()
}

/// Waits until the record holds this number of transactions and the Ethereum node has the newest. A transaction is recorded before it is
/// sent, so the record alone does not say which one the next block takes.
async fn until_sent(stage: &Stage, number: usize) -> Outcome<Vec<B256>> {
    for _ in 0..500 {
        if let Ok(hashes) = recorded(stage)
            && hashes.len() >= number
            && let Some(newest) = hashes.last()
            && stage.direct.get_transaction_by_hash(*newest).await?.is_some()
        {
            return Ok(hashes);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("{:?} are recorded or not all sent, not {number}", recorded(stage)?).into())
}
