//! What the control plane's and the block layer's errors are to an S3 client.

use crate::error::{S3Code, S3Error};
use blockd::ClientError;
use meta::MetaError;
use meta::error::{Entity, ErrorKind, PartFault};

/// An error of the control plane.
pub fn meta(error: MetaError) -> S3Error {
    let code = match error.kind() {
        ErrorKind::NotFound(Entity::Bucket) => S3Code::NoSuchBucket,
        ErrorKind::NotFound(Entity::Key) => S3Code::NoSuchKey,
        ErrorKind::NotFound(Entity::Upload) => S3Code::NoSuchUpload,
        ErrorKind::NotFound(Entity::Version) => S3Code::NoSuchVersion,
        ErrorKind::Exists(Entity::DeleteMarker) => S3Code::MethodNotAllowed,
        ErrorKind::InUse(Entity::Version) => {
            let why = "Access Denied because object protected by object lock.";
            return S3Error::with(S3Code::AccessDenied, why).source(error);
        }
        ErrorKind::InUse(Entity::Acl) => {
            let why = "The object's ACL changed while the request was judged by it. Please try again.";
            return S3Error::with(S3Code::ServiceUnavailable, why).source(error);
        }
        ErrorKind::Exists(Entity::Acl) => return crate::acl::blocked().source(error),
        ErrorKind::NotFound(Entity::Acl) => S3Code::AccessControlListNotSupported,
        ErrorKind::InUse(Entity::Bucket) => S3Code::BucketNotEmpty,
        ErrorKind::Exists(Entity::Bucket) => S3Code::BucketAlreadyExists,
        ErrorKind::PreconditionFailed => S3Code::PreconditionFailed,
        ErrorKind::Parts(PartFault::InvalidPart) => S3Code::InvalidPart,
        ErrorKind::Parts(PartFault::InvalidPartOrder) => S3Code::InvalidPartOrder,
        ErrorKind::Parts(PartFault::EntityTooSmall) => S3Code::EntityTooSmall,
        ErrorKind::Invalid => {
            return S3Error::with(S3Code::InvalidRequest, error.message().to_owned()).source(error);
        }
        // The whole of why: without it nobody knows whose quota, and how far over.
        ErrorKind::QuotaExceeded => {
            return S3Error::with(S3Code::QuotaExceeded, error.message().to_owned()).source(error);
        }
        // Not its client's fault, and another try may find it well: AWS's clients retry a 503.
        ErrorKind::Unavailable | ErrorKind::Fenced => S3Code::ServiceUnavailable,
        _ => S3Code::InternalError,
    };
    S3Error::new(code).source(error)
}

/// That a key's owner was never made an account, in the code that fits the call.
pub fn no_account(code: S3Code, error: MetaError) -> S3Error {
    let why = "The key's owner is no account of this store: make one with ashlar project create";
    S3Error::with(code, why).source(error)
}

/// An error of the object log's volume.
pub fn volume(error: ClientError) -> S3Error {
    use blockd::ErrorKind;
    let code = match error.kind {
        // 507 rather than 503: SDKs retry a 503 for minutes, and only a deletion helps here.
        ErrorKind::NoSpace => S3Code::InsufficientStorage,
        ErrorKind::Busy => S3Code::SlowDown,
        ErrorKind::Unavailable | ErrorKind::Fenced | ErrorKind::Closed => S3Code::ServiceUnavailable,
        _ => S3Code::InternalError,
    };
    S3Error::new(code).source(error)
}

/// The causes below an S3 error, for logs.
pub fn cause(error: &S3Error) -> String {
    let mut causes = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.join(": ")
}

/// Whether a change that failed so has certainly not been made. What is uncertain must be treated as made.
pub fn is_certain(error: &MetaError) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::Storage | ErrorKind::Corrupt | ErrorKind::NewerFormat
    )
}
