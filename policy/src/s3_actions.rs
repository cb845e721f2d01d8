//! S3's actions, and what each is done to.
//!
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3".

use crate::arn::ArnPattern;
use crate::policy::{Actions, Resources};
use crate::wildcard::Glob;

/// What an action is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceType {
    /// No bucket: `*`.
    Account,
    /// `arn:aws:s3:::BUCKET`
    Bucket,
    /// `arn:aws:s3:::BUCKET/KEY`
    Object,
}

/// What a trust policy may allow.
pub(crate) const ASSUMING: &[&str] = &[
    "sts:AssumeRole",
    "sts:AssumeRoleWithSAML",
    "sts:AssumeRoleWithWebIdentity",
    "sts:SetSourceIdentity",
    "sts:TagSession",
];

/// The rest of the bucket-level actions' names after `s3:`.
const ON_BUCKET: &[&str] = &[
    "CreateBucket",
    "CreateBucketMetadataTableConfiguration",
    "DeleteBucket",
    "DeleteBucketMetadataTableConfiguration",
    "DeleteBucketPolicy",
    "DeleteBucketWebsite",
    "GetAccelerateConfiguration",
    "GetAnalyticsConfiguration",
    "GetBucketAcl",
    "GetBucketCORS",
    "GetBucketLocation",
    "GetBucketLogging",
    "GetBucketMetadataTableConfiguration",
    "GetBucketNotification",
    "GetBucketObjectLockConfiguration",
    "GetBucketOwnershipControls",
    "GetBucketPolicy",
    "GetBucketPolicyStatus",
    "GetBucketPublicAccessBlock",
    "GetBucketRequestPayment",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetBucketWebsite",
    "GetEncryptionConfiguration",
    "GetIntelligentTieringConfiguration",
    "GetInventoryConfiguration",
    "GetLifecycleConfiguration",
    "GetMetricsConfiguration",
    "GetReplicationConfiguration",
    "ListBucket",
    "ListBucketMultipartUploads",
    "ListBucketVersions",
    "PutAccelerateConfiguration",
    "PutAnalyticsConfiguration",
    "PutBucketAcl",
    "PutBucketCORS",
    "PutBucketLogging",
    "PutBucketNotification",
    "PutBucketObjectLockConfiguration",
    "PutBucketOwnershipControls",
    "PutBucketPolicy",
    "PutBucketPublicAccessBlock",
    "PutBucketRequestPayment",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutBucketWebsite",
    "PutEncryptionConfiguration",
    "PutIntelligentTieringConfiguration",
    "PutInventoryConfiguration",
    "PutLifecycleConfiguration",
    "PutMetricsConfiguration",
    "PutReplicationConfiguration",
];

const ON_OBJECT: &[&str] = &[
    "AbortMultipartUpload",
    "BypassGovernanceRetention",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjectVersion",
    "DeleteObjectVersionTagging",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "GetObjectLegalHold",
    "GetObjectRetention",
    "GetObjectTagging",
    "GetObjectTorrent",
    "GetObjectVersion",
    "GetObjectVersionAcl",
    "GetObjectVersionAttributes",
    "GetObjectVersionForReplication",
    "GetObjectVersionTagging",
    "GetObjectVersionTorrent",
    "InitiateReplication",
    "ListMultipartUploadParts",
    "ObjectOwnerOverrideToBucketOwner",
    "PutObject",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "PutObjectTagging",
    "PutObjectVersionAcl",
    "PutObjectVersionTagging",
    "ReplicateDelete",
    "ReplicateObject",
    "ReplicateTags",
    "RestoreObject",
    "UpdateObjectEncryption",
];

const ON_ACCOUNT: &[&str] =
    &["GetAccountPublicAccessBlock", "ListAllMyBuckets", "PutAccountPublicAccessBlock"];

/// Every S3 action with what it is done to.
pub(crate) fn every() -> impl Iterator<Item = (&'static str, ResourceType)> {
    let tagged = |names: &'static [&'static str], on| names.iter().map(move |name| (*name, on));
    tagged(ON_BUCKET, ResourceType::Bucket)
        .chain(tagged(ON_OBJECT, ResourceType::Object))
        .chain(tagged(ON_ACCOUNT, ResourceType::Account))
}

