use super::super::tests::{Fixture, inline};
use super::*;
use crate::command::{Command, DeleteVersion, Response};
use crate::object::{FoundVersion, Precondition};
use crate::query::{Answer, ObjectPart, Query};

const NOW: u64 = 1_000_000;

fn locked() -> (Fixture, u64) {
    let f = Fixture::new();
    let create = Command::CreateLockedBucket { name: "locked".into(), owner: "root".into(), now_ms: 1 };
    let Ok(Response::Bucket(bucket)) = f.run(create) else { panic!() };
    (f, bucket.id)
}

fn put(
    f: &Fixture,
    bucket: &str,
    key: &str,
    annotations: Annotations,
) -> Result<Option<VersionRef>, ErrorKind> {
    let command = Command::PutVersion {
        bucket: bucket.into(),
        key: key.into(),
        record: inline("x"),
        annotations,
        precondition: Precondition::None,
        now_ms: NOW,
        nonce: 9,
    };
    match f.run(command).map_err(|refusal| refusal.kind)? {
        Response::Version(version) => Ok(version),
        _ => panic!(),
    }
}

fn annotations(f: &Fixture, bucket: &str, key: &str) -> Annotations {
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    let query = Query::Version { bucket, key, version: None, part: ObjectPart::Head };
    let Ok(Answer::Version(FoundVersion::Object(found))) = f.ask(query) else { panic!() };
    found.annotations
}

fn annotate(
    f: &Fixture,
    bucket: &str,
    version: Option<VersionRef>,
    change: Annotate,
    now_ms: u64,
) -> Result<(), ErrorKind> {
    let command = Command::Annotate { bucket: bucket.into(), key: "k".into(), version, change, now_ms };
    f.run(command).map(|_| ()).map_err(|refusal| refusal.kind)
}

fn retain(mode: RetentionMode, until_ms: u64) -> Option<Retention> {
    Some(Retention { mode, until_ms })
}

fn delete(f: &Fixture, version: Option<VersionRef>, now_ms: u64, bypass: bool) -> Result<bool, ErrorKind> {
    let object = DeleteVersion {
        key: "k".into(),
        version,
        precondition: Precondition::None,
        bypass_governance: bypass,
        nonce: 77,
    };
    let command = Command::DeleteVersions { bucket: "locked".into(), objects: vec![object], now_ms };
    let Ok(Response::DeletedVersions(mut results)) = f.run(command) else { panic!() };
    results.pop().unwrap().map(|deletion| deletion.existed).map_err(|refusal| refusal.kind)
}

const LOCKED: ErrorKind = ErrorKind::InUse(Entity::Version);
const MISSING: ErrorKind = ErrorKind::NotFound(Entity::Version);

#[test]
fn a_retained_version_goes_when_its_time_is_over() {
    for (mode, with_bypass) in
        [(RetentionMode::Governance, Ok(true)), (RetentionMode::Compliance, Err(LOCKED))]
    {
        let (f, _) = locked();
        let retention = retain(mode, NOW + 100);
        let version = put(&f, "locked", "k", Annotations { retention, ..Annotations::default() }).unwrap();
        assert_eq!(delete(&f, version, NOW + 99, false), Err(LOCKED));
        assert!(f.run(Command::DeleteBucket { name: "locked".into() }).is_err());
        // A delete marker takes nothing away.
        assert_eq!(delete(&f, None, NOW + 1, false), Ok(true));
        assert_eq!(delete(&f, version, NOW + 99, true), with_bypass);
        let left = if with_bypass.is_ok() { Ok(false) } else { Ok(true) };
        assert_eq!(delete(&f, version, NOW + 100, false), left);
    }
}

