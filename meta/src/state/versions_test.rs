//! Versions against a slow, obvious model, and what old formats and golden bytes ask for.

use super::super::tests::{Fixture, inline, object, part_record, upload_record};
use super::*;
use crate::command::{Command, Response};
use crate::error::MetaError;
use crate::object::{BucketUsage, CompletedPart, StoredHeaders, UploadId, VersionId};
use crate::query::{Answer, ListObjects, ListVersions, Query};
use proptest::prelude::*;
use std::collections::BTreeMap;

const KEYS: [&str; 5] = ["a", "a/b", "a/c", "b", "b\0"];

#[derive(Debug, Clone)]
enum Op {
    Put {
        key: usize,
        extents: usize,
        condition: u8,
    },
    /// Of a version: the index of one that is there, or of one that is not.
    Delete {
        key: usize,
        version: Option<usize>,
    },
    Upload {
        key: usize,
    },
    Tag {
        key: usize,
        version: Option<usize>,
    },
    Enable,
    Suspend,
    Trim,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = 0..KEYS.len();
    let version = prop::option::of(0usize..5);
    let op = prop_oneof![
        6 => (key.clone(), 0usize..3, 0u8..5)
            .prop_map(|(key, extents, condition)| Op::Put { key, extents, condition }),
        5 => (key.clone(), version.clone()).prop_map(|(key, version)| Op::Delete { key, version }),
        1 => key.clone().prop_map(|key| Op::Upload { key }),
        1 => (key, version).prop_map(|(key, version)| Op::Tag { key, version }),
        1 => Just(Op::Enable),
        1 => Just(Op::Suspend),
        1 => Just(Op::Trim),
    ];
    prop::collection::vec(op, 0..50)
}

/// A version of the model.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    named: VersionRef,
    /// `None` of a delete marker.
    record: Option<ObjectRecord>,
    tags: Vec<(String, String)>,
}

#[derive(Default)]
struct Model {
    versioning: Versioning,
    /// Newest first.
    names: BTreeMap<&'static str, Vec<Kept>>,
    garbage: BTreeSet<Extent>,
}

fn extents_of(record: &ObjectRecord) -> Vec<Extent> {
    match &record.body {
        Body::Extents(extents) => extents.clone(),
        Body::Inline(_) => Vec::new(),
    }
}

impl Model {
    fn current(&self, key: &str) -> Option<&ObjectRecord> {
        self.names.get(key)?.first()?.record.as_ref()
    }

    fn remove(&mut self, key: &str, named: VersionRef) -> Option<Kept> {
        let versions = self.names.get_mut(key)?;
        let at = versions.iter().position(|kept| kept.named == named)?;
        let gone = versions.remove(at);
        self.garbage.extend(gone.record.iter().flat_map(extents_of));
        Some(gone)
    }

    /// What a put or a delete without a version does.
    fn add(&mut self, key: &'static str, named: Option<VersionRef>, record: Option<ObjectRecord>) {
        if self.versioning != Versioning::Enabled {
            self.remove(key, VersionRef::Null);
        }
        assert_eq!(named.is_some(), self.versioning != Versioning::Off || record.is_none());
        let named = named.unwrap_or(VersionRef::Null);
        assert_eq!(named == VersionRef::Null, self.versioning != Versioning::Enabled);
        self.names.entry(key).or_default().insert(0, Kept { named, record, tags: Vec::new() });
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, usize, &Kept)> {
        self.names.iter().flat_map(|(key, kept)| kept.iter().enumerate().map(|(at, kept)| (*key, at, kept)))
    }

    /// The version that an operation is about: one that is there, or one that never was.
    fn version(&self, key: &str, index: Option<usize>) -> Option<VersionRef> {
        let index = index?;
        let known = self.names.get(key).and_then(|kept| kept.get(index)).map(|kept| kept.named);
        let other = if index.is_multiple_of(2) {
            VersionRef::Null
        } else {
            VersionRef::Id(VersionId { slot: 5, nonce: 5 })
        };
        Some(known.unwrap_or(other))
    }
}

