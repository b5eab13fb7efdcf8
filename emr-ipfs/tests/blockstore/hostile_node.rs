//! Nodes that are not Kubo, are broken, or lie. Each gives one clear error, within bounded time and memory.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::contract::node;
use emr_core::{AddressError, PlainHttp, cid::cid_of};
use emr_ipfs::{Blockstore, Codec, DagLimits, KuboStore, StoreError, walk};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Starts a server that answers every connection with `answer`, which gets the request's first line, and then closes
/// it.
fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + 'static) -> KuboStore {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Reads the whole request. Otherwise closing would reset the connection before the client reads the answer.
            let mut request = Vec::new();
            let mut buffer = [0; 65536];
            stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                request.extend_from_slice(&buffer[..read]);
                if request.ends_with(b"\r\n\r\n") || request.ends_with(b"--\r\n") {
                    break;
                }
            }
            let first = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
            answer(&first, &mut stream);
        }
    });
    KuboStore::new(&url).unwrap()
}

fn says(status: &'static str, body: impl Into<Vec<u8>>) -> KuboStore {
    let body = body.into();
    serve(move |_, stream| reply(stream, status, &body))
}

fn reply(stream: &mut TcpStream, status: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // The client may close the connection early, as it should.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

#[tokio::test]
async fn wrong_bytes_are_not_returned() -> Outcome {
    let cid = cid_of(Codec::Raw, b"the record");
    for lie in [&b"the recorD"[..], b"", b"the record and more", &[0; 2 << 20]] {
        let read = says("200 OK", lie).get(&cid).await;
        assert!(read.as_ref().is_err_and(StoreError::is_corrupt), "{read:?}");
    }
    assert_eq!(says("200 OK", "the record").get(&cid).await?, b"the record");
    Ok(())
}

#[tokio::test]
async fn a_put_under_another_address_is_not_acknowledged() {
    let other = cid_of(Codec::Raw, b"something else");
    let same_digest = cid_of(Codec::DagCbor, b"mine");
    for key in [other.to_string(), same_digest.to_string(), "bafynonsense".into(), String::new()] {
        let stored = says("200 OK", format!(r#"{{"Key":"{key}","Size":4}}"#)).put(Codec::Raw, b"mine").await;
        assert!(matches!(stored, Err(StoreError::BadAnswer { call: "block/put", .. })), "{stored:?}");
    }
}

#[tokio::test]
async fn a_pin_that_was_not_made_is_not_acknowledged() {
    let cid = cid_of(Codec::Raw, b"mine");
    let store = serve(move |request, stream| {
        let body: &[u8] = if request.contains("pin/add") { br#"{"Pins":[]}"# } else { b"mine" };
        reply(stream, "200 OK", body);
    });
    assert!(matches!(store.pin(&cid).await, Err(StoreError::BadAnswer { call: "pin/add", .. })));
}

#[tokio::test]
async fn an_invalid_answer_is_reported_with_a_hint() {
    for nonsense in [
        "",
        "<html>It works!</html>",
        "[]",
        r#"{"Version":3}"#,
        r#"{"key":"x"}"#,
        "{\"Version\":\"0.41.0\"",
        "\u{1b}[2J",
    ] {
        let store = says("200 OK", nonsense);
        let error = store.version().await.unwrap_err().to_string();
        assert!(error.contains("is this the RPC port of a Kubo node?"), "{error}");
        assert!(error.chars().all(|c| !c.is_control()), "{error:?}");
        assert!(matches!(store.pins().await, Err(StoreError::BadAnswer { call: "pin/ls", .. })));
    }
    let pins = says("200 OK", r#"{"Keys":{"not a cid":{"Type":"recursive"}}}"#).pins().await;
    assert!(matches!(pins, Err(StoreError::BadAnswer { .. })));
}

#[tokio::test]
async fn a_refusal_is_quoted_shortened_and_printable() {
    let cid = cid_of(Codec::Raw, b"x");
    let message = format!(r#"{{"Message":"bad \u001b[31m luck {}","Code":0,"Type":"error"}}"#, "x".repeat(1_000_000));
    for (status, body) in [("500 Internal Server Error", message), ("403 Forbidden", "403 - Forbidden\n".repeat(500))] {
        let error = says(status, body).get(&cid).await.unwrap_err();
        assert!(matches!(&error, StoreError::Refused { call: "block/get", .. }), "{error}");
        let error = error.to_string();
        assert!(error.len() < 500 && error.chars().all(|c| !c.is_control()), "{error:?}");
    }
    // A redirect is not followed, because the answer would come from another server.
    let moved = serve(|_, stream| {
        let _ = stream.write_all(
            b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        );
    });
    assert!(matches!(moved.get(&cid).await, Err(StoreError::Refused { status: 307, .. })));
}

#[tokio::test]
async fn kubos_messages_for_missing_and_full_are_recognised() {
    let cid = cid_of(Codec::Raw, b"x");
    let missing =
        r#"{"Message":"block was not found locally (offline): ipld: could not find bafkrei","Code":0,"Type":"error"}"#;
    let store = says("500 Internal Server Error", missing);
    assert!(store.get(&cid).await.is_err_and(|error| error.is_not_found()));
    assert!(matches!(store.has(&cid).await, Ok(false)));
    let full = r#"{"Message":"write /ipfs/blocks/x: no space left on device","Code":0,"Type":"error"}"#;
    assert!(
        says("500 Internal Server Error", full).put(Codec::Raw, b"x").await.is_err_and(|error| error.is_disk_full())
    );
}

/// Reading an endless answer stops at the limit. A node that closes the connection or sends nothing is unreachable.
#[tokio::test]
async fn time_and_memory_are_bounded() {
    let cid = cid_of(Codec::Raw, b"x");
    let endless = || {
        serve(|_, stream| {
            let mut more = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while more.is_ok() {
                more = stream
                    .write_all(b"10000\r\n")
                    .and_then(|()| stream.write_all(&[b' '; 0x10000]))
                    .and_then(|()| stream.write_all(b"\r\n"));
            }
        })
    };
    assert!(endless().get(&cid).await.is_err_and(|error| error.is_corrupt()));
    assert!(matches!(endless().pins().await, Err(StoreError::BadAnswer { .. })));

    let hangs_up = serve(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    });
    assert!(hangs_up.get(&cid).await.is_err_and(|error| error.is_unreachable()));
    assert!(hangs_up.put(Codec::Raw, b"x").await.is_err_and(|error| error.is_unreachable()));

    let silent = serve(|_, _| thread::sleep(Duration::from_secs(60)));
    let begin = Instant::now();
    let error = silent.version().await.unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("no answer in time"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(20));
}

/// A node invents a very long chain of valid blocks, each with a link to the next.
#[tokio::test]
async fn walking_an_endless_dag_stops_at_the_limit() -> Outcome {
    // The hashes must be right, so the chain is made backwards: 100 links, more than the default depth.
    let mut blocks = vec![node("end", &[])];
    for i in 0..100 {
        let last = cid_of(Codec::DagCbor, blocks.last().unwrap());
        blocks.push(node(&i.to_string(), &[last]));
    }
    let root = cid_of(Codec::DagCbor, blocks.last().unwrap());
    let store = serve(move |request, stream| {
        let block = blocks.iter().find(|block| request.contains(&cid_of(Codec::DagCbor, block).to_string()));
        reply(stream, "200 OK", block.unwrap());
    });
    assert!(matches!(store.pin(&root).await, Err(StoreError::DagLimit { .. })));
    let limits = DagLimits { blocks: 200, depth: 100, bytes: 1 << 20 };
    assert_eq!(walk(&store, &root, &limits).await?.cids.len(), 101);
    Ok(())
}

#[tokio::test]
async fn an_unusable_kubo_url_is_refused() {
    for bad in [
        "https://127.0.0.1:5001",
        "ftp://127.0.0.1",
        "127.0.0.1:5001",
        "/ip4/127.0.0.1/tcp/5001",
        "http://user:secret@127.0.0.1:5001",
        "http://127.0.0.1:5001/api/v0",
        "http://127.0.0.1:5001/?a=b",
        "http://127.0.0.1:5001/#x",
        "http://",
        "",
    ] {
        let refused = KuboStore::new(bad);
        let Err(error @ StoreError::Url { .. }) = refused else { panic!("{bad}: {refused:?}") };
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    // The RPC has no authentication and no encryption.
    let elsewhere = "http://kubo.example:5001";
    assert!(matches!(KuboStore::new(elsewhere), Err(StoreError::Address(AddressError::PlainHttp { .. }))));
    assert!(KuboStore::with_rule(elsewhere, PlainHttp::Everywhere).is_ok());
    let nobody = KuboStore::new("http://127.0.0.1:1").unwrap();
    assert!(nobody.version().await.is_err_and(|error| error.is_unreachable()));
}

/// A node that is not on this machine, or does not name its repository, is asked itself. It counts the space for root.
#[tokio::test]
async fn the_space_for_root_is_not_free() -> Outcome {
    let free = async |disk: &str, allowed: u64| {
        let disk = format!(r#"{{"diskinfo":{disk},"environment":{{"IPFS_PATH":""}}}}"#);
        let size = format!(r#"{{"RepoSize":100,"StorageMax":{}}}"#, allowed + 100);
        let store = serve(move |request, stream| {
            let answer = if request.contains("repo/stat") { &size } else { &disk };
            reply(stream, "200 OK", answer.as_bytes());
        });
        store.free_space().await.map(|free| free.bytes)
    };
    assert_eq!(free(r#"{"free_space":300,"total_space":4000}"#, 1000).await?, 100);
    assert_eq!(free(r#"{"free_space":300,"total_space":4000}"#, 50).await?, 50);
    assert_eq!(free(r#"{"free_space":100,"total_space":4000}"#, 1000).await?, 0);
    for lie in [r#"{"free_space":-1,"total_space":1}"#, r#"{"free_space":1e99,"total_space":1}"#, "{}", "[]"] {
        let answer = free(lie, 1000).await;
        assert!(matches!(answer, Err(StoreError::BadAnswer { .. })), "{lie}: {answer:?}");
    }
    Ok(())
}
