//! What the control plane keeps about who asks: accounts, their users, groups, roles and managed policies, and
//! access keys. Names and limits are IAM's; policies are texts here, which whoever puts them has parsed.

use crate::object::BlockPublicAccess;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The owner that a pool's first key is made for, and the number of the account that this is.
const FIRST_OWNER: &str = "root";
pub const FIRST_ACCOUNT: &str = "000000000000";

/// The number by which policies name an owner's account; and of such a number, the owner. An owner that is no
/// number is an account that no policy can name. No two owners are one account.
pub fn account_of(owner: &str) -> &str {
    match owner {
        FIRST_OWNER => FIRST_ACCOUNT,
        FIRST_ACCOUNT => FIRST_OWNER,
        other => other,
    }
}

/// An account: a tenant, with users of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// Twelve digits.
    pub number: String,
    pub name: String,
    pub created_ms: u64,
    /// Holds for all its buckets, beside each one's own.
    pub block: Option<BlockPublicAccess>,
    /// Ids of its root's keys, the oldest first, without those that are kept as
    /// [`AccessKey`](crate::record::AccessKey).
    pub keys: Vec<String>,
}

impl AccountRecord {
    /// The account that every pool has, before anything of it was changed.
    pub fn first() -> Self {
        Self {
            number: FIRST_ACCOUNT.to_owned(),
            name: FIRST_OWNER.to_owned(),
            created_ms: 0,
            block: None,
            keys: Vec::new(),
        }
    }
}

/// What an identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IdentityKind {
    User,
    Group,
    Role,
}

impl IdentityKind {
    /// As ARNs have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
        }
    }
}

/// Names a user, group or role. Names that differ in case only are one, as in IAM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityName {
    pub kind: IdentityKind,
    pub account: String,
    pub name: String,
}

/// A policy's name and its text, byte for byte as it was put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyText {
    pub name: String,
    pub text: String,
}

/// A user or role as a policy names it, and the id of the one that is meant: another that gets its name later isn't.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundPrincipal {
    pub arn: String,
    pub id: String,
}

/// What only roles have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSettings {
    /// The trust policy: who may assume it.
    pub trust: String,
    /// The users and roles that it names.
    pub bound: Vec<BoundPrincipal>,
    pub description: String,
    pub max_session_s: u32,
}

/// A user, group or role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRecord {
    pub of: IdentityName,
    /// `/` or `/a/b/`.
    pub path: String,
    /// `AIDA...`, `AGPA...` or `AROA...`: another for every one that ever has the name.
    pub id: String,
    pub created_ms: u64,
    /// Inline policies in order of name.
    pub inline: Vec<PolicyText>,
    /// ARNs of managed policies, in the order in which they were attached.
    pub attached: Vec<String>,
    /// Of a user: ids of its keys, the oldest first.
    pub keys: Vec<String>,
    /// Of a user: names of its groups, in order.
    pub groups: Vec<String>,
    /// Of a role.
    pub role: Option<RoleSettings>,
}

impl IdentityRecord {
    pub fn arn(&self) -> String {
        let IdentityName { kind, account, name } = &self.of;
        format!("arn:aws:iam::{account}:{}{}{name}", kind.word(), self.path)
    }
}

/// A managed policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedPolicy {
    pub account: String,
    pub name: String,
    pub path: String,
    /// `ANPA...`
    pub id: String,
    pub description: String,
    pub text: String,
    pub created_ms: u64,
    /// How many identities it is attached to.
    pub attachments: u32,
}

impl ManagedPolicy {
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::{}:policy{}{}", self.account, self.path, self.name)
    }
}

/// A secret that only those who have the pool's secret can open. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(redacted)")
    }
}

/// An access key of a user, or of an account's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityKey {
    pub id: String,
    pub account: String,
    /// `None`: the root's.
    pub user: Option<String>,
    pub secret: Sealed,
    pub active: bool,
    pub created_ms: u64,
}
