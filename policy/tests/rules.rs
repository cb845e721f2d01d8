//! AWS's rules of who wins, one by one. Accounts: A owns the bucket `photos`, B doesn't.

use policy::{
    Acl, AclPermission, Acls, Attached, Caller, CannedAcl, Context, Decision, Grant, Grantee, Kind, Layer,
    ObjectOwnership, Policies, Policy, PublicAccessBlock, Reason, Request, ResourcePolicy, evaluate,
};

const A: &str = "111111111111";
const B: &str = "222222222222";
const ALL: &str = r#""Action": "s3:*", "Resource": ["arn:aws:s3:::photos", "arn:aws:s3:::photos/*"]"#;

fn parse(kind: Kind<'_>, statements: &str) -> Policy {
    let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
    Policy::parse(&text, kind).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn bucket(effect: &str, principal: &str) -> Policy {
    parse(Kind::Bucket("photos"), &format!(r#"{{"Effect": "{effect}", "Principal": {principal}, {ALL}}}"#))
}

fn identity(effect: &str) -> Policy {
    parse(Kind::Managed, &format!(r#"{{"Effect": "{effect}", {ALL}}}"#))
}

fn user(account: &str) -> Caller {
    Caller::User { account: account.into(), arn: format!("arn:aws:iam::{account}:user/alice") }
}

fn root(account: &str) -> Caller {
    Caller::Root { account: account.into() }
}

fn session(account: &str) -> Caller {
    Caller::RoleSession {
        account: account.into(),
        role_arn: format!("arn:aws:iam::{account}:role/backup"),
        session_arn: format!("arn:aws:sts::{account}:assumed-role/backup/one"),
    }
}

fn named<'a>(policy: &'a Policy) -> Attached<'a> {
    Attached { name: "p", policy: Some(policy) }
}

/// What is attached; the caller asks for `action` on an object of `photos`.
#[derive(Default)]
struct Case {
    identity: Option<Policy>,
    boundary: Option<Policy>,
    session: Option<Policy>,
    bucket: Option<Policy>,
    block: PublicAccessBlock,
    acl: Option<Acl>,
    ownership: ObjectOwnership,
    object_account: Option<&'static str>,
}

impl Case {
    fn decide(&self, caller: &Caller, action: &str) -> Decision {
        let identity: Vec<Attached<'_>> = self.identity.iter().map(named).collect();
        let session: Option<Vec<Attached<'_>>> = self.session.as_ref().map(|policy| vec![named(policy)]);
        let policies = Policies {
            identity: &identity,
            boundary: self.boundary.as_ref().map(named),
            session: session.as_deref(),
            resource: self
                .bucket
                .as_ref()
                .map_or(ResourcePolicy::Absent, |p| ResourcePolicy::Bucket(named(p))),
            acls: Acls {
                ownership: self.ownership,
                bucket: self.acl.as_ref(),
                object: self.acl.as_ref(),
                object_account: self.object_account,
            },
            block: self.block,
        };
        let canonical = caller.account().map(|account| format!("canonical-{account}"));
        let request = Request {
            caller,
            canonical_id: canonical.as_deref(),
            action,
            resource: "arn:aws:s3:::photos/cat.jpg",
            resource_account: Some(A),
            context: &Context::new(),
        };
        evaluate(&request, &policies)
    }

    fn allows(&self, caller: &Caller) -> bool {
        self.decide(caller, "s3:GetObject").allowed
    }
}

fn aws(principal: &str) -> String {
    format!(r#"{{"AWS": "{principal}"}}"#)
}

#[test]
fn nothing_attached_denies_all_but_the_owners_root() {
    let case = Case::default();
    assert!(case.allows(&root(A)));
    for caller in [root(B), user(A), user(B), session(A), Caller::Anonymous] {
        assert!(!case.allows(&caller), "{caller:?}");
    }
    assert_eq!(case.decide(&user(A), "s3:GetObject").reason, Reason::NoAllow(Layer::Identity));
}

#[test]
fn in_one_account_either_allow_is_enough() {
    let by_identity = Case { identity: Some(identity("Allow")), ..Case::default() };
    assert!(by_identity.allows(&user(A)));
    let by_bucket = Case {
        bucket: Some(bucket("Allow", &aws(&format!("arn:aws:iam::{A}:user/alice")))),
        ..Case::default()
    };
    assert!(by_bucket.allows(&user(A)));
    let decision = by_bucket.decide(&user(A), "S3:GETOBJECT");
    assert!(
        matches!(decision.reason, Reason::Statement(at) if at.layer == Layer::Resource && at.statement == 0)
    );
}

#[test]
fn naming_the_account_leaves_the_decision_to_it() {
    let mut case = Case { bucket: Some(bucket("Allow", &aws(A))), ..Case::default() };
    assert!(!case.allows(&user(A)));
    case.identity = Some(identity("Allow"));
    assert!(case.allows(&user(A)));
}

#[test]
fn across_accounts_both_must_allow() {
    for principal in [aws(B), aws(&format!("arn:aws:iam::{B}:user/alice")), r#""*""#.to_owned()] {
        let mut case = Case { bucket: Some(bucket("Allow", &principal)), ..Case::default() };
        assert!(!case.allows(&user(B)), "{principal}");
        case.identity = Some(identity("Allow"));
        assert!(case.allows(&user(B)), "{principal}");
        case.bucket = None;
        assert!(!case.allows(&user(B)), "{principal}");
    }
    assert!(Case { bucket: Some(bucket("Allow", &aws(B))), ..Case::default() }.allows(&root(B)));
}

#[test]
fn an_explicit_deny_anywhere_wins() {
    let everything = || Case {
        identity: Some(identity("Allow")),
        boundary: Some(identity("Allow")),
        session: Some(identity("Allow")),
        bucket: Some(bucket("Allow", &aws(&format!("arn:aws:iam::{A}:user/alice")))),
        ..Case::default()
    };
    assert!(everything().allows(&user(A)));
    assert!(!Case { identity: Some(identity("Deny")), ..everything() }.allows(&user(A)));
    assert!(!Case { boundary: Some(identity("Deny")), ..everything() }.allows(&user(A)));
    assert!(!Case { session: Some(identity("Deny")), ..everything() }.allows(&user(A)));
    assert!(!Case { bucket: Some(bucket("Deny", r#""*""#)), ..everything() }.allows(&user(A)));
    assert!(!Case { bucket: Some(bucket("Deny", r#""*""#)), ..Case::default() }.allows(&root(A)));
}

#[test]
fn a_deny_alone_allows_nobody() {
    let statement = format!(r#"{{"Effect": "Deny", "NotPrincipal": {}, {ALL}}}"#, aws(A));
    let case = Case { bucket: Some(parse(Kind::Bucket("photos"), &statement)), ..Case::default() };
    for caller in [root(B), user(A), user(B), session(A), Caller::Anonymous] {
        assert!(!case.allows(&caller), "{caller:?}");
    }
    assert!(case.allows(&root(A)));
}

#[test]
fn not_principal_spares_only_who_is_listed_with_the_account() {
    let deny = |list: &str| Case {
        bucket: Some(parse(
            Kind::Bucket("photos"),
            &format!(r#"{{"Effect": "Deny", "NotPrincipal": {{"AWS": [{list}]}}, {ALL}}}"#),
        )),
        identity: Some(identity("Allow")),
        ..Case::default()
    };
    let alice = format!(r#""arn:aws:iam::{A}:user/alice""#);
    assert!(deny(&format!(r#"{alice}, "{A}""#)).allows(&user(A)));
    assert!(!deny(&alice).allows(&user(A)));
    assert!(!deny(&format!(r#""{A}""#)).allows(&user(A)));
    let role = format!(r#""{A}", "arn:aws:iam::{A}:role/backup""#);
    assert!(!deny(&role).allows(&session(A)));
    let with_session = format!(r#"{role}, "arn:aws:sts::{A}:assumed-role/backup/one""#);
    assert!(deny(&with_session).allows(&session(A)));
}

#[test]
fn the_owners_root_cannot_be_locked_out_of_the_bucket_policy() {
    let case = Case { bucket: Some(bucket("Deny", r#""*""#)), ..Case::default() };
    for action in ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"] {
        assert!(case.decide(&root(A), action).allowed, "{action}");
        assert!(!case.decide(&root(B), action).allowed, "{action}");
    }
    assert!(!case.decide(&root(A), "s3:PutBucketAcl").allowed);
}

#[test]
fn boundaries_limit_identity_policies_and_not_what_names_the_user() {
    let nothing =
        || parse(Kind::Managed, r#"{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}"#);
    let mut case = Case { identity: Some(identity("Allow")), boundary: Some(nothing()), ..Case::default() };
    assert_eq!(case.decide(&user(A), "s3:GetObject").reason, Reason::NoAllow(Layer::Boundary));
    case.bucket = Some(bucket("Allow", &aws(&format!("arn:aws:iam::{A}:user/alice"))));
    assert!(case.allows(&user(A)));
    // A role, and everyone, are limited; a session named itself isn't.
    for (principal, allowed) in [
        (aws(&format!("arn:aws:iam::{A}:role/backup")), false),
        (r#""*""#.to_owned(), false),
        (aws(&format!("arn:aws:sts::{A}:assumed-role/backup/one")), true),
    ] {
        case.bucket = Some(bucket("Allow", &principal));
        assert_eq!(case.allows(&session(A)), allowed, "{principal}");
    }
}

#[test]
fn a_session_policy_only_takes_away() {
    let mut case = Case { session: Some(identity("Allow")), ..Case::default() };
    assert!(!case.allows(&session(A)));
    case.identity = Some(identity("Allow"));
    assert!(case.allows(&session(A)));
    case.session = Some(parse(Kind::Session, r#"{"Effect": "Allow", "Action": "s3:Put*", "Resource": "*"}"#));
    assert_eq!(case.decide(&session(A), "s3:GetObject").reason, Reason::NoAllow(Layer::Session));
}

#[test]
fn anonymous_callers_need_a_public_statement() {
    assert!(Case { bucket: Some(bucket("Allow", r#""*""#)), ..Case::default() }.allows(&Caller::Anonymous));
    let case = Case { bucket: Some(bucket("Allow", r#"{"AWS": "*"}"#)), ..Case::default() };
    assert!(case.allows(&Caller::Anonymous));
    assert!(!Case { bucket: Some(bucket("Allow", &aws(A))), ..Case::default() }.allows(&Caller::Anonymous));
}

#[test]
fn restrict_public_buckets_lets_in_the_owners_account_only() {
    // Public by its first statement; the second names B alone.
    let text = format!(
        r#"{{"Sid": "open", "Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::photos"}},
           {{"Effect": "Allow", "Principal": {}, {ALL}}}"#,
        aws(B)
    );
    let mut case = Case {
        bucket: Some(parse(Kind::Bucket("photos"), &text)),
        identity: Some(identity("Allow")),
        ..Case::default()
    };
    assert!(case.allows(&user(B)));
    case.block.restrict_public_buckets = true;
    for action in ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions"] {
        for caller in
            [user(B), root(B), Caller::Anonymous, Caller::Service { name: "x.amazonaws.com".into() }]
        {
            let decision = case.decide(&caller, action);
            assert!(matches!(decision.reason, Reason::Restricted(at) if at.sid.as_deref() == Some("open")));
        }
    }
    assert!(case.allows(&user(A)) && case.allows(&root(A)));
    // A bucket that isn't public may be shared under it.
    case.bucket = Some(bucket("Allow", &aws(B)));
    assert!(case.allows(&user(B)));
}

#[test]
fn acls_count_only_when_enabled_and_not_when_ignored() {
    let public = || Some(CannedAcl::PublicRead.expand("canonical-111111111111", "canonical-111111111111"));
    let mut case = Case { acl: public(), ..Case::default() };
    assert!(!case.allows(&Caller::Anonymous));
    case.ownership = ObjectOwnership::ObjectWriter;
    assert_eq!(case.decide(&Caller::Anonymous, "s3:GetObject").reason, Reason::ObjectAcl(1));
    assert!(!case.decide(&Caller::Anonymous, "s3:GetObjectTagging").allowed);
    assert!(!case.decide(&Caller::Anonymous, "s3:PutObject").allowed);
    case.block.ignore_public_acls = true;
    assert!(!case.allows(&Caller::Anonymous));
    case.block = PublicAccessBlock::default();
    case.acl = Some(CannedAcl::AuthenticatedRead.expand("canonical-111111111111", "canonical-111111111111"));
    assert!(!case.allows(&Caller::Anonymous) && !case.allows(&user(B)));
    case.identity = Some(identity("Allow"));
    assert!(case.allows(&user(B)));
    let grant = Grant {
        grantee: Grantee::CanonicalUser(format!("canonical-{B}")),
        permission: AclPermission::FullControl,
    };
    case.acl = Some(Acl { owner: format!("canonical-{A}"), grants: vec![grant] });
    assert!(case.allows(&user(B)));
    case.identity = None;
    assert!(!case.allows(&user(B)) && case.allows(&root(B)));
}

#[test]
fn an_object_of_another_account_is_not_the_bucket_owners_to_give() {
    let mut case = Case {
        bucket: Some(bucket("Allow", r#""*""#)),
        ownership: ObjectOwnership::ObjectWriter,
        object_account: Some(B),
        ..Case::default()
    };
    assert!(!case.allows(&Caller::Anonymous) && !case.allows(&root(A)) && case.allows(&root(B)));
    assert!(case.decide(&root(A), "s3:DeleteObject").allowed);
    case.ownership = ObjectOwnership::BucketOwnerEnforced;
    assert!(case.allows(&Caller::Anonymous) && case.allows(&root(A)));
}

#[test]
fn an_unreadable_policy_denies() {
    let unreadable = Attached { name: "bucket/photos", policy: None };
    let allow = identity("Allow");
    let policies = Policies {
        identity: &[named(&allow)],
        resource: ResourcePolicy::Bucket(unreadable),
        ..Policies::default()
    };
    for caller in [user(A), root(A)] {
        let context = Context::new();
        let request = Request {
            caller: &caller,
            canonical_id: None,
            action: "s3:GetObject",
            resource: "arn:aws:s3:::photos/cat.jpg",
            resource_account: Some(A),
            context: &context,
        };
        let decision = evaluate(&request, &policies);
        assert!(!decision.allowed);
        assert_eq!(decision.reason, Reason::Unreadable(Layer::Resource, "bucket/photos".into()));
    }
}

#[test]
fn the_owners_root_can_mend_an_unreadable_bucket_policy() {
    let policies = Policies {
        resource: ResourcePolicy::Bucket(Attached { name: "bucket/photos", policy: None }),
        ..Policies::default()
    };
    let context = Context::new();
    let allowed = |caller: &Caller, action| {
        let request = Request {
            caller,
            canonical_id: None,
            action,
            resource: "arn:aws:s3:::photos",
            resource_account: Some(A),
            context: &context,
        };
        evaluate(&request, &policies).allowed
    };
    for action in ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"] {
        assert!(allowed(&root(A), action), "{action}");
        for other in [user(A), session(A), root(B), Caller::Anonymous] {
            assert!(!allowed(&other, action), "{other:?} {action}");
        }
    }
    assert!(!allowed(&root(A), "s3:ListBucket"));
}

#[test]
fn nobody_assumes_a_role_that_does_not_trust_them() {
    let decide = |caller: &Caller, principal: &str, own: Option<&str>| {
        let text = format!(r#"{{"Effect": "Allow", "Principal": {principal}, "Action": "sts:AssumeRole"}}"#);
        let trust = parse(Kind::Trust, &text);
        let own = own.map(|effect| {
            let text = format!(r#"{{"Effect": "{effect}", "Action": "sts:AssumeRole", "Resource": "*"}}"#);
            parse(Kind::Managed, &text)
        });
        let identity: Vec<Attached<'_>> = own.iter().map(named).collect();
        let context = Context::new();
        let request = Request {
            caller,
            canonical_id: None,
            action: "sts:AssumeRole",
            resource: "arn:aws:iam::111111111111:role/backup",
            resource_account: Some(A),
            context: &context,
        };
        let policies = Policies {
            identity: &identity,
            resource: ResourcePolicy::Trust(named(&trust)),
            ..Policies::default()
        };
        evaluate(&request, &policies).allowed
    };
    let alice = |account: &str| aws(&format!("arn:aws:iam::{account}:user/alice"));
    assert!(!decide(&user(A), &aws(B), Some("Allow")));
    assert!(!decide(&root(A), &aws(B), None));
    assert!(decide(&user(A), &aws(A), Some("Allow")));
    assert!(!decide(&user(A), &aws(A), None));
    assert!(decide(&user(A), &alice(A), None));
    assert!(!decide(&user(A), &alice(A), Some("Deny")));
    assert!(!decide(&user(B), &alice(B), None));
    assert!(decide(&user(B), &alice(B), Some("Allow")));
}
