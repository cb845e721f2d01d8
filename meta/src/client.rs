//! How everybody else talks to the control plane: one client, in the same process or over the admin API.

use crate::command::{Command, LostDisk, Pardon, Response};
use crate::error::{ErrorKind, MetaError};
use crate::event::EventCause;
use crate::known::Known;
use crate::metrics::MetaMetrics;
use crate::node::Local;
use crate::object::{
    Annotations, BlockPublicAccess, BucketRecord, BucketUsage, CompletedPart, Extent, ObjectRecord,
    PartRecord, Precondition, UploadId, UploadRecord, VersionRef,
};
use crate::query::{
    Answer, BucketAccess, BucketPage, ExtentPage, Leases, ListObjects, ListUploads, ObjectPage, ObjectPart,
    PartPage, Query, Status, UploadPage,
};
use crate::record::{
    AccessKey, Attachment, DiskAdmin, DiskMembership, DiskRecord, LogRecord, NodeRecord, PoolRecord,
    SlowRecord, VolumeRecord,
};
use crate::remote::Remote;
use proto::control::{Copied, Lease, PoolMap};
use proto::ids::{DiskId, GroupEpoch, GroupId, VolumeEpoch, VolumeId};
use rt::clock::{Clock, SystemClock};
use rt::rng::{Rng, SystemRng};
use std::sync::Arc;

/// A handle to the control plane. Clones share it.
#[derive(Clone)]
pub struct Client {
    inner: Inner,
    clock: Arc<dyn Clock>,
    /// What changes to objects are told as.
    cause: Option<Arc<EventCause>>,
}

#[derive(Clone)]
enum Inner {
    Local(Arc<Local>),
    Remote(Arc<Remote>),
}

/// Takes the one variant that a request is answered with; another one means that the two sides differ.
macro_rules! expect {
    ($value:expr, $variant:path) => {
        match $value {
            $variant(inner) => Ok(inner),
            _ => Err($crate::error::MetaError::new(
                $crate::error::ErrorKind::Corrupt,
                concat!("the control plane's answer is not a ", stringify!($variant)),
            )),
        }
    };
}

pub mod acl;
mod check;
mod events;
mod lifecycle;
mod quotas;
mod sealing;
mod settings;
mod versions;

impl Client {
    /// A client of the admin API at `url` (such as `http://127.0.0.1:7000`).
    pub fn remote(url: &str, token: &str) -> Result<Self, MetaError> {
        let inner = Inner::Remote(Arc::new(Remote::new(url, token)?));
        Ok(Self { inner, clock: Arc::new(SystemClock), cause: None })
    }

    /// A client in the node's own process.
    pub(crate) fn local(local: Arc<Local>, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Inner::Local(local), clock, cause: None }
    }

    /// Makes a change. When this returns `Ok`, the change is durable and every later query sees it. After
    /// `Unavailable` it may or may not have been made.
    pub async fn propose(&self, command: Command) -> Result<Response, MetaError> {
        match &self.inner {
            Inner::Local(local) => local.propose(command).await,
            Inner::Remote(remote) => remote.propose(&command).await,
        }
    }

    /// Reads the state: linearizable.
    pub async fn query(&self, query: Query) -> Result<Answer, MetaError> {
        match &self.inner {
            Inner::Local(local) => local.query(&query).await,
            Inner::Remote(remote) => remote.query(&query).await,
        }
    }

    pub(crate) fn as_local(&self) -> Option<&Local> {
        match &self.inner {
            Inner::Local(local) => Some(local),
            Inner::Remote(_) => None,
        }
    }

    /// Where to count what is done through this client: with the node in this process, if it is here.
    pub(crate) fn metrics(&self) -> MetaMetrics {
        match &self.inner {
            Inner::Local(local) => local.metrics(),
            Inner::Remote(_) => MetaMetrics::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.wall().0
    }

    async fn done(&self, command: Command) -> Result<(), MetaError> {
        self.propose(command).await.map(|_| ())
    }
}

/// The pool: nodes, disks, volumes, keys.
impl Client {
    /// The pool as it is now: `record`'s if it was not made before.
    pub async fn init_pool(&self, record: PoolRecord) -> Result<PoolRecord, MetaError> {
        expect!(self.propose(Command::InitPool(record)).await?, Response::Pool)
    }

    pub async fn register_node(&self, node: NodeRecord) -> Result<(), MetaError> {
        self.done(Command::RegisterNode(node)).await
    }

