//! The JSON-RPC server against hostile requests.

use alloy::{
    primitives::{B256, U256},
    transports::http::reqwest::{Client, StatusCode},
};
use emr_devnet::{EmbeddedChain, serve_rpc};
use emr_testkit::{Outcome, chain::config};
use serde_json::{Value, json};

#[tokio::test]
async fn answers_json_rpc() -> Outcome {
    let server = serve_rpc(EmbeddedChain::temporary(&config()?)?, "127.0.0.1:0".parse()?).await?;
    let client = Client::builder().no_proxy().build()?;
    let post = async |body: String| -> Outcome<Value> {
        let request = client.post(server.url()).header("content-type", "application/json; charset=utf-8").body(body);
        Ok(serde_json::from_slice(&request.send().await?.bytes().await?)?)
    };
    let chain_id = |id: Value| json!({ "jsonrpc": "2.0", "id": id, "method": "eth_chainId", "params": [] });
    let one = post(chain_id(json!("seven")).to_string()).await?;
    assert_eq!(one, json!({ "jsonrpc": "2.0", "id": "seven", "result": "0x7a69" }));
    let batch = post(format!(" [{}, 3, {}]", chain_id(json!(1)), json!({ "id": 2, "method": "net_version" }))).await?;
    assert_eq!(batch[0]["result"], "0x7a69");
    assert_eq!(batch[1]["error"]["code"], -32600);
    assert_eq!(batch[2], json!({ "jsonrpc": "2.0", "id": 2, "result": "31337" }));

    for (body, code) in [
        ("{", -32700),
        ("[]", -32600),
        ("7", -32600),
        ("{\"id\":1}", -32600),
        ("{\"id\":1,\"method\":\"eth_call\",\"params\":{}}", -32602),
        ("{\"id\":1,\"method\":\"eth_call\",\"params\":[]}", -32602),
        ("{\"id\":1,\"method\":\"eth_getBlockByNumber\",\"params\":[\"soon\"]}", -32602),
        ("{\"id\":1,\"method\":\"eth_sign\",\"params\":[]}", -32601),
        ("{\"id\":1,\"method\":\"eth_getLogs\",\"params\":[{\"fromBlock\":\"0x5\",\"toBlock\":\"0x1\"}]}", -32602),
        (
            "{\"id\":1,\"method\":\"eth_getBalance\",\"params\":[\"0x0000000000000000000000000000000000000000\",\"0x5\"]}",
            -32000,
        ),
        ("{\"id\":1,\"method\":\"evm_increaseTime\",\"params\":[18446744073709551615]}", -32602),
    ] {
        assert_eq!(post(body.to_owned()).await?["error"]["code"], code, "{body}");
    }
    let values: Vec<B256> = (0..1001u64).map(|n| B256::from(U256::from(n))).collect();
    let filter = json!([{ "topics": [values] }]);
    let wide = json!({ "id": 1, "method": "eth_getLogs", "params": filter });
    let answer = post(wide.to_string()).await?;
    assert_eq!(answer["error"]["code"], -32005, "{answer}");
    let many = vec![chain_id(json!(1)); 1001];
    assert_eq!(post(json!(many).to_string()).await?["error"]["code"], -32600);
    let deep = format!("{{\"id\":1,\"method\":\"eth_call\",\"params\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(post(deep).await?["error"]["code"].is_i64());

    // A web page can send plain text to another origin without a preflight request.
    let text = client.post(server.url()).header("content-type", "text/plain").body(chain_id(json!(1)).to_string());
    assert_eq!(text.send().await?.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // So can a page whose domain was made to resolve to this machine, but its `Host` header shows it.
    let rebound =
        client.post(server.url()).header("content-type", "application/json").header("host", "attacker.example");
    assert_eq!(rebound.body(chain_id(json!(1)).to_string()).send().await?.status(), StatusCode::FORBIDDEN);
    let huge = client.post(server.url()).header("content-type", "application/json").body(vec![b' '; 6 << 20]);
    // The server may close the connection before everything is sent.
    assert!(huge.send().await.map_or(true, |answer| answer.status() == StatusCode::PAYLOAD_TOO_LARGE));

    let address = server.address();
    server.shutdown().await;
    assert!(client.post(format!("http://{address}")).send().await.is_err());
    Ok(())
}

#[tokio::test]
async fn serves_this_machine_only() -> Outcome {
    let chain = EmbeddedChain::temporary(&config()?)?;
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        assert!(serve_rpc(chain.clone(), address.parse()?).await.is_err());
    }
    let server = serve_rpc(chain.clone(), "127.0.0.1:0".parse()?).await?;
    // The port is taken.
    assert!(serve_rpc(chain, server.address()).await.is_err());
    Ok(())
}
