use super::kv::{Kv, MemKv, Pair, Read, Step};
use super::*;
use crate::command::DeleteObject;
use crate::error::{Entity, ErrorKind, PartFault};
use crate::identity_command::IdentityQuery;
use crate::limits::MAX_INLINE_BYTES;
use crate::object::*;
use crate::query::{Answer, ListUploads, ObjectPart, Query};
use crate::record::*;
use bytes::Bytes;
use proto::control::Lease;
use proto::ids::{DiskId, NodeId, VolumeEpoch, VolumeId};
use std::collections::BTreeSet;

/// Where the answers to questions that nodes keep may come from: from keys whose change ends the keeping.
struct Judging<'a>(&'a MemKv);

impl Read for Judging<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        assert!(keys::judges(key), "{key:?}");
        self.0.get(key)
    }

    fn scan(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Step) -> Result<(), MetaError> {
        self.0.scan(from, &mut |key, value| {
            assert!(keys::judges(key), "{key:?}");
            visit(key, value)
        })
    }

    fn last_below(&self, below: &[u8]) -> Result<Option<Pair>, MetaError> {
        panic!("{below:?}: what is kept is not read so")
    }
}

/// A state in memory, with a log volume to put extents in.
pub struct Fixture {
    pub kv: MemKv,
    pub log: VolumeId,
    pub lease: Lease,
}

impl Fixture {
    pub fn new() -> Self {
        let kv = MemKv::default();
        let pool = PoolRecord { id: "p".into(), created_ms: 1, groups: 4, min_in_sync: 2 };
        run(&kv, Command::InitPool(pool)).unwrap();
        let node = NodeRecord { id: NodeId(1), name: "n1".into(), zone: "z1".into() };
        run(&kv, Command::RegisterNode(node)).unwrap();
        for disk in 1..=3 {
            run(&kv, Command::RegisterDisk(disk_record(disk, 7000))).unwrap();
        }
        let Response::Volume(log) =
            run(&kv, Command::EnsureObjectLog { gateway: "g1".into(), now_ms: 1 }).unwrap()
        else {
            panic!()
        };
        let Response::Lease(lease) = run(&kv, Command::OpenVolume { volume: log.id }).unwrap() else {
            panic!()
        };
        for bucket in ["bucket", "other"] {
            let create = Command::CreateBucket { name: bucket.into(), owner: "root".into(), now_ms: 1 };
            run(&kv, create).unwrap();
        }
        Self { kv, log: log.id, lease }
    }

    pub fn run(&self, command: Command) -> Result<Response, Refusal> {
        run(&self.kv, command)
    }

    pub fn ask(&self, query: Query) -> Result<Answer, MetaError> {
        match query {
            Query::BucketAccess { .. } | Query::Identity(IdentityQuery::Identify { .. }) => {
                answer(&Judging(&self.kv), &query, None)
            }
            _ => answer(&self.kv, &query, None),
        }
    }

    /// A new extent of the log.
    pub fn extent(&self, len: u64) -> Extent {
        let epoch = self.lease.epoch;
        let reserve = Command::ReserveLog { volume: self.log, epoch, bytes: len };
        let Response::Reserved(extent) = self.run(reserve).unwrap() else { panic!() };
        Extent { len, ..extent }
    }

    pub fn garbage(&self) -> BTreeSet<Extent> {
        let query = Query::Garbage { volume: self.log, from_bytes: 0, limit: u32::MAX };
        let Answer::Extents(page) = self.ask(query).unwrap() else { panic!() };
        page.extents.into_iter().collect()
    }

    pub fn referenced(&self) -> BTreeSet<Extent> {
        let query =
            Query::ReferencedExtents { volume: self.log, from_bytes: 0, to_bytes: u64::MAX, limit: u32::MAX };
        let Answer::Extents(page) = self.ask(query).unwrap() else { panic!() };
        page.extents.into_iter().collect()
    }

