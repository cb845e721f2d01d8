use super::super::tests::Fixture;
use super::*;
use crate::command::Change;
use crate::identity::Sealed;
use crate::lifecycle::{Expiring, Expiry, SeenVersion};
use crate::object::{Annotations, Body, ObjectRecord, Precondition, StoredHeaders, Versioning};
use crate::query::{Answer, Query};
use bytes::Bytes;
use proto::checksum::crc32;

const CREATED: u32 = EventKind::CreatedPut.bit() | EventKind::CreatedComplete.bit();
const REMOVED: u32 = EventKind::RemovedDelete.bit() | EventKind::RemovedMarker.bit();

fn webhook(name: &str) -> WebhookRecord {
    WebhookRecord {
        id: 0,
        name: name.into(),
        url: "http://127.0.0.1:1/".into(),
        token: Some(Sealed(vec![1, 2])),
        account: None,
        created_ms: 1,
    }
}

fn route(webhook: &str, kinds: u32, prefix: &str) -> EventRoute {
    EventRoute {
        webhook: webhook.into(),
        configuration: format!("to {webhook}"),
        kinds,
        prefix: prefix.into(),
        suffix: String::new(),
    }
}

fn bucket_id(f: &Fixture) -> u64 {
    let Answer::Bucket(bucket) = f.ask(Query::Bucket { name: "bucket".into() }).unwrap() else { panic!() };
    bucket.id
}

fn configure_with(f: &Fixture, text: Option<&str>, routes: Vec<EventRoute>) -> Result<Response, Refusal> {
    let (bucket, text, by) = ("bucket".into(), text.map(str::to_owned), EventBy::default());
    f.run(Command::PutNotifications { bucket, id: bucket_id(f), text, routes, by, now_ms: 5 })
}

fn put_of(key: &str) -> Command {
    Command::PutVersion {
        bucket: "bucket".into(),
        key: key.into(),
        record: ObjectRecord {
            size: 3,
            etag: "e".into(),
            last_modified_ms: 7,
            headers: StoredHeaders::default(),
            user_metadata: vec![],
            checksums: vec![],
            part_sizes: vec![],
            body: Body::Inline(Bytes::from_static(b"abc")),
        },
        annotations: Annotations::default(),
        precondition: Precondition::None,
        now_ms: 9,
        nonce: 1,
    }
}

fn told_as(change: Command, kind: EventKind) -> Command {
    let by = EventBy { principal: "AWS:me".into(), source: "::1".into(), ..EventBy::default() };
    Command::Told { change: Change(Box::new(change)), cause: EventCause { kind, by } }
}

fn delete_of(key: &str, version: Option<VersionRef>) -> Command {
    let precondition = Precondition::None;
    let object = DeleteVersion { key: key.into(), version, precondition, bypass_governance: false, nonce: 2 };
    Command::DeleteVersions { bucket: "bucket".into(), objects: vec![object], now_ms: 10 }
}

fn status(f: &Fixture) -> Vec<WebhookStatus> {
    let Answer::Webhooks(found) = f.ask(Query::Webhooks).unwrap() else { panic!() };
    found
}

fn rows(f: &Fixture, webhook: u64) -> Vec<EventRow> {
    let Answer::Events(rows) = f.ask(Query::Events { webhook, after: 0, limit: u32::MAX }).unwrap() else {
        panic!()
    };
    rows
}

fn kinds(f: &Fixture, webhook: u64) -> Vec<(EventKind, String)> {
    rows(f, webhook).into_iter().map(|row| (row.kind, row.key)).collect()
}

/// Two webhooks, numbered 1 and 2, and a bucket that tells them.
fn told_bucket() -> Fixture {
    let f = Fixture::new();
    f.run(Command::AddWebhook(webhook("a"))).unwrap();
    f.run(Command::AddWebhook(webhook("b"))).unwrap();
    configure_with(&f, Some("<x/>"), vec![route("a", CREATED, "k"), route("b", REMOVED, "")]).unwrap();
    for id in [1, 2] {
        assert_eq!(kinds(&f, id), [(EventKind::Test, String::new())]);
        let done = rows(&f, id).iter().map(|row| row.seq).collect();
        let settled = Settled { done, ..Settled::default() };
        f.run(Command::SettleEvents { webhook: id, settled, now_ms: 6 }).unwrap();
    }
    f
}

