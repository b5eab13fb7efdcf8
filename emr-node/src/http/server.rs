//! The common handling of all requests: time limits, refusals as `Problem` bodies, and a log without people or secrets.

use std::time::{Duration, Instant};

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::sync::watch;

use crate::{
    http::connections::{Answering, Peer},
    request_error::{RequestError, RequestErrorKind},
};

/// The time limit of a request.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// The time limit of a request that reads a whole record, or waits for L1.
const LONG_REQUEST_TIME: Duration = Duration::from_secs(600);
/// When a client whose connection was replaced may try again.
const MOMENT: Duration = Duration::from_secs(1);
/// How long a stopping node waits for requests that are being answered.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.problem())).into_response();
        if let Some(seconds) = self.retry_after_seconds() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The time limit of requests, and the signal that the node stops.
#[derive(Clone, Debug)]
pub(crate) struct TimeLimit {
    limit: Duration,
    stopped: watch::Receiver<bool>,
}

impl TimeLimit {
    /// The limit for most requests.
    pub(crate) fn short(stopped: watch::Receiver<bool>) -> Self {
        Self { limit: REQUEST_TIME, stopped }
    }

    /// The limit for requests that read a whole record, or wait for L1.
    pub(crate) fn long(stopped: watch::Receiver<bool>) -> Self {
        Self { limit: LONG_REQUEST_TIME, stopped }
    }
}

/// Ends requests that take too long. The time includes reading the body.
pub(crate) async fn limit_time(State(mut time): State<TimeLimit>, request: Request, next: Next) -> Response {
    let stopped = async {
        // An error means that the node is gone.
        let _ = time.stopped.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        response = tokio::time::timeout(time.limit, next.run(request)) => response.unwrap_or_else(|_| {
            RequestError::unavailable("the request took too long: try again later").into_response()
        }),
        () = stopped => RequestError::unavailable("the node is stopping: try again when it is back").into_response(),
    }
}

/// Reads the body under the short time limit, so that the long limit does not help slow senders.
pub(crate) async fn read_body(State(most): State<usize>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(REQUEST_TIME, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Ok(Err(_)) => plain(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => RequestError::unavailable("the request came too slowly: try again").into_response(),
    }
}

/// Logs route, status and time. Turns axum's own refusals into a `Problem`. Forbids caching.
pub(crate) async fn finish(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let answering = request.extensions().get::<ConnectInfo<Peer>>().map(|peer| peer.0.answer());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut response = tokio::select! {
        response = next.run(request) => response,
        () = gone(answering.as_ref()) => RequestError::too_many("this connection was needed for another client: try again", MOMENT).into_response(),
    };
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if !json && (response.status().is_client_error() || response.status().is_server_error()) {
        response = plain(response.status());
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    tracing::debug!(
        %method,
        route = route.as_deref().unwrap_or("none"),
        status = response.status().as_u16(),
        ms = began.elapsed().as_millis() as u64,
        "served"
    );
    response
}

/// Resolves when the connection was replaced.
async fn gone(answering: Option<&Answering>) {
    match answering {
        Some(answering) => answering.gone().await,
        None => std::future::pending().await,
    }
}

fn plain(status: StatusCode) -> Response {
    let (kind, message) = match status {
        StatusCode::NOT_FOUND => {
            (RequestErrorKind::NotFound, "there is no such path: see the interface's documentation")
        }
        StatusCode::PAYLOAD_TOO_LARGE => (RequestErrorKind::TooLarge, "the body is larger than this path takes"),
        status if status.is_server_error() => (RequestErrorKind::Unavailable, "the node failed: try again later"),
        _ => (RequestErrorKind::Malformed, "not a request of this interface"),
    };
    let mut response = RequestError::new(kind, message).into_response();
    *response.status_mut() = status;
    response
}
