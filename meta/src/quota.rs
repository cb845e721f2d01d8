//! Quotas of buckets and projects, and what is counted against them.

use crate::object::{BucketUsage, UploadId};
use serde::{Deserialize, Serialize};

/// How much may be kept; `None` is without bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quota {
    /// Of all versions, and of the parts of unfinished uploads.
    pub bytes: Option<u64>,
    /// All versions but delete markers.
    pub objects: Option<u64>,
}

/// Whose quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuotaOf {
    /// By name.
    Bucket(String),
    /// By the account's number: the sum of its buckets.
    Project(String),
}

/// What becomes of one bound of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BoundChange {
    #[default]
    Keep,
    Lift,
    Set(u64),
}

impl BoundChange {
    pub fn apply(self, bound: Option<u64>) -> Option<u64> {
        match self {
            Self::Keep => bound,
            Self::Lift => None,
            Self::Set(bound) => Some(bound),
        }
    }
}

/// A usage beside its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counted {
    pub usage: BucketUsage,
    pub quota: Quota,
}

/// What a bucket holds, and what it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketCount {
    pub name: String,
    /// The number of the account that it belongs to.
    pub account: String,
    pub counted: Counted,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BucketCountPage {
    pub buckets: Vec<BucketCount>,
    /// What to give as `after` for the next page, if there is one.
    pub next: Option<String>,
}

/// What an account's buckets hold together, and what they may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectCount {
    pub account: String,
    pub counted: Counted,
}

/// Where bytes are to go, so that what they displace is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Incoming {
    Object { key: String },
    Part { key: String, upload: UploadId, number: u16 },
}
