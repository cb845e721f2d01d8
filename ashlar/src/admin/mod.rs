//! The admin API beside the control plane: what people and the CLI ask, answered from the control plane's state
//! and from what the daemons report, or handed to the daemon that can do it.

mod deleter;
mod disks;
mod metrics;
mod projects;
mod quotas;
mod routes;
mod scrub;
mod scrub_objects;
mod status;
mod vms;
mod volumes;
mod webhooks;

use crate::audit::CONTROL_PLANE;
use crate::error::{Error, Exit};
use crate::fleet::Fleet;
use crate::folder::Secrets;
use crate::limits::POOL_DEADLINE;
use deleter::Deletion;
use meta::MetaNode;
use meta::admin::AdminToken;
use meta::audit::{AuditLog, keep_noted};
use meta::client::Client;
use meta::planner;
use meta::record::{AccessKey, PoolRecord, Secret};
use prometheus_client::registry::Registry;
use proto::control::PoolToken;
use rt::clock::{Clock, Instant, SystemClock};
use rt::rng::{Rng, SystemRng};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// What the handlers share.
#[derive(Clone)]
pub struct Shared {
    pub meta: Client,
    pub token: PoolToken,
    pub fleet: Arc<Fleet>,
    pub about: Arc<About>,
    pub scrubber: Arc<scrub::Scrubber>,
    pub object_scrubber: Arc<scrub_objects::ObjectScrubber>,
    deletions: mpsc::Sender<Deletion>,
    /// The metrics of the parts in this process.
    registry: Arc<Registry>,
}

/// What does not change while the daemon runs.
#[derive(Debug)]
pub struct About {
    pub admin: SocketAddr,
    pub data: PathBuf,
    pub started: Instant,
}

/// What the admin API is started with.
pub struct AdminConfig {
    pub listener: TcpListener,
    pub data: PathBuf,
    pub registry: Registry,
    pub fleet: Arc<Fleet>,
    pub planner: planner::Settings,
    pub audit: Arc<AuditLog>,
}

/// The admin API's server, and what works beside the control plane.
pub struct Admin {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    beside: Vec<JoinHandle<()>>,
}

impl Admin {
    pub fn start(config: AdminConfig, meta: &MetaNode, secrets: &Secrets) -> Result<Self, Error> {
        let (deletions, requests) = deleter::channel();
        let addr = crate::listen::address(&config.listener)?;
        let shared = Shared {
            meta: meta.client(),
            token: secrets.pool,
            fleet: config.fleet,
            about: Arc::new(About { admin: addr, data: config.data, started: SystemClock.now() }),
            scrubber: Arc::default(),
            object_scrubber: Arc::default(),
            deletions,
            registry: Arc::new(config.registry),
        };
        let access =
            if addr.ip().is_loopback() { routes::MetricsAccess::Open } else { routes::MetricsAccess::Token };
        let noting = keep_noted(Arc::clone(&config.audit), CONTROL_PLANE.to_owned(), meta.client());
        let guard = routes::Guard {
            token: AdminToken::new(secrets.admin.clone())?,
            meta_metrics: meta.metrics(),
            metrics: access,
            audit: config.audit,
        };
        let planner = planner::run(meta.client(), Arc::new(SystemClock), config.planner);
        let beside = vec![
            tokio::spawn(noting),
            tokio::spawn(deleter::run(shared.clone(), requests)),
            tokio::spawn(planner),
            tokio::spawn(scrub::run(shared.clone())),
        ];
        let (stop, serving) = serve(config.listener, routes::router(shared, guard))?;
        Ok(Self { stop, serving, beside })
    }

    pub async fn stop(self) {
        let _ = self.stop.send(());
        for task in self.beside {
            task.abort();
        }
        let _ = self.serving.await;
    }
}

/// The pool of this data folder, made on the first start, with its first S3 key.
pub async fn make_pool(client: &Client, secrets: &Secrets) -> Result<PoolRecord, Error> {
    let proposed = PoolRecord {
        id: hex::encode(SystemRng.id()),
        created_ms: SystemClock.wall().0,
        groups: proto::limits::DEFAULT_GROUPS,
        min_in_sync: 2,
    };
    let pool = tokio::time::timeout(POOL_DEADLINE, client.init_pool(proposed)).await.map_err(|_| {
        Error::new(Exit::Timeout, "the control plane did not start in time; its log says why")
    })??;
    put_root_key(client, secrets).await?;
    tracing::info!(pool = %pool.id, "the control plane runs");
    Ok(pool)
}

async fn put_root_key(client: &Client, secrets: &Secrets) -> Result<(), Error> {
    let known = client.access_keys().await?;
    if known.iter().any(|key| key.id == secrets.key.id) {
        return Ok(());
    }
    let key = AccessKey {
        id: secrets.key.id.clone(),
        secret: Secret(secrets.key.secret.clone()),
        owner: "root".to_owned(),
        enabled: true,
        created_ms: SystemClock.wall().0,
    };
    Ok(client.put_access_key(key).await?)
}

fn serve(
    listener: TcpListener,
    router: axum::Router,
) -> Result<(oneshot::Sender<()>, JoinHandle<()>), Error> {
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(|error| Error::failed(format!("the admin API can't use its socket: {error}")))?;
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(async move {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, service).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        if let Err(error) = server.await {
            tracing::error!(%error, "the admin API ended");
        }
    });
    Ok((stop, serving))
}
