//! Submitting operations, and their status.

use axum::extract::State;
use emr_api::{OperationStatus, Receipt, Submission};
use emr_rollup::operation::OperationId;

use super::{
    Shared,
    extract::{Account, Json, Path},
};
use crate::request_error::RequestError;

pub(super) async fn submit(
    State(app): Shared,
    account: Account,
    Json(submission): Json<Submission>,
) -> Result<axum::Json<Receipt>, RequestError> {
    app.engine().submit(account.0, submission).await.map(axum::Json)
}

/// The same as [`submit`], but only for Revokes. This path has capacity that nothing else can use.
pub(super) async fn revoke(
    State(app): Shared,
    account: Account,
    Json(submission): Json<Submission>,
) -> Result<axum::Json<Receipt>, RequestError> {
    if !submission.signed.operation.action.rule().ends_rights {
        return Err(RequestError::refused("this path takes Revokes only: hand in other operations at /v1/operations"));
    }
    if submission.signed.operation.is_by_delegate() {
        return Err(RequestError::refused(
            "this path takes patients' own Revokes: hand in a delegate's at /v1/operations",
        ));
    }
    app.engine().submit(account.0, submission).await.map(axum::Json)
}

pub(super) async fn get(
    State(app): Shared,
    account: Account,
    Path(id): Path<OperationId>,
) -> Result<axum::Json<OperationStatus>, RequestError> {
    let known = app.engine().mempool.operation(id)?.filter(|known| [known.signer, known.patient].contains(&account.0));
    let known = known.ok_or_else(|| RequestError::not_found("there is no such operation of yours here"))?;
    Ok(axum::Json(known.status))
}
