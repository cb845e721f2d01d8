//! What an owner should look at: `ashlar policy findings`, as functions of plain inputs.
//!
//! Source: IAM User Guide, "Security best practices in IAM" and "IAM Access Analyzer findings".

use crate::acl::{Acl, Grantee};
use crate::arn::ArnPattern;
use crate::limits::{OLD_KEY_DAYS, UNUSED_KEY_DAYS};
use crate::policy::{Effect, Policy, Resources};
use crate::principal::{PrincipalName, Principals};
use crate::public::PublicAccessBlock;

const DAY_S: u64 = 86_400;

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Everybody is let in by this statement of the bucket's policy.
    PublicPolicy {
        statement: usize,
    },
    /// Everybody is let in by this grant of the ACL.
    PublicAcl {
        grant: usize,
    },
    /// Another account is let in by this statement. Which: its number, its canonical id or one of its ARNs; `*` is
    /// whoever a condition, or what it doesn't name, leaves.
    SharedPolicy {
        statement: usize,
        with: String,
    },
    /// Another account is let in by this grant, to a canonical id.
    SharedAcl {
        grant: usize,
        with: String,
    },
    /// This statement allows every action on everything, without a condition.
    Administrator {
        statement: usize,
    },
    OldKey {
        age_days: u64,
    },
    /// `None`: never used.
    UnusedKey {
        idle_days: Option<u64>,
    },
    /// A root's key, which no policy limits, was used.
    RootKeyUsed {
        idle_days: u64,
    },
    /// An account that has not all four settings on.
    NoAccountBlock,
    NoVersioning,
    NoEncryption,
}

/// A bucket as findings look at it.
#[derive(Debug, Clone, Copy)]
pub struct BucketView<'a> {
    /// The number and the canonical id of the account that owns it.
    pub account: &'a str,
    pub canonical_id: &'a str,
    pub policy: Option<&'a Policy>,
    /// Only if ACLs are enabled.
    pub acl: Option<&'a Acl>,
    /// Of bucket and account together.
    pub block: PublicAccessBlock,
    pub versioning: Setting,
    pub encryption: Setting,
}

/// Whether something is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    On,
    Off,
}

/// What is open or unsafe about a bucket, as its settings stand: what a block keeps out isn't reported.
pub fn of_bucket(bucket: &BucketView<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(policy) = bucket.policy {
        let public = policy.is_public();
        // RestrictPublicBuckets keeps all other accounts out of a public bucket.
        if !(public && bucket.block.restrict_public_buckets) {
            findings.extend(policy.public_statements().map(|statement| Finding::PublicPolicy { statement }));
            findings.extend(shared(policy, (bucket.account, Some(bucket.canonical_id))));
        }
    }
    if let Some(acl) = bucket.acl
        && !(acl.is_public() && bucket.block.ignore_public_acls)
    {
        findings.extend(acl.grants.iter().enumerate().filter_map(|(grant, given)| match &given.grantee {
            Grantee::AllUsers | Grantee::AuthenticatedUsers => Some(Finding::PublicAcl { grant }),
            Grantee::CanonicalUser(id) if id != bucket.canonical_id => {
                Some(Finding::SharedAcl { grant, with: id.clone() })
            }
            Grantee::CanonicalUser(_) | Grantee::LogDelivery => None,
        }));
    }
    if bucket.versioning == Setting::Off {
        findings.push(Finding::NoVersioning);
    }
    if bucket.encryption == Setting::Off {
        findings.push(Finding::NoEncryption);
    }
    findings
}

/// Who of other accounts may assume a role of this account, by its trust policy.
pub fn of_trust(policy: &Policy, account: &str) -> Vec<Finding> {
    let public = policy.public_statements().map(|statement| Finding::PublicPolicy { statement });
    public.chain(shared(policy, (account, None))).collect()
}

/// Whether an account's own block, `None` if it has none, keeps all its buckets closed.
pub fn of_account(block: Option<PublicAccessBlock>) -> Option<Finding> {
    (block != Some(PublicAccessBlock::ALL)).then_some(Finding::NoAccountBlock)
}