    pub fn usage(&self) -> BucketUsage {
        let Answer::Usage(usage) = self.ask(Query::Usage { bucket: "bucket".into() }).unwrap() else {
            panic!()
        };
        usage
    }

    pub fn object(&self, key: &str) -> Result<ObjectRecord, ErrorKind> {
        let query = Query::Object { bucket: "bucket".into(), key: key.into(), part: ObjectPart::Whole };
        match self.ask(query) {
            Ok(Answer::Object(record)) => Ok(record),
            Ok(_) => panic!(),
            Err(error) => Err(error.kind()),
        }
    }
}

pub fn run(kv: &MemKv, command: Command) -> Result<Response, Refusal> {
    let mut txn = Txn::new(kv);
    let before = kv.dump();
    let result = apply(&mut txn, command).unwrap();
    kv.apply(txn.into_batch()).unwrap();
    if result.is_err() {
        assert_eq!(kv.dump(), before, "a refused command leaves nothing behind");
    }
    result
}

pub fn disk_record(disk: u8, port: u16) -> DiskRecord {
    DiskRecord::new(
        DiskId([disk; 16]),
        NodeId(1),
        format!("127.0.0.1:{port}").parse().unwrap(),
        "z1".into(),
        1 << 30,
    )
}

pub fn object(etag: &str, body: Body, size: u64) -> ObjectRecord {
    ObjectRecord {
        size,
        etag: etag.into(),
        last_modified_ms: 7,
        headers: StoredHeaders { content_type: Some("text/plain".into()), ..StoredHeaders::default() },
        user_metadata: vec![("a".into(), "b".into())],
        checksums: Vec::new(),
        part_sizes: Vec::new(),
        body,
    }
}

pub fn inline(text: &str) -> ObjectRecord {
    object(&format!("e{text:.8}"), Body::Inline(Bytes::from(text.to_owned())), text.len() as u64)
}

pub fn put(key: &str, record: ObjectRecord, precondition: Precondition) -> Command {
    Command::PutObject { bucket: "bucket".into(), key: key.into(), record, precondition }
}

fn delete(key: &str, precondition: Precondition) -> Command {
    let objects = vec![DeleteObject { key: key.into(), precondition }];
    Command::DeleteObjects { bucket: "bucket".into(), objects }
}

fn kind(result: Result<Response, Refusal>) -> ErrorKind {
    result.unwrap_err().kind
}

#[test]
fn the_pool_makes_its_groups_with_the_third_disk() {
    let kv = MemKv::default();
    let early = run(&kv, Command::RegisterDisk(disk_record(1, 1)));
    assert_eq!(kind(early), ErrorKind::NotFound(Entity::Pool));
    let f = Fixture::new();
    let Answer::Map(map) = f.ask(Query::PoolMap).unwrap() else { panic!() };
    assert_eq!((map.groups.len(), map.disks.len(), map.min_in_sync), (4, 3, 2));
    for (number, group) in map.groups.iter().enumerate() {
        let disks: BTreeSet<_> = group.members.iter().map(|member| member.disk).collect();
        assert_eq!((group.id.0 as usize, disks.len()), (number, 3));
    }
    // A restart on other ports moves the disks and nothing else.
    f.run(Command::RegisterDisk(disk_record(2, 9999))).unwrap();
    let Answer::Map(moved) = f.ask(Query::PoolMap).unwrap() else { panic!() };
    assert_eq!(moved.place(DiskId([2; 16])).unwrap().addr.port(), 9999);
    assert_eq!(moved.groups, map.groups);
    let again = PoolRecord { id: "q".into(), created_ms: 2, groups: 9, min_in_sync: 1 };
    let Response::Pool(pool) = f.run(Command::InitPool(again)).unwrap() else { panic!() };
    assert_eq!(pool.id, "p");
}