    pub async fn register_disk(&self, disk: DiskRecord) -> Result<(), MetaError> {
        self.done(Command::RegisterDisk(disk)).await
    }

    pub async fn status(&self) -> Result<Status, MetaError> {
        expect!(self.query(Query::Status).await?, Answer::Status)
    }

    pub async fn pool_map(&self) -> Result<PoolMap, MetaError> {
        expect!(self.query(Query::PoolMap).await?, Answer::Map)
    }

    pub async fn nodes(&self) -> Result<Vec<NodeRecord>, MetaError> {
        expect!(self.query(Query::Nodes).await?, Answer::Nodes)
    }

    pub async fn disks(&self) -> Result<Vec<DiskRecord>, MetaError> {
        expect!(self.query(Query::Disks).await?, Answer::Disks)
    }

    pub async fn create_volume(&self, name: &str, size_bytes: u64) -> Result<VolumeRecord, MetaError> {
        let command = Command::CreateVolume { name: name.to_owned(), size_bytes, now_ms: self.now_ms() };
        expect!(self.propose(command).await?, Response::Volume)
    }

    /// All volumes, system ones and those being deleted too.
    pub async fn volumes(&self) -> Result<Vec<VolumeRecord>, MetaError> {
        expect!(self.query(Query::Volumes).await?, Answer::Volumes)
    }

    pub async fn volume(&self, name: &str) -> Result<VolumeRecord, MetaError> {
        expect!(self.query(Query::Volume { name: name.to_owned() }).await?, Answer::Volume)
    }

    pub async fn volume_by_id(&self, volume: VolumeId) -> Result<VolumeRecord, MetaError> {
        expect!(self.query(Query::VolumeById { volume }).await?, Answer::Volume)
    }

    /// Marks the volume; its data is still to be removed, with the returned epoch, before
    /// [`finish_delete`](Self::finish_delete).
    pub async fn delete_volume(&self, name: &str) -> Result<VolumeRecord, MetaError> {
        let command = Command::DeleteVolume { name: name.to_owned() };
        expect!(self.propose(command).await?, Response::Volume)
    }

    pub async fn finish_delete(&self, volume: VolumeId) -> Result<(), MetaError> {
        self.done(Command::FinishDelete { volume }).await
    }

    /// The right to write the volume, under a new epoch that fences every earlier writer.
    pub async fn open_volume(&self, volume: VolumeId) -> Result<Lease, MetaError> {
        expect!(self.propose(Command::OpenVolume { volume }).await?, Response::Lease)
    }

    /// Makes a user's volume larger.
    pub async fn resize_volume(&self, name: &str, size_bytes: u64) -> Result<VolumeRecord, MetaError> {
        let command = Command::ResizeVolume { name: name.to_owned(), size_bytes };
        expect!(self.propose(command).await?, Response::Volume)
    }

    pub async fn set_attachment(
        &self,
        name: &str,
        attachment: Option<Attachment>,
    ) -> Result<VolumeRecord, MetaError> {
        let command = Command::SetAttachment { name: name.to_owned(), attachment };
        expect!(self.propose(command).await?, Response::Volume)
    }

    /// Takes an attached volume over from whoever serves it, with the epoch of one's own lease.
    pub async fn move_attachment(
        &self,
        name: &str,
        to: Attachment,
        epoch: VolumeEpoch,
    ) -> Result<VolumeRecord, MetaError> {
        let command = Command::MoveAttachment { name: name.to_owned(), to, epoch };
        expect!(self.propose(command).await?, Response::Volume)
    }

    pub async fn put_access_key(&self, key: AccessKey) -> Result<(), MetaError> {
        self.done(Command::PutAccessKey(key)).await
    }

    pub async fn delete_access_key(&self, id: &str) -> Result<(), MetaError> {
        self.done(Command::DeleteAccessKey { id: id.to_owned() }).await
    }

    pub async fn access_key(&self, id: &str) -> Result<AccessKey, MetaError> {
        expect!(self.query(Query::AccessKey { id: id.to_owned() }).await?, Answer::AccessKey)
    }

    pub async fn access_keys(&self) -> Result<Vec<AccessKey>, MetaError> {
        expect!(self.query(Query::AccessKeys).await?, Answer::AccessKeys)
    }
}

