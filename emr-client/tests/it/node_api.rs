//! The node client against nodes that misbehave.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use emr_api::{LoginChallenge, LoginRequest, LoginToken, Problem};
use emr_client::node::{Login, NodeClient, NodeError};
use emr_core::{AddressError, Codec, Origin, UnixTime, cid::cid_of};

use crate::fixtures::*;

/// A request as the server got it.
#[derive(Clone, Debug)]
struct Got {
    line: String,
    head: String,
    body: Vec<u8>,
}

fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", body)
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

fn problem(status: &str, code: &str) -> Vec<u8> {
    let problem = Problem { code: code.to_owned(), message: "what to do".to_owned() };
    answer(status, &serde_json::to_string(&problem).expect("JSON"))
}

/// Serves raw bytes on loopback, one request for each connection, and records the requests.
fn serve(respond: impl Fn(&Got) -> Vec<u8> + Send + 'static) -> std::io::Result<(String, Arc<Mutex<Vec<Got>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&log);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            let got = loop {
                let Ok(read) = stream.read(&mut buffer) else { break None };
                bytes.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, _)) = text.split_once("\r\n\r\n") else {
                    if read == 0 {
                        break None;
                    }
                    continue;
                };
                let length = head.to_lowercase().lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
                let body = &bytes[head.len() + 4..];
                if read == 0 || body.len() >= length.unwrap_or(0) {
                    let line = head.lines().next().unwrap_or_default().to_owned();
                    break Some(Got { line, head: head.to_owned(), body: body.to_vec() });
                }
            };
            let Some(got) = got else { continue };
            seen.lock().expect("no panic").push(got.clone());
            // The client may close the connection early. That is tested here.
            let _ = stream.write_all(&respond(&got));
        }
    });
    Ok((address, log))
}

fn login() -> Login {
    Login {
        domain: instance().domain(),
        hospital: account(HOSPITAL),
        account: account(DOCTOR),
        keys: Arc::new(LIVED.identities[DOCTOR].clone()),
    }
}

const TOKEN: [u8; 32] = [0xab; 32];

fn now_and(seconds: u64) -> UnixTime {
    UnixTime::now().saturating_add(seconds)
}

