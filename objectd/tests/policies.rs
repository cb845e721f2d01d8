//! Bucket policies and public access blocks against a running gateway: rows 1, 20 and 22 to 25 of the table of
//! hostile input, and what AWS documents of each call.

#[path = "support/store.rs"]
mod store;
mod support;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use store::{REGION, SECRET, Store};
use support::{Call, Client, Response, Signing};

/// The number that policies name the store's account by; another that has a key, too.
const OTHER: &str = "111122223333";
const OTHER_KEY_ID: &str = "AKIAOTHER";

struct World {
    store: Store,
    owner: Client,
    other: Client,
}

impl World {
    /// A bucket with three objects, and two accounts.
    async fn start() -> World {
        let store = Store::start().await;
        let key = store::key_of(OTHER, OTHER_KEY_ID);
        store.meta.client().put_access_key(key).await.expect("another account");
        let owner = store.client();
        let other = Client::new(store.addr(), OTHER_KEY_ID, SECRET, REGION);
        expect(&owner.put("/bucket", b"").await, 200);
        for key in ["public/a", "public/b", "secret/c"] {
            expect(&owner.put(&format!("/bucket/{key}"), key.as_bytes()).await, 200);
        }
        World { store, owner, other }
    }

    async fn put_policy(&self, statements: &str) -> Response {
        self.owner.put("/bucket?policy", policy(statements).as_bytes()).await
    }

    /// Puts one that must be taken.
    async fn policy(&self, statements: &str) {
        expect(&self.put_policy(statements).await, 204);
    }

    async fn lift(&self) {
        expect(&self.owner.delete("/bucket?publicAccessBlock").await, 204);
    }

    async fn anonymous(&self, method: &'static str, target: &str) -> Response {
        self.strange(method, target, &[], b"").await
    }

    async fn strange(
        &self,
        method: &'static str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let call = Call { signing: Signing::Anonymous, ..Call::new(method, target, headers, body) };
        self.owner.call(&call).await
    }
}

fn call(method: &'static str, target: &str) -> Call {
    Call { method, target: target.into(), ..Call::default() }
}

fn policy(statements: &str) -> String {
    format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#)
}

/// A statement on all of the bucket.
fn statement(effect: &str, principal: &str, action: &str, rest: &str) -> String {
    format!(
        r#"{{"Effect": "{effect}", {principal}, "Action": {action},
            "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"] {rest}}}"#
    )
}

const EVERYONE: &str = r#""Principal": "*""#;
const READ_PUBLIC: &str = r#"{"Sid": "read", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
    "Resource": "arn:aws:s3:::bucket/public/*"}"#;

#[track_caller]
fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.text());
}

#[track_caller]
fn refused(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, response.code().as_str()), (status, code), "{}", response.text());
}

const BLOCK: [&str; 4] =
    ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];

