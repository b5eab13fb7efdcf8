//! The embedded chain over HTTP: JSON-RPC 2.0, single and batched, on the loopback interface.

use std::{io, net::SocketAddr, sync::Arc};

use alloy::rpc::json_rpc::{Id, Response, ResponsePayload};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_TYPE, HOST},
    },
    response::IntoResponse,
    routing::post,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use url::{Host, Url};

use crate::{EmbeddedChain, failure::RpcFailure};

/// The largest request, in bytes, as in geth.
const MAX_BODY: usize = 5 << 20;
/// The largest number of requests in one batch.
const MAX_BATCH: usize = 1_000;
/// How many requests run at the same time. The others wait.
const CONCURRENT: usize = 8;

/// A running JSON-RPC server. Dropping the handle stops it.
#[derive(Debug)]
pub struct RpcServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl RpcServer {
    /// The address that it listens on. If port 0 was requested, this has the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to give to clients.
    pub fn url(&self) -> Url {
        // A socket address is always a valid authority.
        #[expect(clippy::expect_used, reason = "a socket address is a valid URL authority")]
        format!("http://{}", self.address).parse().expect("a socket address is a valid authority")
    }

    /// Stops listening and waits for the requests that are being answered.
    pub async fn shutdown(self) {
        let Self { stop, task, .. } = self;
        stop.send_replace(true);
        // The task ends by itself or with the runtime. Both are fine.
        let _ = task.await;
    }
}

#[derive(Clone)]
struct Served {
    chain: EmbeddedChain,
    turns: Arc<Semaphore>,
}

/// Serves `chain` at `address` until the handle is dropped or shut down. Port 0 chooses a free port.
///
/// # Errors
///
/// Fails if the address is not a loopback address (any caller can move this chain's clock), or cannot be bound.
pub async fn serve_rpc(chain: EmbeddedChain, address: SocketAddr) -> io::Result<RpcServer> {
    if !address.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{address} is not a loopback address: the embedded chain serves this machine only"),
        ));
    }
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let served = Served { chain, turns: Arc::new(Semaphore::new(CONCURRENT)) };
    let router = Router::new().route("/", post(handle)).layer(DefaultBodyLimit::max(MAX_BODY)).with_state(served);
    let (stop, mut stopped) = watch::channel(false);
    let task = tokio::spawn(async move {
        let ended = async move {
            // An error here means that the handle was dropped.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        // Serving ends only through `ended`.
        let _ = axum::serve(listener, router).with_graceful_shutdown(ended).await;
    });
    Ok(RpcServer { address, stop, task })
}

/// A JSON-RPC 2.0 request. Unknown members are ignored.
#[derive(Deserialize)]
struct Request<'a> {
    id: Option<Id>,
    method: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

async fn handle(State(served): State<Served>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    if !names_this_machine(&headers) {
        return (StatusCode::FORBIDDEN, "ask for localhost or 127.0.0.1").into_response();
    }
    if !says_json(&headers) {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "send JSON-RPC as application/json").into_response();
    }
    let Ok(_turn) = served.turns.acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    match tokio::task::spawn_blocking(move || answer(&served.chain, &body)).await {
        Ok(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Whether the request's `Host` names this machine. This refuses a web page whose domain was made to resolve to this
/// machine (DNS rebinding).
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|value| value.to_str().ok()) else { return false };
    Url::parse(&format!("http://{host}")).is_ok_and(|url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    })
}

/// Whether the request declares a JSON body. A browser sends this to another origin only after a preflight request
/// (CORS), which this server never allows.
fn says_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Computes the response body for a request body.
fn answer(chain: &EmbeddedChain, body: &[u8]) -> Vec<u8> {
    let batch = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let answer = if batch {
        match serde_json::from_slice::<Vec<&RawValue>>(body) {
            Err(error) => serde_json::to_vec(&failure(Id::None, RpcFailure::parse(error))),
            Ok(requests) if requests.is_empty() || requests.len() > MAX_BATCH => {
                let reason = format!("a batch holds 1 to {MAX_BATCH} requests");
                serde_json::to_vec(&failure(Id::None, RpcFailure::invalid_request(reason)))
            }
            Ok(requests) => {
                let answers: Vec<_> = requests.iter().map(|request| one(chain, request.get().as_bytes())).collect();
                serde_json::to_vec(&answers)
            }
        }
    } else {
        match serde_json::from_slice::<&RawValue>(body) {
            Err(error) => serde_json::to_vec(&failure(Id::None, RpcFailure::parse(error))),
            Ok(request) => serde_json::to_vec(&one(chain, request.get().as_bytes())),
        }
    };
    answer.unwrap_or_default()
}

fn one(chain: &EmbeddedChain, request: &[u8]) -> Response {
    match serde_json::from_slice::<Request<'_>>(request) {
        Err(error) => failure(Id::None, RpcFailure::invalid_request(format!("not a JSON-RPC request: {error}"))),
        Ok(Request { id, method, params }) => {
            let id = id.unwrap_or(Id::None);
            match chain.request(&method, params) {
                Ok(result) => Response { id, payload: ResponsePayload::Success(result) },
                Err(refusal) => failure(id, refusal),
            }
        }
    }
}

fn failure(id: Id, failure: RpcFailure) -> Response {
    Response { id, payload: ResponsePayload::Failure(failure.into_payload()) }
}
