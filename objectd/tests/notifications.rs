//! Notifications on a real store, to real HTTP servers: what fails is posted again, in order, by whoever lives; a dead
//! webhook holds nobody else up; and what happens is told as AWS names it.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/hook.rs"]
mod hook;
#[path = "support/life.rs"]
mod life;
mod support;

use hook::{Hook, Posted};
use life::{Life, TOKEN};
use meta::event::WebhookRecord;
use objectd::auth::seal::Sealer;
use objectd::events::of_webhook;
use rt::clock::{Clock, SystemClock};
use rt::rng::SystemRng;
use std::collections::BTreeMap;
use std::time::Duration;
use support::{Client, Response};

const DISK: u64 = 1 << 30;
const ALL: [&str; 4] = ["ObjectCreated", "ObjectRemoved", "ObjectTagging", "LifecycleExpiration"];

fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{:?}\n{}", response.headers, response.text());
}

async fn put(client: &Client, target: &str, body: &[u8], headers: &[(&str, &str)]) -> Response {
    let answer = client.send_with("PUT", target, headers, body).await;
    expect(&answer, 200);
    answer
}

async fn add(store: &Life, name: &str, url: String) {
    let token = Sealer::new(&TOKEN).seal(&mut SystemRng, &of_webhook(name), "a-token-of-tests");
    let (name, token) = (name.to_owned(), Some(token));
    let record = WebhookRecord { id: 0, name, url, token, account: None, created_ms: 1 };
    store.meta.add_webhook(record).await.unwrap();
}

fn queue(webhook: &str, events: &[&str], prefix: &str) -> String {
    let events: String = events.iter().map(|event| format!("<Event>s3:{event}:*</Event>")).collect();
    format!(
        "<QueueConfiguration><Id>{webhook}{prefix}</Id><Queue>arn:aws:sqs:ashlar-1::{webhook}</Queue>{events}<Filter>\
         <S3Key><FilterRule><Name>prefix</Name><Value>{prefix}</Value></FilterRule></S3Key></Filter></QueueConfiguration>"
    )
}

async fn configure(client: &Client, bucket: &str, configurations: &[String]) -> Response {
    let text = format!("<NotificationConfiguration>{}</NotificationConfiguration>", configurations.concat());
    client.put(&format!("/{bucket}?notification"), text.as_bytes()).await
}

