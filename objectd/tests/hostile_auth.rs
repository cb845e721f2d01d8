//! Rows 1 to 8 and 12 of the table of hostile input, against a running gateway on real disks. After each
//! refusal the store is as it was.

#[path = "support/store.rs"]
mod store;
mod support;

use store::{ACCESS_KEY_ID, DISABLED_KEY_ID, REGION, Store};
use support::{Call, Client, Payload, Prepared, Response, Signing};

const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"];

const PLACES: [&str; 5] = ["/", "/bucket", "/bucket/kept", "/bucket/new", "/nobucket/new"];

const SUBRESOURCES: [&str; 30] = [
    "",
    "acl",
    "policy",
    "policyStatus",
    "location",
    "uploads",
    "delete",
    "versions",
    "versioning",
    "tagging",
    "cors",
    "lifecycle",
    "publicAccessBlock",
    "list-type=2",
    "uploadId=x",
    "uploadId=x&partNumber=1",
    "attributes",
    "versionId=null",
    "restore",
    "ownershipControls",
    "location&x-amz-acl=public-read",
    "torrent",
    "encryption",
    "logging",
    "notification",
    "website",
    "object-lock",
    "retention",
    "legal-hold",
    "requestPayment",
];

/// A store with a bucket and one object in it.
async fn filled_store() -> (Store, Client) {
    let store = Store::start().await;
    let client = store.client();
    expect(&client.put("/bucket", b"").await, 200);
    expect(&client.put("/bucket/kept", KEPT).await, 200);
    (store, client)
}

const KEPT: &[u8] = b"what nobody may touch";

fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.text());
}

/// Everything is as `filled_store` left it.
async fn assert_untouched(client: &Client) {
    let kept = client.get("/bucket/kept").await;
    assert_eq!((kept.status, kept.body.as_slice()), (200, KEPT));
    let listed = client.get("/bucket?list-type=2").await;
    assert_eq!(listed.element("KeyCount").as_deref(), Some("1"), "{}", listed.text());
    let uploads = client.get("/bucket?uploads").await;
    assert_eq!(uploads.element("UploadId"), None, "{}", uploads.text());
    let buckets = client.get("/").await.text();
    assert_eq!(buckets.matches("<Name>").count(), 1, "{buckets}");
}

/// A refusal, which names its code wherever an answer may have a body.
fn assert_denied(sent: &Prepared, response: &Response, code: &str) {
    let what = format!("{} {}: {}", sent.method, sent.target, response.text());
    assert_eq!(response.status, 403, "{what}");
    assert!(response.header("x-amz-request-id").is_some(), "{what}");
    if sent.method == "HEAD" {
        assert!(response.body.is_empty(), "{what}");
    } else {
        assert_eq!(response.code(), code, "{what}");
    }
}

fn call(method: &'static str, target: &str, body: &[u8]) -> Call {
    Call { method, target: target.into(), body: body.into(), ..Call::default() }
}