#[test]
fn an_empty_pool_is_laid_out_anew_with_each_disk() {
    let kv = MemKv::default();
    let pool = PoolRecord { id: "p".into(), created_ms: 1, groups: 12, min_in_sync: 2 };
    run(&kv, Command::InitPool(pool)).unwrap();
    for node in 1..=3 {
        let zone = "z".to_owned();
        run(&kv, Command::RegisterNode(NodeRecord { id: NodeId(node), name: "n".into(), zone })).unwrap();
    }
    let map = || match answer(&kv, &Query::PoolMap, None).unwrap() {
        Answer::Map(map) => map,
        _ => panic!(),
    };
    // Three disks of one node come first, then the other nodes'.
    let add = |disk: u8, node| {
        run(&kv, Command::RegisterDisk(DiskRecord { node: NodeId(node), ..disk_record(disk, 1) })).unwrap();
    };
    (1..=3).for_each(|disk| add(disk, 1));
    let first = map();
    add(4, 2);
    add(5, 3);
    let spread = map();
    assert!(spread.version > first.version && spread.groups[0].epoch > first.groups[0].epoch);
    for group in &spread.groups {
        assert_eq!(group.members.iter().filter(|member| member.disk.0[0] <= 3).count(), 1, "{group:?}");
    }
    add(5, 3);
    assert_eq!(map(), spread, "once is enough");
    run(&kv, Command::CreateVolume { name: "v".into(), size_bytes: 1 << 20, now_ms: 1 }).unwrap();
    add(6, 3);
    assert_eq!(map().groups, spread.groups, "there may be data now");
}

#[test]
fn an_attachment_moves_by_the_newest_epoch_only() {
    let f = Fixture::new();
    let create = Command::CreateVolume { name: "v".into(), size_bytes: 1 << 20, now_ms: 5 };
    let Response::Volume(volume) = f.run(create).unwrap() else { panic!() };
    let open = || match f.run(Command::OpenVolume { volume: volume.id }).unwrap() {
        Response::Lease(lease) => lease.epoch,
        other => panic!("{other:?}"),
    };
    let at = |node, socket: &str| Attachment { node: NodeId(node), socket: socket.into() };
    let moved = |to, epoch| f.run(Command::MoveAttachment { name: "v".into(), to, epoch });
    let epoch = open();
    assert_eq!(kind(moved(at(2, "/b"), epoch)), ErrorKind::Invalid, "nobody has it");
    let attach = Command::SetAttachment { name: "v".into(), attachment: Some(at(1, "/a")) };
    f.run(attach).unwrap();
    let (lost, epoch) = (open(), open());
    assert_eq!(kind(moved(at(2, "/b"), lost)), ErrorKind::Fenced);
    assert_eq!(kind(moved(at(2, "relative"), epoch)), ErrorKind::Invalid);
    for _ in 0..2 {
        let Response::Volume(record) = moved(at(2, "/b"), epoch).unwrap() else { panic!() };
        assert_eq!(record.attachment, Some(at(2, "/b")));
    }
    // Asked again after a lost answer, although another was let in since.
    open();
    moved(at(2, "/b"), epoch).unwrap();
    assert_eq!(kind(moved(at(3, "/c"), epoch)), ErrorKind::Fenced);
}

