//! What reads the control plane's state. Every answer is linearizable: it sees each change that was
//! acknowledged before the query was asked.

use crate::check::{NamingPage, NamingTable, OwnedPage, Place, Recounted};
use crate::event::{EventRow, WebhookStatus};
use crate::identity::BoundPrincipal;
use crate::identity_command::{IdentityAnswer, IdentityQuery};
use crate::lifecycle::{ExpirablePage, LifecycleRecord, ListExpirable};
use crate::object::{
    AccessRecord, BlockPublicAccess, BucketRecord, BucketUsage, BucketVersioning, ChecksumAlgorithm,
    ChecksumType, Extent, FoundVersion, ObjectRecord, PartRecord, UploadId, UploadRecord, VersionId,
    VersionRef,
};
use crate::quota::{BucketCountPage, Counted, Incoming, ProjectCount, QuotaOf};
use crate::record::{
    AccessKey, AuditHead, DiskMembership, DiskRecord, LogRecord, LossRecord, NodeRecord, PoolRecord,
    SlowRecord, VolumeRecord,
};
use crate::sealing::{PoolKeyRecord, Sealing};
use crate::setting::{BucketSetting, SettingKind};
use proto::control::PoolMap;
use proto::ids::{DiskId, GroupId, VolumeEpoch, VolumeId};
use serde::{Deserialize, Serialize};

/// A question. The comment of each names its [`Answer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// -> `Status`
    Status,
    /// Groups and disks; unavailable until three disks are registered. -> `Map`
    PoolMap,
    /// -> `Nodes`
    Nodes,
    /// -> `Disks`
    Disks,
    /// By name, users' and system volumes, those being deleted last. -> `Volumes`
    Volumes,
    /// A user's volume by name. -> `Volume`
    Volume { name: String },
    /// Any volume by id. -> `Volume`
    VolumeById { volume: VolumeId },
    /// An object log's marks. -> `Log`
    Log { volume: VolumeId },
    /// Extents of a log that nothing names any more, from an offset, in order; the first may start before it and reach
    /// over it, here and below. -> `Extents`
    Garbage { volume: VolumeId, from_bytes: u64, limit: u32 },
    /// Extents of a log within `[from, to)` that objects and parts name, in order. -> `Extents`
    ReferencedExtents { volume: VolumeId, from_bytes: u64, to_bytes: u64, limit: u32 },
    /// -> `AccessKey`
    AccessKey { id: String },
    /// -> `AccessKeys`
    AccessKeys,
    /// -> `Bucket`
    Bucket { name: String },
    /// By name, from after a name, with a prefix. -> `Buckets`
    Buckets { prefix: String, after: Option<String>, limit: u32 },
    /// -> `Usage`
    Usage { bucket: String },
    /// One object. -> `Object`
    Object { bucket: String, key: String, part: ObjectPart },
    /// -> `Objects`
    ListObjects(ListObjects),
    /// -> `Upload`
    Upload { bucket: String, key: String, upload: UploadId },
    /// In order of number, from after one. -> `Parts`
    ListParts { bucket: String, key: String, upload: UploadId, after: u16, limit: u32 },
    /// -> `Uploads`
    ListUploads(ListUploads),
    /// Per disk, in how many groups it is what. -> `Membership`
    Membership,
    /// The map, if it is not the one of this version. -> `Map` or `Unchanged`
    MapSince { version: u64 },
    /// Groups that a disk left: it holds an old copy, and must not be a member again. -> `Left`
    Left,
    /// The newest epoch of every volume, and which state of the leases that is. -> `Leases`
    Leases,
    /// Disks that were taken out of groups because they were slow, and may be kept out. -> `Slow`
    Slow,
    /// A bucket with what says who may use it. -> `BucketAccess`
    BucketAccess { name: String },
    /// -> `Identity`
    Identity(IdentityQuery),
    /// -> `Versioning`
    Versioning { bucket: String },
    /// An object, or one of its versions. -> `Version`
    Version { bucket: String, key: String, version: Option<VersionRef>, part: ObjectPart },
    /// -> `Versions`
    ListVersions(ListVersions),
    /// -> `BucketSetting`
    BucketSetting { bucket: String, kind: SettingKind },
    /// Who works at lifecycles. -> `Lifecycle`
    Lifecycle,
    /// -> `Expirable`
    ListExpirable(ListExpirable),
    /// How far all audit logs were. -> `AuditHeads`
    AuditHeads,
    /// What a bucket or a project holds and may hold. -> `Counted`
    Counted(QuotaOf),
    /// Buckets by name, from after one, with what they hold. -> `BucketCounts`
    BucketCounts { after: Option<String>, limit: u32 },
    /// What the buckets of each project hold. -> `ProjectCounts`
    ProjectCounts,
    /// Whether so many bytes more would be within all quotas now: `QuotaExceeded` if not. -> `Fits`
    Room { bucket: String, incoming: Incoming, bytes: u64 },
    /// By name, with how it goes with them. -> `Webhooks`
    Webhooks,
    /// Events that wait for a webhook, after one, in order. -> `Events`
    Events { webhook: u64, after: u64, limit: u32 },
    /// A page of all that names extents, checked. -> `Naming`
    Naming { table: NamingTable, after: Option<Place> },
    /// A page of a log's owned extents, checked. -> `Owned`
    Owned { volume: VolumeId, from_bytes: u64, limit: u32 },
    /// A usage and what it is counted anew, which can differ where something changes meanwhile. -> `Recounted`
    Recount(QuotaOf),
    /// What names the extent of a log that starts here, in words. -> `ExtentOwner`
    ExtentOwner { volume: VolumeId, offset: u64 },
    /// An upload, and how what it will make is encrypted. -> `OpenUpload`
    OpenUpload { bucket: String, key: String, upload: UploadId },
    /// The oldest first. -> `PoolKeys`
    PoolKeys,
}