#[test]
fn a_legal_hold_has_no_end_but_its_own() {
    let (f, _) = locked();
    let held = Annotations { legal_hold: Some(true), ..Annotations::default() };
    let version = put(&f, "locked", "k", held).unwrap();
    assert_eq!(delete(&f, version, u64::MAX, true), Err(LOCKED));
    annotate(&f, "locked", version, Annotate::LegalHold(false), NOW).unwrap();
    assert_eq!(annotations(&f, "locked", "k").legal_hold, Some(false));
    assert_eq!(delete(&f, version, NOW, false), Ok(true));
    assert_eq!(annotate(&f, "locked", version, Annotate::LegalHold(true), NOW), Err(MISSING));
}

#[test]
fn retention_is_made_longer_by_anybody_and_looser_by_few() {
    use RetentionMode::{Compliance, Governance};
    let set = |f: &Fixture, retention, bypass_governance, now_ms| {
        let change = Annotate::Retention { retention, bypass_governance };
        annotate(f, "locked", None, change, now_ms)
    };
    let (f, _) = locked();
    put(&f, "locked", "k", Annotations::default()).unwrap();
    assert_eq!(set(&f, retain(Governance, NOW), false, NOW), Err(ErrorKind::Invalid), "not in the future");
    assert_eq!(set(&f, retain(Governance, NOW + 50), false, NOW), Ok(()));
    assert_eq!(set(&f, retain(Governance, NOW + 60), false, NOW), Ok(()));
    for looser in [retain(Governance, NOW + 59), retain(Compliance, NOW + 70), None] {
        assert_eq!(set(&f, looser, false, NOW), Err(LOCKED), "{looser:?}");
    }
    assert_eq!(set(&f, retain(Governance, NOW + 40), true, NOW), Ok(()));
    assert_eq!(set(&f, None, false, NOW + 40), Ok(()), "it is over");
    assert_eq!(set(&f, retain(Compliance, NOW + 50), false, NOW), Ok(()));
    for looser in [retain(Compliance, NOW + 49), retain(Governance, NOW + 70), None] {
        assert_eq!(set(&f, looser, true, NOW), Err(LOCKED), "{looser:?}");
    }
    assert_eq!(set(&f, retain(Compliance, NOW + 51), false, NOW), Ok(()));
}

#[test]
fn a_buckets_default_holds_for_what_says_nothing_itself() {
    let (f, id) = locked();
    let lock = |period| Command::PutObjectLock {
        bucket: "locked".into(),
        id,
        default: Some(DefaultRetention { mode: RetentionMode::Compliance, period }),
    };
    f.run(lock(RetentionPeriod::Years(1))).unwrap();
    put(&f, "locked", "k", Annotations::default()).unwrap();
    let until = NOW + 365 * DAY_MS;
    assert_eq!(annotations(&f, "locked", "k").retention, retain(RetentionMode::Compliance, until));
    let own = retain(RetentionMode::Governance, NOW + 1);
    put(&f, "locked", "k", Annotations { retention: own, ..Annotations::default() }).unwrap();
    assert_eq!(annotations(&f, "locked", "k").retention, own);
    for period in [
        RetentionPeriod::Days(0),
        RetentionPeriod::Days(MAX_RETENTION_DAYS + 1),
        RetentionPeriod::Years(u32::MAX),
    ] {
        assert_eq!(f.run(lock(period)).unwrap_err().kind, ErrorKind::Invalid);
    }
    // The lock stays, and so does versioning.
    let suspend = Command::PutVersioning { bucket: "locked".into(), id, versioning: Versioning::Suspended };
    assert_eq!(f.run(suspend).unwrap_err().kind, ErrorKind::PreconditionFailed);
}

