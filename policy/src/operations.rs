//! What each S3 operation needs to be allowed: the one table behind the check and `docs/S3-PERMISSIONS.md`.
//!
//! Every need that holds for a request must be allowed, each on its own resource. Whether a missing key is
//! answered with 404 or, to a caller without `s3:ListBucket`, with 403 is the gateway's part.
//!
//! Source: S3 User Guide, "Required permissions for Amazon S3 API operations"; S3 API reference, "Permissions" of
//! each operation.

use std::fmt::Write;

/// What a need is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum On {
    /// No bucket: the caller's own account.
    Account,
    /// The bucket of the request. Of CreateBucket: its name, which need not exist.
    Bucket,
    /// The object of the request.
    Object,
    /// Each key in the request's body, by its own version or none.
    EachKey,
    /// The object that `x-amz-copy-source` names.
    Source,
}

/// When an operation has a need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    Always,
    /// `versionId` names a version (of [`On::EachKey`]: that key's).
    Version,
    NoVersion,
    /// `versionId` is in `x-amz-copy-source`.
    SourceVersion,
    NoSourceVersion,
    /// `x-amz-tagging` is there, or a form's `tagging`; of a copy: with `x-amz-tagging-directive: REPLACE`.
    Tagging,
    /// The source's tags are copied: it has some, and the directive isn't REPLACE.
    SourceTags,
    /// The same, and `x-amz-copy-source` names a version.
    SourceVersionTags,
    /// `x-amz-acl` or an `x-amz-grant-*` header is there.
    Acl,
    /// `x-amz-object-lock-mode` or `x-amz-object-lock-retain-until-date` is there.
    Retention,
    /// `x-amz-object-lock-legal-hold` is there.
    LegalHold,
    /// `x-amz-bypass-governance-retention: true` is there.
    Bypass,
    /// `x-amz-bucket-object-lock-enabled: true` is there.
    BucketLock,
    /// `x-amz-object-ownership` is there.
    Ownership,
}

impl When {
    const fn words(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Version => "a version is named",
            Self::NoVersion => "no version is named",
            Self::SourceVersion => "a version of the source is named",
            Self::NoSourceVersion => "no version of the source is named",
            Self::Tagging => "tags are given",
            Self::SourceTags => "the source's tags are copied, no version named",
            Self::SourceVersionTags => "the tags of a named version of the source are copied",
            Self::Acl => "an ACL or grants are given",
            Self::Retention => "a retention is given",
            Self::LegalHold => "a legal hold is given",
            Self::Bypass => "governance is to be bypassed",
            Self::BucketLock => "object lock is to be enabled",
            Self::Ownership => "object ownership is given",
        }
    }
}

/// One permission that an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Need {
    pub action: &'static str,
    pub on: On,
    pub when: When,
}

/// What of a request decides which needs it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    pub version: bool,
    pub source_version: bool,
    pub tagging: bool,
    /// The source of a copy has tags that are copied.
    pub source_tags: bool,
    pub acl: bool,
    pub retention: bool,
    pub legal_hold: bool,
    pub bypass: bool,
    pub bucket_lock: bool,
    pub ownership: bool,
}

impl Facts {
    fn meet(&self, when: When) -> bool {
        match when {
            When::Always => true,
            When::Version => self.version,
            When::NoVersion => !self.version,
            When::SourceVersion => self.source_version,
            When::NoSourceVersion => !self.source_version,
            When::Tagging => self.tagging,
            When::SourceTags => self.source_tags && !self.source_version,
            When::SourceVersionTags => self.source_tags && self.source_version,
            When::Acl => self.acl,
            When::Retention => self.retention,
            When::LegalHold => self.legal_hold,
            When::Bypass => self.bypass,
            When::BucketLock => self.bucket_lock,
            When::Ownership => self.ownership,
        }
    }
}

const fn need(action: &'static str, on: On, when: When) -> Need {
    Need { action, on, when }
}

const fn bucket(action: &'static str) -> Need {
    need(action, On::Bucket, When::Always)
}

const fn object(action: &'static str, when: When) -> Need {
    need(action, On::Object, when)
}

/// What a new object can bring with it.
const NEW_OBJECT: [Need; 5] = [
    object("s3:PutObject", When::Always),
    object("s3:PutObjectTagging", When::Tagging),
    object("s3:PutObjectAcl", When::Acl),
    object("s3:PutObjectRetention", When::Retention),
    object("s3:PutObjectLegalHold", When::LegalHold),
];
const SOURCE: [Need; 2] = [
    need("s3:GetObject", On::Source, When::NoSourceVersion),
    need("s3:GetObjectVersion", On::Source, When::SourceVersion),
];
const SOURCE_TAGS: [Need; 2] = [
    need("s3:GetObjectTagging", On::Source, When::SourceTags),
    need("s3:GetObjectVersionTagging", On::Source, When::SourceVersionTags),
];
const READ: [Need; 2] =
    [object("s3:GetObject", When::NoVersion), object("s3:GetObjectVersion", When::Version)];

