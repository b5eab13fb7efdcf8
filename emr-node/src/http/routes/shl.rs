//! SMART Health Links, for anyone who has one: manifests and files. Viewers are web pages of other servers, so these
//! paths allow every origin. They take no login and no cookie, and what they answer depends on the address alone.

use axum::{
    extract::{Query, Request, State, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use emr_api::{LinkManifest, ManifestRequest, PasscodeRefused, url_token::UrlToken};
use serde::Deserialize;

use super::{
    Shared,
    extract::{Json, Path},
};
use crate::{
    links::Unopened,
    request_error::{RequestError, RequestErrorKind},
};

#[derive(Deserialize)]
pub(super) struct DirectQuery {
    recipient: String,
}

impl IntoResponse for Unopened {
    fn into_response(self) -> Response {
        match self {
            Self::NotOpen => {
                RequestError::not_found("there is no such link here, or it is not open any more").into_response()
            }
            Self::Passcode { remaining } => {
                let message = match remaining {
                    0 => "the passcode is wrong, and the link is closed now: ask its owner for another one",
                    _ => "the passcode is wrong or missing: ask the link's owner for it",
                };
                let problem = RequestError::new(RequestErrorKind::Unauthorized, message).problem();
                let body = PasscodeRefused { remaining_attempts: remaining, problem };
                (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response()
            }
            Self::Refused(error) => error.into_response(),
        }
    }
}

/// A token of a path. What is none gets the same answer as one that nobody made.
fn token(text: &str) -> Result<UrlToken, Unopened> {
    text.parse().map_err(|_| Unopened::NotOpen)
}

fn jose(jwe: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/jose")], jwe).into_response()
}

pub(super) async fn manifest(
    State(app): Shared,
    Path(id): Path<String>,
    Json(request): Json<ManifestRequest>,
) -> Result<axum::Json<LinkManifest>, Unopened> {
    app.links.manifest(&token(&id)?, request, app.engine().clock.now()).await.map(axum::Json)
}

pub(super) async fn direct_file(
    State(app): Shared,
    Path(id): Path<String>,
    query: Result<Query<DirectQuery>, QueryRejection>,
) -> Result<Response, Unopened> {
    let asked = query.map_err(|_| {
        Unopened::Refused(RequestError::malformed("say who opens the link: the query needs one `recipient`"))
    })?;
    app.links.direct_file(&token(&id)?, &asked.recipient, app.engine().clock.now()).await.map(jose)
}

pub(super) async fn located_file(State(app): Shared, Path(text): Path<String>) -> Result<Response, Unopened> {
    app.links.located_file(&token(&text)?, app.engine().clock.now()).await.map(jose)
}

/// What a web page may ask: the browser asks this before it sends JSON to another server.
pub(super) async fn preflight() -> Response {
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, allowed).into_response()
}

/// Lets web pages of every server read the answer, refusals too.
pub(super) async fn for_all_origins(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    response
}
