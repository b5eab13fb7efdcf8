//! A node that starts from its snapshots, on a real anvil: what it reads of L1, and reorganisations of any depth.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use alloy::primitives::U64;
use emr_api::{BatchView, NodeStatus, OperationStatus, ProofJob, RecordSummary, Submission};
use emr_chain::SettlementLayer;
use emr_core::{AccountIndex, Class, StateRoot};
use emr_node::{Node, NodeConfig, RunningNode};
use serde_json::{Value, json};

use crate::{settlement::prove, stage::*};

/// The first block of which an Ethereum node still has transactions and logs.
static PRUNED_BELOW: AtomicU64 = AtomicU64::new(0);

/// Refuses what an Ethereum node that pruned its history cannot answer.
fn prunes(request: &Value, answer: &mut Value) {
    let below = PRUNED_BELOW.load(Ordering::SeqCst);
    let is_pruned = |block: &Value| {
        let number: Option<U64> = serde_json::from_value(block.clone()).ok();
        number.is_some_and(|number| number < U64::from(below))
    };
    match request["method"].as_str() {
        Some("eth_getLogs") if is_pruned(&request["params"][0]["fromBlock"]) => {
            *answer = json!({
                "jsonrpc": "2.0",
                "id": request["id"],
                "error": { "code": -32000, "message": "pruned history unavailable" },
            });
        }
        Some("eth_getTransactionByHash" | "eth_getTransactionReceipt")
            if is_pruned(&answer["result"]["blockNumber"]) =>
        {
            answer["result"] = Value::Null;
        }
        _ => {}
    }
}

/// A hospital whose Ethereum node prunes.
struct Pruned {
    testnet: Testnet,
    liar: Liar,
    patient: AccountIndex,
    written: Vec<Submission>,
}

/// What a node says about everything.
#[derive(Debug, PartialEq)]
struct Says {
    batches: u64,
    root: StateRoot,
    waiting: (u64, u64),
    operations: Vec<OperationStatus>,
    records: Vec<RecordSummary>,
}

impl Pruned {
    async fn new() -> Outcome<Option<Self>> {
        let Some(testnet) = Testnet::new().await? else { return Ok(None) };
        let patient = testnet.register(&people().patient).await?;
        let liar = Liar::before(testnet.endpoint()).await?;
        Ok(Some(Self { testnet, liar, patient, written: Vec::new() }))
    }

    fn config(&self) -> Outcome<NodeConfig> {
        Ok(NodeConfig { endpoint: self.liar.endpoint(), ..self.testnet.config()? })
    }

    async fn start(&self) -> Outcome<RunningNode> {
        Ok(Node::start(self.config()?).await?)
    }

    async fn mine(&self, blocks: u64) -> Outcome {
        self.testnet.anvil::<Value>("anvil_mine", [blocks]).await?;
        self.pass(blocks).await
    }

    /// Blocks that come at once are a second apart. anvil's clock follows them, so that the next block is not too early for a batch.
    async fn pass(&self, seconds: u64) -> Outcome {
        self.testnet.anvil::<Value>("evm_increaseTime", [seconds]).await?;
        Ok(())
    }

    /// L1 takes back its newest blocks, and has as many others instead.
    async fn reorganise(&self, depth: u64) -> Outcome {
        self.testnet.anvil::<Value>("anvil_reorg", (depth, Vec::<Value>::new())).await?;
        self.pass(depth).await
    }

    /// From now on, nothing can be read of the blocks below that of a snapshot, which its header names.
    fn prune_below(&self, batches: u64) -> Outcome {
        let bytes = fs::read(self.snapshots()?.join(format!("{batches}.snapshot")))?;
        let block = bytes.get(164..172).ok_or("a header")?.try_into()?;
        PRUNED_BELOW.store(u64::from_be_bytes(block), Ordering::SeqCst);
        self.liar.tell(Some(prunes));
        Ok(())
    }

    /// The patient writes a record, which waits.
    async fn write(&mut self, node: &RunningNode) -> Outcome {
        let hers = self.patient(node).await?;
        let slot = self.written.len() as u64;
        let record = hers.upload(&[&slot.to_be_bytes()]).await?;
        let put = hers.put_record(self.patient, slot, Class::Summary, &record);
        hers.submit(&put).await?;
        self.written.push(put);
        Ok(())
    }

    /// Writes a record, and settles a batch of everything that waits.
    async fn settle(&mut self, node: &RunningNode) -> Outcome {
        self.write(node).await?;
        let operator = self.testnet.operator(node).await?;
        let sealed: BatchView = operator.post("v1/batches/seal", &()).await?;
        let waits = || async { matches!(operator.get::<Option<ProofJob>>("v1/prover/job").await, Ok(Some(_))) };
        until(waits).await.map_err(|error| format!("the job of batch {}: {error}", sealed.number))?;
        let job = operator.get::<Option<ProofJob>>("v1/prover/job").await?.ok_or("a job")?;
        operator.post_bytes(&format!("v1/prover/jobs/{}", sealed.number), prove(job).await?).await?;
        let path = format!("v1/batches/{}", sealed.number);
        let path = path.as_str();
        let settled = || async { operator.get::<BatchView>(path).await.is_ok_and(|batch| batch.state == "settled") };
        until(settled).await.map_err(|error| format!("the settlement of batch {}: {error}", sealed.number).into())
    }

    /// An orderly stop, which writes a snapshot, and the next start.
    async fn restart(&self, node: RunningNode) -> Outcome<RunningNode> {
        node.shutdown().await;
        self.start().await
    }

    async fn patient(&self, node: &RunningNode) -> Outcome<Caller> {
        Caller::log_in(node.url().clone(), self.testnet.domain(), &people().patient, self.patient).await
    }

