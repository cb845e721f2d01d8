//! What changes the control plane's state. Commands carry their time and their random ids: applying one
//! reads neither a clock nor a generator, so every replica gets the same result.

use crate::acl::{Grants, ObjectAcl};
use crate::check::Recounted;
use crate::error::Refusal;
use crate::event::{EventBy, EventCause, EventKeeper, EventRoute, Settled, WebhookRecord};
use crate::identity_command::IdentityCommand;
use crate::lifecycle::{Expiry, LifecycleProgress, LifecycleRecord};
use crate::object::{
    Annotations, BlockPublicAccess, BucketRecord, CompletedPart, DefaultRetention, Extent, ObjectOwnership,
    ObjectRecord, PartRecord, Precondition, Retention, UploadId, UploadRecord, VersionRef, Versioning,
};
use crate::quota::{BoundChange, QuotaOf};
use crate::record::{
    AccessKey, Attachment, AuditHead, DiskAdmin, DiskRecord, NodeRecord, PoolRecord, VolumeRecord,
};
use crate::sealing::{PartSalt, PoolKeyId, Sealing};
use crate::setting::SettingKind;
use proto::control::{Copied, Lease, PoolMap};
use proto::ids::{DiskId, GroupEpoch, GroupId, VolumeEpoch, VolumeId};
use serde::{Deserialize, Deserializer, Serialize};
use std::cell::Cell;

