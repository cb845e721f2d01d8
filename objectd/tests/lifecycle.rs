//! Lifecycles on a real store, whose clock for rules is moved: what is due goes and gives its space back, the rest
//! stays, and who takes the work over goes on where it was.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/life.rs"]
mod life;
mod support;

use life::Life;
use meta::lifecycle::{LifecycleMark, LifecycleProgress, LifecycleStage};
use rt::clock::{Clock, SystemClock};
use std::time::Duration;
use support::{Call, Client, Payload, Response};

const DISK: u64 = 1 << 30;
const DAY_MS: u64 = 24 * 3_600_000;

fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{:?}\n{}", response.headers, response.text());
}

async fn put(client: &Client, target: &str, body: &[u8], headers: &[(&str, &str)]) -> Response {
    // A put that locks needs a checksum.
    let locks = headers.iter().any(|(name, _)| name.starts_with("x-amz-object-lock-"));
    let payload = if locks { Payload::StreamingSignedTrailer } else { Payload::Sha256 };
    let call = Call { payload, ..Call::new("PUT", target, headers, body) };
    let answer = client.call(&call).await;
    expect(&answer, 200);
    answer
}

fn rule(id: &str, filter: &str, action: &str) -> String {
    format!("<Rule><ID>{id}</ID><Filter>{filter}</Filter><Status>Enabled</Status>{action}</Rule>")
}

async fn configure(client: &Client, bucket: &str, rules: &[String]) {
    let text = format!("<LifecycleConfiguration>{}</LifecycleConfiguration>", rules.concat());
    put(client, &format!("/{bucket}?lifecycle"), text.as_bytes(), &[]).await;
}

