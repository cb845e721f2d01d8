//! Quotas, and the property that what is kept is what there is.

use super::super::kv::Kv;
use super::super::recount;
use super::super::tests::{Fixture, inline, object, part_record, upload_record};
use super::*;
use crate::command::{Command, DeleteVersion, Response};
use crate::error::Entity;
use crate::identity::{AccountRecord, FIRST_ACCOUNT};
use crate::identity_command::IdentityCommand;
use crate::object::{
    Annotations, Body, CompletedPart, Extent, ObjectRecord, Precondition, UploadId, VersionRef,
};
use crate::query::{Answer, ListVersions, Query};
use bytes::Bytes;
use proptest::prelude::*;

const OTHER: &str = "111122223333";
/// The first two are one project's.
const BUCKETS: [&str; 3] = ["bucket", "other", "third"];
const KEYS: [&str; 3] = ["a", "b", "k"];
const MIN: u64 = 5 << 20;

fn fixture() -> Fixture {
    let f = Fixture::new();
    let account = AccountRecord {
        number: OTHER.into(),
        name: "acme".into(),
        created_ms: 1,
        block: None,
        keys: Vec::new(),
    };
    f.run(Command::Identity(IdentityCommand::CreateAccount(account))).unwrap();
    f.run(Command::CreateBucket { name: "third".into(), owner: OTHER.into(), now_ms: 1 }).unwrap();
    f
}

fn put(bucket: &str, key: &str, record: ObjectRecord) -> Command {
    let (annotations, precondition) = (Annotations::default(), Precondition::None);
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    Command::PutVersion { bucket, key, record, annotations, precondition, now_ms: 5, nonce: 7 }
}

fn sized(bytes: usize) -> ObjectRecord {
    object("e", Body::Inline(Bytes::from(vec![b'x'; bytes])), bytes as u64)
}

fn delete(bucket: &str, key: &str, version: Option<VersionRef>) -> Command {
    let precondition = Precondition::None;
    let one = DeleteVersion { key: key.into(), version, precondition, bypass_governance: false, nonce: 9 };
    Command::DeleteVersions { bucket: bucket.into(), objects: vec![one], now_ms: 6 }
}

fn begin(bucket: &str, id: u8) -> Command {
    let upload = upload_record("k", UploadId([id; 16]));
    Command::CreateUpload { bucket: bucket.into(), upload }
}

fn part(f: &Fixture, bucket: &str, (id, number): (u8, u16), size: u64) -> (Command, Extent) {
    let extent = f.extent(size);
    let part = part_record(number, (&format!("p{number}"), size), vec![extent]);
    let (bucket, key, upload) = (bucket.to_owned(), "k".to_owned(), UploadId([id; 16]));
    (Command::PutPart { bucket, key, upload, part }, extent)
}

fn complete(bucket: &str, id: u8, numbers: &[u16]) -> Command {
    let named = |number: &u16| CompletedPart { number: *number, etag: format!("p{number}") };
    Command::CompleteVersion {
        bucket: bucket.into(),
        key: "k".into(),
        upload: UploadId([id; 16]),
        parts: numbers.iter().map(named).collect(),
        record: object("whole-2", Body::Extents(Vec::new()), 0),
        precondition: Precondition::None,
        now_ms: 8,
        nonce: 4,
    }
}

fn abort(bucket: &str, id: u8) -> Command {
    Command::AbortUpload { bucket: bucket.into(), key: "k".into(), upload: UploadId([id; 16]) }
}

fn limit(of: &QuotaOf, bytes: Option<u64>, objects: Option<u64>) -> Command {
    let change = |bound: Option<u64>| bound.map_or(BoundChange::Lift, BoundChange::Set);
    Command::SetQuota { of: of.clone(), bytes: change(bytes), objects: change(objects) }
}

fn of_bucket(name: &str) -> QuotaOf {
    QuotaOf::Bucket(name.into())
}

fn of_project(number: &str) -> QuotaOf {
    QuotaOf::Project(number.into())
}

fn asked(f: &Fixture, of: QuotaOf) -> Counted {
    let Answer::Counted(counted) = f.ask(Query::Counted(of)).unwrap() else { panic!() };
    counted
}

fn fits(f: &Fixture, bucket: &str, incoming: Incoming, bytes: u64) -> bool {
    match f.ask(Query::Room { bucket: bucket.into(), incoming, bytes }) {
        Ok(Answer::Fits) => true,
        Err(error) if error.kind() == ErrorKind::QuotaExceeded => false,
        other => panic!("{other:?}"),
    }
}

