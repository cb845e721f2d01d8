//! What a request can fail with, in S3's own words.
//!
//! The crate's one error type. Its kind is S3's error code, because clients act on it; the table below is the
//! only place that knows a code's HTTP status and its usual message. How an answer's XML looks is the
//! response writer's concern.
//!
//! Source: S3 API reference, "Error responses".

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use http::{HeaderName, StatusCode};

macro_rules! codes {
    ($($name:ident $status:literal $message:literal)*) => {
        /// An S3 error code. `as_str` is what clients see in `<Code>`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum S3Code { $($name,)* }

        impl S3Code {
            /// Every code, for tests and for documentation.
            pub const ALL: &'static [S3Code] = &[$(S3Code::$name,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(S3Code::$name => stringify!($name),)* }
            }

            const fn status_u16(self) -> u16 {
                match self { $(S3Code::$name => $status,)* }
            }

            /// The message AWS gives when nothing more particular is known.
            pub const fn default_message(self) -> &'static str {
                match self { $(S3Code::$name => $message,)* }
            }
        }
    };
}

codes! {
    AccessControlListNotSupported 400 "The bucket does not allow ACLs"
    AccessDenied 403 "Access Denied"
    AccessForbidden 403 "Access forbidden"
    AuthorizationHeaderMalformed 400 "The authorization header you provided is invalid."
    AuthorizationQueryParametersError 400 "The authorization query parameters that you provided are not valid."
    BadDigest 400 "The Content-MD5 or checksum value that you specified did not match what the server received."
    BadRequest 400 "Bad Request"
    BucketAlreadyExists 409 "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Select a different name and try again."
    BucketAlreadyOwnedByYou 409 "Your previous request to create the named bucket succeeded and you already own it."
    BucketNotEmpty 409 "The bucket you tried to delete is not empty."
    ConcurrentModification 409 "Another request changed the same at the same time; look and try again."
    ConditionalRequestConflict 409 "A conflicting operation occurred during the request; try again."
    DeleteConflict 409 "The entity can't be deleted while something is attached to it."
    EntityAlreadyExists 409 "The entity already exists."
    EntityTooLarge 400 "Your proposed upload exceeds the maximum allowed object size."
    EntityTooSmall 400 "Your proposed upload is smaller than the minimum allowed object size."
    ExpiredToken 400 "The provided token has expired."
    IllegalLocationConstraintException 400 "The specified location constraint is not valid for the endpoint that this request was sent to."
    IllegalVersioningConfigurationException 400 "The Versioning element must be specified"
    IncompleteSignature 400 "The request signature does not conform to AWS standards."
    IncompleteBody 400 "You did not provide the number of bytes specified by the Content-Length HTTP header."
    InsufficientStorage 507 "The pool has no room left for this object."
    InternalError 500 "We encountered an internal error. Please try again."
    InvalidAccessKeyId 403 "The AWS access key ID that you provided does not exist in our records."
    InvalidAction 400 "The action or operation requested is invalid."
    InvalidArgument 400 "Invalid Argument"
    InvalidBucketAclWithBlockPublicAccessError 400 "Bucket cannot have public ACLs set with BlockPublicAccess enabled"
    InvalidBucketAclWithObjectOwnership 400 "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"
    InvalidBucketName 400 "The specified bucket is not valid."
    InvalidBucketState 409 "The request is not valid with the current state of the bucket."
    InvalidChunkSizeError 403 "Only the last chunk is allowed to have a size less than 8192 bytes"
    InvalidClientTokenId 403 "The security token included in the request is invalid."
    InvalidDigest 400 "The Content-MD5 or checksum value that you specified is not valid."
    InvalidInput 400 "A parameter of the request is not valid."
    InvalidLocationConstraint 400 "The specified location constraint is not valid."
    InvalidObjectState 403 "The operation is not valid for the current state of the object."
    InvalidParameterValue 400 "A parameter has a value that is not valid."
    InvalidPart 400 "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
    InvalidPartNumber 416 "The requested partnumber is not satisfiable."
    InvalidPartOrder 400 "The list of parts was not in ascending order. Parts must be ordered by part number."
    InvalidRange 416 "The requested range is not satisfiable."
    InvalidPolicyDocument 400 "The content of the form does not meet the conditions specified in the policy document."
    InvalidRequest 400 "Invalid Request"
    InvalidRetentionPeriod 400 "Default retention period must be a positive integer value."
    InvalidSecurity 403 "The provided security credentials are not valid."
    InvalidStorageClass 400 "The storage class you specified is not valid."
    InvalidTargetBucketForLogging 400 "The target bucket for logging does not exist, is not owned by you, or does not have the appropriate grants for the log-delivery group."
    InvalidTag 400 "The tag provided was not a valid tag."
    InvalidToken 400 "The provided token is malformed or otherwise not valid."
    InvalidURI 400 "Couldn't parse the specified URI."
    KeyTooLongError 400 "Your key is too long"
    LimitExceeded 409 "The request would exceed a quota."
    MalformedACLError 400 "The XML you provided was not well-formed or did not validate against our published schema"
    MalformedPOSTRequest 400 "The body of your POST request is not well-formed multipart/form-data."
    MalformedPolicy 400 "Your policy contains a principal that is not valid."
    MalformedPolicyDocument 400 "The policy document was malformed."
    MalformedQueryString 400 "The query string contains a syntax error."
    MalformedTrailerError 400 "The request contained trailing data that was not well-formed or did not conform to our published schema."
    MalformedXML 400 "The XML you provided was not well-formed or did not validate against our published schema"
    MaxMessageLengthExceeded 400 "Your request was too large."
    MaxPostPreDataLengthExceeded 400 "Your POST request fields preceding the upload file were too large."
    MetadataTooLarge 400 "Your metadata headers exceed the maximum allowed metadata size."
    MethodNotAllowed 405 "The specified method is not allowed against this resource."
    MissingAuthenticationToken 403 "The request was not signed."
    MissingContentLength 411 "You must provide the Content-Length HTTP header."
    MissingRequestBodyError 400 "Request body is empty."
    MissingSecurityHeader 400 "Your request was missing a required header."
    NoSuchBucket 404 "The specified bucket does not exist"
    NoSuchBucketPolicy 404 "The bucket policy does not exist"
    NoSuchCORSConfiguration 404 "The CORS configuration does not exist"
    NoSuchEntity 404 "The entity does not exist."
    NoSuchKey 404 "The specified key does not exist."
    NoSuchLifecycleConfiguration 404 "The lifecycle configuration does not exist"
    NoSuchObjectLockConfiguration 404 "The specified object does not have a ObjectLock configuration"
    NoSuchPublicAccessBlockConfiguration 404 "The public access block configuration was not found"
    NoSuchTagSet 404 "The TagSet does not exist"
    NoSuchUpload 404 "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    NoSuchVersion 404 "The specified version does not exist."
    NoSuchWebsiteConfiguration 404 "The specified bucket does not have a website configuration"
    NotImplemented 501 "A header you provided implies functionality that is not implemented"
    NotModified 304 "Not Modified"
    NotSignedUp 403 "Your account is not signed up for the S3 service."
    ObjectLockConfigurationNotFoundError 404 "Object Lock configuration does not exist for this bucket"
    OperationAborted 409 "A conflicting conditional operation is currently in progress against this resource. Please try again."
    OwnershipControlsNotFoundError 404 "The bucket ownership controls were not found"
    PackedPolicyTooLarge 400 "The session's policies are too long together."
    PreconditionFailed 412 "At least one of the pre-conditions you specified did not hold"
    QuotaExceeded 403 "The bucket or its project may not hold more."
    ReplicationConfigurationNotFoundError 404 "The replication configuration was not found"
    RequestHeaderSectionTooLarge 431 "Your request header section exceeds the maximum allowed size."
    RequestTimeTooSkewed 403 "The difference between the request time and the current time is too large."
    RequestTimeout 400 "Your socket connection to the server was not read from or written to within the timeout period."
    ServerSideEncryptionConfigurationNotFoundError 404 "The server side encryption configuration was not found"
    ServiceUnavailable 503 "Service is unable to handle request."
    SignatureDoesNotMatch 403 "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    SlowDown 503 "Please reduce your request rate."
    TooManyBuckets 400 "You have attempted to create more buckets than allowed"
    UnexpectedContent 400 "This request does not support content"
    UnmodifiableEntity 400 "The entity can't be changed."
    UnsupportedSignature 400 "The provided request is signed with an unsupported STS Token version or the signature version is not supported."
    ValidationError 400 "The input fails to satisfy the constraints of the service."
    XAmzContentSHA256Mismatch 400 "The provided 'x-amz-content-sha256' header does not match what was computed."
}

