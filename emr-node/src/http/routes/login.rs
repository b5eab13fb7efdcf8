//! `POST /v1/login/challenge` and `POST /v1/login`.

use axum::extract::State;
use emr_api::{LoginChallenge, LoginChallengeRequest, LoginRequest, LoginToken};

use super::{Shared, extract::Json};
use crate::http::refusal::Refusal;

pub(super) async fn challenge(
    State(app): Shared,
    Json(request): Json<LoginChallengeRequest>,
) -> Result<axum::Json<LoginChallenge>, Refusal> {
    // The signed message names this hospital, so it must have an account.
    app.hospital()?;
    Ok(axum::Json(app.logins.challenge(request.account, app.sequencer().clock.now())))
}

pub(super) async fn login(
    State(app): Shared,
    Json(request): Json<LoginRequest>,
) -> Result<axum::Json<LoginToken>, Refusal> {
    let hospital = app.hospital()?;
    let sequencer = app.sequencer();
    let known = {
        let state = sequencer.state();
        state.principal(request.account).zip(state.soft.identity(request.account).cloned())
    };
    let (principal, identity) = known.ok_or_else(|| {
        Refusal::not_found(format!("account {} is not registered, or waits for the registrar", request.account))
    })?;
    app.logins.login(&request, (principal, &identity), hospital, sequencer.clock.now()).map(axum::Json)
}
