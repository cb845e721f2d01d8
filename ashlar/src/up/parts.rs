//! All parts, started in the order in which they need each other, and stopped in the reverse.

use crate::admin::{self, Admin, AdminConfig};
use crate::agent::Agent;
use crate::audit::CONTROL_PLANE;
use crate::config::Config;
use crate::control;
use crate::error::{Error, Exit};
use crate::fleet::Fleet;
use crate::folder::{Folder, Secrets};
use crate::gateway::{self, GatewayPart, HttpsPort};
use crate::https;
use crate::limits::{GATEWAY_PATIENCE, SHUTDOWN_STOP_DEADLINE};
use crate::node;
use crate::pool_key;
use crate::shelf::{Shelf, ShelfConfig, plan};
use crate::up::{Addresses, Ports};
use compute::{Compute, ComputeConfig};
use meta::audit::AuditLog;
use meta::{MetaConfig, MetaNode};
use objectd::{GatewayConfig, Https};
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinSet;

/// The gateway's name.
const GATEWAY: &str = "gateway-1";

/// Everything that runs.
pub struct Parts {
    pub folder: Arc<Folder>,
    meta: MetaNode,
    others: Others,
}

/// All but the control plane.
struct Others {
    shelf: Arc<Shelf>,
    agent: Arc<Agent>,
    tending: JoinSet<()>,
    gateway: Arc<GatewayPart>,
    admin: Admin,
    pool_key: Option<PathBuf>,
}

impl Parts {
    pub async fn start(
        config: &Config,
        folder: Arc<Folder>,
        secrets: &Secrets,
        addresses: Addresses,
        ports: Ports,
    ) -> Result<Self, Error> {
        if config.disk_size_given {
            plan::check_size(&folder, config.disk_bytes)?;
        }
        let audit = config.audit.open(&folder.audit(), CONTROL_PLANE)?;
        let meta_config = MetaConfig::new(folder.path.join("meta"), node::LOCAL);
        let meta = MetaNode::start(MetaConfig { audit: Some(Arc::clone(&audit)), ..meta_config }).await?;
        match Self::start_on((&meta, audit), config, &folder, secrets, (addresses, ports)).await {
            Ok(others) => Ok(Self { folder, meta, others }),
            Err(error) => {
                if let Err(error) = meta.stop().await {
                    tracing::warn!(%error, "the control plane did not stop well");
                }
                Err(error)
            }
        }
    }

    async fn start_on(
        (meta, audit): (&MetaNode, Arc<AuditLog>),
        config: &Config,
        folder: &Arc<Folder>,
        secrets: &Secrets,
        (addresses, ports): (Addresses, Ports),
    ) -> Result<Others, Error> {
        let client = meta.client();
        let pool = admin::make_pool(&client, secrets).await?;
        let pool_key = pool_key::place(config.pool_key.as_deref(), &folder.path, &pool.id)?;
        let node = node::local();
        client.register_node(node.clone()).await?;
        let shelf = start_disks(config, folder, secrets, &client).await?;

        let compute =
            ComputeConfig { dir: folder.path.join("vms"), qemu: config.qemu.clone(), accel: config.accel };
        let (compute, exits) = Compute::open(compute).await?;
        let agent =
            Agent::new(node.clone(), client.clone(), secrets.pool, compute, (Ipv4Addr::LOCALHOST, 0).into());
        let tending = agent.start(exits).await?;

        let mut registry = Registry::default();
        meta.metrics().register(&mut registry);
        let metrics = objectd::Metrics::register(&mut registry);
        let https = match addresses.tls.zip(ports.tls) {
            Some((addr, (listener, files))) => {
                let https = Https::load(files, metrics.clone()).map_err(https::unusable)?;
                Some(HttpsPort { listener, addr, https })
            }
            None => None,
        };
        let gateway = GatewayConfig {
            listen: addresses.s3,
            region: config.region.clone(),
            gateway: GATEWAY.to_owned(),
            meta: client.clone(),
            token: secrets.pool,
            control: Some(control::handle(&client)),
            virtual_host_bases: config.s3_domains.clone(),
            website_domains: config.website_domains.clone(),
            metrics,
            lifecycle_ahead: config.lifecycle_ahead.clone(),
            log_delivery: config.log_delivery,
            audit: Some(config.audit.open(&folder.audit(), GATEWAY)?),
            pool_key: pool_key.clone(),
        };
        let listening = gateway::Ports { http: ports.s3, https };
        let gateway = GatewayPart::start(node, gateway, listening, None);
        if tokio::time::timeout(GATEWAY_PATIENCE, gateway.serves()).await.is_err() {
            tracing::error!("the S3 gateway does not serve yet; ashlar status says why");
        }

        let fleet = Arc::<Fleet>::default();
        fleet.add_local(Arc::clone(&shelf) as _);
        fleet.add_local(Arc::clone(&agent) as _);
        fleet.add_local(Arc::clone(&gateway) as _);
        let admin = AdminConfig {
            listener: ports.admin,
            data: folder.path.clone(),
            registry,
            fleet,
            planner: config.planner,
            audit,
        };
        let admin = Admin::start(admin, meta, secrets)?;
        Ok(Others { shelf, agent, tending, gateway, admin, pool_key })
    }

    /// The file of the pool's keys, if there is one by now.
    pub fn pool_key(&self) -> Option<&Path> {
        self.others.pool_key.as_deref().filter(|path| path.exists())
    }

    /// Stops everything cleanly: guests first, then who serves them, then the disks, then the control plane.
    pub async fn stop(self) -> Result<(), Error> {
        let Others { shelf, agent, mut tending, gateway, admin, .. } = self.others;
        agent.compute.stop_all(SHUTDOWN_STOP_DEADLINE).await;
        admin.stop().await;
        gateway.stop().await;
        agent.close_devices().await;
        tending.abort_all();
        let outcome = shelf.stop().await;
        self.meta.stop().await?;
        outcome
    }
}

/// Starts the disks. One that the control plane knows and that can't be used is only reported: the others serve,
/// and it is tried again. One that is to be made and can't be is an error: nothing depends on it yet.
async fn start_disks(
    config: &Config,
    folder: &Arc<Folder>,
    secrets: &Secrets,
    client: &meta::client::Client,
) -> Result<Arc<Shelf>, Error> {
    let known: BTreeSet<_> = client.disks().await?.into_iter().map(|disk| disk.id).collect();
    let disks = plan::disks(folder, config.disk_bytes, &known)?;
    let shelf = Shelf::new(ShelfConfig {
        node: node::local(),
        meta: client.clone(),
        token: secrets.pool,
        listen: Ipv4Addr::LOCALHOST.into(),
        first_port: None,
        folder: Some(Arc::clone(folder)),
    });
    for slot in shelf.start(disks).await {
        let is_known = slot.disk().is_some_and(|id| known.contains(&id));
        if let Some(why) = slot.failure().filter(|_| !is_known) {
            let why = format!("disk {} can't be used: {why}", slot.spec.path.display());
            // The others are let go of, so that the next start finds them as they are.
            let _ = shelf.stop().await;
            return Err(Error::new(Exit::Failed, why));
        }
    }
    Ok(shelf)
}
