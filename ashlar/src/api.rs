//! What the CLI and the agent say to each other: JSON over the admin API.

mod quota;
mod scrub_objects;

pub use quota::{BucketPage, BucketView, QuotaView, SetQuota, UsageView};
pub use scrub_objects::{ObjectScrubView, StartObjectScrub};

use crate::fleet::Rebuild;
use compute::{VmInfo, VmSpec};
use meta::identity::AccountRecord;
use meta::quota::Counted;
use meta::record::DiskAdmin;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `POST /v1/volumes`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateVolume {
    pub name: String,
    pub size_bytes: u64,
}

/// `POST /v1/projects`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    pub name: String,
}

/// `GET /v1/projects`, one of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProjectView {
    pub name: String,
    /// The account's number, by which policies name it.
    pub number: String,
    pub created_ms: u64,
    /// Of all its buckets together.
    #[serde(default)]
    pub usage: UsageView,
    #[serde(default)]
    pub quota: QuotaView,
}

impl ProjectView {
    pub fn new(account: &AccountRecord, counted: Counted) -> Self {
        Self {
            name: account.name.clone(),
            number: account.number.clone(),
            created_ms: account.created_ms,
            usage: counted.usage.into(),
            quota: counted.quota.into(),
        }
    }
}

/// A project with a new key of its root. `Debug` would show the secret, so there is none.
#[derive(Clone, Serialize, Deserialize)]
pub struct ProjectKey {
    #[serde(flatten)]
    pub project: ProjectView,
    pub access_key_id: String,
    pub secret_access_key: String,
}

/// `POST /v1/webhooks`. `Debug` would show the token, so there is none.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddWebhook {
    pub name: String,
    pub url: String,
    #[serde(default)]
    pub token: Option<String>,
    /// Only buckets of this account may name it.
    #[serde(default)]
    pub account: Option<String>,
}

/// `GET /v1/webhooks`, one of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WebhookView {
    pub name: String,
    pub url: String,
    pub has_token: bool,
    pub account: Option<String>,
    pub created_ms: u64,
    /// Events that wait, and when the oldest of them happened.
    pub waiting: u64,
    pub oldest_ms: Option<u64>,
    pub delivered: u64,
    pub delivered_ms: Option<u64>,
    /// Given up: because too many waited, and because they were too old.
    pub dropped_full: u64,
    pub dropped_old: u64,
    /// Whether the last try failed.
    pub failing: bool,
    pub failed_ms: Option<u64>,
    pub last_error: Option<String>,
}

/// `POST /v1/volumes/{name}/attach`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachVolume {
    /// Absolute path of the vhost-user-blk socket to serve the volume on.
    pub socket: PathBuf,
    /// The machine to serve it on, by name; needed where there are several.
    #[serde(default)]
    pub node: Option<String>,
    /// It is attached on another machine, which serves it until a guest starts here.
    #[serde(default)]
    pub takeover: bool,
}

/// `POST /v1/volumes/{name}/detach`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetachVolume {
    /// Even if the machine that serves it does not answer.
    #[serde(default)]
    pub force: bool,
    /// Only call off what this machine, by name, was to take over.
    #[serde(default)]
    pub node: Option<String>,
}

/// `POST /v1/volumes/{name}/resize`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizeVolume {
    pub size_bytes: u64,
}

/// `POST /v1/disks`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddDisk {
    /// Absolute, on the machine that gets the disk.
    pub path: PathBuf,
    /// Made with this size if nothing is there.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// That machine's name; needed where there are several.
    #[serde(default)]
    pub node: Option<String>,
}

/// `POST /v1/disks/{disk}/replace`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceDisk {
    /// The disk that takes the place, by id or path.
    pub new: String,
}

/// `POST /v1/disks/{disk}/state`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetDiskState {
    pub state: DiskAdmin,
}

/// `POST /v1/disks/ID/lose`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoseDisk {
    /// Also where the disk holds the only copy in sync.
    pub accept_data_loss: bool,
}

/// One machine: `GET /v1/nodes`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeView {
    pub id: u64,
    pub name: String,
    pub zone: String,
    pub disks: u64,
    pub daemons: Vec<DaemonView>,
}

/// A daemon of a machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DaemonView {
    pub kind: String,
    pub name: String,
    /// `running`, or for how long nothing was heard of it.
    pub state: String,
}

/// One disk: `GET /v1/disks`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiskDetail {
    pub id: String,
    pub path: String,
    pub node: String,
    pub zone: String,
    pub address: String,
    pub capacity_bytes: u64,
    pub used_bytes: u64,
    /// What people want of it.
    pub state: DiskAdmin,
    /// Groups that it is a member of, by its standing there.
    pub in_sync: u32,
    pub catching_up: u32,
    pub out: u32,
    /// Why a writer last had it leave a group; empty if none did.
    pub evicted_why: String,
    /// Why it is kept out of its groups, if writers found it slow.
    pub slow: Option<String>,
    pub rebuild: Option<Rebuild>,
    /// Why it does not serve, if so.
    pub error: Option<String>,
}

/// The scrubber: `GET /v1/scrub`, and `POST /v1/scrub`, which begins a pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubView {
    pub running: bool,
    /// Of the pass that runs, or else of the last one, as all that follows.
    pub started_ms: u64,
    pub finished_ms: Option<u64>,
    pub groups_done: u64,
    pub groups_total: u64,
    /// Of those done, the ones that could not be scrubbed: too few members in sync, or not there.
    pub groups_skipped: u64,
    /// 100 only when it has ended.
    pub percent: u64,
    pub seconds_left: Option<u64>,
    pub counts: ScrubCounts,
    /// Why groups were skipped: the first few.
    pub troubles: Vec<String>,
    /// Since the daemon's start.
    pub passes: u64,
}

