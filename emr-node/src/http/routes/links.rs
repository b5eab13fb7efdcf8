//! Links of the patient who is logged in, and what the hospital sees of all links.

use axum::{
    Extension,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use emr_api::{LinkMade, LinkView, LinksPage, NewLink};
use emr_core::{AccountIndex, Role};
use serde::Deserialize;

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

#[derive(Deserialize)]
pub(super) struct From {
    from: Option<AccountIndex>,
}

pub(super) async fn page(
    State(app): Shared,
    account: Account,
    query: Result<Query<From>, QueryRejection>,
) -> Result<axum::Json<LinksPage>, RequestError> {
    app.require_hospital(&account)?;
    let Query(From { from }) = query.map_err(|_| RequestError::malformed("`from` is the number of an account"))?;
    app.links.page(from, app.engine().clock.now()).await.map(axum::Json)
}

pub(super) async fn end_for_hospital(
    State(app): Shared,
    account: Account,
    Path((owner, number)): Path<(AccountIndex, u32)>,
) -> Result<StatusCode, RequestError> {
    app.require_hospital(&account)?;
    app.links.end_for_hospital(owner, number, app.engine().clock.now()).await.map(|()| StatusCode::NO_CONTENT)
}

pub(super) async fn end(
    State(app): Shared,
    account: Account,
    Path(number): Path<u32>,
) -> Result<StatusCode, RequestError> {
    app.links.end(account.0, number, app.engine().clock.now()).await.map(|()| StatusCode::NO_CONTENT)
}
