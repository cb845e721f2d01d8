//! A store that is stopped, killed and started again in its folder, on disks of a chosen size.
#![allow(dead_code, reason = "each test file uses a part of it")]

use crate::support::Client;
use blockd::client::admin;
use blockd::server::{ChunkServer, Missing, ServerConfig};
use meta::node::{MetaConfig, MetaNode};
use meta::record::{AccessKey, DiskRecord, NodeRecord, PoolRecord, Secret, VolumeKind};
use objectd::{Gateway, GatewayConfig, GatewayHandle, Https, Listeners, Metrics};
use prometheus_client::registry::Registry;
use proto::control::{DiskPlace, PoolToken};
use proto::ids::{DiskId, NodeId, VolumeId};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

pub const TOKEN: PoolToken = PoolToken([7; 32]);
const NODE: NodeId = NodeId(1);
const KEY_ID: &str = "AKIALIFE";
const SECRET: &str = "a secret of tests";
pub const REGION: &str = "ashlar-1";
/// The domain below which hosts name websites.
pub const WEBSITES: &str = "web.test";
const AHEAD: &str = "ahead";
/// Where the pool's keys are, beside the disks.
pub const POOL_KEY: &str = "outside/pool.key";

/// A running store.
pub struct Life {
    pub gateway: GatewayHandle,
    pub node: MetaNode,
    pub meta: meta::Client,
    pub disks: Vec<ChunkServer>,
    pub registry: Registry,
    pub folder: TempDir,
}

impl Life {
    /// A new store on three disks of this size.
    pub async fn create(disk_bytes: u64) -> Self {
        Self::create_with(disk_bytes, None).await
    }

    /// The same, which serves HTTPS too.
    pub async fn create_with(disk_bytes: u64, https: Option<(TcpListener, Arc<Https>)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let started = Self::start(folder, Missing::Create { len_bytes: disk_bytes }, https).await;
        started.unwrap_or_else(|(why, _)| panic!("{why}"))
    }

    /// The store that is in `folder`.
    pub async fn open(folder: TempDir) -> Self {
        Self::try_open(folder).await.unwrap_or_else(|(why, _)| panic!("{why}"))
    }

    /// The same, or why its gateway does not start.
    pub async fn try_open(folder: TempDir) -> Result<Self, (String, TempDir)> {
        Self::start(folder, Missing::Fail, None).await
    }

    async fn start(
        folder: TempDir,
        missing: Missing,
        https: Option<(TcpListener, Arc<Https>)>,
    ) -> Result<Self, (String, TempDir)> {
        let disks: Vec<ChunkServer> = (1..=3).map(|number| start_disk(&folder, number, missing)).collect();
        let node = MetaNode::start(MetaConfig::new(folder.path().join("meta"), NODE)).await.unwrap();
        let meta = node.client();
        set_up(&meta, &disks).await;
        let mut registry = Registry::default();
        let config = GatewayConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            region: REGION.into(),
            gateway: "life".into(),
            meta: meta.clone(),
            token: TOKEN,
            control: None,
            virtual_host_bases: Vec::new(),
            website_domains: vec![WEBSITES.into()],
            metrics: Metrics::register(&mut registry),
            lifecycle_ahead: Some(folder.path().join(AHEAD)),
            log_delivery: Duration::from_millis(500),
            audit: None,
            pool_key: Some(folder.path().join(POOL_KEY)),
        };
        let http = TcpListener::bind(config.listen).await.unwrap();
        match Gateway::start_on(config, Listeners { http, https }).await {
            Ok(gateway) => Ok(Self { gateway, node, meta, disks, registry, folder }),
            Err(error) => {
                drop(meta);
                node.stop().await.unwrap();
                disks.into_iter().for_each(|disk| disk.stop().unwrap());
                Err((error.to_string(), folder))
            }
        }
    }

    /// Stops everything in order.
    pub async fn stop(self) -> TempDir {
        self.gateway.stop().await;
        self.node.stop().await.unwrap();
        for disk in self.disks {
            disk.stop().unwrap();
        }
        self.folder
    }

    /// Ends everything at once, as SIGKILL would.
    pub fn kill(self) -> TempDir {
        drop((self.disks, self.gateway, self.meta, self.node));
        self.folder
    }

    pub fn client(&self) -> Client {
        Client::new(self.gateway.addr(), KEY_ID, SECRET, REGION)
    }

    /// A metric's line, without its name and labels.
    pub fn metric(&self, name: &str) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    }

    /// Moves the clock that lifecycle rules go by so far ahead of the real one.
    pub fn move_ahead(&self, seconds: u64) {
        // Whole or not at all: half a number would be another.
        let beside = self.folder.path().join("ahead.new");
        std::fs::write(&beside, seconds.to_string()).unwrap();
        std::fs::rename(beside, self.folder.path().join(AHEAD)).unwrap();
    }

    pub async fn log_volume(&self) -> VolumeId {
        let volumes = self.meta.volumes().await.unwrap();
        volumes.iter().find(|volume| matches!(volume.kind, VolumeKind::ObjectLog { .. })).unwrap().id
    }

    /// Waits until the object log takes exactly this much on every disk. The garbage worker needs a moment.
    pub async fn wait_for_live(&self, bytes: u64) {
        let volume = self.log_volume().await;
        let mut live = Vec::new();
        for _ in 0..300 {
            live.clear();
            for disk in &self.disks {
                let place = DiskPlace { disk: disk.disk(), node: NODE, addr: disk.addr() };
                live.push(admin::volume_stat(&place, TOKEN, volume).await.unwrap().live_blocks * 4096);
            }
            if live.iter().all(|&live| live == bytes) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the log takes {live:?} bytes on the disks, not {bytes}");
    }

    /// Extents that wait to be trimmed, up to 100.
    pub async fn garbage(&self) -> usize {
        self.meta.garbage(self.log_volume().await, 0, 100).await.unwrap().extents.len()
    }
}

fn start_disk(folder: &TempDir, number: u8, missing: Missing) -> ChunkServer {
    ChunkServer::start(ServerConfig {
        path: folder.path().join(format!("disk{number}")),
        disk: DiskId([number; 16]),
        missing,
        listen: ([127, 0, 0, 1], 0).into(),
        token: TOKEN,
    })
    .unwrap()
}

/// Registers what is there; the same at every start.
async fn set_up(meta: &meta::Client, disks: &[ChunkServer]) {
    let pool = PoolRecord { id: "0".repeat(32), created_ms: 1, groups: 8, min_in_sync: 2 };
    meta.init_pool(pool).await.unwrap();
    meta.register_node(NodeRecord { id: NODE, name: "here".into(), zone: "zone".into() }).await.unwrap();
    for disk in disks {
        let record = DiskRecord::new(disk.disk(), NODE, disk.addr(), "zone".into(), 1 << 30);
        meta.register_disk(record).await.unwrap();
    }
    let key = AccessKey {
        id: KEY_ID.into(),
        secret: Secret(SECRET.into()),
        owner: "tester".into(),
        enabled: true,
        created_ms: 1,
    };
    meta.put_access_key(key).await.unwrap();
}
