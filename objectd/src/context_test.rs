use super::*;
use crate::arrival::TlsVersion;
use crate::auth::uri::Query;
use crate::auth::{Holder, Signature};
use crate::identity_rules::IdentityRules;
use crate::payload::{PayloadAuth, PayloadMode};
use meta::object::{AccessRecord, BlockPublicAccess, BucketRecord, ObjectOwnership};
use meta::query::BucketAccess;
use std::sync::LazyLock;

use crate::bucket_rules::{Asked, BucketRules, ParsedPolicies};

const NOW_MS: u64 = 1_369_353_600_000;

/// A request of which each test changes a part.
struct Sent {
    operation: Operation,
    query: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    owner: Option<&'static str>,
    presigned: bool,
    peer: &'static str,
    tls: Option<TlsVersion>,
}

impl Default for Sent {
    fn default() -> Self {
        Self {
            operation: Operation::GetObject,
            query: "",
            headers: Vec::new(),
            owner: None,
            presigned: false,
            peer: "198.51.100.7:4000",
            tls: None,
        }
    }
}

impl Sent {
    fn known<T>(&self, look: impl FnOnce(&Known<'_>) -> T) -> T {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let principal = match self.owner {
            None => Principal::Anonymous,
            Some(owner) => Principal::Key {
                access_key_id: "AKIA".into(),
                owner: owner.into(),
                holder: Holder::root(owner),
            },
        };
        let signature = self
            .owner
            .map(|_| Signature { signed_ms: NOW_MS - 61_000, content_sha256: "UNSIGNED-PAYLOAD".into() });
        let authenticated = Authenticated {
            principal,
            payload: PayloadAuth::new(PayloadMode::Unsigned, None).unwrap(),
            query: Query::parse(Some(self.query)).unwrap(),
            presigned: self.presigned,
            signature,
        };
        let source = CopySource::of(&headers).unwrap();
        look(&Known {
            operation: self.operation,
            headers: &headers,
            authenticated: &authenticated,
            arrival: Arrival { peer: self.peer.parse().unwrap(), tls: self.tls },
            now_ms: NOW_MS,
            region: "here",
            source: source.as_ref(),
        })
    }

    fn contexts(&self) -> S3Result<Contexts> {
        self.known(|known| known.contexts())
    }

    fn facts(&self) -> S3Result<Facts> {
        self.known(|known| known.facts())
    }

    /// Whether the condition holds: asked of a policy that allows everybody everything under it.
    fn meets(&self, condition: &str) -> bool {
        let contexts = self.contexts().unwrap();
        decide(condition, &contexts.own)
    }

    fn code(&self) -> Option<S3Code> {
        self.contexts().err().map(|error| error.code())
    }
}

fn decide(condition: &str, context: &Context) -> bool {
    let text = format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": "*", "Action": "s3:*",
            "Resource": ["arn:aws:s3:::buc", "arn:aws:s3:::buc/*"], "Condition": {condition}}}]}}"#
    );
    rules(Some(text), None).decide(Asked { context, ..anonymous_get(context) }).allowed
}

fn rules(policy: Option<String>, block: Option<BlockPublicAccess>) -> BucketRules {
    let bucket = BucketRecord {
        id: 1,
        name: "buc".into(),
        owner: "root".into(),
        created_ms: 1,
        block_public_access: BlockPublicAccess::ALL,
        ownership: ObjectOwnership::BucketOwnerEnforced,
    };
    let ownership = Some(bucket.ownership);
    let access = AccessRecord { policy, block, ownership, acl: None };
    BucketRules::new(
        BucketAccess {
            bucket,
            access,
            account_block: None,
            bound: vec![],
            notifies: false,
            logs: false,
            encryption: None,
        },
        &ParsedPolicies::default(),
    )
}

static NO_RULES: LazyLock<IdentityRules> = LazyLock::new(IdentityRules::default);

fn anonymous_get(context: &Context) -> Asked<'_> {
    let rules = &*NO_RULES;
    let (caller, action, key) = (&Caller::Anonymous, "s3:GetObject", Some("k"));
    Asked { caller, rules, owner: None, action, key, object: None, context }
}

