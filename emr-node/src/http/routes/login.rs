//! `POST /v1/login/challenge` and `POST /v1/login`.

use axum::{Extension, extract::State};
use emr_api::{LoginChallenge, LoginChallengeRequest, LoginRequest, LoginToken};

use super::{Shared, extract::Json};
use crate::{http::limits::ClientAddress, request_error::RequestError};

pub(super) async fn challenge(
    State(app): Shared,
    Json(request): Json<LoginChallengeRequest>,
) -> Result<axum::Json<LoginChallenge>, RequestError> {
    // The signed message names this hospital, so it must have an account.
    app.hospital()?;
    Ok(axum::Json(app.logins.challenge(request.account, app.engine().clock.now())))
}

pub(super) async fn login(
    State(app): Shared,
    Extension(client): Extension<ClientAddress>,
    Json(request): Json<LoginRequest>,
) -> Result<axum::Json<LoginToken>, RequestError> {
    let hospital = app.hospital()?;
    app.origins.check(&request.origin, client)?;
    let engine = app.engine();
    let known = {
        let state = engine.state();
        state.principal(request.account).zip(state.soft.identity(request.account).cloned())
    };
    let (principal, identity) = known.ok_or_else(|| {
        RequestError::not_found(format!("account {} is not registered, or waits for the registrar", request.account))
    })?;
    app.logins.login(&request, (principal, &identity), hospital, engine.clock.now()).map(axum::Json)
}
