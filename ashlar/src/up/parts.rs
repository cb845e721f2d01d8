//! All parts, started in the order in which they need each other, and stopped in the reverse.

use crate::config::Config;
use crate::error::{Error, Exit};
use crate::folder::{Folder, Secrets};
use crate::limits::{POOL_DEADLINE, SHUTDOWN_STOP_DEADLINE};
use crate::up::agent::{Agent, AgentParts, NODE};
use crate::up::disks::{self, Disk, DisksConfig};
use crate::up::report::Reporter;
use crate::up::routes::{self, Guard, MetricsAccess, Shared};
use crate::up::{Addresses, SharedAgent, deleter};
use compute::{Compute, ComputeConfig};
use meta::admin::AdminToken;
use meta::record::{AccessKey, DiskRecord, NodeRecord, PoolRecord, Secret};
use meta::{MetaConfig, MetaNode};
use objectd::{Gateway, GatewayConfig, GatewayHandle};
use prometheus_client::registry::Registry;
use rt::clock::{Clock, SystemClock};
use rt::rng::{Rng, SystemRng};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Everything that runs.
pub struct Parts {
    meta: MetaNode,
    others: Others,
}

/// All but the control plane.
struct Others {
    agent: SharedAgent,
    gateway: GatewayHandle,
    admin: Admin,
    deleter: JoinHandle<()>,
    exits: JoinHandle<()>,
}

/// The admin API's server.
struct Admin {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Parts {
    pub async fn start(
        config: &Config,
        folder: Folder,
        secrets: &Secrets,
        addresses: Addresses,
        admin: TcpListener,
        s3: TcpListener,
    ) -> Result<Self, Error> {
        if config.disk_size_given {
            disks::check_size(&folder, config.disk_bytes)?;
        }
        let meta = MetaNode::start(MetaConfig::new(folder.path.join("meta"), NODE)).await?;
        match Self::start_on(&meta, config, folder, secrets, (addresses, admin, s3)).await {
            Ok(others) => Ok(Self { meta, others }),
            Err(error) => {
                if let Err(error) = meta.stop().await {
                    tracing::warn!(%error, "the control plane did not stop well");
                }
                Err(error)
            }
        }
    }

    async fn start_on(
        meta: &MetaNode,
        config: &Config,
        folder: Folder,
        secrets: &Secrets,
        (addresses, admin, s3): (Addresses, TcpListener, TcpListener),
    ) -> Result<Others, Error> {
        let client = meta.client();
        let pool = make_pool(&client).await?;
        tracing::info!(pool = %pool.id, "the control plane runs");
        let disks = start_disks(config, &folder, secrets, &client).await?;
        put_root_key(&client, secrets).await?;

        let compute =
            ComputeConfig { dir: folder.path.join("vms"), qemu: config.qemu.clone(), accel: config.accel };
        let (compute, mut exits) = Compute::open(compute).await?;
        let (deletions, requests) = deleter::channel();
        let data = folder.path.clone();
        let agent = Agent::new(AgentParts {
            folder,
            meta: client.clone(),
            token: secrets.pool,
            compute,
            disks,
            deletions,
        });
        let follower = Arc::clone(&agent);
        let exits = tokio::spawn(async move {
            while let Some(exit) = exits.recv().await {
                follower.vm_ended(&exit).await;
            }
        });
        agent.reattach().await?;
        let deleter = tokio::spawn(deleter::run(Arc::clone(&agent), requests));

        let mut registry = Registry::default();
        meta.metrics().register(&mut registry);
        let gateway = GatewayConfig {
            listen: addresses.s3,
            region: config.region.clone(),
            gateway: "gateway-1".to_owned(),
            meta: client.clone(),
            token: secrets.pool,
            control: None,
            virtual_host_bases: Vec::new(),
            metrics: objectd::Metrics::register(&mut registry),
        };
        drop(s3);
        let gateway = Gateway::start(gateway).await.map_err(|error| {
            Error::new(Exit::Unavailable, format!("the S3 gateway did not start: {error}"))
        })?;

        let shared = Shared {
            agent: Arc::clone(&agent),
            reporter: Arc::new(Reporter::new(addresses, data)),
            registry: Arc::new(registry),
        };
        let access =
            if addresses.admin.ip().is_loopback() { MetricsAccess::Open } else { MetricsAccess::Token };
        let guard = Guard {
            token: AdminToken::new(secrets.admin.clone())?,
            meta_metrics: meta.metrics(),
            metrics: access,
        };
        let router = routes::router(shared, guard);
        Ok(Others { agent, gateway, admin: serve_admin(admin, router)?, deleter, exits })
    }

    pub fn agent(&self) -> &SharedAgent {
        &self.others.agent
    }

    /// Stops everything cleanly: guests first, then who serves them, then the disks, then the control plane.
    pub async fn stop(self) -> Result<(), Error> {
        let Others { agent, gateway, admin, deleter, exits } = self.others;
        agent.compute.stop_all(SHUTDOWN_STOP_DEADLINE).await;
        let _ = admin.stop.send(());
        deleter.abort();
        gateway.stop().await;
        agent.close_devices().await;
        let _ = admin.serving.await;
        exits.abort();
        let disks: Vec<Disk> = std::mem::take(&mut *agent.disks());
        let stops: Vec<_> =
            disks.into_iter().map(|disk| tokio::task::spawn_blocking(move || disk.stop())).collect();
        let mut outcome = Ok(());
        for stop in stops {
            let stopped = stop
                .await
                .unwrap_or_else(|error| Err(Error::failed(format!("a disk's stop ended badly: {error}"))));
            outcome = outcome.and(stopped);
        }
        self.meta.stop().await?;
        outcome
    }
}

/// The pool of this data folder, made on the first start.
async fn make_pool(client: &meta::client::Client) -> Result<PoolRecord, Error> {
    let proposed = PoolRecord {
        id: hex::encode(SystemRng.id()),
        created_ms: SystemClock.wall().0,
        groups: proto::limits::DEFAULT_GROUPS,
        min_in_sync: 2,
    };
    let pool = tokio::time::timeout(POOL_DEADLINE, client.init_pool(proposed)).await.map_err(|_| {
        Error::new(Exit::Timeout, "the control plane did not start in time; its log says why")
    })??;
    let node = NodeRecord { id: NODE, name: "local".to_owned(), zone: "local".to_owned() };
    client.register_node(node).await?;
    Ok(pool)
}

async fn start_disks(
    config: &Config,
    folder: &Folder,
    secrets: &Secrets,
    client: &meta::client::Client,
) -> Result<Vec<Disk>, Error> {
    let known: BTreeSet<_> = client.disks().await?.into_iter().map(|disk| disk.id).collect();
    let disks =
        disks::start(folder, DisksConfig { disk_bytes: config.disk_bytes, token: secrets.pool, known })
            .await?;
    for disk in &disks {
        client
            .register_disk(DiskRecord::new(
                disk.id(),
                NODE,
                disk.addr(),
                "local".to_owned(),
                disk.status().stat.capacity_bytes,
            ))
            .await?;
    }
    Ok(disks)
}

async fn put_root_key(client: &meta::client::Client, secrets: &Secrets) -> Result<(), Error> {
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

fn serve_admin(listener: TcpListener, router: axum::Router) -> Result<Admin, Error> {
    let listener = tokio::net::TcpListener::from_std(listener)
        .map_err(|error| Error::failed(format!("the admin API can't use its socket: {error}")))?;
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(async move {
        let server = axum::serve(listener, router).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        if let Err(error) = server.await {
            tracing::error!(%error, "the admin API ended");
        }
    });
    Ok(Admin { stop, serving })
}
