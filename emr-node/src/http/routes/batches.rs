//! Batches: sealing on demand, and how far they got.

use axum::{Json, extract::State};
use emr_api::BatchView;

use super::{
    App, Shared,
    extract::{Account, Path},
};
use crate::{
    http::refusal::Refusal,
    mempool::{BatchRecord, BatchStage},
    pipeline::prove::Activity,
};

fn view(app: &App, record: BatchRecord) -> BatchView {
    let proving =
        matches!(*app.pipeline.activity().borrow(), Activity::Proving { batch, .. } if batch == record.number);
    let state = match record.stage {
        BatchStage::Sealed if proving => "proving",
        BatchStage::Sealed => "sealed",
        BatchStage::Proven | BatchStage::Sent => "settling",
        BatchStage::Settled => "settled",
    };
    BatchView {
        number: record.number,
        state: state.to_owned(),
        operations: record.public.n1 + record.public.n,
        public: record.public,
        prove_seconds: record.prove_seconds,
        proof_bytes: record.proof_bytes,
        gas_used: record.gas_used,
        tx_hash: record.tx_hash,
    }
}

pub(super) async fn seal(State(app): Shared, account: Account) -> Result<Json<BatchView>, Refusal> {
    app.require_hospital(&account)?;
    match app.pipeline.seal().await? {
        Some(record) => Ok(Json(view(&app, record))),
        None => Err(Refusal::refused("nothing waits for a batch")),
    }
}

pub(super) async fn get(State(app): Shared, Path(number): Path<u64>) -> Result<Json<BatchView>, Refusal> {
    let record = app.sequencer().mempool.batch(number)?;
    let record = record.ok_or_else(|| Refusal::not_found(format!("there is no batch {number} yet")))?;
    Ok(Json(view(&app, record)))
}