/// Moves the clock so many days ahead of the real one, and waits for a whole pass by it.
async fn pass(store: &Life, days: u64) {
    let moved_ms = SystemClock.wall().0 + days * DAY_MS;
    store.move_ahead(days * DAY_MS / 1000);
    for _ in 0..1200 {
        let ended_ms = store.meta.lifecycle().await.unwrap().progress.ended_ms;
        if ended_ms.is_some_and(|ended_ms| ended_ms >= moved_ms) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no pass ended: {:?}", store.meta.lifecycle().await.unwrap());
}

fn expired(store: &Life, kind: &str) -> String {
    store.metric(&format!("ashlar_s3_lifecycle_expired_total{{kind=\"{kind}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_goes_and_gives_its_space_back() {
    let store = Life::create(DISK).await;
    let client = store.client();
    put(&client, "/buc", b"", &[]).await;
    put(&client, "/other", b"", &[]).await;
    let tagged = "<And><Prefix/><Tag><Key>tmp</Key><Value>yes</Value></Tag>\
                  <ObjectSizeGreaterThan>5000</ObjectSizeGreaterThan></And>";
    let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation>\
                 </AbortIncompleteMultipartUpload>";
    let rules = [
        rule("logs", "<Prefix>logs/</Prefix>", "<Expiration><Days>10</Days></Expiration>"),
        rule("tmp", tagged, "<Expiration><Days>6</Days></Expiration>"),
        rule("uploads", "<Prefix>up</Prefix>", abort),
    ];
    configure(&client, "buc", &rules).await;
    let tmp = [("x-amz-tagging", "tmp=yes&a=b")];
    let shown = put(&client, "/buc/logs/a", &[1; 8192], &[]).await;
    assert!(shown.header("x-amz-expiration").unwrap().ends_with(", rule-id=\"logs\""), "{shown:?}");
    put(&client, "/buc/tmp", &[2; 8192], &tmp).await;
    put(&client, "/buc/tmp-small", &[3; 4500], &tmp).await;
    let kept = put(&client, "/buc/kept", &[4; 8192], &[]).await;
    assert_eq!(kept.header("x-amz-expiration"), None);
    put(&client, "/other/logs/a", &[5; 8192], &[]).await;
    for target in ["/buc/logs/a", "/buc/tmp"] {
        let (get, head) = (client.get(target).await, client.head(target).await);
        let said = head.header("x-amz-expiration").unwrap();
        assert!(said.starts_with("expiry-date=\"") && said.contains(" 00:00:00 GMT\""), "{said}");
        assert_eq!(get.header("x-amz-expiration"), Some(said));
    }
    assert_eq!(client.get("/buc/tmp-small").await.header("x-amz-expiration"), None);
    let mut uploads = Vec::new();
    for key in ["up/load", "kept/load"] {
        let id = client.post(&format!("/buc/{key}?uploads"), b"").await.element("UploadId").unwrap();
        put(&client, &format!("/buc/{key}?partNumber=1&uploadId={id}"), &[6; 8192], &[]).await;
        uploads.push(format!("/buc/{key}?uploadId={id}"));
    }
    store.wait_for_live(7 * 8192).await;

    pass(&store, 2).await;
    store.wait_for_live(7 * 8192).await;
    pass(&store, 4).await;
    expect(&client.get(&uploads[0]).await, 404);
    expect(&client.get(&uploads[1]).await, 200);
    store.wait_for_live(6 * 8192).await;
    pass(&store, 7).await;
    expect(&client.get("/buc/tmp").await, 404);
    store.wait_for_live(5 * 8192).await;
    pass(&store, 11).await;
    expect(&client.get("/buc/logs/a").await, 404);
    store.wait_for_live(4 * 8192).await;
    pass(&store, 4000).await;
    for kept in ["/buc/kept", "/buc/tmp-small", "/other/logs/a", &uploads[1]] {
        expect(&client.get(kept).await, 200);
    }
    assert_eq!((expired(&store, "object"), expired(&store, "upload")), ("2".into(), "1".into()));
    let last: u64 = store.metric("ashlar_s3_lifecycle_last_pass_seconds").parse().unwrap();
    assert!(last * 1000 >= SystemClock.wall().0 + 3999 * DAY_MS);
    assert_eq!(store.metric("ashlar_s3_lifecycle_failures_total"), "0");
    // Without rules nothing goes, and nothing is said.
    expect(&client.delete("/buc?lifecycle").await, 204);
    let put_again = put(&client, "/buc/logs/b", b"b", &[]).await;
    assert_eq!(put_again.header("x-amz-expiration"), None);
    pass(&store, 5000).await;
    expect(&client.get("/buc/logs/b").await, 200);
}

/// `key marker` of all versions, newest first.
async fn versions(client: &Client, bucket: &str) -> Vec<(String, bool)> {
    let text = client.get(&format!("/{bucket}?versions")).await.text();
    let mut found = Vec::new();
    for piece in text.split("<Version>").flat_map(|piece| {
        let mut pieces = piece.split("<DeleteMarker>");
        let first = pieces.next().map(|piece| (false, piece));
        first.into_iter().chain(pieces.map(|piece| (true, piece)))
    }) {
        if let Some((_, rest)) = piece.1.split_once("<Key>") {
            found.push((rest.split_once("</Key>").unwrap().0.to_owned(), piece.0));
        }
    }
    found
}

fn named(list: &[(&str, bool)]) -> Vec<(String, bool)> {
    list.iter().map(|(key, marker)| ((*key).to_owned(), *marker)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_markers_go_and_locked_ones_stay() {
    let store = Life::create(DISK).await;
    let client = store.client();
    put(&client, "/ver", b"", &[]).await;
    let enable = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    put(&client, "/ver?versioning", enable.as_bytes(), &[]).await;
    let noncurrent = |days: u32, keep: &str| {
        format!(
            "<NoncurrentVersionExpiration><NoncurrentDays>{days}</NoncurrentDays>{keep}</NoncurrentVersionExpiration>"
        )
    };
    let keep = "<NewerNoncurrentVersions>1</NewerNoncurrentVersions>";
    let lone = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
    let rules = [
        rule("current", "<Prefix>k</Prefix>", "<Expiration><Days>2</Days></Expiration>"),
        rule("noncurrent", "<Prefix>k</Prefix>", &noncurrent(4, keep)),
        rule("lone", "", lone),
    ];
    configure(&client, "ver", &rules).await;
    for body in [1, 2, 3] {
        put(&client, "/ver/k", &[body; 8192], &[]).await;
    }
    put(&client, "/ver/stays", &[4; 8192], &[]).await;
    put(&client, "/ver/stays", &[5; 8192], &[]).await;
    expect(&client.delete("/ver/stays").await, 204);
    expect(&client.delete("/ver/alone").await, 204);

    let locked = [("x-amz-bucket-object-lock-enabled", "true")];
    put(&client, "/lock", b"", &locked).await;
    configure(&client, "lock", &[rule("r", "", &noncurrent(1, ""))]).await;
    let until = http_date(SystemClock.wall().0 + DAY_MS);
    let retained =
        [("x-amz-object-lock-mode", "GOVERNANCE"), ("x-amz-object-lock-retain-until-date", until.as_str())];
    put(&client, "/lock/l", &[6; 8192], &retained).await;
    put(&client, "/lock/l", &[7; 8192], &[("x-amz-object-lock-legal-hold", "ON")]).await;
    put(&client, "/lock/l", &[8; 8192], &[]).await;
    put(&client, "/lock/l", &[9; 8192], &[]).await;

    // The current version is covered, and the marker that nothing is behind goes.
    pass(&store, 3).await;
    let v = |key| (key, false);
    let m = |key| (key, true);
    let stays = [m("stays"), v("stays"), v("stays")];
    assert_eq!(
        versions(&client, "ver").await,
        named(&[&[m("k"), v("k"), v("k"), v("k")][..], &stays].concat())
    );
    expect(&client.get("/ver/k").await, 404);
    // Of the lock's four only the one that nothing locks, though the rules' clock is past the retention.
    assert_eq!(versions(&client, "lock").await, named(&[v("l"); 3]));
    pass(&store, 6).await;
    assert_eq!(versions(&client, "ver").await, named(&[&[m("k"), v("k")][..], &stays].concat()));
    // The one that the rule keeps goes by hand; then the marker is alone.
    let text = client.get("/ver?versions&prefix=k").await;
    let last = text.text().rsplit_once("<Version>").unwrap().1.to_owned();
    let id = last.split_once("<VersionId>").unwrap().1.split_once('<').unwrap().0.to_owned();
    expect(&client.delete(&format!("/ver/k?versionId={id}")).await, 204);
    pass(&store, 400).await;
    assert_eq!(versions(&client, "ver").await, named(&stays));
    assert_eq!(versions(&client, "lock").await, named(&[v("l"); 3]));
    store.wait_for_live(5 * 8192).await;
    let counts = ["object", "noncurrent_version", "delete_marker"].map(|kind| expired(&store, kind));
    assert_eq!(counts, ["1", "3", "2"]);
}

fn http_date(ms: u64) -> String {
    objectd::http_date::iso(ms)
}

/// More than a page, of which some other worker did a part before it was killed.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_goes_on_where_it_was() {
    let store = Life::create(DISK).await;
    let client = store.client();
    put(&client, "/aaa", b"", &[]).await;
    put(&client, "/buc", b"", &[]).await;
    for bucket in ["aaa", "buc"] {
        configure(&client, bucket, &[rule("r", "", "<Expiration><Days>1</Days></Expiration>")]).await;
    }
    put(&client, "/aaa/done", b"x", &[]).await;
    put(&client, "/buc/m", b"x", &[]).await;
    for many in (0..600).collect::<Vec<_>>().chunks(30) {
        let puts = many.iter().map(|number| {
            let (client, target) = (&client, format!("/buc/n{number:03}"));
            async move { put(client, &target, b"x", &[]).await }
        });
        futures_util::future::join_all(puts).await;
    }
    // Another holds the work and says how far it is: nobody else goes on while it is heard of.
    let began_ms = SystemClock.wall().0 + 3 * DAY_MS;
    let stage = LifecycleStage::Versions { after_key: Some("m".into()) };
    let mark = LifecycleMark { bucket: "buc".into(), stage };
    let progress = LifecycleProgress { began_ms: Some(began_ms), mark: Some(mark), ended_ms: None };
    const OTHER: u64 = 77;
    while store.meta.keep_lifecycle(OTHER, None).await.unwrap().worker != OTHER {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    store.move_ahead(3 * DAY_MS / 1000);
    for _ in 0..8 {
        let kept = store.meta.keep_lifecycle(OTHER, Some(progress.clone())).await.unwrap();
        assert_eq!((kept.worker, kept.progress), (OTHER, progress.clone()));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    expect(&client.get("/buc/n599").await, 200);
    // It dies, and so does this gateway. Another life of it comes, and goes on: behind what was done.
    let store = Life::open(store.kill()).await;
    let client = store.client();
    for _ in 0..1200 {
        let record = store.meta.lifecycle().await.unwrap();
        if record.progress.mark.is_none() {
            assert_eq!(record.progress.began_ms, Some(began_ms), "it is the same pass");
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(expired(&store, "object"), "600");
    for kept in ["/aaa/done", "/buc/m"] {
        expect(&client.get(kept).await, 200);
    }
    assert_eq!(client.get("/buc?list-type=2").await.element("KeyCount").as_deref(), Some("1"));
    // The next one begins at the beginning.
    pass(&store, 4).await;
    for gone in ["/aaa/done", "/buc/m"] {
        expect(&client.get(gone).await, 404);
    }
}
