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
    http::refusal::Refusal,
    mempool::{KnownProver, ProverAdded},
};

pub(super) async fn job(State(app): Shared, prover: Prover) -> Result<Response, Refusal> {
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
) -> Result<StatusCode, Refusal> {
    prover.0.map_or(Ok(()), |name| app.limits.may_hand_in_proof(&name))?;
    let _turn = app.limits.verify_turn().await;
    app.pipeline.offer(number, proof.to_vec()).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(super) async fn list(State(app): Shared, account: Account) -> Result<Json<Vec<ProverView>>, Refusal> {
    app.require_hospital(&account)?;
    let provers = app.sequencer().mempool.provers()?;
    Ok(Json(provers.into_iter().map(|(name, known)| ProverView { name, added: known.added }).collect()))
}

pub(super) async fn add(
    State(app): Shared,
    account: Account,
    extract::Json(NewProver { name, digest }): extract::Json<NewProver>,
) -> Result<Json<ProverView>, Refusal> {
    app.require_hospital(&account)?;
    if !is_name(&name) {
        return Err(Refusal::malformed("a prover's name is 1 to 40 letters, digits, '-', '_' or '.'"));
    }
    let mut known = KnownProver { digest: [0; 32], added: app.sequencer().clock.now() };
    hex::decode_to_slice(&digest, &mut known.digest)
        .map_err(|_| Refusal::malformed("the digest of a credential is 64 hex digits"))?;
    let kept = name.clone();
    match app.sequencer().write(move |sequencer| sequencer.mempool.add_prover(&kept, &known)).await?? {
        ProverAdded::Yes => Ok(Json(ProverView { name, added: known.added })),
        ProverAdded::NameTaken => {
            Err(Refusal::refused(format!("there is a prover {name} already: remove it first, or take another name")))
        }
        ProverAdded::Full => Err(Refusal::refused("there are 64 provers already: remove one first")),
    }
}

pub(super) async fn remove(
    State(app): Shared,
    account: Account,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    app.require_hospital(&account)?;
    let removed = name.clone();
    if app.sequencer().write(move |sequencer| sequencer.mempool.remove_prover(&removed)).await?? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refusal::not_found(format!(
            "there is no prover of the name {name:?}: `emr-hospital prover list` shows them"
        )))
    }
}
