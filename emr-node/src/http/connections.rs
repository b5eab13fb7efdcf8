//! Accepts a bounded number of connections, and shares them fairly among client addresses.
//!
//! Every connection is accepted. If there is a free place, it gets it. If all are taken, it replaces a connection of
//! the address that holds the most. If that is its own address, it replaces only a connection on which no request is
//! being answered. So one address can hold all places while nobody else needs them, but cannot keep others out. The
//! addresses of a site (an IPv6 /48) count as one, and share their places in the same way.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::net::{TcpListener, TcpStream};

use crate::http::{
    limits::ClientAddress,
    pace::{Connection, Pace, Patience, Protected},
};

pub(crate) use crate::http::pace::Answering;

/// How long a connection may be idle: 10 s until the first request, 30 s afterwards.
const PATIENCE: Patience = Patience { first_head: Duration::from_secs(10), idle: Duration::from_secs(30) };
/// The answer to a connection that gets no place. It is sent without waiting, so it may be lost.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n\
    content-type: application/json\r\ncontent-length: 89\r\n\r\n\
    {\"code\":\"too-many\",\"message\":\"too many connections from your address: try again shortly\"}";

/// Accepts connections.
#[derive(Debug)]
pub(crate) struct FairListener {
    listener: TcpListener,
    places: Arc<Mutex<Held>>,
    patience: Patience,
}

impl FairListener {
    pub(crate) fn new(listener: TcpListener, connections: usize) -> Self {
        Self::of(listener, connections, PATIENCE)
    }

    fn of(listener: TcpListener, connections: usize, patience: Patience) -> Self {
        Self { listener, places: Arc::new(Mutex::new(Held::new(connections))), patience }
    }
}

impl Listener for FairListener {
    type Io = Connection<Seat>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            let _ = stream.set_nodelay(true);
            let address = ClientAddress::of(peer.ip());
            let pace = Arc::new(Pace::new(self.patience));
            let taken = self.places.lock().unwrap_or_else(PoisonError::into_inner).take(address, &pace);
            match taken {
                Some(number) => {
                    let seat = Seat { address, number, places: Arc::clone(&self.places) };
                    return (Connection::new(stream, pace, seat), peer);
                }
                None => refuse(&stream),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn refuse(stream: &TcpStream) {
    // The socket's buffers are empty, so this does not block. Bytes that do not fit are lost.
    let _ = stream.try_write(FULL);
}

/// The places that are taken, by client address.
#[derive(Debug)]
struct Held {
    limit: usize,
    count: usize,
    next: u64,
    by_address: BTreeMap<ClientAddress, BTreeMap<u64, Arc<Pace>>>,
}

impl Held {
    const fn new(limit: usize) -> Self {
        Self { limit, count: 0, next: 0, by_address: BTreeMap::new() }
    }

    /// Takes a place for a connection and returns its number; `None` if the address gets none.
    fn take(&mut self, address: ClientAddress, pace: &Arc<Pace>) -> Option<u64> {
        if self.count >= self.limit {
            let (victim, number) = self.victim(address)?;
            if let Some(pace) = self.give_back(victim, number) {
                pace.evict();
            }
        }
        let number = self.next;
        self.next += 1;
        self.count += 1;
        self.by_address.entry(address).or_default().insert(number, Arc::clone(pace));
        Some(number)
    }

    /// The connection that a new connection of `address` replaces. If another site holds more connections than the site
    /// of `address` would then hold, the site that holds most gives one up; within it, the address that holds most.
    /// Otherwise the addresses within the site of `address` are compared in the same way. Among equals, only an idle
    /// connection is replaced: one of `address`, or of anyone if it has none. One with a Revoke is never replaced.
    fn victim(&self, address: ClientAddress) -> Option<(ClientAddress, u64)> {
        let mut sites = BTreeMap::<ClientAddress, usize>::new();
        for (other, held) in &self.by_address {
            *sites.entry(other.site()).or_default() += held.len();
        }
        let (site, most_of_site) = (address.site(), sites.values().copied().max()?);
        let own_site = sites.get(&site).copied().unwrap_or(0);
        let own = self.by_address.get(&address).map_or(0, BTreeMap::len);
        let from_largest_site = own_site == 0 || most_of_site > own_site + 1;
        let in_question = |other: &ClientAddress| match from_largest_site {
            true => sites.get(&other.site()) == Some(&most_of_site),
            false => other.site() == site,
        };
        let candidates = || self.by_address.iter().filter(|(other, _)| in_question(other));
        let most = candidates().map(|(_, held)| held.len()).max()?;
        let among_equals = most_of_site <= own_site + 1 && most <= own + 1;
        candidates()
            .filter(|(other, held)| if among_equals && own > 0 { **other == address } else { held.len() == most })
            .flat_map(|(address, held)| held.iter().map(move |(number, pace)| (*address, *number, pace)))
            .filter(|(_, _, pace)| !(pace.is_protected() || among_equals && pace.is_answering()))
            // Prefers connections on which no request is being answered, and then those that have been idle longest.
            .min_by_key(|(_, number, pace)| (pace.is_answering(), pace.deadline(), *number))
            .map(|(address, number, _)| (address, number))
    }

    fn give_back(&mut self, address: ClientAddress, number: u64) -> Option<Arc<Pace>> {
        let held = self.by_address.get_mut(&address)?;
        let pace = held.remove(&number)?;
        if held.is_empty() {
            self.by_address.remove(&address);
        }
        self.count -= 1;
        Some(pace)
    }
}

/// A connection's place. Dropping this gives the place back.
#[derive(Debug)]
pub(crate) struct Seat {
    address: ClientAddress,
    number: u64,
    places: Arc<Mutex<Held>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        // The place may have been taken away already.
        let _ = self.places.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.address, self.number);
    }
}

/// The client and the connection of a request.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: ClientAddress,
    pace: Arc<Pace>,
}

