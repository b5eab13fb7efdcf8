//! Reading from nodes that limit their answers, and sending to nodes that do not mine.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::{
    providers::{DynProvider, Provider},
    transports::http::reqwest::{Client, Url},
};
use axum::{Router, body::Bytes, extract::State, routing::post};
use emr_chain::{QueueName, Rollup, RollupError, SettlementLayer, endpoint::Endpoint};
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

/// The number of requests for logs that a node got.
type Asked = Arc<AtomicU64>;
type Passing = (Client, Url, Limits, Asked);

async fn pass(State((http, behind, limits, asked)): State<Passing>, body: Bytes) -> Result<String, String> {
    let request: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    if request["method"] == "eth_getLogs" {
        asked.fetch_add(1, Ordering::Relaxed);
    }
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
    let named = filter["topics"][2].as_array().map_or(1, Vec::len);
    block("toBlock") - block("fromBlock") >= limits.blocks || named > limits.values
}

/// The rollup through a node with limits.
async fn limited(world: &World, limits: Limits) -> Outcome<(Rollup<DynProvider>, Asked)> {
    let Node::Embedded(chain) = &world.node else { return Err("an embedded chain".into()) };
    let server = serve_rpc(chain.clone(), "127.0.0.1:0".parse()?).await?;
    let http = Client::builder().no_proxy().build()?;
    let asked = Asked::default();
    let app = Router::new().route("/", post(pass)).with_state((http, server.url(), limits, asked.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let endpoint: Endpoint = format!("http://{}", listener.local_addr()?).parse()?;
    tokio::spawn(async move {
        // Both serve until the test ends.
        let _server = server;
        axum::serve(listener, app).await
    });
    let provider = endpoint.connect(Some(account(SEQUENCER)?))?;
    let rollup = Rollup::attach(provider, world.rollup.instance().contract, world.rollup.deployed_at()).await?;
    Ok((rollup, asked))
}

/// Public nodes refuse wide ranges and large answers, each with its own limit.
#[tokio::test]
async fn a_refused_query_is_repeated_in_parts() -> Outcome {
    let world = World::new(Node::embedded()?).await?;
    let entries = world.register_patients(70).await?;
    let batch = world.batch(entries[..8].to_vec(), operations(1)).await?;
    world.expect(&batch).await?;
    world.rollup.settle(&batch).await?;
    let (told, settled) =
        (world.rollup.queue_entries(QueueName::Ordinary, 0..70, 0).await?, world.rollup.batches(0).await?);
    assert_eq!((told.len(), settled.len()), (70, 1));
    for blocks in [1, 2, 7, 64] {
        let (rollup, _) = limited(&world, Limits { blocks, values: 64 }).await?;
        assert_eq!(rollup.queue_entries(QueueName::Ordinary, 0..70, 0).await?, told, "{blocks} blocks");
        assert_eq!(rollup.batches(0).await?, settled, "{blocks} blocks");
        assert_eq!(rollup.batch(1).await?.as_ref(), settled.first(), "{blocks} blocks");
    }
    // If a node refuses even a single block, its error is returned.
    let (rollup, _) = limited(&world, Limits { blocks: 0, values: 64 }).await?;
    assert!(matches!(rollup.batches(0).await, Err(RollupError::Node { code: -32005, .. })));
    Ok(())
}

/// Reading a long queue takes one request per window of blocks. A follower that knows a part of it reads only newer
/// blocks.
#[tokio::test]
async fn a_follower_reads_only_new_entries() -> Outcome {
    let world = World::new(Node::embedded()?).await?;
    world.register_patients(150).await?;
    let (rollup, asked) = limited(&world, Limits { blocks: 10_000, values: 64 }).await?;
    let all = rollup.queue_entries(QueueName::Ordinary, 0..150, 0).await?;
    assert_eq!((all.len(), asked.swap(0, Ordering::Relaxed)), (150, 1));

    let from = all[119].block_number;
    assert_eq!(rollup.queue_entries(QueueName::Ordinary, 120..150, from).await?, all[120..]);
    assert_eq!(asked.swap(0, Ordering::Relaxed), 1);
    // More entries than a request can name. Reading from a later block, the entries before that block are missing.
    assert_eq!(rollup.queue_entries(QueueName::Ordinary, 20..150, all[20].block_number).await?, all[20..]);
    for range in [119..150, 20..150] {
        let first = range.start;
        let read = rollup.queue_entries(QueueName::Ordinary, range, from + 1).await;
        assert!(matches!(read, Err(RollupError::QueueEntryMissing { index, .. }) if index == first), "{read:?}");
    }
    // If a node serves only few blocks at a time, the requests are only for the new blocks.
    let (rollup, asked) = limited(&world, Limits { blocks: 8, values: 64 }).await?;
    assert_eq!(rollup.queue_entries(QueueName::Ordinary, 120..150, from).await?, all[120..]);
    let new = asked.swap(0, Ordering::Relaxed);
    assert_eq!(rollup.queue_entries(QueueName::Ordinary, 120..150, 0).await?, all[120..]);
    assert!(new * 3 < asked.load(Ordering::Relaxed), "{new} requests");
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
    assert_eq!(world.registrations().await?.length, 1);
    Ok(())
}