/// Who is a member of what (rfd/0002). All that answer with a map answer with the present one.
impl Client {
    /// Marks a disk that can't be reached as out of those groups that are still at these epochs and have
    /// another member in sync.
    pub async fn evict_disk(
        &self,
        disk: DiskId,
        groups: Vec<(GroupId, GroupEpoch)>,
        why: &str,
    ) -> Result<PoolMap, MetaError> {
        let command = Command::EvictDisk { disk, groups, why: why.to_owned() };
        expect!(self.propose(command).await?, Response::Map)
    }

    /// The same for a disk that is slow, where `min_in_sync` members stay in sync. It is kept out for a while.
    pub async fn evict_slow_disk(
        &self,
        disk: DiskId,
        groups: Vec<(GroupId, GroupEpoch)>,
        why: &str,
    ) -> Result<PoolMap, MetaError> {
        let command = Command::EvictSlowDisk { disk, groups, why: why.to_owned() };
        expect!(self.propose(command).await?, Response::Map)
    }

    /// Disks that were evicted for being slow, with those that are kept out for it now.
    pub async fn slow_disks(&self) -> Result<Vec<SlowRecord>, MetaError> {
        expect!(self.query(Query::Slow).await?, Answer::Slow)
    }

    /// What time has done for a slow disk since this strike.
    pub async fn pardon_disk(&self, disk: DiskId, strikes: u32, pardon: Pardon) -> Result<(), MetaError> {
        self.done(Command::PardonDisk { disk, strikes, pardon }).await
    }

    /// A disk that is out of these groups gets their new writes again.
    pub async fn begin_catch_up(
        &self,
        disk: DiskId,
        groups: Vec<(GroupId, GroupEpoch)>,
    ) -> Result<PoolMap, MetaError> {
        expect!(self.propose(Command::BeginCatchUp { disk, groups }).await?, Response::Map)
    }

    /// The disk holds everything of the group at this epoch; `PreconditionFailed` if the group changed since,
    /// or if there was a lease since [`leases`](Self::leases) said `revision`.
    pub async fn join(&self, copied: Copied, epoch: GroupEpoch, revision: u64) -> Result<PoolMap, MetaError> {
        let command = Command::JoinCopied { copied, epoch, leases: revision };
        expect!(self.propose(command).await?, Response::Map)
    }

    /// The newest epoch of every volume.
    pub async fn leases(&self) -> Result<Leases, MetaError> {
        expect!(self.query(Query::Leases).await?, Answer::Leases)
    }

    /// `new` begins to take the place of `old` in all its groups.
    pub async fn replace_disk(&self, old: DiskId, new: DiskId) -> Result<PoolMap, MetaError> {
        expect!(self.propose(Command::ReplaceDisk { old, new }).await?, Response::Map)
    }

    /// Groups that disks left, each with a disk that still holds an old copy of it.
    pub async fn left_groups(&self) -> Result<Vec<(GroupId, DiskId)>, MetaError> {
        expect!(self.query(Query::Left).await?, Answer::Left)
    }

    /// The disk holds nothing any more of these groups, which it left, and takes no frames of them from before
    /// these epochs.
    pub async fn groups_cleared(
        &self,
        disk: DiskId,
        groups: Vec<(GroupId, GroupEpoch)>,
    ) -> Result<(), MetaError> {
        self.done(Command::GroupsCleared { disk, groups }).await
    }

    /// Gives up a disk that is gone for good; what only it held, too, if that is accepted.
    pub async fn lose_disk(&self, disk: DiskId, accept_data_loss: bool) -> Result<LostDisk, MetaError> {
        let command = Command::LoseDisk { disk, accept_data_loss, now_ms: self.now_ms() };
        expect!(self.propose(command).await?, Response::Lost)
    }

    pub async fn set_disk_state(&self, disk: DiskId, state: DiskAdmin) -> Result<(), MetaError> {
        self.done(Command::SetDiskState { disk, state }).await
    }

    /// How a disk is, now; `why` says what is wrong with it.
    pub async fn disk_seen(
        &self,
        disk: DiskId,
        healthy: bool,
        used_bytes: u64,
        why: &str,
    ) -> Result<(), MetaError> {
        let (seen_ms, why) = (self.now_ms(), why.to_owned());
        self.done(Command::DiskSeen { disk, seen_ms, healthy, used_bytes, why }).await
    }

    /// In how many groups each disk is what.
    pub async fn membership(&self) -> Result<Vec<DiskMembership>, MetaError> {
        expect!(self.query(Query::Membership).await?, Answer::Membership)
    }

