//! What handlers take out of requests; whatever is wrong becomes a `Problem`.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, Request, State, rejection::BytesRejection},
    http::{StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use emr_core::AccountIndex;
use serde::de::DeserializeOwned;

use super::App;
use crate::http::refusal::{Refusal, RefusalKind};

/// The account that the bearer token is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account(pub(crate) AccountIndex);

impl FromRequestParts<Arc<App>> for Account {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(|| {
            Refusal::new(RefusalKind::Unauthorized, "log in first: the token goes into `Authorization: Bearer`")
        })?;
        let sequencer = app.sequencer();
        let state = sequencer.state();
        let identity = |account| state.soft.identity(account).map(|leaf| leaf.hash());
        app.logins.account_of(token.trim(), sequencer.clock.now(), identity).map(Self)
    }
}

/// Refuses requests without a login before their body is read.
pub(crate) async fn require_login(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match Account::from_request_parts(&mut parts, &app).await {
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        // Other types a web page could send without asking.
        let json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.split(';').next().is_some_and(|kind| kind.trim() == "application/json"));
        if !json {
            return Err(Refusal::malformed("the body must be application/json"));
        }
        let Body(bytes) = Body::from_request(request, app).await?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Refusal::malformed(format!("the body is not what this path takes: {error}")))
    }
}

/// A body as it is.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) axum::body::Bytes);

impl FromRequest<Arc<App>> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        axum::body::Bytes::from_request(request, app).await.map(Self).map_err(|rejection: BytesRejection| {
            match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    Refusal::new(RefusalKind::TooLarge, "the body is larger than this path takes")
                }
                _ => Refusal::malformed("the body ended early"),
            }
        })
    }
}

/// Path parameters.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let path = axum::extract::Path::from_request_parts(parts, app).await;
        path.map(|axum::extract::Path(path)| Self(path))
            .map_err(|rejection| Refusal::malformed(format!("the path is not valid: {}", rejection.body_text())))
    }
}
