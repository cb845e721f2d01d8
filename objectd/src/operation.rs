//! What a request asks for, decided from its method, target and query; and what each operation needs to be
//! allowed. A sub-resource that is not served is an error, never taken for another operation.

use crate::auth::uri::Query;
use crate::error::{S3Code, S3Error, S3Result};
use crate::target::Target;
use http::{HeaderMap, Method};

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident $permissions:expr;)*) => {
        /// Every operation that is served.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation { $($(#[$doc])* $name,)* }

        impl Operation {
            pub const ALL: &'static [Operation] = &[$(Operation::$name,)*];

            /// Its name in AWS's reference, and in metrics and logs.
            pub const fn name(self) -> &'static str {
                match self { $(Operation::$name => stringify!($name),)* }
            }

            /// Every permission it needs, and on what.
            pub const fn permissions(self) -> &'static [Permission] {
                match self { $(Operation::$name => const { $permissions },)* }
            }
        }
    };
}

/// One permission an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permission {
    pub action: &'static str,
    pub on: On,
}

/// What a permission is needed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum On {
    /// No bucket: the caller's own account.
    Account,
    /// The bucket of the request, which must exist.
    Bucket,
    /// The name of a bucket that may not exist yet.
    NewBucket,
    /// The object of the request.
    Object,
    /// The object that `x-amz-copy-source` names.
    Source,
    /// Each key in the request's body.
    ListedObjects,
}

const fn need(action: &'static str, on: On) -> Permission {
    Permission { action, on }
}

operations! {
    ListBuckets &[need("s3:ListAllMyBuckets", On::Account)];
    CreateBucket &[need("s3:CreateBucket", On::NewBucket)];
    HeadBucket &[need("s3:ListBucket", On::Bucket)];
    DeleteBucket &[need("s3:DeleteBucket", On::Bucket)];
    GetBucketLocation &[need("s3:GetBucketLocation", On::Bucket)];
    GetBucketVersioning &[need("s3:GetBucketVersioning", On::Bucket)];
    GetBucketAcl &[need("s3:GetBucketAcl", On::Bucket)];
    GetBucketOwnershipControls &[need("s3:GetBucketOwnershipControls", On::Bucket)];
    GetPublicAccessBlock &[need("s3:GetBucketPublicAccessBlock", On::Bucket)];
    /// A read of a setting that no bucket has yet: answered with AWS's "there is none".
    GetAbsentSetting &[need("s3:GetBucketPolicy", On::Bucket)];
    ListObjects &[need("s3:ListBucket", On::Bucket)];
    ListObjectsV2 &[need("s3:ListBucket", On::Bucket)];
    ListMultipartUploads &[need("s3:ListBucketMultipartUploads", On::Bucket)];
    DeleteObjects &[need("s3:DeleteObject", On::ListedObjects)];
    PutObject &[need("s3:PutObject", On::Object)];
    CopyObject &[need("s3:PutObject", On::Object), need("s3:GetObject", On::Source)];
    GetObject &[need("s3:GetObject", On::Object)];
    HeadObject &[need("s3:GetObject", On::Object)];
    DeleteObject &[need("s3:DeleteObject", On::Object)];
    GetObjectAcl &[need("s3:GetObjectAcl", On::Object)];
    GetObjectTagging &[need("s3:GetObjectTagging", On::Object)];
    GetObjectAttributes &[need("s3:GetObject", On::Object), need("s3:GetObjectAttributes", On::Object)];
    CreateMultipartUpload &[need("s3:PutObject", On::Object)];
    UploadPart &[need("s3:PutObject", On::Object)];
    UploadPartCopy &[need("s3:PutObject", On::Object), need("s3:GetObject", On::Source)];
    ListParts &[need("s3:ListMultipartUploadParts", On::Object)];
    CompleteMultipartUpload &[need("s3:PutObject", On::Object)];
    AbortMultipartUpload &[need("s3:AbortMultipartUpload", On::Object)];
}