macro_rules! operations {
    ($($name:ident $needs:expr;)*) => {
        /// The operations of S3 that are served or are to be.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation { $($name,)* }

        impl Operation {
            pub const ALL: &'static [Operation] = &[$(Operation::$name,)*];

            /// Its name in AWS's reference.
            pub const fn name(self) -> &'static str {
                match self { $(Operation::$name => stringify!($name),)* }
            }

            /// Everything that it can need.
            pub const fn needs(self) -> &'static [Need] {
                match self { $(Operation::$name => const { &$needs },)* }
            }
        }
    };
}

operations! {
    AbortMultipartUpload [object("s3:AbortMultipartUpload", When::Always)];
    CompleteMultipartUpload [object("s3:PutObject", When::Always)];
    CopyObject [
        NEW_OBJECT[0], NEW_OBJECT[1], NEW_OBJECT[2], NEW_OBJECT[3], NEW_OBJECT[4],
        SOURCE[0], SOURCE[1], SOURCE_TAGS[0], SOURCE_TAGS[1],
        // Tags that are copied are written too.
        object("s3:PutObjectTagging", When::SourceTags),
        object("s3:PutObjectTagging", When::SourceVersionTags),
    ];
    CreateBucket [
        bucket("s3:CreateBucket"),
        need("s3:PutBucketAcl", On::Bucket, When::Acl),
        need("s3:PutBucketObjectLockConfiguration", On::Bucket, When::BucketLock),
        need("s3:PutBucketVersioning", On::Bucket, When::BucketLock),
        need("s3:PutBucketOwnershipControls", On::Bucket, When::Ownership),
    ];
    CreateMultipartUpload NEW_OBJECT;
    DeleteBucket [bucket("s3:DeleteBucket")];
    DeleteBucketCors [bucket("s3:PutBucketCORS")];
    DeleteBucketEncryption [bucket("s3:PutEncryptionConfiguration")];
    DeleteBucketLifecycle [bucket("s3:PutLifecycleConfiguration")];
    DeleteBucketOwnershipControls [bucket("s3:PutBucketOwnershipControls")];
    DeleteBucketPolicy [bucket("s3:DeleteBucketPolicy")];
    DeleteBucketTagging [bucket("s3:PutBucketTagging")];
    DeleteBucketWebsite [bucket("s3:DeleteBucketWebsite")];
    DeleteObject [
        object("s3:DeleteObject", When::NoVersion),
        object("s3:DeleteObjectVersion", When::Version),
        object("s3:BypassGovernanceRetention", When::Bypass),
    ];
    DeleteObjectTagging [
        object("s3:DeleteObjectTagging", When::NoVersion),
        object("s3:DeleteObjectVersionTagging", When::Version),
    ];
    DeleteObjects [
        need("s3:DeleteObject", On::EachKey, When::NoVersion),
        need("s3:DeleteObjectVersion", On::EachKey, When::Version),
        need("s3:BypassGovernanceRetention", On::EachKey, When::Bypass),
    ];
    DeletePublicAccessBlock [bucket("s3:PutBucketPublicAccessBlock")];
    DeletePublicAccessBlockOfAccount [need("s3:PutAccountPublicAccessBlock", On::Account, When::Always)];
    GetBucketAcl [bucket("s3:GetBucketAcl")];
    GetBucketCors [bucket("s3:GetBucketCORS")];
    GetBucketEncryption [bucket("s3:GetEncryptionConfiguration")];
    GetBucketLifecycleConfiguration [bucket("s3:GetLifecycleConfiguration")];
    GetBucketLocation [bucket("s3:GetBucketLocation")];
    GetBucketLogging [bucket("s3:GetBucketLogging")];
    GetBucketNotificationConfiguration [bucket("s3:GetBucketNotification")];
    GetBucketOwnershipControls [bucket("s3:GetBucketOwnershipControls")];
    GetBucketPolicy [bucket("s3:GetBucketPolicy")];
    GetBucketPolicyStatus [bucket("s3:GetBucketPolicyStatus")];
    GetBucketReplication [bucket("s3:GetReplicationConfiguration")];
    GetBucketRequestPayment [bucket("s3:GetBucketRequestPayment")];
    GetBucketTagging [bucket("s3:GetBucketTagging")];
    GetBucketVersioning [bucket("s3:GetBucketVersioning")];
    GetBucketWebsite [bucket("s3:GetBucketWebsite")];
    GetObject READ;
    GetObjectAcl [object("s3:GetObjectAcl", When::NoVersion), object("s3:GetObjectVersionAcl", When::Version)];
    GetObjectAttributes [
        READ[0], READ[1],
        object("s3:GetObjectAttributes", When::NoVersion),
        object("s3:GetObjectVersionAttributes", When::Version),
    ];
    GetObjectLegalHold [object("s3:GetObjectLegalHold", When::Always)];
    GetObjectLockConfiguration [bucket("s3:GetBucketObjectLockConfiguration")];
    GetObjectRetention [object("s3:GetObjectRetention", When::Always)];
    GetObjectTagging [
        object("s3:GetObjectTagging", When::NoVersion),
        object("s3:GetObjectVersionTagging", When::Version),
    ];
    GetPublicAccessBlock [bucket("s3:GetBucketPublicAccessBlock")];
    GetPublicAccessBlockOfAccount [need("s3:GetAccountPublicAccessBlock", On::Account, When::Always)];
    HeadBucket [bucket("s3:ListBucket")];
    HeadObject READ;
    ListBuckets [need("s3:ListAllMyBuckets", On::Account, When::Always)];
    ListMultipartUploads [bucket("s3:ListBucketMultipartUploads")];
    ListObjectVersions [bucket("s3:ListBucketVersions")];
    ListObjects [bucket("s3:ListBucket")];
    ListObjectsV2 [bucket("s3:ListBucket")];
    ListParts [object("s3:ListMultipartUploadParts", When::Always)];
    PostObject NEW_OBJECT;
    PutBucketAcl [bucket("s3:PutBucketAcl")];
    PutBucketCors [bucket("s3:PutBucketCORS")];
    PutBucketEncryption [bucket("s3:PutEncryptionConfiguration")];
    PutBucketLifecycleConfiguration [bucket("s3:PutLifecycleConfiguration")];
    PutBucketLogging [bucket("s3:PutBucketLogging")];
    PutBucketNotificationConfiguration [bucket("s3:PutBucketNotification")];
    PutBucketOwnershipControls [bucket("s3:PutBucketOwnershipControls")];
    PutBucketPolicy [bucket("s3:PutBucketPolicy")];
    PutBucketTagging [bucket("s3:PutBucketTagging")];
    PutBucketVersioning [bucket("s3:PutBucketVersioning")];
    PutBucketWebsite [bucket("s3:PutBucketWebsite")];
    PutObject NEW_OBJECT;
    PutObjectAcl [object("s3:PutObjectAcl", When::NoVersion), object("s3:PutObjectVersionAcl", When::Version)];
    PutObjectLegalHold [object("s3:PutObjectLegalHold", When::Always)];
    PutObjectLockConfiguration [bucket("s3:PutBucketObjectLockConfiguration")];
    PutObjectRetention [
        object("s3:PutObjectRetention", When::Always),
        object("s3:BypassGovernanceRetention", When::Bypass),
    ];
    PutObjectTagging [
        object("s3:PutObjectTagging", When::NoVersion),
        object("s3:PutObjectVersionTagging", When::Version),
    ];
    PutPublicAccessBlock [bucket("s3:PutBucketPublicAccessBlock")];
    PutPublicAccessBlockOfAccount [need("s3:PutAccountPublicAccessBlock", On::Account, When::Always)];
    UploadPart [object("s3:PutObject", When::Always)];
    UploadPartCopy [object("s3:PutObject", When::Always), SOURCE[0], SOURCE[1]];
}

