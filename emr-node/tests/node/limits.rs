//! Garbage, floods and slow requests.

use emr_api::{BatchView, LoginToken, NodeStatus, ProofJob};
use emr_core::cid::Codec;
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::*;

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_told_what_is_wrong_with_it() -> Outcome {
    let scene = World::populated().await?;
    let caller = &scene.patient;
    let url = |path: &str| caller.url.join(path);
    let json = |path, body: &'static str| -> Outcome<_> {
        Ok(caller.http.post(url(path)?).header("content-type", "application/json").body(body))
    };
    for body in ["", "{", "[]", "null", "{\"account\":0}", "{\"account\":\"x\"}", "\u{0}"] {
        assert_eq!(code(caller.send(json("v1/login/challenge", body)?).await), "malformed", "{body}");
        assert_eq!(code(caller.send(json("v1/operations", body)?).await), "malformed", "{body}");
        assert_eq!(code(caller.send(json("v1/accounts", body)?).await), "malformed", "{body}");
    }
    // Requests that a web page could send to this address without a preflight.
    let form = caller.http.post(url("v1/login/challenge")?).body("{\"account\":1}");
    assert_eq!(code(caller.send(form).await), "malformed");
    // Deep nesting does not exhaust the stack.
    let deep = "[".repeat(60_000);
    let request = caller.http.post(url("v1/operations")?).header("content-type", "application/json").body(deep);
    assert_eq!(code(caller.send(request).await), "malformed");

    assert_eq!(code(caller.send(caller.http.get(url("v2/nothing")?)).await), "not-found");
    assert_eq!(code(caller.send(caller.http.delete(url("v1/status")?)).await), "malformed");
    assert_eq!(code(caller.get::<BatchView>("v1/batches/1").await), "not-found");
    assert_eq!(code(caller.get::<BatchView>("v1/batches/x").await), "malformed");
    assert_eq!(code(caller.send(caller.http.get(url("v1/blocks/notacid")?)).await), "malformed");
    // Identity CIDs and other hash functions are not addresses here.
    let identity = "bafkqaaa";
    assert_eq!(code(caller.send(caller.http.get(url(&format!("v1/blocks/{identity}"))?)).await), "malformed");
    assert_eq!(code(caller.post_bytes("v1/blocks", vec![1]).await), "malformed");
    assert_eq!(code(caller.post_bytes("v1/blocks?codec=dag-pb", vec![1]).await), "malformed");
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded() -> Outcome {
    let scene = World::populated().await?;
    let caller = &scene.patient;
    let largest = vec![7; emr_ipfs::MAX_BLOCK_BYTES];
    caller.put_block(Codec::Raw, &largest).await?;
    let larger = [&largest[..], b"."].concat();
    let refused = caller.post_bytes("v1/blocks?codec=raw", larger).await.expect_err("must be refused");
    assert_eq!((refused.status, refused.code.as_str()), (413, "too-large"));
    let padded = format!("{{\"account\":1{}}}", " ".repeat(100_000));
    let request = caller.http.post(caller.url.join("v1/login/challenge")?).header("content-type", "application/json");
    assert_eq!(code(caller.send(request.body(padded)).await), "too-large");
    let proof = scene.hospital.post_bytes("v1/prover/jobs/1", vec![0; 100_000]).await;
    assert_eq!(code(proof), "too-large");

    // Only accounts may upload blocks. The body of a stranger's request is not read.
    let nobody = Caller { token: None, ..caller.clone() };
    assert_eq!(code(nobody.post_bytes("v1/blocks?codec=raw", vec![1]).await), "unauthorized");
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_hospital_seals_and_proves() -> Outcome {
    let scene = World::populated().await?;
    for caller in [&scene.doctor, &scene.patient, &scene.stranger] {
        assert_eq!(code(caller.post::<BatchView>("v1/batches/seal", &()).await), "forbidden");
        assert_eq!(code(caller.get::<Option<ProofJob>>("v1/prover/job").await), "forbidden");
        assert_eq!(code(caller.post_bytes("v1/prover/jobs/1", vec![1]).await), "forbidden");
    }
    let nobody = Caller { token: None, ..scene.patient.clone() };
    assert_eq!(code(nobody.post::<BatchView>("v1/batches/seal", &()).await), "unauthorized");
    assert_eq!(scene.hospital.get::<Option<ProofJob>>("v1/prover/job").await?, None);
    assert_eq!(code(scene.hospital.post_bytes("v1/prover/jobs/1", vec![1]).await), "not-found");
    scene.node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_caller_does_not_stop_the_others() -> Outcome {
    let scene = World::populated().await?;
    let address = (scene.node.url().host_str().ok_or("host")?.to_owned(), scene.node.url().port().ok_or("port")?);
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut connection = tokio::net::TcpStream::connect((address.0.as_str(), address.1)).await?;
        connection.write_all(b"POST /v1/operations HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{").await?;
        slow.push(connection);
    }
    let status: NodeStatus = scene.patient.get("v1/status").await?;
    assert_eq!(status.queued, 5);
    // Not HTTP at all.
    let mut noise = tokio::net::TcpStream::connect((address.0.as_str(), address.1)).await?;
    noise.write_all(&[0xff; 1000]).await?;
    let mut answer = Vec::new();
    noise.read_to_end(&mut answer).await?;
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    // The node does not wait for them for ever when it stops.
    let began = std::time::Instant::now();
    scene.node.shutdown().await;
    assert!(began.elapsed().as_secs() < 10);
    drop(slow);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_not_cached_and_tokens_do_not_leak_into_them() -> Outcome {
    let scene = World::populated().await?;
    let caller = &scene.patient;
    let response = caller.http.get(caller.url.join("v1/status")?).send().await?;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert!(!response.headers().contains_key("access-control-allow-origin"));
    let token = caller.token.clone().unwrap_or_default();
    let refused = caller
        .post::<LoginToken>("v1/login", &serde_json::json!({ "token": token }))
        .await
        .expect_err("must be refused");
    assert!(!refused.message.contains(&token));
    scene.node.shutdown().await;
    Ok(())
}