    /// The map if it is not the one of this version, which the caller has.
    pub async fn pool_map_since(&self, version: u64) -> Result<Option<PoolMap>, MetaError> {
        match self.query(Query::MapSince { version }).await? {
            Answer::Unchanged => Ok(None),
            other => expect!(other, Answer::Map).map(Some),
        }
    }
}

/// Object logs.
impl Client {
    pub async fn ensure_object_log(&self, gateway: &str) -> Result<VolumeRecord, MetaError> {
        let command = Command::EnsureObjectLog { gateway: gateway.to_owned(), now_ms: self.now_ms() };
        expect!(self.propose(command).await?, Response::Volume)
    }

    /// The next `bytes` (rounded up to blocks) of the log: nobody else ever gets them.
    pub async fn reserve_log(
        &self,
        volume: VolumeId,
        epoch: VolumeEpoch,
        bytes: u64,
    ) -> Result<Extent, MetaError> {
        let command = Command::ReserveLog { volume, epoch, bytes };
        expect!(self.propose(command).await?, Response::Reserved)
    }

    pub async fn log(&self, volume: VolumeId) -> Result<LogRecord, MetaError> {
        expect!(self.query(Query::Log { volume }).await?, Answer::Log)
    }

    pub async fn garbage(
        &self,
        volume: VolumeId,
        from_bytes: u64,
        limit: u32,
    ) -> Result<ExtentPage, MetaError> {
        expect!(self.query(Query::Garbage { volume, from_bytes, limit }).await?, Answer::Extents)
    }

    pub async fn garbage_done(&self, volume: VolumeId, extents: Vec<Extent>) -> Result<(), MetaError> {
        self.done(Command::GarbageDone { volume, extents }).await
    }

    /// A page of what is referenced within `range` of the log.
    pub async fn referenced_extents(
        &self,
        volume: VolumeId,
        range: std::ops::Range<u64>,
        limit: u32,
    ) -> Result<ExtentPage, MetaError> {
        let query = Query::ReferencedExtents { volume, from_bytes: range.start, to_bytes: range.end, limit };
        expect!(self.query(query).await?, Answer::Extents)
    }

    /// Hands back what was written to a log and will not be committed.
    pub async fn discard_extents(&self, extents: Vec<Extent>) -> Result<(), MetaError> {
        self.done(Command::DiscardExtents { extents }).await
    }

    pub async fn mark_swept(&self, volume: VolumeId, upto_bytes: u64) -> Result<(), MetaError> {
        self.done(Command::MarkSwept { volume, upto_bytes }).await
    }
}

