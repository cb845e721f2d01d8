//! Access control lists and object ownership against a running gateway, with three accounts and strangers, each step denied
//! before it is allowed: rows 1, 24 and 25 of the table of hostile input, and what AWS documents of each call.

#[path = "support/store.rs"]
mod store;
mod support;

use store::{REGION, SECRET, Store};
use support::{Call, Client, Response, Signing};

const OWNER: &str = "tester";
const OTHER: &str = "111122223333";
const THIRD: &str = "222233334444";
const ALL: &str = "uri=\"http://acs.amazonaws.com/groups/global/AllUsers\"";
const XSI: &str = "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type";

/// A bucket of the owner's, and the roots of two other accounts.
struct World {
    store: Store,
    owner: Client,
    other: Client,
    third: Client,
}

impl World {
    async fn start(ownership: &str) -> World {
        let store = Store::start().await;
        for (account, id) in [(OTHER, "AKIAOTHER"), (THIRD, "AKIATHIRD")] {
            store.meta.client().put_access_key(store::key_of(account, id)).await.expect("an account");
        }
        let client = |id: &str| Client::new(store.addr(), id, SECRET, REGION);
        let (owner, other, third) = (store.client(), client("AKIAOTHER"), client("AKIATHIRD"));
        ok(&owner.put("/bucket", b"").await);
        let w = World { store, owner, other, third };
        ok(&w.own(ownership).await);
        ok(&w.owner.put("/bucket/k", b"data").await);
        w
    }

    async fn own(&self, ownership: &str) -> Response {
        let body = format!(
            "<OwnershipControls><Rule><ObjectOwnership>{ownership}</ObjectOwnership></Rule></OwnershipControls>"
        );
        self.owner.put("/bucket?ownershipControls", body.as_bytes()).await
    }

    /// The owner grants by headers.
    async fn grant(&self, target: &str, headers: &[(&str, &str)]) -> Response {
        self.owner.send_with("PUT", target, headers, b"").await
    }

    async fn lift(&self) {
        ok(&self.owner.delete("/bucket?publicAccessBlock").await);
    }

    async fn block(&self, switches: &[&str]) {
        let switches: String = switches.iter().map(|name| format!("<{name}>true</{name}>")).collect();
        let body = format!("<PublicAccessBlockConfiguration>{switches}</PublicAccessBlockConfiguration>");
        ok(&self.owner.put("/bucket?publicAccessBlock", body.as_bytes()).await);
    }

    async fn policy(&self, statements: &str) {
        let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
        ok(&self.owner.put("/bucket?policy", text.as_bytes()).await);
    }

    async fn stranger(&self, method: &'static str, target: &str, body: &[u8]) -> Response {
        let signing = Signing::Anonymous;
        let call = Call { method, target: target.into(), body: body.into(), signing, ..Call::default() };
        self.owner.call(&call).await
    }
}

fn id(account: &str) -> String {
    format!("id=\"{account}\"")
}

fn document(owner: &str, grants: &str) -> Vec<u8> {
    format!(
        "<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList>{grants}</AccessControlList>\
         </AccessControlPolicy>"
    )
    .into_bytes()
}

fn to_account(account: &str, permission: &str) -> String {
    format!(
        "<Grant><Grantee {XSI}=\"CanonicalUser\"><ID>{account}</ID></Grantee><Permission>{permission}</Permission>\
         </Grant>"
    )
}

#[track_caller]
fn ok(response: &Response) {
    assert!((200..300).contains(&response.status), "{} {}", response.status, response.text());
}

#[track_caller]
fn fails(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, response.code().as_str()), (status, code), "{}", response.text());
}

