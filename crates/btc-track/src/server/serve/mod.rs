//! Serving a router so that no client can stop the others.
//!
//! A client may be slow, silent or hostile: it opens connections and says
//! nothing, sends half a request, never reads the answer. Each of these is
//! bounded in time, and where connections run out the one that has kept the
//! server waiting for the longest gives way. A connection on whose answer the
//! server still works is never closed for another.

mod peer;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

use peer::{Answering, Peers, WatchedBody, WatchedStream};

/// How long open requests may go on after the server was told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long a connection that has to give way may take to do so.
const EVICTION: Duration = Duration::from_millis(50);

/// How much of the server one client, and all of them, may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    connections: usize,
    connections_per_client: usize,
    head_timeout: Duration,
    stall_timeout: Duration,
}

impl Default for Limits {
    /// 1024 connections, 256 of them of one client of another computer, 30
    /// seconds for a head and for a part of a body.
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_client: 256,
            head_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// At most so many open connections; at least one.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// At most so many open connections from one address of another computer.
    /// Clients on this computer count together with all others only.
    #[must_use]
    pub fn with_connections_per_client(mut self, connections: usize) -> Self {
        self.connections_per_client = connections.max(1);
        self
    }

    /// How long a connection may be idle, and how long the head of a request
    /// may take.
    #[must_use]
    pub fn with_head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = timeout;
        self
    }

    /// How long a client may keep the server waiting for 16 KiB, or the rest,
    /// of a request or of an answer.
    #[must_use]
    pub fn with_stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = timeout;
        self
    }
}

/// Serves `router` until `stop` ends, then finishes what is being answered.
///
/// At most `max_connections` are open at a time, otherwise with the default
/// [`Limits`].
///
/// # Errors
///
/// None at present; what a single connection suffers ends that connection.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let limits = Limits::default().with_connections(max_connections);
    serve_with(listener, router, limits, stop).await
}

/// As [`serve`], with limits.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_with(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let (stopping, stopped) = watch::channel(false);
    let server = Arc::new(Server {
        router,
        limits,
        permits: permits.clone(),
        peers: Peers::default(),
        stopped,
    });
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    if let Some(place) = server.place(address).await {
                        tokio::spawn(server.clone().connection(stream, address, place));
                    }
                }
                // The client was gone before it was heard.
                Err(error) if is_of_connection(&error) => {}
                // Most likely this process has no file handles left.
                Err(_) => {
                    server.peers.evict(batch(server.limits.connections));
                    tokio::time::sleep(EVICTION).await;
                }
            },
        }
    }
    drop(listener);
    // Without connections nobody listens.
    let _ = stopping.send(true);
    // A client that never closes must not keep the process alive.
    let _ = tokio::time::timeout(GRACE, permits.acquire_many(all)).await;
    server.peers.close();
    Ok(())
}

fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

struct Server {
    router: Router,
    limits: Limits,
    permits: Arc<Semaphore>,
    peers: Peers,
    stopped: watch::Receiver<bool>,
}

impl Server {
    /// Room for one more connection, made if need be; none if the client has
    /// too many that are all being answered.
    async fn place(&self, address: SocketAddr) -> Option<OwnedSemaphorePermit> {
        let client = address.ip();
        if !is_local(client)
            && self.peers.count(client) >= self.limits.connections_per_client
            && !self
                .peers
                .evict_of(client, batch(self.limits.connections_per_client))
        {
            return None;
        }
        loop {
            if let Ok(permit) = self.permits.clone().try_acquire_owned() {
                return Some(permit);
            }
            self.peers.evict(batch(self.limits.connections));
            let permit = self.permits.clone().acquire_owned();
            if let Ok(permit) = tokio::time::timeout(EVICTION, permit).await {
                return permit.ok();
            }
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) {
        let _permit = permit;
        // Without this option the connection works too, only more slowly.
        let _ = stream.set_nodelay(true);
        let peer = self.peers.add(address.ip());
        let service = service_fn(|request: Request<Incoming>| {
            let answering = Answering::new(peer.clone());
            let request = request.map(|body| Body::new(WatchedBody::new(body, peer.clone())));
            let router = self.router.clone();
            async move {
                let response = router.oneshot(request).await?;
                // The request is answered once the whole body is on its way.
                Ok::<_, std::convert::Infallible>(response.map(|body| answering.until_end(body)))
            }
        });
        let io = TokioIo::new(WatchedStream::new(stream, peer.clone()));
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.head_timeout)
                .serve_connection(io, service)
        );
        let mut stopped = self.stopped.clone();
        let mut stopping = false;
        loop {
            tokio::select! {
                // Whether it ended well or badly is the client's affair.
                _ = &mut connection => break,
                () = peer.evicted() => break,
                () = tokio::time::sleep(self.limits.stall_timeout / 4) => {
                    if peer.waited() > self.limits.stall_timeout.max(self.limits.head_timeout) {
                        break;
                    }
                }
                _ = stopped.wait_for(|stopped| *stopped), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
        self.peers.remove(&peer);
    }
}

/// How many connections give way at once: a rush of new ones must not wait for
/// each of them.
fn batch(connections: usize) -> usize {
    (connections / 16).max(1)
}

fn is_local(client: IpAddr) -> bool {
    client.to_canonical().is_loopback()
}
