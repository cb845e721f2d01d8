//! What expires against what is there, looked at in the plainest way.

use super::super::tests::{Fixture, inline, object, part_record, upload_record};
use super::*;
use crate::command::{Annotate, Command, Response};
use crate::lifecycle::{Cover, LifecycleMark};
use crate::object::{Annotations, Body, Extent, Retention, RetentionMode, UploadId, Versioning};
use crate::query::{Answer, Query};
use proptest::prelude::*;
use std::collections::BTreeSet;

const RULES: &str = "rules";
const KEYS: [&str; 3] = ["a", "a\0", "b"];

fn bucket(f: &Fixture) -> u64 {
    let Answer::Bucket(bucket) = f.ask(Query::Bucket { name: "bucket".into() }).unwrap() else { panic!() };
    bucket.id
}

fn with_rules() -> Fixture {
    let f = Fixture::new();
    set_rules(&f, Some(RULES));
    f
}

fn set_rules(f: &Fixture, text: Option<&str>) {
    let text = text.map(str::to_owned);
    let kind = SettingKind::Lifecycle;
    f.run(Command::PutBucketSetting { bucket: "bucket".into(), id: bucket(f), kind, text }).unwrap();
}

fn versioning(f: &Fixture, versioning: Versioning) {
    f.run(Command::PutVersioning { bucket: "bucket".into(), id: bucket(f), versioning }).unwrap();
}

fn put(f: &Fixture, key: &str, text: &str, now_ms: u64, annotations: Annotations) {
    let record = ObjectRecordAt(inline(text), now_ms).at();
    let put = Command::PutVersion {
        bucket: "bucket".into(),
        key: key.into(),
        record,
        annotations,
        precondition: Precondition::None,
        now_ms,
        nonce: now_ms,
    };
    f.run(put).unwrap();
}

struct ObjectRecordAt(crate::object::ObjectRecord, u64);

impl ObjectRecordAt {
    fn at(self) -> crate::object::ObjectRecord {
        crate::object::ObjectRecord { last_modified_ms: self.1, ..self.0 }
    }
}

fn delete_key(f: &Fixture, key: &str, version: Option<VersionRef>, now_ms: u64) {
    let objects = vec![delete(key.into(), version, now_ms)];
    f.run(Command::DeleteVersions { bucket: "bucket".into(), objects, now_ms }).unwrap();
}

fn page(f: &Fixture, list: ListExpirable) -> ExpirablePage {
    let Answer::Expirable(page) = f.ask(Query::ListExpirable(list)).unwrap() else { panic!() };
    page
}

fn all(f: &Fixture) -> Vec<ExpirableVersion> {
    page(f, ListExpirable { bucket: "bucket".into(), limit: 1000, ..ListExpirable::default() }).versions
}

fn expire(f: &Fixture, key: &str, what: Expiring) -> Result<bool, ErrorKind> {
    let things = vec![Expiry { key: key.into(), what }];
    let rules_crc = crc32(RULES.as_bytes());
    let expire = Command::Expire { bucket: "bucket".into(), id: bucket(f), rules_crc, things, now_ms: 900 };
    let Response::Expired(results) = f.run(expire).map_err(|refusal| refusal.kind)? else { panic!() };
    let [result] = <[_; 1]>::try_from(results).unwrap();
    result.map_err(|refusal| refusal.kind)
}

fn tags(value: &str) -> Annotations {
    Annotations { tags: vec![("t".into(), value.into())], ..Annotations::default() }
}

