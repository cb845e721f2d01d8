//! What the control plane keeps about the pool: nodes, disks, volumes, object logs and access keys.

use crate::limits::{SLOW_PAUSE_DOUBLINGS, SLOW_PAUSE_MS};
use proto::ids::{DiskId, NodeId, VolumeEpoch, VolumeId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

/// The pool itself, made once by the first start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRecord {
    /// 32 hexadecimal digits, drawn at random when the pool was made.
    pub id: String,
    pub created_ms: u64,
    /// Replica groups; fixed for the pool's life.
    pub groups: u32,
    /// Below this many in-sync members, writes wait.
    pub min_in_sync: u32,
}

/// A machine of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    pub id: NodeId,
    pub name: String,
    /// The failure domain the machine stands in.
    pub zone: String,
}

/// What people want of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskAdmin {
    /// It holds data and may get more.
    #[default]
    Active,
    /// Its data is moved to other disks, and it gets none.
    Draining,
    /// It holds nothing that counts and gets nothing.
    Removed,
}

/// What the disk's keeper last said of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiskHealth {
    /// When that was, by the control plane's clock; 0 if it never was.
    pub seen_ms: u64,
    /// When it last said that the disk is healthy; 0 if it never did.
    pub healthy_ms: u64,
    pub healthy: bool,
    pub used_bytes: u64,
    /// What is wrong; empty if nothing is.
    pub why: String,
}

/// A disk of the pool: one raw device or file behind one chunk server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRecord {
    pub id: DiskId,
    pub node: NodeId,
    /// Where its chunk server listens now; registering again moves it.
    pub addr: SocketAddr,
    pub zone: String,
    pub capacity_bytes: u64,
    /// What people know it by, such as the device's path; may be empty.
    pub label: String,
    /// Set by `SetDiskState`; a registration does not change it.
    pub admin: DiskAdmin,
    /// Set by `DiskSeen`; a registration does not change it.
    pub health: DiskHealth,
    /// Why a writer last had it evicted from a group; empty if none ever did.
    pub evicted_why: String,
}

impl DiskRecord {
    /// What a disk's chunk server registers.
    pub fn new(id: DiskId, node: NodeId, addr: SocketAddr, zone: String, capacity_bytes: u64) -> Self {
        Self {
            id,
            node,
            addr,
            zone,
            capacity_bytes,
            label: String::new(),
            admin: DiskAdmin::Active,
            health: DiskHealth::default(),
            evicted_why: String::new(),
        }
    }
}

/// How many groups a disk is a member of, by its standing there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskMembership {
    pub disk: DiskId,
    pub in_sync: u32,
    pub catching_up: u32,
    pub out: u32,
}

/// A disk that a writer had evicted because it was slow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowRecord {
    pub disk: DiskId,
    /// How often, since an operator last said that it is to be used.
    pub strikes: u32,
    /// Whether it is kept out now: it may not catch up where the group does without it.
    pub held: bool,
    pub why: String,
}

impl SlowRecord {
    /// For how long it is left alone before it is tried again: longer each time.
    pub fn pause_ms(&self) -> u64 {
        let doublings = self.strikes.saturating_sub(1).min(SLOW_PAUSE_DOUBLINGS);
        SLOW_PAUSE_MS << doublings
    }
}

/// Whom a volume serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeKind {
    /// A disk that somebody attaches.
    User,
    /// The object log of one gateway, which is its only writer.
    ObjectLog { gateway: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeState {
    Ready,
    /// Nobody may open it; its data is being removed from the disks.
    Deleting,
}

/// Where a volume is served as a vhost-user-blk socket, so that a restart can serve it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub node: NodeId,
    /// Absolute path of the socket on that node.
    pub socket: String,
}

/// A volume. Names are unique; ids are never used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    pub id: VolumeId,
    pub name: String,
    pub size_bytes: u64,
    pub created_ms: u64,
    pub state: VolumeState,
    pub kind: VolumeKind,
    /// The epoch of the newest lease; 0 if it was never opened.
    pub epoch: VolumeEpoch,
    pub attachment: Option<Attachment>,
}

/// An object log's marks, all in bytes from its start: `swept <= sealed <= reserved`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogRecord {
    /// Everything below was handed out by `ReserveLog`.
    pub reserved_bytes: u64,
    /// Nothing below can be newly referenced: an earlier writer reserved it. Raised by each open.
    pub sealed_bytes: u64,
    /// Everything below that no index entry names was found and trimmed.
    pub swept_bytes: u64,
}

/// Data that somebody gave up, with the disk that held its only copy in sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossRecord {
    pub disk: DiskId,
    pub at_ms: u64,
    pub groups: u32,
    /// The first of the volumes that may have lost data.
    pub volumes: Vec<String>,
}

/// A secret that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// An S3 access key and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    pub id: String,
    pub secret: Secret,
    /// The account it acts for.
    pub owner: String,
    pub enabled: bool,
    pub created_ms: u64,
}

/// How far a daemon's audit log is: its last line that is on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    pub log: String,
    pub seq: u64,
    /// In hex.
    pub hash: String,
}