/// A change. The comment of each names its [`Response`]; all may be refused with a
/// [`MetaError`](crate::error::MetaError).
///
/// The order of variants is part of the log's format: new ones go at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes the pool, or answers with the one that is there. -> `Pool`
    InitPool(PoolRecord),
    /// Adds a node or changes its name or zone. -> `Done`
    RegisterNode(NodeRecord),
    /// Adds a disk of a known node, or moves it to another address. With the third disk the groups are made.
    /// -> `Done`
    RegisterDisk(DiskRecord),
    /// Makes a user's volume. -> `Volume`
    CreateVolume { name: String, size_bytes: u64, now_ms: u64 },
    /// Marks a volume as being deleted, which frees its name at once; not while it is attached. Nobody can
    /// open it any more, and its epoch is raised, so that what removes its data fences its last writer.
    /// -> `Volume`
    DeleteVolume { name: String },
    /// Forgets a volume whose data is off the disks. -> `Done`
    FinishDelete { volume: VolumeId },
    /// Raises the volume's epoch and gives the right to write under it. Opening an object log seals all that
    /// earlier writers reserved. -> `Lease`
    OpenVolume { volume: VolumeId },
    /// Records where a user's volume is served, or that it is not. -> `Volume`
    SetAttachment { name: String, attachment: Option<Attachment> },
    /// The gateway's object log, made if it is not there. -> `Volume`
    EnsureObjectLog { gateway: String, now_ms: u64 },
    /// Hands out the next bytes of an object log (rounded up to whole blocks) to the writer of this epoch.
    /// -> `Reserved`
    ReserveLog { volume: VolumeId, epoch: VolumeEpoch, bytes: u64 },
    /// Takes extents that were trimmed off the garbage queue; unknown ones are ignored. -> `Done`
    GarbageDone { volume: VolumeId, extents: Vec<Extent> },
    /// Everything unreferenced below this mark (at most the sealed mark) is trimmed. -> `Done`
    MarkSwept { volume: VolumeId, upto_bytes: u64 },
    /// Adds an access key or replaces the one with its id. -> `Done`
    PutAccessKey(AccessKey),
    /// -> `Done`
    DeleteAccessKey { id: String },
    /// Makes a bucket, closed to the public, ACLs off. -> `Bucket`
    CreateBucket { name: String, owner: String, now_ms: u64 },
    /// Only an empty one, without unfinished uploads. -> `Done`
    DeleteBucket { name: String },
    /// Puts an index entry; what it displaces becomes garbage in the same step. -> `Done`
    PutObject { bucket: String, key: String, record: ObjectRecord, precondition: Precondition },
    /// Deletes up to 1,000 objects, each by itself. -> `Deleted`, in the same order
    DeleteObjects { bucket: String, objects: Vec<DeleteObject> },
    /// -> `Done`
    CreateUpload { bucket: String, upload: UploadRecord },
    /// Adds a part, or replaces the one with its number. -> `Done`
    PutPart { bucket: String, key: String, upload: UploadId, part: PartRecord },
    /// Makes the object of the listed parts. Of `record` its etag, last_modified_ms and checksums are taken;
    /// size, parts, body, headers and metadata come from the upload. -> `Completed`
    CompleteUpload {
        bucket: String,
        key: String,
        upload: UploadId,
        parts: Vec<CompletedPart>,
        record: ObjectRecord,
        precondition: Precondition,
    },
    /// -> `Done`
    AbortUpload { bucket: String, key: String, upload: UploadId },
    /// Queues as garbage what a gateway wrote and will not commit (a client that left, a refused
    /// precondition). -> `Done`
    DiscardExtents { extents: Vec<Extent> },
    /// A writer can't reach a member, and another one in sync answers: the disk is `Out` in the named groups.
    /// A group whose epoch is another one, or whose last member in sync it is, is left as it is.
    /// -> `Map`, the present one
    EvictDisk { disk: DiskId, groups: Vec<(GroupId, GroupEpoch)>, why: String },
    /// The disk is back and begins to catch up in the named groups; one whose epoch is another, or where it
    /// is not `Out`, is left as it is. -> `Map`
    BeginCatchUp { disk: DiskId, groups: Vec<(GroupId, GroupEpoch)> },
    /// The disk holds everything that was acked in the group: it is in sync, and the member whose place it
    /// takes leaves. Refused (`PreconditionFailed`) if the group changed since that epoch. -> `Map`
    Join { disk: DiskId, group: GroupId, epoch: GroupEpoch },
    /// In every group of `old`, `new` begins to catch up and will take its place. Groups that can't take a
    /// member now (another is on its way) are left as they are: ask again later. -> `Map`
    ReplaceDisk { old: DiskId, new: DiskId },
    /// The same in one group, at an epoch. -> `Map`
    ReplaceMember { group: GroupId, epoch: GroupEpoch, old: DiskId, new: DiskId },
    /// Takes a member out again that was to take another's place and has not joined. -> `Map`
    CancelReplace { group: GroupId, epoch: GroupEpoch, disk: DiskId },
    /// Makes a user's volume larger; its writer sees it with its next open. -> `Volume`
    ResizeVolume { name: String, size_bytes: u64 },
    /// `Removed` only if the disk is in no group. -> `Done`
    SetDiskState { disk: DiskId, state: DiskAdmin },
    /// A disk's keeper says how it is, every few seconds. The control plane puts its own time in the place of
    /// `seen_ms`. -> `Done`
    DiskSeen { disk: DiskId, seen_ms: u64, healthy: bool, used_bytes: u64, why: String },
    /// The disk holds nothing any more of these groups, which it left, and refuses their frames from before
    /// the epochs named: it may be a member of them again.
    /// -> `Done`
    GroupsCleared { disk: DiskId, groups: Vec<(GroupId, GroupEpoch)> },
    /// Records that a user's volume is served elsewhere from now on, by the writer that was given `epoch`; refused
    /// if somebody opened the volume since. -> `Volume`
    MoveAttachment { name: String, to: Attachment, epoch: VolumeEpoch },
    /// A `Join` by a catch-up that knew the leases at this revision before its last look at its source: refused
    /// if a lease was given since. Its writer may have opened the members without this disk, and what a dead
    /// writer left here alone would come to light. (`Join` is only in logs of earlier builds.) -> `Map`
    JoinSince { disk: DiskId, group: GroupId, epoch: GroupEpoch, leases: u64 },
    /// The disk is gone for good: it is out of its groups, and removed. With `accept_data_loss`, also where it
    /// holds the only copy in sync: another becomes what the group holds. -> `Lost`
    LoseDisk { disk: DiskId, accept_data_loss: bool, now_ms: u64 },
    /// A `JoinSince` that says what was copied. (`JoinSince` is only in logs of earlier builds.) -> `Map`
    JoinCopied { copied: Copied, epoch: GroupEpoch, leases: u64 },
    /// As `EvictDisk`, for a member that answers, but so late that all wait for it: it stays in groups that would
    /// have fewer than `min_in_sync` in sync without it, and is kept out of the others until it is readmitted.
    /// -> `Map`
    EvictSlowDisk { disk: DiskId, groups: Vec<(GroupId, GroupEpoch)>, why: String },
    /// The keeper of a disk that was slow says what time has done for it since this strike; of another strike it
    /// says nothing. (An operator's word is `SetDiskState`.) -> `Done`
    PardonDisk { disk: DiskId, strikes: u32, pardon: Pardon },
    /// Puts a bucket's policy in the place of any that is there; like the two below, of the bucket with this id
    /// only, since another may have got the name meanwhile. Whoever proposes it has parsed the text: what parses
    /// may change from build to build, and replicas must agree. Refused (`PreconditionFailed`) if it is public
    /// and the bucket blocks such. -> `Done`
    PutBucketPolicy { bucket: String, id: u64, text: String, public: bool },
    /// -> `Done`, whether there was one or not
    DeleteBucketPolicy { bucket: String, id: u64 },
    /// Sets a bucket's public access block, or takes it away. -> `Done`
    PutPublicAccessBlock { bucket: String, id: u64, block: Option<BlockPublicAccess> },
    /// Changes who asks, and what they may. -> `Done`
    Identity(IdentityCommand),
    /// As `CreateBucket`, with object lock and so with versioning. -> `Bucket`
    CreateLockedBucket { name: String, owner: String, now_ms: u64 },
    /// Has the bucket with this id keep versions, or not any more. Refused (`PreconditionFailed`) if it has an
    /// object lock and would stop. -> `Done`
    PutVersioning { bucket: String, id: u64, versioning: Versioning },
    /// Gives the bucket with this id an object lock, or changes its default. Refused (`PreconditionFailed`) if it
    /// doesn't keep versions. -> `Done`
    PutObjectLock { bucket: String, id: u64, default: Option<DefaultRetention> },
    /// `PutObject` of a new version, if the bucket keeps any. The control plane puts its own time in the place of
    /// `now_ms`, here and below, so that no gateway's clock ends a retention. (`PutObject` is only in logs of earlier builds, and
    /// refused in a bucket that ever kept versions.) -> `Version`
    PutVersion {
        bucket: String,
        key: String,
        record: ObjectRecord,
        annotations: Annotations,
        precondition: Precondition,
        now_ms: u64,
        nonce: u64,
    },
    /// `DeleteObjects` of versions; an object named without one gets a delete marker, if the bucket keeps
    /// versions. -> `DeletedVersions`, in the same order
    DeleteVersions { bucket: String, objects: Vec<DeleteVersion>, now_ms: u64 },
    /// `CreateUpload` of an object with annotations. -> `Done`
    CreateAnnotatedUpload { bucket: String, upload: UploadRecord, annotations: Annotations },
    /// `CompleteUpload` that makes a new version. -> `Version`
    CompleteVersion {
        bucket: String,
        key: String,
        upload: UploadId,
        parts: Vec<CompletedPart>,
        record: ObjectRecord,
        precondition: Precondition,
        now_ms: u64,
        nonce: u64,
    },
    /// Changes what can be changed of an object or a version. -> `Version`
    Annotate { bucket: String, key: String, version: Option<VersionRef>, change: Annotate, now_ms: u64 },
    /// Puts a setting of the bucket with this id in the place of any that is there; without a text, takes it away.
    /// -> `Done`
    PutBucketSetting { bucket: String, id: u64, kind: SettingKind, text: Option<String> },
    /// Gives the pool's lifecycle work to this worker, unless another holds it, and notes how far it is. The control
    /// plane puts its own time in the place of `now_ms`, here and below. -> `Lifecycle`, with who holds it then
    KeepLifecycle { worker: u64, progress: Option<LifecycleProgress>, now_ms: u64 },
    /// Takes away up to 1,000 things of the bucket with this id, each by itself, and only if it still is as it was
    /// seen. Refused (`PreconditionFailed`) if the bucket's lifecycle rules aren't those whose text has this CRC-32.
    /// -> `Expired`, in the same order
    Expire { bucket: String, id: u64, rules_crc: u32, things: Vec<Expiry>, now_ms: u64 },
    /// Notes how far a daemon's audit log is. Refused (`PreconditionFailed`) if it was further, or other. -> `Done`
    NoteAudit(AuditHead),
    /// Changes the quota of a bucket or a project, each bound by itself. -> `Done`
    SetQuota { of: QuotaOf, bytes: BoundChange, objects: BoundChange },
    /// Makes a webhook. -> `Done`
    AddWebhook(WebhookRecord),
    /// Takes a webhook away that no bucket names, and what waits for it: a part of it, where that is much. -> `Left`
    RemoveWebhook { name: String },
    /// Puts the notification configuration of the bucket with this id, and its routes; without a text, takes both away.
    /// Refused (`NotFound(Webhook)`) if a route names a webhook that isn't there, or not for this bucket. The control
    /// plane puts its own time in the place of `now_ms`, here and below. -> `Done`
    PutNotifications {
        bucket: String,
        id: u64,
        text: Option<String>,
        routes: Vec<EventRoute>,
        by: EventBy,
        now_ms: u64,
    },
    /// Makes a change to objects and tells the webhooks of their bucket: `PutVersion`, `CompleteVersion`,
    /// `DeleteVersions` or `Annotate` with tags. -> as the change
    Told { change: Change, cause: EventCause },
    /// Gives the posting of events to this worker, unless another holds it. -> `EventKeeper`, who holds it then
    KeepEvents { worker: u64, now_ms: u64 },
    /// Takes events of a webhook away that it has or that were given up. -> `Done`
    SettleEvents { webhook: u64, settled: Settled, now_ms: u64 },
    /// As `CreateBucket`, or `CreateLockedBucket` if it is `locked`, with ACLs. Refused (`Exists(Acl)`) if its own is public.
    /// -> `Bucket`
    CreateBucketWithAcls {
        name: String,
        owner: String,
        locked: bool,
        ownership: ObjectOwnership,
        acl: Grants,
        now_ms: u64,
    },
    /// Says whose the objects of the bucket with this id are, or that nobody said. Refused (`PreconditionFailed`) if ACLs would
    /// be off and its own grants others anything. -> `Done`
    PutOwnership { bucket: String, id: u64, ownership: Option<ObjectOwnership> },
    /// Puts what the bucket with this id grants in the place of what it granted. Refused if it is public and the
    /// bucket or its account blocks such (`Exists(Acl)`), or if ACLs are off (`NotFound(Acl)`). -> `Done`
    PutBucketAcl { bucket: String, id: u64, acl: Grants },
    /// Queues as garbage what nobody owns of these, of any writer's; the others are left alone. -> `Reclaimed`
    ReclaimExtents { extents: Vec<Extent> },
    /// Counts a usage anew while nothing changes, and puts it right if that is asked for. It takes as long as reading the
    /// bucket's index does, and all changes wait for it. -> `Recounted`
    Recount { of: QuotaOf, mend: bool },
    /// `PutVersion` of encrypted data. -> `Version`
    PutSealed {
        bucket: String,
        key: String,
        record: ObjectRecord,
        sealing: Sealing,
        annotations: Annotations,
        precondition: Precondition,
        now_ms: u64,
        nonce: u64,
    },
    /// `CreateAnnotatedUpload` of what will be encrypted. -> `Done`
    CreateSealedUpload { bucket: String, upload: UploadRecord, sealing: Sealing, annotations: Annotations },
    /// `PutPart` of such an upload, which takes no other. -> `Done`
    PutSealedPart { bucket: String, key: String, upload: UploadId, part: PartRecord, salt: PartSalt },
    /// Tells of a pool key, before anything is sealed with it. As the pool's first, it is refused
    /// (`PreconditionFailed`) if there is another. -> `Done`
    NotePoolKey { id: PoolKeyId, first: bool, now_ms: u64 },
    /// Puts an object's key, encrypted anew, in the place of what it was; refused (`PreconditionFailed`) if it is
    /// not that any more. -> `Done`
    Rewrap {
        bucket: String,
        key: String,
        version: Option<VersionRef>,
        before: Vec<u8>,
        by: PoolKeyId,
        wrapped: Vec<u8>,
    },
}

