//! What a policy may contain, by its kind, and what each refusal says.

use policy::{ErrorKind, Kind, Policy, limits};

const BUCKET: Kind<'static> = Kind::Bucket("photos");

fn bucket(statement: &str) -> policy::Result<Policy> {
    Policy::parse(&format!(r#"{{"Version": "2012-10-17", "Statement": [{statement}]}}"#), BUCKET)
}

/// A statement of a bucket's policy that is right but for `change`d text.
fn changed(from: &str, to: &str) -> policy::Result<Policy> {
    let right = r#"{"Sid": "one", "Effect": "Allow", "Principal": {"AWS": "111122223333"},
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*",
        "Condition": {"StringLike": {"s3:VersionId": "a*"}}}"#;
    assert!(right.contains(from), "{from}");
    bucket(&right.replace(from, to))
}

#[test]
fn what_is_right_is_taken() {
    for (from, to) in [
        ("one", "one"),
        (r#"{"AWS": "111122223333"}"#, r#""*""#),
        (r#""111122223333""#, r#"["111122223333", "arn:aws:iam::111122223333:root", "*"]"#),
        ("111122223333", "arn:aws:iam::111122223333:user/division/alice"),
        ("111122223333", "arn:aws:iam::111122223333:role/backup"),
        ("111122223333", "arn:aws:sts::111122223333:assumed-role/backup/session"),
        ("111122223333", "arn:aws:sts::111122223333:federated-user/bob"),
        ("s3:GetObject", "s3:Get*"),
        ("s3:GetObject", "S3:getobject"),
        ("s3:GetObject", "*"),
        (r#""Action""#, r#""NotAction""#),
        (r#""Resource""#, r#""NotResource""#),
        ("arn:aws:s3:::photos/*", "arn:aws:s3:::photos/${aws:username}/*"),
        ("arn:aws:s3:::photos/*", "arn:aws:s3:::photos/${aws:username, 'nobody'}/${*}"),
        (r#"{"s3:VersionId": "a*"}"#, "{}"),
        (r#"{"StringLike": {"s3:VersionId": "a*"}}"#, "{}"),
        (r#"{"s3:VersionId": "a*"}"#, r#"{"S3:VERSIONID": ["a", "b"]}"#),
        (r#""StringLike": {"s3:VersionId": "a*"}"#, r#""Bool": {"aws:SecureTransport": true}"#),
        (r#""StringLike": {"s3:VersionId": "a*"}"#, r#""NumericLessThan": {"s3:max-keys": 10}"#),
        (r#""StringLike": {"s3:VersionId": "a*"}"#, r#""DateLessThan": {"aws:CurrentTime": "2030-01-01"}"#),
        (
            r#""StringLike": {"s3:VersionId": "a*"}"#,
            r#""IpAddressIfExists": {"aws:SourceIp": ["::/0", "10.0.0.1"]}"#,
        ),
        (
            r#""StringLike": {"s3:VersionId": "a*"}"#,
            r#""ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}"#,
        ),
        (r#""StringLike": {"s3:VersionId": "a*"}"#, r#""BinaryEquals": {"aws:Referer": "QUJD"}"#),
        (r#""StringLike": {"s3:VersionId": "a*"}"#, r#""Null": {"aws:SourceVpce": "true"}"#),
        (
            r#""StringLike": {"s3:VersionId": "a*"}"#,
            r#""ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["a"]}"#,
        ),
    ] {
        changed(from, to).unwrap_or_else(|error| panic!("{to}: {error}"));
    }
    bucket(r#"{"Effect":"Deny","NotPrincipal":{"AWS":"111122223333"},"Action":"s3:*","Resource":"*"}"#)
        .unwrap();
    let one = r#"{"Statement": {"Effect": "Allow", "Action": "ec2:Run*", "Resource": "*"}}"#;
    Policy::parse(one, Kind::Managed).unwrap();
    let trust = r#"{"Statement": {"Effect": "Allow", "Principal": {"Federated": "accounts.example.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession"]}}"#;
    Policy::parse(trust, Kind::Trust).unwrap();
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    for (from, to, at) in [
        (r#""Sid""#, r#""sid""#, "Statement[0].sid"),
        ("Allow", "allow", "Statement[0].Effect"),
        (r#""Effect": "Allow", "#, "", "Statement[0].Effect"),
        (r#""Principal": {"AWS": "111122223333"},"#, "", "Statement[0].Principal"),
        (r#""Principal""#, r#""NotPrincipal""#, "Statement[0].NotPrincipal"),
        (r#"{"AWS": "111122223333"}"#, r#""111122223333""#, "Statement[0].Principal"),
        (r#"{"AWS": "111122223333"}"#, "{}", "Statement[0].Principal"),
        (r#""AWS""#, r#""Aws""#, "Statement[0].Principal.Aws"),
        ("111122223333", "11112222333", "Statement[0].Principal.AWS"),
        ("111122223333", "arn:aws:iam::111122223333:user/*", "Statement[0].Principal.AWS"),
        ("111122223333", "arn:aws:iam::111122223333:group/admins", "Statement[0].Principal.AWS"),
        ("111122223333", "arn:aws:sts::111122223333:assumed-role/backup", "Statement[0].Principal.AWS"),
        ("s3:GetObject", "s3:GetObjectX", "Statement[0].Action"),
        ("s3:GetObject", "ec2:RunInstances", "Statement[0].Action"),
        ("s3:GetObject", "GetObject", "Statement[0].Action"),
        ("s3:GetObject", "s3:ListBucket", "Statement[0].Action"),
        (r#""s3:GetObject""#, "[]", "Statement[0].Action"),
        (r#""s3:GetObject""#, "7", "Statement[0].Action"),
        (r#""Action": "s3:GetObject","#, "", "Statement[0].Action"),
        ("arn:aws:s3:::photos/*", "photos/*", "Statement[0].Resource"),
        ("arn:aws:s3:::photos/*", "arn:aws:s3:::other/*", "Statement[0].Resource"),
        ("arn:aws:s3:::photos/*", "arn:aws:s3:::photos/${aws:username", "Statement[0].Resource"),
        ("arn:aws:s3:::photos/*", "arn:aws:s3:${aws:username}::photos/*", "Statement[0].Resource"),
        ("arn:aws:s3:::photos/*", "${aws:PrincipalArn}", "Statement[0].Resource"),
        ("StringLike", "StringMatches", "Statement[0].Condition.StringMatches"),
        ("StringLike", "stringlike", "Statement[0].Condition.stringlike"),
        ("StringLike", "IpAddress", "Statement[0].Condition.IpAddress.s3:VersionId"),
        ("s3:VersionId", "s3:Version", "Statement[0].Condition.StringLike.s3:Version"),
        (r#""a*""#, "[]", "Statement[0].Condition.StringLike.s3:VersionId"),
        (r#""a*""#, "null", "Statement[0].Condition.StringLike.s3:VersionId"),
        (r#""a*""#, r#""a", "S3:versionid": "b""#, "Statement[0].Condition.StringLike.S3:versionid"),
        ("a*", "${aws:username, nobody}", "Statement[0].Condition.StringLike.s3:VersionId"),
        (r#""Condition""#, r#""NotAction": "s3:*", "Condition""#, "Statement[0].NotAction"),
        (r#""Condition""#, r#""Sid": "two", "Condition""#, ""),
    ] {
        let error = changed(from, to).expect_err(to);
        assert_eq!((error.kind, error.at.as_str()), (ErrorKind::MalformedPolicy, at), "{to}: {error}");
    }
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    for (operator, key, value) in [
        ("NumericEquals", "s3:max-keys", "many"),
        ("DateEquals", "aws:CurrentTime", "yesterday"),
        ("Bool", "aws:SecureTransport", "yes"),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/40"),
        ("ArnEquals", "aws:SourceArn", "backup"),
        ("BinaryEquals", "aws:Referer", "?"),
        ("Null", "aws:Referer", "x"),
        ("NullIfExists", "aws:Referer", "true"),
        ("ForAllValues:Null", "aws:Referer", "true"),
    ] {
        let from = r#""StringLike": {"s3:VersionId": "a*"}"#;
        let error = changed(from, &format!(r#""{operator}": {{"{key}": "{value}"}}"#)).expect_err(operator);
        assert!(error.at.starts_with("Statement[0].Condition."), "{error}");
    }
}

#[test]
fn whole_documents_that_are_refused() {
    let good = r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}"#;
    for (text, at) in [
        ("", ""),
        ("[]", ""),
        ("{}", ""),
        (r#"{"Statement": []}"#, "Statement"),
        (r#"{"Statement": [[]]}"#, "Statement[0]"),
        (&format!(r#"{{"Version": "2012-10-18", "Statement": {good}}}"#), "Version"),
        (&format!(r#"{{"Statements": {good}}}"#), "Statements"),
        (&format!(r#"{{"Statement": {good}, "Statement": {good}}}"#), ""),
        (&format!(r#"{{"Statement": {good}}} x"#), ""),
        (r#"{"Statement": {"Effect": "Allow", "Effect": "Deny", "Action": "*", "Resource": "*"}}"#, ""),
        (r#"{"Statement": {"Effect": "Allow", "Action": "*"}}"#, "Statement[0].Resource"),
        (
            r#"{"Statement": {"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}}"#,
            "Statement[0].Principal",
        ),
        (
            r#"{"Statement": [{"Sid": "a", "Effect": "Deny", "Action": "*", "Resource": "*"},
                {"Sid": "a", "Effect": "Deny", "Action": "*", "Resource": "*"}]}"#,
            "Statement[1].Sid",
        ),
    ] {
        let error = Policy::parse(text, Kind::Managed).expect_err(text);
        assert_eq!((error.kind, error.at.as_str()), (ErrorKind::MalformedPolicy, at), "{text}: {error}");
    }
    Policy::parse(&"[".repeat(10_000), Kind::Managed).expect_err("deep");
}

#[test]
fn trust_policies_have_their_own_rules() {
    let trust = |rest: &str| {
        Policy::parse(&format!(r#"{{"Statement": {{"Effect": "Allow", {rest}}}}}"#), Kind::Trust)
    };
    trust(r#""Principal": {"AWS": "111122223333"}, "Action": "sts:AssumeRole""#).unwrap();
    for rest in [
        r#""Action": "sts:AssumeRole""#,
        r#""Principal": "*", "Action": "s3:GetObject""#,
        r#""Principal": "*", "Action": "*""#,
        r#""Principal": "*", "Action": "sts:AssumeRole", "Resource": "*""#,
        r#""NotPrincipal": {"AWS": "111122223333"}, "Action": "sts:AssumeRole""#,
    ] {
        trust(rest).expect_err(rest);
    }
}

#[test]
fn sizes_are_limited_by_kind() {
    let of_bytes = |len: usize, kind: Kind<'_>| {
        let who = if let Kind::Bucket(_) = kind { r#""Principal": "*", "# } else { "" };
        let head = format!(
            r#"{{"Statement": {{"Effect": "Deny", "Action": "s3:*", {who}"Resource": "*"}}, "Id": ""#
        );
        let head: String = head.chars().filter(|c| !c.is_whitespace()).collect();
        Policy::parse(&format!("{head}{}\"}}", "x".repeat(len - head.len() - 2)), kind)
    };
    for (kind, limit) in [
        (BUCKET, limits::MAX_BUCKET_POLICY_BYTES),
        (Kind::UserInline, limits::MAX_USER_INLINE_CHARS),
        (Kind::GroupInline, limits::MAX_GROUP_INLINE_CHARS),
        (Kind::RoleInline, limits::MAX_ROLE_INLINE_CHARS),
        (Kind::Managed, limits::MAX_MANAGED_CHARS),
        (Kind::Session, limits::MAX_SESSION_CHARS),
    ] {
        of_bytes(limit, kind).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(of_bytes(limit + 1, kind).expect_err("too large").kind, ErrorKind::TooLarge);
    }
    // White space counts in a bucket's policy only.
    let padded =
        format!(r#"{{"Statement": {{"Effect":"Deny","Action":"*","Resource":"*"}}}}{}"#, " ".repeat(9000));
    Policy::parse(&padded, Kind::Managed).unwrap();
}
