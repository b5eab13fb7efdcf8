//! Extractors for handlers. Any fault in a request becomes a `Problem`.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, Request, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use emr_api::prover::ProverCredential;
use emr_core::AccountIndex;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;

use super::App;
use crate::{
    mempool::Principal,
    request_error::{RequestError, RequestErrorKind},
};

/// The account of the bearer token, with its principal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account(pub(crate) Principal);

impl FromRequestParts<Arc<App>> for Account {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, RequestError> {
        Self::of(&parts.headers, app)
    }
}

impl Account {
    /// The account's number.
    pub(crate) const fn index(&self) -> AccountIndex {
        self.0.account
    }

    /// The account that is logged in, from a request's headers.
    ///
    /// # Errors
    /// Returns `unauthorized` without a valid token, and `forbidden` for a prover's credential.
    pub(crate) fn of(headers: &HeaderMap, app: &App) -> Result<Self, RequestError> {
        let token = bearer(headers)?;
        if ProverCredential::is_meant(token) {
            return Err(RequestError::forbidden(
                "a prover's credential fetches jobs and hands in proofs, nothing else: log in with the account's identity",
            ));
        }
        let engine = app.engine();
        let state = engine.state();
        app.logins.principal_of(token, engine.clock.now(), |account| state.present(account)).map(Self)
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, RequestError> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    header.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim).ok_or_else(|| {
        RequestError::new(RequestErrorKind::Unauthorized, "log in first: the token goes into `Authorization: Bearer`")
    })
}

/// The name of a prover with a valid credential; `None` for the hospital.
#[derive(Clone, Debug)]
pub(crate) struct Prover(pub(crate) Option<String>);

impl FromRequestParts<Arc<App>> for Prover {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, RequestError> {
        let token = bearer(&parts.headers)?;
        if !ProverCredential::is_meant(token) {
            let account = Account::of(&parts.headers, app)?;
            app.require_hospital(&account)?;
            return Ok(Self(None));
        }
        // This is `forbidden` and not `unauthorized`, because the prover cannot make the credential valid again.
        let unknown =
            || RequestError::forbidden("this credential is not known here any more: ask the hospital for a new one");
        Ok(Self(Some(known_prover(token, app)?.ok_or_else(unknown)?)))
    }
}

/// The prover with this credential. The list is read from disk at each request, so a removed prover is refused at once. The credential is
/// compared with all of them, each time in constant time.
fn known_prover(token: &str, app: &App) -> Result<Option<String>, RequestError> {
    let Ok(credential) = ProverCredential::parse(token) else { return Ok(None) };
    let digest = credential.digest();
    let known =
        app.engine().mempool.provers()?.into_iter().fold(None, |found, (name, known)| {
            if bool::from(known.digest.ct_eq(&digest)) { Some(name) } else { found }
        });
    Ok(known)
}

impl Prover {
    /// The prover whose credential a request carries, if it is known.
    pub(crate) fn name_of(headers: &HeaderMap, app: &App) -> Option<String> {
        let token = bearer(headers).ok().filter(|token| ProverCredential::is_meant(token))?;
        known_prover(token, app).ok().flatten()
    }
}

/// Refuses requests without a login before their body is read.
pub(crate) async fn require_login(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match Account::of(request.headers(), &app) {
        Ok(_) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = RequestError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, RequestError> {
        // A web page could send other content types without a preflight request.
        let json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.split(';').next().is_some_and(|kind| kind.trim() == "application/json"));
        if !json {
            return Err(RequestError::malformed("the body must be application/json"));
        }
        let Body(bytes) = Body::from_request(request, app).await?;
        emr_api::json::read(&bytes)
            .map(Self)
            .map_err(|error| RequestError::malformed(format!("the body is not what this path takes: {error}")))
    }
}

/// A raw body.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) axum::body::Bytes);

impl FromRequest<Arc<App>> for Body {
    type Rejection = RequestError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, RequestError> {
        axum::body::Bytes::from_request(request, app).await.map(Self).map_err(|rejection: BytesRejection| {
            match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    RequestError::new(RequestErrorKind::TooLarge, "the body is larger than this path takes")
                }
                _ => RequestError::malformed("the body ended early"),
            }
        })
    }
}

/// Path parameters.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for Path<T> {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, RequestError> {
        let path = axum::extract::Path::from_request_parts(parts, app).await;
        path.map(|axum::extract::Path(path)| Self(path))
            .map_err(|rejection| RequestError::malformed(format!("the path is not valid: {}", rejection.body_text())))
    }
}
