//! Quotas at the S3 endpoint: refused in time, exact between gateways, and given back.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/life.rs"]
mod life;
mod support;

use blockd::client::admin;
use futures_util::future::join_all;
use life::{Life, REGION, TOKEN};
use meta::identity::FIRST_ACCOUNT;
use meta::object::BucketUsage;
use meta::quota::{BoundChange, QuotaOf};
use meta::record::{AccessKey, Secret, VolumeKind};
use objectd::{Gateway, GatewayConfig, GatewayHandle, Metrics};
use prometheus_client::registry::Registry;
use proto::control::DiskPlace;
use proto::ids::NodeId;
use std::time::Duration;
use support::{Call, Client, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DISK: u64 = 1 << 30;

fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{:?}\n{}", response.headers, response.text());
}

#[track_caller]
fn exceeded(response: &Response) -> String {
    let seen = (response.status, response.code());
    assert_eq!(seen, (403, "QuotaExceeded".to_owned()), "{}", response.text());
    response.element("Message").unwrap()
}

async fn limit(store: &Life, of: QuotaOf, bytes: BoundChange, objects: BoundChange) {
    store.meta.set_quota(of, bytes, objects).await.unwrap();
}

async fn limit_bytes(store: &Life, bucket: &str, bytes: u64) {
    limit(store, QuotaOf::Bucket(bucket.into()), BoundChange::Set(bytes), BoundChange::Keep).await;
}

async fn usage(store: &Life, bucket: &str) -> BucketUsage {
    store.meta.bucket_usage(bucket).await.unwrap()
}