fn refused(result: Result<Response, Refusal>) -> String {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::QuotaExceeded);
    refusal.message
}

fn id_of(f: &Fixture, bucket: &str) -> u64 {
    objects::bucket(&f.kv, bucket).unwrap_or_else(|fail| panic!("{fail:?}")).id
}

/// What is kept is what is there, of buckets and of projects.
fn check_counts(f: &Fixture) {
    let sum = |buckets: &[&str]| {
        buckets.iter().fold(BucketUsage::default(), |sum, bucket| {
            let found = recount::recount(&f.kv, &of_bucket(bucket)).unwrap_or_else(|fail| panic!("{fail:?}"));
            assert_eq!(asked(f, of_bucket(bucket)).usage, found.counted, "{bucket}");
            let counted = found.counted;
            moved(sum, &BucketUsage::default(), &counted)
        })
    };
    assert_eq!(asked(f, of_project(FIRST_ACCOUNT)).usage, sum(&BUCKETS[..2]));
    assert_eq!(asked(f, of_project(OTHER)).usage, sum(&BUCKETS[2..]));
}

#[derive(Debug, Clone)]
enum Op {
    Put { bucket: usize, key: usize, bytes: usize },
    Delete { bucket: usize, key: usize, version: Option<usize> },
    Begin { bucket: usize, upload: u8 },
    Part { bucket: usize, upload: u8, number: u16, bytes: u64 },
    Complete { bucket: usize, upload: u8, numbers: Vec<u16> },
    Abort { bucket: usize, upload: u8 },
    Versioning { bucket: usize, versioning: Versioning },
    Limit { of: usize, bytes: Option<u64>, objects: Option<u64> },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (bucket, key, upload) = (0..BUCKETS.len(), 0..KEYS.len(), 1u8..3);
    let numbers = prop_oneof![Just(vec![1]), Just(vec![2]), Just(vec![1, 2])];
    let versioning = prop_oneof![Just(Versioning::Enabled), Just(Versioning::Suspended)];
    let bytes = prop::option::of(prop_oneof![0u64..60, Just(MIN), MIN..3 * MIN]);
    let op = prop_oneof![
        8 => (bucket.clone(), key.clone(), 0usize..20)
            .prop_map(|(bucket, key, bytes)| Op::Put { bucket, key, bytes }),
        4 => (bucket.clone(), key, prop::option::of(0usize..3))
            .prop_map(|(bucket, key, version)| Op::Delete { bucket, key, version }),
        2 => (bucket.clone(), upload.clone()).prop_map(|(bucket, upload)| Op::Begin { bucket, upload }),
        5 => (bucket.clone(), upload.clone(), 1u16..3, prop_oneof![Just(MIN), 0u64..30])
            .prop_map(|(bucket, upload, number, bytes)| Op::Part { bucket, upload, number, bytes }),
        3 => (bucket.clone(), upload.clone(), numbers)
            .prop_map(|(bucket, upload, numbers)| Op::Complete { bucket, upload, numbers }),
        1 => (bucket.clone(), upload).prop_map(|(bucket, upload)| Op::Abort { bucket, upload }),
        1 => (bucket, versioning).prop_map(|(bucket, versioning)| Op::Versioning { bucket, versioning }),
        3 => (0usize..5, bytes, prop::option::of(0u64..6))
            .prop_map(|(of, bytes, objects)| Op::Limit { of, bytes, objects }),
    ];
    prop::collection::vec(op, 0..40)
}

/// A version of a key by its place among all, the newest first.
fn version(f: &Fixture, bucket: &str, key: &str, at: usize) -> Option<VersionRef> {
    let list =
        ListVersions { bucket: bucket.into(), prefix: key.into(), limit: 1000, ..ListVersions::default() };
    let Answer::Versions(page) = f.ask(Query::ListVersions(list)).unwrap() else { panic!() };
    Some(page.versions.get(at).map_or(VersionRef::Null, |found| found.version))
}

fn whose(of: usize) -> QuotaOf {
    match of {
        0..=2 => of_bucket(BUCKETS[of]),
        3 => of_project(FIRST_ACCOUNT),
        _ => of_project(OTHER),
    }
}

