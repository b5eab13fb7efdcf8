//! Starts, runs and stops a whole node.

use std::{net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use alloy::signers::local::PrivateKeySigner;
use emr_chain::{
    DeploymentRecord, Head, Rollup,
    endpoint::Endpoint,
    header::Finality,
    submitter::{Pace, Submitter, SubmitterConfig},
};
use emr_core::Origin;
use emr_durable::Disk;
use emr_ipfs::Blockstore;
use emr_rollup::operation::Domain;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use url::Url;

use crate::{
    derivation::{SettledLedger, derive},
    engine::{Engine, EngineParts},
    http::{
        FairListener, Peer,
        limits::Limits,
        origins::Origins,
        routes::{App, router},
        server::GRACE,
    },
    l1::{
        clock::Clock,
        follow::{self, FollowError, Follower, Position},
        read::{Reader, Start},
    },
    links::{self, Links},
    mempool::{Anchor, Mempool},
    pipeline::Pipeline,
    pipeline::policy::SealPolicy,
    pipeline::prove::{Activity, ProverConfig, Proving},
    snapshot::{RollupId, Snapshots},
    start_check::{self, StartError},
    state::NodeState,
    storage::{self, Space, quota::Quotas},
    tasks::{NodeTask, TaskEnded},
};

/// How often the node reads L1: if L1 is on this machine, and otherwise.
const FOLLOW_HERE: Duration = Duration::from_millis(500);
const FOLLOW_ELSEWHERE: Duration = Duration::from_secs(4);
/// How long an orderly stop waits for its snapshot.
const SNAPSHOT_AT_STOP: Duration = Duration::from_secs(60);

/// The configuration of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The folder of the node's durable data. One node at a time can use it.
    pub data_dir: PathBuf,
    /// The address to listen on. Port 0 chooses a free port. Use a reverse proxy for TLS and for the open internet.
    pub listen: SocketAddr,
    /// The L1.
    pub endpoint: Endpoint,
    /// Its chain id. The node does not start with another chain.
    pub chain_id: u64,
    /// What the rollup was made from, which also gives its address.
    pub deployment: DeploymentRecord,
    /// The block of its deployment.
    pub deployed_at: u64,
    /// The block store.
    pub blockstore: Arc<dyn Blockstore>,
    /// The hospital's Ethereum key. It settles, relays registrations and signs receipts.
    pub hospital: PrivateKeySigner,
    /// Which blocks of L1 are final. A grant opens nothing before its block is, and nothing that a reorganisation could take back opens anything.
    pub finality: Finality,
    /// The most that this key pays per gas, in wei. `None` is ten times the usual base fee, and at least
    /// [`Submitter::LEAST_DEFAULT_LIMIT`].
    pub max_fee: Option<u128>,
    /// Whether this node proves, and its key folder.
    pub prover: ProverConfig,
    /// When to seal batches.
    pub seal: SealPolicy,
    /// The limits of the HTTP service.
    pub limits: Limits,
    /// The addresses at which clients reach the node, if they differ from `listen`: behind a reverse proxy, or if
    /// `listen` is all addresses of this machine. A login counts only if the client signed one of them, so that a
    /// hostile node cannot pass it on.
    pub origins: Vec<Origin>,
}

/// Starts nodes.
#[derive(Debug)]
pub struct Node;

/// A running node. Dropping it stops it without waiting. [`RunningNode::shutdown`] waits.
#[derive(Debug)]
pub struct RunningNode {
    url: Url,
    pipeline: Arc<Pipeline>,
    links: Arc<Links>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    workers: Vec<JoinHandle<()>>,
}

impl Node {
    /// Starts a node: checks chain and contract, computes the state from L1 and compares it with L1's root, then
    /// serves.
    ///
    /// # Errors
    /// Returns [`StartError`] if any of this fails. A later start then finds everything that it needs.
    pub async fn start(config: NodeConfig) -> Result<RunningNode, StartError> {
        Self::start_on(Disk::default(), config).await
    }

    /// The same as [`Self::start`], with the node's file on a disk that a test can observe.
    ///
    /// # Errors
    /// The same as [`Self::start`].
    pub fn start_on(
        disk: Disk,
        config: NodeConfig,
    ) -> Pin<Box<dyn Future<Output = Result<RunningNode, StartError>> + Send>> {
        // Boxed: otherwise every crate that starts a node compiles all of it again.
        Box::pin(start(disk, config))
    }
}