#[test]
fn volumes_have_unique_names_and_rising_epochs() {
    let f = Fixture::new();
    let create = |name: &str| Command::CreateVolume { name: name.into(), size_bytes: 1 << 20, now_ms: 5 };
    let Response::Volume(first) = f.run(create("v")).unwrap() else { panic!() };
    assert_eq!(kind(f.run(create("v"))), ErrorKind::Exists(Entity::Volume));
    for epoch in 1..=3 {
        let Response::Lease(lease) = f.run(Command::OpenVolume { volume: first.id }).unwrap() else {
            panic!()
        };
        assert_eq!(lease.epoch, VolumeEpoch(epoch));
    }
    let attach = |socket: Option<&str>| Command::SetAttachment {
        name: "v".into(),
        attachment: socket.map(|socket| Attachment { node: NodeId(1), socket: socket.into() }),
    };
    f.run(attach(Some("/run/a"))).unwrap();
    f.run(attach(Some("/run/a"))).unwrap();
    assert_eq!(kind(f.run(attach(Some("/run/b")))), ErrorKind::InUse(Entity::Volume));
    assert_eq!(kind(f.run(Command::DeleteVolume { name: "v".into() })), ErrorKind::InUse(Entity::Volume));
    f.run(attach(None)).unwrap();
    let Response::Volume(gone) = f.run(Command::DeleteVolume { name: "v".into() }).unwrap() else { panic!() };
    assert_eq!((gone.state, gone.epoch), (VolumeState::Deleting, VolumeEpoch(4)));
    assert_eq!(kind(f.run(Command::OpenVolume { volume: gone.id })), ErrorKind::NotFound(Entity::Volume));
    // The name is free at once, under an id of its own.
    let Response::Volume(second) = f.run(create("v")).unwrap() else { panic!() };
    assert!(second.id > first.id);
    f.run(Command::FinishDelete { volume: gone.id }).unwrap();
    assert_eq!(kind(f.run(Command::FinishDelete { volume: second.id })), ErrorKind::Invalid);
    let system = Command::DeleteVolume { name: ".objectlog-g1".into() };
    assert_eq!(kind(f.run(system)), ErrorKind::InUse(Entity::Volume));
}

#[test]
fn a_bucket_is_closed_when_made_and_goes_only_when_empty() {
    let f = Fixture::new();
    let Answer::Bucket(bucket) = f.ask(Query::Bucket { name: "bucket".into() }).unwrap() else { panic!() };
    assert_eq!(bucket.block_public_access, BlockPublicAccess::ALL);
    assert_eq!(bucket.ownership, ObjectOwnership::BucketOwnerEnforced);
    f.run(put("k", inline("x"), Precondition::None)).unwrap();
    let drop = || Command::DeleteBucket { name: "bucket".into() };
    assert_eq!(kind(f.run(drop())), ErrorKind::InUse(Entity::Bucket));
    f.run(delete("k", Precondition::None)).unwrap();
    f.run(drop()).unwrap();
    assert_eq!(kind(f.run(put("k", inline("x"), Precondition::None))), ErrorKind::NotFound(Entity::Bucket));
    let again = Command::CreateBucket { name: "bucket".into(), owner: "root".into(), now_ms: 1 };
    let Response::Bucket(again) = f.run(again).unwrap() else { panic!() };
    assert!(again.id > bucket.id);
}

#[test]
fn preconditions_are_compare_and_swap() {
    let f = Fixture::new();
    let matching = |etag: &str| Precondition::IfMatch(etag.into());
    assert_eq!(kind(f.run(put("k", inline("1"), matching("e0")))), ErrorKind::NotFound(Entity::Key));
    f.run(put("k", inline("1"), Precondition::IfNoneMatchAny)).unwrap();
    let exists = f.run(put("k", inline("2"), Precondition::IfNoneMatchAny));
    assert_eq!(kind(exists), ErrorKind::PreconditionFailed);
    assert_eq!(kind(f.run(put("k", inline("2"), matching("e2")))), ErrorKind::PreconditionFailed);
    f.run(put("k", inline("2"), matching("e1"))).unwrap();
    f.run(put("k", inline("3"), matching("*"))).unwrap();
    let Response::Deleted(results) = f.run(delete("k", matching("e1"))).unwrap() else { panic!() };
    assert_eq!(results[0].as_ref().unwrap_err().kind, ErrorKind::PreconditionFailed);
    let Response::Deleted(results) = f.run(delete("k", matching("e3"))).unwrap() else { panic!() };
    assert_eq!(results, [Ok(true)]);
    let Response::Deleted(results) = f.run(delete("k", Precondition::None)).unwrap() else { panic!() };
    assert_eq!(results, [Ok(false)]);
}

