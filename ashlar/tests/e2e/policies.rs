//! A bucket opened to the public and closed again, with aws-cli for the owner and plain HTTP for the public; and
//! what one gateway's owner revokes, as another gateway sees it.

use crate::awscli::{Aws, aws_program};
use crate::harness::{Store, clean, seed, skip};
use crate::s3_client::{S3Client, runtime};
use std::time::Duration;
use trial::fleet::{Fleet, Network};

const MINUTE: Duration = Duration::from_secs(60);
/// The account of the key that `up` makes.
const ACCOUNT: &str = "000000000000";
const INDEX: &str = "arn:aws:s3:::site/index";

/// What the public gets, and the code if it is refused.
fn unsigned(base: &str, path: &str, headers: &[&str]) -> (u16, String) {
    let mut curl = clean("curl");
    curl.args(["--silent", "--show-error", "--path-as-is", "-w", "\n%{http_code}"]);
    for header in headers {
        curl.args(["-H", header]);
    }
    let output = curl.arg(format!("{base}{path}")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    (status.parse().unwrap(), code.map_or(body, |(code, _)| code).to_owned())
}

fn policy(statement: &str) -> String {
    format!(r#"{{"Version": "2012-10-17", "Statement": [{statement}]}}"#)
}

/// Lets everybody read, under a condition.
fn public_read(condition: &str) -> String {
    policy(&format!(
        r#"{{"Sid": "read", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::site/*", "Condition": {condition}}}"#
    ))
}

fn put_policy(aws: &Aws, text: &str) {
    aws.run(&["s3api", "put-bucket-policy", "--bucket", "site", "--policy", text]);
}

const BLOCKED: &str =
    "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=false,RestrictPublicBuckets=true";
const LIFTED: &str =
    "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=false,RestrictPublicBuckets=false";

fn put_block(aws: &Aws, settings: &str) {
    let configuration = format!("--public-access-block-configuration={settings}");
    aws.run(&["s3api", "put-public-access-block", "--bucket", "site", &configuration]);
}

#[test]
fn a_bucket_is_public_by_policy_and_lifted_block_only() {
    let Some(program) = aws_program() else {
        return skip("a_bucket_is_public_by_policy_and_lifted_block_only", "aws-cli is not installed");
    };
    let mut store = Store::start("1G");
    let base = store.env("AWS_ENDPOINT_URL");
    let page = store.dir.path().join("page");
    std::fs::write(&page, "hello").unwrap();
    let aws = Aws::of(program.clone(), &store);
    aws.run(&["s3api", "create-bucket", "--bucket", "site"]);
    aws.run(&["s3", "cp", "--only-show-errors", page.to_str().unwrap(), "s3://site/index"]);
    let get = |headers: &[&str]| unsigned(&base, "/site/index", headers);
    let (open, closed) = ((200, "hello".to_owned()), (403, "AccessDenied".to_owned()));
    let everybody = public_read("{}");

    // Denied before, with only the policy, with only the block lifted.
    assert_eq!(get(&[]), closed);
    let block = aws.run(&["s3api", "get-public-access-block", "--bucket", "site", "--output", "text"]);
    assert_eq!(block.matches("True").count(), 4, "{block}");
    aws.fails(&["s3api", "get-bucket-policy", "--bucket", "site"], "NoSuchBucketPolicy");
    let put = ["s3api", "put-bucket-policy", "--bucket", "site", "--policy", &everybody];
    aws.fails(&put, "AccessDenied");
    put_block(&aws, BLOCKED);
    put_policy(&aws, &everybody);
    assert_eq!(get(&[]), closed);
    let status = aws.run(&["s3api", "get-bucket-policy-status", "--bucket", "site", "--output", "text"]);
    assert!(status.contains("True"), "{status}");
    aws.run(&["s3api", "delete-bucket-policy", "--bucket", "site"]);
    put_block(&aws, LIFTED);
    assert_eq!(get(&[]), closed);
    // Allowed with both, and denied at once by either.
    put_policy(&aws, &everybody);
    assert_eq!(get(&[]), open);
    let test = |who: &'static str| {
        [
            "policy",
            "test",
            "--bucket",
            "site",
            "--principal",
            who,
            "--action",
            "s3:GetObject",
            "--resource",
            INDEX,
        ]
    };
    let said = store.cli(&test("anonymous"));
    assert!(said.contains("allowed") && said.contains("0 (read)"), "{said}");
    let kept = aws.run(&["s3api", "get-bucket-policy", "--bucket", "site", "--output", "text"]);
    assert_eq!(kept.trim_end(), everybody, "byte for byte");
    assert_eq!(unsigned(&base, "/site/other", &[]), closed);
    assert_eq!(unsigned(&base, "/site", &[]), closed);
    put_block(&aws, BLOCKED);
    assert_eq!(get(&[]), closed);
    put_block(&aws, LIFTED);
    assert_eq!(get(&[]), open);
    aws.run(&["s3api", "delete-bucket-policy", "--bucket", "site"]);
    assert_eq!(get(&[]), closed);
    let said = store.command(&test("anonymous")).output().unwrap();
    assert_eq!(said.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&said.stdout).contains("the bucket has no policy"));
    assert!(store.cli(&test(ACCOUNT)).contains("root"));

    conditions(&aws, &base);
    aws.fails(&["s3api", "put-bucket-policy", "--bucket", "site", "--policy", "{}"], "MalformedPolicy");
    aws.run(&["s3api", "delete-public-access-block", "--bucket", "site"]);
    let none = "NoSuchPublicAccessBlockConfiguration";
    aws.fails(&["s3api", "get-public-access-block", "--bucket", "site"], none);
    put_policy(&aws, &everybody);

    // What was put outlives the process, and the state that is made again from the log.
    store.stop();
    std::fs::remove_dir_all(store.data().join("meta/state")).unwrap();
    store.up();
    let base = store.env("AWS_ENDPOINT_URL");
    let aws = Aws::of(program, &store);
    assert_eq!(unsigned(&base, "/site/index", &[]), open);
    aws.fails(&["s3api", "get-public-access-block", "--bucket", "site"], none);
    aws.run(&["s3api", "delete-bucket-policy", "--bucket", "site"]);
    assert_eq!(unsigned(&base, "/site/index", &[]), closed);
}

