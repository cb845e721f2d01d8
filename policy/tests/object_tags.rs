//! Whether a policy asks for the tags of the object that is there, and that one which does not is decided alike
//! whatever they are: who evaluates it then need not read them.

use policy::{Attached, Caller, Context, Kind, Policies, Policy, Request, ResourcePolicy, evaluate};

const A: &str = "111111111111";
const B: &str = "222222222222";

fn bucket(version: &str, statements: &str) -> Policy {
    let text = format!(r#"{{"Version": "{version}", "Statement": [{statements}]}}"#);
    Policy::parse(&text, Kind::Bucket("photos")).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// A statement for everybody about `photos/red`, with more in it.
fn statement(effect: &str, more: &str) -> String {
    format!(r#"{{"Effect": "{effect}", "Principal": "*", "Action": "s3:GetObject", {more}}}"#)
}

fn resource(of: &str) -> String {
    format!(r#""Resource": "arn:aws:s3:::photos/{of}""#)
}

fn condition(of: &str) -> String {
    format!(r#"{}, "Condition": {of}"#, resource("*"))
}

/// Whether the owner's root, who needs no Allow, and a stranger get `photos/red` if it has this tag.
fn decided(policy: &Policy, tag: Option<(&str, &str)>) -> [bool; 2] {
    let mut context = Context::new();
    context.set("aws:PrincipalAccount", A).set("aws:Referer", "red");
    if let Some((name, value)) = tag {
        context.set(&format!("s3:ExistingObjectTag/{name}"), value);
    }
    [Caller::Root { account: A.into() }, Caller::Anonymous].map(|caller| {
        let request = Request {
            caller: &caller,
            canonical_id: None,
            action: "s3:GetObject",
            resource: "arn:aws:s3:::photos/red",
            resource_account: Some(A),
            context: &context,
        };
        let attached = Attached { name: "bucket/photos", policy: Some(policy) };
        let policies = Policies { resource: ResourcePolicy::Bucket(attached), ..Policies::default() };
        evaluate(&request, &policies).allowed
    })
}

/// Whether one of these tags decides otherwise than none.
fn depends(policy: &Policy) -> bool {
    let tags = [("Class", "red"), ("class", "blue"), ("a/b", "red"), ("class", "*")];
    let without = decided(policy, None);
    tags.into_iter().any(|tag| decided(policy, Some(tag)) != without)
}

#[test]
fn what_asks_for_tags_depends_on_them() {
    for more in [
        condition(r#"{"StringEquals": {"s3:ExistingObjectTag/class": "red"}}"#),
        condition(r#"{"StringLike": {"S3:EXISTINGOBJECTTAG/CLASS": "r*"}}"#),
        condition(r#"{"StringNotEquals": {"s3:ExistingObjectTag/class": ["red", "green"]}}"#),
        condition(r#"{"StringEqualsIfExists": {"s3:ExistingObjectTag/class": "red"}}"#),
        condition(r#"{"ForAllValues:StringEquals": {"s3:ExistingObjectTag/class": "red"}}"#),
        condition(r#"{"Null": {"s3:ExistingObjectTag/class": "true"}}"#),
        condition(
            r#"{"StringEquals": {"aws:Referer": "red"}, "Null": {"s3:ExistingObjectTag/a/b": "false"}}"#,
        ),
        condition(r#"{"StringEquals": {"aws:Referer": "${s3:ExistingObjectTag/class}"}}"#),
        condition(r#"{"StringEqualsIgnoreCase": {"aws:Referer": "${S3:existingobjecttag/CLASS}"}}"#),
        condition(r#"{"StringLike": {"aws:Referer": "${s3:ExistingObjectTag/class, 'none'}"}}"#),
        resource("${s3:ExistingObjectTag/class}"),
        resource("*${s3:ExistingObjectTag/class}"),
    ] {
        let policy = bucket("2012-10-17", &statement("Allow", &more));
        assert!(policy.asks_for_object_tags() && depends(&policy), "{more}");
    }
    // One statement of many is enough, an element by exception too.
    let tagged = statement("Deny", &condition(r#"{"StringEquals": {"s3:ExistingObjectTag/class": "red"}}"#));
    let two = bucket("2012-10-17", &format!("{}, {tagged}", statement("Allow", &resource("*"))));
    assert!(two.asks_for_object_tags() && depends(&two));
    let except = r#""NotResource": "arn:aws:s3:::photos/${s3:ExistingObjectTag/class}""#;
    let policy = bucket(
        "2012-10-17",
        &format!("{}, {}", statement("Allow", &resource("*")), statement("Deny", except)),
    );
    assert!(policy.asks_for_object_tags() && depends(&policy));
}

#[test]
fn what_does_not_ask_for_tags_does_not_depend_on_them() {
    for (version, more) in [
        ("2012-10-17", resource("*")),
        ("2012-10-17", resource("s3:ExistingObjectTag/class")),
        ("2012-10-17", resource("${aws:Referer}")),
        ("2012-10-17", condition(r#"{"StringEquals": {"aws:Referer": "s3:ExistingObjectTag/class"}}"#)),
        ("2012-10-17", condition(r#"{"StringEquals": {"aws:Referer": "${$}{s3:ExistingObjectTag/class}"}}"#)),
        ("2012-10-17", condition(r#"{"StringEquals": {"s3:RequestObjectTag/class": "red"}}"#)),
        ("2012-10-17", condition(r#"{"Bool": {"aws:SecureTransport": "true"}}"#)),
        ("2012-10-17", condition(r#"{"NumericLessThan": {"s3:max-keys": "10"}}"#)),
        ("2012-10-17", condition(r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#)),
        ("2012-10-17", condition(r#"{"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}}"#)),
        // There are no variables in the earlier version.
        ("2008-10-17", resource("${s3:ExistingObjectTag/class}")),
        ("2008-10-17", condition(r#"{"StringEquals": {"aws:Referer": "${s3:ExistingObjectTag/class}"}}"#)),
    ] {
        for effect in ["Allow", "Deny"] {
            let policy = bucket(version, &statement(effect, &more));
            assert!(!policy.asks_for_object_tags() && !depends(&policy), "{effect} {more}");
        }
    }
}

#[test]
fn arns_with_variables_ask_for_tags() {
    let ask = |value: &str| {
        let text = format!(
            r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Deny", "Action": "*", "Resource": "*",
                "Condition": {{"ArnEquals": {{"aws:PrincipalArn": "{value}"}}}}}}}}"#
        );
        Policy::parse(&text, Kind::Managed)
            .unwrap_or_else(|error| panic!("{error} in {text}"))
            .asks_for_object_tags()
    };
    assert!(ask("${s3:ExistingObjectTag/owner}"));
    assert!(ask(&format!("arn:aws:iam::{B}:user/${{s3:ExistingObjectTag/owner}}")));
    assert!(!ask("${aws:PrincipalArn}") && !ask("*") && !ask(&format!("arn:aws:iam::{B}:user/*")));
}