fn read(f: &Fixture, key: &str, version: Option<VersionRef>) -> Result<FoundVersion, MetaError> {
    let query = Query::Version { bucket: "bucket".into(), key: key.into(), version, part: ObjectPart::Whole };
    f.ask(query).map(|answer| {
        let Answer::Version(found) = answer else { panic!() };
        found
    })
}

fn check(f: &Fixture, model: &Model) {
    let records = || model.all().filter_map(|(_, _, kept)| kept.record.as_ref());
    let owned: Vec<Extent> = records().flat_map(extents_of).collect();
    let set: BTreeSet<Extent> = owned.iter().copied().collect();
    assert_eq!(owned.len(), set.len(), "every extent has one owner");
    assert_eq!(f.referenced(), set);
    assert_eq!(f.garbage(), model.garbage);
    let bytes = records().map(|record| record.size).sum();
    let usage = BucketUsage { objects: records().count() as u64, bytes, ..BucketUsage::default() };
    assert_eq!(f.usage(), usage);
    for key in KEYS {
        let shown = |kept: &Kept| (model.versioning != Versioning::Off).then_some(kept.named);
        assert_eq!(f.object(key).ok().as_ref(), model.current(key));
        match (read(f, key, None), model.names.get(key).and_then(|kept| kept.first())) {
            (Ok(FoundVersion::Object(found)), Some(kept)) => {
                assert_eq!(Some(&found.record), kept.record.as_ref());
                assert_eq!(found.version, shown(kept));
            }
            (Ok(FoundVersion::DeleteMarker { version, .. }), Some(kept)) => {
                assert_eq!((version, &kept.record), (kept.named, &None));
            }
            (Err(error), None) => assert_eq!(error.kind(), ErrorKind::NotFound(Entity::Key)),
            other => panic!("{key}: {other:?}"),
        }
        for kept in model.names.get(key).into_iter().flatten() {
            match read(f, key, Some(kept.named)).unwrap() {
                FoundVersion::Object(found) => {
                    assert_eq!(Some(&found.record), kept.record.as_ref());
                    assert_eq!(found.annotations.tags, kept.tags);
                }
                FoundVersion::DeleteMarker { version, .. } => {
                    assert_eq!((version, &kept.record), (kept.named, &None));
                }
            }
        }
    }
    // Nothing is left of names that have no version: no body, and no place of a null version.
    let bodies = records().filter(|record| matches!(&record.body, Body::Inline(body) if !body.is_empty()));
    let dump = f.kv.dump();
    let count = |table: u8| dump.keys().filter(|key| key.starts_with(&[0, 1, table])).count();
    assert_eq!(count(2), bodies.count());
    assert_eq!(count(1), model.all().count());
    let nulls = model.all().filter(|(_, _, kept)| kept.named == VersionRef::Null).count();
    assert!(count(8) <= nulls);
}

fn put_command(key: &str, record: ObjectRecord, precondition: Precondition, number: usize) -> Command {
    Command::PutVersion {
        bucket: "bucket".into(),
        key: key.into(),
        record,
        annotations: Annotations::default(),
        precondition,
        // The clock stands still, and steps back now and then.
        now_ms: 1000 - (number as u64 % 3),
        nonce: number as u64,
    }
}