/// A command within another. It is read one deep only: whoever may send commands could else have a reader's stack
/// overflow with a few bytes a level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change(pub Box<Command>);

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        thread_local!(static WITHIN: Cell<bool> = const { Cell::new(false) });
        if WITHIN.replace(true) {
            return Err(serde::de::Error::custom("a change is told twice"));
        }
        let command = Command::deserialize(input);
        WITHIN.set(false);
        command.map(|command| Self(Box::new(command)))
    }
}

/// What [`Command::Annotate`] changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Annotate {
    /// In the place of all that are there.
    Tags(Vec<(String, String)>),
    Retention {
        /// `None` takes it away.
        retention: Option<Retention>,
        /// The caller may, and wants to, loosen one of governance.
        bypass_governance: bool,
    },
    LegalHold(bool),
    /// What it grants from now on. Refused (`InUse(Acl)`) if its ACL isn't the one that was `seen`, by which the caller was
    /// judged, or (`Exists(Acl)`) if it is public where that is blocked.
    Acl {
        seen: Option<ObjectAcl>,
        grants: Grants,
    },
}

/// What time does for a disk that was slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pardon {
    /// It was left alone for long enough: it may catch up again.
    TryAgain,
    /// It was not slow again for long enough: its strikes are forgotten.
    Forget,
}