/// Buckets and objects.
impl Client {
    pub async fn create_bucket(&self, name: &str, owner: &str) -> Result<BucketRecord, MetaError> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        let command = Command::CreateBucket { name, owner, now_ms: self.now_ms() };
        expect!(self.propose(command).await?, Response::Bucket)
    }

    pub async fn delete_bucket(&self, name: &str) -> Result<(), MetaError> {
        self.done(Command::DeleteBucket { name: name.to_owned() }).await
    }

    pub async fn bucket(&self, name: &str) -> Result<BucketRecord, MetaError> {
        expect!(self.query(Query::Bucket { name: name.to_owned() }).await?, Answer::Bucket)
    }

    /// The bucket and who may use it.
    pub async fn bucket_access(&self, name: &str) -> Result<Arc<Known<BucketAccess>>, MetaError> {
        if let Some(local) = self.as_local() {
            return local.bucket_access(name).await;
        }
        let answer = self.query(Query::BucketAccess { name: name.to_owned() }).await?;
        expect!(answer, Answer::BucketAccess).map(|found| Arc::new(Known::new(found)))
    }

    /// Puts a policy that the caller has parsed, and found to be `public` or not, on the bucket with this id.
    /// `PreconditionFailed` if it is public and the bucket blocks such.
    pub async fn put_bucket_policy(
        &self,
        (bucket, id): (&str, u64),
        text: String,
        public: bool,
    ) -> Result<(), MetaError> {
        self.done(Command::PutBucketPolicy { bucket: bucket.to_owned(), id, text, public }).await
    }

    pub async fn delete_bucket_policy(&self, (bucket, id): (&str, u64)) -> Result<(), MetaError> {
        self.done(Command::DeleteBucketPolicy { bucket: bucket.to_owned(), id }).await
    }

    /// Sets the public access block of the bucket with this id, or takes it away.
    pub async fn put_public_access_block(
        &self,
        (bucket, id): (&str, u64),
        block: Option<BlockPublicAccess>,
    ) -> Result<(), MetaError> {
        self.done(Command::PutPublicAccessBlock { bucket: bucket.to_owned(), id, block }).await
    }

    pub async fn buckets(
        &self,
        prefix: &str,
        after: Option<String>,
        limit: u32,
    ) -> Result<BucketPage, MetaError> {
        let query = Query::Buckets { prefix: prefix.to_owned(), after, limit };
        expect!(self.query(query).await?, Answer::Buckets)
    }

    pub async fn bucket_usage(&self, bucket: &str) -> Result<BucketUsage, MetaError> {
        expect!(self.query(Query::Usage { bucket: bucket.to_owned() }).await?, Answer::Usage)
    }

    /// Commits an object's index entry, without annotations, whose data is already durable.
    pub async fn put_object(
        &self,
        bucket: &str,
        key: &str,
        record: ObjectRecord,
        precondition: Precondition,
    ) -> Result<(), MetaError> {
        self.put_version((bucket, key), record, Annotations::default(), precondition).await.map(|_| ())
    }

    /// The object that the key leads to now.
    pub async fn object(&self, bucket: &str, key: &str, part: ObjectPart) -> Result<ObjectRecord, MetaError> {
        let query = Query::Object { bucket: bucket.to_owned(), key: key.to_owned(), part };
        expect!(self.query(query).await?, Answer::Object)
    }

    /// Whether the object was there.
    pub async fn delete_object(
        &self,
        bucket: &str,
        key: &str,
        precondition: Precondition,
    ) -> Result<bool, MetaError> {
        let object = self.deletion(key.to_owned(), None, precondition);
        let mut results = self.delete_versions(bucket, vec![object]).await?;
        let missing = || MetaError::new(ErrorKind::Corrupt, "the control plane answered for no object");
        let deletion = results.pop().ok_or_else(missing)?.map_err(MetaError::from)?;
        Ok(deletion.existed)
    }

    pub async fn list_objects(&self, list: ListObjects) -> Result<ObjectPage, MetaError> {
        expect!(self.query(Query::ListObjects(list)).await?, Answer::Objects)
    }
}

/// Multipart uploads.
impl Client {
    pub async fn create_upload(
        &self,
        bucket: &str,
        upload: UploadRecord,
        annotations: Annotations,
    ) -> Result<(), MetaError> {
        let bucket = bucket.to_owned();
        self.done(Command::CreateAnnotatedUpload { bucket, upload, annotations }).await
    }

    pub async fn upload(&self, bucket: &str, key: &str, upload: UploadId) -> Result<UploadRecord, MetaError> {
        let query = Query::Upload { bucket: bucket.to_owned(), key: key.to_owned(), upload };
        expect!(self.query(query).await?, Answer::Upload)
    }

    pub async fn put_part(
        &self,
        bucket: &str,
        key: &str,
        upload: UploadId,
        part: PartRecord,
    ) -> Result<(), MetaError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.done(Command::PutPart { bucket, key, upload, part }).await
    }

    /// Which version it made, if the bucket ever kept any. Of `record`, its etag, last_modified_ms and checksums
    /// are taken.
    pub async fn complete_upload(
        &self,
        (bucket, key, upload): (&str, &str, UploadId),
        parts: Vec<CompletedPart>,
        record: ObjectRecord,
        precondition: Precondition,
    ) -> Result<Option<VersionRef>, MetaError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let (now_ms, nonce) = (self.now_ms(), SystemRng.u64());
        let command =
            Command::CompleteVersion { bucket, key, upload, parts, record, precondition, now_ms, nonce };
        expect!(self.tell(command).await?, Response::Version)
    }

    pub async fn abort_upload(&self, bucket: &str, key: &str, upload: UploadId) -> Result<(), MetaError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.done(Command::AbortUpload { bucket, key, upload }).await
    }

    pub async fn list_parts(
        &self,
        (bucket, key, upload): (&str, &str, UploadId),
        after: u16,
        limit: u32,
    ) -> Result<PartPage, MetaError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        expect!(self.query(Query::ListParts { bucket, key, upload, after, limit }).await?, Answer::Parts)
    }

    pub async fn list_uploads(&self, list: ListUploads) -> Result<UploadPage, MetaError> {
        expect!(self.query(Query::ListUploads(list)).await?, Answer::Uploads)
    }
}