#[test]
fn bodies_are_kept_whole_and_checked() {
    let f = Fixture::new();
    for (text, valid) in [(0, true), (1, true), (MAX_INLINE_BYTES, true), (MAX_INLINE_BYTES + 1, false)] {
        let record = inline(&"x".repeat(text));
        assert_eq!(f.run(put("k", record.clone(), Precondition::None)).is_ok(), valid, "{text}");
        if valid {
            assert_eq!(f.object("k"), Ok(record));
        }
    }
    let short = object("e", Body::Inline(Bytes::from_static(b"ab")), 3);
    assert_eq!(kind(f.run(put("k", short, Precondition::None))), ErrorKind::Invalid);
    let extent = f.extent(5000);
    let long = object("e", Body::Extents(vec![extent]), 5001);
    assert_eq!(kind(f.run(put("k", long, Precondition::None))), ErrorKind::Invalid);
    let record = object("e", Body::Extents(vec![extent]), 4999);
    f.run(put("k", record.clone(), Precondition::None)).unwrap();
    assert_eq!(f.object("k"), Ok(record));
    let head = Query::Object { bucket: "bucket".into(), key: "k".into(), part: ObjectPart::Head };
    assert!(f.ask(head).is_ok());
    assert_eq!(f.object("x"), Err(ErrorKind::NotFound(Entity::Key)));
    let long_key = put(&"k".repeat(1025), inline("x"), Precondition::None);
    assert_eq!(kind(f.run(long_key)), ErrorKind::Invalid);
}

#[test]
fn extents_belong_to_one_owner_or_to_the_garbage() {
    let f = Fixture::new();
    let (a, b) = (f.extent(8192), f.extent(100));
    let with = |extents: &[Extent]| object("e", Body::Extents(extents.to_vec()), 50);
    f.run(put("k", with(&[a]), Precondition::None)).unwrap();
    let used = ErrorKind::InUse(Entity::Extent);
    assert_eq!(kind(f.run(put("j", with(&[a]), Precondition::None))), used);
    for part in [Extent { offset: a.offset + 4096, len: 100, ..a }, Extent { len: a.len + 1, ..a }] {
        assert_eq!(kind(f.run(put("j", with(&[part]), Precondition::None))), used);
    }
    assert_eq!(kind(f.run(put("j", with(&[b, b]), Precondition::None))), ErrorKind::Invalid);
    let beyond = Extent { offset: b.offset + 4096, len: 100, ..b };
    assert_eq!(kind(f.run(put("j", with(&[beyond]), Precondition::None))), ErrorKind::Invalid);
    let elsewhere = Extent { volume: VolumeId(99), ..b };
    let no_log = f.run(put("j", with(&[elsewhere]), Precondition::None));
    assert_eq!(kind(no_log), ErrorKind::NotFound(Entity::Volume));
    // An overwrite that keeps an extent (a copy onto itself) moves nothing to the garbage but the rest.
    f.run(put("k", with(&[a, b]), Precondition::None)).unwrap();
    f.run(put("k", with(&[b]), Precondition::None)).unwrap();
    assert_eq!((f.referenced(), f.garbage()), ([b].into(), [a].into()));
    assert_eq!(kind(f.run(put("k", with(&[a]), Precondition::None))), used, "garbage is not used again");
    f.run(put("k", inline("x"), Precondition::None)).unwrap();
    assert_eq!((f.referenced(), f.garbage()), (BTreeSet::new(), [a, b].into()));
    let wrong = Extent { len: 99, ..b };
    f.run(Command::GarbageDone { volume: f.log, extents: vec![a, wrong] }).unwrap();
    assert_eq!(f.garbage(), [b].into());
    let c = f.extent(10);
    f.run(Command::DiscardExtents { extents: vec![c] }).unwrap();
    assert_eq!(f.garbage(), [b, c].into());
}

