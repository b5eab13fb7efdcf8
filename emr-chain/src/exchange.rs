//! Sends one HTTP request and reads its answer, with limits of time and size. The client of a hospital's node and the
//! transport to an Ethereum node both use it, so the same limits hold for every request.
//!
//! | what | limit |
//! |---|---|
//! | connecting | 5 s |
//! | silence, before the answer begins and between two pieces of it | 60 s |
//! | the whole exchange | 60 s, and 1 s more for each 64 KiB sent or received |
//! | the size of the answer | given by the caller |
//!
//! Redirects are not followed, because they would send a token to the server that the answer names.

use std::time::Duration;

use alloy::transports::http::reqwest::{
    Client, Method, RequestBuilder, StatusCode, header::HeaderMap, redirect::Policy,
};
use emr_core::HttpAddress;
use tokio::time::{Instant, timeout};
use url::Url;

/// The time limits of an exchange.
#[derive(Clone, Copy, Debug)]
struct TimeLimits {
    connect: Duration,
    idle: Duration,
    whole: Duration,
    /// The slowest connection that is allowed, in bytes per second.
    slowest: f64,
}

const LIMITS: TimeLimits = TimeLimits {
    connect: Duration::from_secs(5),
    idle: Duration::from_secs(60),
    whole: Duration::from_secs(60),
    slowest: 65_536.0,
};

impl TimeLimits {
    /// The time limit of an exchange in which this many bytes were sent and received.
    fn whole(&self, bytes: usize) -> Duration {
        self.whole + Duration::from_secs_f64(bytes as f64 / self.slowest)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The server cannot be reached, or closes the connection.
    #[error("{}", innermost(.0))]
    Failed(#[source] alloy::transports::http::reqwest::Error),
    /// The exchange takes too long.
    #[error("no answer in time")]
    Slow,
    /// The answer is larger than the caller's limit.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// The innermost cause. The outer ones only say that a request failed, and show the URL, which can hold an access key.
fn innermost(error: &alloy::transports::http::reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

impl From<alloy::transports::http::reqwest::Error> for ExchangeError {
    fn from(error: alloy::transports::http::reqwest::Error) -> Self {
        Self::Failed(error.without_url())
    }
}

/// The body of a request.
#[derive(Clone, Debug)]
pub enum Body {
    /// No body.
    None,
    /// JSON.
    Json(Vec<u8>),
    /// Plain bytes.
    Bytes(Vec<u8>),
}

/// An answer with any status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// An HTTP client with the limits of this module. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Exchange {
    client: Client,
    limits: TimeLimits,
}

impl Exchange {
    /// Makes a client for the server at an address. A server on this machine is reached directly, never through a
    /// proxy.
    ///
    /// # Errors
    /// Returns [`ExchangeError::Failed`] if no HTTP client can be set up.
    pub fn with(address: &HttpAddress) -> Result<Self, ExchangeError> {
        Self::limited(address, LIMITS)
    }

    fn limited(address: &HttpAddress, limits: TimeLimits) -> Result<Self, ExchangeError> {
        let builder = Client::builder().connect_timeout(limits.connect).redirect(Policy::none());
        let builder = if address.is_this_machine() { builder.no_proxy() } else { builder };
        Ok(Self { client: builder.build()?, limits })
    }

    /// Sends a request and reads the answer, whose body may have at most `limit` bytes.
    ///
    /// # Errors
    /// Returns [`ExchangeError`] if the server cannot be reached, is too slow, or sends a larger body.
    pub async fn ask(
        &self,
        method: Method,
        url: Url,
        token: Option<&str>,
        body: Body,
        limit: usize,
    ) -> Result<Answer, ExchangeError> {
        let began = Instant::now();
        let request = self.client.request(method, url);
        let (request, sent) = match body {
            Body::None => (request, 0),
            Body::Json(bytes) => with_body(request, "application/json", bytes),
            Body::Bytes(bytes) => with_body(request, "application/octet-stream", bytes),
        };
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let late = |_| ExchangeError::Slow;
        let mut response = timeout(self.limits.whole(sent), request.send()).await.map_err(late)??;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        loop {
            let left = self.limits.whole(sent + body.len()).saturating_sub(began.elapsed());
            let chunk = timeout(left.min(self.limits.idle), response.chunk()).await.map_err(late)??;
            let Some(chunk) = chunk else { return Ok(Answer { status, headers, body }) };
            if body.len() + chunk.len() > limit {
                return Err(ExchangeError::TooLarge(limit));
            }
            body.extend_from_slice(&chunk);
        }
    }
}

fn with_body(request: RequestBuilder, kind: &'static str, bytes: Vec<u8>) -> (RequestBuilder, usize) {
    let sent = bytes.len();
    (request.header("content-type", kind).body(bytes), sent)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    type Test<T = ()> = Result<T, Box<dyn std::error::Error>>;

    /// Starts a server that answers every request with `pieces` of `size` bytes each, and pauses before each piece.
    async fn server(pieces: usize, size: usize, pause: Duration) -> Test<HttpAddress> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?).parse()?;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let head = format!("HTTP/1.1 200 x\r\ncontent-length: {}\r\n\r\n", pieces * size);
                    let _ = stream.write_all(head.as_bytes()).await;
                    for _ in 0..pieces {
                        tokio::time::sleep(pause).await;
                        if stream.write_all(&vec![7; size]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(address)
    }

    async fn ask(address: HttpAddress, limit: usize) -> Result<usize, ExchangeError> {
        // The same limits, a hundred times shorter.
        let limits =
            TimeLimits { idle: LIMITS.idle / 100, whole: LIMITS.whole / 100, slowest: LIMITS.slowest, ..LIMITS };
        let exchange = Exchange::limited(&address, limits)?;
        let url = address.url().clone();
        exchange.ask(Method::GET, url, None, Body::None, limit).await.map(|answer| answer.body.len())
    }

    #[tokio::test]
    async fn a_long_answer_has_the_time_that_its_size_needs() -> Test {
        // 1.2 s in all, twice the limit of a short answer, at 200 kB/s.
        let address = server(24, 10_000, Duration::from_millis(50)).await?;
        assert_eq!(ask(address, 240_000).await?, 240_000);
        Ok(())
    }

    #[tokio::test]
    async fn a_trickle_and_silence_are_cut_off() -> Test {
        let began = Instant::now();
        // Never silent for long, but slower than the slowest allowed connection.
        let trickle = ask(server(1000, 1, Duration::from_millis(20)).await?, 1000).await;
        assert!(matches!(trickle, Err(ExchangeError::Slow)), "{trickle:?}");
        let silent = ask(server(1, 1, Duration::from_secs(60)).await?, 1000).await;
        assert!(matches!(silent, Err(ExchangeError::Slow)), "{silent:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        Ok(())
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_limit() -> Test {
        let address = server(3, 100, Duration::ZERO).await?;
        assert_eq!(ask(address.clone(), 300).await?, 300);
        assert!(matches!(ask(address, 299).await, Err(ExchangeError::TooLarge(299))));
        Ok(())
    }
}
