//! How long each client has kept the server waiting.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Whoever moves so many bytes is not stalled.
const PROGRESS: usize = 16 * 1024;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change of what is protected here is a single step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The open connections.
#[derive(Default)]
pub(super) struct Peers(Mutex<HashMap<u64, Arc<Peer>>>);

impl Peers {
    pub(super) fn add(&self, client: IpAddr) -> Arc<Peer> {
        let mut peers = lock(&self.0);
        let mut id = peers.len() as u64;
        // Numbers of closed connections are used again.
        while peers.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        let peer = Arc::new(Peer {
            id,
            client,
            state: Mutex::new(State {
                answering: 0,
                waited: Duration::ZERO,
                pending: Some(Instant::now()),
                moved: 0,
                evicted: false,
            }),
            evict: Notify::new(),
        });
        peers.insert(id, peer.clone());
        peer
    }

    pub(super) fn remove(&self, peer: &Peer) {
        lock(&self.0).remove(&peer.id);
    }

    pub(super) fn count(&self, client: IpAddr) -> usize {
        let peers = lock(&self.0);
        peers.values().filter(|peer| peer.client == client).count()
    }

    /// Closes the `most` connections that have kept the server waiting for the
    /// longest; `false` if it waits for none.
    pub(super) fn evict(&self, most: usize) -> bool {
        self.evict_longest(most, |_| true)
    }

    /// As [`evict`](Self::evict), among those of one client.
    pub(super) fn evict_of(&self, client: IpAddr, most: usize) -> bool {
        self.evict_longest(most, |peer| peer.client == client)
    }

    fn evict_longest(&self, most: usize, among: impl Fn(&Peer) -> bool) -> bool {
        let peers = lock(&self.0);
        let waiting = peers
            .values()
            .filter(|peer| among(peer))
            .filter_map(|peer| {
                let state = lock(&peer.state);
                (state.pending.is_some() && !state.evicted).then(|| (state.waited(), peer))
            });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_by_key(|(waited, _)| std::cmp::Reverse(*waited));
        waiting.truncate(most);
        waiting.iter().for_each(|(_, peer)| peer.evict());
        !waiting.is_empty()
    }

    /// Closes all connections.
    pub(super) fn close(&self) {
        lock(&self.0).values().for_each(|peer| peer.evict());
    }
}

/// One connection.
pub(super) struct Peer {
    id: u64,
    client: IpAddr,
    state: Mutex<State>,
    evict: Notify,
}

struct State {
    /// Requests whose answers are not sent yet.
    answering: usize,
    /// How long the client has kept the server waiting since it last moved
    /// something, without the present wait.
    waited: Duration,
    /// Since when the server waits for the client; not while it works itself.
    pending: Option<Instant>,
    /// Bytes moved since `waited` was zero.
    moved: usize,
    evicted: bool,
}

impl State {
    fn waited(&self) -> Duration {
        self.waited + self.pending.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn reset(&mut self, pending: Option<Instant>) {
        self.waited = Duration::ZERO;
        self.moved = 0;
        self.pending = pending;
    }
}

impl Peer {
    /// How long the client has kept the server waiting.
    pub(super) fn waited(&self) -> Duration {
        lock(&self.state).waited()
    }

    /// Ends once the connection has to give way.
    pub(super) async fn evicted(&self) {
        self.evict.notified().await;
    }

    fn evict(&self) {
        lock(&self.state).evicted = true;
        self.evict.notify_one();
    }

    fn blocked(&self) {
        lock(&self.state).pending.get_or_insert_with(Instant::now);
    }

    fn moved(&self, bytes: usize) {
        let mut state = lock(&self.state);
        if let Some(since) = state.pending.take() {
            state.waited += since.elapsed();
        }
        state.moved += bytes;
        if state.moved >= PROGRESS {
            state.reset(None);
        }
        if state.answering == 0 {
            // The next request is what is waited for.
            state.pending = Some(Instant::now());
        }
    }
}

/// A request that is being answered.
pub(super) struct Answering(Arc<Peer>);

impl Answering {
    pub(super) fn new(peer: Arc<Peer>) -> Self {
        let mut state = lock(&peer.state);
        state.answering += 1;
        state.reset(None);
        drop(state);
        Self(peer)
    }

    /// A body whose end is the end of the answer.
    pub(super) fn until_end(self, body: Body) -> Body {
        Body::new(AnswerBody {
            body,
            _answering: self,
        })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.answering -= 1;
        if state.answering == 0 {
            state.reset(Some(Instant::now()));
        }
    }
}

struct AnswerBody {
    body: Body,
    _answering: Answering,
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request, which the client may hold back.
pub(super) struct WatchedBody {
    body: Incoming,
    peer: Arc<Peer>,
}

impl WatchedBody {
    pub(super) fn new(body: Incoming, peer: Arc<Peer>) -> Self {
        Self { body, peer }
    }
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Pending => self.peer.blocked(),
            Poll::Ready(Some(Ok(frame))) => {
                self.peer.moved(frame.data_ref().map_or(0, Bytes::len));
            }
            Poll::Ready(_) => self.peer.moved(PROGRESS),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose client may leave answers unread.
pub(super) struct WatchedStream {
    stream: TcpStream,
    peer: Arc<Peer>,
}

impl WatchedStream {
    pub(super) fn new(stream: TcpStream, peer: Arc<Peer>) -> Self {
        Self { stream, peer }
    }

    fn note(&self, polled: &Poll<io::Result<usize>>) {
        match polled {
            Poll::Pending => self.peer.blocked(),
            Poll::Ready(Ok(n)) => self.peer.moved(*n),
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.note(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
