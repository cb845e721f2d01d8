//! Access logs on a real store: what was asked of a bucket is read again from log objects in another, line by line, as
//! AWS's format has it; at a stop too, and never about the deliveries themselves.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/life.rs"]
mod life;
mod support;

use life::Life;
use meta::object::{Body, ObjectRecord};
use meta::query::{ListObjects, ObjectPart};
use std::time::Duration;
use support::{Call, Client, Response, Signing};

const DISK: u64 = 1 << 30;
const FIELDS: usize = 26;

fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{:?}\n{}", response.headers, response.text());
}

async fn put(client: &Client, target: &str, body: &[u8], headers: &[(&str, &str)]) {
    expect(&client.send_with("PUT", target, headers, body).await, 200);
}

/// A policy that lets logs of `source` into `target` below `prefix`.
fn policy(target: &str, prefix: &str, source: &str) -> String {
    format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": "s3:PutObject",
            "Principal": {{"Service": "logging.s3.amazonaws.com"}},
            "Resource": "arn:aws:s3:::{target}/{prefix}*",
            "Condition": {{"ArnLike": {{"aws:SourceArn": "arn:aws:s3:::{source}"}},
                "StringEquals": {{"aws:SourceAccount": "tester"}}}}}}]}}"#
    )
}

async fn allow(client: &Client, target: &str, prefix: &str, source: &str) {
    let answer = client.put(&format!("/{target}?policy"), policy(target, prefix, source).as_bytes()).await;
    expect(&answer, 204);
}

async fn log(client: &Client, source: &str, target: &str, prefix: &str, format: &str) -> Response {
    let text = format!(
        "<BucketLoggingStatus><LoggingEnabled><TargetBucket>{target}</TargetBucket><TargetPrefix>{prefix}</TargetPrefix>\
         {format}</LoggingEnabled></BucketLoggingStatus>"
    );
    client.put(&format!("/{source}?logging"), text.as_bytes()).await
}

/// A line's fields. Strict: brackets and quotes end where they must, and one space is between two.
fn fields(line: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), line);
    loop {
        let (field, after) = match rest.as_bytes().first() {
            Some(b'[') => rest[1..].split_once(']').expect(line),
            Some(b'"') => rest[1..].split_once('"').expect(line),
            Some(_) => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
            None => panic!("an empty field: {line}"),
        };
        assert!(!field.is_empty() && field.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        found.push(field.to_owned());
        match after.strip_prefix(' ') {
            Some(next) => rest = next,
            None if after.is_empty() => break,
            None => panic!("no space after a field: {line}"),
        }
    }
    assert_eq!(found.len(), FIELDS, "{line}");
    found
}

/// The log objects below a prefix: asked of the control plane, so that nobody's request is logged.
async fn logs(store: &Life, bucket: &str, prefix: &str) -> Vec<(String, ObjectRecord)> {
    let list =
        ListObjects { bucket: bucket.into(), prefix: prefix.into(), limit: 1000, ..ListObjects::default() };
    let mut found = Vec::new();
    for object in store.meta.list_objects(list).await.unwrap().objects {
        let record = store.meta.object(bucket, &object.key, ObjectPart::Whole).await.unwrap();
        found.push((object.key, record));
    }
    found
}

/// All lines there are, of small log objects.
async fn lines(store: &Life, bucket: &str, prefix: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (key, record) in logs(store, bucket, prefix).await {
        assert_eq!(record.headers.content_type.as_deref(), Some("text/plain"));
        match &record.body {
            Body::Inline(text) => {
                let text = std::str::from_utf8(text).unwrap();
                assert!(text.ends_with('\n'));
                all.extend(text.lines().map(fields));
            }
            Body::Extents(_) => {
                let text = store.client().get(&format!("/{bucket}/{key}")).await;
                expect(&text, 200);
                all.extend(text.text().lines().map(fields));
            }
        }
    }
    all
}