#[track_caller]
fn denied(response: &Response) {
    fails(response, 403, "AccessDenied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buckets_acl_gives_what_it_says_to_whom_it_says() {
    let w = World::start("ObjectWriter").await;
    for target in ["/bucket", "/bucket?versions", "/bucket?uploads", "/bucket?acl", "/bucket/k"] {
        denied(&w.other.get(target).await);
    }
    denied(&w.other.put("/bucket/new", b"x").await);
    // READ lists, and reads no object.
    ok(&w.grant("/bucket?acl", &[("x-amz-grant-read", &id(OTHER))]).await);
    for target in ["/bucket", "/bucket?versions", "/bucket?uploads", "/bucket?list-type=2"] {
        ok(&w.other.get(target).await);
        denied(&w.third.get(target).await);
        denied(&w.stranger("GET", target, b"").await);
    }
    for target in ["/bucket?acl", "/bucket/k", "/bucket/k?acl", "/bucket?policyStatus", "/bucket?location"] {
        denied(&w.other.get(target).await);
    }
    denied(&w.other.put("/bucket/new", b"x").await);
    // Who may list is told that a key is missing.
    fails(&w.other.get("/bucket/missing").await, 404, "NoSuchKey");
    denied(&w.third.get("/bucket/missing").await);
    // WRITE writes, and doesn't list.
    ok(&w.grant("/bucket?acl", &[("x-amz-grant-write", &id(OTHER))]).await);
    denied(&w.other.get("/bucket").await);
    ok(&w.other.put("/bucket/new", b"x").await);
    denied(&w.other.delete("/bucket/k").await);
    denied(&w.third.put("/bucket/new", b"x").await);
    denied(&w.other.put("/bucket?acl", &document(OWNER, "")).await);
    // WRITE_ACP puts an ACL, and READ_ACP shows it.
    ok(&w.grant("/bucket?acl", &[("x-amz-grant-write-acp", &id(OTHER))]).await);
    denied(&w.other.get("/bucket?acl").await);
    let grants = to_account(OTHER, "READ_ACP") + &to_account(THIRD, "FULL_CONTROL");
    ok(&w.other.put("/bucket?acl", &document(OWNER, &grants)).await);
    let shown = w.other.get("/bucket?acl").await;
    ok(&shown);
    assert!(shown.text().contains(&format!("<Owner><ID>{OWNER}</ID>")), "{}", shown.text());
    assert!(shown.text().contains("<Permission>READ_ACP</Permission>"), "{}", shown.text());
    denied(&w.other.put("/bucket?acl", &document(OWNER, &grants)).await);
    // FULL_CONTROL is all of them.
    for target in ["/bucket", "/bucket?acl"] {
        ok(&w.third.get(target).await);
    }
    ok(&w.third.put("/bucket/third", b"x").await);
    denied(&w.third.get("/bucket?policy").await);
    // Revoked is revoked, for the next request.
    for _ in 0..3 {
        ok(&w.grant("/bucket?acl", &[("x-amz-acl", "private")]).await);
        denied(&w.third.get("/bucket").await);
        ok(&w.grant("/bucket?acl", &[("x-amz-grant-full-control", &id(THIRD))]).await);
        ok(&w.third.get("/bucket").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_objects_acl_holds_for_that_version_alone() {
    let w = World::start("ObjectWriter").await;
    let enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    ok(&w.owner.put("/bucket?versioning", enabled).await);
    let put = w.grant("/bucket/v", &[("x-amz-grant-read", &id(OTHER))]).await;
    ok(&put);
    let granted = put.header("x-amz-version-id").expect("a version").to_owned();
    ok(&w.other.get("/bucket/v").await);
    ok(&w.owner.put("/bucket/v", b"another").await);
    denied(&w.other.get("/bucket/v").await);
    // A version needs its own permission, and its own grant (row 24).
    let version = format!("/bucket/v?versionId={granted}");
    ok(&w.other.get(&version).await);
    denied(&w.third.get(&version).await);
    denied(&w.other.get(&format!("/bucket/v?acl&versionId={granted}")).await);
    ok(&w
        .grant(&format!("/bucket/v?acl&versionId={granted}"), &[("x-amz-grant-read-acp", &id(THIRD))])
        .await);
    denied(&w.other.get(&version).await);
    let shown = w.third.get(&format!("/bucket/v?acl&versionId={granted}")).await;
    ok(&shown);
    assert_eq!(shown.header("x-amz-version-id"), Some(granted.as_str()));
    denied(&w.third.get("/bucket/v?acl").await);
    // WRITE_ACP of the object, by a body; whose it is stays.
    ok(&w.grant("/bucket/k?acl", &[("x-amz-grant-write-acp", &id(OTHER))]).await);
    denied(&w.other.put("/bucket/k?acl", &document(OTHER, "")).await);
    ok(&w.other.put("/bucket/k?acl", &document(OWNER, &to_account(OTHER, "READ"))).await);
    assert_eq!(w.other.get("/bucket/k").await.body, b"data");
    ok(&w.other.head("/bucket/k").await);
    denied(&w.other.get("/bucket/k?acl").await);
    denied(&w.other.get("/bucket/k?tagging").await);
    fails(&w.owner.get("/bucket/none?acl").await, 404, "NoSuchKey");
    fails(&w.grant("/bucket/none?acl", &[("x-amz-acl", "private")]).await, 404, "NoSuchKey");
    // Written over, it grants what the new one says: nothing.
    ok(&w.owner.put("/bucket/k", b"new").await);
    denied(&w.other.get("/bucket/k").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_an_object_owns_it() {
    let w = World::start("ObjectWriter").await;
    ok(&w.grant("/bucket?acl", &[("x-amz-grant-write", &format!("{},{}", id(OTHER), id(THIRD)))]).await);
    ok(&w.other.put("/bucket/theirs", b"data").await);
    // The bucket's owner doesn't see what is in it, and neither gives it away.
    for target in ["/bucket/theirs", "/bucket/theirs?acl", "/bucket/theirs?tagging"] {
        denied(&w.owner.get(target).await);
        ok(&w.other.get(target).await);
    }
    denied(&w.grant("/bucket/theirs?acl", &[("x-amz-acl", "bucket-owner-full-control")]).await);
    w.policy(&format!(
        r#"{{"Effect": "Allow", "Principal": {{"AWS": ["{THIRD}"]}}, "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::bucket/*"}}"#
    ))
    .await;
    denied(&w.third.get("/bucket/theirs").await);
    ok(&w.third.get("/bucket/k").await);
    // But denies it to whom it likes.
    ok(&w.other.send_with("PUT", "/bucket/theirs?acl", &[("x-amz-grant-read", &id(THIRD))], b"").await);
    ok(&w.third.get("/bucket/theirs").await);
    w.policy(&format!(
        r#"{{"Effect": "Deny", "Principal": {{"AWS": "{THIRD}"}}, "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::bucket/theirs"}}"#
    ))
    .await;
    denied(&w.third.get("/bucket/theirs").await);
    ok(&w.owner.delete("/bucket?policy").await);
    // What it is granted it may.
    ok(&w.other.send_with("PUT", "/bucket/theirs?acl", &[("x-amz-acl", "bucket-owner-read")], b"").await);
    ok(&w.owner.get("/bucket/theirs").await);
    denied(&w.owner.get("/bucket/theirs?acl").await);
    let canned = [("x-amz-acl", "bucket-owner-full-control")];
    ok(&w.other.send_with("PUT", "/bucket/theirs?acl", &canned, b"").await);
    let shown = w.owner.get("/bucket/theirs?acl").await;
    assert!(shown.text().contains(&format!("<Owner><ID>{OTHER}</ID>")), "{}", shown.text());
    ok(&w.grant("/bucket/theirs?acl", &[("x-amz-grant-read", &id(THIRD))]).await);
    denied(&w.owner.get("/bucket/theirs").await);
    // Without ACLs all is the bucket owner's again; and with them again, as it was.
    ok(&w.grant("/bucket?acl", &[("x-amz-acl", "private")]).await);
    ok(&w.own("BucketOwnerEnforced").await);
    ok(&w.owner.get("/bucket/theirs").await);
    denied(&w.third.get("/bucket/theirs").await);
    denied(&w.other.get("/bucket/theirs").await);
    ok(&w.own("BucketOwnerPreferred").await);
    denied(&w.owner.get("/bucket/theirs").await);
    ok(&w.third.get("/bucket/theirs").await);
    // Who can't read it can delete it.
    ok(&w.owner.delete("/bucket/theirs").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bucket_owner_gets_what_is_given_up_where_that_is_preferred() {
    let w = World::start("BucketOwnerPreferred").await;
    let canned = [("x-amz-acl", "bucket-owner-full-control")];
    denied(&w.other.send_with("PUT", "/bucket/a", &canned, b"x").await);
    ok(&w.grant("/bucket?acl", &[("x-amz-grant-write", &id(OTHER))]).await);
    ok(&w.other.send_with("PUT", "/bucket/a", &canned, b"x").await);
    ok(&w.other.put("/bucket/b", b"x").await);
    ok(&w.other.send_with("PUT", "/bucket/c", &[("x-amz-grant-full-control", &id(OWNER))], b"x").await);
    let owner_of = async |key: &str| {
        let shown = w.owner.get(&format!("/bucket/{key}?acl")).await.text();
        shown.split("<ID>").nth(1).and_then(|rest| rest.split('<').next()).map(str::to_owned)
    };
    assert_eq!(owner_of("a").await.as_deref(), Some(OWNER));
    assert_eq!(owner_of("c").await.as_deref(), Some(OTHER), "only the canned ACL gives it up");
    ok(&w.owner.get("/bucket/a").await);
    denied(&w.other.get("/bucket/a").await);
    denied(&w.owner.get("/bucket/b").await);
    ok(&w.owner.get("/bucket/c").await);
    // An upload in parts is its initiator's.
    denied(&w.third.post("/bucket/parts?uploads", b"").await);
    let begun = w.other.post("/bucket/parts?uploads", b"").await;
    ok(&begun);
    let upload = begun.text().split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let part = w.other.put(&format!("/bucket/parts?partNumber=1&uploadId={upload}"), b"part").await;
    let etag = part.header("etag").expect("an ETag").replace('"', "");
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    ok(&w.other.post(&format!("/bucket/parts?uploadId={upload}"), list.as_bytes()).await);
    ok(&w.other.get("/bucket/parts").await);
    denied(&w.owner.get("/bucket/parts").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_take_the_requests_acl_and_need_the_sources_permission() {
    let w = World::start("ObjectWriter").await;
    ok(&w.grant("/bucket/source", &[("x-amz-grant-read", &id(OTHER))]).await);
    let copy = [("x-amz-copy-source", "/bucket/source")];
    ok(&w.grant("/bucket/copy", &copy).await);
    ok(&w.other.get("/bucket/source").await);
    denied(&w.other.get("/bucket/copy").await);
    ok(&w.grant("/bucket/copy", &[copy[0], ("x-amz-grant-read", &id(OTHER))]).await);
    ok(&w.other.get("/bucket/copy").await);
    // Of another account: both the source's READ and the target's WRITE.
    denied(&w.other.send_with("PUT", "/bucket/theirs", &copy, b"").await);
    ok(&w.grant("/bucket?acl", &[("x-amz-grant-write", &format!("{},{}", id(OTHER), id(THIRD)))]).await);
    ok(&w.other.send_with("PUT", "/bucket/theirs", &copy, b"").await);
    denied(&w.third.send_with("PUT", "/bucket/thirds", &copy, b"").await);
    denied(&w.owner.get("/bucket/theirs").await);
    denied(&w.owner.send_with("PUT", "/bucket/back", &[("x-amz-copy-source", "/bucket/theirs")], b"").await);
    let upload = w.third.post("/bucket/thirds?uploads", b"").await.text();
    let upload = upload.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let part = format!("/bucket/thirds?partNumber=1&uploadId={upload}");
    denied(&w.third.send_with("PUT", &part, &copy, b"").await);
    ok(&w.grant("/bucket/source?acl", &[("x-amz-grant-read", &id(THIRD))]).await);
    ok(&w.third.send_with("PUT", &part, &copy, b"").await);
    denied(&w.other.send_with("PUT", "/bucket/theirs", &copy, b"").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_public_gets_in_only_by_an_acl_and_a_lifted_block() {
    let w = World::start("ObjectWriter").await;
    // Blocked: nothing public is put.
    for (target, headers) in [
        ("/bucket?acl", ("x-amz-acl", "public-read")),
        ("/bucket?acl", ("x-amz-acl", "authenticated-read")),
        ("/bucket?acl", ("x-amz-grant-write", ALL)),
        ("/bucket/k?acl", ("x-amz-acl", "public-read-write")),
        ("/bucket/new", ("x-amz-acl", "public-read")),
        ("/bucket/new", ("x-amz-grant-read", ALL)),
    ] {
        denied(&w.grant(target, &[headers]).await);
    }
    denied(&w.owner.send_with("POST", "/bucket/new?uploads", &[("x-amz-acl", "public-read")], b"").await);
    let copy = [("x-amz-copy-source", "/bucket/k"), ("x-amz-acl", "public-read")];
    denied(&w.grant("/bucket/new", &copy).await);
    fails(&w.owner.get("/bucket/new").await, 404, "NoSuchKey");
    w.lift().await;
    denied(&w.stranger("GET", "/bucket/k", b"").await);
    ok(&w.grant("/bucket/k?acl", &[("x-amz-acl", "public-read")]).await);
    assert_eq!(w.stranger("GET", "/bucket/k", b"").await.body, b"data");
    denied(&w.stranger("GET", "/bucket", b"").await);
    denied(&w.stranger("GET", "/bucket/missing", b"").await);
    denied(&w.stranger("GET", "/bucket/k?acl", b"").await);
    ok(&w.grant("/bucket?acl", &[("x-amz-acl", "public-read-write")]).await);
    ok(&w.stranger("GET", "/bucket", b"").await);
    fails(&w.stranger("GET", "/bucket/missing", b"").await, 404, "NoSuchKey");
    ok(&w.stranger("PUT", "/bucket/strange", b"x").await);
    denied(&w.stranger("DELETE", "/bucket/strange", b"").await);
    denied(&w.stranger("POST", "/bucket/strange?uploads", b"").await);
    // What nobody signed for is nobody's: not the bucket owner's, and not every stranger's.
    denied(&w.owner.get("/bucket/strange").await);
    denied(&w.stranger("GET", "/bucket/strange", b"").await);
    ok(&w.owner.delete("/bucket/strange").await);
    // What is there is ignored at once where public ACLs are, and back when they aren't.
    w.block(&["IgnorePublicAcls"]).await;
    for target in ["/bucket", "/bucket/k"] {
        denied(&w.stranger("GET", target, b"").await);
        denied(&w.other.get(target).await);
    }
    denied(&w.stranger("PUT", "/bucket/strange", b"x").await);
    w.block(&["BlockPublicAcls", "RestrictPublicBuckets"]).await;
    ok(&w.stranger("GET", "/bucket/k", b"").await);
    denied(&w.grant("/bucket/k?acl", &[("x-amz-acl", "public-read")]).await);
    w.lift().await;
    // Everybody who signs is not everybody.
    ok(&w.grant("/bucket/k?acl", &[("x-amz-acl", "authenticated-read")]).await);
    ok(&w.other.get("/bucket/k").await);
    denied(&w.stranger("GET", "/bucket/k", b"").await);
    // The account's block holds beside the bucket's.
    let account = meta::identity_command::IdentityCommand::CreateAccount(meta::identity::AccountRecord {
        number: OTHER.into(),
        name: "other".into(),
        ..meta::identity::AccountRecord::first()
    });
    w.store.meta.client().change_identity(account).await.expect("an account");
    ok(&w.other.send_with("PUT", "/theirs", &[("x-amz-object-ownership", "ObjectWriter")], b"").await);
    ok(&w.other.delete("/theirs?publicAccessBlock").await);
    ok(&w.other.send_with("PUT", "/theirs/k", &[("x-amz-acl", "public-read")], b"x").await);
    ok(&w.stranger("GET", "/theirs/k", b"").await);
    let block = meta::identity_command::IdentityCommand::PutAccountBlock {
        account: OTHER.into(),
        block: Some(meta::object::BlockPublicAccess::ALL),
    };
    w.store.meta.client().change_identity(block).await.expect("its block");
    denied(&w.stranger("GET", "/theirs/k", b"").await);
    denied(&w.other.send_with("PUT", "/theirs/k", &[("x-amz-acl", "public-read")], b"x").await);
    denied(&w.other.send_with("PUT", "/theirs?acl", &[("x-amz-acl", "public-read")], b"").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_acls_only_the_owners_own_is_taken() {
    let w = World::start("BucketOwnerEnforced").await;
    const OFF: &str = "AccessControlListNotSupported";
    for acl in ["private", "bucket-owner-full-control"] {
        ok(&w.grant("/bucket/k", &[("x-amz-acl", acl)]).await);
    }
    ok(&w.grant("/bucket/k", &[("x-amz-grant-full-control", &id(OWNER))]).await);
    for header in
        [("x-amz-acl", "public-read"), ("x-amz-acl", "bucket-owner-read"), ("x-amz-grant-read", ALL)]
    {
        fails(&w.grant("/bucket/k", &[header]).await, 400, OFF);
        fails(&w.owner.send_with("POST", "/bucket/k?uploads", &[header], b"").await, 400, OFF);
        fails(&w.grant("/bucket/k", &[header, ("x-amz-copy-source", "/bucket/k")]).await, 400, OFF);
        fails(&w.grant("/bucket?acl", &[header]).await, 400, OFF);
        fails(&w.grant("/bucket/k?acl", &[header]).await, 400, OFF);
        fails(&w.grant("/new-bucket", &[header]).await, 400, "InvalidBucketAclWithObjectOwnership");
    }
    fails(&w.owner.put("/bucket?acl", &document(OWNER, "")).await, 400, OFF);
    for target in ["/bucket?acl", "/bucket/k?acl"] {
        let shown = w.owner.get(target).await.text();
        assert!(shown.matches("<Grant>").count() == 1 && shown.contains("FULL_CONTROL"), "{shown}");
    }
    // What another account puts by a policy is the bucket owner's.
    w.policy(&format!(
        r#"{{"Effect": "Allow", "Principal": {{"AWS": "{OTHER}"}}, "Action": "s3:PutObject*",
            "Resource": "arn:aws:s3:::bucket/*"}}"#
    ))
    .await;
    ok(&w
        .other
        .send_with("PUT", "/bucket/theirs", &[("x-amz-acl", "bucket-owner-full-control")], b"x")
        .await);
    ok(&w.owner.get("/bucket/theirs").await);
    denied(&w.other.get("/bucket/theirs").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ownership_is_given_changed_and_taken_away() {
    let w = World::start("ObjectWriter").await;
    let shown = async |bucket: &str| w.owner.get(&format!("/{bucket}?ownershipControls")).await;
    assert!(shown("bucket").await.text().contains("<ObjectOwnership>ObjectWriter</ObjectOwnership>"));
    denied(&w.other.get("/bucket?ownershipControls").await);
    denied(&w.other.delete("/bucket?ownershipControls").await);
    // Off only where the bucket itself grants nobody else anything.
    ok(&w.grant("/bucket?acl", &[("x-amz-grant-read", &id(OTHER))]).await);
    fails(&w.own("BucketOwnerEnforced").await, 400, "InvalidBucketAclWithObjectOwnership");
    ok(&w.other.get("/bucket").await);
    ok(&w.owner.delete("/bucket?ownershipControls").await);
    fails(&shown("bucket").await, 404, "OwnershipControlsNotFoundError");
    ok(&w.other.get("/bucket").await);
    ok(&w.grant("/bucket?acl", &[("x-amz-acl", "private")]).await);
    ok(&w.own("BucketOwnerEnforced").await);
    // At creation.
    let with = |ownership: &'static str| ("x-amz-object-ownership", ownership);
    for ownership in ["BucketOwnerPreferred", "ObjectWriter", "BucketOwnerEnforced"] {
        let bucket = ownership.to_lowercase();
        ok(&w.grant(&format!("/{bucket}"), &[with(ownership)]).await);
        assert!(shown(&bucket).await.text().contains(ownership));
        let block = w.owner.get(&format!("/{bucket}?publicAccessBlock")).await.text();
        assert_eq!(block.matches("true").count(), 4, "{block}");
    }
    fails(&w.grant("/other", &[with("Nobody")]).await, 400, "InvalidArgument");
    let public = [with("ObjectWriter"), ("x-amz-acl", "public-read")];
    fails(&w.grant("/other", &public).await, 400, "InvalidBucketAclWithBlockPublicAccessError");
    ok(&w.grant("/granted", &[with("ObjectWriter"), ("x-amz-grant-read", &id(OTHER))]).await);
    ok(&w.other.get("/granted").await);
    fails(
        &w.grant("/other", &[with("ObjectWriter"), ("x-amz-grant-read", "id=9")]).await,
        400,
        "InvalidArgument",
    );
    fails(&w.owner.get("/other").await, 404, "NoSuchBucket");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acls_that_are_none_are_refused_and_policies_see_what_is_asked() {
    let w = World::start("ObjectWriter").await;
    for target in ["/bucket?acl", "/bucket/k?acl"] {
        let both = [("x-amz-acl", "private"), ("x-amz-grant-read", "id=tester")];
        fails(&w.grant(target, &[]).await, 400, "MissingSecurityHeader");
        fails(&w.grant(target, &[("x-amz-acl", "open")]).await, 400, "InvalidArgument");
        fails(&w.grant(target, &both).await, 400, "InvalidRequest");
        fails(&w.grant(target, &[("x-amz-grant-read", "id=\"444455556666\"")]).await, 400, "InvalidArgument");
        let address = ("x-amz-grant-read", "emailAddress=\"a@b.example\"");
        fails(&w.grant(target, &[address]).await, 405, "MethodNotAllowed");
        let put = async |body: &[u8]| w.owner.put(target, body).await;
        fails(&put(b"<AccessControlPolicy/>").await, 400, "MalformedACLError");
        fails(&put(&document(OWNER, &to_account(OTHER, "ALL"))).await, 400, "MalformedACLError");
        fails(&put(&document(OWNER, &to_account(OTHER, "READ").repeat(101))).await, 400, "MalformedACLError");
        fails(&put(&document(OWNER, &to_account("444455556666", "READ"))).await, 400, "InvalidArgument");
        denied(&put(&document(OTHER, "")).await);
        let acl = [("x-amz-acl", "private")];
        let twice = w.owner.send_with("PUT", target, &acl, &document(OWNER, "")).await;
        fails(&twice, 400, "UnexpectedContent");
    }
    fails(&w.grant("/bucket/k?acl", &[("x-amz-acl", "log-delivery-write")]).await, 400, "InvalidArgument");
    ok(&w.grant("/bucket?acl", &[("x-amz-acl", "log-delivery-write")]).await);
    assert!(w.owner.get("/bucket?acl").await.text().contains("groups/s3/LogDelivery"));
    // An ACL of a new object is a permission of its own, which a policy may tie to what it says.
    let allow = |action: &str, condition: &str| {
        format!(
            r#"{{"Effect": "Allow", "Principal": {{"AWS": "{OTHER}"}}, "Action": "{action}",
                "Resource": "arn:aws:s3:::bucket/*" {condition}}}"#
        )
    };
    let put = async |acl: &str| w.other.send_with("PUT", "/bucket/n", &[("x-amz-acl", acl)], b"x").await;
    w.policy(&allow("s3:PutObject", "")).await;
    ok(&w.other.put("/bucket/n", b"x").await);
    denied(&put("bucket-owner-full-control").await);
    let only = r#", "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}"#;
    w.policy(&allow("s3:PutObject*", only)).await;
    ok(&put("bucket-owner-full-control").await);
    denied(&put("private").await);
    denied(&w.other.put("/bucket/n", b"x").await);
    // The same of the bucket's, and of grants.
    w.policy(
        r#"{"Effect": "Deny", "Principal": "*", "Action": ["s3:PutBucketAcl", "s3:PutObjectAcl"],
            "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"],
            "Condition": {"StringLike": {"s3:x-amz-grant-read": "*111122223333*"}}}"#,
    )
    .await;
    for target in ["/bucket?acl", "/bucket/k?acl"] {
        denied(&w.grant(target, &[("x-amz-grant-read", &id(OTHER))]).await);
        ok(&w.grant(target, &[("x-amz-grant-read", &id(THIRD))]).await);
    }
    // A policy that can't be read denies what an ACL grants (row 25): none can be put by S3, so it is put below.
    ok(&w.third.get("/bucket/k").await);
    let bucket = w.store.meta.client().bucket("bucket").await.expect("the bucket");
    let text = "{not a policy".to_owned();
    w.store.meta.client().put_bucket_policy(("bucket", bucket.id), text, false).await.expect("it is kept");
    denied(&w.third.get("/bucket/k").await);
    denied(&w.third.get("/bucket").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_delivery_is_let_in_by_a_grant() {
    let w = World::start("ObjectWriter").await;
    let logging = b"<BucketLoggingStatus><LoggingEnabled><TargetBucket>bucket</TargetBucket>\
                    <TargetPrefix>log/</TargetPrefix></LoggingEnabled></BucketLoggingStatus>";
    let refused = w.owner.put("/bucket?logging", logging).await;
    fails(&refused, 400, "InvalidTargetBucketForLogging");
    ok(&w.grant("/bucket?acl", &[("x-amz-acl", "log-delivery-write")]).await);
    ok(&w.owner.put("/bucket?logging", logging).await);
    denied(&w.other.put("/bucket/log/mine", b"x").await);
    ok(&w.grant("/bucket?acl", &[("x-amz-acl", "private")]).await);
    fails(&w.owner.put("/bucket?logging", logging).await, 400, "InvalidTargetBucketForLogging");
}

/// One name, now public and now secret: what a stranger gets was public when it was opened, not only when it was judged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_is_opened_as_it_was_judged() {
    const ROUNDS: usize = 40;
    let w = std::sync::Arc::new(World::start("ObjectWriter").await);
    w.lift().await;
    ok(&w.grant("/bucket/k", &[("x-amz-acl", "private")]).await);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (w, stop) = (std::sync::Arc::clone(&w), std::sync::Arc::clone(&stop));
            tokio::spawn(async move {
                let mut public = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let answer = w.stranger("GET", "/bucket/k", b"").await;
                    match answer.status {
                        200 => {
                            assert_eq!(answer.body, b"public");
                            public += 1;
                        }
                        503 => {}
                        _ => denied(&answer),
                    }
                }
                public
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        ok(&w.owner.send_with("PUT", "/bucket/k", &[("x-amz-acl", "public-read")], b"public").await);
        ok(&w.stranger("GET", "/bucket/k", b"").await);
        ok(&w.owner.put("/bucket/k", b"secret").await);
        denied(&w.stranger("GET", "/bucket/k", b"").await);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut public = 0;
    for reader in readers {
        public += reader.await.expect("no reader saw a secret");
    }
    assert!(public > 0, "the readers never came at the right moment");
}
