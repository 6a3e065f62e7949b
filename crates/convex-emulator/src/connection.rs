//! Connections that can be cut from inside a handler, and the listener that accepts them.
//!
//! A cut is noted beside the stream; the next read or write of the HTTP implementation then
//! fails, and it drops the connection without having sent a byte. The task of the connection is
//! woken for it, so a cut takes effect even while a handler is waiting.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::delivery::Cut;
use crate::streams::StreamKind;
use crate::wire::Request;

/// Cuts one connection, and notes what it carried.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cutter(Arc<Mutex<CutState>>, Arc<Mutex<Carried>>);

/// What a connection carried so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Requests that arrived, polls of streams and upgrades to a websocket among them.
    pub requests: u64,
    /// Polls of the streams of executions.
    pub polls: u64,
    /// Requests to the controls of the emulator; no client of a deployment sends them.
    pub controls: u64,
    /// The `Convex-Client` header of the latest request that had one.
    pub client: Option<String>,
}

#[derive(Debug, Default)]
struct CutState {
    cut: Option<Cut>,
    waker: Option<Waker>,
}

/// All open connections of a listener.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    open: watch::Sender<usize>,
    accepted: Arc<AtomicU64>,
    carried: Arc<Mutex<VecDeque<Arc<Mutex<Carried>>>>>,
    cutters: Arc<Mutex<Vec<Weak<Mutex<CutState>>>>>,
}

/// How many TCP connections there were and are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Accepted since the start, those included that an outage closed at once.
    pub accepted: u64,
    /// Open now.
    pub open: usize,
}

/// Accepts connections that can be cut; closes them at once while `refuses` says so.
pub(crate) struct CuttableListener<R> {
    pub(crate) listener: TcpListener,
    pub(crate) connections: Connections,
    pub(crate) refuses: R,
}

/// A connection that can be cut.
#[derive(Debug)]
pub(crate) struct CuttableStream {
    stream: TcpStream,
    cutter: Cutter,
    open: watch::Sender<usize>,
}

impl Cutter {
    /// Cuts the connection.
    pub(crate) fn cut(&self, cut: Cut) {
        cut_state(&self.0, cut);
    }

    /// Notes a request that arrived.
    pub(crate) fn note(&self, request: &Request, is_control: bool) {
        let mut carried = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        if is_control {
            carried.controls += 1;
            return;
        }
        carried.requests += 1;
        carried.polls += u64::from(StreamKind::find(&request.path).is_some());
        if let Some(client) = request.headers.get("convex-client") {
            carried.client = Some(client.clone());
        }
    }

    /// Fails when the connection was cut; else remembers whom to wake when it will be.
    fn check(&self, stream: &TcpStream, context: &Context<'_>) -> io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(cut) = state.cut else {
            state.waker = Some(context.waker().clone());
            return Ok(());
        };
        if cut == Cut::Reset {
            stream.set_zero_linger()?;
        }
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut by the emulator"))
    }
}

impl Carried {
    pub(crate) fn to_json(&self) -> Json {
        json!({
            "requests": self.requests,
            "polls": self.polls,
            "controls": self.controls,
            "client": self.client,
        })
    }
}

impl Connections {
    pub(crate) fn new() -> Self {
        Self {
            open: watch::Sender::new(0),
            accepted: Arc::default(),
            carried: Arc::default(),
            cutters: Arc::default(),
        }
    }

    /// Cuts every open connection and waits until all are gone, at most [`CLOSE_WAIT_MAX`].
    pub(crate) async fn close_all(&self) {
        self.cut_all();
        let mut open = self.open.subscribe();
        let closed = open.wait_for(|open| *open == 0);
        if tokio::time::timeout(CLOSE_WAIT_MAX, closed).await.is_err() {
            tracing::warn!("connections were still open when the emulator stopped");
        }
    }

    pub(crate) fn counts(&self) -> ConnectionCounts {
        let accepted = self.accepted.load(Ordering::Relaxed);
        ConnectionCounts { accepted, open: *self.open.borrow() }
    }

    /// What each connection carried, oldest first: open ones and closed ones.
    pub(crate) fn carried(&self) -> Vec<Carried> {
        let of_one = |carried: &Arc<Mutex<Carried>>| {
            carried.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        self.lock_carried().iter().map(of_one).collect()
    }

    /// Cuts every open connection.
    pub(crate) fn cut_all(&self) {
        for state in self.lock().drain(..).filter_map(|state| state.upgrade()) {
            cut_state(&state, Cut::Close);
        }
    }

    fn admit(&self, stream: TcpStream) -> CuttableStream {
        let cutter = Cutter::default();
        let mut cutters = self.lock();
        cutters.retain(|state| state.strong_count() > 0);
        cutters.push(Arc::downgrade(&cutter.0));
        let mut carried = self.lock_carried();
        if carried.len() == CARRIED_MAX {
            carried.pop_front();
        }
        carried.push_back(Arc::clone(&cutter.1));
        self.open.send_modify(|open| *open += 1);
        CuttableStream { stream, cutter, open: self.open.clone() }
    }

    fn lock_carried(&self) -> MutexGuard<'_, VecDeque<Arc<Mutex<Carried>>>> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Mutex<CutState>>>> {
        self.cutters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Fn() -> bool + Send + 'static> Listener for CuttableListener<R> {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok(_) if (self.refuses)() => {
                    self.connections.accepted.fetch_add(1, Ordering::Relaxed);
                }
                Ok((stream, peer)) => {
                    self.connections.accepted.fetch_add(1, Ordering::Relaxed);
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "cannot set TCP_NODELAY");
                    }
                    return (self.connections.admit(stream), peer);
                }
                Err(error) => {
                    // Mostly too many open files: trying again at once would only spin.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::timeout(ACCEPT_PAUSE, std::future::pending::<()>()).await.ok();
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl<R: Fn() -> bool + Send + 'static> Connected<IncomingStream<'_, CuttableListener<R>>>
    for Cutter
{
    fn connect_info(stream: IncomingStream<'_, CuttableListener<R>>) -> Self {
        stream.io().cutter.clone()
    }
}

impl Drop for CuttableStream {
    fn drop(&mut self) {
        self.open.send_modify(|open| *open -= 1);
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cutter.check(&self.stream, context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.cutter.check(&self.stream, context)?;
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cutter.check(&self.stream, context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cutter.check(&self.stream, context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn cut_state(state: &Mutex<CutState>, cut: Cut) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.cut = Some(cut);
    if let Some(waker) = state.waker.take() {
        waker.wake();
    }
}

/// Of how many connections it is kept what they carried.
const CARRIED_MAX: usize = 10_000;
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// A cut connection is gone within a poll; more means that something is stuck.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(5);