async fn wait_for_backlog(store: &Life, wanted: u64) {
    let mut found = Vec::new();
    for _ in 0..600 {
        found = store.meta.webhooks().await.unwrap();
        if found.iter().map(|webhook| webhook.state.backlog).sum::<u64>() == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never {wanted} events: {found:?}");
}

/// Events of each key as they were first taken, and that each key's went up in order.
fn by_key(posted: &[Posted]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for posted in posted.iter().filter(|posted| posted.status == 200 && posted.named() != "s3:TestEvent") {
        let record = &posted.body["Records"][0];
        let object = &record["s3"]["object"];
        let said = (
            object["sequencer"].as_str().unwrap().to_owned(),
            record["eventName"].as_str().unwrap().to_owned(),
        );
        let events = found.entry(object["key"].as_str().unwrap().to_owned()).or_default();
        if !events.contains(&said) {
            assert!(events.last().is_none_or(|last| last.0 < said.0), "out of order: {events:?}, {said:?}");
            events.push(said);
        }
    }
    found.into_iter().map(|(key, events)| (key, events.into_iter().map(|(_, name)| name).collect())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_first_is_told_in_order_later() {
    let store = Life::create(DISK).await;
    let client = store.client();
    let hook = Hook::start(500).await;
    // Nobody listens there any more.
    let dead = Hook::start(200).await.url();
    add(&store, "hook", hook.url()).await;
    add(&store, "dead", dead).await;
    let well = Hook::start(200).await;
    add(&store, "well", well.url()).await;
    for bucket in ["/buc", "/quiet"] {
        put(&client, bucket, b"", &[]).await;
    }
    let created =
        [queue("hook", &ALL[..2], "a/"), queue("dead", &ALL[..1], "d/"), queue("well", &ALL[..1], "w/")];
    expect(&configure(&client, "buc", &created).await, 200);
    let kept = client.get("/buc?notification").await;
    expect(&kept, 200);
    assert!(kept.text().contains("<Queue>arn:aws:sqs:ashlar-1::dead</Queue>"), "{}", kept.text());
    assert!(!client.get("/quiet?notification").await.text().contains("<Queue>"));
    // Those that fail don't hold up the one that doesn't.
    put(&client, "/buc/d/1", b"1", &[]).await;
    put(&client, "/buc/w/1", b"1", &[]).await;
    well.wait("the well one", |posted| posted.len() == 2).await;
    // Which of the two came first is not promised: only one key's events have an order.
    let mut taken = well.taken();
    taken.sort();
    assert_eq!(taken, ["ObjectCreated:Put w/1", "s3:TestEvent"]);
    for round in 0..3 {
        put(&client, "/buc/a/x", &[round; 10], &[]).await;
        put(&client, "/buc/a/y%20z", &[round; 20], &[]).await;
    }
    expect(&client.delete("/buc/a/x").await, 204);
    put(&client, "/buc/other", b"", &[]).await;
    put(&client, "/quiet/a/x", b"", &[]).await;
    hook.wait("a try that fails", |posted| posted.len() > 2).await;
    assert!(hook.taken().is_empty());
    let waits = store.meta.webhooks().await.unwrap();
    let state = &waits.iter().find(|webhook| webhook.record.name == "hook").unwrap().state;
    assert!(state.trouble.contains("500") && state.delivered == 0, "{state:?}");
    hook.answer(200);
    // The test and what is the dead one's go on waiting.
    wait_for_backlog(&store, 2).await;
    let put_events = ["ObjectCreated:Put"; 3];
    let told = by_key(&hook.posted());
    assert_eq!(told["a/x"], [&put_events[..], &["ObjectRemoved:Delete"]].concat());
    assert_eq!(told["a/y+z"], put_events);
    assert_eq!(told.len(), 2);
    assert!(hook.taken().contains(&"s3:TestEvent".to_owned()));
    let posted = hook.posted();
    assert!(posted.iter().all(|posted| posted.token.as_deref() == Some("Bearer a-token-of-tests")));
    let last = posted.iter().rfind(|posted| posted.named() == "ObjectCreated:Put a/y+z").unwrap();
    let record = &last.body["Records"][0];
    assert_eq!(
        (&record["s3"]["object"]["size"], &record["s3"]["configurationId"]),
        (&20.into(), &"hooka/".into())
    );
    assert_eq!(
        (&record["requestParameters"]["sourceIPAddress"], &record["userIdentity"]["principalId"]),
        (&"127.0.0.1".into(), &"AWS:tester".into())
    );
    assert!(!record["responseElements"]["x-amz-request-id"].as_str().unwrap().is_empty());
    let failed: u64 = store.metric("ashlar_s3_notifications_total{outcome=\"failed\"}").parse().unwrap();
    let taken: u64 = store.metric("ashlar_s3_notifications_total{outcome=\"taken\"}").parse().unwrap();
    assert!(failed > 0 && taken >= 10, "{failed} {taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_told_whoever_is_killed() {
    let store = Life::create(DISK).await;
    let hook = Hook::start(503).await;
    add(&store, "hook", hook.url()).await;
    let client = store.client();
    put(&client, "/buc", b"", &[]).await;
    expect(&configure(&client, "buc", &[queue("hook", &ALL, "")]).await, 200);
    hook.wait("the worker to be at it", |posted| !posted.is_empty()).await;
    for key in ["a", "b", "c"] {
        put(&client, &format!("/buc/{key}"), &[1; 5000], &[]).await;
    }
    let folder = store.kill();
    let store = Life::open(folder).await;
    wait_for_backlog(&store, 4).await;
    hook.answer(200);
    wait_for_backlog(&store, 0).await;
    let told = by_key(&hook.posted());
    assert_eq!(told.into_keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    // A webhook that is named can't go; one that isn't goes.
    assert!(store.meta.remove_webhook("hook").await.is_err());
    expect(&configure(&store.client(), "buc", &[]).await, 200);
    put(&store.client(), "/buc/d", b"d", &[]).await;
    assert_eq!(store.meta.remove_webhook("hook").await.unwrap(), 0);
    assert!(!hook.taken().iter().any(|name| name.ends_with(" d")));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_happens_is_told_as_what_it_is() {
    let store = Life::create(DISK).await;
    let hook = Hook::start(200).await;
    add(&store, "hook", hook.url()).await;
    let client = store.client();
    put(&client, "/buc", b"", &[]).await;
    let enable = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    put(&client, "/buc?versioning", enable.as_bytes(), &[]).await;
    let told = [queue("hook", &ALL, "")
        .replace("</Event><Filter>", "</Event><Event>s3:ObjectAcl:Put</Event><Filter>")];
    expect(&configure(&client, "buc", &told).await, 200);
    let owned =
        "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>";
    put(&client, "/buc?ownershipControls", owned.as_bytes(), &[]).await;
    let made = put(&client, "/buc/k", b"data", &[]).await;
    let version = made.header("x-amz-version-id").unwrap().to_owned();
    put(&client, "/buc/copy", b"", &[("x-amz-copy-source", "/buc/k")]).await;
    let id = client.post("/buc/parts?uploads", b"").await.element("UploadId").unwrap();
    let part = put(&client, &format!("/buc/parts?partNumber=1&uploadId={id}"), &[6; 8192], &[]).await;
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        part.header("etag").unwrap()
    );
    expect(&client.post(&format!("/buc/parts?uploadId={id}"), list.as_bytes()).await, 200);
    let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    put(&client, "/buc/k?tagging", tags.as_bytes(), &[]).await;
    expect(&client.delete("/buc/k?tagging").await, 204);
    put(&client, "/buc/k?acl", b"", &[("x-amz-acl", "private")]).await;
    expect(&client.delete("/buc/k").await, 204);
    expect(&client.delete(&format!("/buc/k?versionId={version}")).await, 204);
    wait_for_backlog(&store, 0).await;
    let told = by_key(&hook.posted());
    assert_eq!(told["copy"], ["ObjectCreated:Copy"]);
    assert_eq!(told["parts"], ["ObjectCreated:CompleteMultipartUpload"]);
    let expected = [
        "ObjectCreated:Put",
        "ObjectTagging:Put",
        "ObjectTagging:Delete",
        "ObjectAcl:Put",
        "ObjectRemoved:DeleteMarkerCreated",
        "ObjectRemoved:Delete",
    ];
    assert_eq!(told["k"], expected);
    let posted = hook.posted();
    let object = |name: &str| {
        let found = posted.iter().find(|posted| posted.named() == name).unwrap();
        found.body["Records"][0]["s3"]["object"].clone()
    };
    let (put, gone, whole) = (
        object("ObjectCreated:Put k"),
        object("ObjectRemoved:Delete k"),
        object("ObjectCreated:CompleteMultipartUpload parts"),
    );
    assert_eq!((&put["versionId"], &gone["versionId"]), (&version.as_str().into(), &version.as_str().into()));
    assert_eq!((&put["size"], &whole["size"]), (&4.into(), &8192.into()));
    assert!(gone.get("size").is_none() && whole["eTag"].as_str().unwrap().ends_with("-1"));

    // What a lifecycle takes away, by nobody.
    let rules = "<LifecycleConfiguration><Rule><ID>r</ID><Filter/><Status>Enabled</Status>\
                 <Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
    expect(&client.put("/buc?lifecycle", rules.as_bytes()).await, 200);
    store.move_ahead(3 * 24 * 3600);
    let marker = "LifecycleExpiration:DeleteMarkerCreated copy";
    hook.wait("an expiry", |posted| posted.iter().any(|posted| posted.named() == marker)).await;
    let posted = hook.posted();
    let expiry = posted.iter().find(|posted| posted.named() == marker).unwrap();
    assert_eq!(expiry.body["Records"][0]["userIdentity"]["principalId"], "s3.amazonaws.com");
    let age_ms = SystemClock.wall().0 - store.meta.webhooks().await.unwrap()[0].state.delivered_ms;
    assert!(age_ms < 600_000, "by the control plane's clock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_none_is_refused() {
    let store = Life::create(DISK).await;
    let client = store.client();
    put(&client, "/buc", b"", &[]).await;
    let refused = configure(&client, "buc", &[queue("hook", &ALL[..1], "")]).await;
    expect(&refused, 400);
    assert_eq!(refused.code(), "InvalidArgument");
    assert_eq!(refused.element("ArgumentName").as_deref(), Some("arn:aws:sqs:ashlar-1::hook"));
    // Of another account: as if it were not there.
    let account = Some("111122223333".to_owned());
    let url = "http://127.0.0.1:1/".to_owned();
    let record = WebhookRecord { id: 0, name: "hook".into(), url, token: None, account, created_ms: 1 };
    store.meta.add_webhook(record).await.unwrap();
    let again = configure(&client, "buc", &[queue("hook", &ALL[..1], "")]).await;
    assert_eq!((again.status, again.element("ArgumentValue")), (400, refused.element("ArgumentValue")));
    assert!(!client.get("/buc?notification").await.text().contains("Queue"));
}
