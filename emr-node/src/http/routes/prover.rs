//! Work for provers elsewhere.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{
    Shared,
    extract::{Account, Body, Path},
};
use crate::http::refusal::Refusal;

pub(super) async fn job(State(app): Shared, account: Account) -> Result<Response, Refusal> {
    app.require_hospital(&account)?;
    Ok(match app.pipeline.job() {
        Some(job) => Json(&*job).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

pub(super) async fn proof(
    State(app): Shared,
    account: Account,
    Path(number): Path<u64>,
    Body(proof): Body,
) -> Result<StatusCode, Refusal> {
    app.require_hospital(&account)?;
    app.pipeline.offer(number, proof.to_vec()).await?;
    Ok(StatusCode::ACCEPTED)
}