impl Peer {
    /// Marks the connection as answering a request, until the result is dropped.
    pub(crate) fn answer(&self) -> Answering {
        Answering::begin(&self.pace)
    }

    /// Closes the connection, even while it sends an answer.
    pub(crate) fn hang_up(&self) {
        self.pace.evict();
    }

    /// Whether the connection must not be closed now.
    pub(crate) fn is_protected(&self) -> bool {
        self.pace.is_protected()
    }

    /// Protects the connection from being replaced, until the result is dropped.
    pub(crate) fn protect(&self) -> Protected {
        Protected::begin(&self.pace)
    }
}

impl Connected<IncomingStream<'_, FairListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, FairListener>) -> Self {
        let connection = stream.io();
        Self { address: connection.place().address, pace: Arc::clone(connection.pace()) }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        time::Instant,
    };

    use axum::{Router, middleware::from_fn, routing::get};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpSocket,
    };

    use super::*;
    use crate::http::server::finish;

    type Test = Result<(), Box<dyn std::error::Error>>;

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    /// More bytes than a socket's buffers hold.
    const LARGE: usize = 64 << 20;
    const BRIEF: Patience = Patience { first_head: Duration::from_secs(1), idle: Duration::from_secs(3) };

    /// Serves a few connections. `/` answers at once, `/slow` after more time than a connection may be idle, `/large`
    /// with many bytes.
    async fn serve(connections: usize) -> io::Result<SocketAddr> {
        let slow = || async {
            tokio::time::sleep(BRIEF.idle + Duration::from_secs(1)).await;
            "slow"
        };
        let app = Router::new()
            .route("/", get(|| async { "quick" }))
            .route("/slow", get(slow))
            .route("/large", get(|| async { vec![0_u8; LARGE] }))
            .layer(from_fn(finish))
            .into_make_service_with_connect_info::<Peer>();
        let listener = FairListener::of(TcpListener::bind("127.0.0.1:0").await?, connections, BRIEF);
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(address)
    }

    /// Reads the first bytes of an answer. Also returns how long they took.
    async fn answer(mut stream: TcpStream) -> io::Result<(String, Duration)> {
        let began = Instant::now();
        let mut head = vec![0; 12];
        stream.read_exact(&mut head).await?;
        Ok((String::from_utf8_lossy(&head).into_owned(), began.elapsed()))
    }

    async fn ask(address: SocketAddr, request: &[u8]) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request).await?;
        Ok(stream)
    }

    /// All places are taken by connections that send nothing, send single bytes, or do not read the answer.
    #[tokio::test]
    async fn idle_connections_give_way() -> Test {
        let address = serve(4).await?;
        let silent = TcpStream::connect(address).await?;
        let half = ask(address, b"GET / HTTP/1.1\r\nhost:").await?;
        let mut drops = TcpStream::connect(address).await?;
        let drop_by_drop = tokio::spawn(async move {
            while drops.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let mut kept = ask(address, ASK).await?;
        let mut read = [0; 12];
        kept.read_exact(&mut read).await?;
        // The fifth connection replaces an idle one.
        let (head, waited) = answer(ask(address, ASK).await?).await?;
        assert_eq!(head, "HTTP/1.1 200");
        assert!(waited < BRIEF.first_head / 2, "{waited:?}");
        drop_by_drop.await?;
        drop((silent, half, kept));
        Ok(())
    }

    /// A connection with a slow answer is not idle. A connection whose client does not read the answer is.
    #[tokio::test]
    async fn a_slow_answer_is_not_idle_and_an_unread_answer_is() -> Test {
        let address = serve(2).await?;
        let slow = tokio::spawn(answer(ask(address, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await?));
        let untaken = ask(address, b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (head, waited) = answer(ask(address, ASK).await?).await?;
        assert_eq!(head, "HTTP/1.1 200");
        assert!(waited < BRIEF.idle / 2, "{waited:?}");
        assert_eq!(slow.await??.0, "HTTP/1.1 200");
        drop(untaken);
        Ok(())
    }

    /// Connects from one of this machine's addresses.
    async fn ask_from(last: u8, address: SocketAddr, request: &[u8]) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
        let mut stream = socket.connect(address).await?;
        stream.write_all(request).await?;
        Ok(stream)
    }

    /// One address holds every place, each with a request that is being answered. Other addresses get in, one after the
    /// other, until all have the same share. The first keeps its share.
    #[tokio::test]
    async fn an_address_that_holds_everything_gives_way_to_others() -> Test {
        const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
        let address = serve(8).await?;
        let mut greedy = Vec::new();
        for _ in 0..8 {
            greedy.push(tokio::spawn(answer(ask(address, SLOW).await?)));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (head, _) = answer(ask(address, ASK).await?).await?;
        assert_eq!(head, "HTTP/1.1 503", "its own requests are not ended for it");
        let mut others = Vec::new();
        for last in 2..6 {
            let (head, waited) = answer(ask_from(last, address, ASK).await?).await?;
            assert_eq!(head, "HTTP/1.1 200");
            assert!(waited < Duration::from_millis(500), "{waited:?}");
            others.push(tokio::spawn(answer(ask_from(last, address, SLOW).await?)));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut answered = 0;
        for request in greedy {
            answered += usize::from(request.await?.is_ok_and(|(head, _)| head == "HTTP/1.1 200"));
        }
        assert_eq!(answered, 4, "its share is what the others leave");
        for request in others {
            assert_eq!(request.await??.0, "HTTP/1.1 200");
        }
        Ok(())
    }

    /// Connections of one address come and go. The count stays right.
    #[test]
    fn places_are_given_back_once() {
        let address = |last: u8| ClientAddress::of([127, 0, 0, last].into());
        let pace = || Arc::new(Pace::new(BRIEF));
        let mut held = Held::new(3);
        let first: Vec<_> = (0..3).filter_map(|_| held.take(address(1), &pace())).collect();
        assert_eq!((first.len(), held.count), (3, 3));
        let taken = held.take(address(2), &pace());
        assert!(taken.is_some() && held.count == 3);
        // The evicted connection ends last, and is not counted a second time.
        assert!(first.iter().filter(|number| held.give_back(address(1), **number).is_some()).count() == 2);
        assert_eq!((held.count, held.by_address.len()), (1, 1));
        assert!(taken.is_some_and(|number| held.give_back(address(2), number).is_some()));
        assert_eq!((held.count, held.by_address.len()), (0, 0));
    }

    /// A site takes every place, each from another of its networks. Others still get in, and keep what they get.
    #[test]
    fn a_site_with_many_networks_is_one_among_others() {
        let address = |text: String| ClientAddress::of(text.parse().expect("an address"));
        let pace = || Arc::new(Pace::new(BRIEF));
        let mut held = Held::new(8);
        let hostile = |network: u32| address(format!("2001:db8:1:{network:x}::1"));
        // Every connection has a request that is being answered.
        let mut answering = Vec::new();
        let mut busy = || {
            let pace = pace();
            answering.push(Answering::begin(&pace));
            pace
        };
        for network in 0..8 {
            assert!(held.take(hostile(network), &busy()).is_some());
        }
        assert_eq!(held.take(hostile(9), &busy()), None, "its own requests are not ended for it");
        for other in 1..=4 {
            assert!(held.take(address(format!("2001:db8:2:{other:x}::1")), &busy()).is_some(), "{other}");
        }
        let of = |held: &Held, site: ClientAddress| {
            held.by_address.iter().filter(|(other, _)| other.site() == site).map(|(_, held)| held.len()).sum::<usize>()
        };
        assert_eq!((of(&held, hostile(0).site()), held.count), (4, 8), "two sites, half each");
        for network in 10..500 {
            assert_eq!(held.take(hostile(network), &busy()), None);
        }
        assert!(held.take(address("192.0.2.1".to_owned()), &busy()).is_some(), "a third");
    }

    /// A protected connection is not replaced.
    #[test]
    fn a_protected_connection_keeps_its_place() {
        let address = |last: u8| ClientAddress::of([127, 0, 0, last].into());
        let mut held = Held::new(2);
        let paces = [Arc::new(Pace::new(BRIEF)), Arc::new(Pace::new(BRIEF))];
        assert!(paces.iter().all(|pace| held.take(address(1), pace).is_some()));
        let revokes = paces.each_ref().map(Protected::begin);
        assert_eq!(held.take(address(2), &Arc::new(Pace::new(BRIEF))), None);
        drop(revokes);
        assert!(held.take(address(2), &Arc::new(Pace::new(BRIEF))).is_some());
    }
}
