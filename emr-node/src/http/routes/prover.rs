//! Jobs for provers on other machines, and management of provers.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use emr_api::{NewProver, ProverView, prover::is_name};

use super::{
    Shared,
    extract::{self, Account, Body, Path, Prover},
};
use crate::{
    mempool::{KnownProver, ProverAdded},
    request_error::RequestError,
};

pub(super) async fn job(State(app): Shared, prover: Prover) -> Result<Response, RequestError> {
    prover.0.map_or(Ok(()), |name| app.limits.may_fetch_job(&name))?;
    Ok(match app.pipeline.job() {
        Some(job) => Json(&*job).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

pub(super) async fn proof(
    State(app): Shared,
    prover: Prover,
    Path(number): Path<u64>,
    Body(proof): Body,
) -> Result<StatusCode, RequestError> {
    prover.0.map_or(Ok(()), |name| app.limits.may_hand_in_proof(&name))?;
    let _permit = app.limits.verify_permit().await;
    app.pipeline.offer(number, proof.to_vec()).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(super) async fn list(State(app): Shared, account: Account) -> Result<Json<Vec<ProverView>>, RequestError> {
    app.require_hospital(&account)?;
    let provers = app.engine().mempool.provers()?;
    Ok(Json(provers.into_iter().map(|(name, known)| ProverView { name, added: known.added }).collect()))
}

pub(super) async fn add(
    State(app): Shared,
    account: Account,
    extract::Json(NewProver { name, digest }): extract::Json<NewProver>,
) -> Result<Json<ProverView>, RequestError> {
    app.require_hospital(&account)?;
    if !is_name(&name) {
        return Err(RequestError::malformed("a prover's name is 1 to 40 letters, digits, '-', '_' or '.'"));
    }
    let known = KnownProver { digest, added: app.engine().clock.now() };
    let kept = name.clone();
    match app.engine().write(move |engine| engine.mempool.add_prover(&kept, &known)).await?? {
        ProverAdded::Yes => Ok(Json(ProverView { name, added: known.added })),
        ProverAdded::NameTaken => Err(RequestError::refused(format!(
            "there is a prover {name} already: remove it first, or take another name"
        ))),
        ProverAdded::Full => Err(RequestError::refused("there are 64 provers already: remove one first")),
    }
}

pub(super) async fn remove(
    State(app): Shared,
    account: Account,
    Path(name): Path<String>,
) -> Result<StatusCode, RequestError> {
    app.require_hospital(&account)?;
    let removed = name.clone();
    if app.engine().write(move |engine| engine.mempool.remove_prover(&removed)).await?? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(RequestError::not_found(format!(
            "there is no prover of the name {name:?}: `emr-hospital prover list` shows them"
        )))
    }
}
