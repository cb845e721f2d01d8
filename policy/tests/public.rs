//! What "public" means: S3 User Guide, "The meaning of 'public'".

use policy::{CannedAcl, Kind, Policy, PublicAccessBlock};

fn policy(principal: &str, condition: &str) -> Policy {
    let text = format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": {principal},
            "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*", "Condition": {condition}}}]}}"#
    );
    Policy::parse(&text, Kind::Bucket("photos")).unwrap_or_else(|error| panic!("{error} in {text}"))
}

#[test]
fn principals() {
    for (principal, public) in [
        (r#""*""#, true),
        (r#"{"AWS": "*"}"#, true),
        (r#"{"AWS": ["111122223333", "*"]}"#, true),
        (r#"{"AWS": "111122223333"}"#, false),
        (r#"{"Service": "logging.s3.amazonaws.com"}"#, false),
    ] {
        assert_eq!(policy(principal, "{}").is_public(), public, "{principal}");
    }
}

#[test]
fn conditions() {
    for (condition, public) in [
        (r#"{"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}"#, false),
        (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#, false),
        (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/7"}}"#, true),
        (r#"{"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "0.0.0.0/1"]}}"#, true),
        (r#"{"IpAddress": {"aws:SourceIp": "2001:db8::/32"}}"#, false),
        (r#"{"IpAddress": {"aws:SourceIp": "2000::/3"}}"#, true),
        (r#"{"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}"#, true),
        (r#"{"IpAddressIfExists": {"aws:SourceIp": "192.0.2.0/24"}}"#, true),
        (r#"{"StringEquals": {"aws:SourceVpc": "vpc-91237329"}}"#, false),
        (r#"{"StringLike": {"aws:SourceVpc": "vpc-*"}}"#, true),
        (r#"{"StringEquals": {"aws:SourceVpc": "${aws:SourceVpc}"}}"#, true),
        (r#"{"StringEquals": {"aws:SourceVpc": ["vpc-1", "${aws:SourceVpc}"]}}"#, true),
        (r#"{"ForAnyValue:StringEquals": {"aws:PrincipalOrgID": "o-1"}}"#, false),
        (r#"{"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-1"}}"#, true),
        (r#"{"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}"#, true),
        (r#"{"StringEquals": {"aws:userid": "AIDAEXAMPLE"}}"#, false),
        (r#"{"StringLike": {"aws:userid": "AROAEXAMPLE:*"}}"#, true),
        (r#"{"ArnLike": {"aws:SourceArn": "arn:aws:s3:::logs"}}"#, false),
        (r#"{"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}}"#, true),
        (
            r#"{"ArnLike": {"s3:DataAccessPointArn": "arn:aws:s3:us-east-1:111122223333:accesspoint/*"}}"#,
            false,
        ),
        (r#"{"ArnLike": {"s3:DataAccessPointArn": "arn:aws:s3:us-east-1:*:accesspoint/x"}}"#, true),
        (r#"{"StringEquals": {"s3:prefix": "public"}}"#, true),
        (r#"{"Bool": {"aws:SecureTransport": "true"}}"#, true),
        (r#"{"Bool": {"aws:SecureTransport": "true"}, "IpAddress": {"aws:SourceIp": "192.0.2.1"}}"#, false),
    ] {
        assert_eq!(policy(r#""*""#, condition).is_public(), public, "{condition}");
    }
}

#[test]
fn blocks_combine_and_refuse() {
    let on = PublicAccessBlock { block_public_policy: true, ..PublicAccessBlock::default() };
    let both = on.with(PublicAccessBlock { block_public_acls: true, ..PublicAccessBlock::default() });
    assert!(both.block_public_policy && both.block_public_acls && !both.ignore_public_acls);
    assert!(
        on.refuses_policy(&policy(r#""*""#, "{}"))
            && !on.refuses_policy(&policy(r#"{"AWS": "111122223333"}"#, "{}"))
    );
    for (name, public) in [
        ("private", false),
        ("public-read", true),
        ("public-read-write", true),
        ("authenticated-read", true),
        ("bucket-owner-full-control", false),
        ("log-delivery-write", false),
    ] {
        let acl = CannedAcl::parse(name).unwrap().expand("a", "b");
        assert_eq!(acl.is_public(), public, "{name}");
        assert_eq!(both.refuses_acl(&acl), public, "{name}");
        assert!(!on.refuses_acl(&acl));
    }
    CannedAcl::parse("Public-Read").expect_err("case");
}
