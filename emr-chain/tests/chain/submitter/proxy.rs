//! A proxy before an Ethereum node that can change answers, and drop connections after it has passed a request on.

use std::sync::{Arc, PoisonError, RwLock};

use alloy::transports::http::reqwest::{Client, Url};
use emr_chain::endpoint::Endpoint;
use emr_core::HttpAddress;
use emr_testkit::Outcome;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What becomes of an answer. `None` drops the connection.
pub(super) type Tamper = Box<dyn Fn(&Value, Value) -> Option<Value> + Send + Sync>;

/// Passes JSON-RPC on to a real node.
#[derive(Clone)]
pub(super) struct Proxy {
    address: HttpAddress,
    tamper: Arc<RwLock<Option<Tamper>>>,
}

impl Proxy {
    /// Serves until the test ends.
    pub(super) async fn before(node: Url) -> Outcome<Self> {
        let tamper = Arc::new(RwLock::new(None));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}/", listener.local_addr()?).parse()?;
        let http = Client::builder().no_proxy().build()?;
        let shared = Arc::clone(&tamper);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (http, node, tamper) = (http.clone(), node.clone(), Arc::clone(&shared));
                tokio::spawn(async move { drop(serve(stream, http, node, tamper).await) });
            }
        });
        Ok(Self { address, tamper })
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::Http(self.address.clone())
    }

    pub(super) fn tamper(&self, with: impl Fn(&Value, Value) -> Option<Value> + Send + Sync + 'static) {
        *self.tamper.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(with));
    }

    pub(super) fn be_honest(&self) {
        *self.tamper.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Serves one request, and closes the connection.
async fn serve(mut stream: TcpStream, http: Client, node: Url, tamper: Arc<RwLock<Option<Tamper>>>) -> Outcome {
    let request = read(&mut stream).await?;
    let sent = http.post(node).header("content-type", "application/json").body(request.to_string());
    let answer: Value = serde_json::from_slice(&sent.send().await?.bytes().await?)?;
    let answer = match &*tamper.read().unwrap_or_else(PoisonError::into_inner) {
        Some(tamper) => tamper(&request, answer),
        None => Some(answer),
    };
    let Some(answer) = answer else { return Ok(()) };
    let body = answer.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Ok(stream.write_all((head + &body).as_bytes()).await?)
}

/// Reads a whole request. Its body is the JSON that ends it.
async fn read(stream: &mut TcpStream) -> Outcome<Value> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err("the connection ended early".into());
        }
        let Some(head) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
        if let Ok(request) = serde_json::from_slice(&bytes[head + 4..]) {
            return Ok(request);
        }
    }
}
