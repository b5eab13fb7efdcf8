//! The HTTP client against hostile nodes, and invalid addresses.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use alloy::providers::Provider;
use emr_chain::endpoint::{Endpoint, EndpointError};
use emr_core::{AddressError, PlainHttp};
use emr_testkit::Outcome;

#[tokio::test]
async fn reports_that_no_node_answers() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    drop(listener);
    let endpoint: Endpoint = format!("http://user:secret@{address}/v3/key?token=secret").parse()?;
    let provider = endpoint.connect(None)?;
    let Err(error) = endpoint.expect_chain_id(&provider, 1).await else { return Err("somebody answers".into()) };
    let text = error.to_string();
    assert!(matches!(error, EndpointError::Unreachable { .. }));
    assert!(text.contains(&format!("http://{address} ")), "{text}");
    assert!(!text.contains("secret") && !text.contains("key"), "{text}");
    Ok(())
}

#[test]
fn refuses_other_addresses() {
    for address in ["", "localhost:8545", "ws://127.0.0.1:1", "file:///etc/passwd", "http://", "not a url"] {
        assert!(matches!(address.parse::<Endpoint>(), Err(EndpointError::Address(_))), "{address}");
    }
}

#[test]
fn plain_http_to_other_machines_needs_permission() -> Outcome {
    for address in ["http://name:secret@node.example:8545/secret", "http://10.0.0.1:8545", "http://0.0.0.0:8545"] {
        let refused = address.parse::<Endpoint>().expect_err("plain http");
        assert!(matches!(refused, EndpointError::Address(AddressError::PlainHttp { .. })), "{refused:?}");
        assert!(refused.to_string().contains("--insecure") && !refused.to_string().contains("secret"), "{refused}");
        let allowed = Endpoint::http(address, PlainHttp::Everywhere)?;
        assert!(!format!("{allowed} {allowed:?}").contains("secret"), "{allowed:?}");
    }
    for address in ["https://node.example/v3/key", "http://localhost:8545", "http://[::1]:8545"] {
        assert!(address.parse::<Endpoint>().is_ok(), "{address}");
    }
    Ok(())
}

/// Answers every connection with `head`, then with `filler` until the client closes it or `most` bytes are sent.
fn hostile(head: &'static str, filler: &'static [u8], most: usize) -> Outcome<Endpoint> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let mut sent = stream.write_all(head.as_bytes()).map(|()| 0);
            while let Ok(bytes) = sent
                && bytes < most
            {
                sent = stream.write_all(filler).map(|()| bytes + filler.len());
            }
        }
    });
    Ok(format!("http://{address}").parse()?)
}

#[tokio::test]
async fn survives_hostile_nodes() -> Outcome {
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    for (endpoint, expected) in [
        (hostile(OK, &[b'['; 65_536], 1 << 30)?, "larger than 33554432 bytes"),
        (hostile(OK, b"<html>welcome</html>", 1)?, "expected value"),
        (hostile(OK, b"{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":\"0xzz\"}", 1)?, ""),
        (hostile("HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\n\r\n", b"no", 1)?, "502"),
        (hostile("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\n\r\n", b"", 0)?, "302"),
        (hostile("", b"", 0)?, ""),
    ] {
        let provider = endpoint.connect(None)?;
        let Err(error) = endpoint.expect_chain_id(&provider, 1).await else { return Err("believed it".into()) };
        assert!(error.to_string().contains(expected), "{error} does not say {expected:?}");
        assert!(provider.get_block_number().await.is_err());
    }
    Ok(())
}
