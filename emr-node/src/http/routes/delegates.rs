//! Grants by delegates, and what delegates need to change grants.

use axum::{Json, extract::State};
use emr_api::{DelegatedGrant, ManagedGrants};
use emr_core::AccountIndex;

use super::{
    Shared,
    extract::{Account, Path},
    patients::medical_proof,
};
use crate::request_error::RequestError;

/// The grants that delegates gave.
pub(super) async fn given(
    State(app): Shared,
    account: Account,
    Path(patient): Path<AccountIndex>,
) -> Result<Json<Vec<DelegatedGrant>>, RequestError> {
    let engine = app.engine();
    let now = engine.clock.now();
    let state = engine.state().clone();
    state.delegated_grants(account.index(), patient, now, &engine.mempool).map(Json)
}

/// The grants that a delegate may change.
pub(super) async fn managed(
    State(app): Shared,
    account: Account,
    Path(patient): Path<AccountIndex>,
) -> Result<Json<ManagedGrants>, RequestError> {
    let engine = app.engine();
    let now = engine.clock.now();
    let state = engine.state();
    state.managed_grants(account.index(), patient, now, medical_proof(&state, patient)).map(Json)
}