impl S3Code {
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.status_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// One failed request: a code, a message for people, and the elements AWS adds for some codes.
///
/// Boxed, because it rides in every `Result` of the gateway. The source, if any, is for logs only: it never
/// reaches the client.
#[derive(Debug)]
pub struct S3Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: S3Code,
    message: Cow<'static, str>,
    status: StatusCode,
    resource: Option<String>,
    extra: Vec<(&'static str, String)>,
    headers: Vec<(HeaderName, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What the gateway's functions return.
pub type S3Result<T> = Result<T, S3Error>;

impl S3Error {
    /// `code` with its usual message.
    pub fn new(code: S3Code) -> S3Error {
        S3Error::with(code, code.default_message())
    }

    /// `code` with a message of its own.
    pub fn with(code: S3Code, message: impl Into<Cow<'static, str>>) -> S3Error {
        S3Error(Box::new(Inner {
            code,
            message: message.into(),
            status: code.status(),
            resource: None,
            extra: Vec::new(),
            headers: Vec::new(),
            source: None,
        }))
    }

    /// `InternalError` because of `source`, which is kept for the log.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> S3Error {
        S3Error::new(S3Code::InternalError).source(source)
    }

    /// Adds an element that AWS documents for this code, such as `ArgumentName` or `CanonicalRequest`.
    #[must_use]
    pub fn extra(mut self, element: &'static str, value: impl Into<String>) -> S3Error {
        self.0.extra.push((element, value.into()));
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: String) -> S3Error {
        self.0.headers.push((name, value));
        self
    }

    /// Names the bucket or object path the error is about (`<Resource>`).
    #[must_use]
    pub fn resource(mut self, resource: impl Into<String>) -> S3Error {
        self.0.resource = Some(resource.into());
        self
    }

    /// Answers with another status than the code's usual one.
    #[must_use]
    pub fn status_code(mut self, status: StatusCode) -> S3Error {
        self.0.status = status;
        self
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> S3Error {
        self.0.source = Some(source.into());
        self
    }

    pub fn code(&self) -> S3Code {
        self.0.code
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// `<Resource>`, where the raiser knew it; the response writer falls back to the request's path.
    pub fn resource_path(&self) -> Option<&str> {
        self.0.resource.as_deref()
    }

    pub fn headers(&self) -> &[(HeaderName, String)] {
        &self.0.headers
    }

    /// Further XML elements in the order they were added. Values may hold any character: escape them.
    pub fn extras(&self) -> &[(&'static str, String)] {
        &self.0.extra
    }
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.as_str(), self.0.message)
    }
}

impl StdError for S3Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<S3Code> for S3Error {
    fn from(code: S3Code) -> S3Error {
        S3Error::new(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_error_status_and_a_message() {
        for code in S3Code::ALL {
            let status = code.status().as_u16();
            assert!(status == 304 || (400..600).contains(&status), "{}: {status}", code.as_str());
            assert_eq!(status, code.status_u16(), "{}", code.as_str());
            assert!(!code.default_message().is_empty());
        }
    }

    #[test]
    fn an_error_shows_its_code_and_message_but_never_its_source() {
        let error = S3Error::internal("disk 3 is on fire").extra("HostId", "gw").resource("/b/k");
        assert_eq!(error.to_string(), "InternalError: We encountered an internal error. Please try again.");
        assert_eq!(error.resource_path(), Some("/b/k"));
        assert_eq!(error.extras(), &[("HostId", "gw".to_owned())]);
        assert!(StdError::source(&error).is_some());
    }
}
