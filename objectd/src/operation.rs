//! What a request asks for, decided from its method, target and query; and what each operation needs to be
//! allowed. A sub-resource that is not served is an error, never taken for another operation.

use crate::auth::uri::Query;
use crate::error::{S3Code, S3Error, S3Result};
use crate::post;
use crate::target::Target;
use http::{HeaderMap, Method};

macro_rules! operations {
    ($($name:ident)*) => {
        /// Every operation that is served. Each is the operation of that name in `policy`'s table, which says what
        /// it needs to be allowed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation { $($name,)* }

        impl Operation {
            pub const ALL: &'static [Operation] = &[$(Operation::$name,)*];

            /// The row of the table of permissions.
            pub const fn permissions(self) -> policy::Operation {
                match self { $(Operation::$name => policy::Operation::$name,)* }
            }
        }
    };
}

operations! {
    ListBuckets
    CreateBucket
    HeadBucket
    DeleteBucket
    GetBucketLocation
    GetBucketVersioning
    PutBucketVersioning
    GetBucketAcl
    GetBucketOwnershipControls
    PutBucketOwnershipControls
    DeleteBucketOwnershipControls
    PutBucketAcl
    PutBucketPolicy
    GetBucketPolicy
    DeleteBucketPolicy
    GetBucketPolicyStatus
    PutPublicAccessBlock
    GetPublicAccessBlock
    DeletePublicAccessBlock
    PutPublicAccessBlockOfAccount
    GetPublicAccessBlockOfAccount
    DeletePublicAccessBlockOfAccount
    PutBucketCors
    GetBucketCors
    DeleteBucketCors
    PutBucketTagging
    GetBucketTagging
    DeleteBucketTagging
    PutBucketLifecycleConfiguration
    GetBucketLifecycleConfiguration
    DeleteBucketLifecycle
    PutBucketWebsite
    GetBucketWebsite
    DeleteBucketWebsite
    PutBucketNotificationConfiguration
    GetBucketNotificationConfiguration
    PutBucketLogging
    GetBucketLogging
    PutBucketEncryption
    GetBucketEncryption
    DeleteBucketEncryption
    // A read of a setting that no bucket has yet: answered with AWS's "there is none".
    GetBucketReplication
    GetObjectLockConfiguration
    PutObjectLockConfiguration
    ListObjects
    ListObjectsV2
    ListObjectVersions
    ListMultipartUploads
    DeleteObjects
    PutObject
    PostObject
    CopyObject
    GetObject
    HeadObject
    DeleteObject
    GetObjectAcl
    PutObjectAcl
    GetObjectTagging
    PutObjectTagging
    DeleteObjectTagging
    GetObjectRetention
    PutObjectRetention
    GetObjectLegalHold
    PutObjectLegalHold
    GetObjectAttributes
    CreateMultipartUpload
    UploadPart
    UploadPartCopy
    ListParts
    CompleteMultipartUpload
    AbortMultipartUpload
}

impl Operation {
    /// Its name in AWS's reference, and in metrics and logs.
    pub const fn name(self) -> &'static str {
        self.permissions().name()
    }

    /// Whether it is done to a bucket that must exist, or to what is in one.
    pub const fn needs_bucket(self) -> bool {
        !matches!(
            self,
            Self::ListBuckets
                | Self::CreateBucket
                | Self::PutPublicAccessBlockOfAccount
                | Self::GetPublicAccessBlockOfAccount
                | Self::DeletePublicAccessBlockOfAccount
        )
    }

    /// Whether conditions about the tags of the object as it is are about it (Service Authorization Reference).
    pub const fn sees_tags(self) -> bool {
        matches!(
            self,
            Self::GetObject
                | Self::HeadObject
                | Self::GetObjectAcl
                | Self::PutObjectAcl
                | Self::GetObjectAttributes
                | Self::GetObjectTagging
                | Self::PutObjectTagging
                | Self::DeleteObjectTagging
        )
    }

    /// Whether it is done to an object that is there, whose ACL and owner have a say.
    pub const fn is_of_object(self) -> bool {
        self.sees_tags()
            || matches!(
                self,
                Self::GetObjectRetention
                    | Self::PutObjectRetention
                    | Self::GetObjectLegalHold
                    | Self::PutObjectLegalHold
            )
    }

    /// Whether conditions may be about what its body says, so that it is judged when that was read.
    pub const fn judged_by_body(self) -> bool {
        matches!(self, Self::PutObjectTagging | Self::PutObjectRetention | Self::PutObjectLegalHold)
    }

    /// Whether it goes on with a multipart upload, which was told how to keep the data when it was made.
    pub const fn continues_upload(self) -> bool {
        matches!(self, Self::UploadPart | Self::UploadPartCopy | Self::CompleteMultipartUpload)
    }

    /// Whether it reads what `x-amz-copy-source` names.
    pub const fn needs_source(self) -> bool {
        matches!(self, Self::CopyObject | Self::UploadPartCopy)
    }
}