/// How much of an object is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectPart {
    /// All, with the inline body.
    Whole,
    /// All but an inline body, which comes back empty.
    Head,
}

/// A page of objects in order of key bytes (S3 ListObjects, V1 and V2).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListObjects {
    pub bucket: String,
    pub prefix: String,
    /// Keys with it after the prefix are rolled up into one common prefix. Not empty.
    pub delimiter: Option<String>,
    /// Only keys and common prefixes after it: `start-after`, `marker`, or the last page's `next`.
    pub after: Option<String>,
    /// Entries and common prefixes together, at most 1,000.
    pub limit: u32,
}

/// A page of unfinished uploads in order of key, then id (S3 ListMultipartUploads).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListUploads {
    pub bucket: String,
    pub prefix: String,
    pub delimiter: Option<String>,
    pub after_key: Option<String>,
    /// With `after_key`: that key's uploads after this id are still to come. Without it, none of them is.
    pub after_upload: Option<UploadId>,
    pub limit: u32,
}

/// A page of versions and delete markers in order of key, each key's newest first (S3 ListObjectVersions).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListVersions {
    pub bucket: String,
    pub prefix: String,
    pub delimiter: Option<String>,
    pub after_key: Option<String>,
    /// With `after_key`: that key's versions after this one are still to come. Without it, none of them is.
    pub after_version: Option<VersionRef>,
    pub limit: u32,
}

/// The answer to a [`Query`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Status(Status),
    Map(PoolMap),
    Nodes(Vec<NodeRecord>),
    Disks(Vec<DiskRecord>),
    Volumes(Vec<VolumeRecord>),
    Volume(VolumeRecord),
    Log(LogRecord),
    Extents(ExtentPage),
    AccessKey(AccessKey),
    AccessKeys(Vec<AccessKey>),
    Bucket(BucketRecord),
    Buckets(BucketPage),
    Usage(BucketUsage),
    Object(ObjectRecord),
    Objects(ObjectPage),
    Upload(UploadRecord),
    Parts(PartPage),
    Uploads(UploadPage),
    Membership(Vec<DiskMembership>),
    Unchanged,
    Left(Vec<(GroupId, DiskId)>),
    Leases(Leases),
    Slow(Vec<SlowRecord>),
    BucketAccess(BucketAccess),
    Identity(IdentityAnswer),
    Versioning(BucketVersioning),
    Version(FoundVersion),
    Versions(VersionPage),
    BucketSetting(BucketSetting),
    Lifecycle(LifecycleRecord),
    Expirable(ExpirablePage),
    AuditHeads(Vec<AuditHead>),
    Counted(Counted),
    BucketCounts(BucketCountPage),
    ProjectCounts(Vec<ProjectCount>),
    Fits,
    Webhooks(Vec<WebhookStatus>),
    Events(Vec<EventRow>),
    Naming(NamingPage),
    Owned(OwnedPage),
    Recounted(Recounted),
    ExtentOwner(Option<String>),
    OpenUpload(UploadRecord, Option<Sealing>),
    PoolKeys(Vec<PoolKeyRecord>),
}