/// Whom of other accounts the statements let in that don't let in everybody. `own` is the account and its canonical id.
fn shared(policy: &Policy, own: (&str, Option<&str>)) -> Vec<Finding> {
    let public: Vec<usize> = policy.public_statements().collect();
    let mut findings = Vec::new();
    for (index, statement) in policy.statements().iter().enumerate() {
        if statement.effect() == Effect::Deny || public.contains(&index) {
            continue;
        }
        let whom: Vec<String> = match statement.principals() {
            Principals::Only(names) => names.iter().filter_map(|name| foreign(name, own)).collect(),
            Principals::Except(_) => vec!["*".to_owned()],
            Principals::Attached => Vec::new(),
        };
        findings.extend(whom.into_iter().map(|with| Finding::SharedPolicy { statement: index, with }));
    }
    findings
}

/// Who that is, unless it is of the own account.
fn foreign(name: &PrincipalName, (account, canonical_id): (&str, Option<&str>)) -> Option<String> {
    match name {
        PrincipalName::Everyone => Some("*".to_owned()),
        PrincipalName::Account(other) if other != account => Some(other.clone()),
        PrincipalName::Arn(arn) if arn.split(':').nth(4) != Some(account) => Some(arn.clone()),
        PrincipalName::CanonicalUser(id) if Some(id.as_str()) != canonical_id => Some(id.clone()),
        PrincipalName::Federated(provider) => Some(provider.clone()),
        _ => None,
    }
}

/// Statements of an identity's policy that make it an administrator.
pub fn of_identity_policy(policy: &Policy) -> Vec<Finding> {
    let everything = |resources: &Resources| match resources {
        Resources::Only(patterns) => patterns.contains(&ArnPattern::Any),
        Resources::Attached | Resources::Except(_) => false,
    };
    policy
        .statements()
        .iter()
        .enumerate()
        .filter(|(_, statement)| {
            statement.effect == Effect::Allow
                && !statement.actions.except
                && statement.actions.patterns.iter().any(|(text, _)| text == "*" || text == "*:*")
                && everything(&statement.resources)
                && statement.conditions.is_empty()
        })
        .map(|(statement, _)| Finding::Administrator { statement })
        .collect()
}

/// An access key as findings look at it. Times are seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct KeyView {
    pub created_s: u64,
    pub last_used_s: Option<u64>,
}

/// What is wrong with a key at `now_s`, seconds since 1970.
pub fn of_key(key: KeyView, now_s: u64) -> Vec<Finding> {
    let days_since = |then_s: u64| now_s.saturating_sub(then_s) / DAY_S;
    let mut findings = Vec::new();
    let age_days = days_since(key.created_s);
    if age_days > OLD_KEY_DAYS {
        findings.push(Finding::OldKey { age_days });
    }
    let idle_days = key.last_used_s.map(days_since);
    if idle_days.unwrap_or(age_days) > UNUSED_KEY_DAYS {
        findings.push(Finding::UnusedKey { idle_days });
    }
    findings
}