async fn start(disk: Disk, config: NodeConfig) -> Result<RunningNode, StartError> {
    let NodeConfig { endpoint, hospital, .. } = &config;
    let provider = endpoint.connect(Some(hospital.clone()))?;
    endpoint.expect_chain_id(&provider, config.chain_id).await?;
    let contract = config.deployment.contract().ok_or(StartError::NoContract)?;
    let rollup = Rollup::attach(provider, contract, config.deployed_at).await?;
    // First: if the sizes change while the node starts, it notices that later.
    let sizes_revision = rollup.sizes_revision().await?;
    let parameters = rollup.parameters().await?;
    let sizes = start_check::parameters(&parameters, hospital.address())?;
    start_check::verifiers(&parameters, &sizes, &config).await?;
    let deployment = follow::block(rollup.provider(), config.deployed_at).await?;
    let (block_hash, _) = deployment.ok_or(FollowError::Block(config.deployed_at))?;
    let anchor = Anchor {
        chain_id: config.chain_id,
        contract: contract.to_string(),
        deployed_at: config.deployed_at,
        block_hash: block_hash.to_string(),
    };
    let (data_dir, sending) = (config.data_dir.clone(), submitter_config(&config)?);
    // The mempool comes first: it makes the folder, and keeps other nodes out of it.
    let snapshot_disk = disk.clone();
    let links = Arc::new(Links::new(disk.clone(), &config.data_dir));
    let opened = tokio::task::spawn_blocking(move || {
        let mempool = Mempool::open_on(disk.clone(), &data_dir, &anchor)?;
        Ok::<_, StartError>((mempool, Submitter::open(disk, sending)?))
    });
    let (mempool, submitter) = opened.await.map_err(|_| StartError::Stopped)??;
    let rollup = rollup.with_submitter(Arc::new(submitter));

    let clock = Clock::new(matches!(endpoint, Endpoint::InProcess(_)));
    let instance = *rollup.instance();
    let id = RollupId { chain_id: config.chain_id, contract, deployed_at: config.deployed_at, block_hash };
    let snapshots = Arc::new(Snapshots::open(snapshot_disk, &config.data_dir, id));
    let domain = Domain::new(instance.chain_id, instance.contract.into_array());
    let genesis = SettledLedger { resized: sizes_revision > 0, ..SettledLedger::genesis(domain, Arc::clone(&sizes)) };
    let reader = Reader {
        rollup: &rollup,
        clock: &clock,
        hospital: hospital.address(),
        finality: config.finality,
        snapshots: &snapshots,
        genesis,
    };
    let Derived { mempool, state, position, head } = derive_first(mempool, &reader).await?;
    tracing::info!(batches = state.batches, open = state.open.len(), "state derived from L1");

    let engine = Arc::new(Engine::new(EngineParts {
        mempool,
        snapshots,
        blockstore: Arc::clone(&config.blockstore),
        clock,
        instance,
        sizes,
        signer: hospital.clone(),
        state,
        quotas: Quotas::DEFAULT,
    }));
    Space::ask(&engine).await;
    let follower = Follower::new(rollup, &config, sizes_revision, position, &head);
    let proving = Proving::new(config.prover.clone());
    let (pipeline, proofs) = Pipeline::new(engine, follower, proving, config.seal);
    serve(config, Arc::new(pipeline), links, proofs).await
}

/// What a start derived.
struct Derived {
    mempool: Mempool,
    state: NodeState,
    position: Position,
    head: Head,
}

/// Derives the state from the newest snapshot that can be used, and compares it with L1's root.
async fn derive_first(mempool: Mempool, reader: &Reader<'_>) -> Result<Derived, StartError> {
    let (mut mempool, mut below) = (mempool, None);
    loop {
        let known_gas = |number| {
            let record = mempool.batch(number).ok().flatten();
            record.is_some_and(|record| record.stage.on_chain().is_some_and(|on_chain| on_chain.gas_used.is_some()))
        };
        let Start { base, l1, position, head } = reader.read(below, known_gas).await?;
        let batches = base.batches;
        let derived = tokio::task::spawn_blocking(move || {
            let state = derive(&mempool, base, l1);
            (mempool, state)
        });
        let (derived_on, state) = derived.await.map_err(|_| StartError::Stopped)?;
        mempool = derived_on;
        let state = match state {
            Err(error) if batches > 0 && error.may_be_the_snapshot() => {
                tracing::warn!(batches, %error, "a snapshot is not used; an older one is tried");
                below = Some(batches);
                continue;
            }
            state => state.map_err(FollowError::from)?,
        };
        if state.settled.trees().root() != head.state_root {
            return Err(FollowError::StateRoot(head.batch_count).into());
        }
        reader.snapshots.derived_from(batches);
        return Ok(Derived { mempool, state, position, head });
    }
}