/// A bucket and who may use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketAccess {
    pub bucket: BucketRecord,
    pub access: AccessRecord,
    /// Of the account that owns it; holds beside its own.
    pub account_block: Option<BlockPublicAccess>,
    /// The users and roles that its policy means; one that isn't here is known by its name only.
    pub bound: Vec<BoundPrincipal>,
    /// Whether changes to its objects are to be told.
    pub notifies: bool,
    /// Whether requests to it are to be logged.
    pub logs: bool,
    /// The text of its setting of that kind: how what is put into it is encrypted, if the request doesn't say.
    pub encryption: Option<String>,
}

/// Who may write what, as far as a catch-up has to know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Leases {
    /// Grows with every lease: a join names it, and is refused if there was one since.
    pub revision: u64,
    /// The newest epoch of each volume that was ever opened and is not being deleted.
    pub epochs: Vec<(VolumeId, VolumeEpoch)>,
}

/// The pool's health, as far as the control plane knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub pool: Option<PoolRecord>,
    pub nodes: u64,
    pub disks: u64,
    /// Sum of the disks' capacities, before replication.
    pub capacity_bytes: u64,
    /// What may fail without taking two replicas of anything.
    pub failure_domain: FailureDomain,
    pub groups: u64,
    /// Groups with all their members in sync.
    pub groups_whole: u64,
    /// Groups with fewer than `min_in_sync` members in sync: their writes wait.
    pub groups_stalled: u64,
    /// Replicas that are missing or being copied, over all groups, and how many of those that were since all
    /// groups were last whole are back: `done / (done + left)` of a rebuild is through.
    pub replicas_left: u64,
    pub replicas_done: u64,
    /// Of those left, the ones that are being copied now.
    pub replicas_catching_up: u64,
    /// Bytes that the disks last said are used.
    pub used_bytes: u64,
    pub volumes: u64,
    pub volumes_deleting: u64,
    /// Sum of the users' volumes' sizes: what they may come to hold.
    pub provisioned_bytes: u64,
    pub buckets: u64,
    pub objects: u64,
    pub object_bytes: u64,
    /// Data that was given up, the oldest first.
    pub losses: Vec<LossRecord>,
    /// What is not as it should be, one sentence each; empty when all is well.
    pub problems: Vec<String>,
}

/// The widest unit that holds at most one replica of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureDomain {
    Disk,
    Node,
    Zone,
}

/// Extents in order of offset.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExtentPage {
    pub extents: Vec<Extent>,
    /// Where the next page starts, if there is one.
    pub next_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BucketPage {
    pub buckets: Vec<BucketRecord>,
    /// What to give as `after` for the next page, if there is one.
    pub next: Option<String>,
}

/// What a listing shows of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedObject {
    pub key: String,
    pub size: u64,
    pub etag: String,
    pub last_modified_ms: u64,
    /// Which checksum it has.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectPage {
    pub objects: Vec<ListedObject>,
    pub common_prefixes: Vec<String>,
    /// `after` of the next page, if more may follow: the last key or common prefix of this one, or a deleted name
    /// behind it where so many lie in between that the page ends before it is full, even with nothing in it.
    pub next: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartPage {
    pub upload: UploadRecord,
    pub parts: Vec<PartRecord>,
    /// The last number of this page, if more follow: `after` of the next.
    pub next: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UploadPage {
    pub uploads: Vec<UploadRecord>,
    pub common_prefixes: Vec<String>,
    /// `after_key` and `after_upload` of the next page, if more follow.
    pub next: Option<(String, Option<UploadId>)>,
}

/// What a listing shows of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedVersion {
    pub key: String,
    pub version: VersionRef,
    /// Whether it is what its key leads to.
    pub latest: bool,
    /// A delete marker has no size and no ETag.
    pub marker: bool,
    pub size: u64,
    pub etag: String,
    pub last_modified_ms: u64,
    /// Which checksum it has.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VersionPage {
    pub versions: Vec<ListedVersion>,
    pub common_prefixes: Vec<String>,
    /// `after_key` and `after_version` of the next page, if more follow. Of the null version too this is an id,
    /// which goes on naming its place when the version is gone: clients delete page by page.
    pub next: Option<(String, Option<VersionId>)>,
}
