//! A proxy between client and node that loses, changes or repeats messages, as a test tells it.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use url::Url;

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request is lost.
    LoseRequest,
    /// The answer is lost.
    LoseAnswer,
    /// The answer gets another body.
    Answer(String),
    /// The request does not reach the node, and gets this refusal.
    Refuse {
        /// The HTTP status.
        status: u16,
        /// Seconds of `Retry-After`.
        retry_after: u64,
        /// The body, JSON.
        body: String,
    },
    /// The node gets another request line, such as one for another block.
    Request(String),
}

type Rule = Box<dyn FnMut(&str, &str) -> Option<Fault> + Send>;

/// Forwards to a node, one request for each connection.
pub(crate) struct Proxy {
    pub(crate) address: String,
    rule: Arc<Mutex<Rule>>,
}

/// The head and the body of a message.
fn read_message(stream: &mut TcpStream, to_end: bool) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = stream.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..read]);
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let complete = length.map_or(!to_end, |length| bytes.len() >= end + 4 + length);
            if complete || read == 0 {
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                return Ok((head, bytes.split_off(end + 4)));
            }
        } else if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn handle(mut client: TcpStream, node: &str, rule: &Mutex<Rule>) -> io::Result<()> {
    let (head, body) = read_message(&mut client, false)?;
    let line = head.lines().next().unwrap_or_default().to_owned();
    let before = (rule.lock().expect("no panic"))(&line, "");
    if before == Some(Fault::LoseRequest) {
        return Ok(());
    }
    if let Some(Fault::Refuse { status, retry_after, body }) = &before {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} Refused\r\nretry-after: {retry_after}\r\ncontent-length: {length}\r\n\r\n");
        client.write_all(head.as_bytes())?;
        return client.write_all(body.as_bytes());
    }
    let line = if let Some(Fault::Request(other)) = before { other } else { line };
    let mut upstream = TcpStream::connect(node)?;
    let headers = head.lines().skip(1).filter(|header| !header.to_lowercase().starts_with("connection:"));
    let mut forwarded = format!("{line}\r\n");
    for header in headers {
        forwarded += &format!("{header}\r\n");
    }
    forwarded += "connection: close\r\n\r\n";
    upstream.write_all(forwarded.as_bytes())?;
    upstream.write_all(&body)?;
    let (head, body) = read_message(&mut upstream, true)?;
    let body = match (rule.lock().expect("no panic"))(&line, &String::from_utf8_lossy(&body)) {
        Some(Fault::LoseAnswer | Fault::LoseRequest) => return Ok(()),
        Some(Fault::Answer(other)) => other.into_bytes(),
        Some(Fault::Request(_) | Fault::Refuse { .. }) | None => body,
    };
    let mut answer = String::new();
    for header in head.lines().filter(|header| !header.to_lowercase().starts_with("content-length:")) {
        answer += &format!("{header}\r\n");
    }
    answer += &format!("content-length: {}\r\n\r\n", body.len());
    client.write_all(answer.as_bytes())?;
    client.write_all(&body)
}

impl Proxy {
    /// Starts a proxy in front of a node.
    pub(crate) fn new(node: &Url) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_, _| None)));
        let (shared, node) = (Arc::clone(&rule), node[url::Position::BeforeHost..url::Position::AfterPort].to_owned());
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let (rule, node) = (Arc::clone(&shared), node.clone());
                // A client may close the connection.
                thread::spawn(move || _ = handle(client, &node, &rule));
            }
        });
        Ok(Self { address, rule })
    }

    /// Sets the rule from now on. It is called with the request line and an empty answer before a request is forwarded,
    /// and again with the answer.
    pub(crate) fn set(&self, rule: impl FnMut(&str, &str) -> Option<Fault> + Send + 'static) {
        *self.rule.lock().expect("no panic") = Box::new(rule);
    }

    /// From now on, forwards everything unchanged.
    pub(crate) fn clear(&self) {
        self.set(|_, _| None);
    }
}

/// A rule that changes the answers to one path.
pub(crate) fn lie<T: serde::Serialize + serde::de::DeserializeOwned>(
    path: String,
    change: impl Fn(&mut T) + Send + 'static,
) -> impl FnMut(&str, &str) -> Option<Fault> + Send + 'static {
    move |request, answer| {
        if answer.is_empty() || !request.starts_with(&path) {
            return None;
        }
        let mut view: T = serde_json::from_str(answer).ok()?;
        change(&mut view);
        Some(Fault::Answer(serde_json::to_string(&view).ok()?))
    }
}