fn step(f: &Fixture, model: &mut Model, number: usize, op: Op) {
    match op {
        Op::Put { key, extents, condition } => {
            let key = KEYS[key];
            let extents: Vec<Extent> = (0..extents).map(|_| f.extent(10)).collect();
            let etag = format!("e{number}");
            let record = match extents.len() {
                0 => object(&etag, Body::Inline(bytes::Bytes::from(vec![7; number % 2])), number as u64 % 2),
                many => object(&etag, Body::Extents(extents.clone()), 10 * many as u64),
            };
            let there = model.current(key).map(|object| object.etag.clone());
            let (condition, allowed) = match (condition, &there) {
                (0, _) => (Precondition::IfNoneMatchAny, there.is_none()),
                (1, Some(etag)) => (Precondition::IfMatch(etag.clone()), true),
                (1 | 2, _) => (Precondition::IfMatch("none".into()), false),
                _ => (Precondition::None, true),
            };
            let result = f.run(put_command(key, record.clone(), condition, number));
            assert_eq!(result.is_ok(), allowed);
            match result {
                Ok(Response::Version(named)) => model.add(key, named, Some(record)),
                Ok(_) => panic!(),
                Err(_) if extents.is_empty() => {}
                Err(_) => {
                    f.run(Command::DiscardExtents { extents: extents.clone() }).unwrap();
                    model.garbage.extend(extents);
                }
            }
        }
        Op::Delete { key, version } => delete(f, model, number, KEYS[key], version),
        Op::Upload { key } => upload(f, model, number, KEYS[key]),
        Op::Tag { key, version } => {
            let (key, version) = (KEYS[key], model.version(KEYS[key], version));
            let tags = vec![("n".to_owned(), number.to_string())];
            let change = crate::command::Annotate::Tags(tags.clone());
            let (bucket, named) = ("bucket".to_owned(), key.to_owned());
            let result = f.run(Command::Annotate { bucket, key: named, version, change, now_ms: 1 });
            let versions = model.names.entry(key).or_default();
            let at = match version {
                None => versions.first_mut(),
                Some(named) => versions.iter_mut().find(|kept| kept.named == named),
            };
            let expected = match (&at, version) {
                (Some(kept), _) if kept.record.is_some() => Ok(()),
                (Some(_), Some(_)) => Err(ErrorKind::Exists(Entity::DeleteMarker)),
                (_, None) => Err(ErrorKind::NotFound(Entity::Key)),
                (None, Some(_)) => Err(ErrorKind::NotFound(Entity::Version)),
            };
            assert_eq!(result.map(|_| ()).map_err(|refusal| refusal.kind), expected);
            if let (Ok(()), Some(kept)) = (expected, at) {
                kept.tags = tags;
            }
        }
        Op::Enable | Op::Suspend => {
            let versioning =
                if matches!(op, Op::Enable) { Versioning::Enabled } else { Versioning::Suspended };
            configure(f, versioning).unwrap();
            model.versioning = versioning;
        }
        Op::Trim => {
            let extents: Vec<Extent> = model.garbage.iter().take(2).copied().collect();
            for extent in &extents {
                model.garbage.remove(extent);
            }
            f.run(Command::GarbageDone { volume: f.log, extents }).unwrap();
        }
    }
}

fn configure(f: &Fixture, versioning: Versioning) -> Result<(), ErrorKind> {
    let Ok(Answer::Bucket(bucket)) = f.ask(Query::Bucket { name: "bucket".into() }) else { panic!() };
    let command = Command::PutVersioning { bucket: "bucket".into(), id: bucket.id, versioning };
    f.run(command).map(|_| ()).map_err(|refusal| refusal.kind)
}

fn delete(f: &Fixture, model: &mut Model, number: usize, key: &'static str, version: Option<usize>) {
    let version = model.version(key, version);
    let object = DeleteVersion {
        key: key.into(),
        version,
        precondition: Precondition::None,
        bypass_governance: false,
        nonce: number as u64,
    };
    let command = Command::DeleteVersions { bucket: "bucket".into(), objects: vec![object], now_ms: 1000 };
    let Response::DeletedVersions(mut results) = f.run(command).unwrap() else { panic!() };
    let deletion = results.pop().unwrap().unwrap();
    if let Some(named) = version {
        let gone = model.remove(key, named);
        let marker = gone.as_ref().is_some_and(|gone| gone.record.is_none());
        assert_eq!(deletion, Deletion { existed: gone.is_some(), version, marker });
        return;
    }
    assert_eq!(deletion.existed, model.current(key).is_some());
    assert_eq!(deletion.marker, model.versioning != Versioning::Off);
    if model.versioning == Versioning::Off {
        assert_eq!(deletion.version, None);
        model.remove(key, VersionRef::Null);
    } else {
        model.add(key, deletion.version, None);
    }
}

