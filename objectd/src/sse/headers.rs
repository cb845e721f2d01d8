//! What requests say of encryption, and what answers do.
//!
//! Source: S3 User Guide, "Using server-side encryption with Amazon S3 managed keys", "Using server-side encryption with
//! customer-provided keys"; the messages are those that AWS is seen to give.

use super::wrap::CustomerKey;
use crate::answer;
use crate::arrival::Arrival;
use crate::auth::single_header;
use crate::error::{S3Code, S3Error, S3Result};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Response};
use subtle::ConstantTimeEq as _;

const ENCRYPTION: &str = "x-amz-server-side-encryption";
const KMS_KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const KMS_CONTEXT: &str = "x-amz-server-side-encryption-context";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
const AES256: &str = "AES256";

/// The three headers of a customer's key: of the request's own object, and of a copy's source.
struct Names {
    algorithm: &'static str,
    key: &'static str,
    md5: &'static str,
}

const OWN: Names = Names {
    algorithm: "x-amz-server-side-encryption-customer-algorithm",
    key: "x-amz-server-side-encryption-customer-key",
    md5: "x-amz-server-side-encryption-customer-key-md5",
};
const SOURCE: Names = Names {
    algorithm: "x-amz-copy-source-server-side-encryption-customer-algorithm",
    key: "x-amz-copy-source-server-side-encryption-customer-key",
    md5: "x-amz-copy-source-server-side-encryption-customer-key-md5",
};

/// How a new object is to be encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It doesn't say: as its bucket does.
    Unsaid,
    /// By a pool key (SSE-S3).
    Pool,
    /// With this key (SSE-C).
    Customer(CustomerKey),
}

/// Whether a request came over HTTPS. Keys are taken over nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Https,
    Clear,
}

impl Transport {
    pub fn of(parts: &Parts) -> Self {
        let tls = parts.extensions.get::<Arrival>().is_some_and(|arrival| arrival.tls.is_some());
        if tls { Self::Https } else { Self::Clear }
    }
}

/// What the headers of a request that makes an object say.
pub fn of_new(headers: &HeaderMap, transport: Transport) -> S3Result<Asked> {
    let customer = customer_key(headers, transport, &OWN)?;
    let algorithm = text(headers, ENCRYPTION)?;
    match text(headers, BUCKET_KEY)? {
        // It says how keys of KMS are used, of which there are none.
        None | Some("true" | "false") => {}
        Some(other) => return Err(invalid(BUCKET_KEY, other, "The value must be true or false.")),
    }
    match algorithm {
        Some(AES256) | None => {}
        Some(kms @ ("aws:kms" | "aws:kms:dsse" | "aws:fsx")) => return Err(not_offered(kms)),
        Some(other) => {
            return Err(invalid(ENCRYPTION, other, "The encryption method specified is not supported"));
        }
    }
    for name in [KMS_KEY, KMS_CONTEXT] {
        if let Some(value) = text(headers, name)? {
            let why = "Server Side Encryption with AWS KMS managed key requires HTTP header \
                       x-amz-server-side-encryption : aws:kms";
            return Err(invalid(name, value, why));
        }
    }
    match (customer, algorithm) {
        (None, None) => Ok(Asked::Unsaid),
        (None, Some(_)) => Ok(Asked::Pool),
        (Some(key), None) => Ok(Asked::Customer(key)),
        (Some(_), Some(given)) => {
            let why = "Server Side Encryption with Customer provided key is incompatible with the encryption \
                       method specified";
            Err(invalid(ENCRYPTION, given, why))
        }
    }
}

/// The key that a request for an object, or for a part of an upload, comes with. How to encrypt was said before.
pub fn of_existing(headers: &HeaderMap, transport: Transport) -> S3Result<Option<CustomerKey>> {
    if let Some(given) = text(headers, ENCRYPTION)? {
        let why = "x-amz-server-side-encryption header is not supported for this operation.";
        return Err(invalid(ENCRYPTION, given, why));
    }
    customer_key(headers, transport, &OWN)
}

/// The key of a copy's source.
pub fn of_source(headers: &HeaderMap, transport: Transport) -> S3Result<Option<CustomerKey>> {
    customer_key(headers, transport, &SOURCE)
}

/// Whether a request says anything of how its object is to be encrypted.
pub fn says_anything(headers: &HeaderMap) -> bool {
    headers.contains_key(ENCRYPTION) || headers.contains_key(OWN.algorithm)
}

fn customer_key(headers: &HeaderMap, transport: Transport, names: &Names) -> S3Result<Option<CustomerKey>> {
    let algorithm = text(headers, names.algorithm)?;
    let key = text(headers, names.key)?;
    let md5 = text(headers, names.md5)?;
    if algorithm.is_none() && key.is_none() && md5.is_none() {
        return Ok(None);
    }
    if transport == Transport::Clear {
        let why = "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure \
                   connection.";
        return Err(S3Error::with(S3Code::InvalidRequest, why));
    }
    // Never with the value: it may be a key.
    let refused =
        |why: &'static str| S3Error::with(S3Code::InvalidArgument, why).extra("ArgumentName", ENCRYPTION);
    let needs = "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption \
                 algorithm.";
    if algorithm.ok_or_else(|| refused(needs))? != AES256 {
        return Err(refused("The Encryption request you specified is not valid. Supported value: AES256."));
    }
    let key = key.ok_or_else(|| {
        refused(
            "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret \
             key.",
        )
    })?;
    let md5 = md5.ok_or_else(|| {
        refused(
            "Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated \
             MD5 of the secret key.",
        )
    })?;
    let bytes = BASE64.decode(key).ok().and_then(|bytes| bytes.try_into().ok());
    let key = CustomerKey::new(
        bytes.ok_or_else(|| refused("The secret key was invalid for the specified algorithm."))?,
    );
    let given = BASE64.decode(md5).unwrap_or_default();
    if !bool::from(given.ct_eq(key.md5())) {
        return Err(refused("The calculated MD5 hash of the key did not match the hash that was provided."));
    }
    Ok(Some(key))
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> S3Result<Option<&'a str>> {
    single_header(headers, &HeaderName::from_static(name))
}

fn invalid(name: &'static str, value: &str, why: &'static str) -> S3Error {
    S3Error::with(S3Code::InvalidArgument, why).extra("ArgumentName", name).extra("ArgumentValue", value)
}

/// What needs a key management service.
pub fn not_offered(algorithm: &str) -> S3Error {
    let why = format!("{algorithm} is not offered: there is no key management service behind this store");
    S3Error::with(S3Code::NotImplemented, why).extra("Header", ENCRYPTION)
}

/// What an answer says of how an object is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shown {
    #[default]
    Plain,
    Pool,
    /// By the customer's key with this MD5.
    Customer([u8; 16]),
}

impl Shown {
    pub fn show(self, answer: &mut Response<Body>) {
        let mut set = |name, value: &str| answer::set(answer, HeaderName::from_static(name), value);
        match self {
            Self::Plain => {}
            Self::Pool => set(ENCRYPTION, AES256),
            Self::Customer(md5) => {
                set(OWN.algorithm, AES256);
                set(OWN.md5, &BASE64.encode(md5));
            }
        }
    }
}

#[cfg(test)]
#[path = "headers_test.rs"]
mod tests;