/// Sub-resources of S3 that select another operation than the bare one. Any that [`Operation::route`] does not
/// serve is 501.
const SUBRESOURCES: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "append",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Bucket settings whose absence is the truth, and the code that says so.
const ABSENT_SETTINGS: &[(&str, S3Code)] = &[
    ("cors", S3Code::NoSuchCORSConfiguration),
    ("encryption", S3Code::ServerSideEncryptionConfigurationNotFoundError),
    ("lifecycle", S3Code::NoSuchLifecycleConfiguration),
    ("object-lock", S3Code::ObjectLockConfigurationNotFoundError),
    ("policy", S3Code::NoSuchBucketPolicy),
    ("policyStatus", S3Code::NoSuchBucketPolicy),
    ("replication", S3Code::ReplicationConfigurationNotFoundError),
    ("tagging", S3Code::NoSuchTagSet),
    ("website", S3Code::NoSuchWebsiteConfiguration),
];

/// The code of the absent setting that a query reads.
pub fn absent_setting(query: &Query) -> Option<S3Code> {
    ABSENT_SETTINGS.iter().find(|(name, _)| query.contains(name)).map(|(_, code)| *code)
}

impl Operation {
    /// The operation that a request asks for.
    pub fn route(method: &Method, target: &Target, query: &Query, headers: &HeaderMap) -> S3Result<Self> {
        let mut named = SUBRESOURCES.iter().copied().filter(|name| query.contains(name));
        let selected: Vec<&str> = named.by_ref().collect();
        let found = match (&target.bucket, &target.key) {
            (None, _) => Self::of_service(method, &selected),
            (Some(_), None) => Self::of_bucket(method, &selected, query),
            (Some(_), Some(_)) => {
                Self::of_object(method, &selected, headers.contains_key("x-amz-copy-source"))
            }
        };
        match found {
            Some(operation) => Ok(operation),
            None if selected.is_empty() => Err(S3Error::new(S3Code::MethodNotAllowed)),
            None => Err(S3Error::new(S3Code::NotImplemented).extra("Resource", selected.join("&"))),
        }
    }

    fn of_service(method: &Method, selected: &[&str]) -> Option<Self> {
        (*method == Method::GET && selected.is_empty()).then_some(Self::ListBuckets)
    }

    fn of_bucket(method: &Method, selected: &[&str], query: &Query) -> Option<Self> {
        Some(match (method.as_str(), selected) {
            ("PUT", []) => Self::CreateBucket,
            ("HEAD", []) => Self::HeadBucket,
            ("DELETE", []) => Self::DeleteBucket,
            ("GET", []) => match query.get("list-type") {
                None => Self::ListObjects,
                Some("2") => Self::ListObjectsV2,
                Some(_) => return None,
            },
            ("GET", ["location"]) => Self::GetBucketLocation,
            ("GET", ["versioning"]) => Self::GetBucketVersioning,
            ("GET", ["acl"]) => Self::GetBucketAcl,
            ("GET", ["ownershipControls"]) => Self::GetBucketOwnershipControls,
            ("GET", ["publicAccessBlock"]) => Self::GetPublicAccessBlock,
            ("GET", ["uploads"]) => Self::ListMultipartUploads,
            ("GET", [_]) if absent_setting(query).is_some() => Self::GetAbsentSetting,
            ("POST", ["delete"]) => Self::DeleteObjects,
            _ => return None,
        })
    }

