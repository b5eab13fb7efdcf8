//! The HTTP server: limits, refusals as `Problem` bodies, and a log that names neither people nor secrets.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{ConnectInfo, MatchedPath, Request, State, connect_info::Connected},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Sleep,
};

use crate::http::refusal::{Refusal, RefusalKind};

/// How many connections are served at once; the others wait.
const CONNECTIONS: usize = 512;
/// How long a connection may do nothing: 10 s until the first request, 30 s afterwards.
const PATIENCE: Patience = Patience { first_head: Duration::from_secs(10), idle: Duration::from_secs(30) };
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

/// Reads the body before a request gets long to answer: that time is not for whoever sends slowly.
pub(crate) async fn read_body(State(most): State<usize>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(REQUEST_TIME, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Ok(Err(_)) => plain(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Refusal::unavailable("the request came too slowly: try again").into_response(),
    }
}

/// Logs route, status and time; turns what axum itself refuses into a `Problem`; forbids caching.
pub(crate) async fn finish(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let _answering = request.extensions().get::<ConnectInfo<Paced>>().map(|paced| Answering::begin(&paced.0.0));
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
    patience: Patience,
}

impl BoundedListener {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self::of(listener, CONNECTIONS, PATIENCE)
    }

    fn of(listener: TcpListener, connections: usize, patience: Patience) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(connections)), patience }
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
        (Connection::new(stream, permit, self.patience), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// How long a connection may do nothing.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Until the end of its first request's head.
    first_head: Duration,
    /// Without a whole head of another, or a part of an answer that is taken.
    idle: Duration,
}

/// What a connection is at: whoever neither asks nor takes answers is hung up on.
#[derive(Debug)]
struct Pace {
    /// Requests that are being answered, their bodies being read included; they have limits of their own.
    answering: AtomicUsize,
    deadline: Mutex<tokio::time::Instant>,
    idle: Duration,
}

impl Pace {
    fn new(patience: Patience) -> Self {
        let first = tokio::time::Instant::now() + patience.first_head;
        Self { answering: AtomicUsize::new(0), deadline: Mutex::new(first), idle: patience.idle }
    }

    fn deadline(&self) -> tokio::time::Instant {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = tokio::time::Instant::now() + self.idle;
    }
}

/// The pace of a request's connection.
#[derive(Clone, Debug)]
pub(crate) struct Paced(Arc<Pace>);

impl Connected<IncomingStream<'_, BoundedListener>> for Paced {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(Arc::clone(&stream.io().pace))
    }
}

/// A request is being answered, until this is dropped.
struct Answering(Arc<Pace>);

impl Answering {
    fn begin(pace: &Arc<Pace>) -> Self {
        pace.answering.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(pace))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.moved();
        self.0.answering.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection that counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    pace: Arc<Pace>,
    timer: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn new(stream: TcpStream, permit: Option<OwnedSemaphorePermit>, patience: Patience) -> Self {
        let pace = Pace::new(patience);
        let timer = Box::pin(tokio::time::sleep_until(pace.deadline()));
        Self { stream, pace: Arc::new(pace), timer, _permit: permit }
    }

    /// An error once the deadline has passed; else whoever polls is woken then.
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.pace.answering.load(Ordering::SeqCst) == 0 {
            let deadline = self.pace.deadline();
            if self.timer.deadline() != deadline {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                break;
            }
            if self.pace.deadline() == deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was asked for long"));
            }
        }
        Ok(())
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.pace.moved();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(cx)?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(&written);
        written
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
        self.in_time(cx)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware::from_fn, routing::get};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    type Test = Result<(), Box<dyn std::error::Error>>;

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    /// More than a socket's buffers hold.
    const LARGE: usize = 64 << 20;
    const BRIEF: Patience = Patience { first_head: Duration::from_secs(1), idle: Duration::from_secs(3) };

    /// Serves a few connections: `/` at once, `/slow` after longer than a connection may idle, `/large` a lot.
    async fn serve(connections: usize) -> io::Result<std::net::SocketAddr> {
        let slow = || async {
            tokio::time::sleep(BRIEF.idle + Duration::from_secs(1)).await;
            "slow"
        };
        let app = Router::new()
            .route("/", get(|| async { "quick" }))
            .route("/slow", get(slow))
            .route("/large", get(|| async { vec![0_u8; LARGE] }))
            .layer(from_fn(finish))
            .into_make_service_with_connect_info::<Paced>();
        let listener = BoundedListener::of(TcpListener::bind("127.0.0.1:0").await?, connections, BRIEF);
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(address)
    }

    /// The first bytes of an answer, and how long they took.
    async fn answer(mut stream: TcpStream) -> io::Result<(String, Duration)> {
        let began = Instant::now();
        let mut head = vec![0; 12];
        stream.read_exact(&mut head).await?;
        Ok((String::from_utf8_lossy(&head).into_owned(), began.elapsed()))
    }

    async fn ask(address: std::net::SocketAddr, request: &[u8]) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request).await?;
        Ok(stream)
    }

    /// As many connections as are served that ask for nothing, or for a byte at a time, or take no answer.
    #[tokio::test]
    async fn idle_connections_give_way() -> Test {
        let address = serve(4).await?;
        let silent = TcpStream::connect(address).await?;
        let half = ask(address, b"GET / HTTP/1.1\r\nhost:").await?;
        let mut drops = TcpStream::connect(address).await?;
        let drop_by_drop = tokio::spawn(async move {
            while drops.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let mut kept = ask(address, ASK).await?;
        let mut read = [0; 12];
        kept.read_exact(&mut read).await?;
        // Accepted in the order of their arrival; the fifth waits for one of the four.
        let (head, waited) = answer(ask(address, ASK).await?).await?;
        assert_eq!(head, "HTTP/1.1 200");
        assert!(waited < BRIEF.first_head + Duration::from_secs(2), "{waited:?}");
        drop_by_drop.await?;
        drop((silent, half, kept));
        Ok(())
    }

    /// An answer that takes long is no idling; not to take an answer is.
    #[tokio::test]
    async fn whoever_waits_is_answered_and_whoever_takes_nothing_is_not_waited_for() -> Test {
        let address = serve(2).await?;
        let slow = tokio::spawn(answer(ask(address, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await?));
        let untaken = ask(address, b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (head, waited) = answer(ask(address, ASK).await?).await?;
        assert_eq!(head, "HTTP/1.1 200");
        assert!(waited < BRIEF.idle + Duration::from_secs(2), "{waited:?}");
        assert_eq!(slow.await??.0, "HTTP/1.1 200");
        drop(untaken);
        Ok(())
    }
}
