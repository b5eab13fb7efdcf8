//! Limits how long a connection can be idle, and closes a connection that is replaced.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::Sleep,
};

/// How long a connection can be idle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The time until the end of its first request's head.
    pub(crate) first_head: Duration,
    /// The time without a complete head of the next request, and without the client reading a part of an answer.
    pub(crate) idle: Duration,
}

/// The activity of a connection. If the client neither sends requests nor reads answers, the connection is closed.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The number of requests that are being answered, or whose bodies are being read. These have separate time limits.
    answering: AtomicUsize,
    /// The number of requests because of which the connection must not be replaced.
    protected: AtomicUsize,
    deadline: Mutex<tokio::time::Instant>,
    idle: Duration,
    evicted: AtomicBool,
    gone: Notify,
    waker: Mutex<Option<Waker>>,
}

impl Pace {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            answering: AtomicUsize::new(0),
            protected: AtomicUsize::new(0),
            deadline: Mutex::new(tokio::time::Instant::now() + patience.first_head),
            idle: patience.idle,
            evicted: AtomicBool::new(false),
            gone: Notify::new(),
            waker: Mutex::new(None),
        }
    }

    /// When the connection is closed if nothing happens before.
    pub(crate) fn deadline(&self) -> tokio::time::Instant {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = tokio::time::Instant::now() + self.idle;
    }

    /// Whether a request is being answered.
    pub(crate) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::SeqCst) > 0
    }

    /// Whether the connection must not be replaced.
    pub(crate) fn is_protected(&self) -> bool {
        self.protected.load(Ordering::SeqCst) > 0
    }

    /// Closes the connection, and ends the request on it.
    pub(crate) fn evict(&self) {
        self.evicted.store(true, Ordering::SeqCst);
        // The notification is kept for the request that is being answered, if there is one. A connection has one at a
        // time.
        self.gone.notify_one();
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }

    /// Stores which task to wake. Returns whether the connection was evicted.
    fn note_waker(&self, waker: &Waker) -> bool {
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        self.evicted.load(Ordering::SeqCst)
    }
}

/// Marks that a request is being answered. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Pace>);

impl Answering {
    pub(crate) fn begin(pace: &Arc<Pace>) -> Self {
        pace.answering.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(pace))
    }

    /// Resolves when the connection is evicted.
    pub(crate) async fn gone(&self) {
        self.0.gone.notified().await;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.moved();
        self.0.answering.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Protects a connection from being replaced. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct Protected(Arc<Pace>);

impl Protected {
    pub(crate) fn begin(pace: &Arc<Pace>) -> Self {
        pace.protected.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(pace))
    }
}

impl Drop for Protected {
    fn drop(&mut self) {
        self.0.protected.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection. Dropping it gives back `place`.
#[derive(Debug)]
pub(crate) struct Connection<P> {
    stream: TcpStream,
    pace: Arc<Pace>,
    timer: Pin<Box<Sleep>>,
    place: P,
}

impl<P> Connection<P> {
    pub(crate) fn new(stream: TcpStream, pace: Arc<Pace>, place: P) -> Self {
        let timer = Box::pin(tokio::time::sleep_until(pace.deadline()));
        Self { stream, pace, timer, place }
    }

    pub(crate) fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    pub(crate) fn place(&self) -> &P {
        &self.place
    }

    /// Fails if the deadline has passed or the place was taken away. Otherwise the polling task is woken when that
    /// happens.
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.pace.note_waker(cx.waker()) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the place was needed for another connection",
            ));
        }
        while self.pace.answering.load(Ordering::SeqCst) == 0 {
            let deadline = self.pace.deadline();
            if self.timer.deadline() != deadline {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                break;
            }
            if self.pace.deadline() == deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was asked for long"));
            }
        }
        Ok(())
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.pace.moved();
        }
    }
}

impl<P: Unpin> AsyncRead for Connection<P> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<P: Unpin> AsyncWrite for Connection<P> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(cx)?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.in_time(cx)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