/// One object of [`Command::DeleteObjects`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteObject {
    pub key: String,
    /// `None` or `IfMatch`.
    pub precondition: Precondition,
}

/// One object of [`Command::DeleteVersions`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteVersion {
    pub key: String,
    pub version: Option<VersionRef>,
    /// `None` or `IfMatch`.
    pub precondition: Precondition,
    /// The caller may, and wants to, delete what is retained by governance.
    pub bypass_governance: bool,
    /// Of the delete marker, if it makes one.
    pub nonce: u64,
}

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Deletion {
    /// Whether anything that was named was there.
    pub existed: bool,
    /// The version that was named, or the delete marker that was made.
    pub version: Option<VersionRef>,
    /// Whether that is, or was, a delete marker.
    pub marker: bool,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    Done,
    Pool(PoolRecord),
    Volume(VolumeRecord),
    Lease(Lease),
    Reserved(Extent),
    Bucket(BucketRecord),
    /// Per object: whether it was there, or why it was not deleted.
    Deleted(Vec<Result<bool, Refusal>>),
    /// The object as it was put, with its body's extents.
    Completed(ObjectRecord),
    Map(PoolMap),
    Lost(LostDisk),
    /// The version that was put or changed; `None` in a bucket that never kept versions.
    Version(Option<VersionRef>),
    /// Per object: what became of it, or why it was not deleted.
    DeletedVersions(Vec<Result<Deletion, Refusal>>),
    Lifecycle(LifecycleRecord),
    /// Per thing: whether it went, or why it may not.
    Expired(Vec<Result<bool, Refusal>>),
    /// How many there still are.
    Left(u64),
    EventKeeper(EventKeeper),
    Reclaimed {
        bytes: u64,
    },
    Recounted(Recounted),
}

/// What a disk's loss came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostDisk {
    /// Groups that it was a member of.
    pub groups: u64,
    /// Of those, the ones whose only copy in sync it held.
    pub given_up: Vec<GroupId>,
    /// Volumes that may have lost data with those.
    pub volumes: Vec<String>,
}
