//! Reading from nodes that limit their answers, and sending to nodes that do not mine.

use std::time::Duration;

use alloy::{
    providers::{DynProvider, Provider},
    transports::http::reqwest::{Client, Url},
};
use axum::{Router, body::Bytes, extract::State, routing::post};
use emr_chain::{Rollup, RollupError, Settlement, endpoint::Endpoint};
use emr_devnet::serve_rpc;
use emr_testkit::{
    Outcome,
    chain::{Node, account},
};
use serde_json::{Value, json};

use crate::world::{PATIENT, SEQUENCER, World, operations};

/// The limits of one request for logs: the number of blocks, and of values of a topic.
#[derive(Clone, Copy, Debug)]
struct Limits {
    blocks: u64,
    values: usize,
}

type Passing = (Client, Url, Limits);

async fn pass(State((http, behind, limits)): State<Passing>, body: Bytes) -> Result<String, String> {
    let request: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    if request["method"] == "eth_getLogs" && exceeds(&request["params"][0], limits) {
        let error = json!({ "code": -32005, "message": "query exceeds the range that is served" });
        return Ok(json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }).to_string());
    }
    let sent = http.post(behind).header("content-type", "application/json").body(body).send().await;
    sent.map_err(|error| error.to_string())?.text().await.map_err(|error| error.to_string())
}

fn exceeds(filter: &Value, limits: Limits) -> bool {
    let block = |name: &str| {
        let text = filter[name].as_str().and_then(|text| text.strip_prefix("0x"));
        text.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(u64::MAX)
    };
    let named = filter["topics"][1].as_array().map_or(1, Vec::len);
    block("toBlock") - block("fromBlock") >= limits.blocks || named > limits.values
}

/// The rollup through a node with limits.
async fn limited(world: &World, limits: Limits) -> Outcome<Rollup<DynProvider>> {
    let Node::Embedded(chain) = &world.node else { return Err("an embedded chain".into()) };
    let server = serve_rpc(chain.clone(), "127.0.0.1:0".parse()?).await?;
    let http = Client::builder().no_proxy().build()?;
    let app = Router::new().route("/", post(pass)).with_state((http, server.url(), limits));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let endpoint: Endpoint = format!("http://{}", listener.local_addr()?).parse()?;
    tokio::spawn(async move {
        // Both serve until the test ends.
        let _server = server;
        axum::serve(listener, app).await
    });
    let provider = endpoint.connect(Some(account(SEQUENCER)?))?;
    Ok(Rollup::attach(provider, world.rollup.instance().contract, world.rollup.deployed_at()).await?)
}

/// Public nodes refuse wide ranges and large answers, each with its own limit.
#[tokio::test]
async fn a_refused_query_is_repeated_in_parts() -> Outcome {
    let world = World::new(Node::embedded()?).await?;
    let entries = world.register_patients(70).await?;
    let batch = world.batch(entries[..8].to_vec(), operations(1)).await?;
    world.expect(&batch).await?;
    world.rollup.settle(&batch).await?;
    let (told, settled) = (world.rollup.queue_entries(0..70).await?, world.rollup.batches(0).await?);
    assert_eq!((told.len(), settled.len()), (70, 1));
    for blocks in [1, 2, 7, 64] {
        let rollup = limited(&world, Limits { blocks, values: 64 }).await?;
        assert_eq!(rollup.queue_entries(0..70).await?, told, "{blocks} blocks");
        assert_eq!(rollup.batches(0).await?, settled, "{blocks} blocks");
    }
    // If a node refuses even a single block, its error is returned.
    let rollup = limited(&world, Limits { blocks: 0, values: 64 }).await?;
    assert!(matches!(rollup.batches(0).await, Err(RollupError::Node { code: -32005, .. })));
    Ok(())
}

/// If nobody mines a transaction, for example because its fee became too low, the sender does not wait for ever.
#[tokio::test]
async fn waiting_for_a_transaction_ends() -> Outcome {
    let Some(node) = Node::anvil()? else { return Ok(()) };
    let world = World::new(node).await?;
    let batch = world.batch(Vec::new(), operations(1)).await?;
    world.expect(&batch).await?;
    let rollup = world.rollup.clone().with_patience(Duration::from_secs(1));
    let _: Value = world.provider().raw_request("evm_setAutomine".into(), (false,)).await?;
    let settled = rollup.settle(&batch).await;
    let Err(RollupError::NotMined { tx_hash, seconds: 1 }) = settled else { return Err(format!("{settled:?}").into()) };
    let relayed = rollup.register_for(&world.signed_patient(PATIENT, 1)?).await;
    assert!(matches!(relayed, Err(RollupError::NotMined { .. })), "{relayed:?}");

    // Both are mined later, unchanged.
    let _: Value = world.provider().raw_request("evm_mine".into(), ()).await?;
    let _: Value = world.provider().raw_request("evm_setAutomine".into(), (true,)).await?;
    assert_eq!(world.rollup.batches(0).await?[0].tx_hash, tx_hash);
    assert_eq!(world.rollup.head().await?.queue_length, 1);
    Ok(())
}
