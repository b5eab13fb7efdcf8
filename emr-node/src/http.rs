//! The HTTP server: limits, refusals as `Problem` bodies, and a log that names neither people nor secrets.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    serve::Listener,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use crate::refusal::{Refusal, RefusalKind};

/// How many connections are served at once; the others wait.
const CONNECTIONS: usize = 512;
/// How long a request may take in all.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// How long one may take that reads a whole record, or waits for L1.
const LONG_REQUEST_TIME: Duration = Duration::from_secs(600);
/// How long a stopping node waits for requests that are being answered.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.problem())).into_response()
    }
}

/// How long a request may take, and when it has to end early because the node stops.
#[derive(Clone, Debug)]
pub(crate) struct TimeLimit {
    limit: Duration,
    stopped: watch::Receiver<bool>,
}

impl TimeLimit {
    /// For most requests.
    pub(crate) fn short(stopped: watch::Receiver<bool>) -> Self {
        Self { limit: REQUEST_TIME, stopped }
    }

    /// For one that reads a whole record, or waits for L1.
    pub(crate) fn long(stopped: watch::Receiver<bool>) -> Self {
        Self { limit: LONG_REQUEST_TIME, stopped }
    }
}

/// Ends requests that take too long, reading their body included.
pub(crate) async fn limit_time(State(mut time): State<TimeLimit>, request: Request, next: Next) -> Response {
    let stopped = async {
        // An error means that the node is gone.
        let _ = time.stopped.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        response = tokio::time::timeout(time.limit, next.run(request)) => response.unwrap_or_else(|_| {
            Refusal::unavailable("the request took too long: try again later").into_response()
        }),
        () = stopped => Refusal::unavailable("the node is stopping: try again when it is back").into_response(),
    }
}

/// Logs route, status and time; turns what axum itself refuses into a `Problem`; forbids caching.
pub(crate) async fn finish(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut response = next.run(request).await;
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

fn plain(status: StatusCode) -> Response {
    let (kind, message) = match status {
        StatusCode::NOT_FOUND => (RefusalKind::NotFound, "there is no such path: see the interface's documentation"),
        StatusCode::PAYLOAD_TOO_LARGE => (RefusalKind::TooLarge, "the body is larger than this path takes"),
        status if status.is_server_error() => (RefusalKind::Unavailable, "the node failed: try again later"),
        _ => (RefusalKind::Malformed, "not a request of this interface"),
    };
    let mut response = Refusal::new(kind, message).into_response();
    *response.status_mut() = status;
    response
}

/// Accepts a bounded number of connections.
#[derive(Debug)]
pub(crate) struct BoundedListener {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl BoundedListener {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(CONNECTIONS)) }
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The semaphore is never closed; without a permit the connection would merely go uncounted.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let _ = stream.set_nodelay(true);
        (Connection { stream, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    _permit: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