/// `{"Operator": {"key": "value"}}`
fn is(operator: &str, key: &str, value: &str) -> String {
    format!(r#"{{"{operator}": {{"{key}": "{value}"}}}}"#)
}

fn missing(key: &str) -> String {
    is("Null", key, "true")
}

#[test]
fn the_peer_is_the_source_whatever_headers_say() {
    let lies = Sent {
        headers: vec![
            ("x-forwarded-for", "10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1;proto=https"),
            ("x-forwarded-proto", "https"),
        ],
        query: "aws:SourceIp=10.0.0.1&aws:SecureTransport=true",
        ..Sent::default()
    };
    assert!(lies.meets(&is("IpAddress", "aws:SourceIp", "198.51.100.7/32")));
    assert!(!lies.meets(&is("IpAddress", "aws:SourceIp", "10.0.0.0/8")));
    assert!(lies.meets(&is("Bool", "aws:SecureTransport", "false")));
    assert!(lies.meets(&missing("s3:TlsVersion")));
    // An IPv4 peer on a socket that takes both.
    let mapped = Sent { peer: "[::ffff:198.51.100.7]:4000", ..Sent::default() };
    assert!(mapped.meets(&is("IpAddress", "aws:SourceIp", "198.51.100.0/24")));
    let tls = Sent { tls: Some(TlsVersion::V1_3), ..Sent::default() };
    assert!(tls.meets(&is("Bool", "aws:SecureTransport", "true")));
    assert!(tls.meets(&is("NumericLessThan", "s3:TlsVersion", "1.35")));
    assert!(!tls.meets(&is("NumericLessThan", "s3:TlsVersion", "1.3")));
}

#[test]
fn time_and_client_are_known() {
    let sent = Sent {
        headers: vec![("user-agent", "curl/8"), ("referer", "https://example.com/a")],
        ..Sent::default()
    };
    assert!(sent.meets(&is("DateEquals", "aws:CurrentTime", "2013-05-24T00:00:00Z")));
    assert!(sent.meets(&is("NumericEquals", "aws:EpochTime", "1369353600")));
    assert!(sent.meets(&is("StringEquals", "aws:UserAgent", "curl/8")));
    assert!(sent.meets(&is("StringLike", "aws:Referer", "https://example.com/*")));
    assert!(sent.meets(&is("StringEquals", "aws:RequestedRegion", "here")));
    assert!(Sent::default().meets(&missing("aws:Referer")));
    for name in ["referer", "user-agent"] {
        let twice = Sent { headers: vec![(name, "a"), (name, "b")], ..Sent::default() };
        assert_eq!(twice.code(), Some(S3Code::InvalidArgument), "{name}");
    }
}

#[test]
fn who_signs_is_known_and_who_does_not_is_anonymous() {
    let anonymous = Sent::default();
    assert!(anonymous.meets(&is("StringEquals", "aws:PrincipalType", "Anonymous")));
    for key in ["aws:PrincipalArn", "aws:PrincipalAccount", "aws:username", "s3:authType", "s3:signatureAge"]
    {
        assert!(anonymous.meets(&missing(key)), "{key}");
    }
    let root = Sent { owner: Some("root"), ..Sent::default() };
    assert!(root.meets(&is("ArnEquals", "aws:PrincipalArn", "arn:aws:iam::000000000000:root")));
    assert!(root.meets(&is("StringEquals", "aws:PrincipalAccount", "000000000000")));
    assert!(root.meets(&missing("aws:username")));
    assert!(root.meets(&is("StringEquals", "s3:authType", "REST-HEADER")));
    assert!(root.meets(&is("StringEquals", "s3:signatureversion", "AWS4-HMAC-SHA256")));
    assert!(root.meets(&missing("s3:signatureAge")), "of presigned requests only");
    let presigned = Sent { owner: Some("root"), presigned: true, ..Sent::default() };
    assert!(presigned.meets(&is("StringEquals", "s3:authType", "REST-QUERY-STRING")));
    assert!(presigned.meets(&is("NumericEquals", "s3:signatureAge", "61000")));
    assert!(presigned.meets(&is("StringEquals", "s3:x-amz-content-sha256", "UNSIGNED-PAYLOAD")));
    assert!(presigned.meets(&is("StringEquals", "s3:ResourceAccount", "000000000000")));
}

#[test]
fn owners_are_one_account_each() {
    let owners = ["root", "000000000000", "111122223333", "somebody"];
    let accounts: std::collections::BTreeSet<&str> = owners.into_iter().map(account_of).collect();
    assert_eq!(accounts.len(), owners.len());
    assert_eq!(account_of("root"), "000000000000");
    assert_eq!(account_of("111122223333"), "111122223333");
}

#[test]
fn what_a_list_asks_for_is_of_lists_only() {
    const QUERY: &str = "prefix=home%2Fann%2F&delimiter=%2F&max-keys=10";
    for operation in [Operation::ListObjects, Operation::ListObjectsV2] {
        let list = Sent { operation, query: QUERY, ..Sent::default() };
        assert!(list.meets(&is("StringEquals", "s3:prefix", "home/ann/")));
        assert!(list.meets(&is("StringEquals", "s3:delimiter", "/")));
        assert!(list.meets(&is("NumericLessThanEquals", "s3:max-keys", "10")));
        assert!(!list.meets(&is("NumericLessThanEquals", "s3:max-keys", "9")));
        let bare = Sent { operation, ..Sent::default() };
        for key in ["s3:prefix", "s3:delimiter", "s3:max-keys"] {
            assert!(bare.meets(&missing(key)), "{key}");
        }
        // Not the same as none.
        let empty = Sent { operation, query: "prefix=", ..Sent::default() };
        assert!(empty.meets(&is("StringEquals", "s3:prefix", "")));
    }
    for operation in Operation::ALL.iter().copied() {
        use Operation::{ListObjectVersions, ListObjects, ListObjectsV2};
        if !matches!(operation, ListObjects | ListObjectsV2 | ListObjectVersions) {
            let other = Sent { operation, query: QUERY, ..Sent::default() };
            assert!(other.meets(&missing("s3:prefix")), "{operation:?}");
        }
    }
}

#[test]
fn near_misses_of_a_prefix_are_misses() {
    let near = [
        "home/ann",
        "home/anne/",
        "Home/ann/",
        "/home/ann/",
        "home//ann/",
        "home/bob/../ann/",
        "%2568ome/ann/",
    ];
    for prefix in near {
        let query: &'static str = Box::leak(format!("prefix={prefix}").into_boxed_str());
        let list = Sent { operation: Operation::ListObjectsV2, query, ..Sent::default() };
        assert!(!list.meets(&is("StringLike", "s3:prefix", "home/ann/*")), "{prefix}");
    }
    // Names of parameters are exact; another spelling is another parameter.
    let spelt = Sent { operation: Operation::ListObjectsV2, query: "Prefix=home/ann/", ..Sent::default() };
    assert!(spelt.meets(&missing("s3:prefix")));
}

#[test]
fn what_headers_say_of_new_objects_is_of_those_only() {
    let headers = vec![
        ("x-amz-acl", "bucket-owner-full-control"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-storage-class", "STANDARD"),
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-tagging", "team=a%20b&cost=1"),
        ("if-none-match", "*"),
    ];
    let put = Sent { operation: Operation::PutObject, headers: headers.clone(), ..Sent::default() };
    let held = [
        is("StringEquals", "s3:x-amz-acl", "bucket-owner-full-control"),
        is("StringEquals", "s3:x-amz-server-side-encryption", "AES256"),
        is("StringEquals", "s3:x-amz-storage-class", "STANDARD"),
        is("StringEquals", "s3:object-lock-mode", "GOVERNANCE"),
        is("StringEquals", "s3:RequestObjectTag/team", "a b"),
        r#"{"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["team", "cost"]}}"#.to_owned(),
        is("StringEquals", "s3:if-none-match", "*"),
    ];
    for condition in &held {
        assert!(put.meets(condition), "{condition}");
    }
    let get = Sent { headers: headers.clone(), ..Sent::default() };
    let named =
        ["s3:x-amz-acl", "s3:x-amz-server-side-encryption", "s3:RequestObjectTag/team", "s3:if-none-match"];
    for key in named {
        assert!(get.meets(&missing(key)), "{key}");
    }
    let facts = put.facts().unwrap();
    assert!(facts.acl && facts.tagging && facts.retention && !facts.legal_hold && !facts.bypass);
    let twice = Sent { headers: vec![("x-amz-acl", "private"), ("x-amz-acl", "public-read")], ..put };
    assert_eq!(twice.code(), Some(S3Code::InvalidArgument));
}

#[test]
fn a_copys_source_is_the_name_that_is_read() {
    let copy = |source| Sent {
        operation: Operation::CopyObject,
        headers: vec![("x-amz-copy-source", source), ("x-amz-metadata-directive", "REPLACE")],
        ..Sent::default()
    };
    for source in
        ["src/public/a b", "/src/public/a%20b", "%73rc%2Fpublic%2Fa%20b", "src/public/a%20b?versionId=null"]
    {
        let copy = copy(source);
        assert!(copy.meets(&is("StringEquals", "s3:x-amz-copy-source", "src/public/a b")), "{source}");
        assert!(copy.meets(&is("StringEquals", "s3:x-amz-metadata-directive", "REPLACE")));
        let facts = copy.facts().unwrap();
        assert_eq!(facts.source_version, source.ends_with("null"));
        // What is read is judged without what is said of what is written.
        let contexts = copy.contexts().unwrap();
        assert!(decide(&missing("s3:x-amz-copy-source"), &contexts.common));
    }
    let facts = |name, value| Sent { headers: vec![(name, value)], ..Sent::default() }.facts().unwrap();
    assert!(facts("x-amz-bypass-governance-retention", "true").bypass);
    assert!(!facts("x-amz-bypass-governance-retention", "false").bypass);
    assert!(facts("x-amz-grant-read", "uri=\"http://acs.amazonaws.com/groups/global/AllUsers\"").acl);
}

const PUBLIC: &str = r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
    "Resource": "arn:aws:s3:::buc/*"}]}"#;

