//! Batches: sealing on demand, and their progress.

use axum::{Json, extract::State};
use emr_api::BatchView;

use super::{
    App, Shared,
    extract::{Account, Path},
};
use crate::{
    mempool::{BatchRecord, BatchStage},
    pipeline::prove::Activity,
    request_error::RequestError,
};

fn view(app: &App, record: BatchRecord) -> BatchView {
    let proving =
        matches!(*app.pipeline.activity().borrow(), Activity::Proving { batch, .. } if batch == record.number);
    let on_chain = record.stage.on_chain().cloned();
    let state = match &record.stage {
        BatchStage::Sealed if proving => "proving",
        BatchStage::Sealed => "sealed",
        BatchStage::Proven(_) | BatchStage::Sent(_) => "settling",
        BatchStage::Settled(_) => "settled",
    };
    let kept = record.stage.proof().map(|proof| proof.bytes.len() as u64);
    BatchView {
        number: record.number,
        state: state.to_owned(),
        operations: record.public.n1 + record.public.n,
        public: record.public,
        prove_seconds: record.stage.prove_seconds(),
        proof_bytes: kept.or(on_chain.as_ref().map(|on_chain| on_chain.proof_bytes)),
        gas_used: on_chain.as_ref().and_then(|on_chain| on_chain.gas_used),
        tx_hash: on_chain.map(|on_chain| on_chain.tx_hash),
    }
}

pub(super) async fn seal(State(app): Shared, account: Account) -> Result<Json<BatchView>, RequestError> {
    app.require_hospital(&account)?;
    match app.pipeline.seal().await? {
        Some(record) => Ok(Json(view(&app, record))),
        None => Err(RequestError::refused("nothing waits for a batch")),
    }
}

pub(super) async fn get(State(app): Shared, Path(number): Path<u64>) -> Result<Json<BatchView>, RequestError> {
    let record = app.engine().mempool.batch(number)?;
    let record = record.ok_or_else(|| RequestError::not_found(format!("there is no batch {number} yet")))?;
    Ok(Json(view(&app, record)))
}