fn step(f: &Fixture, op: Op) {
    let before: Vec<Counted> = (0..5).map(|of| asked(f, whose(of))).collect();
    let limiting = matches!(op, Op::Limit { .. });
    let shrinks = matches!(op, Op::Delete { .. } | Op::Abort { .. } | Op::Limit { .. });
    // The early look and the step that commits are of one mind.
    let mut predicted = None;
    let command = match op {
        Op::Put { bucket, key, bytes } => {
            let incoming = Incoming::Object { key: KEYS[key].into() };
            predicted = Some(fits(f, BUCKETS[bucket], incoming, bytes as u64));
            put(BUCKETS[bucket], KEYS[key], sized(bytes))
        }
        Op::Delete { bucket, key, version: at } => {
            let named = at.and_then(|at| version(f, BUCKETS[bucket], KEYS[key], at));
            delete(BUCKETS[bucket], KEYS[key], named)
        }
        Op::Begin { bucket, upload } => begin(BUCKETS[bucket], upload),
        Op::Part { bucket, upload, number, bytes } => {
            let id = UploadId([upload; 16]);
            let query = Query::Upload { bucket: BUCKETS[bucket].into(), key: "k".into(), upload: id };
            if f.ask(query).is_ok() {
                let incoming = Incoming::Part { key: "k".into(), upload: id, number };
                predicted = Some(fits(f, BUCKETS[bucket], incoming, bytes));
            }
            part(f, BUCKETS[bucket], (upload, number), bytes.max(1)).0
        }
        Op::Complete { bucket, upload, numbers } => complete(BUCKETS[bucket], upload, &numbers),
        Op::Abort { bucket, upload } => abort(BUCKETS[bucket], upload),
        Op::Versioning { bucket, versioning } => {
            let id = id_of(f, BUCKETS[bucket]);
            Command::PutVersioning { bucket: BUCKETS[bucket].into(), id, versioning }
        }
        Op::Limit { of, bytes, objects } => limit(&whose(of), bytes, objects),
    };
    let exact = !matches!(&command, Command::PutPart { part, .. } if part.size == 1);
    let result = f.run(command);
    let exceeded = matches!(&result, Err(refusal) if refusal.kind == ErrorKind::QuotaExceeded);
    assert!(!(exceeded && shrinks), "what gives back is never refused");
    if let Some(fits) = predicted.filter(|_| exact) {
        assert_eq!(fits, !exceeded);
    }
    for (of, before) in before.iter().enumerate() {
        let after = asked(f, whose(of));
        assert!(limiting || after.quota == before.quota);
        let within =
            |bound: Option<u64>, had: u64, has: u64| bound.is_none_or(|bound| has <= bound || has <= had);
        assert!(within(before.quota.bytes, before.usage.total_bytes(), after.usage.total_bytes()));
        assert!(within(before.quota.objects, before.usage.objects, after.usage.objects));
    }
    check_counts(f);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_kept_is_what_is_there_and_never_grows_past_a_quota(ops in ops()) {
        let f = fixture();
        for op in ops {
            step(&f, op);
        }
        // Nothing is left of what is taken away.
        for bucket in BUCKETS {
            for id in 1..3 {
                let _ = f.run(abort(bucket, id));
            }
            for key in KEYS {
                while let Answer::Versions(page) = f.ask(Query::ListVersions(ListVersions {
                    bucket: bucket.into(),
                    prefix: key.into(),
                    limit: 1,
                    ..ListVersions::default()
                })).unwrap() {
                    let Some(found) = page.versions.first() else { break };
                    f.run(delete(bucket, key, Some(found.version))).unwrap();
                }
            }
        }
        check_counts(&f);
        for of in 0..5 {
            prop_assert_eq!(asked(&f, whose(of)).usage, BucketUsage::default());
        }
    }
}

#[test]
fn a_put_past_a_quota_is_refused_in_words_that_say_which_and_how_much() {
    let f = fixture();
    f.run(limit(&of_bucket("bucket"), Some(2048), Some(2))).unwrap();
    f.run(put("bucket", "a", sized(2000))).unwrap();
    let why = refused(f.run(put("bucket", "b", sized(49))));
    let expected = "The quota of bucket 'bucket' is 2048 bytes (2 KiB); it holds 2000 bytes, and this would make them 2049.";
    assert_eq!(why, expected);
    f.run(put("bucket", "b", sized(48))).unwrap();
    let why = refused(f.run(put("bucket", "c", sized(0))));
    let expected = "The quota of bucket 'bucket' is 2 objects, all versions counted; it holds 2, and this would make them 3.";
    assert_eq!(why, expected);
    // At the limit: in place, no larger; and always away.
    f.run(put("bucket", "a", sized(2000))).unwrap();
    f.run(put("bucket", "a", sized(1999))).unwrap();
    refused(f.run(put("bucket", "a", sized(2001))));
    f.run(delete("bucket", "a", None)).unwrap();
    f.run(put("bucket", "c", sized(2000))).unwrap();
    f.run(limit(&of_bucket("bucket"), None, None)).unwrap();
    f.run(put("bucket", "d", sized(3000))).unwrap();
}