/// What is wrong with the key of an account's root, beside its age.
pub fn of_root_key(key: KeyView, now_s: u64) -> Option<Finding> {
    let idle_days = now_s.saturating_sub(key.last_used_s?) / DAY_S;
    (idle_days <= UNUSED_KEY_DAYS).then_some(Finding::RootKeyUsed { idle_days })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::CannedAcl;
    use crate::policy::Kind;

    fn bucket_policy(principal: &str) -> Policy {
        let text = format!(
            r#"{{"Statement": {{"Effect": "Allow", "Principal": {principal}, "Action": "s3:*", "Resource": "*"}}}}"#
        );
        Policy::parse(&text, Kind::Bucket("photos")).unwrap()
    }

    fn view(policy: &Policy) -> BucketView<'_> {
        BucketView {
            account: "111122223333",
            canonical_id: "own",
            policy: Some(policy),
            acl: None,
            block: PublicAccessBlock::default(),
            versioning: Setting::On,
            encryption: Setting::On,
        }
    }

    #[test]
    fn public_and_shared_buckets() {
        let public = bucket_policy(r#""*""#);
        assert_eq!(of_bucket(&view(&public)), [Finding::PublicPolicy { statement: 0 }]);
        assert_eq!(of_bucket(&BucketView { block: PublicAccessBlock::ALL, ..view(&public) }), []);
        let own = bucket_policy(r#"{"AWS": ["111122223333", "arn:aws:iam::111122223333:user/a"]}"#);
        assert_eq!(of_bucket(&view(&own)), []);
        let arn = "arn:aws:iam::444455556666:role/b";
        let shared = bucket_policy(&format!(r#"{{"AWS": "{arn}"}}"#));
        // Sharing with one account is no public access, so a block doesn't hide it.
        let blocked = BucketView { block: PublicAccessBlock::ALL, ..view(&shared) };
        assert_eq!(of_bucket(&blocked), [Finding::SharedPolicy { statement: 0, with: arn.into() }]);
    }

    #[test]
    fn acls_and_settings() {
        let own = bucket_policy(r#"{"AWS": "111122223333"}"#);
        let acl = CannedAcl::PublicRead.expand("own", "own");
        let open = BucketView { acl: Some(&acl), versioning: Setting::Off, ..view(&own) };
        assert_eq!(of_bucket(&open), [Finding::PublicAcl { grant: 1 }, Finding::NoVersioning]);
        let ignored = BucketView { block: PublicAccessBlock::ALL, encryption: Setting::Off, ..open };
        assert_eq!(of_bucket(&ignored), [Finding::NoVersioning, Finding::NoEncryption]);
    }

    #[test]
    fn administrators() {
        for (statement, found) in [
            (r#"{"Effect": "Allow", "Action": "*", "Resource": "*"}"#, true),
            (r#"{"Effect": "Deny", "Action": "*", "Resource": "*"}"#, false),
            (r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}"#, false),
            (r#"{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::photos"}"#, false),
        ] {
            let policy = Policy::parse(&format!(r#"{{"Statement": {statement}}}"#), Kind::Managed).unwrap();
            assert_eq!(!of_identity_policy(&policy).is_empty(), found, "{statement}");
        }
    }

    #[test]
    fn keys_by_age_and_use() {
        let day = |days: u64| days * DAY_S;
        let key = |created, last_used_s| KeyView { created_s: day(created), last_used_s };
        assert_eq!(of_key(key(100, None), day(190)), []);
        assert_eq!(
            of_key(key(100, None), day(191)),
            [Finding::OldKey { age_days: 91 }, Finding::UnusedKey { idle_days: None }]
        );
        assert_eq!(of_key(key(100, Some(day(190))), day(191)), [Finding::OldKey { age_days: 91 }]);
    }

    #[test]
    fn roles_that_others_may_assume() {
        let of = |principal: &str, condition: &str| {
            let text = format!(
                r#"{{"Statement": {{"Effect": "Allow", {principal}, "Action": "sts:AssumeRole",
                    "Condition": {condition}}}}}"#
            );
            of_trust(&Policy::parse(&text, Kind::Trust).unwrap(), "111122223333")
        };
        let with = |with: &str| vec![Finding::SharedPolicy { statement: 0, with: with.into() }];
        let own = r#""Principal": {"AWS": ["111122223333", "arn:aws:iam::111122223333:user/a"]}"#;
        assert_eq!(of(own, "{}"), []);
        assert_eq!(of(r#""Principal": {"AWS": "444455556666"}"#, "{}"), with("444455556666"));
        assert_eq!(of(r#""Principal": "*""#, "{}"), [Finding::PublicPolicy { statement: 0 }]);
        let network = r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#;
        assert_eq!(of(r#""Principal": "*""#, network), with("*"));
    }

    #[test]
    fn roots_and_accounts() {
        let day = |days: u64| days * DAY_S;
        let used = |last_used_s| of_root_key(KeyView { created_s: 0, last_used_s }, day(200));
        assert_eq!((used(None), used(Some(day(109)))), (None, None));
        assert_eq!(used(Some(day(110))), Some(Finding::RootKeyUsed { idle_days: 90 }));
        assert_eq!(of_account(None), Some(Finding::NoAccountBlock));
        let most = PublicAccessBlock { ignore_public_acls: false, ..PublicAccessBlock::ALL };
        assert_eq!(of_account(Some(most)), Some(Finding::NoAccountBlock));
        assert_eq!(of_account(Some(PublicAccessBlock::ALL)), None);
    }
}