#[test]
fn opening_a_log_seals_what_its_former_writer_reserved() {
    let f = Fixture::new();
    let old = f.extent(4096);
    let with = |extent| object("e", Body::Extents(vec![extent]), 50);
    let Response::Lease(lease) = f.run(Command::OpenVolume { volume: f.log }).unwrap() else { panic!() };
    let late = f.run(put("k", with(old), Precondition::None));
    assert_eq!(kind(late), ErrorKind::Fenced);
    let reserve = |epoch| Command::ReserveLog { volume: f.log, epoch, bytes: 1 };
    assert_eq!(kind(f.run(reserve(f.lease.epoch))), ErrorKind::Fenced);
    let Response::Reserved(new) = f.run(reserve(lease.epoch)).unwrap() else { panic!() };
    assert_eq!((new.offset, new.len), (4096, 4096));
    f.run(put("k", with(new), Precondition::None)).unwrap();
    let swept = |upto_bytes| Command::MarkSwept { volume: f.log, upto_bytes };
    assert_eq!(kind(f.run(swept(4097))), ErrorKind::Invalid);
    f.run(swept(4096)).unwrap();
    f.run(swept(0)).unwrap();
    let Answer::Log(log) = f.ask(Query::Log { volume: f.log }).unwrap() else { panic!() };
    assert_eq!((log.reserved_bytes, log.sealed_bytes, log.swept_bytes), (8192, 4096, 4096));
}

/// An upload that says nothing but its name.
pub fn upload_record(key: &str, id: UploadId) -> UploadRecord {
    UploadRecord {
        id,
        key: key.into(),
        owner: "root".into(),
        initiated_ms: 3,
        headers: StoredHeaders::default(),
        user_metadata: Vec::new(),
        checksum: None,
    }
}

pub fn part_record(number: u16, (etag, size): (&str, u64), extents: Vec<Extent>) -> PartRecord {
    let (etag, checksums) = (etag.to_owned(), Vec::new());
    PartRecord { number, size, etag, last_modified_ms: 4, checksums, extents }
}

fn upload(f: &Fixture, key: &str, id: u8) -> UploadId {
    let headers = StoredHeaders { content_type: Some("a/b".into()), ..StoredHeaders::default() };
    let upload = UploadRecord { headers, ..upload_record(key, UploadId([id; 16])) };
    f.run(Command::CreateUpload { bucket: "bucket".into(), upload }).unwrap();
    UploadId([id; 16])
}

fn part(f: &Fixture, upload: UploadId, number: u16, size: u64) -> Extent {
    let extent = f.extent(size);
    let part = part_record(number, (&format!("p{number}"), size), vec![extent]);
    let (bucket, key) = ("bucket".to_owned(), "k".to_owned());
    f.run(Command::PutPart { bucket, key, upload, part }).unwrap();
    extent
}

fn complete(upload: UploadId, parts: &[(u16, &str)], precondition: Precondition) -> Command {
    let parts = parts.iter().map(|&(number, etag)| CompletedPart { number, etag: etag.into() }).collect();
    let record = object("whole-2", Body::Extents(Vec::new()), 0);
    let (bucket, key) = ("bucket".to_owned(), "k".to_owned());
    Command::CompleteUpload { bucket, key, upload, parts, record, precondition }
}

