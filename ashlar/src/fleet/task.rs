//! What daemons and the admin API say to each other.

use crate::api::{CopyView, DiskView, ServiceView};
use crate::error::{Error, Exit};
use compute::{Acceleration, VmInfo, VmSpec};
use meta::record::Secret;
use proto::ids::NodeId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Which part of Ashlar a daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DaemonKind {
    Blockd,
    Agent,
    Objectd,
}

impl fmt::Display for DaemonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blockd => "blockd",
            Self::Agent => "agent",
            Self::Objectd => "objectd",
        })
    }
}

/// One daemon: the same over its restarts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonId {
    pub kind: DaemonKind,
    pub node: NodeId,
    pub node_name: String,
    /// Tells daemons of one kind on one node apart.
    pub name: String,
}

impl fmt::Display for DaemonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} of node '{}'", self.kind, self.node_name)
    }
}

/// What a daemon is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do", deny_unknown_fields)]
pub enum Task {
    /// Of the agent, as all but the last.
    Attach {
        volume: String,
        socket: PathBuf,
        /// It is attached on another machine, and is to be taken over when a guest wants it here.
        takeover: bool,
    },
    Detach {
        volume: String,
    },
    /// The volume has grown.
    Resized {
        volume: String,
    },
    Export {
        volume: String,
        file: PathBuf,
    },
    Import {
        volume: String,
        file: PathBuf,
    },
    RunVm {
        spec: VmSpec,
    },
    StopVm {
        name: String,
        deadline_ms: u64,
    },
    /// What a VM is. -> `DescribedVm`
    DescribeVm {
        name: String,
    },
    /// Wait for a VM that is to move here. -> `Door`
    ReceiveVm {
        spec: VmSpec,
        acceleration: Acceleration,
    },
    /// Send all of a VM through a door, and leave it paused.
    SendVm {
        name: String,
        door: Door,
    },
    /// A VM was sent here wholly: take its volume over and let it go on. -> `VmInfo`
    AcceptVm {
        name: String,
    },
    /// A VM that was to move here does not.
    DiscardVm {
        name: String,
    },
    /// A VM was sent, and here or there is where it goes on: end it, or take it back. -> `Settled`
    SettleVm {
        name: String,
    },
    /// Of blockd: take a disk into use, made if there is none and a size is given.
    AddDisk {
        path: PathBuf,
        size_bytes: Option<u64>,
    },
}

/// What a VM is to a machine that receives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedVm {
    pub spec: VmSpec,
    pub acceleration: Acceleration,
}

/// Where one VM may come in once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Door {
    pub address: SocketAddr,
    /// What opens it: whoever sends another guest would run it with that volume.
    pub key: Secret,
}

/// Where a VM that was sent goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settled {
    /// Where it was.
    Kept,
    /// Where it was sent to.
    Moved,
}

/// A task on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub id: u64,
    pub task: Task,
}

/// What a daemon says of itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub services: Vec<ServiceView>,
    pub disks: Vec<DiskView>,
    pub attachments: Vec<AttachmentReport>,
    pub vms: Vec<VmInfo>,
    pub rebuilds: Vec<Rebuild>,
    pub metrics: Vec<Metric>,
    /// More of them, as OpenMetrics text.
    #[serde(default)]
    pub openmetrics: String,
    /// Of a gateway: how far its object log is settled.
    #[serde(default)]
    pub logs: Vec<LogMark>,
    /// Of an agent: images on their way into or out of volumes.
    #[serde(default)]
    pub copies: Vec<CopyReport>,
}

/// How far a volume's import or export is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyReport {
    pub volume: String,
    pub far: CopyView,
}

/// Below this mark nothing is on its way any more to an object log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogMark {
    pub volume: u64,
    pub settled_bytes: u64,
}

/// An attached volume, as the agent that serves it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachmentReport {
    pub volume: String,
    /// The VM whose disk it is.
    pub vm: Option<String>,
    /// Why it is not served, if so.
    pub error: Option<String>,
}

/// A disk that catches up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rebuild {
    pub disk: String,
    pub groups_done: u64,
    pub groups_total: u64,
    pub copied_bytes: u64,
    /// What is to be copied in all, as far as the digests tell; for groups that were not begun, as much as the
    /// others took on average. Never below `copied_bytes`, and 0 while nothing is known.
    pub total_bytes: u64,
    pub running_ms: u64,
    /// Why the last try failed, if it did.
    pub trouble: Option<String>,
}

impl Rebuild {
    /// At most 99; it ends when it is gone.
    pub fn percent(&self) -> u64 {
        let percent = u128::from(self.copied_bytes) * 100 / u128::from(self.total_bytes.max(1));
        u64::try_from(percent).unwrap_or(99).min(99)
    }

    /// At the rate so far, if there is one.
    pub fn seconds_left(&self) -> Option<u64> {
        let left = u128::from(self.total_bytes.saturating_sub(self.copied_bytes));
        let ms = (left * u128::from(self.running_ms)).checked_div(u128::from(self.copied_bytes))?;
        u64::try_from(ms.div_ceil(1000)).ok()
    }
}

/// One metric: its name, its type, its help, and its samples as (labels, value).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    pub name: String,
    pub kind: String,
    pub help: String,
    pub samples: Vec<(String, u64)>,
}

/// `POST /v1/daemons/poll`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    pub daemon: DaemonId,
    pub instance: String,
    pub report: Report,
    /// Orders that the daemon has, done or not.
    pub known: Vec<u64>,
    pub outcomes: Vec<Outcome>,
}

/// What became of an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    pub id: u64,
    pub result: Result<Value, Failure>,
}

/// An [`Error`] on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    status: u16,
    message: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { status: error.exit.status(), message: error.message }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(Exit::of_status(failure.status), failure.message)
    }
}