/// Every operation that changes something, on the things `filled_store` made and on new ones.
fn writes(upload: &str) -> Vec<Call> {
    let part = format!("/bucket/up?uploadId={upload}");
    let mut copy = call("PUT", "/bucket/new", b"");
    copy.headers.push(("x-amz-copy-source".into(), "/bucket/kept".into()));
    let mut part_copy = call("PUT", &format!("{part}&partNumber=2"), b"");
    part_copy.headers.push(("x-amz-copy-source".into(), "/bucket/kept".into()));
    vec![
        call("PUT", "/other", b""),
        call("DELETE", "/bucket", b""),
        call("PUT", "/bucket/new", b"data"),
        call("PUT", "/bucket/kept", b"data"),
        copy,
        call("DELETE", "/bucket/kept", b""),
        call("POST", "/bucket?delete", b"<Delete><Object><Key>kept</Key></Object></Delete>"),
        call("POST", "/bucket/new?uploads", b""),
        call("PUT", &format!("{part}&partNumber=1"), b"data"),
        part_copy,
        call("POST", &part, b"<CompleteMultipartUpload/>"),
        call("DELETE", &part, b""),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_1_anonymous_requests_are_refused_on_every_route() {
    let (_store, client) = filled_store().await;
    for method in METHODS {
        for place in PLACES {
            for subresource in SUBRESOURCES {
                let target = format!("{place}?{subresource}");
                let sent =
                    client.prepare(&Call { signing: Signing::Anonymous, ..call(method, &target, b"x") });
                assert_denied(&sent, &client.send(&sent).await, "AccessDenied");
            }
        }
    }
    assert_untouched(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_2_wrong_signatures_are_refused_in_every_payload_mode_on_every_write() {
    let (_store, client) = filled_store().await;
    let created = client.post("/bucket/up?uploads", b"").await;
    let upload = created.element("UploadId").expect("an upload");
    let stranger = Client { secret: "a guess".into(), ..client.clone() };
    for write in writes(&upload) {
        for payload in Payload::ALL {
            let sent = stranger.prepare(&Call { payload, ..write.clone() });
            assert_denied(&sent, &client.send(&sent).await, "SignatureDoesNotMatch");
        }
        let sent = stranger.prepare(&Call { signing: Signing::Query(60), ..write.clone() });
        assert_denied(&sent, &client.send(&sent).await, "SignatureDoesNotMatch");
    }
    let parts = client.get(&format!("/bucket/up?uploadId={upload}")).await;
    expect(&parts, 200);
    assert_eq!(parts.element("Part"), None);
    expect(&client.delete(&format!("/bucket/up?uploadId={upload}")).await, 204);
    assert_untouched(&client).await;
}

/// Sends what must be refused with a 4xx, and looks that no object came of it.
async fn assert_no_object(client: &Client, sent: &Prepared, what: &str) {
    let response = client.send(sent).await;
    assert!((400..500).contains(&response.status), "{what}: {} {}", response.status, response.text());
    let got = client.head("/bucket/new").await;
    assert_eq!(got.status, 404, "{what} left an object");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_3_tampered_bodies_leave_no_object() {
    let (_store, client) = filled_store().await;
    let body: Vec<u8> = (0..40_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for payload in Payload::ALL.into_iter().filter(|payload| *payload != Payload::Unsigned) {
        let put = Call { payload, chunk_len: 16 << 10, ..call("PUT", "/bucket/new", &body) };
        let sent = client.prepare(&put);
        for at in [200, sent.body.len() / 2, sent.body.len() - 200] {
            let mut flipped = sent.clone();
            flipped.body[at] ^= 1;
            assert_no_object(&client, &flipped, &format!("{payload:?} with byte {at} flipped")).await;
        }
        let mut cut = sent.clone();
        cut.body.truncate(cut.body.len() - 100);
        assert_no_object(&client, &cut, &format!("{payload:?} with its end missing")).await;
        let told = cut.clone().set("content-length", &cut.body.len().to_string());
        assert_no_object(&client, &told, &format!("{payload:?} cut, with a matching Content-Length")).await;
        if payload.is_streaming() {
            let lie = sent.clone().set("x-amz-decoded-content-length", "39999");
            assert_no_object(&client, &lie, "a decoded length changed").await;
        }
        let downgraded = sent.clone().set("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        assert_no_object(&client, &downgraded, "a mode made unsigned").await;
    }
    assert_untouched(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_3_reordered_chunks_and_swapped_trailers_leave_no_object() {
    let (_store, client) = filled_store().await;
    let body = [vec![b'a'; 16 << 10], vec![b'b'; 16 << 10]].concat();
    let put = |payload| Call { payload, chunk_len: 16 << 10, ..call("PUT", "/bucket/new", &body) };
    let signed = client.prepare(&put(Payload::StreamingSigned));
    let span = "4000;chunk-signature=".len() + 64 + 2 + (16 << 10) + 2;
    let mut reordered = signed.clone();
    reordered.body[..2 * span].rotate_left(span);
    assert_no_object(&client, &reordered, "chunks in the wrong order").await;
    for payload in [Payload::StreamingSignedTrailer, Payload::StreamingUnsignedTrailer] {
        let sent = client.prepare(&put(payload));
        let at = find(&sent.body, b"x-amz-checksum-crc32:");
        let mut missing = sent.clone();
        missing.body.truncate(at);
        missing.body.extend_from_slice(b"\r\n");
        let missing = missing.clone().set("content-length", &missing.body.len().to_string());
        let response = client.send(&missing).await;
        assert_eq!(
            (response.status, response.code().as_str()),
            (400, "IncompleteBody"),
            "{}",
            response.text()
        );
        let mut other = sent.clone();
        other.body[at + "x-amz-checksum-crc32:".len()] ^= 1;
        assert_no_object(&client, &other, "a trailer's value changed").await;
        let mut renamed = sent.clone();
        renamed.body[at + "x-amz-checksum-".len()..][..5].copy_from_slice(b"xxx32");
        assert_no_object(&client, &renamed, "another trailer than announced").await;
    }
    assert_untouched(&client).await;
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).expect("it is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_4_credentials_in_two_places_or_twice_are_refused() {
    let (_store, client) = filled_store().await;
    let get = call("GET", "/bucket/kept", b"");
    let header = client.prepare(&get);
    let query = client.prepare(&Call { signing: Signing::Query(60), ..get.clone() });
    let authorization = header.header("authorization").expect("signed").to_owned();
    let mut cases = vec![
        query.clone().add("authorization", &authorization),
        header.clone().add("authorization", &authorization),
    ];
    for repeated in [
        "X-Amz-Signature=0",
        "X-Amz-Expires=60",
        "X-Amz-Credential=a",
        "x-amz-date=b",
        "versionId=1&versionId=2",
    ] {
        let mut sent = query.clone();
        sent.target = format!("{}&{repeated}", sent.target);
        cases.push(sent);
    }
    for sent in cases {
        let response = client.send(&sent).await;
        assert_eq!(response.status, 400, "{}: {}", sent.target, response.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_5_skew_of_14_minutes_passes_and_of_16_does_not() {
    let (_store, client) = filled_store().await;
    for (minutes, status) in [(-14, 200), (14, 200), (-16, 403), (16, 403)] {
        let get = Call { clock_off_s: minutes * 60, ..call("GET", "/bucket/kept", b"") };
        let response = client.call(&get).await;
        assert_eq!(response.status, status, "{minutes}: {}", response.text());
        if status == 403 {
            assert_eq!(response.code(), "RequestTimeTooSkewed");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_6_presigned_requests_hold_for_what_and_when_they_were_made() {
    let (_store, client) = filled_store().await;
    let get = Call { signing: Signing::Query(60), ..call("GET", "/bucket/kept", b"") };
    let good = client.prepare(&get);
    expect(&client.send(&good).await, 200);
    let edited = |from: &str, to: &str| {
        let mut sent = good.clone();
        assert!(sent.target.contains(from));
        sent.target = sent.target.replace(from, to);
        sent
    };
    let mut cases = vec![
        client.prepare(&Call { clock_off_s: -61, ..get.clone() }),
        client.prepare(&Call { signing: Signing::Query(0), ..get.clone() }),
        client.prepare(&Call { signing: Signing::Query(604_801), ..get.clone() }),
        edited("X-Amz-Expires=60", "X-Amz-Expires=-1"),
        edited("X-Amz-Expires=60", "X-Amz-Expires=61"),
        edited("/kept", "/other"),
        edited("?", "?versionId=null&"),
    ];
    for method in ["PUT", "DELETE", "HEAD", "POST"] {
        cases.push(Prepared { method: method.into(), ..good.clone() }.set("content-length", "0"));
    }
    for sent in cases {
        let response = client.send(&sent).await;
        assert_eq!(response.status, 403, "{} {}: {}", sent.method, sent.target, response.text());
    }
    let put = Call { signing: Signing::Query(60), ..call("PUT", "/bucket/presigned", b"data") };
    expect(&client.call(&put).await, 200);
    expect(&client.delete("/bucket/presigned").await, 204);
    assert_untouched(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_7_unsigned_hosts_and_added_headers_are_refused() {
    let (_store, client) = filled_store().await;
    let put = call("PUT", "/bucket/new", b"data");
    let signed = client.prepare(&put);
    let presigned = client.prepare(&Call { signing: Signing::Query(60), ..put });
    let unsigned_host =
        signed.clone().edit("authorization", |old| old.replace(";host;", ";").replace("=host;", "="));
    assert_ne!(unsigned_host.header("authorization"), signed.header("authorization"));
    let mut cases = vec![unsigned_host];
    for added in ["x-amz-acl", "x-amz-meta-a", "x-amz-copy-source", "X-Amz-Storage-Class"] {
        cases.push(signed.clone().add(added, "/bucket/kept"));
        cases.push(presigned.clone().add(added, "/bucket/kept"));
    }
    for sent in cases {
        assert_denied(&sent, &client.send(&sent).await, "AccessDenied");
    }
    let elsewhere = signed.set("host", "elsewhere");
    assert_denied(&elsewhere, &client.send(&elsewhere).await, "SignatureDoesNotMatch");
    assert_untouched(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_8_foreign_scopes_and_dead_keys_are_refused() {
    let (store, client) = filled_store().await;
    let region = Client { region: "nowhere-9".into(), ..client.clone() };
    let service = Client { service: "ec2".into(), ..client.clone() };
    for signing in [Signing::Header, Signing::Query(60)] {
        let code = match signing {
            Signing::Header => "AuthorizationHeaderMalformed",
            _ => "AuthorizationQueryParametersError",
        };
        let get = Call { signing, ..call("GET", "/bucket/kept", b"") };
        let sent = region.prepare(&get);
        let response = client.send(&sent).await;
        assert_denied(&sent, &response, code);
        assert_eq!(response.element("Region").as_deref(), Some(REGION));
        let sent = service.prepare(&get);
        assert_denied(&sent, &client.send(&sent).await, code);
    }
    let date = client.prepare(&call("GET", "/bucket/kept", b"")).edit("authorization", |old| {
        let at = old.find(ACCESS_KEY_ID).expect("the key's id") + ACCESS_KEY_ID.len() + 1;
        format!("{}20130524{}", &old[..at], &old[at + 8..])
    });
    assert_denied(&date, &client.send(&date).await, "AuthorizationHeaderMalformed");
    for id in [DISABLED_KEY_ID, "AKIANOBODY", "no such key!"] {
        let sent = Client { access_key_id: id.into(), ..client.clone() }.prepare(&call("GET", "/", b""));
        let response = client.send(&sent).await;
        assert!(matches!(response.status, 400 | 403), "{id}: {}", response.text());
    }
    // A key that is taken away is gone at the next request.
    store.meta.client().delete_access_key(ACCESS_KEY_ID).await.expect("deleted");
    let sent = client.prepare(&call("GET", "/", b""));
    assert_denied(&sent, &client.send(&sent).await, "InvalidAccessKeyId");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_12_ambiguous_lengths_are_refused_and_the_connection_closed() {
    let (_store, client) = filled_store().await;
    let signed = client.prepare(&call("PUT", "/bucket/new", b"data")).without("connection");
    let chunked = |mut sent: Prepared| {
        sent.body = b"4\r\ndata\r\n0\r\n\r\n".to_vec();
        sent
    };
    let without = signed.clone().without("content-length");
    let cases = [
        chunked(signed.clone().add("transfer-encoding", "chunked")),
        chunked(without.clone().add("transfer-encoding", "chunked").add("content-length", "4")),
        signed.clone().add("content-length", "5"),
        signed.clone().add("content-length", "4"),
        signed.clone().set("content-length", "4, 5"),
        signed.clone().set("content-length", "-4"),
        chunked(without.add("transfer-encoding", "chunked, identity")),
    ];
    for sent in cases {
        let next = client.prepare(&call("GET", "/bucket/kept", b""));
        let bytes = [sent.to_bytes(), next.to_bytes()].concat();
        let answers = support::exchange(client.address, &bytes).await.expect("an answer");
        let text = String::from_utf8_lossy(&answers).into_owned();
        assert!(text.starts_with("HTTP/1.1 400 "), "{:?}: {text}", sent.headers);
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "the connection went on: {text}");
    }
    assert_untouched(&client).await;
}