/// The header that makes a request one of S3 Control's: it names the account, and nothing of S3 itself has it.
pub const ACCOUNT_ID: &str = "x-amz-account-id";
/// Where S3 Control keeps an account's public access block.
const ACCOUNT_BLOCK: &str = "v20180820/configuration/publicAccessBlock";

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

impl Operation {
    /// The operation that a request asks for.
    pub fn route(method: &Method, target: &Target, query: &Query, headers: &HeaderMap) -> S3Result<Self> {
        let mut named = SUBRESOURCES.iter().copied().filter(|name| query.contains(name));
        let selected: Vec<&str> = named.by_ref().collect();
        if let Some(account) = headers.get(ACCOUNT_ID) {
            return Self::of_account(method, target, account.as_bytes())
                .filter(|_| selected.is_empty())
                .ok_or_else(|| S3Error::new(S3Code::NotImplemented).extra("Header", ACCOUNT_ID));
        }
        let found = match (&target.bucket, &target.key) {
            (None, _) => Self::of_service(method, &selected),
            (Some(_), None) if selected.is_empty() && post::is_form(method, headers) => {
                Some(Self::PostObject)
            }
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

    /// Path-style, or on a host whose first label is the account.
    fn of_account(method: &Method, target: &Target, account: &[u8]) -> Option<Self> {
        let (bucket, key) = (target.bucket.as_deref()?, target.key.as_deref()?);
        let on_host = bucket.as_bytes() == account && key == ACCOUNT_BLOCK;
        if !on_host && ACCOUNT_BLOCK.split_once('/') != Some((bucket, key)) {
            return None;
        }
        Some(match method.as_str() {
            "PUT" => Self::PutPublicAccessBlockOfAccount,
            "GET" => Self::GetPublicAccessBlockOfAccount,
            "DELETE" => Self::DeletePublicAccessBlockOfAccount,
            _ => return None,
        })
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
            ("PUT", ["versioning"]) => Self::PutBucketVersioning,
            ("GET", ["acl"]) => Self::GetBucketAcl,
            ("PUT", ["acl"]) => Self::PutBucketAcl,
            ("GET", ["ownershipControls"]) => Self::GetBucketOwnershipControls,
            ("PUT", ["ownershipControls"]) => Self::PutBucketOwnershipControls,
            ("DELETE", ["ownershipControls"]) => Self::DeleteBucketOwnershipControls,
            ("PUT", ["policy"]) => Self::PutBucketPolicy,
            ("GET", ["policy"]) => Self::GetBucketPolicy,
            ("DELETE", ["policy"]) => Self::DeleteBucketPolicy,
            ("GET", ["policyStatus"]) => Self::GetBucketPolicyStatus,
            ("PUT", ["publicAccessBlock"]) => Self::PutPublicAccessBlock,
            ("GET", ["publicAccessBlock"]) => Self::GetPublicAccessBlock,
            ("DELETE", ["publicAccessBlock"]) => Self::DeletePublicAccessBlock,
            ("PUT", ["cors"]) => Self::PutBucketCors,
            ("GET", ["cors"]) => Self::GetBucketCors,
            ("DELETE", ["cors"]) => Self::DeleteBucketCors,
            ("PUT", ["encryption"]) => Self::PutBucketEncryption,
            ("GET", ["encryption"]) => Self::GetBucketEncryption,
            ("DELETE", ["encryption"]) => Self::DeleteBucketEncryption,
            ("PUT", ["lifecycle"]) => Self::PutBucketLifecycleConfiguration,
            ("GET", ["lifecycle"]) => Self::GetBucketLifecycleConfiguration,
            ("DELETE", ["lifecycle"]) => Self::DeleteBucketLifecycle,
            ("GET", ["replication"]) => Self::GetBucketReplication,
            ("PUT", ["tagging"]) => Self::PutBucketTagging,
            ("GET", ["tagging"]) => Self::GetBucketTagging,
            ("DELETE", ["tagging"]) => Self::DeleteBucketTagging,
            ("PUT", ["website"]) => Self::PutBucketWebsite,
            ("GET", ["website"]) => Self::GetBucketWebsite,
            ("DELETE", ["website"]) => Self::DeleteBucketWebsite,
            ("PUT", ["notification"]) => Self::PutBucketNotificationConfiguration,
            ("GET", ["notification"]) => Self::GetBucketNotificationConfiguration,
            ("PUT", ["logging"]) => Self::PutBucketLogging,
            ("GET", ["logging"]) => Self::GetBucketLogging,
            ("GET", ["object-lock"]) => Self::GetObjectLockConfiguration,
            ("PUT", ["object-lock"]) => Self::PutObjectLockConfiguration,
            ("GET", ["versions"]) => Self::ListObjectVersions,
            ("GET", ["uploads"]) => Self::ListMultipartUploads,
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
            (method, [others @ .., "versionId"]) => return Self::of_version(method, others),
            (method, [] | ["partNumber" | "acl" | "tagging" | "attributes" | "retention" | "legal-hold"]) => {
                return Self::of_version(method, selected);
            }
            ("POST", ["uploads"]) => Self::CreateMultipartUpload,
            ("GET", ["uploadId"]) => Self::ListParts,
            ("POST", ["uploadId"]) => Self::CompleteMultipartUpload,
            ("DELETE", ["uploadId"]) => Self::AbortMultipartUpload,
            _ => return None,
        })
    }

