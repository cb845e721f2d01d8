//! What clients do every day, on a real store: three chunk servers, the control plane, the gateway.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/life.rs"]
mod life;
mod support;

use life::{Life, REGION};
use objectd::xml::Element;
use support::{Call, Client, Payload, Response};

fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{:?}\n{}", response.headers, response.text());
}

fn xml(response: &Response, root: &str) -> Element {
    expect(response, 200);
    objectd::xml::parse(&response.body, root).unwrap_or_else(|error| panic!("{error}: {}", response.text()))
}

fn keys(list: &Element) -> Vec<String> {
    list.all("Contents").filter_map(|entry| entry.child("Key")).map(|key| key.text.clone()).collect()
}

fn prefixes(list: &Element) -> Vec<String> {
    list.all("CommonPrefixes").filter_map(|entry| entry.child("Prefix")).map(|p| p.text.clone()).collect()
}

/// Bytes that differ everywhere, so that a misplaced block shows.
fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ len as u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}

async fn with_headers(
    client: &Client,
    method: &'static str,
    target: &str,
    headers: &[(&str, &str)],
) -> Response {
    let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    client.call(&Call { method, target: target.into(), headers, ..Call::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_come_and_go() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/first", b"").await, 200);
    let location = format!(
        "<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
    );
    expect(&client.put("/second", location.as_bytes()).await, 200);
    let again = client.put("/first", b"").await;
    assert_eq!((again.status, again.code().as_str()), (409, "BucketAlreadyOwnedByYou"));
    let bad = client.put("/Bad_Name", b"").await;
    assert_eq!((bad.status, bad.code().as_str()), (400, "InvalidBucketName"));
    let list = xml(&client.get("/").await, "ListAllMyBucketsResult");
    let names: Vec<&str> =
        list.child("Buckets").unwrap().all("Bucket").filter_map(|bucket| bucket.child_text("Name")).collect();
    assert_eq!(names, ["first", "second"]);
    let head = client.head("/first").await;
    assert_eq!((head.status, head.header("x-amz-bucket-region")), (200, Some(REGION)));
    expect(&client.head("/third").await, 404);
    assert_eq!(xml(&client.get("/first?location").await, "LocationConstraint").text, REGION);
    xml(&client.get("/first?versioning").await, "VersioningConfiguration");
    let policy = client.get("/first?policy").await;
    assert_eq!((policy.status, policy.code().as_str()), (404, "NoSuchBucketPolicy"));
    let block = xml(&client.get("/first?publicAccessBlock").await, "PublicAccessBlockConfiguration");
    assert!(block.children.iter().all(|switch| switch.text == "true") && block.children.len() == 4);
    expect(&client.put("/first/k", b"x").await, 200);
    let full = client.delete("/first").await;
    assert_eq!((full.status, full.code().as_str()), (409, "BucketNotEmpty"));
    expect(&client.delete("/first/k").await, 204);
    expect(&client.delete("/first").await, 204);
    expect(&client.delete("/first").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_all_sizes_come_back_byte_for_byte() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    for (index, len) in
        [0, 1, 3072, 3073, 4096, 8192, 100_001, 1 << 20, (5 << 20) + 17].into_iter().enumerate()
    {
        let (target, data) = (format!("/buc/object-{len}"), bytes(len));
        let payload = Payload::ALL[index % Payload::ALL.len()];
        let call =
            Call { method: "PUT", target: target.clone(), body: data.clone(), payload, ..Call::default() };
        let put = client.call(&call).await;
        expect(&put, 200);
        let got = client.get(&target).await;
        expect(&got, 200);
        assert!(got.body == data, "{len} bytes came back otherwise");
        assert_eq!(got.header("etag"), put.header("etag"));
        assert_eq!(got.header("content-length"), Some(len.to_string().as_str()));
        assert_eq!(got.header("content-encoding"), None);
        let head = client.head(&target).await;
        assert_eq!(head.header("content-length"), got.header("content-length"));
        assert!(head.body.is_empty());
    }
    let missing = client.get("/buc/none").await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "NoSuchKey"));
    assert_eq!(missing.element("Resource").as_deref(), Some("/buc/none"));
    assert!(
        missing
            .header("x-amz-request-id")
            .is_some_and(|id| Some(id) == missing.element("RequestId").as_deref())
    );
    expect(&client.get("/nobuc/none").await, 404);
    expect(&client.head("/buc/none").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_and_conditions_of_reads() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    let data = bytes((2 << 20) + 5000);
    let etag = client.put("/buc/big", &data).await.header("etag").unwrap().to_owned();
    let len = data.len();
    for (range, at) in [
        ("bytes=0-0", 0..1),
        ("bytes=4095-4096", 4095..4097),
        ("bytes=1048570-1048590", 1_048_570..1_048_591),
        ("bytes=-7", len - 7..len),
        ("bytes=2000000-", 2_000_000..len),
    ] {
        let got = with_headers(&client, "GET", "/buc/big", &[("range", range)]).await;
        expect(&got, 206);
        assert!(got.body == data[at.clone()], "{range}");
        let shown = format!("bytes {}-{}/{len}", at.start, at.end - 1);
        assert_eq!(got.header("content-range"), Some(shown.as_str()));
    }
    let past = with_headers(&client, "GET", "/buc/big", &[("range", "bytes=18446744073709551616-")]).await;
    assert_eq!((past.status, past.code().as_str()), (416, "InvalidRange"));
    assert_eq!(past.header("content-range"), Some(format!("bytes */{len}").as_str()));
    let several = with_headers(&client, "GET", "/buc/big", &[("range", "bytes=0-1,5-6")]).await;
    assert_eq!((several.status, several.body.len()), (200, len));
    let get = |headers: Vec<(&'static str, String)>| {
        let client = client.clone();
        async move {
            let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            client.call(&Call { target: "/buc/big".into(), headers, ..Call::default() }).await.status
        }
    };
    assert_eq!(get(vec![("if-match", etag.clone())]).await, 200);
    assert_eq!(get(vec![("if-match", "\"other\"".into())]).await, 412);
    assert_eq!(get(vec![("if-none-match", etag.clone())]).await, 304);
    assert_eq!(get(vec![("if-none-match", "\"other\"".into())]).await, 200);
    let past = "Sun, 06 Nov 1994 08:49:37 GMT".to_owned();
    assert_eq!(get(vec![("if-unmodified-since", past.clone())]).await, 412);
    assert_eq!(get(vec![("if-modified-since", past)]).await, 200);
    let resumed =
        [("range".to_owned(), "bytes=5-".to_owned()), ("if-range".to_owned(), "\"other\"".to_owned())];
    let call = Call { target: "/buc/big".into(), headers: resumed.into(), ..Call::default() };
    assert_eq!(client.call(&call).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_comes_back_and_can_be_overridden() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    let headers = [
        ("content-type", "text/plain"),
        ("cache-control", "no-cache"),
        ("content-encoding", "gzip"),
        ("x-amz-meta-colour", "blue"),
    ];
    expect(&with_headers(&client, "PUT", "/buc/k", &headers).await, 200);
    let got = client.head("/buc/k").await;
    for (name, value) in headers {
        assert_eq!(got.header(name), Some(value));
    }
    let over = client.get("/buc/k?response-content-type=a%2Fb&response-cache-control=x").await;
    assert_eq!((over.header("content-type"), over.header("cache-control")), (Some("a/b"), Some("x")));
    let split = client.get("/buc/k?response-cache-control=x%0D%0Ay%3A%201").await;
    assert_eq!((split.status, split.header("y")), (400, None));
    let long = "v".repeat(2048);
    let large = with_headers(&client, "PUT", "/buc/k", &[("x-amz-meta-a", &long)]).await;
    assert_eq!((large.status, large.code().as_str()), (400, "MetadataTooLarge"));
    let encrypted =
        with_headers(&client, "PUT", "/buc/k", &[("x-amz-server-side-encryption", "aws:kms")]).await;
    assert_eq!((encrypted.status, encrypted.code().as_str()), (501, "NotImplemented"));
    let enabled = with_headers(&client, "HEAD", "/buc/k", &[("x-amz-checksum-mode", "ENABLED")]).await;
    assert!(enabled.header("x-amz-checksum-crc64nvme").is_some());
    assert_eq!(enabled.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    let wanted = [("x-amz-object-attributes", "ETag,ObjectSize,Checksum")];
    let attributes = with_headers(&client, "GET", "/buc/k?attributes", &wanted).await;
    let attributes = xml(&attributes, "GetObjectAttributesResponse");
    assert_eq!(attributes.child_text("ObjectSize"), Some("0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_page_roll_up_and_encode() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    let names = ["a", "b/1", "b/2", "b/c/3", "d e+f", "z\u{e9}"];
    for name in names {
        let target = format!("/buc/{}", objectd::auth::uri::uri_encode(name.as_bytes(), true));
        expect(&client.put(&target, b"x").await, 200);
    }
    let list = |query: &str| {
        let (client, target) = (client.clone(), format!("/buc?{query}"));
        async move { xml(&client.get(&target).await, "ListBucketResult") }
    };
    assert_eq!(keys(&list("list-type=2").await), names);
    assert_eq!(keys(&list("").await), names);
    let rolled = list("list-type=2&delimiter=%2F").await;
    assert_eq!(
        (keys(&rolled), prefixes(&rolled)),
        (vec!["a".into(), "d e+f".into(), "z\u{e9}".into()], vec!["b/".into()])
    );
    assert_eq!(rolled.child_text("KeyCount"), Some("4"));
    let below = list("prefix=b%2F&delimiter=%2F").await;
    assert_eq!((keys(&below), prefixes(&below)), (vec!["b/1".into(), "b/2".into()], vec!["b/c/".into()]));
    assert_eq!(keys(&list("list-type=2&start-after=b%2F2").await), ["b/c/3", "d e+f", "z\u{e9}"]);
    let encoded = list("list-type=2&encoding-type=url&prefix=d%20").await;
    assert_eq!((keys(&encoded), encoded.child_text("Prefix")), (vec!["d%20e%2Bf".into()], Some("d%20")));
    // Page by page, both ways.
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("list-type=2&max-keys=2{token}")).await;
        seen.extend(keys(&page));
        match page.child_text("NextContinuationToken") {
            Some(next) => token = format!("&continuation-token={next}"),
            None => break,
        }
    }
    assert_eq!(seen, names);
    let first = list("max-keys=1&delimiter=%2F&marker=a").await;
    assert_eq!((prefixes(&first), first.child_text("NextMarker")), (vec!["b/".into()], Some("b/")));
    assert_eq!(keys(&list("max-keys=1&delimiter=%2F&marker=b%2F").await), ["d e+f"]);
    let none = list("list-type=2&max-keys=0").await;
    assert_eq!((keys(&none).len(), none.child_text("IsTruncated")), (0, Some("false")));
    for bad in ["max-keys=-1", "max-keys=x", "list-type=2&continuation-token=!", "encoding-type=x"] {
        let refused = client.get(&format!("/buc?{bad}")).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "InvalidArgument"), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_conditional_puts_wins() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    let puts = (0..16_u8).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            let call = Call {
                method: "PUT",
                target: "/buc/once".into(),
                headers: vec![("if-none-match".into(), "*".into())],
                body: vec![number; 5000],
                ..Call::default()
            };
            (number, client.call(&call).await.status)
        })
    });
    let mut winners = Vec::new();
    for put in puts.collect::<Vec<_>>() {
        match put.await.unwrap() {
            (number, 200) => winners.push(number),
            (_, status) => assert_eq!(status, 412),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(client.get("/buc/once").await.body, vec![winners[0]; 5000]);
    let etag = client.head("/buc/once").await.header("etag").unwrap().to_owned();
    let put = |tag: String| {
        let client = client.clone();
        async move { with_headers(&client, "PUT", "/buc/once", &[("if-match", &tag)]).await.status }
    };
    assert_eq!(put("\"other\"".into()).await, 412);
    assert_eq!(put(etag.clone()).await, 200);
    assert_eq!(put(etag).await, 412);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_keep_or_replace() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    for (key, len) in [("small", 100), ("large", 3 << 20)] {
        let data = bytes(len);
        let call = Call {
            method: "PUT",
            target: format!("/buc/{key}"),
            headers: vec![("x-amz-meta-a".into(), "1".into()), ("content-type".into(), "text/x".into())],
            body: data.clone(),
            ..Call::default()
        };
        expect(&client.call(&call).await, 200);
        let source = format!("/buc/{key}");
        let copy = format!("/buc/{key}-copy");
        let result = with_headers(&client, "PUT", &copy, &[("x-amz-copy-source", &source)]).await;
        let result = xml(&result, "CopyObjectResult");
        let got = client.get(&copy).await;
        assert!(got.body == data, "{key}");
        assert_eq!((got.header("x-amz-meta-a"), got.header("content-type")), (Some("1"), Some("text/x")));
        assert_eq!(result.child_text("ETag"), got.header("etag"));
        let itself = with_headers(&client, "PUT", &source, &[("x-amz-copy-source", &source)]).await;
        assert_eq!((itself.status, itself.code().as_str()), (400, "InvalidRequest"));
        let replace = [
            ("x-amz-copy-source", source.as_str()),
            ("x-amz-metadata-directive", "REPLACE"),
            ("x-amz-meta-b", "2"),
        ];
        expect(&with_headers(&client, "PUT", &source, &replace).await, 200);
        let got = client.get(&source).await;
        assert!(got.body == data, "{key} copied to itself");
        assert_eq!((got.header("x-amz-meta-a"), got.header("x-amz-meta-b")), (None, Some("2")));
        let unless = [("x-amz-copy-source", source.as_str()), ("x-amz-copy-source-if-none-match", "*")];
        expect(&with_headers(&client, "PUT", "/buc/other", &unless).await, 412);
    }
    for (source, status) in [
        ("", 400),
        ("/", 400),
        ("/buc", 400),
        ("/buc/none", 404),
        ("/nobuc/k", 404),
        ("/buc/../other/k", 404),
    ] {
        let copied = with_headers(&client, "PUT", "/buc/new", &[("x-amz-copy-source", source)]).await;
        assert_eq!(copied.status, status, "{source}: {}", copied.text());
    }
    expect(&client.head("/buc/new").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_deleted_at_once() {
    use base64::Engine as _;
    use md5::Digest as _;
    let store = Life::create(1 << 30).await;
    let client = store.client();
    expect(&client.put("/buc", b"").await, 200);
    for key in ["a", "b%20%26c", "d"] {
        expect(&client.put(&format!("/buc/{key}"), b"x").await, 200);
    }
    let delete = |body: String, md5: bool| {
        let client = client.clone();
        async move {
            let md5 = md5.then(|| base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(&body)));
            let headers = md5.into_iter().map(|md5| ("content-md5".to_owned(), md5)).collect();
            let call = Call {
                method: "POST",
                target: "/buc?delete".into(),
                headers,
                body: body.into(),
                ..Call::default()
            };
            client.call(&call).await
        }
    };
    let body = "<Delete><Object><Key>a</Key></Object><Object><Key>b &amp;c</Key></Object>\
                <Object><Key>none</Key></Object></Delete>";
    let unchecked = delete(body.to_owned(), false).await;
    assert_eq!((unchecked.status, unchecked.code().as_str()), (400, "InvalidRequest"));
    let result = xml(&delete(body.to_owned(), true).await, "DeleteResult");
    let deleted: Vec<_> = result.all("Deleted").filter_map(|deleted| deleted.child_text("Key")).collect();
    assert_eq!(deleted, ["a", "b &c", "none"]);
    let quiet = "<Delete><Quiet>true</Quiet><Object><Key>d</Key></Object></Delete>";
    assert!(xml(&delete(quiet.to_owned(), true).await, "DeleteResult").children.is_empty());
    assert!(keys(&xml(&client.get("/buc").await, "ListBucketResult")).is_empty());
    let many = format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(1001));
    let refused = delete(many, true).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "MalformedXML"));
}