#[test]
fn only_a_bucket_with_versions_is_locked_and_only_a_locked_one_locks() {
    let f = Fixture::new();
    let Ok(Answer::Bucket(bucket)) = f.ask(Query::Bucket { name: "bucket".into() }) else { panic!() };
    let lock = || Command::PutObjectLock { bucket: "bucket".into(), id: bucket.id, default: None };
    let wants = [
        Annotations { legal_hold: Some(false), ..Annotations::default() },
        Annotations { retention: retain(RetentionMode::Governance, NOW + 9), ..Annotations::default() },
    ];
    put(&f, "bucket", "k", Annotations::default()).unwrap();
    for want in wants.clone() {
        assert_eq!(put(&f, "bucket", "k", want), Err(ErrorKind::Invalid));
    }
    assert_eq!(annotate(&f, "bucket", None, Annotate::LegalHold(true), NOW), Err(ErrorKind::Invalid));
    assert_eq!(f.run(lock()).unwrap_err().kind, ErrorKind::PreconditionFailed);
    let enable =
        Command::PutVersioning { bucket: "bucket".into(), id: bucket.id, versioning: Versioning::Enabled };
    f.run(enable).unwrap();
    f.run(lock()).unwrap();
    for want in wants {
        put(&f, "bucket", "k", want).unwrap();
    }
    // An object from before it all can be held too, and is not overwritten.
    assert_eq!(annotate(&f, "bucket", Some(VersionRef::Null), Annotate::LegalHold(true), NOW), Ok(()));
}

#[test]
fn tags_are_few_short_and_of_different_names() {
    let f = Fixture::new();
    put(&f, "bucket", "k", Annotations::default()).unwrap();
    let tag = |name: String, value: String| vec![(name, value)];
    let many = |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect::<Vec<_>>();
    for good in [many(10), tag("é".repeat(128), "é".repeat(256)), vec![]] {
        let asked = Annotations { tags: good.clone(), ..Annotations::default() };
        put(&f, "bucket", "k", asked).unwrap();
        assert_eq!(annotations(&f, "bucket", "k").tags, good);
        annotate(&f, "bucket", None, Annotate::Tags(good.clone()), NOW).unwrap();
        assert_eq!(annotations(&f, "bucket", "k").tags, good);
    }
    let twice = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
    for bad in [
        many(11),
        tag("a".repeat(129), String::new()),
        tag("a".into(), "b".repeat(257)),
        twice,
        tag("".into(), "".into()),
    ] {
        let asked = Annotations { tags: bad.clone(), ..Annotations::default() };
        assert_eq!(put(&f, "bucket", "k", asked), Err(ErrorKind::Invalid));
        assert_eq!(annotate(&f, "bucket", None, Annotate::Tags(bad), NOW), Err(ErrorKind::Invalid));
    }
}

/// What can't be read is an error, never "not locked".
#[test]
fn a_lock_that_cannot_be_read_locks() {
    use crate::state::kv::{Batch, Kv as _};
    use crate::state::txn::Txn;
    let (f, id) = locked();
    let version =
        put(&f, "locked", "k", Annotations { legal_hold: Some(true), ..Annotations::default() }).unwrap();
    let Some(VersionRef::Id(named)) = version else { panic!() };
    let place = keys::object(id, "k", named.slot);
    let mut torn = f.kv.get(&place).unwrap().unwrap();
    torn.pop();
    f.kv.apply(Batch::from([(place, Some(torn))])).unwrap();
    let object = DeleteVersion {
        key: "k".into(),
        version,
        precondition: Precondition::None,
        bypass_governance: true,
        nonce: 1,
    };
    let command =
        Command::DeleteVersions { bucket: "locked".into(), objects: vec![object], now_ms: u64::MAX };
    let error = crate::state::apply(&mut Txn::new(&f.kv), command).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    // The same of the bucket's own settings.
    f.kv.apply(Batch::from([(keys::versioning(id), Some(vec![0xff]))])).unwrap();
    let put = Command::PutVersion {
        bucket: "locked".into(),
        key: "other".into(),
        record: inline("x"),
        annotations: Annotations::default(),
        precondition: Precondition::None,
        now_ms: NOW,
        nonce: 1,
    };
    assert_eq!(crate::state::apply(&mut Txn::new(&f.kv), put).unwrap_err().kind(), ErrorKind::Corrupt);
}
