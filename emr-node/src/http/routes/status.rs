//! `GET /v1/status`.

use axum::{Json, extract::State};
use emr_api::{NodeHealth, NodeStatus, ProofProgress};

use super::Shared;
use crate::pipeline::prove::Activity;

pub(super) async fn get(State(app): Shared) -> Json<NodeStatus> {
    let engine = app.engine();
    let activity = app.pipeline.activity().borrow().clone();
    let progress = match activity {
        Activity::Proving { batch, since, estimate } => {
            Some(ProofProgress { batch, elapsed_ms: since.elapsed().as_millis() as u64, estimate_ms: estimate })
        }
        _ => None,
    };
    let seen = engine.clock.seen();
    let (halted, now) = (engine.halted(), engine.clock.now());
    let state = engine.state();
    let health = NodeHealth {
        now,
        halted,
        l1_block: seen.block,
        l1_block_time: seen.block_time,
        l1_reached: seen.reached,
        queues: seen.queues,
        strangers_from: seen.strangers_from,
        oldest: state.open.iter().next().map(|(_, open)| open.acknowledged),
        ended_tasks: engine.tasks.ended().iter().map(ToString::to_string).collect(),
        // As the disks said last: the sweep asks them every minute, so a stranger's request need not.
        nearly_full: engine.quotas.check_space(&engine.space.free(), state.soft.patient_count()).is_err(),
        overdue: state.open.overdue(now).count() as u64,
    };
    Json(NodeStatus {
        chain_id: engine.instance.chain_id,
        contract: engine.instance.contract,
        deployment: app.pipeline.follower.deployment.clone(),
        deployed_at: app.pipeline.follower.rollup.deployed_at(),
        circuit_version: engine.sizes.any().number,
        sizes: engine.sizes.iter().copied().collect(),
        hospital: state.hospital,
        batches: state.batches,
        state_root: state.settled.trees().root(),
        queued: state.queues.len() as u64,
        pending: state.open.len() as u64,
        activity: activity.to_string(),
        progress,
        health,
        setup: app.pipeline.proving.setup(),
    })
}
