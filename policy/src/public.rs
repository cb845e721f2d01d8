//! Which policies and lists are public, and the settings that block them.
//!
//! A policy is presumed public; it isn't if every Allow is limited to fixed values of a principal or of one of
//! the keys below. Whatever can't be proven fixed counts as public. What a Deny takes away is not looked at.
//!
//! Source: S3 User Guide, "Blocking public access to your Amazon S3 storage", "The meaning of 'public'".

use crate::acl::Acl;
use crate::arn::ArnPattern;
use crate::condition::{Condition, Wanted};
use crate::limits::{WIDEST_LIMITED_V4_BITS, WIDEST_LIMITED_V6_BITS};
use crate::operator::{Compare, Set};
use crate::policy::{Effect, Policy, Statement};
use crate::principal::{PrincipalName, Principals};

/// The four settings, of a bucket or of an account. An account or bucket without settings has none on; new
/// buckets have all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PublicAccessBlock {
    /// Refuse to put a public ACL.
    pub block_public_acls: bool,
    /// Treat public ACLs as if they weren't there.
    pub ignore_public_acls: bool,
    /// Refuse to put a public bucket policy.
    pub block_public_policy: bool,
    /// Let only the owner's account into a bucket whose policy is public.
    pub restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// What a new bucket has; also what counts where the settings can't be read.
    pub const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };

    /// The strictest of both: what holds for a bucket with one and an account with the other.
    pub fn with(self, other: Self) -> Self {
        Self {
            block_public_acls: self.block_public_acls || other.block_public_acls,
            ignore_public_acls: self.ignore_public_acls || other.ignore_public_acls,
            block_public_policy: self.block_public_policy || other.block_public_policy,
            restrict_public_buckets: self.restrict_public_buckets || other.restrict_public_buckets,
        }
    }

    /// Whether PutBucketAcl, PutObjectAcl, PutObject or CreateBucket with this list is refused (AccessDenied).
    pub fn refuses_acl(self, acl: &Acl) -> bool {
        self.block_public_acls && acl.is_public()
    }

    /// Whether PutBucketPolicy of this policy is refused (AccessDenied).
    pub fn refuses_policy(self, policy: &Policy) -> bool {
        self.block_public_policy && policy.is_public()
    }
}

impl Policy {
    /// What GetBucketPolicyStatus says of a bucket with this policy.
    pub fn is_public(&self) -> bool {
        self.public_statements().next().is_some()
    }

    /// The indexes of the statements that make it public.
    pub fn public_statements(&self) -> impl Iterator<Item = usize> {
        self.statements().iter().enumerate().filter(|(_, statement)| is_public(statement)).map(|(at, _)| at)
    }
}

fn is_public(statement: &Statement) -> bool {
    statement.effect() == Effect::Allow
        && !fixed_principals(statement.principals())
        && !statement.conditions.iter().any(limits_to_fixed)
}

fn fixed_principals(principals: &Principals) -> bool {
    match principals {
        Principals::Attached => true,
        Principals::Only(names) => !names.contains(&PrincipalName::Everyone),
        Principals::Except(_) => false,
    }
}

/// Keys that a fixed value of keeps the public out.
const LIMITING_KEYS: &[&str] = &[
    "aws:principalorgid",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
];

fn limits_to_fixed(condition: &Condition) -> bool {
    let operator = condition.operator;
    // These hold for requests that have no such key, or another value.
    let open = operator.negated || operator.if_exists || operator.set == Set::All;
    let equality = matches!(
        operator.compare,
        Compare::Text | Compare::TextIgnoreCase | Compare::TextLike | Compare::Arn | Compare::Address
    );
    !open
        && equality
        && LIMITING_KEYS.contains(&condition.key.as_str())
        && condition.values.iter().all(|value| is_fixed(value, &condition.key))
}

fn is_fixed(value: &Wanted, key: &str) -> bool {
    match value {
        Wanted::Address(range) if range.is_ipv4() => range.bits >= WIDEST_LIMITED_V4_BITS,
        Wanted::Address(range) => range.bits >= WIDEST_LIMITED_V6_BITS,
        // An address that is compared as text is that one address or none.
        Wanted::Text(text) | Wanted::TextIgnoreCase(text) => text.is_fixed(),
        // Of an access point only the account must be fixed.
        Wanted::Arn(pattern) if key == "s3:dataaccesspointarn" => {
            pattern.component(4).is_some_and(|account| account.literal().is_some_and(|id| !id.is_empty()))
        }
        Wanted::Arn(ArnPattern::Components(parts)) => parts.iter().all(|part| part.is_fixed()),
        _ => false,
    }
}
