//! An Ethereum node that answers truthfully until a test makes it lie.

use std::sync::{Arc, PoisonError, RwLock};

use axum::{Router, body::Bytes, extract::State, routing::post};
use emr_chain::endpoint::Endpoint;
use emr_core::HttpAddress;
use reqwest::{Client, Url};
use serde_json::Value;

use super::Outcome;

/// Changes the answer to a request.
pub(crate) type Lie = fn(request: &Value, answer: &mut Value);

/// Forwards JSON-RPC to a real node.
#[derive(Clone, Debug)]
pub(crate) struct Liar {
    url: HttpAddress,
    lie: Arc<RwLock<Option<Lie>>>,
}

impl Liar {
    /// Starts a proxy in front of a node. It serves until the test ends.
    pub(crate) async fn before(endpoint: &Endpoint) -> Outcome<Self> {
        let Endpoint::Http(behind) = endpoint else { return Err("a node with an address".into()) };
        let lie = Arc::new(RwLock::new(None));
        let http = Client::builder().no_proxy().build()?;
        let app = Router::new().route("/", post(pass)).with_state((http, behind.url().clone(), Arc::clone(&lie)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?).parse::<HttpAddress>()?;
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { url, lie })
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Http(self.url.clone())
    }

    pub(crate) fn tell(&self, lie: Option<Lie>) {
        *self.lie.write().unwrap_or_else(PoisonError::into_inner) = lie;
    }
}

type Passing = (Client, Url, Arc<RwLock<Option<Lie>>>);

async fn pass(State((http, behind, lie)): State<Passing>, body: Bytes) -> Result<String, String> {
    let failed = |error: reqwest::Error| error.to_string();
    let request: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let sent = http.post(behind).header("content-type", "application/json").body(body).send().await;
    let mut answer: Value = serde_json::from_slice(&sent.map_err(failed)?.bytes().await.map_err(failed)?)
        .map_err(|error| error.to_string())?;
    if let Some(lie) = *lie.read().unwrap_or_else(PoisonError::into_inner) {
        lie(&request, &mut answer);
    }
    Ok(answer.to_string())
}