    fn of_object(method: &Method, selected: &[&str], copies: bool) -> Option<Self> {
        Some(match (method.as_str(), selected) {
            ("PUT", []) if copies => Self::CopyObject,
            ("PUT", []) => Self::PutObject,
            ("PUT", ["partNumber", "uploadId"]) if copies => Self::UploadPartCopy,
            ("PUT", ["partNumber", "uploadId"]) => Self::UploadPart,
            ("GET", [] | ["partNumber"]) => Self::GetObject,
            ("HEAD", [] | ["partNumber"]) => Self::HeadObject,
            ("DELETE", []) => Self::DeleteObject,
            ("GET", ["acl"]) => Self::GetObjectAcl,
            ("GET", ["tagging"]) => Self::GetObjectTagging,
            ("GET", ["attributes"]) => Self::GetObjectAttributes,
            ("POST", ["uploads"]) => Self::CreateMultipartUpload,
            ("GET", ["uploadId"]) => Self::ListParts,
            ("POST", ["uploadId"]) => Self::CompleteMultipartUpload,
            ("DELETE", ["uploadId"]) => Self::AbortMultipartUpload,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, path: &str, copy: bool) -> Result<Operation, S3Code> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let target = Target::parse("h", path, &[]).unwrap();
        let mut headers = HeaderMap::new();
        if copy {
            headers.insert("x-amz-copy-source", http::HeaderValue::from_static("/b/k"));
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Operation::route(&method, &target, &Query::parse(Some(query)).unwrap(), &headers)
            .map_err(|error| error.code())
    }

    #[test]
    fn every_operation_is_reached() {
        use Operation::*;
        let cases = [
            ("GET", "/", ListBuckets),
            ("PUT", "/buc", CreateBucket),
            ("HEAD", "/buc/", HeadBucket),
            ("DELETE", "/buc", DeleteBucket),
            ("GET", "/buc?location", GetBucketLocation),
            ("GET", "/buc?versioning", GetBucketVersioning),
            ("GET", "/buc?acl", GetBucketAcl),
            ("GET", "/buc?ownershipControls", GetBucketOwnershipControls),
            ("GET", "/buc?publicAccessBlock", GetPublicAccessBlock),
            ("GET", "/buc?policy", GetAbsentSetting),
            ("GET", "/buc?prefix=a", ListObjects),
            ("GET", "/buc?list-type=2", ListObjectsV2),
            ("GET", "/buc?uploads&prefix=a", ListMultipartUploads),
            ("POST", "/buc?delete", DeleteObjects),
            ("PUT", "/buc/k?x-id=PutObject", PutObject),
            ("GET", "/buc/k?response-content-type=a", GetObject),
            ("GET", "/buc/k?partNumber=1", GetObject),
            ("HEAD", "/buc/k", HeadObject),
            ("DELETE", "/buc/k", DeleteObject),
            ("GET", "/buc/k?acl", GetObjectAcl),
            ("GET", "/buc/k?tagging", GetObjectTagging),
            ("GET", "/buc/k?attributes", GetObjectAttributes),
            ("POST", "/buc/k?uploads", CreateMultipartUpload),
            ("PUT", "/buc/k?uploadId=u&partNumber=1", UploadPart),
            ("GET", "/buc/k?uploadId=u", ListParts),
            ("POST", "/buc/k?uploadId=u", CompleteMultipartUpload),
            ("DELETE", "/buc/k?uploadId=u", AbortMultipartUpload),
        ];
        for (method, path, operation) in cases {
            assert_eq!(route(method, path, false), Ok(operation), "{method} {path}");
        }
        assert_eq!(route("PUT", "/buc/k", true), Ok(CopyObject));
        assert_eq!(route("PUT", "/buc/k?partNumber=1&uploadId=u", true), Ok(UploadPartCopy));
        // GetObject is there twice, the two copies follow.
        assert_eq!(cases.len() + 1, Operation::ALL.len());
        for operation in Operation::ALL {
            assert!(!operation.permissions().is_empty(), "{}", operation.name());
        }
    }

    #[test]
    fn what_is_not_served_is_never_something_else() {
        let unserved = [
            ("PUT", "/buc?acl"),
            ("PUT", "/buc?versioning"),
            ("PUT", "/buc?policy"),
            ("GET", "/buc?versions"),
            ("GET", "/buc?acl&policy"),
            ("DELETE", "/buc?policy"),
            ("DELETE", "/buc?lifecycle"),
            ("PUT", "/buc/k?acl"),
            ("PUT", "/buc/k?tagging"),
            ("PUT", "/buc/k?uploadId=u"),
            ("PUT", "/buc/k?partNumber=1"),
            ("GET", "/buc/k?versionId=x"),
            ("DELETE", "/buc/k?versionId=x"),
            ("DELETE", "/buc/k?tagging"),
            ("POST", "/buc/k?select"),
            ("POST", "/buc/k?restore"),
            ("PUT", "/?policy"),
        ];
        for (method, path) in unserved {
            assert_eq!(route(method, path, false), Err(S3Code::NotImplemented), "{method} {path}");
        }
        for (method, path) in
            [("POST", "/"), ("POST", "/buc"), ("POST", "/buc/k"), ("PATCH", "/buc/k"), ("PUT", "/")]
        {
            assert_eq!(route(method, path, false), Err(S3Code::MethodNotAllowed), "{method} {path}");
        }
        assert_eq!(route("GET", "/buc?list-type=3", false), Err(S3Code::MethodNotAllowed));
    }
}
