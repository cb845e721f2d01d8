//! The gateway: its configuration and its life.

use crate::access_log::{Collector, LogDelivery};
use crate::auth::Authenticator;
use crate::auth::seal::Sealer;
use crate::bucket_rules::ParsedPolicies;
use crate::connections::{self, Listeners};
use crate::error::{S3Code, S3Error, S3Result};
use crate::events::{self, EventWorker};
use crate::identity_rules::ParsedIdentities;
use crate::key_use::KeyUses;
use crate::keystore::MetaKeys;
use crate::lifecycle::{KnownLifecycles, LifecycleWorker, MovableClock, Tools};
use crate::metrics::Metrics;
use crate::objectlog::{Claim, GarbageWorker, ObjectLog, OpenLog};
use crate::sse::{Keyring, RewrapWorker};
use blockd::client::ControlHandle;
use meta::audit::AuditLog;
use meta::client::Client;
use proto::control::PoolToken;
use proto::ids::{ClientId, VolumeId};
use rt::clock::{Clock, SystemClock};
use rt::rng::{Rng, SystemRng};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

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
    /// Domains below which a host names a bucket's website.
    pub website_domains: Vec<String>,
    pub metrics: Metrics,
    /// For tests: a file with the seconds by which the clock that lifecycle rules go by is moved ahead.
    pub lifecycle_ahead: Option<PathBuf>,
    /// How long lines of access logs wait to be delivered.
    pub log_delivery: Duration,
    /// Where changes and refusals are told. Without one, nobody is told.
    pub audit: Option<Arc<AuditLog>>,
    /// The file of the keys that objects are encrypted with; made when the pool first needs one. Without it, SSE-S3 is
    /// not offered.
    pub pool_key: Option<PathBuf>,
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
    pub website_bases: Vec<String>,
    pub authenticator: Authenticator,
    pub parsed_policies: ParsedPolicies,
    pub parsed_identities: ParsedIdentities,
    pub lifecycles: KnownLifecycles,
    pub sealer: Arc<Sealer>,
    pub key_uses: KeyUses,
    pub keyring: Arc<Keyring>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub audit: Option<Arc<AuditLog>>,
    pub access_log: Arc<Collector>,
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
        Self::start_on(config, Listeners { http: listener, https: None }).await
    }

    /// [`start`](Self::start) on ports that were bound before; `config.listen` is not looked at.
    pub async fn start_on(config: GatewayConfig, listeners: Listeners) -> S3Result<GatewayHandle> {
        let addr = listeners.http.local_addr().map_err(S3Error::internal)?;
        // Before the former gateway of this name is fenced: it may have the keys that are missing here.
        let keyring = Arc::new(Keyring::open(config.meta.clone(), config.pool_key).await?);
        let log = ObjectLog::open(OpenLog {
            meta: config.meta.clone(),
            gateway: config.gateway.clone(),
            token: config.token,
            client: ClientId(SystemRng.id()),
            control: config.control,
            body_memory: config.metrics.body_memory(),
        });
        let log = log.await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let sealer = Arc::new(Sealer::new(&config.token));
        let keys =
            MetaKeys { meta: config.meta.clone(), sealer: Arc::clone(&sealer), clock: Arc::clone(&clock) };
        let keys = Arc::new(keys);
        let shared = Arc::new(Shared {
            authenticator: Authenticator::new(keys, Arc::clone(&clock), config.region.as_str()),
            parsed_policies: ParsedPolicies::default(),
            parsed_identities: ParsedIdentities::default(),
            lifecycles: KnownLifecycles::default(),
            sealer,
            key_uses: KeyUses::start(config.meta.clone(), &config.region),
            keyring,
            meta: config.meta,
            log: Arc::clone(&log),
            region: config.region,
            bases: config.virtual_host_bases.iter().map(|base| base.to_ascii_lowercase()).collect(),
            website_bases: config.website_domains.iter().map(|base| base.to_ascii_lowercase()).collect(),
            clock,
            access_log: Arc::new(Collector::new(config.metrics.clone())),
            metrics: config.metrics,
            audit: config.audit,
            host_id: config.gateway,
            next_request: AtomicU64::new(SystemRng.u64()),
        });
        let (stop, stopped) = oneshot::channel();
        let lifecycle = LifecycleWorker::start(Tools {
            meta: shared.meta.clone(),
            log: Arc::clone(&log),
            metrics: shared.metrics.clone(),
            audit: shared.audit.clone(),
            clock: Arc::clone(&shared.clock),
            rules_clock: MovableClock::new(Arc::clone(&shared.clock), config.lifecycle_ahead),
        });
        let notifying = EventWorker::start(events::Tools {
            meta: shared.meta.clone(),
            metrics: shared.metrics.clone(),
            sealer: Arc::clone(&shared.sealer),
            clock: Arc::clone(&shared.clock),
            region: shared.region.clone(),
        });
        let logging = LogDelivery::start(Arc::clone(&shared), config.log_delivery);
        let garbage = GarbageWorker::start(log);
        let rewrap =
            RewrapWorker::start(shared.meta.clone(), Arc::clone(&shared.keyring), Arc::clone(&shared.clock));
        let connections = connections::serve(listeners, Arc::clone(&shared), stopped);
        let serving = tokio::spawn(async move {
            connections.await;
            logging.finish().await;
            drop((lifecycle, notifying, garbage, rewrap));
        });
        Ok(GatewayHandle { addr, shared, stop: Some(stop), serving })
    }
}

impl GatewayHandle {
    /// Where it listens for plain HTTP.
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

    /// Its object log, and the mark below which nothing in it is on its way any more, if that is known.
    pub fn log_mark(&self) -> Option<(VolumeId, u64)> {
        Some((self.shared.log.volume_id(), self.shared.log.settled_bytes()?))
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
