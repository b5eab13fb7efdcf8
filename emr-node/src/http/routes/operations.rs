//! Submitting operations, and their status.

use axum::extract::State;
use emr_api::{OperationStatus, Receipt, Submission};
use emr_rollup::operation::{NotOperationId, OperationId};

use super::{
    Shared,
    extract::{Account, Json, Path},
};
use crate::http::refusal::Refusal;

pub(super) async fn submit(
    State(app): Shared,
    account: Account,
    Json(submission): Json<Submission>,
) -> Result<axum::Json<Receipt>, Refusal> {
    app.sequencer().submit(account.0, submission).await.map(axum::Json)
}

/// The same as [`submit`], but only for Revokes. This path has capacity that nothing else can use.
pub(super) async fn revoke(
    State(app): Shared,
    account: Account,
    Json(submission): Json<Submission>,
) -> Result<axum::Json<Receipt>, Refusal> {
    if !submission.signed.operation.action.rule().ends_rights {
        return Err(Refusal::refused("this path takes Revokes only: hand in other operations at /v1/operations"));
    }
    app.sequencer().submit(account.0, submission).await.map(axum::Json)
}

pub(super) async fn get(
    State(app): Shared,
    account: Account,
    Path(id): Path<String>,
) -> Result<axum::Json<OperationStatus>, Refusal> {
    let id: OperationId = id.parse().map_err(|error: NotOperationId| Refusal::malformed(error.to_string()))?;
    let known =
        app.sequencer().mempool.operation(id)?.filter(|known| [known.signer, known.patient].contains(&account.0));
    let known = known.ok_or_else(|| Refusal::not_found("there is no such operation of yours here"))?;
    Ok(axum::Json(known.status))
}