#[test]
fn a_quota_below_what_is_there_refuses_growth_alone() {
    let f = fixture();
    f.run(begin("bucket", 1)).unwrap();
    f.run(part(&f, "bucket", (1, 1), MIN).0).unwrap();
    f.run(part(&f, "bucket", (1, 2), 10).0).unwrap();
    f.run(put("bucket", "a", sized(100))).unwrap();
    f.run(limit(&of_bucket("bucket"), Some(50), None)).unwrap();
    refused(f.run(put("bucket", "b", sized(1))));
    refused(f.run(part(&f, "bucket", (1, 2), 11).0));
    f.run(put("bucket", "a", sized(100))).unwrap();
    f.run(put("bucket", "b", sized(0))).unwrap();
    f.run(part(&f, "bucket", (1, 2), 9).0).unwrap();
    // The parts are counted already: their object is nothing more.
    f.run(complete("bucket", 1, &[1, 2])).unwrap();
    let usage = BucketUsage { objects: 3, bytes: 100 + MIN + 9, uploads: 0, upload_bytes: 0 };
    assert_eq!(asked(&f, of_bucket("bucket")).usage, usage);
    check_counts(&f);
}

#[test]
fn parts_of_unfinished_uploads_count_and_an_abort_gives_them_back() {
    let f = fixture();
    f.run(limit(&of_bucket("bucket"), Some(100), None)).unwrap();
    f.run(begin("bucket", 1)).unwrap();
    f.run(part(&f, "bucket", (1, 1), 60).0).unwrap();
    let (over, extent) = part(&f, "bucket", (1, 2), 41);
    refused(f.run(over));
    // What was written for it is nobody's, and can be handed back.
    f.run(Command::DiscardExtents { extents: vec![extent] }).unwrap();
    refused(f.run(put("bucket", "a", sized(41))));
    f.run(part(&f, "bucket", (1, 1), 100).0).unwrap();
    f.run(abort("bucket", 1)).unwrap();
    f.run(put("bucket", "a", sized(100))).unwrap();
    check_counts(&f);
}

#[test]
fn every_version_counts_and_delete_markers_do_not() {
    let f = fixture();
    let id = id_of(&f, "bucket");
    let versioning = Versioning::Enabled;
    f.run(Command::PutVersioning { bucket: "bucket".into(), id, versioning }).unwrap();
    f.run(limit(&of_bucket("bucket"), Some(100), Some(2))).unwrap();
    f.run(put("bucket", "a", sized(50))).unwrap();
    f.run(put("bucket", "a", sized(50))).unwrap();
    refused(f.run(put("bucket", "a", sized(0))));
    f.run(delete("bucket", "a", None)).unwrap();
    refused(f.run(put("bucket", "a", sized(0))));
    f.run(delete("bucket", "a", version(&f, "bucket", "a", 2))).unwrap();
    f.run(put("bucket", "a", sized(50))).unwrap();
    check_counts(&f);
}

#[test]
fn a_projects_quota_is_over_all_its_buckets_and_a_deleted_one_gives_its_share_back() {
    let f = fixture();
    f.run(limit(&of_project(FIRST_ACCOUNT), Some(100), Some(3))).unwrap();
    f.run(put("bucket", "a", sized(60))).unwrap();
    let why = refused(f.run(put("other", "a", sized(41))));
    assert!(why.starts_with("The quota of project 000000000000 is 100 bytes"), "{why}");
    f.run(put("other", "a", sized(40))).unwrap();
    // Another project's bucket is not of it.
    f.run(put("third", "a", sized(500))).unwrap();
    f.run(put("other", "b", sized(0))).unwrap();
    refused(f.run(put("bucket", "b", sized(0))));
    for key in ["a", "b"] {
        f.run(delete("other", key, None)).unwrap();
    }
    f.run(Command::DeleteBucket { name: "other".into() }).unwrap();
    assert_eq!(f.kv.dump().keys().filter(|key| key.starts_with(&keys::usages())).count(), 2);
    f.run(put("bucket", "b", sized(40))).unwrap();
    assert_eq!(asked(&f, of_project(FIRST_ACCOUNT)).usage.bytes, 100);
    let Answer::BucketCounts(page) = f.ask(Query::BucketCounts { after: None, limit: 1 }).unwrap() else {
        panic!()
    };
    assert_eq!((page.buckets[0].name.as_str(), page.next.as_deref()), ("bucket", Some("bucket")));
    let Answer::ProjectCounts(all) = f.ask(Query::ProjectCounts).unwrap() else { panic!() };
    let known: Vec<(&str, u64)> = all.iter().map(|p| (p.account.as_str(), p.counted.usage.bytes)).collect();
    assert_eq!(known, [(FIRST_ACCOUNT, 100), (OTHER, 500)]);
}