/// The file of the transaction that the hospital's account sends, in the node's folder.
pub(crate) const TRANSACTION: &str = "transaction.json";

fn submitter_config(config: &NodeConfig) -> Result<SubmitterConfig, StartError> {
    Ok(SubmitterConfig {
        provider: config.endpoint.connect(None)?,
        chain_id: config.chain_id,
        signer: config.hospital.clone(),
        record: config.data_dir.join(TRANSACTION),
        max_fee: config.max_fee,
        pace: if config.endpoint.is_this_machine() { Pace::THIS_MACHINE } else { Pace::MAINNET },
    })
}

async fn serve(
    config: NodeConfig,
    pipeline: Arc<Pipeline>,
    links: Arc<Links>,
    proofs: crate::pipeline::Proofs,
) -> Result<RunningNode, StartError> {
    let failed = |source| StartError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let url = format!("http://{address}/").parse();
    let url = url.map_err(|_| failed(std::io::Error::other("not a usable address")))?;
    let (stop, mut stopped) = watch::channel(false);
    let origins = Origins::new(config.origins, address);
    let app =
        router(Arc::new(App::new(Arc::clone(&pipeline), Arc::clone(&links), &config.limits, origins)), stopped.clone());
    let app = app.into_make_service_with_connect_info::<Peer>();
    let connections = config.limits.connections;
    let tasks = Arc::clone(&pipeline.engine.tasks);
    let serving = async move {
        let ended = async move {
            // An error means that the handle was dropped.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        // Serving ends only through `ended`.
        let _ = axum::serve(FairListener::new(listener, connections), app).with_graceful_shutdown(ended).await;
    };
    let server = tasks.spawn(NodeTask::Serve, stop.subscribe(), serving);
    let every = if config.endpoint.is_this_machine() { FOLLOW_HERE } else { FOLLOW_ELSEWHERE };
    let (following, running) = (Arc::clone(&pipeline), Arc::clone(&pipeline));
    let workers = vec![
        tasks.spawn(NodeTask::Follow, stop.subscribe(), async move { following.follow(every).await }),
        tasks.spawn(NodeTask::Settle, stop.subscribe(), async move { running.run(proofs).await }),
        tasks.spawn(NodeTask::Sweep, stop.subscribe(), storage::run(Arc::clone(&pipeline.engine))),
        tasks.spawn(NodeTask::Sweep, stop.subscribe(), links::run(Arc::clone(&links), Arc::clone(&pipeline.engine))),
    ];
    tracing::info!(%url, "serving");
    Ok(RunningNode { url, pipeline, links, stop, server, workers })
}

impl RunningNode {
    /// The URL of the node.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The node's activity, as it changes.
    pub fn activity(&self) -> watch::Receiver<Activity> {
        self.pipeline.activity()
    }

    /// Resolves if a bug has ended a task without which the node keeps no promise. Until it is stopped, the node then serves what it has
    /// and accepts only Revokes. Stop it and start it again.
    pub fn failed(&self) -> impl Future<Output = TaskEnded> + Send + use<> {
        Arc::clone(&self.pipeline.engine.tasks).failed()
    }

    /// Stops the node. It accepts no new requests, and gives running ones a moment. The next start continues unfinished
    /// work.
    ///
    /// This returns after a few seconds at most, and up to a minute later while the node writes a large snapshot. By then another node can use the folder, unless the disk or a
    /// derivation of the state takes longer: a warning says so. Then the folder is free when that work ends, or when
    /// the process ends, which loses nothing.
    pub fn shutdown(self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.stopped())
    }

    async fn stopped(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(GRACE * 2, &mut self.server).await.is_err() {
            self.server.abort();
        }
        for worker in &self.workers {
            worker.abort();
        }
        for worker in self.workers.drain(..) {
            // The worker was aborted, or has ended.
            let _ = worker.await;
        }
        let snapshot = self.pipeline.follower.snapshot_at_stop(&self.pipeline.engine);
        if tokio::time::timeout(SNAPSHOT_AT_STOP, snapshot).await.is_err() {
            tracing::warn!(
                "the snapshot at the stop takes too long; if the process ends first, the next start takes longer"
            );
        }
        // Waits until pending writes are complete and the file is closed.
        let (closed, links_closed) = (self.pipeline.engine.closed(), self.links.closed());
        drop(self);
        let closed = async { tokio::join!(closed, links_closed) };
        if tokio::time::timeout(GRACE * 2, closed).await.is_err() {
            tracing::warn!(
                "a file of the node is still in use by work that cannot be interrupted; it is free when this process ends"
            );
        }
    }
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        self.server.abort();
        for worker in &self.workers {
            worker.abort();
        }
    }
}
