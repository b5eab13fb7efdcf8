use std::{io, net::SocketAddr};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    middleware::{Next, from_fn_with_state},
    routing::get,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use super::*;
use crate::http::{FairListener, limits::Permits};

type Test = Result<(), Box<dyn std::error::Error>>;

/// The size of an answer: more than the buffers of a socket hold.
const LARGE: usize = 16 << 20;
const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[derive(Clone, Debug)]
struct Limited {
    answers: Answers,
    permits: Arc<Permits<Asker>>,
}

async fn admit(State(limited): State<Limited>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|peer| peer.0.clone());
    let Some(address) = peer.as_ref().map(|peer| peer.address) else { return next.run(request).await };
    let asker = Asker::Address(address);
    let Some(permit) = limited.permits.take(asker.clone()) else {
        return RequestError::too_many("many", SOON).into_response();
    };
    let response = next.run(request).await;
    limited.answers.hold(response, asker, (permit, None), peer).await
}

/// Serves large answers. There is memory for four of them, and each address has three permits.
async fn serve() -> io::Result<(SocketAddr, Limited)> {
    let limited = Limited { answers: Answers::of(4 * LARGE), permits: Arc::new(Permits::new(3)) };
    let app = Router::new().route("/", get(|| async { vec![7_u8; LARGE] }));
    let app = app.layer(from_fn_with_state(limited.clone(), admit)).into_make_service_with_connect_info::<Peer>();
    let listener = FairListener::new(TcpListener::bind("127.0.0.1:0").await?, 64);
    let address = axum::serve::Listener::local_addr(&listener)?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok((address, limited))
}

/// Asks from one of this machine's addresses, and reads the first line of the answer only.
async fn ask(last: u8, address: SocketAddr) -> io::Result<(TcpStream, String)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(ASK).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    Ok((stream, String::from_utf8_lossy(&head).into_owned()))
}

async fn read_all(stream: &mut TcpStream) -> io::Result<usize> {
    let (mut read, mut part) = (0, vec![0; 1 << 16]);
    while read < LARGE {
        match stream.read(&mut part).await? {
            0 => return Ok(read),
            more => read += more,
        }
    }
    Ok(read)
}

async fn until(done: impl Fn() -> bool) -> bool {
    for _ in 0..500 {
        if done() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

fn held(limited: &Limited) -> usize {
    limited.answers.0.lock().expect("no panic").bytes
}

/// An answer that is not read keeps its permit. One that is read gives it back.
#[tokio::test]
async fn an_unread_answer_keeps_its_place() -> Test {
    let (address, limited) = serve().await?;
    let mut unread = Vec::new();
    for _ in 0..3 {
        let (stream, head) = ask(1, address).await?;
        assert_eq!(head, "HTTP/1.1 200");
        unread.push(stream);
    }
    assert_eq!(held(&limited), 3 * LARGE);
    assert_eq!(ask(1, address).await?.1, "HTTP/1.1 429", "three permits, three answers");
    let mut first = unread.remove(0);
    assert!(read_all(&mut first).await? >= LARGE);
    assert!(until(|| held(&limited) == 2 * LARGE).await, "{} bytes", held(&limited));
    // The connection is still open. The permit is free, not only the connection.
    assert_eq!(ask(1, address).await?.1, "HTTP/1.1 200");
    drop(unread);
    Ok(())
}

/// One address does not read its answers. The memory stays bounded, and others get the bytes that it holds.
#[tokio::test]
async fn the_one_that_holds_most_gives_way() -> Test {
    let (address, limited) = serve().await?;
    let mut unread = Vec::new();
    for _ in 0..3 {
        unread.push(ask(1, address).await?.0);
    }
    let mut others = Vec::new();
    for last in 2..=4 {
        let (stream, head) = ask(last, address).await?;
        assert_eq!(head, "HTTP/1.1 200", "address {last}");
        others.push(stream);
        assert!(held(&limited) <= 4 * LARGE);
    }
    // Each holds one answer now: the memory is used up, and shared equally.
    assert_eq!(ask(5, address).await?.1, "HTTP/1.1 503");
    for stream in &mut others {
        assert!(read_all(stream).await? >= LARGE, "nobody took their bytes");
    }
    let mut whole = 0;
    for stream in &mut unread {
        whole += usize::from(read_all(stream).await.is_ok_and(|read| read >= LARGE));
    }
    assert_eq!(whole, 1, "of the three answers of the first address");
    assert!(until(|| held(&limited) == 0).await, "{} bytes", held(&limited));
    Ok(())
}

fn asker(last: u8) -> Asker {
    Asker::Address(crate::http::limits::ClientAddress::of([127, 0, 0, last].into()))
}

/// If all hold the same number of bytes, only answers that are read too slowly lose theirs.
#[test]
fn a_slow_reader_gives_way_to_equals() {
    let mut unread = Unread { limit: 4 * LARGE, ..Unread::default() };
    let began = Instant::now();
    let first: Vec<_> = (1..=4).filter_map(|last| unread.take(asker(last), LARGE, None, began)).collect();
    assert_eq!(first, [0, 1, 2, 3]);
    let in_time = began + GRACE + Duration::from_secs((LARGE / SLOWEST) as u64 - 1);
    assert_eq!(unread.take(asker(5), LARGE, None, in_time), None);
    let late = in_time + Duration::from_secs(1);
    assert_eq!(unread.take(asker(5), LARGE, None, late), Some(4));
    assert!(!unread.answers.contains_key(&0) && unread.bytes == 4 * LARGE);
    // Bytes that were taken away are not given back a second time.
    assert!(unread.give_back(0).is_none());
    assert_eq!(unread.bytes, 4 * LARGE);
    assert_eq!(unread.take(asker(6), 5 * LARGE, None, late), None, "larger than all of the memory");
    for number in 1..=4 {
        let _ = unread.give_back(number);
    }
    assert!(unread.bytes == 0 && unread.of_asker.is_empty() && unread.answers.is_empty());
}