fn upload(f: &Fixture, model: &mut Model, number: usize, key: &'static str) {
    let id = UploadId([7; 16]);
    let at = || ("bucket".to_owned(), key.to_owned());
    let upload = upload_record(key, id);
    let tags = vec![("u".to_owned(), number.to_string())];
    let annotations = Annotations { tags: tags.clone(), ..Annotations::default() };
    f.run(Command::CreateAnnotatedUpload { bucket: "bucket".into(), upload, annotations }).unwrap();
    let extent = f.extent(9);
    let part = part_record(1, ("p", 9), vec![extent]);
    let (bucket, name) = at();
    f.run(Command::PutPart { bucket, key: name, upload: id, part }).unwrap();
    let record = object(&format!("u{number}"), Body::Inline(bytes::Bytes::new()), 0);
    let (bucket, name) = at();
    let parts = vec![CompletedPart { number: 1, etag: "p".into() }];
    let (precondition, now_ms, nonce) = (Precondition::None, 1000, number as u64);
    let complete = Command::CompleteVersion {
        bucket,
        key: name,
        upload: id,
        parts,
        record: record.clone(),
        precondition,
        now_ms,
        nonce,
    };
    let Response::Version(named) = f.run(complete).unwrap() else { panic!() };
    let whole = ObjectRecord {
        size: 9,
        headers: StoredHeaders::default(),
        user_metadata: vec![],
        part_sizes: vec![9],
        body: Body::Extents(vec![extent]),
        ..record
    };
    model.add(key, named, Some(whole));
    model.names.get_mut(key).unwrap()[0].tags = tags;
}

type Listed = (String, VersionRef, bool, bool);

/// What a listing of versions should be, with no regard to cost.
fn list_all(model: &Model, prefix: &str, delimiter: Option<&str>) -> (Vec<Listed>, Vec<String>) {
    let (mut listed, mut prefixes) = (Vec::new(), Vec::new());
    for (key, at, kept) in model.all().filter(|(key, ..)| key.starts_with(prefix)) {
        match delimiter.and_then(|d| key[prefix.len()..].find(d).map(|at| prefix.len() + at + d.len())) {
            Some(cut) if prefixes.last().is_none_or(|last| last != &key[..cut]) => {
                prefixes.push(key[..cut].to_owned());
            }
            Some(_) => {}
            None => listed.push((key.to_owned(), kept.named, at == 0, kept.record.is_none())),
        }
    }
    (listed, prefixes)
}