/// A block with these settings on.
fn block(on: &[&str]) -> String {
    let settings: String =
        BLOCK.iter().map(|name| format!("<{name}>{}</{name}>", on.contains(name))).collect();
    format!("<PublicAccessBlockConfiguration>{settings}</PublicAccessBlockConfiguration>")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_public_gets_in_only_by_policy_and_lifted_block() {
    let w = World::start().await;
    let closed = async |target: &str| refused(&w.anonymous("GET", target).await, 403, "AccessDenied");
    closed("/bucket/public/a").await;
    let shown = w.owner.get("/bucket?publicAccessBlock").await;
    for name in BLOCK {
        assert_eq!(shown.element(name).as_deref(), Some("true"), "{}", shown.text());
    }
    // Blocked: the policy isn't even taken.
    refused(&w.put_policy(READ_PUBLIC).await, 403, "AccessDenied");
    refused(&w.owner.get("/bucket?policy").await, 404, "NoSuchBucketPolicy");
    // Only that block lifted: it is taken, and lets nobody in.
    expect(
        &w.owner.put("/bucket?publicAccessBlock", block(&["RestrictPublicBuckets"]).as_bytes()).await,
        200,
    );
    w.policy(READ_PUBLIC).await;
    closed("/bucket/public/a").await;
    let status = w.owner.get("/bucket?policyStatus").await;
    assert_eq!(status.element("IsPublic").as_deref(), Some("true"));
    // Only the block lifted.
    expect(&w.owner.delete("/bucket?policy").await, 204);
    w.lift().await;
    refused(&w.owner.get("/bucket?publicAccessBlock").await, 404, "NoSuchPublicAccessBlockConfiguration");
    closed("/bucket/public/a").await;
    // Both.
    w.policy(READ_PUBLIC).await;
    let got = w.anonymous("GET", "/bucket/public/a").await;
    assert_eq!((got.status, got.body.as_slice()), (200, b"public/a".as_slice()));
    expect(&w.anonymous("HEAD", "/bucket/public/a").await, 200);
    // What it doesn't name stays closed; strangers don't learn what there is.
    for target in
        ["/bucket/secret/c", "/bucket/public/none", "/bucket/publicx", "/bucket", "/bucket?list-type=2", "/"]
    {
        closed(target).await;
    }
    for (method, target) in
        [("PUT", "/bucket/public/a"), ("DELETE", "/bucket/public/a"), ("PUT", "/bucket?policy")]
    {
        refused(&w.anonymous(method, target).await, 403, "AccessDenied");
    }
    // Closed again by either, at the next request.
    for _ in 0..3 {
        expect(&w.owner.put("/bucket?publicAccessBlock", block(&BLOCK).as_bytes()).await, 200);
        closed("/bucket/public/a").await;
        w.lift().await;
        expect(&w.anonymous("GET", "/bucket/public/a").await, 200);
    }
    expect(&w.owner.delete("/bucket?policy").await, 204);
    closed("/bucket/public/a").await;
    expect(&w.owner.delete("/bucket?policy").await, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_kept_as_they_are_and_parsed_strictly() {
    let w = World::start().await;
    let account = r#""Principal": {"AWS": "111122223333"}"#;
    let good = policy(&statement("Allow", account, r#""s3:GetObject""#, ""));
    expect(&w.owner.put("/bucket?policy", good.as_bytes()).await, 204);
    let got = w.owner.get("/bucket?policy").await;
    assert_eq!(
        (got.body.as_slice(), got.header("content-type")),
        (good.as_bytes(), Some("application/json"))
    );
    let status = w.owner.get("/bucket?policyStatus").await;
    assert_eq!(status.element("IsPublic").as_deref(), Some("false"));
    let long = policy(&statement("Allow", account, r#""s3:GetObject""#, &" ".repeat(20 << 10)));
    let arn = |arn: &str| statement("Allow", &format!(r#""Principal": {{"AWS": "{arn}"}}"#), r#""s3:*""#, "");
    let bad = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        policy(""),
        good.replace("2012-10-17", "2012-10-18"),
        good.replace("GetObject", "GetObjekt"),
        good.replace("Effect", "Efect"),
        good.replace("bucket/*", "bucket2/*"),
        good.replace("111122223333", "1111"),
        policy(&statement(
            "Allow",
            account,
            r#""s3:GetObject""#,
            r#", "Condition": {"StringEqual": {"s3:prefix": "a"}}"#,
        )),
        policy(&statement(
            "Allow",
            account,
            r#""s3:GetObject""#,
            r#", "Condition": {"StringEquals": {"s3:prefex": "a"}}"#,
        )),
        // Principals that don't exist.
        policy(&arn("999900001111")),
        policy(&arn("arn:aws:iam::111122223333:user/alice")),
        long,
    ];
    for bad in &bad {
        let answer = w.owner.put("/bucket?policy", bad.as_bytes()).await;
        refused(&answer, 400, "MalformedPolicy");
        assert!(answer.element("Message").is_some_and(|reason| reason.len() > 10), "{}", answer.text());
    }
    assert_eq!(w.owner.get("/bucket?policy").await.body, good.as_bytes(), "none was taken");
    refused(&w.owner.put("/nobucket?policy", good.as_bytes()).await, 404, "NoSuchBucket");
    refused(&w.owner.get("/bucket?policy&acl").await, 501, "NotImplemented");
    let block = b"<PublicAccessBlockConfiguration><Block>true</Block></PublicAccessBlockConfiguration>";
    refused(&w.owner.put("/bucket?publicAccessBlock", block).await, 400, "MalformedXML");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deny_wins_and_an_unreadable_policy_denies() {
    let w = World::start().await;
    w.lift().await;
    let deny = statement("Deny", EVERYONE, r#""s3:GetObject""#, "");
    w.policy(&format!("{READ_PUBLIC}, {deny}")).await;
    refused(&w.anonymous("GET", "/bucket/public/a").await, 403, "AccessDenied");
    refused(&w.owner.get("/bucket/public/a").await, 403, "AccessDenied");
    // The account's root can't lock itself out of the policy.
    w.policy(&statement("Deny", EVERYONE, r#""s3:*""#, "")).await;
    refused(&w.owner.get("/bucket?list-type=2").await, 403, "AccessDenied");
    expect(&w.owner.get("/bucket?policy").await, 200);
    expect(&w.owner.delete("/bucket?policy").await, 204);
    expect(&w.owner.get("/bucket/public/a").await, 200);
    // A text that this build can't read, as a newer or a broken one might have left it.
    let meta = w.store.meta.client();
    let id = meta.bucket("bucket").await.expect("the bucket").id;
    for text in [policy(READ_PUBLIC).replace("GetObject", "GetNothing"), "{".to_owned()] {
        meta.put_bucket_policy(("bucket", id), text, false).await.expect("kept unread");
        refused(&w.anonymous("GET", "/bucket/public/a").await, 403, "AccessDenied");
        refused(&w.anonymous("POST", "/bucket?delete").await, 403, "AccessDenied");
        refused(&w.owner.get("/bucket/public/a").await, 403, "AccessDenied");
        let status = w.owner.get("/bucket?policyStatus").await;
        refused(&status, 403, "AccessDenied");
    }
    expect(&w.owner.get("/bucket?policy").await, 200);
    expect(&w.owner.delete("/bucket?policy").await, 204);
    expect(&w.owner.get("/bucket/public/a").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_principal_spares_whom_it_names() {
    let w = World::start().await;
    w.lift().await;
    let but_other = r#""NotPrincipal": {"AWS": ["111122223333", "arn:aws:iam::111122223333:root"]}"#;
    let allow = statement("Allow", EVERYONE, r#""s3:GetObject""#, "");
    w.policy(&format!("{allow}, {}", statement("Deny", but_other, r#""s3:GetObject""#, ""))).await;
    expect(&w.other.get("/bucket/public/a").await, 200);
    refused(&w.anonymous("GET", "/bucket/public/a").await, 403, "AccessDenied");
    refused(&w.owner.get("/bucket/public/a").await, 403, "AccessDenied");
    refused(
        &w.put_policy(&statement("Allow", but_other, r#""s3:GetObject""#, "")).await,
        400,
        "MalformedPolicy",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_hold_for_the_request_as_it_came() {
    let w = World::start().await;
    w.lift().await;
    let get = |condition: &str| {
        statement("Allow", EVERYONE, r#""s3:GetObject""#, &format!(r#", "Condition": {condition}"#))
    };
    let lies: &[(&str, &str)] = &[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")];
    for (condition, status) in [
        (r#"{"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}"#, 200),
        (r#"{"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}"#, 403),
        (r#"{"NotIpAddress": {"aws:SourceIp": "127.0.0.1/32"}}"#, 403),
        (r#"{"Bool": {"aws:SecureTransport": "true"}}"#, 403),
        (r#"{"StringLike": {"aws:Referer": "https://example.com/*"}}"#, 403),
        (r#"{"Null": {"aws:Referer": "true"}}"#, 200),
        (r#"{"StringEquals": {"s3:authType": "REST-HEADER"}}"#, 403),
        (r#"{"StringEqualsIfExists": {"s3:authType": "REST-HEADER"}}"#, 200),
        // Row 22: a set that is empty, and one that is negated.
        (r#"{"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": "a"}}"#, 200),
        (r#"{"ForAnyValue:StringEquals": {"s3:RequestObjectTagKeys": "a"}}"#, 403),
        (r#"{"StringEquals": {"s3:prefix": "public/"}}"#, 403),
    ] {
        w.policy(&get(condition)).await;
        // What other operations would look at does nothing here.
        let answer = w.strange("GET", "/bucket/public/a?prefix=public/", lies, b"").await;
        assert_eq!(answer.status, status, "{condition}: {}", answer.text());
    }
    let refer = get(r#"{"StringLike": {"aws:Referer": "https://example.com/*"}}"#);
    w.policy(&refer).await;
    expect(&w.strange("GET", "/bucket/secret/c", &[("referer", "https://example.com/page")], b"").await, 200);
    for near in ["https://example.com.evil.org/", "http://example.com/x", "https://EXAMPLE.com/x"] {
        refused(&w.strange("GET", "/bucket/secret/c", &[("referer", near)], b"").await, 403, "AccessDenied");
    }
    let put = statement(
        "Allow",
        EVERYONE,
        r#""s3:PutObject""#,
        r#", "Condition": {"StringEquals": {"s3:x-amz-storage-class": "STANDARD"}}"#,
    );
    w.policy(&put).await;
    refused(&w.strange("PUT", "/bucket/new", &[], b"data").await, 403, "AccessDenied");
    expect(&w.strange("PUT", "/bucket/new", &[("x-amz-storage-class", "STANDARD")], b"data").await, 200);
    // An ACL is a permission more.
    let both = [("x-amz-storage-class", "STANDARD"), ("x-amz-acl", "bucket-owner-full-control")];
    refused(&w.strange("PUT", "/bucket/new", &both, b"data").await, 403, "AccessDenied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_stay_within_their_prefix() {
    let w = World::start().await;
    w.lift().await;
    let list = statement(
        "Allow",
        EVERYONE,
        r#""s3:ListBucket""#,
        r#", "Condition": {"StringLike": {"s3:prefix": "public/*"}, "NumericLessThanEquals": {"s3:max-keys": "5"}}"#,
    );
    w.policy(&list).await;
    for version in ["", "&list-type=2&fetch-owner=true"] {
        let page = w.anonymous("GET", &format!("/bucket?prefix=public/&max-keys=5{version}")).await;
        expect(&page, 200);
        assert_eq!(page.text().matches("<Key>").count(), 2, "{}", page.text());
        assert_eq!(page.element("ID").as_deref(), Some("tester"), "the owner of the bucket owns its objects");
        for near in [
            "max-keys=5",
            "prefix=public/",
            "prefix=&max-keys=5",
            "prefix=public&max-keys=5",
            "prefix=Public/&max-keys=5",
            "prefix=/public/&max-keys=5",
            "prefix=secret/&max-keys=5",
            "prefix=public/&max-keys=6",
            "Prefix=public/&max-keys=5",
            "prefix=public%252F&max-keys=5",
        ] {
            refused(&w.anonymous("GET", &format!("/bucket?{near}{version}")).await, 403, "AccessDenied");
        }
    }
    refused(&w.anonymous("GET", "/bucket?uploads&prefix=public/&max-keys=5").await, 403, "AccessDenied");
    assert_eq!(w.anonymous("HEAD", "/bucket?prefix=public/&max-keys=5").await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_key_is_shown_to_those_who_may_list() {
    let w = World::start().await;
    w.lift().await;
    w.policy(READ_PUBLIC).await;
    refused(&w.anonymous("GET", "/bucket/public/none").await, 403, "AccessDenied");
    w.policy(&format!("{READ_PUBLIC}, {}", statement("Allow", EVERYONE, r#""s3:ListBucket""#, ""))).await;
    refused(&w.anonymous("GET", "/bucket/public/none").await, 404, "NoSuchKey");
    refused(&w.owner.get("/bucket/public/none").await, 404, "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_needs_the_buckets_consent() {
    let w = World::start().await;
    let other = r#""Principal": {"AWS": "arn:aws:iam::111122223333:root"}"#;
    for target in ["/bucket/public/a", "/bucket", "/bucket?policy"] {
        refused(&w.other.get(target).await, 403, "AccessDenied");
    }
    refused(&w.other.get("/nobucket").await, 404, "NoSuchBucket");
    assert!(!w.other.get("/").await.text().contains("bucket</Name>"));
    // To one account is not public: no block is in the way.
    w.policy(&statement("Allow", other, r#""s3:*""#, "")).await;
    expect(&w.other.get("/bucket/public/a").await, 200);
    expect(&w.other.put("/bucket/theirs", b"data").await, 200);
    refused(&w.anonymous("GET", "/bucket/public/a").await, 403, "AccessDenied");
    // Who may use the bucket is its own account's to say.
    refused(&w.other.get("/bucket?policy").await, 405, "MethodNotAllowed");
    refused(&w.other.delete("/bucket?policy").await, 405, "MethodNotAllowed");
    refused(&w.other.delete("/bucket?publicAccessBlock").await, 403, "AccessDenied");
    // Row 25: with a public statement beside it, the block keeps that account out, too, of lists as of objects.
    w.lift().await;
    w.policy(&format!("{}, {READ_PUBLIC}", statement("Allow", other, r#""s3:*""#, ""))).await;
    expect(&w.other.get("/bucket?list-type=2").await, 200);
    expect(
        &w.owner.put("/bucket?publicAccessBlock", block(&["RestrictPublicBuckets"]).as_bytes()).await,
        200,
    );
    for target in ["/bucket/public/a", "/bucket?list-type=2", "/bucket?uploads", "/bucket"] {
        refused(&w.other.get(target).await, 403, "AccessDenied");
    }
    refused(&w.other.post("/bucket?delete", b"").await, 403, "AccessDenied");
    expect(&w.owner.get("/bucket?list-type=2").await, 200);
}

/// A body that deletes these keys, each of the version that is named.
fn deletion(keys: &[(&str, Option<&str>)]) -> String {
    let objects: String = keys
        .iter()
        .map(|(key, version)| {
            let version =
                version.map(|version| format!("<VersionId>{version}</VersionId>")).unwrap_or_default();
            format!("<Object><Key>{key}</Key>{version}</Object>")
        })
        .collect();
    format!("<Delete>{objects}</Delete>")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_of_a_deletion_is_judged_by_itself() {
    use base64::Engine as _;
    use md5::Digest as _;
    let w = World::start().await;
    let body = deletion(&[
        ("public/a", None),
        ("public/b", Some("null")),
        ("secret/c", None),
        ("public/none", None),
    ]);
    let md5 = base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(body.as_bytes()));
    let header: &[(&str, &str)] = &[("content-md5", &md5)];
    refused(&w.strange("POST", "/bucket?delete", header, body.as_bytes()).await, 403, "AccessDenied");
    w.lift().await;
    let delete = READ_PUBLIC.replace("GetObject", "DeleteObject");
    w.policy(&delete).await;
    let answer = w.strange("POST", "/bucket?delete", header, body.as_bytes()).await;
    expect(&answer, 200);
    let text = answer.text();
    for deleted in ["public/a", "public/none"] {
        assert!(text.contains(&format!("<Deleted><Key>{deleted}</Key></Deleted>")), "{text}");
    }
    // A named version is another permission.
    for denied in ["<Key>public/b</Key><VersionId>null</VersionId>", "<Key>secret/c</Key>"] {
        assert!(text.contains(&format!("<Error>{denied}<Code>AccessDenied</Code>")), "{text}");
    }
    expect(&w.owner.get("/bucket/public/a").await, 404);
    expect(&w.owner.get("/bucket/public/b").await, 200);
    expect(&w.owner.get("/bucket/secret/c").await, 200);
    w.policy(&READ_PUBLIC.replace("GetObject", "DeleteObjectVersion")).await;
    let text = w.strange("POST", "/bucket?delete", header, body.as_bytes()).await.text();
    assert!(text.contains("<Deleted><Key>public/b</Key><VersionId>null</VersionId></Deleted>"), "{text}");
    assert_eq!(text.matches("<Code>AccessDenied</Code>").count(), 3, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_needs_both_permissions() {
    let w = World::start().await;
    expect(&w.other.put("/theirs", b"").await, 200);
    let copy = async |target: &str, source: &str| {
        let headers = vec![("x-amz-copy-source".to_owned(), source.to_owned())];
        w.other.call(&Call { headers, ..call("PUT", target) }).await
    };
    let other = r#""Principal": {"AWS": "111122223333"}"#;
    refused(&copy("/theirs/x", "/bucket/public/a").await, 403, "AccessDenied");
    w.policy(&statement("Allow", other, r#""s3:GetObject""#, "")).await;
    expect(&copy("/theirs/x", "/bucket/public/a").await, 200);
    refused(&copy("/theirs/x", "/bucket/public/none").await, 403, "AccessDenied");
    // A version is another permission (row 24), and the read is not the write.
    refused(&copy("/theirs/x", "/bucket/public/a?versionId=null").await, 403, "AccessDenied");
    refused(&copy("/bucket/x", "/bucket/public/a").await, 403, "AccessDenied");
    w.policy(&statement("Allow", other, r#"["s3:GetObjectVersion", "s3:PutObject"]"#, "")).await;
    expect(&copy("/theirs/x", "/bucket/public/a?versionId=null").await, 200);
    refused(&copy("/bucket/x", "/bucket/public/a").await, 403, "AccessDenied");
    expect(&copy("/bucket/x", "/theirs/x").await, 200);
    // The same of parts.
    let upload = w.owner.post("/bucket/big?uploads", b"").await.element("UploadId").expect("an upload");
    let part = format!("/bucket/big?uploadId={upload}&partNumber=1");
    expect(&copy(&part, "/theirs/x").await, 200);
    refused(&copy(&part, "/bucket/public/a").await, 403, "AccessDenied");
    w.policy(&statement("Allow", other, r#""s3:GetObject""#, "")).await;
    refused(&copy(&part, "/bucket/public/a").await, 403, "AccessDenied");
    refused(&copy(&part, "/theirs/x").await, 403, "AccessDenied");
    // Only what the policy says of where it is written counts the source.
    let from = r#", "Condition": {"StringLike": {"s3:x-amz-copy-source": "bucket/public/*"}}"#;
    let get = statement("Allow", other, r#""s3:GetObject""#, "");
    w.policy(&format!("{get}, {}", statement("Allow", other, r#""s3:PutObject""#, from))).await;
    expect(&copy("/bucket/x", "/bucket/public/a").await, 200);
    expect(&copy("/bucket/x", "bucket%2Fpublic%2Fa").await, 200);
    refused(&copy("/bucket/x", "/bucket/secret/c").await, 403, "AccessDenied");
    refused(&copy("/bucket/x", "/theirs/x").await, 403, "AccessDenied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_write_what_they_may_and_no_more() {
    let w = World::start().await;
    w.lift().await;
    w.policy(&statement("Allow", EVERYONE, r#""s3:*""#, "")).await;
    expect(&w.strange("PUT", "/bucket/theirs", &[], b"data").await, 200);
    expect(&w.owner.get("/bucket/theirs").await, 200);
    // A signature is asked for what belongs to somebody, whatever the policy says.
    refused(&w.anonymous("POST", "/bucket/theirs?uploads").await, 403, "AccessDenied");
    let source: &[(&str, &str)] = &[("x-amz-copy-source", "/bucket/theirs")];
    refused(&w.strange("PUT", "/bucket/copy", source, b"").await, 403, "AccessDenied");
    for target in ["/bucket?policy", "/bucket?publicAccessBlock"] {
        assert!([403, 405].contains(&w.anonymous("DELETE", target).await.status), "{target}");
    }
    refused(&w.strange("PUT", "/bucket?publicAccessBlock", &[], b"").await, 403, "AccessDenied");
    refused(&w.anonymous("PUT", "/another").await, 403, "AccessDenied");
    refused(&w.anonymous("GET", "/").await, 403, "AccessDenied");
    expect(&w.anonymous("DELETE", "/bucket/theirs").await, 204);
}

/// How many queries the control plane has answered.
fn queries(w: &World) -> u64 {
    let mut registry = Registry::default();
    w.store.meta.metrics().register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).expect("metrics");
    let counts = text.lines().filter(|line| line.starts_with("ashlar_meta_queries_total{"));
    counts
        .map(|line| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a count"))
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_are_read_for_policies_that_ask_for_them_only() {
    const READS: u64 = 60;
    let w = World::start().await;
    let asked = async |rest: &str| {
        w.policy(&statement("Deny", EVERYONE, r#""s3:GetObject""#, rest)).await;
        let before = queries(&w);
        for _ in 0..READS {
            expect(&w.owner.get("/bucket/public/a").await, 200);
        }
        queries(&w) - before
    };
    let other =
        asked(r#", "Condition": {"StringEquals": {"aws:Referer": "s3:ExistingObjectTag/class"}}"#).await;
    let of_tags = asked(r#", "Condition": {"StringEquals": {"s3:ExistingObjectTag/class": "secret"}}"#).await;
    // One more for each; the gateway has a few of its own meanwhile.
    assert!(of_tags >= other + READS / 2, "{of_tags} queries, {other} without tags");
    let tags = b"<Tagging><TagSet><Tag><Key>class</Key><Value>secret</Value></Tag></TagSet></Tagging>";
    expect(&w.owner.put("/bucket/public/a?tagging", tags).await, 200);
    refused(&w.owner.get("/bucket/public/a").await, 403, "AccessDenied");
}