async fn wait_for(store: &Life, bucket: &str, prefix: &str, operations: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for _ in 0..300 {
        found = lines(store, bucket, prefix).await;
        let has = |operation: &&str| found.iter().any(|line| line[6] == *operation);
        if operations.iter().all(has) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not all of {operations:?}: {found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_a_bucket_is_read_in_another() {
    let store = Life::create(DISK).await;
    let client = store.client();
    for bucket in ["/buc", "/logs", "/other"] {
        put(&client, bucket, b"", &[]).await;
    }
    // Nobody lets them in yet.
    for target in ["logs", "nowhere"] {
        let refused = log(&client, "buc", target, "l/", "").await;
        expect(&refused, 400);
        assert_eq!(refused.code(), "InvalidTargetBucketForLogging");
    }
    allow(&client, "logs", "l/", "other").await;
    expect(&log(&client, "buc", "logs", "l/", "").await, 400);
    allow(&client, "logs", "l/", "buc").await;
    expect(&log(&client, "buc", "logs", "elsewhere/", "").await, 400);
    expect(&log(&client, "buc", "logs", "l/", "").await, 200);
    assert!(client.get("/buc?logging").await.text().contains("<TargetPrefix>l/</TargetPrefix>"));
    assert!(!client.get("/other?logging").await.text().contains("LoggingEnabled"));

    let odd = [("user-agent", "an \"agent\" - [x]"), ("referer", "http://r/?a b")];
    put(&client, "/buc/a%20b/%C3%A9", &[1; 5000], &odd).await;
    let range = Call {
        target: "/buc/a%20b/%C3%A9".into(),
        headers: vec![("range".into(), "bytes=0-9".into())],
        ..Call::default()
    };
    expect(&client.call(&range).await, 206);
    expect(&client.get("/buc/none?x=y%22").await, 404);
    let stranger =
        Call { target: "/buc/a%20b/%C3%A9".into(), signing: Signing::Anonymous, ..Call::default() };
    expect(&client.call(&stranger).await, 403);
    let wrong = Client::new(store.gateway.addr(), "AKIALIFE", "another secret", life::REGION);
    expect(&wrong.get("/buc/a%20b/%C3%A9").await, 403);
    let presigned =
        Call { target: "/buc/a%20b/%C3%A9".into(), signing: Signing::Query(60), ..Call::default() };
    expect(&client.call(&presigned).await, 200);
    put(&client, "/other/copy", b"", &[("x-amz-copy-source", "/buc/a%20b/%C3%A9")]).await;
    let delete = b"<Delete><Object><Key>a b/\xc3\xa9</Key></Object><Object><Key>gone</Key></Object></Delete>";
    let md5 = base64_md5(delete);
    let headers = vec![("content-md5".into(), md5)];
    let delete = Call {
        method: "POST",
        target: "/buc?delete".into(),
        headers,
        body: delete.to_vec(),
        ..Call::default()
    };
    expect(&client.call(&delete).await, 200);
    expect(&client.get("/other?location").await, 200);

    let wanted =
        ["REST.PUT.OBJECT", "REST.POST.MULTI_OBJECT_DELETE", "BATCH.DELETE.OBJECT", "REST.COPY.OBJECT_GET"];
    let found = wait_for(&store, "logs", "l/", &wanted).await;
    let one = |operation: &str, status: &str| {
        let line = found.iter().find(|line| line[6] == operation && line[9] == status);
        line.unwrap_or_else(|| panic!("no {operation} {status} in {found:#?}"))
    };
    assert!(found.iter().all(|line| line[0] == "tester" && line[1] == "buc" && line[3] == "127.0.0.1"));
    assert!(found.iter().all(|line| line[2].ends_with(" +0000") && line[5].len() == 16));
    let put_line = one("REST.PUT.OBJECT", "200");
    assert_eq!((put_line[7].as_str(), put_line[4].as_str()), ("a%20b/%C3%A9", "tester"));
    assert_eq!((put_line[8].as_str(), put_line[12].as_str()), ("PUT /buc/a%20b/%C3%A9 HTTP/1.1", "5000"));
    assert_eq!((put_line[15].as_str(), put_line[16].as_str()), ("http://r/?a b", "an %22agent%22 - [x]"));
    assert_eq!(put_line[19..].join(" "), format!("SigV4 - AuthHeader {} - - -", store.gateway.addr()));
    let part = one("REST.GET.OBJECT", "206");
    assert_eq!((part[11].as_str(), part[12].as_str()), ("10", "5000"));
    let missing = one("REST.GET.OBJECT", "404");
    assert_eq!((missing[10].as_str(), missing[7].as_str()), ("NoSuchKey", "none"));
    let denied: Vec<_> = found.iter().filter(|line| line[9] == "403").collect();
    let codes: Vec<&str> = denied.iter().map(|line| line[10].as_str()).collect();
    assert!(codes.contains(&"AccessDenied") && codes.contains(&"SignatureDoesNotMatch"), "{codes:?}");
    assert!(denied.iter().all(|line| line[4] == "-"));
    let signed = one("REST.GET.OBJECT", "200");
    assert!(signed[8].contains("X-Amz-Signature=REDACTED") && signed[21] == "QueryString", "{signed:?}");
    assert_eq!((signed[11].as_str(), signed[12].as_str()), ("5000", "5000"));
    assert_eq!(one("REST.COPY.OBJECT_GET", "200")[7], "a%20b/%C3%A9");
    let deleted: Vec<_> =
        found.iter().filter(|line| line[6] == "BATCH.DELETE.OBJECT").map(|line| line[7].as_str()).collect();
    assert_eq!(deleted, ["a%20b/%C3%A9", "gone"]);
    assert!(!found.iter().any(|line| line[6].contains("LOCATION")), "of the other bucket");
    let delivered: usize =
        store.metric("ashlar_s3_access_log_lines_total{outcome=\"delivered\"}").parse().unwrap();
    assert!(delivered >= found.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_logs_into_itself_comes_to_rest_and_a_stop_delivers() {
    let store = Life::create(DISK).await;
    let client = store.client();
    put(&client, "/self", b"", &[]).await;
    allow(&client, "self", "l/", "self").await;
    let daily = "<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource>\
                 </PartitionedPrefix></TargetObjectKeyFormat>";
    expect(&log(&client, "self", "self", "l/", daily).await, 200);
    put(&client, "/self/k", b"data", &[]).await;
    wait_for(&store, "self", "l/tester/ashlar-1/self/", &["REST.PUT.OBJECT"]).await;
    let before = logs(&store, "self", "l/").await.len();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(logs(&store, "self", "l/").await.len(), before, "nobody asked anything");
    expect(&client.head("/self/k").await, 200);
    let store = Life::open(store.stop().await).await;
    let found = lines(&store, "self", "l/").await;
    assert!(found.iter().any(|line| line[6] == "REST.HEAD.OBJECT"), "{found:#?}");
    assert!(!found.iter().any(|line| line[7].starts_with("l/")), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_closed_gets_no_more() {
    let store = Life::create(DISK).await;
    let client = store.client();
    for bucket in ["/buc", "/logs"] {
        put(&client, bucket, b"", &[]).await;
    }
    allow(&client, "logs", "", "buc").await;
    expect(&log(&client, "buc", "logs", "", "").await, 200);
    expect(&client.delete("/logs?policy").await, 204);
    put(&client, "/buc/k", b"data", &[]).await;
    for _ in 0..300 {
        let refused = store.metric("ashlar_s3_access_log_lines_total{outcome=\"refused\"}");
        if refused.parse::<u64>().is_ok_and(|refused| refused > 0) {
            assert_eq!(logs(&store, "logs", "").await, []);
            let end = client.put("/buc?logging", b"<BucketLoggingStatus/>").await;
            expect(&end, 200);
            assert!(!client.get("/buc?logging").await.text().contains("LoggingEnabled"));
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing was refused");
}

fn base64_md5(data: &[u8]) -> String {
    use base64::Engine as _;
    use md5::Digest as _;
    base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(data))
}
