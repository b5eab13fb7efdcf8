//! Ethereum nodes that show what a test wants: an axum server on loopback for each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alloy::{
    consensus::Header,
    rpc::types::{Block, Header as RpcHeader},
};
use axum::{Json, Router, extract::State, routing::post};
use emr_chain::endpoint::Endpoint;
use emr_core::UnixTime;
use emr_testkit::Outcome;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A chain of headers, of which the last is the newest. Block 0 is its first.
pub(crate) type Chain = Vec<Header>;

/// A chain whose newest block has this age in seconds. Chains with different names share no block from `fork` on.
pub(crate) fn chain(name: u64, fork: u64, newest: u64, age: i64) -> Chain {
    let end = i64::try_from(UnixTime::now().get()).expect("a time") - age;
    let mut chain: Chain = Vec::new();
    for number in 0..=newest {
        let seconds_before = i64::try_from((newest - number) * 12).expect("small");
        chain.push(Header {
            number,
            parent_hash: chain.last().map(Header::hash_slow).unwrap_or_default(),
            timestamp: u64::try_from(end - seconds_before).expect("after 1970"),
            gas_limit: if number >= fork { name } else { 0 },
            ..Header::default()
        });
    }
    chain
}

/// The same chain, up to this block.
pub(crate) fn up_to(chain: &Chain, number: usize) -> Chain {
    chain[..=number].to_vec()
}

/// What a node does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behaviour {
    /// The chain that it shows.
    pub(crate) chain: Chain,
    /// The newest block that it calls final.
    pub(crate) finalized: Option<u64>,
    /// How long it thinks before each answer.
    pub(crate) pause: Duration,
    /// Where it has no such block, it says this instead of `null`.
    pub(crate) no_block: Option<&'static str>,
    /// Claims these hashes for its headers.
    pub(crate) false_hash: bool,
    /// Its answers to other methods. A method without an answer is refused.
    pub(crate) answers: Vec<(&'static str, Value)>,
}

impl Behaviour {
    /// An honest node with this chain.
    pub(crate) fn showing(chain: &Chain) -> Self {
        Self { chain: chain.clone(), ..Self::default() }
    }

    /// A node that never answers.
    pub(crate) fn silent() -> Self {
        Self { pause: Duration::from_secs(3_600), ..Self::default() }
    }

    /// A node that answers these methods.
    pub(crate) fn answering(answers: &[(&'static str, Value)]) -> Self {
        Self { answers: answers.to_vec(), ..Self::default() }
    }

    fn block(&self, at: &Value) -> Value {
        let header = match at.as_str() {
            Some("latest") => self.chain.last(),
            Some("finalized") => self.finalized.and_then(|number| self.chain.get(usize::try_from(number).ok()?)),
            Some(number) => usize::from_str_radix(number.trim_start_matches("0x"), 16)
                .ok()
                .and_then(|number| self.chain.iter().find(|header| header.number == number as u64)),
            None => None,
        };
        let Some(header) = header else { return Value::Null };
        let mut rpc = RpcHeader::new(header.clone());
        if self.false_hash {
            rpc.hash = alloy::primitives::B256::repeat_byte(7);
        }
        serde_json::to_value(Block::<()>::empty(rpc)).expect("JSON")
    }
}

/// A running node, and how many requests it got.
#[derive(Debug)]
pub(crate) struct FakeNode {
    pub(crate) endpoint: Endpoint,
    pub(crate) asked: Arc<AtomicUsize>,
}

type Shared = (Arc<Behaviour>, Arc<AtomicUsize>);

async fn answer(State((node, asked)): State<Shared>, Json(request): Json<Value>) -> Json<Value> {
    asked.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(node.pause).await;
    let method = request["method"].as_str().unwrap_or_default();
    let known = node.answers.iter().find(|(known, _)| *known == method).map(|(_, answer)| answer.clone());
    let result = match (known, method) {
        (Some(answer), _) => answer,
        (None, "eth_getBlockByNumber") => match (node.block(&request["params"][0]), node.no_block) {
            (Value::Null, Some(message)) => {
                let error = json!({ "code": -32_000, "message": message });
                return Json(json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }));
            }
            (block, _) => block,
        },
        (None, _) => {
            let error = json!({ "code": -32_601, "message": "no such method" });
            return Json(json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }));
        }
    };
    Json(json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }))
}

/// Starts a node.
pub(crate) async fn start(behaviour: Behaviour) -> Outcome<FakeNode> {
    let asked = Arc::new(AtomicUsize::new(0));
    let router = Router::new().route("/", post(answer)).with_state((Arc::new(behaviour), Arc::clone(&asked)));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?).parse()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(FakeNode { endpoint, asked })
}