#[test]
fn an_object_that_was_overwritten_or_tagged_since_stays() {
    let f = with_rules();
    put(&f, "a", "one", 10, Annotations::default());
    let seen = all(&f)[0].seen.clone();
    put(&f, "a", "two", 20, Annotations::default());
    assert_eq!(expire(&f, "a", Expiring::Current { seen, nonce: 1 }), Ok(false));
    let seen = all(&f)[0].seen.clone();
    let change = Annotate::Tags(tags("keep").tags);
    let annotate =
        Command::Annotate { bucket: "bucket".into(), key: "a".into(), version: None, change, now_ms: 30 };
    f.run(annotate).unwrap();
    assert_eq!(expire(&f, "a", Expiring::Current { seen, nonce: 1 }), Ok(false));
    // The very same bytes, put again, are another object: its days begin anew.
    let seen = all(&f)[0].seen.clone();
    put(&f, "a", "two", 40, tags("keep"));
    assert_eq!(expire(&f, "a", Expiring::Current { seen, nonce: 1 }), Ok(false));
    let seen = all(&f)[0].seen.clone();
    assert_eq!(expire(&f, "a", Expiring::Current { seen: seen.clone(), nonce: 1 }), Ok(true));
    assert_eq!(expire(&f, "a", Expiring::Current { seen, nonce: 1 }), Ok(false));
    assert_eq!(all(&f), []);
}

#[test]
fn rules_that_changed_or_went_take_nothing_away() {
    let f = with_rules();
    put(&f, "a", "one", 10, Annotations::default());
    let seen = all(&f)[0].seen.clone();
    for rules in [Some("others"), None] {
        set_rules(&f, rules);
        let refused = expire(&f, "a", Expiring::Current { seen: seen.clone(), nonce: 1 });
        assert_eq!(refused, Err(ErrorKind::PreconditionFailed));
    }
    set_rules(&f, Some(RULES));
    let other = Command::Expire {
        bucket: "bucket".into(),
        id: bucket(&f) + 1,
        rules_crc: crc32(RULES.as_bytes()),
        things: vec![],
        now_ms: 1,
    };
    assert_eq!(f.run(other).unwrap_err().kind, ErrorKind::NotFound(Entity::Bucket));
    assert_eq!(expire(&f, "a", Expiring::Current { seen, nonce: 1 }), Ok(true));
}

#[test]
fn what_is_locked_stays_until_it_is_not() {
    let f = with_rules();
    versioning(&f, Versioning::Enabled);
    let lock = Command::PutObjectLock { bucket: "bucket".into(), id: bucket(&f), default: None };
    f.run(lock).unwrap();
    let until = |until_ms| Annotations {
        retention: Some(Retention { mode: RetentionMode::Governance, until_ms }),
        ..Annotations::default()
    };
    put(&f, "held", "x", 10, Annotations { legal_hold: Some(true), ..Annotations::default() });
    put(&f, "kept", "x", 10, until(901));
    put(&f, "over", "x", 10, until(900));
    for key in ["held", "kept", "over"] {
        put(&f, key, "newer", 20, Annotations::default());
    }
    let outcome = |key: &str| {
        let old = all(&f).into_iter().rfind(|version| version.key == key).unwrap();
        let under = cover(&all(&f), key);
        expire(&f, key, Expiring::Noncurrent { seen: old.seen, under, newer: 0 })
    };
    assert_eq!(outcome("held"), Err(ErrorKind::InUse(Entity::Version)));
    assert_eq!(outcome("kept"), Err(ErrorKind::InUse(Entity::Version)));
    assert_eq!(outcome("over"), Ok(true));
    let locks: Vec<_> = all(&f).into_iter().map(|version| (version.key, version.locked_until_ms)).collect();
    let expected =
        [("held", None), ("held", Some(u64::MAX)), ("kept", None), ("kept", Some(901)), ("over", None)];
    assert_eq!(locks, expected.map(|(key, lock)| (key.to_owned(), lock)));
    // A lock is no obstacle to a delete marker over it.
    delete_key(&f, "held", Some(all(&f)[0].seen.version), 30);
    let held = all(&f)[0].seen.clone();
    assert_eq!(expire(&f, "held", Expiring::Current { seen: held, nonce: 5 }), Ok(true));
    assert!(all(&f)[0].seen.marker && all(&f)[1].locked_until_ms == Some(u64::MAX));
    let marker = all(&f)[0].seen.clone();
    assert_eq!(expire(&f, "held", Expiring::LoneMarker { seen: marker }), Ok(false));
}

