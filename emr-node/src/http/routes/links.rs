//! Links of the patient who is logged in.

use axum::{Extension, extract::State, http::StatusCode};
use emr_api::{LinkMade, LinkView, NewLink};
use emr_core::Role;

use super::{
    App, Shared,
    extract::{Account, Json, Path},
};
use crate::{http::limits::ClientAddress, mempool::Principal, request_error::RequestError, storage::Space};

/// The logged-in account, which must be a patient's.
fn patient(app: &App, account: &Account) -> Result<Principal, RequestError> {
    let state = app.engine().state();
    if state.soft.identity(account.index()).is_some_and(|identity| identity.role == Role::Patient) {
        return Ok(account.0);
    }
    Err(RequestError::forbidden("only patients share their records by links: log in as a patient"))
}

pub(super) async fn create(
    State(app): Shared,
    Extension(client): Extension<ClientAddress>,
    account: Account,
    Json(new): Json<NewLink>,
) -> Result<axum::Json<LinkMade>, RequestError> {
    let owner = patient(&app, &account)?;
    // The addresses in manifests begin with it.
    app.origins.check(&new.origin, client)?;
    let engine = app.engine();
    Space::ask(engine).await;
    let patients = engine.state().soft.patient_count();
    let spare = engine.quotas.spare_bytes(&engine.space.free(), patients);
    app.links.create(new, owner, spare, engine.clock.now()).await.map(axum::Json)
}

pub(super) async fn list(State(app): Shared, account: Account) -> Result<axum::Json<Vec<LinkView>>, RequestError> {
    let owner = patient(&app, &account)?;
    app.links.list(owner, app.engine().clock.now()).await.map(axum::Json)
}

pub(super) async fn get(
    State(app): Shared,
    account: Account,
    Path(number): Path<u32>,
) -> Result<axum::Json<LinkView>, RequestError> {
    app.links.view(account.0, number, app.engine().clock.now()).await.map(axum::Json)
}

pub(super) async fn end(
    State(app): Shared,
    account: Account,
    Path(number): Path<u32>,
) -> Result<StatusCode, RequestError> {
    app.links.end(account.0, number, app.engine().clock.now()).await.map(|()| StatusCode::NO_CONTENT)
}
