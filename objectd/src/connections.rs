//! The connections of a gateway, plain and TLS: accepted up to one cap, served, and let end when it stops.

use crate::arrival::{Arrival, TlsVersion};
use crate::gateway::Shared;
use crate::head_guard::HeadGuard;
use crate::limits::{HEADER_TIMEOUT, MAX_CONNECTIONS, MAX_HEADER_BYTES, MAX_HEADERS, STOP_TIMEOUT};
use crate::service;
use crate::tls::Https;
use crate::write_guard::WriteGuard;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::{ProtocolVersion, ServerConnection};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Where a gateway listens.
pub struct Listeners {
    pub http: TcpListener,
    pub https: Option<(TcpListener, Arc<Https>)>,
}

impl Listeners {
    /// The next connection, and what it must be wrapped in. Nothing is lost if this is dropped.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr, Option<Arc<Https>>)> {
        let Some((listener, https)) = &self.https else {
            return self.http.accept().await.map(|(stream, peer)| (stream, peer, None));
        };
        tokio::select! {
            accepted = self.http.accept() => accepted.map(|(stream, peer)| (stream, peer, None)),
            accepted = listener.accept() => {
                accepted.map(|(stream, peer)| (stream, peer, Some(Arc::clone(https))))
            }
        }
    }
}

/// Serves until it is told to stop, then lets the requests in flight end for a bounded time.
pub(crate) async fn serve(listeners: Listeners, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let graceful = GracefulShutdown::new();
    let stopping = CancellationToken::new();
    // One for both: a handshake costs a descriptor as a request does.
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Dropped with this task: no connection outlives its gateway.
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listeners.accept().await)
        };
        tokio::select! {
            _ = &mut stopped => break,
            (slot, accepted) = accepted => match accepted {
                Ok((stream, peer, https)) => {
                    let connection = Connection { peer, shared: Arc::clone(&shared), watcher: graceful.watcher() };
                    let stopping = stopping.clone();
                    while connections.try_join_next().is_some() {}
                    connections.spawn(async move {
                        connection.run(stream, https, stopping).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    // Mostly "too many open files": it passes when connections end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listeners);
    stopping.cancel();
    if tokio::time::timeout(STOP_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still in progress when the gateway stopped");
    }
    drop(connections);
}

struct Connection {
    peer: SocketAddr,
    shared: Arc<Shared>,
    watcher: Watcher,
}

impl Connection {
    async fn run(self, stream: TcpStream, https: Option<Arc<Https>>, stopping: CancellationToken) {
        // Answers are whole; waiting to fill a packet would only add a delayed ACK's 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY can't be set");
        }
        let metrics = self.shared.metrics.clone();
        metrics.connection_opened();
        let stream = WriteGuard::of_socket(stream, Arc::clone(&self.shared.clock), metrics.clone());
        match https {
            None => self.serve(stream, None).await,
            Some(https) => {
                let shaken = tokio::select! {
                    shaken = https.handshake(stream) => shaken,
                    // Nothing was asked yet, so nothing is waited for.
                    () = stopping.cancelled() => None,
                };
                if let Some(stream) = shaken {
                    let version = version(stream.get_ref().1);
                    self.serve(stream, Some(version)).await;
                }
            }
        }
        metrics.connection_closed();
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static, tls: Option<TlsVersion>) {
        let Connection { peer, shared, watcher } = self;
        let stream = HeadGuard::new(stream);
        let ambiguity = stream.ambiguity();
        let service = hyper::service::service_fn(move |mut request: http::Request<_>| {
            let (shared, ambiguous) = (Arc::clone(&shared), ambiguity.found());
            request.extensions_mut().insert(Arrival { peer, tls });
            async move { Ok::<_, std::convert::Infallible>(service::answer(&shared, request, ambiguous).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEADER_BYTES)
            // A client that has sent all and says so still wants its answer.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// No other versions are configured.
fn version(connection: &ServerConnection) -> TlsVersion {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
        _ => TlsVersion::V1_2,
    }
}
