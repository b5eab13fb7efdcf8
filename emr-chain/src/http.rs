//! JSON-RPC over HTTP with limits: a node that is slow, silent or endless costs bounded time and memory.

use std::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use alloy::{
    rpc::json_rpc::{RequestPacket, ResponsePacket},
    transports::{TransportError, TransportErrorKind, TransportFut, http::reqwest},
};
use emr_core::HttpAddress;
use tower::Service;
use url::Url;

/// The largest answer read, in bytes: 10,000 logs, or the calldata of a batch, fit many times.
const MAX_ANSWER: usize = 32 << 20;
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one request may take in all.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an error page is shown.
const SHOWN_ERROR: usize = 200;

/// The transport to a node at an HTTP address.
#[derive(Clone)]
pub(crate) struct HttpTransport {
    client: reqwest::Client,
    url: Url,
}

/// Without the URL, which may hold an access key.
impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").finish_non_exhaustive()
    }
}

impl HttpTransport {
    pub(crate) fn new(address: &HttpAddress) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if address.is_this_machine() {
            builder = builder.no_proxy();
        }
        Ok(Self { client: builder.build()?, url: address.url().clone() })
    }

    async fn send(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        // The URL may hold an access key: errors go to logs, so it is left out of them.
        let failed = |error: reqwest::Error| TransportErrorKind::custom(error.without_url());
        let body = packet.serialize().map_err(TransportError::ser_err)?;
        let request = self.client.post(self.url).header("content-type", "application/json").body(body.get().to_owned());
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(TransportErrorKind::non_retryable_str("the node's answer is larger than 32 MiB"));
            }
            answer.extend_from_slice(&chunk);
        }
        let shown = || String::from_utf8_lossy(&answer).chars().take(SHOWN_ERROR).collect::<String>();
        match serde_json::from_slice::<ResponsePacket>(&answer) {
            Ok(packet) if status.is_success() || packet.is_error() => Ok(packet),
            Err(error) if status.is_success() => Err(TransportError::deser_err(error, shown())),
            _ => Err(TransportErrorKind::http_error(status.as_u16(), shown())),
        }
    }
}

impl Service<RequestPacket> for HttpTransport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        Box::pin(self.clone().send(packet))
    }
}
