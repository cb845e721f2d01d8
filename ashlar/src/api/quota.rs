//! Usage and quotas, of buckets and of projects.

use meta::object::BucketUsage;
use meta::quota::{BoundChange, BucketCount, Counted, Quota};
use serde::{Deserialize, Serialize};

/// `POST /v1/buckets/{name}/quota` and `/v1/projects/{name}/quota`: `"keep"`, `"lift"` or `{"set": 5}` for each bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetQuota {
    #[serde(default)]
    pub bytes: BoundChange,
    #[serde(default)]
    pub objects: BoundChange,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageView {
    /// All versions but delete markers.
    pub objects: u64,
    /// Of all versions.
    pub bytes: u64,
    /// Unfinished multipart uploads, and their parts.
    pub uploads: u64,
    pub upload_bytes: u64,
}

impl From<BucketUsage> for UsageView {
    fn from(usage: BucketUsage) -> Self {
        let BucketUsage { objects, bytes, uploads, upload_bytes } = usage;
        Self { objects, bytes, uploads, upload_bytes }
    }
}

/// What may be there; null is without bound.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaView {
    /// Of all versions and of the parts of unfinished uploads.
    pub bytes: Option<u64>,
    pub objects: Option<u64>,
}

impl From<Quota> for QuotaView {
    fn from(quota: Quota) -> Self {
        Self { bytes: quota.bytes, objects: quota.objects }
    }
}

/// `GET /v1/buckets/{name}`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BucketView {
    pub name: String,
    /// The number of the account that it belongs to.
    pub project: String,
    pub usage: UsageView,
    pub quota: QuotaView,
}

impl From<BucketCount> for BucketView {
    fn from(bucket: BucketCount) -> Self {
        let Counted { usage, quota } = bucket.counted;
        Self { name: bucket.name, project: bucket.account, usage: usage.into(), quota: quota.into() }
    }
}

/// `GET /v1/buckets?after=NAME`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BucketPage {
    pub buckets: Vec<BucketView>,
    /// `after` of the next page, if there is one.
    pub next: Option<String>,
}
