//! What identities and managed policies have beside their records, which earlier builds wrote without it: tags,
//! permissions boundaries and versions.

use crate::identity::{IdentityKind, ManagedPolicy};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// Of a user, group or role.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IdentityDetails {
    /// The ARN of the managed policy that limits it. Of users and roles only.
    pub boundary: Option<String>,
    pub tags: Vec<Tag>,
}

/// One version of a managed policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// From 1 on, and never given twice.
    pub number: u32,
    pub text: String,
    pub created_ms: u64,
}

/// Of a managed policy, whose record has the text of its default version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDetails {
    /// The oldest first.
    pub versions: Vec<PolicyVersion>,
    /// The number of the one that holds.
    pub default: u32,
    /// The last number that was given.
    pub last: u32,
    /// How many identities it is the boundary of.
    pub boundaries: u32,
    pub tags: Vec<Tag>,
}

impl PolicyDetails {
    /// Of a policy of which nothing was changed since it was made.
    pub fn of_new(policy: &ManagedPolicy) -> Self {
        let only = PolicyVersion { number: 1, text: policy.text.clone(), created_ms: policy.created_ms };
        Self { versions: vec![only], default: 1, last: 1, boundaries: 0, tags: Vec::new() }
    }
}

/// A managed policy with all that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullPolicy {
    pub policy: ManagedPolicy,
    pub details: PolicyDetails,
}

/// How an identity uses a managed policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyEntity {
    pub kind: IdentityKind,
    pub name: String,
    pub id: String,
    pub path: String,
    /// It is attached to it.
    pub attached: bool,
    /// It is its boundary.
    pub boundary: bool,
}