impl Operation {
    /// The operation of this name in AWS's reference.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|operation| operation.name() == name)
    }

    /// What it needs for a request of which these facts hold. Never empty.
    pub fn needed(self, facts: Facts) -> impl Iterator<Item = Need> {
        self.needs().iter().copied().filter(move |need| facts.meet(need.when))
    }
}

/// `docs/S3-PERMISSIONS.md`.
pub fn render_permissions() -> String {
    let mut page = String::from(
        "# What each S3 operation needs to be allowed\n\n\
         Made from the table in `policy/src/operations.rs`; a test holds this page to it. All permissions of an\n\
         operation whose \"when\" holds must be allowed, each on its resource. The gateway asks it for every request\n\
         that it serves (S3-POLICIES.md); an operation of this page that it doesn't serve is answered with 501.\n\n\
         | operation | permission | on | when |\n|---|---|---|---|\n",
    );
    for operation in Operation::ALL {
        for (index, need) in operation.needs().iter().enumerate() {
            let name = if index == 0 { operation.name() } else { "" };
            let on = match need.on {
                On::Account => "the account",
                On::Bucket => "the bucket",
                On::Object => "the object",
                On::EachKey => "each key",
                On::Source => "the source object",
            };
            // Writing to a string can't fail.
            let _ = writeln!(page, "| {name} | `{}` | {on} | {} |", need.action, need.when.words());
        }
    }
    page
}
