//! JSON-RPC over HTTP, with the limits of [`crate::exchange`]. If a node answers "not yet", the request is repeated.

use std::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use alloy::{
    rpc::json_rpc::{RequestPacket, ResponsePacket},
    transports::{TransportError, TransportErrorKind, TransportFut, http::reqwest::Method},
};
use emr_core::HttpAddress;
use tokio::time::{Instant, sleep};
use tower::Service;
use url::Url;

use crate::exchange::{Answer, Body, Exchange, ExchangeError};

/// The largest answer that is read, in bytes. 10,000 logs, or the calldata of a batch, fit many times.
const MAX_ANSWER: usize = 32 << 20;
/// How long a request is repeated while the node answers "not yet".
const NOT_YET: Duration = Duration::from_secs(60);
/// The first pause between two requests. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two requests.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// geth's answer to a request for a receipt during the first seconds after its start, until it has indexed its
/// transactions.
const INDEXING: &str = "transaction indexing is in progress";
/// How many characters of an error page are shown.
const SHOWN_ERROR: usize = 200;

/// The transport to a node at an HTTP address.
#[derive(Clone)]
pub(crate) struct HttpTransport {
    exchange: Exchange,
    url: Url,
}

/// Does not show the URL, which may hold an access key.
impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").finish_non_exhaustive()
    }
}

impl HttpTransport {
    pub(crate) fn new(address: &HttpAddress) -> Result<Self, ExchangeError> {
        Ok(Self { exchange: Exchange::with(address)?, url: address.url().clone() })
    }

    /// Sends a request, and repeats it while the node answers "not yet". Such an answer means that the node did
    /// nothing.
    async fn send(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let until = Instant::now() + NOT_YET;
        let mut pause = FIRST_PAUSE;
        loop {
            let answer = self.post(&packet).await;
            if !is_not_yet(&answer) || Instant::now() + pause > until {
                return answer;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn post(&self, packet: &RequestPacket) -> Result<ResponsePacket, TransportError> {
        let failed = |error: ExchangeError| TransportErrorKind::custom(error);
        let body = packet.clone().serialize().map_err(TransportError::ser_err)?;
        let body = Body::Json(body.get().as_bytes().to_vec());
        let asked = self.exchange.ask(Method::POST, self.url.clone(), None, body, MAX_ANSWER).await;
        let Answer { status, body: answer, .. } = asked.map_err(failed)?;
        let shown = || String::from_utf8_lossy(&answer).chars().take(SHOWN_ERROR).collect::<String>();
        match serde_json::from_slice::<ResponsePacket>(&answer) {
            Ok(packet) if status.is_success() || packet.is_error() => Ok(packet),
            Err(error) if status.is_success() => Err(TransportError::deser_err(error, shown())),
            _ => Err(TransportErrorKind::http_error(status.as_u16(), shown())),
        }
    }
}

/// Whether the node did nothing, and the same request may succeed soon. The code for "limit exceeded" (-32005) does not
/// count: nodes answer it to queries that are too large, and such queries are sent again in parts.
fn is_not_yet(answer: &Result<ResponsePacket, TransportError>) -> bool {
    match answer {
        Ok(packet) => packet.iter_errors().any(|error| error.message.to_ascii_lowercase().contains(INDEXING)),
        Err(error) => {
            error.as_transport_err().and_then(|error| error.as_http_error()).is_some_and(|error| error.status == 429)
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

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use alloy::{primitives::B256, providers::Provider, rpc::client::RpcClient};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    type Test = Result<(), Box<dyn std::error::Error>>;

    /// Starts a node that gives its answers in order, and then repeats the last one. Also returns a counter of its
    /// requests.
    async fn node(
        answers: &'static [(u16, &'static str)],
    ) -> Result<(HttpAddress, Arc<AtomicUsize>), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?).parse()?;
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let _ = stream.read(&mut request).await;
                let (status, body) = answers[count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
                let head =
                    format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all((head + body).as_bytes()).await;
            }
        });
        Ok((url, asked))
    }

    async fn receipt(address: HttpAddress) -> Result<bool, Box<dyn std::error::Error>> {
        let client = RpcClient::new(HttpTransport::new(&address)?, true);
        let provider = alloy::providers::RootProvider::<alloy::network::Ethereum>::new(client);
        Ok(provider.get_transaction_receipt(B256::ZERO).await?.is_some())
    }

    const BUSY: &str =
        r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"transaction indexing is in progress"}}"#;
    const NONE: &str = r#"{"jsonrpc":"2.0","id":0,"result":null}"#;

    /// geth answers this right after its start.
    #[tokio::test]
    async fn a_node_that_is_still_indexing_is_asked_again() -> Test {
        let (url, asked) = node(&[(200, BUSY), (429, ""), (200, BUSY), (200, NONE)]).await?;
        assert!(!receipt(url).await?);
        assert_eq!(asked.load(Ordering::SeqCst), 4);
        Ok(())
    }

    #[tokio::test]
    async fn any_other_error_is_returned_at_once() -> Test {
        const REFUSED: &str = r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"nonce too low"}}"#;
        let (url, asked) = node(&[(200, REFUSED), (200, NONE)]).await?;
        assert!(receipt(url).await.is_err_and(|error| error.to_string().contains("nonce too low")));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        Ok(())
    }
}
