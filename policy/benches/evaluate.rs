//! Policies by themselves: `cargo bench -p policy`.
#![allow(clippy::unwrap_used)]

use divan::{Bencher, black_box};
use policy::{Attached, Caller, Context, Kind, Policies, Policy, Request, ResourcePolicy, evaluate};

const ACCOUNT: &str = "111111111111";
/// Statements of a small, a medium and a large bucket policy; the large one is near the limit of 20 KiB.
const STATEMENTS: [usize; 3] = [1, 10, 60];

fn main() {
    divan::main();
}

/// A policy of which only the last statement is about the request that is asked about.
fn text(statements: usize) -> String {
    let statement = |index: usize| {
        format!(
            r#"{{"Sid": "S{index}", "Effect": "Allow", "Principal": {{"AWS": "arn:aws:iam::{ACCOUNT}:user/u{index}"}},
            "Action": ["s3:GetObject", "s3:Put*"], "Resource": "arn:aws:s3:::photos/team-{index}/*",
            "Condition": {{"IpAddress": {{"aws:SourceIp": "10.0.0.0/8"}}, "StringLike": {{"s3:prefix": ["a*", "b*"]}}}}}}"#
        )
    };
    let others = (0..statements - 1).map(statement);
    let last = format!(
        r#"{{"Effect": "Allow", "Principal": {{"AWS": "arn:aws:iam::{ACCOUNT}:user/alice"}},
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/${{aws:username}}/*",
        "Condition": {{"IpAddress": {{"aws:SourceIp": "10.0.0.0/8"}}}}}}"#
    );
    let all: Vec<String> = others.chain([last]).collect();
    format!(r#"{{"Version": "2012-10-17", "Statement": [{}]}}"#, all.join(","))
}

#[divan::bench(args = STATEMENTS)]
fn parse(bencher: Bencher<'_, '_>, statements: usize) {
    let text = text(statements);
    bencher.bench(|| Policy::parse(black_box(&text), Kind::Bucket("photos")).unwrap());
}

#[divan::bench(args = STATEMENTS)]
fn decide(bencher: Bencher<'_, '_>, statements: usize) {
    let policy = Policy::parse(&text(statements), Kind::Bucket("photos")).unwrap();
    let attached = Attached { name: "bucket/photos", policy: Some(&policy) };
    let caller = Caller::User { account: ACCOUNT.into(), arn: format!("arn:aws:iam::{ACCOUNT}:user/alice") };
    let mut context = Context::new();
    context.set("aws:username", "alice").set("aws:SourceIp", "10.1.2.3");
    let request = Request {
        caller: &caller,
        canonical_id: None,
        action: "s3:GetObject",
        resource: "arn:aws:s3:::photos/alice/2026/11/23/picture.jpg",
        resource_account: Some(ACCOUNT),
        context: &context,
    };
    let policies = Policies { resource: ResourcePolicy::Bucket(attached), ..Policies::default() };
    assert!(evaluate(&request, &policies).allowed);
    bencher.bench(|| evaluate(black_box(&request), black_box(&policies)));
}