#[test]
fn an_upload_becomes_one_object() {
    const MIN: u64 = 5 << 20;
    let f = Fixture::new();
    let id = upload(&f, "k", 1);
    let replaced = part(&f, id, 1, 10);
    let (one, two, unused) = (part(&f, id, 1, MIN), part(&f, id, 2, 7), part(&f, id, 3, 9));
    assert_eq!(f.garbage(), [replaced].into());
    assert_eq!(f.usage(), BucketUsage { uploads: 1, upload_bytes: MIN + 16, ..BucketUsage::default() });
    let faults: [(&[(u16, &str)], ErrorKind); 6] = [
        (&[], ErrorKind::Invalid),
        (&[(2, "p2"), (1, "p1")], ErrorKind::Parts(PartFault::InvalidPartOrder)),
        (&[(1, "p1"), (1, "p1")], ErrorKind::Parts(PartFault::InvalidPartOrder)),
        (&[(1, "p1"), (2, "other")], ErrorKind::Parts(PartFault::InvalidPart)),
        (&[(1, "p1"), (9, "p9")], ErrorKind::Parts(PartFault::InvalidPart)),
        (&[(2, "p2"), (3, "p3")], ErrorKind::Parts(PartFault::EntityTooSmall)),
    ];
    for (parts, expected) in faults {
        assert_eq!(kind(f.run(complete(id, parts, Precondition::None))), expected, "{parts:?}");
    }
    f.run(put("k", inline("there"), Precondition::None)).unwrap();
    let good = [(1, "p1"), (2, "p2")];
    let refused = f.run(complete(id, &good, Precondition::IfNoneMatchAny));
    assert_eq!(kind(refused), ErrorKind::PreconditionFailed);
    let Response::Completed(whole) = f.run(complete(id, &good, Precondition::None)).unwrap() else {
        panic!()
    };
    assert_eq!(
        (whole.size, whole.part_sizes.clone(), whole.etag.as_str()),
        (MIN + 7, vec![MIN, 7], "whole-2")
    );
    assert_eq!(whole.headers.content_type.as_deref(), Some("a/b"));
    assert_eq!(f.object("k"), Ok(whole));
    assert_eq!((f.referenced(), f.garbage()), ([one, two].into(), [replaced, unused].into()));
    assert_eq!(f.usage(), BucketUsage { objects: 1, bytes: MIN + 7, ..BucketUsage::default() });
    let again = f.run(complete(id, &good, Precondition::None));
    assert_eq!(kind(again), ErrorKind::NotFound(Entity::Upload));
}

#[test]
fn an_aborted_upload_leaves_garbage_only() {
    let f = Fixture::new();
    let id = upload(&f, "k", 1);
    let parts = [part(&f, id, 1, 10), part(&f, id, 2, 10)];
    assert_eq!(
        kind(f.run(Command::DeleteBucket { name: "bucket".into() })),
        ErrorKind::InUse(Entity::Bucket)
    );
    let abort = || Command::AbortUpload { bucket: "bucket".into(), key: "k".into(), upload: id };
    f.run(abort()).unwrap();
    assert_eq!(kind(f.run(abort())), ErrorKind::NotFound(Entity::Upload));
    assert_eq!((f.referenced(), f.garbage()), (BTreeSet::new(), parts.into()));
    assert_eq!(f.usage(), BucketUsage::default());
}

#[test]
fn uploads_and_parts_are_listed_in_pages() {
    let f = Fixture::new();
    let (a1, a2) = (upload(&f, "a", 1), upload(&f, "a", 2));
    for key in ["b/1", "b/2", "k"] {
        upload(&f, key, 3);
    }
    let mut list = ListUploads {
        bucket: "bucket".into(),
        delimiter: Some("/".into()),
        limit: 1,
        ..ListUploads::default()
    };
    let (mut ids, mut prefixes) = (Vec::new(), Vec::new());
    loop {
        let Answer::Uploads(page) = f.ask(Query::ListUploads(list.clone())).unwrap() else { panic!() };
        ids.extend(page.uploads.iter().map(|upload| (upload.key.clone(), upload.id)));
        prefixes.extend(page.common_prefixes);
        let Some((key, id)) = page.next else { break };
        (list.after_key, list.after_upload) = (Some(key), id);
    }
    let k = UploadId([3; 16]);
    assert_eq!(ids, [("a".to_owned(), a1), ("a".to_owned(), a2), ("k".to_owned(), k)]);
    assert_eq!(prefixes, ["b/"]);
    for number in [1, 2, 5] {
        part(&f, k, number, 10);
    }
    let (mut after, mut numbers) = (0, Vec::new());
    loop {
        let (bucket, key) = ("bucket".to_owned(), "k".to_owned());
        let query = Query::ListParts { bucket, key, upload: k, after, limit: 2 };
        let Answer::Parts(page) = f.ask(query).unwrap() else { panic!() };
        numbers.extend(page.parts.iter().map(|part| part.number));
        let Some(next) = page.next else { break };
        after = next;
    }
    assert_eq!(numbers, [1, 2, 5]);
}

#[path = "model_test.rs"]
mod model;
