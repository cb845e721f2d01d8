//! The gateway: its configuration, its life, and the connections it serves.

use crate::arrival::Arrival;
use crate::auth::Authenticator;
use crate::bucket_rules::ParsedPolicies;
use crate::error::{S3Code, S3Error, S3Result};
use crate::head_guard::HeadGuard;
use crate::keystore::MetaKeys;
use crate::limits::{HEADER_TIMEOUT, MAX_CONNECTIONS, MAX_HEADER_BYTES, MAX_HEADERS, STOP_TIMEOUT};
use crate::metrics::Metrics;
use crate::objectlog::{Claim, GarbageWorker, ObjectLog, OpenLog};
use crate::service;
use blockd::client::ControlHandle;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use meta::client::Client;
use proto::control::PoolToken;
use proto::ids::ClientId;
use rt::clock::{Clock, SystemClock};
use rt::rng::{Rng, SystemRng};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};

/// What a gateway is started with.
#[derive(Clone)]
pub struct GatewayConfig {
    /// Port 0 takes a free one; see [`GatewayHandle::addr`].
    pub listen: SocketAddr,
    /// The region that signatures must name.
    pub region: String,
    /// Names this gateway's object log: the same at every start, another for every gateway.
    pub gateway: String,
    pub meta: Client,
    pub token: PoolToken,
    /// Where the object log's writer reports failed disks.
    pub control: Option<ControlHandle>,
    /// Domains below which a host names a bucket, such as `s3.example.com`. Path-style works always.
    pub virtual_host_bases: Vec<String>,
    pub metrics: Metrics,
}

/// Starts gateways.
pub struct Gateway;

/// A running gateway. Dropping it stops it without waiting for the requests in flight.
pub struct GatewayHandle {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

/// What every request sees of its gateway.
pub struct Shared {
    pub meta: Client,
    pub log: Arc<ObjectLog>,
    pub region: String,
    pub bases: Vec<String>,
    pub authenticator: Authenticator,
    pub parsed_policies: ParsedPolicies,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    /// `x-amz-id-2`: which gateway answered.
    pub host_id: String,
    next_request: AtomicU64,
}

impl Shared {
    pub fn now_ms(&self) -> u64 {
        self.clock.wall().0
    }

    /// Ids of requests differ between gateways and starts, and go up within one.
    pub fn next_request(&self) -> crate::answer::RequestId {
        crate::answer::RequestId(self.next_request.fetch_add(1, Ordering::Relaxed))
    }
}

impl Gateway {
    /// Opens the object log, fencing any earlier gateway of that name, and serves. Must run on tokio.
    ///
    /// Errors: the address can't be listened on; the control plane or the disks can't be reached.
    pub async fn start(config: GatewayConfig) -> S3Result<GatewayHandle> {
        let listener = TcpListener::bind(config.listen).await.map_err(|error| {
            let why = format!("the S3 gateway can't listen on {}: {error}", config.listen);
            S3Error::with(S3Code::ServiceUnavailable, why).source(error)
        })?;
        Self::start_on(config, listener).await
    }

    /// [`start`](Self::start) on a port that was bound before; `config.listen` is not looked at.
    pub async fn start_on(config: GatewayConfig, listener: TcpListener) -> S3Result<GatewayHandle> {
        let addr = listener.local_addr().map_err(S3Error::internal)?;
        let log = ObjectLog::open(OpenLog {
            meta: config.meta.clone(),
            gateway: config.gateway.clone(),
            token: config.token,
            client: ClientId(SystemRng.id()),
            control: config.control,
        });
        let log = log.await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let keys = Arc::new(MetaKeys(config.meta.clone()));
        let shared = Arc::new(Shared {
            authenticator: Authenticator::new(keys, Arc::clone(&clock), config.region.as_str()),
            parsed_policies: ParsedPolicies::default(),
            meta: config.meta,
            log: Arc::clone(&log),
            region: config.region,
            bases: config.virtual_host_bases.iter().map(|base| base.to_ascii_lowercase()).collect(),
            clock,
            metrics: config.metrics,
            host_id: config.gateway,
            next_request: AtomicU64::new(SystemRng.u64()),
        });
        let (stop, stopped) = oneshot::channel();
        let garbage = GarbageWorker::start(log);
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared), garbage, stopped));
        Ok(GatewayHandle { addr, shared, stop: Some(stop), serving })
    }
}

impl GatewayHandle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether requests are served: its task runs and its log is open. A log that another gateway of this name
    /// has taken over, or whose thread ended, can't come back but by another start.
    pub fn is_serving(&self) -> bool {
        !self.serving.is_finished() && self.shared.log.is_open()
    }

    /// What this gateway holds its object log by.
    pub fn claim(&self) -> Claim {
        self.shared.log.claim()
    }

    /// Stops listening, lets the requests in flight end for a bounded time, and closes the object log.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Err(error) = (&mut self.serving).await {
            tracing::warn!(%error, "the gateway did not stop cleanly");
        }
        self.shared.log.close().await;
    }
}

impl Drop for GatewayHandle {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    garbage: GarbageWorker,
    mut stopped: oneshot::Receiver<()>,
) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Dropped with this task: no connection outlives its gateway.
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        tokio::select! {
            _ = &mut stopped => break,
            (slot, accepted) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let arrival = Arrival { peer, tls: None };
                    let connection = serve_connection(stream, arrival, Arc::clone(&shared), graceful.watcher());
                    while connections.try_join_next().is_some() {}
                    connections.spawn(async move {
                        connection.await;
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
    drop(listener);
    if tokio::time::timeout(STOP_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still in progress when the gateway stopped");
    }
    drop((connections, garbage));
}

async fn serve_connection(stream: TcpStream, arrival: Arrival, shared: Arc<Shared>, watcher: Watcher) {
    // Answers are whole; waiting to fill a packet would only add a delayed ACK's 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY can't be set");
    }
    let metrics = shared.metrics.clone();
    metrics.connection_opened();
    let stream = HeadGuard::new(stream);
    let ambiguity = stream.ambiguity();
    let service = hyper::service::service_fn(move |mut request: http::Request<_>| {
        request.extensions_mut().insert(arrival);
        let (shared, ambiguous) = (Arc::clone(&shared), ambiguity.found());
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
    metrics.connection_closed();
}