#[test]
fn an_unreadable_policy_denies_the_owner_too() {
    let context = Context::new();
    let root = Caller::Root { account: "000000000000".into() };
    let asked = |caller| Asked { caller, ..anonymous_get(&context) };
    for text in ["", "{", "{}", "{\"Statement\": []}", &PUBLIC.replace("GetObject", "GetObjects")] {
        let rules = rules(Some(text.to_owned()), None);
        assert!(!rules.decide(asked(&Caller::Anonymous)).allowed, "{text}");
        assert!(!rules.decide(asked(&root)).allowed, "{text}");
        assert_eq!(rules.is_public(), Some(true), "not known not to be: {text}");
    }
    assert!(rules(None, None).decide(asked(&root)).allowed);
    assert_eq!(rules(None, None).is_public(), None);
}

#[test]
fn the_block_restricts_and_a_parsed_policy_is_no_older_than_its_text() {
    let context = Context::new();
    let get = |rules: &BucketRules| rules.decide(anonymous_get(&context)).allowed;
    assert!(get(&rules(Some(PUBLIC.into()), None)));
    for (block, allowed) in [
        (BlockPublicAccess::ALL, false),
        (BlockPublicAccess { restrict_public_buckets: false, ..BlockPublicAccess::ALL }, true),
    ] {
        assert_eq!(get(&rules(Some(PUBLIC.into()), Some(block))), allowed, "{block:?}");
    }
    let parsed = ParsedPolicies::default();
    let with = |text: Option<&str>| {
        let found = rules(text.map(str::to_owned), None);
        BucketRules::new(
            BucketAccess {
                bucket: found.record,
                access: found.access,
                account_block: None,
                bound: vec![],
                notifies: false,
                logs: false,
                encryption: None,
            },
            &parsed,
        )
    };
    assert!(get(&with(Some(PUBLIC))));
    assert!(get(&with(Some(PUBLIC))));
    assert!(!get(&with(Some(&PUBLIC.replace("Allow", "Deny")))));
    assert!(!get(&with(None)));
    assert!(!get(&with(Some("nonsense"))));
    assert!(get(&with(Some(PUBLIC))));
}

