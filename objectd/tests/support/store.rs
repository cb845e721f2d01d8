//! A whole store in a temporary folder: three chunk servers, the control plane and the gateway, each as
//! `ashlar up` runs them.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::path::Path;

use blockd::server::{ChunkServer, Missing, ServerConfig};
use meta::client::Client as MetaClient;
use meta::node::{MetaConfig, MetaNode};
use meta::record::{AccessKey, DiskRecord, NodeRecord, PoolRecord, Secret};
use objectd::metrics::Metrics;
use objectd::{Gateway, GatewayConfig, GatewayHandle};
use proto::control::PoolToken;
use proto::ids::{DiskId, NodeId};
use tempfile::TempDir;

use crate::support::Client;

pub const ACCESS_KEY_ID: &str = "AKIATESTS";
pub const SECRET: &str = "a secret that only tests know";
pub const DISABLED_KEY_ID: &str = "AKIADISABLED";
pub const REGION: &str = "ashlar-1";
const DISK_BYTES: u64 = 1 << 30;
pub const TOKEN: PoolToken = PoolToken([7; 32]);
const NODE: NodeId = NodeId(1);

/// A running store. Fields are dropped, and so stopped, from the gateway down.
pub struct Store {
    pub gateway: GatewayHandle,
    pub meta: MetaNode,
    pub disks: Vec<ChunkServer>,
    /// Last: what the others use.
    pub folder: TempDir,
}

impl Store {
    pub async fn start() -> Store {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disks: Vec<ChunkServer> = (1..=3)
            .map(|number| start_disk(folder.path(), number, Missing::Create { len_bytes: DISK_BYTES }))
            .collect();
        let meta = MetaNode::start(MetaConfig::new(folder.path().join("meta"), NODE)).await.expect("meta");
        let client = meta.client();
        set_up(&client, &disks).await;
        let gateway = start_gateway(client).await;
        Store { gateway, meta, disks, folder }
    }

    pub fn addr(&self) -> SocketAddr {
        self.gateway.addr()
    }

    /// A client with the store's key.
    pub fn client(&self) -> Client {
        Client::new(self.addr(), ACCESS_KEY_ID, SECRET, REGION)
    }
}

fn start_disk(folder: &Path, number: u8, missing: Missing) -> ChunkServer {
    ChunkServer::start(ServerConfig {
        path: folder.join(format!("disk{number}")),
        disk: DiskId([number; 16]),
        missing,
        listen: ([127, 0, 0, 1], 0).into(),
        token: TOKEN,
    })
    .expect("a chunk server")
}

async fn set_up(meta: &MetaClient, disks: &[ChunkServer]) {
    let pool = PoolRecord { id: "0".repeat(32), created_ms: 1, groups: 8, min_in_sync: 2 };
    meta.init_pool(pool).await.expect("the pool");
    let node = NodeRecord { id: NODE, name: "here".into(), zone: "zone".into() };
    meta.register_node(node).await.expect("the node");
    for disk in disks {
        let record = DiskRecord::new(disk.disk(), NODE, disk.addr(), "zone".into(), DISK_BYTES);
        meta.register_disk(record).await.expect("a disk");
    }
    for (id, enabled) in [(ACCESS_KEY_ID, true), (DISABLED_KEY_ID, false)] {
        let key = AccessKey { enabled, ..key_of("tester", id) };
        meta.put_access_key(key).await.expect("a key");
    }
}

async fn start_gateway(meta: MetaClient) -> GatewayHandle {
    let config = GatewayConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        region: REGION.into(),
        gateway: "test".into(),
        meta,
        token: TOKEN,
        control: None,
        virtual_host_bases: Vec::new(),
        website_domains: Vec::new(),
        metrics: Metrics::register(&mut prometheus_client::registry::Registry::default()),
        lifecycle_ahead: None,
        log_delivery: std::time::Duration::from_secs(300),
        audit: None,
        pool_key: None,
    };
    Gateway::start(config).await.expect("the gateway")
}

/// A key that is known, with the secret of all.
pub fn key_of(owner: &str, id: &str) -> AccessKey {
    AccessKey {
        id: id.into(),
        secret: Secret(SECRET.into()),
        owner: owner.into(),
        enabled: true,
        created_ms: 1,
    }
}