/// An honest login, and then the answers of `respond`.
fn logging_in(respond: impl Fn(&Got) -> Vec<u8> + Send + 'static) -> impl Fn(&Got) -> Vec<u8> + Send + 'static {
    move |got| match got.line.as_str() {
        line if line.starts_with("POST /v1/login/challenge") => {
            let challenge = LoginChallenge { nonce: [7; 32], expires: now_and(60) };
            ok(&serde_json::to_string(&challenge).expect("JSON"))
        }
        line if line.starts_with("POST /v1/login") => {
            let login_token = LoginToken { token: TOKEN, expires: now_and(3600) };
            ok(&serde_json::to_string(&login_token).expect("JSON"))
        }
        _ => respond(got),
    }
}

/// A busy node says when to ask again. The client asks again then, for at most 30 s in all.
#[tokio::test]
async fn a_busy_node_is_asked_again_when_it_says() -> TestResult {
    let busy = |seconds: u64| {
        let body = r#"{"code":"too-many","message":"wait"}"#;
        let length = body.len();
        format!(
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: {seconds}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .into_bytes()
    };
    let asked = std::sync::atomic::AtomicU32::new(0);
    let (address, log) = serve(logging_in(move |_| {
        let before = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if before < 2 { busy(1) } else { ok("block") }
    }))?;
    let node = NodeClient::new(&address)?.with_login(login());
    let began = std::time::Instant::now();
    assert_eq!(node.block(&cid_of(Codec::Raw, b"block")).await?, b"block");
    assert!((2..5).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(log.lock().expect("no panic").len(), 2 + 3);

    // If the node says 0, the client does not ask in a tight loop. If it says an hour, the client does not wait.
    let (address, log) = serve(move |_| busy(3600))?;
    let refused = NodeClient::new(&address)?.status().await;
    assert!(matches!(&refused, Err(error) if error.is_temporary()), "{refused:?}");
    assert_eq!(log.lock().expect("no panic").len(), 1);
    let (address, log) = serve(move |_| busy(0))?;
    let waiting =
        tokio::time::timeout(std::time::Duration::from_secs(2), async { NodeClient::new(&address)?.status().await });
    assert!(waiting.await.is_err());
    assert!(log.lock().expect("no panic").len() <= 3);
    Ok(())
}

#[tokio::test]
async fn a_block_is_what_its_name_says() -> TestResult {
    let (address, _) = serve(logging_in(|_| ok("block")))?;
    let node = NodeClient::new(&address)?.with_login(login());
    assert_eq!(node.block(&cid_of(Codec::Raw, b"block")).await?, b"block");
    let wrong = node.block(&cid_of(Codec::Raw, b"another")).await;
    assert!(matches!(wrong, Err(NodeError::WrongBlock(_))), "{wrong:?}");

    // An answer that is longer than any block is not read to its end.
    let endless = |_: &Got| {
        let mut head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        head.resize(8 << 20, b'x');
        head
    };
    let (address, _) = serve(logging_in(endless))?;
    let node = NodeClient::new(&address)?.with_login(login());
    let large = node.block(&cid_of(Codec::Raw, b"block")).await;
    assert!(matches!(large, Err(NodeError::TooLarge { limit: 1_048_576, .. })), "{large:?}");

    let put = async |cid: String| {
        let (address, _) = serve(logging_in(move |_| ok(&format!(r#"{{"cid":"{cid}"}}"#))))?;
        Ok::<_, Box<dyn std::error::Error>>(
            NodeClient::new(&address)?.with_login(login()).put_block(Codec::Raw, b"block").await,
        )
    };
    let elsewhere = put(cid_of(Codec::Raw, b"other").to_string()).await?;
    assert!(matches!(elsewhere, Err(NodeError::StoredElsewhere { .. })), "{elsewhere:?}");
    // An address with another hash function, and a text without end.
    for cid in ["bafkqaaa".to_owned(), "b".repeat(1 << 20)] {
        let refused = put(cid).await?.expect_err("no CID").to_string();
        assert!(refused.contains("field `cid`") && refused.len() < 500, "{refused}");
    }
    Ok(())
}

#[tokio::test]
async fn one_login_serves_many_requests_and_is_renewed_once() -> TestResult {
    let (address, log) = serve(logging_in(|got| match got.line.as_str() {
        line if line.contains("/records") => problem("401 Unauthorized", "unauthorized"),
        _ => ok("block"),
    }))?;
    let node = NodeClient::new(&address)?.with_login(login());
    let cid = cid_of(Codec::Raw, b"block");
    node.block(&cid).await?;
    node.block(&cid).await?;
    let logins = |log: &[Got]| log.iter().filter(|got| got.line.starts_with("POST /v1/login ")).count();
    {
        let log = log.lock().expect("no panic");
        assert_eq!(logins(&log), 1);
        let bearer = format!("Bearer {}", hex::encode(TOKEN));
        assert!(log.iter().filter(|got| got.line.contains("blocks")).all(|got| got.head.contains(&bearer)));
    }
    let refused = node.records(account(PATIENT)).await;
    assert!(matches!(refused, Err(NodeError::Refused { status: 401, .. })), "{refused:?}");
    let log = log.lock().expect("no panic");
    assert_eq!(logins(&log), 2);
    assert_eq!(log.iter().filter(|got| got.line.contains("/records")).count(), 2);
    Ok(())
}

/// The signed message names the address that the user gave and the hospital that the client expects, so a node cannot
/// use it to log in elsewhere.
#[tokio::test]
async fn the_login_signature_is_for_this_address_hospital_account_and_rollup() -> TestResult {
    let (address, log) = serve(logging_in(|_| ok("block")))?;
    let node = NodeClient::new(&address)?.with_login(login());
    node.block(&cid_of(Codec::Raw, b"block")).await?;
    let request = {
        let log = log.lock().expect("no panic");
        let got = log.iter().find(|got| got.line.starts_with("POST /v1/login ")).ok_or("no login")?;
        serde_json::from_slice::<LoginRequest>(&got.body)?
    };
    let key = request.public_key;
    assert_eq!(key, LIVED.identities[DOCTOR].rsa().public());
    let signature = request.signature;
    let message = emr_crypto::LoginMessage {
        domain: instance().domain(),
        verifier: account(HOSPITAL),
        account: account(DOCTOR),
        nonce: [7; 32],
        expires: request.expires,
        origin: address.parse::<Origin>()?.digest(),
    };
    assert_eq!(request.origin, address.parse::<Origin>()?);
    assert_eq!(message.verify(&key, &signature, UnixTime::now()), Ok(()));
    for other in [
        emr_crypto::LoginMessage { verifier: account(OTHER), ..message.clone() },
        emr_crypto::LoginMessage { account: account(OTHER), ..message.clone() },
        emr_crypto::LoginMessage { domain: [0; 32], ..message.clone() },
        emr_crypto::LoginMessage { origin: "https://hospital.example".parse::<Origin>()?.digest(), ..message },
    ] {
        assert!(other.verify(&key, &signature, UnixTime::now()).is_err());
    }
    Ok(())
}

#[tokio::test]
async fn odd_challenges_are_not_signed() -> TestResult {
    for (nonce, seconds, reason) in [
        ("07".repeat(31), 60, "field `nonce`"),
        (String::new(), 60, "field `nonce`"),
        ("zz".repeat(32), 60, "field `nonce`"),
        ("07".repeat(32), 90_000, "more than a day"),
    ] {
        let challenge = format!(r#"{{"nonce":"{nonce}","expires":{}}}"#, now_and(seconds));
        let (address, log) = serve(move |_| ok(&challenge))?;
        let node = NodeClient::new(&address)?.with_login(login());
        let refused = node.records(account(PATIENT)).await;
        let refused = refused.expect_err("must not be signed").to_string();
        assert!(refused.contains(reason), "{refused}");
        assert_eq!(log.lock().expect("no panic").len(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn refusals_are_typed() -> TestResult {
    type Is = fn(&NodeError) -> bool;
    let cases: [(&str, &str, Is); 5] = [
        ("409 Conflict", "stale", NodeError::is_stale),
        ("403 Forbidden", "revoked", NodeError::is_revoked),
        ("403 Forbidden", "no-session", NodeError::is_no_session),
        ("404 Not Found", "not-found", NodeError::is_not_found),
        ("503 Service Unavailable", "unavailable", NodeError::is_temporary),
    ];
    for (status, code, is) in cases {
        let (address, _) = serve(move |_| problem(status, code))?;
        let error = NodeClient::new(&address)?.status().await.expect_err("refused");
        assert!(is(&error), "{error:?}");
        assert_eq!(error.to_string(), "what to do");
        assert_eq!(cases.iter().filter(|(_, _, other)| other(&error)).count(), 1);
    }
    Ok(())
}

/// A node's messages are printed on terminals, so control characters are removed.
#[tokio::test]
async fn refusals_are_cut_and_hold_no_control_characters() -> TestResult {
    let message = format!("\u{1b}]0;title\u{7}{}", "x".repeat(10_000));
    let body = serde_json::to_string(&Problem { code: "refused".into(), message })?;
    let (address, _) = serve(move |_| answer("422 Unprocessable Content", &body))?;
    let shown = NodeClient::new(&address)?.status().await.expect_err("refused").to_string();
    assert!(shown.len() <= 500 && !shown.chars().any(char::is_control), "{shown}");
    Ok(())
}

#[test]
fn secrets_are_not_shown_by_debug() -> TestResult {
    let shown = format!("{:?}", LoginToken { token: TOKEN, expires: UnixTime::new(1)? });
    assert!(!shown.contains("171") && !shown.to_lowercase().contains("abab"), "{shown}");
    let identity = LIVED.identities[DOCTOR].clone().with_rollup_seed(&[0xab; 32]);
    let login = Login { keys: Arc::new(identity), ..login() };
    assert!(!format!("{login:?}").contains("171"), "{login:?}");
    let client = NodeClient::new("http://127.0.0.1:1")?.with_login(login);
    assert!(!format!("{client:?}").contains("171"), "{client:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_answer_is_told() -> TestResult {
    for raw in [
        answer("500 Internal Server Error", "<html>"),
        ok("<html>"),
        ok("{}"),
        ok(""),
        answer("302 Found\r\nlocation: http://127.0.0.1:1/", ""),
    ] {
        let (address, log) = serve(move |_| raw.clone())?;
        let error = NodeClient::new(&address)?.status().await.expect_err("refused");
        assert!(matches!(error, NodeError::Malformed { .. }), "{error:?}");
        assert_eq!(log.lock().expect("no panic").len(), 1);
    }
    for cut in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{", "no http\r\n\r\n"] {
        let (address, _) = serve(move |_| cut.as_bytes().to_vec())?;
        let error = NodeClient::new(&address)?.status().await.expect_err("refused");
        assert!(matches!(error, NodeError::Unreachable { .. }) && error.is_temporary(), "{error:?}");
    }
    Ok(())
}

#[tokio::test]
async fn nobody_there_and_no_address() -> TestResult {
    let address = format!("http://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?);
    let error = NodeClient::new(&address)?.status().await.expect_err("nobody");
    assert!(error.to_string().contains("check that it runs"), "{error}");
    for address in ["", "127.0.0.1:7070", "ftp://127.0.0.1/", "http://", "mailto:a@b"] {
        assert!(matches!(NodeClient::new(address), Err(NodeError::Address(_))), "{address}");
    }
    // Nothing is sent unencrypted beyond this machine.
    for address in ["http://node.example:8550", "http://10.0.0.1", "http://127.0.0.1.example/"] {
        assert!(
            matches!(NodeClient::new(address), Err(NodeError::Address(AddressError::PlainHttp { .. }))),
            "{address}"
        );
    }
    for address in ["https://node.example", "http://localhost:1", "http://[::1]:1"] {
        assert!(NodeClient::new(address).is_ok(), "{address}");
    }
    let (address, log) = serve(|_| ok("{}"))?;
    let refused = NodeClient::new(&address)?.records(account(PATIENT)).await;
    assert!(matches!(refused, Err(NodeError::NotRegistered)));
    assert!(log.lock().expect("no panic").is_empty());
    Ok(())
}
