//! A bug ends a task of a running node.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use alloy::{
    rpc::json_rpc::{RequestPacket, ResponsePacket},
    transports::{TransportError, TransportFut},
};
use emr_api::NodeStatus;
use emr_chain::endpoint::Endpoint;
use emr_devnet::EmbeddedTransport;
use emr_node::{Node, NodeConfig, NodeTask, TaskEnded};
use tower::Service;

use crate::stage::*;

/// The embedded chain, with a bug that a test can switch on.
#[derive(Clone)]
struct Faulty {
    chain: EmbeddedTransport,
    bug: Arc<AtomicBool>,
}

impl Service<RequestPacket> for Faulty {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        assert!(!self.bug.load(Ordering::SeqCst), "a bug");
        self.chain.call(packet)
    }
}

/// Without the task that follows L1, the node could settle nothing and would not notice. So it says so, takes only Revokes, and asks to be stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_follower_panics_says_so_and_ends() -> Outcome {
    let world = World::new().await?;
    let accounts = world.register_all().await?;
    let bug = Arc::new(AtomicBool::new(false));
    let endpoint = Endpoint::in_process(Faulty { chain: world.chain.transport(), bug: Arc::clone(&bug) });
    let node = Node::start(NodeConfig { endpoint, ..world.config()? }).await?;
    let patient = Caller::log_in(node.url().clone(), world.domain(), &people().patient, accounts.patient).await?;
    let status: NodeStatus = patient.get("v1/status").await?;
    assert_eq!((status.health.halted, status.health.ended_tasks), (None, vec![]));
    assert!(tokio::time::timeout(Duration::from_millis(700), node.failed()).await.is_err(), "nothing failed");

    bug.store(true, Ordering::SeqCst);
    let failed = tokio::time::timeout(Duration::from_secs(20), node.failed()).await?;
    assert_eq!(failed, TaskEnded(NodeTask::Follow));
    let status: NodeStatus = patient.get("v1/status").await?;
    let halted = status.health.halted.ok_or("halted")?;
    assert!(halted.contains("only Revokes") && halted.contains("follows L1"), "{halted}");
    assert_eq!(status.health.ended_tasks, ["follows L1"]);
    let record = patient.upload(&[b"late"]).await?;
    let put = patient.put_record(patient.account, 0, emr_core::Class::Summary, &record);
    let refused = patient.submit(&put).await.expect_err("no operation is taken");
    assert!(refused.to_string().contains("only Revokes"), "{refused}");

    // A stop and a start mend it.
    node.shutdown().await;
    bug.store(false, Ordering::SeqCst);
    let node = world.start().await?;
    let patient = Caller::log_in(node.url().clone(), world.domain(), &people().patient, accounts.patient).await?;
    patient.submit(&put).await?;
    node.shutdown().await;
    Ok(())
}
