//! Websites: what a browser gets, and that the policy and the public access block both decide about it.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/life.rs"]
mod life;
mod support;

use life::{Life, WEBSITES};
use support::{Call, Client, Response, Signing};

#[track_caller]
fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{:?}\n{}", response.headers, response.text());
}

/// A request of a browser to the site's host.
async fn visit(
    client: &Client,
    method: &'static str,
    site: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Response {
    let call = Call { method, target: path.into(), signing: Signing::Anonymous, ..Call::default() };
    let mut prepared = client.prepare(&call).set("host", &format!("{site}.{WEBSITES}:9000"));
    for (name, value) in headers {
        prepared = prepared.add(name, value);
    }
    client.send(&prepared).await
}

async fn browse(client: &Client, path: &str) -> Response {
    visit(client, "GET", "site", path, &[]).await
}

fn policy(resource: &str) -> String {
    format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
           "Resource": "arn:aws:s3:::site/{resource}"}}]}}"#
    )
}

const OPEN_BLOCK: &str = "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true\
    </IgnorePublicAcls><BlockPublicPolicy>false</BlockPublicPolicy><RestrictPublicBuckets>RESTRICT\
    </RestrictPublicBuckets></PublicAccessBlockConfiguration>";

const PAGES: &str = "<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument>\
    <ErrorDocument><Key>errors/oops.html</Key></ErrorDocument><RoutingRules>\
    <RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition><Redirect><ReplaceKeyPrefixWith>new/\
    </ReplaceKeyPrefixWith></Redirect></RoutingRule>\
    <RoutingRule><Condition><KeyPrefixEquals>gone/</KeyPrefixEquals><HttpErrorCodeReturnedEquals>403\
    </HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>other.test</HostName><HttpRedirectCode>302\
    </HttpRedirectCode></Redirect></RoutingRule></RoutingRules></WebsiteConfiguration>";

async fn open_to_all(client: &Client) {
    expect(
        &client.put("/site?publicAccessBlock", OPEN_BLOCK.replace("RESTRICT", "false").as_bytes()).await,
        200,
    );
    expect(&client.put("/site?policy", policy("*").as_bytes()).await, 204);
}

async fn filled(client: &Client) {
    expect(&client.put("/site", b"").await, 200);
    for (key, body) in [
        ("index.html", "home"),
        ("docs/index.html", "docs"),
        ("page", "0123456789"),
        ("errors/oops.html", "oops"),
    ] {
        expect(&client.put(&format!("/site/{key}"), body.as_bytes()).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_open_only_by_policy_and_lifted_block() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    filled(&client).await;
    // Not a website, and no bucket at all, are the same to strangers.
    for site in ["site", "none-there"] {
        let answer = visit(&client, "GET", site, "/", &[]).await;
        expect(&answer, 404);
        assert!(answer.text().contains("<li>Code: NoSuchWebsiteConfiguration</li>"), "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    }
    expect(&client.put("/site?website", PAGES.as_bytes()).await, 200);
    expect(&browse(&client, "/").await, 403);
    // The policy can't even be put before the block is lifted.
    expect(&client.put("/site?policy", policy("*").as_bytes()).await, 403);
    let restricted = OPEN_BLOCK.replace("RESTRICT", "true");
    expect(&client.put("/site?publicAccessBlock", restricted.as_bytes()).await, 200);
    expect(&client.put("/site?policy", policy("*").as_bytes()).await, 204);
    expect(&browse(&client, "/").await, 403);
    open_to_all(&client).await;
    let home = browse(&client, "/").await;
    expect(&home, 200);
    assert_eq!(home.text(), "home");
    // Whoever claims to be somebody is nobody here, and asks for nothing but pages.
    let claims = [("authorization", "AWS4-HMAC-SHA256 nonsense"), ("x-amz-date", "nonsense")];
    expect(&visit(&client, "GET", "site", "/?acl&versionId=x&X-Amz-Signature=y", &claims).await, 200);
    // What is revoked is revoked at once, on either side.
    expect(&client.put("/site?publicAccessBlock", restricted.as_bytes()).await, 200);
    expect(&browse(&client, "/").await, 403);
    open_to_all(&client).await;
    expect(&client.delete("/site?policy").await, 204);
    expect(&browse(&client, "/").await, 403);
    expect(&client.put("/site?policy", policy("page").as_bytes()).await, 204);
    expect(&browse(&client, "/page").await, 200);
    // The error document is a page like any other: who may not read it gets the gateway's own.
    let refused = browse(&client, "/").await;
    expect(&refused, 403);
    assert!(refused.text().contains("<li>Code: AccessDenied</li>"), "{}", refused.text());
    expect(&client.delete("/site?website").await, 204);
    expect(&browse(&client, "/page").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_folders_errors_and_redirects() {
    let store = Life::create(1 << 30).await;
    let client = store.client();
    filled(&client).await;
    expect(&client.put("/site?website", PAGES.as_bytes()).await, 200);
    open_to_all(&client).await;
    for (path, body) in
        [("/", "home"), ("/docs/", "docs"), ("/page", "0123456789"), ("/page?x=1", "0123456789")]
    {
        let answer = browse(&client, path).await;
        expect(&answer, 200);
        assert_eq!(answer.text(), body, "{path}");
    }
    let part = visit(&client, "GET", "site", "/page", &[("range", "bytes=2-4")]).await;
    expect(&part, 206);
    assert_eq!(part.text(), "234");
    let etag = part.header("etag").unwrap().to_owned();
    expect(&visit(&client, "GET", "site", "/page", &[("if-none-match", &etag)]).await, 304);
    let head = visit(&client, "HEAD", "site", "/page", &[]).await;
    expect(&head, 200);
    assert_eq!((head.header("content-length"), head.body.len()), (Some("10"), 0));
    let location = |answer: &Response| answer.header("location").unwrap_or_default().to_owned();
    let folder = browse(&client, "/docs").await;
    expect(&folder, 302);
    assert_eq!(location(&folder), "/docs/");
    let moved = browse(&client, "/old/a%20b").await;
    expect(&moved, 301);
    assert_eq!(location(&moved), format!("http://site.{WEBSITES}:9000/new/a%20b"));
    // Nobody may list the bucket, so what is missing is forbidden.
    let gone = browse(&client, "/gone/x").await;
    expect(&gone, 302);
    assert_eq!(location(&gone), "http://other.test/gone/x");
    let missing = visit(&client, "GET", "site", "/nothing", &[("range", "bytes=2-3")]).await;
    expect(&missing, 403);
    assert_eq!(missing.text(), "oops");
    let head = visit(&client, "HEAD", "site", "/nothing", &[]).await;
    expect(&head, 403);
    assert_eq!(head.body.len(), 0);
    for method in ["PUT", "POST", "DELETE"] {
        let refused = visit(&client, method, "site", "/page", &[]).await;
        expect(&refused, 405);
        assert!(refused.text().starts_with("<html>"), "{}", refused.text());
    }
    let elsewhere = "<WebsiteConfiguration><RedirectAllRequestsTo><HostName>a.test</HostName><Protocol>https</Protocol>\
                     </RedirectAllRequestsTo></WebsiteConfiguration>";
    expect(&client.put("/site?website", elsewhere.as_bytes()).await, 200);
    let all = browse(&client, "/docs/x").await;
    expect(&all, 301);
    assert_eq!(location(&all), "https://a.test/docs/x");
    // The bucket itself is served as before at its own address.
    expect(&client.get("/site/page").await, 200);
}