/// What a scrub saw and did. Copies are counted: a block that is bad on two disks counts twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubCounts {
    pub chunks: u64,
    pub blocks_checked: u64,
    pub bad_blocks: u64,
    pub missing_blocks: u64,
    pub repaired_blocks: u64,
    pub unrepairable_blocks: u64,
    /// Good copies of one version that differ: nobody can tell which is right.
    pub conflicting_blocks: u64,
    /// Written again and again whenever they were to be checked.
    pub skipped_blocks: u64,
}

/// `POST /v1/volumes/{name}/export` and `/import`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyVolume {
    /// Absolute path of a raw image on the daemon's machine.
    pub file: PathBuf,
    /// That machine's name; needed where there are several.
    #[serde(default)]
    pub node: Option<String>,
}

/// How far an export or import is that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyView {
    pub done_bytes: u64,
    pub total_bytes: u64,
}

/// The answer of an export or import.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Copied {
    pub bytes: u64,
    /// Of them, bytes that were not holes or zeros.
    pub data_bytes: u64,
}

/// `POST /v1/vms`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunVm {
    /// The machine to run it on, by name; needed where there are several.
    #[serde(default)]
    pub node: Option<String>,
    pub spec: VmSpec,
}

/// `POST /v1/vms/{name}/stop`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopVm {
    pub deadline_ms: u64,
}

/// `POST /v1/vms/{name}/migrate`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrateVm {
    /// The machine to move it to, by name.
    pub node: String,
}

/// A volume as lists show it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VolumeView {
    pub name: String,
    pub id: u64,
    pub size_bytes: u64,
    /// `ready` or `deleting`.
    pub state: String,
    /// Counts the volume's writers.
    pub epoch: u32,
    pub created_ms: u64,
    pub attachment: Option<AttachmentView>,
    /// The import or export of it that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyView>,
}

/// Where a volume is served.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttachmentView {
    pub socket: String,
    /// The machine that serves it.
    pub node: u64,
    /// The VM whose disk it is, if the agent attached it for one.
    pub vm: Option<String>,
    /// Why it is recorded but not served, if so.
    pub error: Option<String>,
}

/// `GET /v1/volumes/{name}`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VolumeDetail {
    #[serde(flatten)]
    pub volume: VolumeView,
    /// What the volume's data takes on one replica.
    pub used_bytes: u64,
    pub replicas: Vec<ReplicaView>,
}

/// One disk's share of a volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplicaView {
    pub disk: String,
    pub address: String,
    pub used_bytes: u64,
    /// Why the disk did not answer, if so.
    pub error: Option<String>,
}

/// `GET /v1/status`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusReport {
    pub health: Health,
    /// What keeps it from being healthy, one sentence each.
    pub causes: Vec<String>,
    /// What is as it was set up, but should be known.
    pub notes: Vec<String>,
    pub version: String,
    pub pool: String,
    pub data: PathBuf,
    pub uptime_seconds: u64,
    pub services: Vec<ServiceView>,
    pub capacity: Capacity,
    pub replicas: ReplicaSummary,
    /// If anything is missing.
    pub rebuild: Option<RebuildSummary>,
    pub disks: Vec<DiskView>,
    pub volumes: u64,
    pub volumes_attached: u64,
    pub vms_running: u64,
    pub buckets: u64,
    pub objects: u64,
    pub object_bytes: u64,
}

/// Health in one word, the worse the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    Healthy,
    /// Everything is served, and what is missing is being copied.
    Rebuilding,
    /// Everything is served, with something missing.
    Degraded,
    /// Some writes wait for replicas; what can be read is served.
    Stalled,
    /// Something is not served.
    Unavailable,
}

/// One part of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    pub name: String,
    pub address: String,
    /// `running`, or what is wrong.
    pub state: String,
}

/// Sums over all disks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Capacity {
    pub raw_bytes: u64,
    pub raw_used_bytes: u64,
    /// What fits with every byte on three replicas.
    pub usable_bytes: u64,
    pub usable_free_bytes: u64,
}

/// The replica groups.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ReplicaSummary {
    pub groups: u64,
    /// Groups with all their members in sync.
    pub whole: u64,
    /// Groups whose writes wait.
    pub stalled: u64,
}

/// Replicas that are on their way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildSummary {
    /// Replicas of groups that are back since all were last there, and those that are not.
    pub done: u64,
    pub left: u64,
    /// Of those left, the ones being copied now.
    pub copying: u64,
    /// At most 99 while anything is left.
    pub percent: u64,
    /// Seconds, at the pace so far; none before anything is done, or while nothing is copied.
    pub seconds_left: Option<u64>,
    /// Why disks that try again could not be caught up, one sentence each.
    pub troubles: Vec<String>,
}

/// One disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DiskView {
    pub id: String,
    /// The machine it is in.
    pub node: u64,
    pub address: String,
    pub file: PathBuf,
    pub capacity_bytes: u64,
    pub used_bytes: u64,
    pub free_bytes: u64,
    /// Bad blocks found and repaired from another replica since the daemon's start.
    pub repaired_blocks: u64,
    pub error: Option<String>,
}

/// One VM: `GET /v1/vms/{name}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VmView {
    /// The machine it runs on, or ended on, by name.
    pub node: String,
    #[serde(flatten)]
    pub vm: VmInfo,
}

/// `GET /v1/vms`
pub type VmList = Vec<VmView>;

/// An error of the agent: `{"error": {"kind": ..., "message": ...}}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

/// The inside of an [`ErrorBody`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// Machine-readable; its shape is the answering part's own.
    #[serde(default)]
    pub kind: serde_json::Value,
    pub message: String,
}