#[test]
fn a_change_and_its_row_are_one_step() {
    let f = told_bucket();
    f.run(told_as(put_of("k1"), EventKind::CreatedPut)).unwrap();
    f.run(told_as(put_of("other"), EventKind::CreatedPut)).unwrap();
    f.run(told_as(put_of("k2"), EventKind::CreatedCopy)).unwrap();
    let found = rows(&f, 1);
    assert_eq!(found.len(), 1, "neither another prefix nor another kind: {found:?}");
    let row = &found[0];
    assert_eq!(
        (row.key.as_str(), row.size, row.etag.as_deref(), row.version),
        ("k1", Some(3), Some("e"), None)
    );
    assert_eq!((row.time_ms, row.bucket.as_str(), row.by.principal.as_str()), (9, "bucket", "AWS:me"));
    assert_eq!((row.configuration.as_str(), row.owner.as_str()), ("to a", account_of("root")));
    // A change that is refused tells nobody.
    let mut refused = put_of("k1");
    if let Command::PutVersion { precondition, .. } = &mut refused {
        *precondition = Precondition::IfNoneMatchAny;
    }
    let refusal = f.run(told_as(refused, EventKind::CreatedPut)).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::PreconditionFailed);
    assert_eq!(rows(&f, 1), found);
    f.run(told_as(delete_of("k1", None), EventKind::RemovedDelete)).unwrap();
    f.run(told_as(delete_of("k1", None), EventKind::RemovedDelete)).unwrap();
    assert_eq!(kinds(&f, 2), [(EventKind::RemovedDelete, "k1".to_owned())], "the second changed nothing");
    let sequence = [rows(&f, 1)[0].seq, rows(&f, 2)[0].seq];
    assert!(sequence[0] < sequence[1]);
    // Only changes to objects can be told.
    let nothing = told_as(Command::DeleteBucket { name: "bucket".into() }, EventKind::CreatedPut);
    assert_eq!(f.run(nothing).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn markers_and_versions_are_told_apart() {
    let f = told_bucket();
    let id = bucket_id(&f);
    let enable = Command::PutVersioning { bucket: "bucket".into(), id, versioning: Versioning::Enabled };
    f.run(enable).unwrap();
    let Response::Version(Some(version)) = f.run(told_as(put_of("k"), EventKind::CreatedPut)).unwrap() else {
        panic!()
    };
    assert_eq!(rows(&f, 1)[0].version, Some(version));
    f.run(told_as(delete_of("k", None), EventKind::RemovedDelete)).unwrap();
    let marker = rows(&f, 2)[0].version;
    assert!(marker.is_some() && marker != Some(version));
    f.run(told_as(delete_of("k", marker), EventKind::RemovedDelete)).unwrap();
    f.run(told_as(delete_of("k", Some(version)), EventKind::RemovedDelete)).unwrap();
    let told: Vec<_> = rows(&f, 2).into_iter().map(|row| (row.kind, row.version)).collect();
    let (made, gone) = (EventKind::RemovedMarker, EventKind::RemovedDelete);
    assert_eq!(told, [(made, marker), (gone, marker), (gone, Some(version))]);
}

#[test]
fn what_expires_is_told() {
    let f = told_bucket();
    let kinds_of_expiry = EventKind::ExpiredDelete.bit();
    configure_with(&f, Some("<x/>"), vec![route("a", kinds_of_expiry, "")]).unwrap();
    f.run(put_of("k")).unwrap();
    let (kind, text) = (SettingKind::Lifecycle, Some("rules".to_owned()));
    let id = bucket_id(&f);
    f.run(Command::PutBucketSetting { bucket: "bucket".into(), id, kind, text }).unwrap();
    let seen = SeenVersion {
        version: VersionRef::Null,
        marker: false,
        size: 3,
        etag: "e".into(),
        last_modified_ms: 7,
        tags: vec![],
    };
    let things = vec![Expiry { key: "k".into(), what: Expiring::Current { seen, nonce: 3 } }];
    let expire =
        Command::Expire { bucket: "bucket".into(), id, rules_crc: crc32(b"rules"), things, now_ms: 11 };
    f.run(expire.clone()).unwrap();
    f.run(expire).unwrap();
    let last = rows(&f, 1).pop().unwrap();
    assert_eq!(
        (last.kind, last.key.as_str(), last.by.principal.as_str()),
        (EventKind::ExpiredDelete, "k", EXPIRER)
    );
    assert_eq!(kinds(&f, 1).len(), 2, "the test, and one expiry");
}

#[test]
fn rows_go_when_they_are_settled_and_are_counted_once() {
    let f = told_bucket();
    for key in ["k1", "k2", "k3"] {
        f.run(told_as(put_of(key), EventKind::CreatedPut)).unwrap();
    }
    let seqs: Vec<u64> = rows(&f, 1).iter().map(|row| row.seq).collect();
    let settled =
        Settled { done: vec![seqs[0]], expired: vec![seqs[1]], trouble: Some("no answer ".repeat(1000)) };
    for _ in 0..2 {
        f.run(Command::SettleEvents { webhook: 1, settled: settled.clone(), now_ms: 12 }).unwrap();
    }
    let found = &status(&f)[0];
    let state = &found.state;
    assert_eq!((state.backlog, state.delivered, state.dropped_old, state.dropped_full), (1, 2, 1, 0));
    assert!(state.trouble.starts_with("no answer") && state.trouble.len() <= MAX_WHY_BYTES);
    assert_eq!((state.delivered_ms, state.failed_ms, found.oldest_ms), (12, 12, Some(9)));
    assert_eq!(rows(&f, 1).len(), 1);
    let Answer::Events(none) = f.ask(Query::Events { webhook: 1, after: seqs[2], limit: 1 }).unwrap() else {
        panic!()
    };
    assert!(none.is_empty());
    // Of a webhook that is not there any more.
    f.run(Command::SettleEvents { webhook: 77, settled, now_ms: 12 }).unwrap();
}

#[test]
fn the_oldest_gives_way_where_there_are_too_many() {
    let f = told_bucket();
    f.run(told_as(put_of("k1"), EventKind::CreatedPut)).unwrap();
    // As if so many were there: the count is what is looked at.
    let mut txn = Txn::new(&f.kv);
    let state = WebhookState { backlog: MAX_EVENTS, ..WebhookState::default() };
    txn.put(keys::webhook_state(1), &state).unwrap();
    super::super::kv::Kv::apply(&f.kv, txn.into_batch()).unwrap();
    f.run(told_as(put_of("k2"), EventKind::CreatedPut)).unwrap();
    assert_eq!(kinds(&f, 1), [(EventKind::CreatedPut, "k2".to_owned())]);
    let state = status(&f)[0].state.clone();
    assert_eq!((state.backlog, state.dropped_full), (MAX_EVENTS, 1));
}

#[test]
fn webhooks_are_there_while_buckets_name_them() {
    let f = told_bucket();
    let refused = |command: Command| f.run(command).unwrap_err().kind;
    assert_eq!(refused(Command::AddWebhook(webhook("a"))), ErrorKind::Exists(Entity::Webhook));
    for bad in [webhook("A"), WebhookRecord { url: String::new(), ..webhook("c") }] {
        assert_eq!(refused(Command::AddWebhook(bad)), ErrorKind::Invalid);
    }
    let remove = |name: &str| Command::RemoveWebhook { name: name.into() };
    assert_eq!(refused(remove("a")), ErrorKind::InUse(Entity::Webhook));
    assert_eq!(refused(remove("c")), ErrorKind::NotFound(Entity::Webhook));
    let unknown = configure_with(&f, Some("<x/>"), vec![route("c", CREATED, "")]).unwrap_err();
    assert_eq!(unknown.kind, ErrorKind::NotFound(Entity::Webhook));
    let theirs = WebhookRecord { account: Some("111122223333".into()), ..webhook("theirs") };
    f.run(Command::AddWebhook(theirs)).unwrap();
    let other = configure_with(&f, Some("<x/>"), vec![route("theirs", CREATED, "")]).unwrap_err();
    assert_eq!(other.kind, ErrorKind::NotFound(Entity::Webhook));
    f.run(told_as(put_of("k"), EventKind::CreatedPut)).unwrap();
    configure_with(&f, None, vec![]).unwrap();
    let Answer::BucketSetting(setting) =
        f.ask(Query::BucketSetting { bucket: "bucket".into(), kind: SettingKind::Notification }).unwrap()
    else {
        panic!()
    };
    assert_eq!(setting.text, None);
    f.run(told_as(put_of("k"), EventKind::CreatedPut)).unwrap();
    assert_eq!(rows(&f, 1).len(), 1, "what was told before still goes");
    assert_eq!(f.run(remove("a")).unwrap(), Response::Left(0));
    assert_eq!(rows(&f, 1), []);
    // Another of that name is another.
    f.run(Command::AddWebhook(webhook("a"))).unwrap();
    assert_eq!(status(&f)[0].record.id, 4);
}

#[test]
fn a_bucket_takes_its_routes_with_it() {
    let f = told_bucket();
    let Answer::BucketAccess(access) = f.ask(Query::BucketAccess { name: "bucket".into() }).unwrap() else {
        panic!()
    };
    assert!(access.notifies);
    f.run(Command::DeleteBucket { name: "bucket".into() }).unwrap();
    assert_eq!(f.kv.get(&keys::routes(access.bucket.id)).unwrap(), None);
    assert_eq!(f.run(Command::RemoveWebhook { name: "a".into() }).unwrap(), Response::Left(0));
}

#[test]
fn one_worker_posts_until_it_falls_silent() {
    let f = Fixture::new();
    let keep = |worker, now_ms| match f.run(Command::KeepEvents { worker, now_ms }).unwrap() {
        Response::EventKeeper(keeper) => keeper.worker,
        other => panic!("{other:?}"),
    };
    assert_eq!(keep(1, 1000), 1);
    assert_eq!(keep(2, 1000 + EVENT_LEASE_MS - 1), 1);
    assert_eq!(keep(2, 1000 + EVENT_LEASE_MS), 2);
    assert_eq!(keep(1, 1000 + EVENT_LEASE_MS + 1), 2);
    // The clock was put back.
    assert_eq!(keep(1, 500), 1);
}

#[test]
fn golden_bytes_never_change() {
    let bytes = |value: Vec<u8>| hex::encode(value);
    let row = EventRow {
        seq: 300,
        kind: EventKind::RemovedMarker,
        configuration: "c".into(),
        bucket: "b".into(),
        owner: "o".into(),
        key: "k".into(),
        version: Some(VersionRef::Null),
        size: Some(5),
        etag: None,
        time_ms: 9,
        by: EventBy { principal: "p".into(), source: "s".into(), request: "r".into(), host: "h".into() },
    };
    let expected = "ac0205016301620\
                    16f016b0100010500090170017301720168";
    assert_eq!(bytes(postcard::to_stdvec(&row).unwrap()), expected);
    let record = WebhookRecord { id: 2, account: Some("a".into()), ..webhook("w") };
    let expected = "0201771368747470 3a2f2f3132372e302e302e313a312f 01020102 010161 01";
    assert_eq!(bytes(postcard::to_stdvec(&record).unwrap()), expected.replace(' ', ""));
    let state = WebhookState { backlog: 1, delivered: 2, trouble: "t".into(), ..WebhookState::default() };
    assert_eq!(bytes(postcard::to_stdvec(&state).unwrap()), "0102000000000174");
    let routes = RoutesRecord { bucket: "b".into(), routes: vec![route("w", 3, "p")] };
    assert_eq!(
        bytes(postcard::to_stdvec(&routes).unwrap()),
        "01620101770474 6f20770301 7000".replace(' ', "")
    );
    let all = [EventKind::CreatedPut, EventKind::ExpiredMarker, EventKind::Test, EventKind::AclPut];
    assert_eq!(all.map(EventKind::bit), [1, 1 << 9, 1 << 10, 1 << 11]);
}

/// A stack's depth is nothing that a sender says.
#[test]
fn a_change_within_a_change_is_refused_before_it_is_read() {
    let told = told_as(delete_of("k", None), EventKind::RemovedDelete);
    let bytes = postcard::to_stdvec(&told).unwrap();
    assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), told);
    let tag = bytes[0];
    assert!(tag < 128, "one byte says which command it is");
    assert!(postcard::from_bytes::<Command>(&vec![tag; 1 << 20]).is_err());
    let twice = postcard::to_stdvec(&told_as(told.clone(), EventKind::RemovedDelete)).unwrap();
    assert!(postcard::from_bytes::<Command>(&twice).is_err());
    assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), told, "as before");
}