    async fn says(&self, node: &RunningNode) -> Outcome<Says> {
        let hers = self.patient(node).await?;
        let status: NodeStatus = hers.get("v1/status").await?;
        let mut operations = Vec::new();
        for put in &self.written {
            operations.push(hers.get(&format!("v1/operations/{}", put.signed.id(self.testnet.domain()))).await?);
        }
        Ok(Says {
            batches: status.batches,
            root: status.state_root,
            waiting: (status.pending, status.queued),
            operations,
            records: hers.get(&format!("v1/patients/{}/records", self.patient)).await?,
        })
    }

    /// What a node says that has the same file, no snapshots, and an Ethereum node with the whole history.
    async fn derived_afresh(&self) -> Outcome<Says> {
        let config = self.testnet.config()?;
        let folder = tempfile::tempdir()?;
        // Without the record of its transactions, this node sends none.
        fs::copy(config.data_dir.join("mempool.redb"), folder.path().join("mempool.redb"))?;
        let node = Node::start(NodeConfig { data_dir: folder.path().to_owned(), ..config }).await?;
        let says = self.says(&node).await?;
        node.shutdown().await;
        Ok(says)
    }

    fn snapshots(&self) -> Outcome<std::path::PathBuf> {
        Ok(self.testnet.config()?.data_dir.join("snapshots"))
    }
}

fn files(folder: &Path) -> Outcome<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<_> = names.collect::<Outcome<_>>()?;
    names.sort();
    Ok(names)
}

/// The two tests share [`PRUNED_BELOW`], so they run one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_from_its_snapshots() -> Outcome {
    what_a_snapshot_holds_is_not_read_from_l1_again().await?;
    any_reorganisation_ends_as_if_derived_afresh().await
}

async fn what_a_snapshot_holds_is_not_read_from_l1_again() -> Outcome {
    let Some(mut hospital) = Pruned::new().await? else { return Ok(()) };
    let node = hospital.start().await?;
    hospital.settle(&node).await?;
    hospital.mine(3).await?;
    hospital.settle(&node).await?;
    hospital.mine(3).await?;
    hospital.write(&node).await?;
    let before = hospital.says(&node).await?;
    node.shutdown().await;
    assert_eq!(files(&hospital.snapshots()?)?, ["2.snapshot"]);

    hospital.prune_below(2)?;
    let node = hospital.start().await?;
    assert_eq!(hospital.says(&node).await?, before);
    // It goes on as before, and the next snapshot comes with the next batch.
    hospital.settle(&node).await?;
    let after = hospital.says(&node).await?;
    assert_eq!(after.batches, 3);
    node.shutdown().await;
    assert_eq!(files(&hospital.snapshots()?)?, ["2.snapshot", "3.snapshot"]);
    assert_eq!(hospital.derived_afresh().await?, after);

    // A damaged snapshot: the older one is used. It needs more of L1, but not everything.
    let newest = hospital.snapshots()?.join("3.snapshot");
    let mut bytes = fs::read(&newest)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, &bytes)?;
    let node = hospital.start().await?;
    assert_eq!(hospital.says(&node).await?, after);
    node.shutdown().await;

    // Without snapshots, this Ethereum node is not enough.
    fs::remove_dir_all(hospital.snapshots()?)?;
    let error = hospital.start().await.map(drop).expect_err("the history is needed");
    assert!(error.to_string().contains("pruned history"), "{error}");
    hospital.liar.tell(None);
    let node = hospital.start().await?;
    assert_eq!(hospital.says(&node).await?, after);
    node.shutdown().await;
    Ok(())
}

async fn status(hospital: &Pruned, node: &RunningNode) -> Outcome<NodeStatus> {
    let anyone = Caller::anonymous(node.url().clone(), hospital.testnet.domain(), &people().patient, hospital.patient);
    Ok(anyone.get("v1/status").await?)
}

/// The Ethereum node has nothing below the first snapshot. So each derivation begins with one.
async fn any_reorganisation_ends_as_if_derived_afresh() -> Outcome {
    let Some(mut hospital) = Pruned::new().await? else { return Ok(()) };
    let mut node = hospital.start().await?;
    hospital.settle(&node).await?;
    node = hospital.restart(node).await?;
    hospital.prune_below(1)?;
    hospital.mine(70).await?;
    for (depth, between) in [(1, 0), (3, 1), (10, 7), (64, 50)] {
        hospital.settle(&node).await?;
        node = hospital.restart(node).await?;
        if between > 0 {
            hospital.mine(between).await?;
            hospital.settle(&node).await?;
            node = hospital.restart(node).await?;
        }
        let before = status(&hospital, &node).await?.batches;
        hospital.reorganise(depth).await?;
        let on_l1 = hospital.testnet.rollup.head().await?;
        assert!(on_l1.batch_count < before, "{depth}: L1 took no batch back");
        until(|| async {
            let now = status(&hospital, &node).await;
            now.is_ok_and(|now| (now.batches, now.state_root) == (on_l1.batch_count, on_l1.state_root))
        })
        .await
        .map_err(|error| format!("depth {depth}: {error}"))?;
        let says = hospital.says(&node).await?;
        node.shutdown().await;
        assert_eq!(hospital.derived_afresh().await?, says, "depth {depth}");
        node = hospital.start().await?;
        assert_eq!(hospital.says(&node).await?, says, "depth {depth}, after a start");
    }
    // Everything that was acknowledged is settled in the end.
    hospital.settle(&node).await?;
    let says = hospital.says(&node).await?;
    assert!(says.operations.iter().all(|status| matches!(status, OperationStatus::Settled { .. })), "{says:?}");
    node.shutdown().await;
    Ok(())
}