#[test]
fn one_bound_is_changed_without_the_other_and_only_of_what_is_there() {
    let f = fixture();
    f.run(limit(&of_bucket("bucket"), Some(1), Some(2))).unwrap();
    let of = of_bucket("bucket");
    f.run(Command::SetQuota { of: of.clone(), bytes: BoundChange::Set(5), objects: BoundChange::Keep })
        .unwrap();
    assert_eq!(asked(&f, of.clone()).quota, Quota { bytes: Some(5), objects: Some(2) });
    f.run(Command::SetQuota { of: of.clone(), bytes: BoundChange::Keep, objects: BoundChange::Lift })
        .unwrap();
    assert_eq!(asked(&f, of).quota, Quota { bytes: Some(5), objects: None });
    let none = f.run(limit(&of_bucket("none"), Some(1), None)).unwrap_err();
    assert_eq!(none.kind, ErrorKind::NotFound(Entity::Bucket));
    let none = f.run(limit(&of_project("999999999999"), Some(1), None)).unwrap_err();
    assert_eq!(none.kind, ErrorKind::NotFound(Entity::Account));
    // A bucket made anew has nothing of the former one's.
    f.run(Command::DeleteBucket { name: "bucket".into() }).unwrap();
    f.run(Command::CreateBucket { name: "bucket".into(), owner: "root".into(), now_ms: 1 }).unwrap();
    assert_eq!(asked(&f, of_bucket("bucket")), Counted::default());
}

#[test]
fn what_earlier_builds_kept_is_counted_up_once() {
    let f = fixture();
    for bucket in BUCKETS {
        f.run(put(bucket, "a", inline("12345"))).unwrap();
    }
    // As an earlier build leaves it: usages alone, and nothing of projects.
    let mut batch = super::super::kv::Batch::new();
    for bucket in BUCKETS {
        let key = keys::usage(id_of(&f, bucket));
        let usage: BucketUsage = load(&f.kv, &key).unwrap().unwrap();
        batch.insert(key, Some(postcard::to_stdvec(&usage).unwrap()));
    }
    for account in [FIRST_ACCOUNT, OTHER] {
        batch.insert(keys::project_usage(account), None);
    }
    f.kv.apply(batch).unwrap();
    check_counts(&f);
    f.run(limit(&of_project(FIRST_ACCOUNT), Some(12), None)).unwrap();
    refused(f.run(put("other", "b", inline("123"))));
    f.run(put("other", "b", inline("12"))).unwrap();
    f.run(put("third", "b", inline("123"))).unwrap();
    check_counts(&f);
    f.run(delete("bucket", "a", None)).unwrap();
    f.run(Command::DeleteBucket { name: "bucket".into() }).unwrap();
    f.run(Command::CreateBucket { name: "bucket".into(), owner: "root".into(), now_ms: 1 }).unwrap();
    check_counts(&f);
}

#[test]
fn golden_bytes_never_change() {
    let f = fixture();
    f.run(put("bucket", "a", inline("12345"))).unwrap();
    f.run(limit(&of_bucket("bucket"), Some(300), None)).unwrap();
    f.run(limit(&of_project(FIRST_ACCOUNT), None, Some(9))).unwrap();
    let stored = |key: Vec<u8>| hex::encode(f.kv.get(&key).unwrap().unwrap());
    let account = format!("0c{}", hex::encode(FIRST_ACCOUNT));
    assert_eq!(stored(keys::usage(id_of(&f, "bucket"))), format!("01050000{account}01ac0200"));
    assert_eq!(stored(keys::project_usage(FIRST_ACCOUNT)), "01050000000109");
    let bytes = |command: &Command| hex::encode(postcard::to_stdvec(command).unwrap());
    let set = limit(&of_bucket("b"), Some(300), None);
    assert_eq!(bytes(&set)[2..], *"00016202ac0201");
    let set = Command::SetQuota { of: of_project("1"), bytes: BoundChange::Keep, objects: BoundChange::Lift };
    assert_eq!(bytes(&set)[2..], *"0101310001");
}