fn page_through(f: &Fixture, mut query: ListVersions) -> (Vec<Listed>, Vec<String>) {
    let (mut listed, mut prefixes) = (Vec::new(), Vec::new());
    loop {
        let Answer::Versions(page) = f.ask(Query::ListVersions(query.clone())).unwrap() else { panic!() };
        assert!(page.versions.len() + page.common_prefixes.len() <= query.limit as usize);
        listed.extend(page.versions.into_iter().map(|v| (v.key, v.version, v.latest, v.marker)));
        prefixes.extend(page.common_prefixes);
        let Some((key, version)) = page.next else { return (listed, prefixes) };
        query.after_key = Some(key);
        query.after_version = version.map(VersionRef::Id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn every_history_of_versions_keeps_its_books(
        ops in ops(),
        prefix in prop::sample::select(vec!["", "a", "a/", "b", "z"]),
        delimiter in prop::sample::select(vec![None, Some("/"), Some("b")]),
        limit in 1u32..4,
    ) {
        let f = Fixture::new();
        let mut model = Model::default();
        for (number, op) in ops.into_iter().enumerate() {
            step(&f, &mut model, number, op);
            check(&f, &model);
        }
        let query = ListVersions {
            bucket: "bucket".into(),
            prefix: prefix.into(),
            delimiter: delimiter.map(str::to_owned),
            limit,
            ..ListVersions::default()
        };
        prop_assert_eq!(page_through(&f, query), list_all(&model, prefix, delimiter));
        // The plain listing is what is left without deleted names.
        let current = KEYS.iter().filter(|key| model.current(key).is_some() && key.starts_with(prefix));
        let expected: Vec<String> = current.map(|key| (*key).to_owned()).collect();
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let list = ListObjects { bucket: "bucket".into(), prefix: prefix.into(), after, limit, ..ListObjects::default() };
            let Answer::Objects(page) = f.ask(Query::ListObjects(list)).unwrap() else { panic!() };
            listed.extend(page.objects.into_iter().map(|object| object.key));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        prop_assert_eq!(listed, expected);
        // A bucket goes only when its last version is gone.
        let drop = Command::DeleteBucket { name: "bucket".into() };
        prop_assert_eq!(f.run(drop).is_ok(), model.all().count() == 0);
    }
}

/// Clients list a page, delete what it shows, and go on from its markers.
#[test]
fn a_page_can_be_deleted_before_the_next_is_asked_for() {
    let f = Fixture::new();
    configure(&f, Versioning::Enabled).unwrap();
    for number in 0..5 {
        f.run(put_command("k", inline("x"), Precondition::None, number)).unwrap();
    }
    configure(&f, Versioning::Suspended).unwrap();
    f.run(put_command("k", inline("null"), Precondition::None, 9)).unwrap();
    let mut query = ListVersions { bucket: "bucket".into(), limit: 1, ..ListVersions::default() };
    let mut seen = 0;
    loop {
        let Answer::Versions(page) = f.ask(Query::ListVersions(query.clone())).unwrap() else { panic!() };
        for listed in page.versions {
            seen += 1;
            let object = DeleteVersion {
                key: listed.key,
                version: Some(listed.version),
                precondition: Precondition::None,
                bypass_governance: false,
                nonce: 0,
            };
            let delete =
                Command::DeleteVersions { bucket: "bucket".into(), objects: vec![object], now_ms: 1 };
            let Response::DeletedVersions(results) = f.run(delete).unwrap() else { panic!() };
            assert!(results[0].as_ref().unwrap().existed);
        }
        let Some((key, version)) = page.next else { break };
        (query.after_key, query.after_version) = (Some(key), version.map(VersionRef::Id));
    }
    assert_eq!(seen, 6);
    f.run(Command::DeleteBucket { name: "bucket".into() }).unwrap();
}

#[test]
fn an_object_of_an_earlier_build_is_the_null_version_and_the_oldest() {
    let f = Fixture::new();
    let old = Command::PutObject {
        bucket: "bucket".into(),
        key: "k".into(),
        record: inline("old"),
        precondition: Precondition::None,
    };
    f.run(old.clone()).unwrap();
    let Ok(Answer::Bucket(bucket)) = f.ask(Query::Bucket { name: "bucket".into() }) else { panic!() };
    let bytes = f.kv.get(&keys::object(bucket.id, "k", keys::PLAIN_SLOT)).unwrap().unwrap();
    assert_eq!(
        hex::encode(bytes),
        "00 03 07 04 656f6c64 010a746578742f706c61696e 0000000000 0101610162 00 00 00 03 e5a9f7fa03"
            .replace(' ', "")
    );
    configure(&f, Versioning::Enabled).unwrap();
    let Ok(Response::Version(Some(named))) = f.run(put_command("k", inline("new"), Precondition::None, 1))
    else {
        panic!()
    };
    let FoundVersion::Object(found) = read(&f, "k", Some(VersionRef::Null)).unwrap() else { panic!() };
    assert_eq!((found.record, found.version), (inline("old"), Some(VersionRef::Null)));
    let FoundVersion::Object(found) = read(&f, "k", None).unwrap() else { panic!() };
    assert_eq!((found.record, found.version), (inline("new"), Some(named)));
    // What knows of no versions takes none away.
    assert_eq!(f.run(old).unwrap_err().kind, ErrorKind::Invalid);
    let object = crate::command::DeleteObject { key: "k".into(), precondition: Precondition::None };
    let delete = Command::DeleteObjects { bucket: "bucket".into(), objects: vec![object] };
    assert_eq!(f.run(delete).unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(configure(&f, Versioning::Off), Err(ErrorKind::PreconditionFailed));
}

/// An id is of one version only: its place alone, or its place with another's number, names nothing.
#[test]
fn an_id_with_another_number_names_nothing() {
    let f = Fixture::new();
    configure(&f, Versioning::Enabled).unwrap();
    let Ok(Response::Version(Some(VersionRef::Id(id)))) =
        f.run(put_command("k", inline("x"), Precondition::None, 3))
    else {
        panic!()
    };
    let other = VersionRef::Id(VersionId { nonce: id.nonce ^ 1, ..id });
    assert_eq!(read(&f, "k", Some(other)).unwrap_err().kind(), ErrorKind::NotFound(Entity::Version));
    configure(&f, Versioning::Suspended).unwrap();
    f.run(put_command("k", inline("y"), Precondition::None, 4)).unwrap();
    // The null version has a place, but goes by no id.
    for slot in id.slot - 5..id.slot {
        let named = Some(VersionRef::Id(VersionId { slot, nonce: 0 }));
        assert!(read(&f, "k", named).is_err());
    }
    assert!(read(&f, "k", Some(VersionRef::Null)).is_ok());
}

#[test]
fn golden_bytes_never_change() {
    let bytes = |command: &Command| hex::encode(postcard::to_stdvec(command).unwrap());
    let bucket = || "b".to_owned();
    let versioning = Command::PutVersioning { bucket: bucket(), id: 5, versioning: Versioning::Suspended };
    let named = VersionRef::Id(VersionId { slot: 1, nonce: 2 });
    let object = DeleteVersion {
        key: "k".into(),
        version: Some(named),
        precondition: Precondition::None,
        bypass_governance: true,
        nonce: 3,
    };
    let delete = Command::DeleteVersions { bucket: bucket(), objects: vec![object], now_ms: 9 };
    let hold = crate::command::Annotate::LegalHold(true);
    let annotate = Command::Annotate {
        bucket: bucket(),
        key: "k".into(),
        version: Some(VersionRef::Null),
        change: hold,
        now_ms: 9,
    };
    let create = Command::CreateLockedBucket { name: bucket(), owner: "o".into(), now_ms: 9 };
    assert_eq!(bytes(&create), "2b0162016f09");
    assert_eq!(bytes(&versioning), "2c01620502");
    assert_eq!(bytes(&delete), "2f016201016b01010102000103 09".replace(' ', ""));
    assert_eq!(bytes(&annotate), "320162016b0100020109");
    let f = Fixture::new();
    configure(&f, Versioning::Enabled).unwrap();
    let mut put = put_command("k", object_of_golden(), Precondition::None, 1);
    if let Command::PutVersion { annotations, .. } = &mut put {
        annotations.tags = vec![("t".into(), "v".into())];
    }
    let Ok(Response::Version(Some(VersionRef::Id(id)))) = f.run(put) else { panic!() };
    assert_eq!(id.slot, (u64::MAX - 1) - (999 << 20));
    let Ok(Answer::Bucket(bucket)) = f.ask(Query::Bucket { name: "bucket".into() }) else { panic!() };
    let stored = f.kv.get(&keys::object(bucket.id, "k", id.slot)).unwrap().unwrap();
    let golden = ["0101", "00", "07", "0165", "000000000000", "000000", "000000", "0101740176", "00", "00"];
    assert_eq!(hex::encode(stored), golden.concat());
    let kept = f.kv.get(&keys::versioning(bucket.id)).unwrap().unwrap();
    assert_eq!(hex::encode(kept), "0100");
}

fn object_of_golden() -> ObjectRecord {
    ObjectRecord {
        headers: StoredHeaders::default(),
        user_metadata: vec![],
        ..object("e", Body::Inline(bytes::Bytes::new()), 0)
    }
}
