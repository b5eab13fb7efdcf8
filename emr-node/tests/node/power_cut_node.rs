//! A whole node on one disk that loses what was not synced: its file, its blocks, and the chain that it settles on.

use std::{path::Path, sync::Arc};

use alloy::providers::{DynProvider, Provider};
use emr_api::{BatchView, ProofJob};
use emr_chain::{Rollup, SettlementLayer, endpoint::Endpoint};
use emr_core::{Cid, Class};
use emr_devnet::EmbeddedChain;
use emr_durable::crash::{Journal, Survivors, Sync, no_sync};
use emr_ipfs::{Blockstore, DagLimits, DiskStore, walk};
use emr_node::{
    Node, NodeConfig,
    mempool::{Anchor, BatchStage, Mempool},
};
use tokio::runtime::Handle;

use crate::{settlement::prove, stage::*};

const WAYS: [Survivors; 4] = [Survivors::Nothing, Survivors::Everything, Survivors::Some(1), Survivors::Some(2)];

/// What the node and its chain acknowledged, and when.
struct Said {
    journal: Arc<Journal>,
    world: World,
    anchor: Anchor,
    /// The step after which the patient had a receipt, its operation, and its record.
    receipts: Vec<(usize, emr_rollup::operation::OperationId, Cid)>,
}

async fn anchor(rollup: &Rollup<DynProvider>) -> Outcome<Anchor> {
    let block = rollup.provider().get_block_by_number(rollup.deployed_at().into()).await?.ok_or("no block")?;
    Ok(Anchor {
        chain_id: rollup.instance().chain_id,
        contract: rollup.instance().contract.to_string(),
        deployed_at: rollup.deployed_at(),
        block_hash: block.header.hash.to_string(),
    })
}

/// A patient gets two receipts. Then the batch is sealed, proved and settled.
async fn history() -> Outcome<Said> {
    let journal = Journal::new()?;
    let (disk, root) = (journal.disk(), journal.root().to_owned());
    let chain = EmbeddedChain::open_on(&disk, &root.join("chain"), &prefunded())?;
    let world = World::on_chain(chain, &deployment(), tempfile::tempdir()?).await?;
    let hospital = world.register(&people().hospital, None).await?;
    let patient = world.register(&people().patient, None).await?;
    let blockstore = Arc::new(DiskStore::open_on(disk.clone(), root.join("blocks"))?);
    let config = NodeConfig { data_dir: root.join("node"), blockstore, ..world.config()? };
    let node = Node::start_on(disk, config).await?;
    let log_in = |person, account| Caller::log_in(node.url().clone(), world.domain(), person, account);
    let (hospital, patient) = (log_in(&people().hospital, hospital).await?, log_in(&people().patient, patient).await?);

    journal.skip();
    let mut receipts = Vec::new();
    for number in 0..2_u64 {
        journal.begin("upload");
        let record = patient.upload(&[&number.to_be_bytes()]).await?;
        journal.begin("submit");
        let submission = patient.put_record(patient.account, number, Class::Summary, &record);
        patient.submit(&submission).await?;
        receipts.push((journal.steps(), submission.signed.id(world.domain()), record));
    }
    journal.begin("seal");
    hospital.post::<BatchView>("v1/batches/seal", &()).await?;
    until(|| async { matches!(hospital.get::<Option<ProofJob>>("v1/prover/job").await, Ok(Some(_))) }).await?;
    let job = hospital.get::<Option<ProofJob>>("v1/prover/job").await?.ok_or("no job")?;
    let proof = prove(job).await?;
    journal.begin("settle");
    hospital.post_bytes("v1/prover/jobs/1", proof).await?;
    until(|| async { hospital.get::<BatchView>("v1/batches/1").await.is_ok_and(|batch| batch.state == "settled") })
        .await?;
    node.shutdown().await;
    let anchor = anchor(&world.rollup).await?;
    Ok(Said { journal, world, anchor, receipts })
}

impl Said {
    async fn check(&self, steps: usize, image: &Path) -> Outcome {
        let mempool = Mempool::open(&image.join("node"), &self.anchor)?;
        let store = DiskStore::open(image.join("blocks"))?;
        for (_, id, record) in self.receipts.iter().filter(|(receipt, ..)| *receipt <= steps) {
            mempool.operation(*id)?.ok_or("an operation with a receipt is lost")?;
            walk(&store, record, &DagLimits::default()).await?;
            if !store.pins().await?.contains(record) {
                return Err("a record with a receipt is not pinned".into());
            }
        }
        // The node notes durably that a batch may have been sent before it sends the batch to L1.
        let chain = EmbeddedChain::open(&image.join("chain"), &prefunded())?;
        let provider = Endpoint::in_process(chain.transport()).connect(None)?;
        let (contract, deployed_at) = (self.world.rollup.instance().contract, self.world.rollup.deployed_at());
        let settled = Rollup::attach(provider, contract, deployed_at).await?.head().await?.batch_count;
        let stage = mempool.batch(1)?.map(|record| record.stage);
        match (settled, stage) {
            (0, _) | (1, Some(BatchStage::Sent(_) | BatchStage::Settled(_))) => Ok(()),
            (_, stage) => Err(format!("L1 has batch 1, the node says {stage:?}").into()),
        }
    }

    fn crashes(&self, ways: &[Survivors], left_out: impl Fn(&Sync) -> bool) -> Result<(), emr_durable::crash::Harm> {
        let check = |steps: usize, image: &Path| Handle::current().block_on(self.check(steps, image));
        self.journal.check(ways, left_out, check)
    }
}

/// What a receipt promises is on disk before the receipt is given, blocks included. Before L1 can have a batch, the
/// node's file says that it was sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_said_survives_a_power_cut() -> Outcome {
    let said = history().await?;
    tokio::task::spawn_blocking(move || -> Outcome {
        said.crashes(&WAYS, no_sync)?;
        let lost = [Survivors::Nothing];
        let needed = |sync: &Sync| said.crashes(&lost, |it| it == sync).is_err();
        let syncs = said.journal.syncs();
        // Each sync of blocks is left out by itself. Of the node's file, all syncs of an acknowledgement are left out
        // together, because redb decides how many it needs.
        let of_blocks =
            |sync: &&Sync| matches!(sync.operation(), "upload" | "submit") && sync.place().starts_with("blocks/");
        let unneeded: Vec<_> =
            syncs.iter().filter(of_blocks).filter(|sync| !needed(sync)).map(Sync::to_string).collect();
        assert_eq!(unneeded, [""; 0]);
        let of_file = |sync: &Sync| sync.place() == "node/mempool.redb";
        assert!(said.crashes(&lost, |sync| sync.operation() == "submit" && of_file(sync)).is_err());
        let sent: Vec<_> =
            syncs.iter().filter(|sync| sync.operation() == "settle" && needed(sync)).map(ToString::to_string).collect();
        // The sync that belongs to `BatchStage::Sent`.
        assert!(matches!(&sent[..], [one] if one.starts_with("settle: file node/mempool.redb")), "{sent:?}");
        Ok(())
    })
    .await?
}