    /// What can be asked of an object and of a version alike.
    fn of_version(method: &str, selected: &[&str]) -> Option<Self> {
        Some(match (method, selected) {
            ("GET", [] | ["partNumber"]) => Self::GetObject,
            ("HEAD", [] | ["partNumber"]) => Self::HeadObject,
            ("DELETE", []) => Self::DeleteObject,
            ("GET", ["acl"]) => Self::GetObjectAcl,
            ("PUT", ["acl"]) => Self::PutObjectAcl,
            ("GET", ["tagging"]) => Self::GetObjectTagging,
            ("PUT", ["tagging"]) => Self::PutObjectTagging,
            ("DELETE", ["tagging"]) => Self::DeleteObjectTagging,
            ("GET", ["retention"]) => Self::GetObjectRetention,
            ("PUT", ["retention"]) => Self::PutObjectRetention,
            ("GET", ["legal-hold"]) => Self::GetObjectLegalHold,
            ("PUT", ["legal-hold"]) => Self::PutObjectLegalHold,
            ("GET", ["attributes"]) => Self::GetObjectAttributes,
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
            ("PUT", "/buc?versioning", PutBucketVersioning),
            ("GET", "/buc?versions&prefix=a", ListObjectVersions),
            ("PUT", "/buc?object-lock", PutObjectLockConfiguration),
            ("GET", "/buc?acl", GetBucketAcl),
            ("PUT", "/buc?acl", PutBucketAcl),
            ("GET", "/buc?ownershipControls", GetBucketOwnershipControls),
            ("PUT", "/buc?ownershipControls", PutBucketOwnershipControls),
            ("DELETE", "/buc?ownershipControls", DeleteBucketOwnershipControls),
            ("PUT", "/buc?policy", PutBucketPolicy),
            ("GET", "/buc?policy", GetBucketPolicy),
            ("DELETE", "/buc?policy", DeleteBucketPolicy),
            ("GET", "/buc?policyStatus", GetBucketPolicyStatus),
            ("PUT", "/buc?publicAccessBlock", PutPublicAccessBlock),
            ("GET", "/buc?publicAccessBlock", GetPublicAccessBlock),
            ("DELETE", "/buc?publicAccessBlock", DeletePublicAccessBlock),
            ("PUT", "/buc?cors", PutBucketCors),
            ("GET", "/buc?cors", GetBucketCors),
            ("DELETE", "/buc?cors", DeleteBucketCors),
            ("PUT", "/buc?encryption", PutBucketEncryption),
            ("GET", "/buc?encryption", GetBucketEncryption),
            ("DELETE", "/buc?encryption", DeleteBucketEncryption),
            ("PUT", "/buc?lifecycle", PutBucketLifecycleConfiguration),
            ("GET", "/buc?lifecycle", GetBucketLifecycleConfiguration),
            ("DELETE", "/buc?lifecycle", DeleteBucketLifecycle),
            ("GET", "/buc?replication", GetBucketReplication),
            ("PUT", "/buc?tagging", PutBucketTagging),
            ("GET", "/buc?tagging", GetBucketTagging),
            ("DELETE", "/buc?tagging", DeleteBucketTagging),
            ("PUT", "/buc?website", PutBucketWebsite),
            ("GET", "/buc?website", GetBucketWebsite),
            ("DELETE", "/buc?website", DeleteBucketWebsite),
            ("PUT", "/buc?notification", PutBucketNotificationConfiguration),
            ("GET", "/buc?notification", GetBucketNotificationConfiguration),
            ("PUT", "/buc?logging", PutBucketLogging),
            ("GET", "/buc?logging", GetBucketLogging),
            ("GET", "/buc?object-lock", GetObjectLockConfiguration),
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
            ("PUT", "/buc/k?acl", PutObjectAcl),
            ("GET", "/buc/k?tagging", GetObjectTagging),
            ("PUT", "/buc/k?tagging&versionId=v", PutObjectTagging),
            ("DELETE", "/buc/k?tagging", DeleteObjectTagging),
            ("GET", "/buc/k?retention&versionId=v", GetObjectRetention),
            ("PUT", "/buc/k?retention", PutObjectRetention),
            ("GET", "/buc/k?legal-hold", GetObjectLegalHold),
            ("PUT", "/buc/k?legal-hold&versionId=v", PutObjectLegalHold),
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
        assert_eq!(route("GET", "/buc/k?versionId=v", false), Ok(GetObject));
        assert_eq!(route("HEAD", "/buc/k?versionId=v&partNumber=1", false), Ok(HeadObject));
        assert_eq!(route("DELETE", "/buc/k?versionId=v", false), Ok(DeleteObject));
        let form = HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("multipart/form-data; boundary=b"),
        )]);
        let target = Target::parse("h", "/buc", &[]).unwrap();
        let route = Operation::route(&Method::POST, &target, &Query::parse(None).unwrap(), &form);
        assert_eq!(route.unwrap(), PostObject);
        // GetObject is there twice, the two copies, the form and the three of accounts follow.
        assert_eq!(cases.len() + 5, Operation::ALL.len());
    }

    #[test]
    fn accounts_are_told_from_buckets_by_their_header() {
        const PATH: &str = "/v20180820/configuration/publicAccessBlock";
        let route = |method: &str, host: &str, path: &str, account: Option<&'static str>| {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let target = Target::parse(host, path, &["base".to_owned()]).unwrap();
            let mut headers = HeaderMap::new();
            if let Some(account) = account {
                headers.insert(ACCOUNT_ID, http::HeaderValue::from_static(account));
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            Operation::route(&method, &target, &Query::parse(Some(query)).unwrap(), &headers)
                .map_err(|error| error.code())
        };
        let account = Some("111122223333");
        let served = [
            ("PUT", Operation::PutPublicAccessBlockOfAccount),
            ("GET", Operation::GetPublicAccessBlockOfAccount),
            ("DELETE", Operation::DeletePublicAccessBlockOfAccount),
        ];
        for (method, operation) in served {
            assert_eq!(route(method, "h", PATH, account), Ok(operation));
            assert_eq!(route(method, "111122223333.base", PATH, account), Ok(operation));
            assert_eq!(route(method, "222222222222.base", PATH, account), Err(S3Code::NotImplemented));
        }
        assert_eq!(route("GET", "h", PATH, None), Ok(Operation::GetObject));
        for (method, path) in [("POST", PATH), ("GET", "/buc/k"), ("GET", "/"), ("PUT", "/buc")] {
            assert_eq!(route(method, "h", path, account), Err(S3Code::NotImplemented), "{method} {path}");
        }
        let queried = format!("{PATH}?acl");
        assert_eq!(route("GET", "h", &queried, account), Err(S3Code::NotImplemented));
    }

    /// What the gateway looks up for an operation is what its row of the table of permissions is about.
    #[test]
    fn every_operation_is_looked_up_by_what_its_permissions_are_on() {
        use policy::On;
        for operation in Operation::ALL.iter().copied() {
            let row = operation.permissions();
            assert_eq!(policy::Operation::of_name(operation.name()), Some(row));
            assert!(row.needed(policy::Facts::default()).next().is_some(), "{operation:?}");
            let on: Vec<On> = row.needs().iter().map(|need| need.on).collect();
            assert_eq!(on.contains(&On::Source), operation.needs_source(), "{operation:?}");
            let inside = on.iter().any(|on| matches!(on, On::Object | On::EachKey | On::Source));
            assert!(!inside || operation.needs_bucket(), "{operation:?}");
            assert_eq!(on.contains(&On::EachKey), operation == Operation::DeleteObjects, "{operation:?}");
            let exists = on.contains(&On::Bucket) && operation != Operation::CreateBucket;
            assert!(!exists || operation.needs_bucket(), "{operation:?}");
            assert!(on != [On::Account] || !operation.needs_bucket(), "{operation:?}");
        }
    }

    #[test]
    fn what_is_not_served_is_never_something_else() {
        let unserved = [
            ("POST", "/buc?lifecycle"),
            ("POST", "/buc?policy"),
            ("PUT", "/buc?policyStatus"),
            ("PUT", "/buc/k?policy"),
            ("POST", "/buc?versions"),
            ("GET", "/buc?acl&policy"),
            ("DELETE", "/buc?policyStatus"),
            ("POST", "/buc/k?tagging"),
            ("PUT", "/buc/k?uploadId=u"),
            ("PUT", "/buc/k?partNumber=1"),
            ("PUT", "/buc/k?versionId=x"),
            ("GET", "/buc/k?uploadId=u&versionId=x"),
            ("GET", "/buc/k?acl&tagging"),
            ("DELETE", "/buc/k?retention"),
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
