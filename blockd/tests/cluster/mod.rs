//! Three chunk servers on temporary files, for tests.
#![allow(dead_code, clippy::unwrap_used, reason = "for tests, each of which uses its part of it")]

use blockd::client::{OnFull, Volume, VolumeConfig};
use blockd::server::{ChunkServer, Missing, ServerConfig};
use proto::control::{DiskPlace, Group, Lease, Member, PoolMap, PoolToken};
use proto::{ClientId, DiskId, GroupEpoch, GroupId, NodeId, VolumeEpoch, VolumeId};
use rt::rng::{Rng, SystemRng};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub const GROUPS: u32 = 16;
pub const TOKEN: PoolToken = PoolToken([7; 32]);

/// Tests are built twice: writers of this process reach the servers through their doors, and, in crates whose name
/// says so, over TCP as those of other processes and machines do.
const OVER_TCP: &str = "_over_tcp";

const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

pub struct Cluster {
    dir: tempfile::TempDir,
    disk_bytes: u64,
    servers: Vec<Option<ChunkServer>>,
    /// Where each listens, or did last.
    addrs: Vec<SocketAddr>,
}

impl Cluster {
    pub fn start(disk_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Self { dir, disk_bytes, servers: vec![None, None, None], addrs: vec![NOWHERE; 3] };
        (0..3).for_each(|number| cluster.start_one(number));
        cluster
    }

    pub fn disk_id(number: usize) -> DiskId {
        DiskId([u8::try_from(number).unwrap() + 1; 16])
    }

    pub fn path(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("disk{number}"))
    }

    pub fn config(&self, number: usize) -> ServerConfig {
        ServerConfig {
            path: self.path(number),
            disk: Self::disk_id(number),
            missing: Missing::Create { len_bytes: self.disk_bytes },
            listen: "127.0.0.1:0".parse().unwrap(),
            token: TOKEN,
        }
    }

    pub fn start_one(&mut self, number: usize) {
        let server = ChunkServer::start(self.config(number)).unwrap();
        self.addrs[number] = server.addr();
        if env!("CARGO_CRATE_NAME").ends_with(OVER_TCP) {
            // For a client it is the loopback, and no door is there.
            self.addrs[number].set_ip(Ipv4Addr::UNSPECIFIED.into());
        }
        self.servers[number] = Some(server);
    }

    pub fn server(&self, number: usize) -> &ChunkServer {
        self.servers[number].as_ref().unwrap()
    }

    /// A clean end.
    pub fn stop_one(&mut self, number: usize) {
        self.servers[number].take().unwrap().stop().unwrap();
    }

    /// An end as by SIGKILL.
    pub fn kill_one(&mut self, number: usize) {
        drop(self.servers[number].take().unwrap());
    }

    pub fn restart(&mut self) {
        (0..3).for_each(|number| self.stop_one(number));
        (0..3).for_each(|number| self.start_one(number));
    }

    pub fn place(&self, number: usize) -> DiskPlace {
        DiskPlace { disk: Self::disk_id(number), node: NodeId(1), addr: self.addrs[number] }
    }

    pub fn volume(&self, volume: u64, epoch: u32, size_bytes: u64) -> VolumeConfig {
        let member = |number| Member::in_sync(Self::disk_id(number));
        let group =
            |id| Group { id: GroupId(id), epoch: GroupEpoch(1), members: (0..3).map(member).collect() };
        let map = PoolMap {
            groups: (0..GROUPS).map(group).collect(),
            disks: (0..3).map(|number| self.place(number)).collect(),
            copies: Vec::new(),
            min_in_sync: 2,
            version: 1,
        };
        let lease = Lease { volume: VolumeId(volume), epoch: VolumeEpoch(epoch), size_bytes, map };
        VolumeConfig {
            lease,
            token: TOKEN,
            client: ClientId(SystemRng.id()),
            on_full: OnFull::Fail,
            control: None,
        }
    }

    pub async fn open(&self, volume: u64, epoch: u32, size_bytes: u64) -> Volume {
        let opening = Volume::open(self.volume(volume, epoch, size_bytes));
        tokio::time::timeout(Duration::from_secs(30), opening).await.expect("opens in time").unwrap()
    }
}

/// Numbers that look random and are the same in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % below
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for eight in bytes.chunks_mut(8) {
            let number = self.roll(u64::MAX).to_le_bytes();
            eight.copy_from_slice(&number[..eight.len()]);
        }
        bytes
    }
}