/// What an action (`s3:GetObject`, in any case) is done to; `None` if S3 has no such action.
pub fn resource_type(action: &str) -> Option<ResourceType> {
    let (service, name) = action.split_once(':')?;
    if !service.eq_ignore_ascii_case("s3") {
        return None;
    }
    every().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, on)| on)
}

/// Whether a pattern in lower case means at least one action.
pub(crate) fn known(pattern: &Glob) -> bool {
    every().any(|(name, _)| pattern.matches(&full(name)))
}

fn full(name: &str) -> String {
    format!("s3:{}", name.to_ascii_lowercase())
}

/// What of a bucket a pattern can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) bucket: bool,
    pub(crate) objects: bool,
}

impl Reach {
    pub(crate) fn any(self) -> bool {
        self.bucket || self.objects
    }
}

/// What of `bucket` a resource's pattern can match, whatever its variables stand for.
pub(crate) fn reaches(pattern: &ArnPattern, bucket: &str) -> Reach {
    let everything = Reach { bucket: true, objects: true };
    let parts = match pattern {
        ArnPattern::Any | ArnPattern::Whole(_) => return everything,
        ArnPattern::Components(parts) => parts,
    };
    // What a bucket's and an object's ARN begin with.
    let head = ["arn", "aws", "s3", "", ""];
    let fits = parts.iter().zip(head).all(|(part, value)| part.covers(value));
    let Some(resource) = parts.get(5) else { return Reach { bucket: fits, objects: fits } };
    let (name, slash) = resource.before_slash();
    let open = name.has_star() || name.has_variable();
    let named = fits && (name.has_variable() || name.covers(bucket));
    // A star before the slash, or at the end, may swallow the slash.
    let swallows = fits && open && name.could_begin(bucket);
    Reach { bucket: named && !slash, objects: (named && slash) || swallows }
}

/// Whether at least one of the actions can be done to one of the resources.
pub(crate) fn some_applies(actions: &Actions, resources: &Resources, bucket: &str) -> bool {
    let patterns = match resources {
        Resources::Only(patterns) if !actions.except => patterns,
        _ => return true,
    };
    let reach: Vec<Reach> = patterns.iter().map(|pattern| reaches(pattern, bucket)).collect();
    every().any(|(name, on)| {
        actions.cover(&full(name))
            && match on {
                ResourceType::Bucket => reach.iter().any(|reach| reach.bucket),
                ResourceType::Object => reach.iter().any(|reach| reach.objects),
                ResourceType::Account => false,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Template, Variables, Wildcards};

    #[test]
    fn what_a_pattern_reaches() {
        let reach = |text: &str| {
            let template = Template::parse(text, Wildcards::Match, Variables::Resolve).unwrap();
            let reach = reaches(&ArnPattern::new(&template, text).unwrap(), "photos");
            (reach.bucket, reach.objects)
        };
        assert_eq!(reach("*"), (true, true));
        assert_eq!(reach("arn:aws:s3:::photos"), (true, false));
        assert_eq!(reach("arn:aws:s3:::photos/*"), (false, true));
        assert_eq!(reach("arn:aws:s3:::photos*"), (true, true));
        assert_eq!(reach("arn:aws:s3:::ph*/a"), (false, true));
        assert_eq!(reach("arn:aws:s3:::*"), (true, true));
        assert_eq!(reach("arn:aws:s3:*"), (true, true));
        assert_eq!(reach("arn:aws:s3:::other/*"), (false, false));
        assert_eq!(reach("arn:aws:s3:::photosx"), (false, false));
        assert_eq!(reach("arn:aws:s3:::photo?"), (true, false));
        assert_eq!(reach("arn:aws:s3:::ph*z"), (false, true));
        assert_eq!(reach("arn:aws:s3:::x*z"), (false, false));
        assert_eq!(reach("arn:aws:sns:::photos"), (false, false));
        assert_eq!(reach("arn:aws:s3:::${aws:username}/*"), (false, true));
    }
}