/// The bucket has no policy before and after, and its block is lifted.
fn conditions(aws: &Aws, base: &str) {
    let forwarded =
        ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "Referer: https://a.example/"];
    for (condition, status) in [
        (r#"{"IpAddress": {"aws:SourceIp": "127.0.0.1/32"}}"#, 200),
        (r#"{"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}"#, 403),
        (r#"{"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}"#, 403),
        (r#"{"Bool": {"aws:SecureTransport": "true"}}"#, 403),
        (r#"{"StringLike": {"aws:Referer": "https://a.example/*"}}"#, 200),
        (r#"{"StringLike": {"aws:Referer": "https://b.example/*"}}"#, 403),
    ] {
        put_policy(aws, &public_read(condition));
        assert_eq!(unsigned(base, "/site/index", &forwarded).0, status, "{condition}");
    }
    let list = policy(
        r#"{"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::site",
            "Condition": {"StringEquals": {"s3:prefix": "in"}}}"#,
    );
    put_policy(aws, &list);
    assert_eq!(unsigned(base, "/site?list-type=2&prefix=in", &[]).0, 200);
    for near in ["", "&prefix=", "&prefix=i", "&prefix=ind", "&prefix=In", "&Prefix=in", "&delimiter=in"] {
        assert_eq!(unsigned(base, &format!("/site?list-type=2{near}"), &[]).0, 403, "{near}");
    }
    // Whom a Deny doesn't spare, it stops, whatever allows.
    let spare = format!(r#""NotPrincipal": {{"AWS": "arn:aws:iam::{ACCOUNT}:root"}}"#);
    let deny =
        format!(r#"{{"Effect": "Deny", {spare}, "Action": "s3:*", "Resource": "arn:aws:s3:::site/*"}}"#);
    let allow =
        r#"{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::site/*"}"#;
    put_policy(aws, &policy(&format!("{allow}, {deny}")));
    assert_eq!(unsigned(base, "/site/index", &[]).0, 403);
    aws.run(&["s3api", "head-object", "--bucket", "site", "--key", "index"]);
    put_policy(aws, &policy(&format!("{allow}, {}", deny.replace("NotPrincipal", "Principal"))));
    assert_eq!(unsigned(base, "/site/index", &[]).0, 200, "the Deny is for the owner alone");
    assert!(
        !aws.command(&["s3api", "head-object", "--bucket", "site", "--key", "index"])
            .output()
            .unwrap()
            .status
            .success()
    );
    aws.run(&["s3api", "delete-bucket-policy", "--bucket", "site"]);
}

#[test]
fn what_is_revoked_at_one_gateway_is_revoked_at_the_other() {
    let fleet = Fleet::start("1G", Network::Plain, seed()).unwrap();
    fleet.await_gateway(MINUTE);
    let other = fleet.second_gateway("gateway-two");
    let (first, second) = (fleet.s3_url(), other.ready("s3"));
    let (one, two) = (fleet.s3(), fleet.s3_at(second.clone()));
    let none = "<PublicAccessBlockConfiguration/>";
    let restricted = "<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets>\
        </PublicAccessBlockConfiguration>";
    runtime().block_on(async {
        assert_eq!(one.put("/site", Vec::new()).await.unwrap().status, 200);
        assert_eq!(two.put("/site/index", b"hello".to_vec()).await.unwrap().status, 200);
        let http = reqwest::Client::new();
        let seen =
            async |base: &str| http.get(format!("{base}/site/index")).send().await.unwrap().status().as_u16();
        let put = async |client: &S3Client, what: &str, body: &str| {
            let status = client.put(&format!("/site?{what}"), body.as_bytes().to_vec()).await.unwrap().status;
            assert!(status == 200 || status == 204, "{what}: {status}");
        };
        // Each change at one gateway; each look at the other first, where a cache would still say the opposite.
        for _ in 0..20 {
            put(&one, "publicAccessBlock", none).await;
            put(&one, "policy", &public_read("{}")).await;
            assert_eq!((seen(&second).await, seen(&first).await), (200, 200));
            put(&two, "publicAccessBlock", restricted).await;
            assert_eq!((seen(&first).await, seen(&second).await), (403, 403));
            put(&one, "publicAccessBlock", none).await;
            assert_eq!((seen(&second).await, seen(&first).await), (200, 200));
            put(&two, "policy", &public_read(r#"{"Bool": {"aws:SecureTransport": "true"}}"#)).await;
            assert_eq!((seen(&first).await, seen(&second).await), (403, 403));
        }
    });
    other.stop();
}