#[test]
fn what_a_body_says_of_an_object_is_judged_by_its_keys() {
    use meta::object::{Retention, RetentionMode};
    let sent = Sent { operation: Operation::PutObjectTagging, ..Sent::default() };
    let meets = |said: Said<'_>, condition: &str| {
        let mut context = sent.contexts().unwrap().own;
        said.claim(&mut context, NOW_MS).unwrap();
        decide(condition, &context)
    };
    let tags = vec![("team".to_owned(), "blue".to_owned()), ("cost".to_owned(), "1".to_owned())];
    let said = Said::Tags(&tags);
    assert!(meets(said, &is("StringEquals", "s3:RequestObjectTag/team", "blue")));
    assert!(!meets(said, &is("StringEquals", "s3:RequestObjectTag/team", "red")));
    let few = r#"{"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["team"]}}"#;
    assert!(!meets(said, few) && meets(Said::Tags(&tags[..1].to_vec()), few));
    const DAY_MS: u64 = 24 * 3_600_000;
    let retention = |until_ms| Said::Retention(Some(Retention { mode: RetentionMode::Compliance, until_ms }));
    let limit = is("NumericLessThanEquals", "s3:object-lock-remaining-retention-days", "10");
    assert!(meets(retention(NOW_MS + 10 * DAY_MS), &limit));
    assert!(!meets(retention(NOW_MS + 10 * DAY_MS + 1), &limit));
    assert!(meets(retention(NOW_MS + 1), &is("StringEquals", "s3:object-lock-mode", "COMPLIANCE")));
    assert!(meets(Said::LegalHold(true), &is("StringEquals", "s3:object-lock-legal-hold", "ON")));
    assert!(meets(Said::Retention(None), &missing("s3:object-lock-mode")));
}

#[test]
fn a_new_objects_retention_is_counted_in_days() {
    let put = Sent {
        operation: Operation::PutObject,
        headers: vec![("x-amz-object-lock-retain-until-date", "2013-06-03T00:00:00.001Z")],
        ..Sent::default()
    };
    let days = |n: &str| is("NumericEquals", "s3:object-lock-remaining-retention-days", n);
    assert!(put.meets(&days("11")) && !put.meets(&days("10")));
}

#[test]
fn tags_that_are_there_are_keys_of_their_own() {
    let mut context = Sent::default().contexts().unwrap().own;
    existing_tag_keys(&mut context, &vec![("class".to_owned(), "open".to_owned())]);
    assert!(decide(&is("StringEquals", "s3:ExistingObjectTag/class", "open"), &context));
    assert!(!decide(&is("StringEquals", "s3:ExistingObjectTag/class", "shut"), &context));
    assert!(decide(&missing("s3:ExistingObjectTag/other"), &context));
}