/// Waits until all logs together hold just these bytes on each disk.
async fn wait_for_logs(store: &Life, bytes: u64) {
    let volumes = store.meta.volumes().await.unwrap();
    let logs: Vec<_> =
        volumes.iter().filter(|volume| matches!(volume.kind, VolumeKind::ObjectLog { .. })).collect();
    let mut live = 0;
    for _ in 0..300 {
        live = 0;
        let disk = &store.disks[0];
        let place = DiskPlace { disk: disk.disk(), node: NodeId(1), addr: disk.addr() };
        for log in &logs {
            live += admin::volume_stat(&place, TOKEN, log.id).await.unwrap().live_blocks * 4096;
        }
        if live == bytes {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the logs take {live} bytes, not {bytes}");
}

async fn second_gateway(store: &Life) -> GatewayHandle {
    let config = GatewayConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        region: REGION.into(),
        gateway: "second".into(),
        meta: store.meta.clone(),
        token: TOKEN,
        control: None,
        virtual_host_bases: Vec::new(),
        website_domains: Vec::new(),
        metrics: Metrics::register(&mut Registry::default()),
        lifecycle_ahead: None,
        log_delivery: std::time::Duration::from_secs(300),
        audit: None,
        pool_key: None,
    };
    Gateway::start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_race_never_pass_a_quota_together() {
    const EACH: usize = 100_000;
    let store = Life::create(DISK).await;
    let second = second_gateway(&store).await;
    let first = store.client();
    let other = Client::new(second.addr(), &first.access_key_id, &first.secret, REGION);
    expect(&first.put("/buc", b"").await, 200);
    limit_bytes(&store, "buc", 10 * EACH as u64 + 5).await;
    let body = vec![7; EACH];
    let targets: Vec<String> = (0..24).map(|number| format!("/buc/{number}")).collect();
    let puts = targets.iter().enumerate().map(|(number, target)| {
        let client = if number % 2 == 0 { &first } else { &other };
        client.put(target, &body)
    });
    let answers = join_all(puts).await;
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(done, 10);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        exceeded(refused);
    }
    let expected = BucketUsage { objects: 10, bytes: 10 * EACH as u64, ..BucketUsage::default() };
    assert_eq!(usage(&store, "buc").await, expected);
    // What was written for the others is off the disks again: 25 blocks for each that is there.
    wait_for_logs(&store, 10 * 25 * 4096).await;
    second.stop().await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_no_quota_would_let_in_is_not_even_asked_for() {
    let store = Life::create(DISK).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    expect(&client.put("/buc/there", &vec![1; 2 << 20]).await, 200);
    limit_bytes(&store, "buc", 3 << 20).await;
    let upload = client.post("/buc/parts?uploads", b"").await.element("UploadId").unwrap();
    for target in ["/buc/new".to_owned(), format!("/buc/parts?partNumber=1&uploadId={upload}")] {
        let call = Call { method: "PUT", target, ..Call::default() };
        let prepared = client
            .prepare(&Call { payload: support::Payload::Unsigned, ..call })
            .set("content-length", &(5u64 << 30).to_string())
            .add("expect", "100-continue");
        let mut connection = TcpStream::connect(store.gateway.addr()).await.unwrap();
        connection.write_all(&prepared.to_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = connection.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        let why = "The quota of bucket 'buc' is 3145728 bytes (3 MiB); it holds 2097152 bytes";
        assert!(answer.contains("<Code>QuotaExceeded</Code>"), "{answer}");
        assert!(answer.contains(why), "{answer}");
    }
    // In the place of what is there it fits.
    expect(&client.put("/buc/there", &vec![2; 3 << 20]).await, 200);
    store.wait_for_live(3 << 20).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_count_from_the_moment_they_are_there_and_an_abort_gives_them_back() {
    let store = Life::create(DISK).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    limit_bytes(&store, "buc", 20_000).await;
    let upload = client.post("/buc/parts?uploads", b"").await.element("UploadId").unwrap();
    let part = |number: u32| format!("/buc/parts?partNumber={number}&uploadId={upload}");
    expect(&client.put(&part(1), &[1; 15_000]).await, 200);
    exceeded(&client.put(&part(2), &[1; 5001]).await);
    exceeded(&client.put("/buc/other", &[1; 5001]).await);
    expect(&client.put(&part(2), &[1; 5000]).await, 200);
    store.wait_for_live(16_384 + 8192).await;
    expect(&client.delete(&format!("/buc/parts?uploadId={upload}")).await, 204);
    expect(&client.put("/buc/other", &[1; 20_000]).await, 200);
    assert_eq!(usage(&store, "buc").await.total_bytes(), 20_000);
    // At the limit: away, and in place, but not beside.
    let copy = |to: &str, directive: &str| Call {
        method: "PUT",
        target: to.into(),
        headers: vec![
            ("x-amz-copy-source".into(), "/buc/other".into()),
            ("x-amz-metadata-directive".into(), directive.into()),
        ],
        ..Call::default()
    };
    exceeded(&client.call(&copy("/buc/copy", "COPY")).await);
    expect(&client.call(&copy("/buc/other", "REPLACE")).await, 200);
    let tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    expect(&client.put("/buc/other?tagging", tags).await, 200);
    expect(&client.delete("/buc/other").await, 204);
    store.wait_for_live(0).await;
    assert_eq!(usage(&store, "buc").await, BucketUsage::default());
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projects_quota_is_over_its_buckets_together() {
    let store = Life::create(DISK).await;
    let key = AccessKey {
        id: "AKIAROOT".into(),
        secret: Secret("a secret of tests".into()),
        owner: "root".into(),
        enabled: true,
        created_ms: 1,
    };
    store.meta.put_access_key(key).await.unwrap();
    let root = Client::new(store.gateway.addr(), "AKIAROOT", "a secret of tests", REGION);
    for bucket in ["/one", "/two"] {
        expect(&root.put(bucket, b"").await, 200);
    }
    let of = QuotaOf::Project(FIRST_ACCOUNT.into());
    limit(&store, of.clone(), BoundChange::Set(1000), BoundChange::Set(3)).await;
    expect(&root.put("/one/a", &[1; 600]).await, 200);
    let why = exceeded(&root.put("/two/a", &[1; 401]).await);
    assert_eq!(
        why,
        "The quota of project 000000000000 is 1000 bytes (1000 B); it holds 600 bytes, and this would make them 1001."
    );
    expect(&root.put("/two/a", &[1; 400]).await, 200);
    expect(&root.put("/two/b", b"").await, 200);
    exceeded(&root.put("/one/b", b"").await);
    // The other owner's bucket is not the project's.
    expect(&store.client().put("/three", b"").await, 200);
    expect(&store.client().put("/three/a", &[1; 2000]).await, 200);
    expect(&root.delete("/one/a").await, 204);
    expect(&root.put("/two/c", &[1; 600]).await, 200);
    assert_eq!(store.meta.counted(of).await.unwrap().usage.total_bytes(), 1000);
    store.stop().await;
}