#[test]
fn uploads_go_with_their_parts_and_once() {
    let f = with_rules();
    let id = UploadId([7; 16]);
    let upload = upload_record("a", id);
    f.run(Command::CreateUpload { bucket: "bucket".into(), upload }).unwrap();
    let extent: Extent = f.extent(4096);
    let part = part_record(1, ("e", 4096), vec![extent]);
    f.run(Command::PutPart { bucket: "bucket".into(), key: "a".into(), upload: id, part }).unwrap();
    assert_eq!(expire(&f, "b", Expiring::Upload { upload: id }), Ok(false));
    assert_eq!(expire(&f, "a", Expiring::Upload { upload: id }), Ok(true));
    assert_eq!(expire(&f, "a", Expiring::Upload { upload: id }), Ok(false));
    assert_eq!((f.referenced(), f.garbage()), (BTreeSet::new(), BTreeSet::from([extent])));
}

#[test]
fn one_worker_holds_the_work_until_it_is_silent() {
    let f = Fixture::new();
    let keep = |worker, progress, now_ms| {
        let Response::Lifecycle(record) = f.run(Command::KeepLifecycle { worker, progress, now_ms }).unwrap()
        else {
            panic!()
        };
        record
    };
    let at = |key: &str| LifecycleProgress {
        began_ms: Some(7),
        mark: Some(LifecycleMark {
            bucket: "bucket".into(),
            stage: LifecycleStage::Versions { after_key: Some(key.into()) },
        }),
        ended_ms: None,
    };
    // Who does not hold it yet has no progress to tell.
    let first = keep(1, Some(at("lie")), 1000);
    assert_eq!((first.worker, first.progress), (1, LifecycleProgress::default()));
    assert_eq!(keep(1, Some(at("k")), 2000).until_ms, 2000 + LIFECYCLE_LEASE_MS);
    let other = keep(2, Some(at("lie")), 2000 + LIFECYCLE_LEASE_MS - 1);
    assert_eq!((other.worker, other.progress), (1, at("k")));
    let taken = keep(2, Some(at("lie")), 2000 + LIFECYCLE_LEASE_MS);
    assert_eq!((taken.worker, taken.progress), (2, at("k")), "it goes on where the other was");
    assert_eq!(keep(1, Some(at("late")), 2001 + LIFECYCLE_LEASE_MS).worker, 2);
    // A clock that is put back does not hold the work up.
    assert_eq!(keep(1, None, 10).worker, 1);
    let Answer::Lifecycle(record) = f.ask(Query::Lifecycle).unwrap() else { panic!() };
    assert_eq!((record.worker, record.progress), (1, at("k")));
    let long = Command::KeepLifecycle { worker: 1, progress: Some(at(&"k".repeat(1025))), now_ms: 11 };
    assert_eq!(f.run(long).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn golden_bytes_never_change() {
    let bytes = |command: &Command| hex::encode(postcard::to_stdvec(command).unwrap());
    let mark = LifecycleMark { bucket: "b".into(), stage: LifecycleStage::Uploads };
    let progress = LifecycleProgress { began_ms: Some(1), mark: Some(mark.clone()), ended_ms: None };
    let keep = Command::KeepLifecycle { worker: 5, progress: Some(progress.clone()), now_ms: 2 };
    assert_eq!(bytes(&keep)[2..], *"05010101010162010002");
    let seen = SeenVersion {
        version: VersionRef::Null,
        marker: false,
        size: 3,
        etag: "e".into(),
        last_modified_ms: 4,
        tags: vec![("t".into(), "v".into())],
    };
    let under = Cover { version: VersionRef::Null, last_modified_ms: 7 };
    let what = [
        (Expiring::Current { seen: seen.clone(), nonce: 6 }, "00000003016504010174017606"),
        (Expiring::Noncurrent { seen: seen.clone(), under, newer: 8 }, "010000030165040101740176000708"),
        (Expiring::LoneMarker { seen }, "020000030165040101740176"),
        (Expiring::Upload { upload: UploadId([7; 16]) }, "0307070707070707070707070707070707"),
    ];
    for (what, expected) in what {
        let things = vec![Expiry { key: "k".into(), what }];
        let expire = Command::Expire { bucket: "b".into(), id: 5, rules_crc: 1, things, now_ms: 2 };
        assert_eq!(bytes(&expire)[2..], format!("0162050101016b{expected}02"));
    }
    let record = LifecycleRecord { worker: 5, until_ms: 6, progress };
    assert_eq!(hex::encode(postcard::to_stdvec(&record).unwrap()), "0506010101016201".to_owned() + "00");
}

/// What is newest of a key.
fn cover(there: &[ExpirableVersion], key: &str) -> Cover {
    let newest = &there.iter().find(|version| version.key == key).unwrap().seen;
    Cover { version: newest.version, last_modified_ms: newest.last_modified_ms }
}

/// A version whose cover went was the newest in between, whatever covers it now.
#[test]
fn a_version_that_was_the_newest_again_meanwhile_stays() {
    let f = with_rules();
    versioning(&f, Versioning::Enabled);
    put(&f, "a", "one", 10, Annotations::default());
    put(&f, "a", "two", 20, Annotations::default());
    let look = all(&f);
    let noncurrent =
        || Expiring::Noncurrent { seen: look[1].seen.clone(), under: cover(&look, "a"), newer: 0 };
    delete_key(&f, "a", Some(look[0].seen.version), 30);
    assert_eq!(expire(&f, "a", noncurrent()), Ok(false), "it is the newest");
    put(&f, "a", "three", 40, Annotations::default());
    assert_eq!(expire(&f, "a", noncurrent()), Ok(false), "its days begin with what covers it now");
    let under = cover(&all(&f), "a");
    let now = Expiring::Noncurrent { seen: look[1].seen.clone(), under, newer: 0 };
    assert_eq!(expire(&f, "a", now), Ok(true));
}

#[derive(Debug, Clone)]
enum Op {
    Put {
        key: usize,
        logged: bool,
    },
    Delete {
        key: usize,
        version: Option<usize>,
    },
    Tag {
        key: usize,
    },
    Enable,
    Suspend,
    Look,
    /// Has something that some look saw expire.
    Expire {
        look: usize,
        entry: usize,
        kind: u8,
        newer: u32,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = 0..KEYS.len();
    let op = prop_oneof![
        4 => (key.clone(), any::<bool>()).prop_map(|(key, logged)| Op::Put { key, logged }),
        2 => (key.clone(), prop::option::of(0usize..4)).prop_map(|(key, version)| Op::Delete { key, version }),
        1 => key.prop_map(|key| Op::Tag { key }),
        1 => Just(Op::Enable),
        1 => Just(Op::Suspend),
        2 => Just(Op::Look),
        6 => (0usize..4, 0usize..8, 0u8..3, 0u32..3)
            .prop_map(|(look, entry, kind, newer)| Op::Expire { look, entry, kind, newer }),
    ];
    prop::collection::vec(op, 0..60)
}

/// Whether it may go, from all that is there.
fn may_go(there: &[ExpirableVersion], key: &str, what: &Expiring) -> bool {
    let versions: Vec<&SeenVersion> =
        there.iter().filter(|version| version.key == key).map(|version| &version.seen).collect();
    let place = |seen: &SeenVersion| versions.iter().position(|there| *there == seen);
    match what {
        Expiring::Current { seen, .. } => place(seen) == Some(0) && !seen.marker,
        Expiring::Noncurrent { seen, under, newer } => place(seen).is_some_and(|at| {
            at > *newer as usize
                && versions[..at].iter().any(|above| {
                    above.version == under.version && above.last_modified_ms == under.last_modified_ms
                })
        }),
        Expiring::LoneMarker { seen } => place(seen) == Some(0) && seen.marker && versions.len() == 1,
        Expiring::Upload { .. } => panic!(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn only_what_is_as_it_was_seen_expires(ops in ops()) {
        let f = with_rules();
        let mut looks: Vec<Vec<ExpirableVersion>> = vec![vec![]];
        let mut state = Versioning::Off;
        for (now, op) in ops.into_iter().enumerate() {
            let now_ms = 1 + now as u64 / 2;
            match op {
                Op::Put { key, logged: false } => put(&f, KEYS[key], "x", now_ms, Annotations::default()),
                Op::Put { key, logged: true } => {
                    let extents = Body::Extents(vec![f.extent(4096)]);
                    let record = ObjectRecordAt(object("e", extents, 4096), now_ms).at();
                    f.run(Command::PutVersion {
                        bucket: "bucket".into(), key: KEYS[key].into(), record,
                        annotations: Annotations::default(), precondition: Precondition::None,
                        now_ms, nonce: now as u64,
                    }).unwrap();
                }
                Op::Delete { key, version } => {
                    let named = version.and_then(|at| {
                        all(&f).into_iter().filter(|v| v.key == KEYS[key]).nth(at).map(|v| v.seen.version)
                    });
                    delete_key(&f, KEYS[key], named, now_ms);
                }
                Op::Tag { key } => {
                    let _ = f.run(Command::Annotate {
                        bucket: "bucket".into(), key: KEYS[key].into(), version: None,
                        change: Annotate::Tags(tags(&now.to_string()).tags), now_ms,
                    });
                }
                Op::Enable => { versioning(&f, Versioning::Enabled); state = Versioning::Enabled }
                Op::Suspend => { versioning(&f, Versioning::Suspended); state = Versioning::Suspended }
                Op::Look => looks.push(all(&f)),
                Op::Expire { look, entry, kind, newer } => {
                    let look = &looks[look % looks.len()];
                    let Some(ExpirableVersion { key, seen, .. }) = look.get(entry).cloned() else { continue };
                    let under = cover(look, &key);
                    let what = match kind {
                        0 => Expiring::Current { seen: seen.clone(), nonce: now as u64 },
                        1 => Expiring::Noncurrent { seen: seen.clone(), under, newer },
                        _ => Expiring::LoneMarker { seen: seen.clone() },
                    };
                    let before = all(&f);
                    let expected = may_go(&before, &key, &what);
                    prop_assert_eq!(expire(&f, &key, what.clone()), Ok(expected), "{:?} of {:?}", what, before);
                    let after = all(&f);
                    if !expected {
                        prop_assert_eq!(before, after);
                        continue;
                    }
                    // Where versions are kept, a current one is only covered.
                    let covered = kind == 0 && (state == Versioning::Enabled
                        || (state == Versioning::Suspended && seen.version != VersionRef::Null));
                    let is_it = |v: &ExpirableVersion| v.key == key && v.seen == seen;
                    let new = |v: &&ExpirableVersion| before.iter().all(|b| b.key != v.key || b.seen != v.seen);
                    prop_assert_eq!(after.iter().any(is_it), covered);
                    let others = |list: &[ExpirableVersion]| -> Vec<ExpirableVersion> {
                        list.iter().filter(|v| !is_it(v) && before.contains(v)).cloned().collect()
                    };
                    let gone_null = |v: &ExpirableVersion| {
                        kind == 0 && state == Versioning::Suspended && v.key == key
                            && v.seen.version == VersionRef::Null
                    };
                    let kept: Vec<ExpirableVersion> =
                        others(&before).into_iter().filter(|v| !gone_null(v)).collect();
                    prop_assert_eq!(others(&after).into_iter().filter(|v| !gone_null(v)).collect::<Vec<_>>(), kept);
                    let made: Vec<&ExpirableVersion> = after.iter().filter(new).collect();
                    let markers = usize::from(kind == 0 && state != Versioning::Off);
                    prop_assert_eq!(made.len(), markers);
                    prop_assert!(made.iter().all(|v| v.seen.marker && v.key == key));
                }
            }
        }
        let whole = all(&f);
        for limit in 1..4 {
            let (mut pages, mut after) = (Vec::new(), None);
            loop {
                let list = ListExpirable { bucket: "bucket".into(), prefix: "a".into(), after, limit };
                let found = page(&f, list);
                pages.extend(found.versions);
                if !found.more { break }
                after = pages.last().map(|last| (last.key.clone(), Some(last.slot)));
            }
            let with_prefix: Vec<_> = whole.iter().filter(|v| v.key.starts_with('a')).cloned().collect();
            prop_assert_eq!(pages, with_prefix);
        }
        let list = ListExpirable {
            bucket: "bucket".into(), prefix: String::new(), after: Some(("a".into(), None)), limit: 1000,
        };
        let past: Vec<_> = whole.iter().filter(|v| v.key.as_str() > "a").cloned().collect();
        prop_assert_eq!(page(&f, list).versions, past);
    }
}
