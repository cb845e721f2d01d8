//! What a request says about itself and what the gateway knows of it, as the keys that conditions of policies are
//! about.
//!
//! A key is there only for the operations that AWS documents it for: otherwise a client could meet a condition by
//! adding a parameter that its operation doesn't look at (`GET /bucket/secret?prefix=public/`).
//!
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3"; IAM User Guide,
//! "AWS global condition context keys"; S3 API reference, "Amazon S3 Signature Version 4 authentication specific
//! policy keys".

use crate::annotations::{Tags, hold_name, mode_name, tags_of_header};
use crate::arrival::Arrival;
use crate::auth::{Authenticated, Principal, single_header};
use crate::copy_source::CopySource;
use crate::error::{S3Code, S3Error, S3Result};
use crate::http_date;
use crate::operation::Operation;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue};
pub use meta::identity::account_of;
use meta::object::Retention;
use meta::sealing::{SealedBy, Sealing};
use policy::{Caller, Context, Facts};

/// Who asks.
pub fn caller_of(principal: &Principal) -> Caller {
    match principal {
        Principal::Anonymous => Caller::Anonymous,
        Principal::Key { holder, .. } => holder.caller(),
    }
}

/// Sets what the time is.
pub fn time_keys(context: &mut Context, now_ms: u64) {
    context.set("aws:CurrentTime", http_date::iso(now_ms)).set("aws:EpochTime", (now_ms / 1000).to_string());
}

/// Sets who asks.
pub fn principal_keys(context: &mut Context, principal: &Principal) {
    match principal {
        Principal::Anonymous => {
            context.set("aws:PrincipalType", "Anonymous").set("aws:userid", "anonymous");
        }
        Principal::Key { holder, .. } => holder.set_keys(context),
    }
}

/// Sets how a request came.
pub fn server_keys(context: &mut Context, arrival: Arrival, region: &str) {
    context
        .set("aws:SourceIp", arrival.address().to_string())
        .set("aws:SecureTransport", arrival.tls.is_some().to_string())
        .set("aws:RequestedRegion", region)
        .set("aws:ViaAWSService", "false");
}

/// What is known of a request before its policies are looked at.
pub struct Known<'a> {
    pub operation: Operation,
    pub headers: &'a HeaderMap,
    pub authenticated: &'a Authenticated,
    pub arrival: Arrival,
    pub now_ms: u64,
    pub region: &'a str,
    pub source: Option<&'a CopySource>,
}

/// The condition keys of one request.
#[derive(Debug, Clone, Default)]
pub struct Contexts {
    /// What holds whatever is asked for: for what a copy reads, and for questions beside the request's own.
    pub common: Context,
    /// With what this operation's parameters and headers say.
    pub own: Context,
}

impl Known<'_> {
    pub fn contexts(&self) -> S3Result<Contexts> {
        let mut common = Context::new();
        self.server_keys(&mut common);
        principal_keys(&mut common, &self.authenticated.principal);
        self.signature_keys(&mut common);
        for (key, name) in [("aws:UserAgent", USER_AGENT), ("aws:Referer", REFERER)] {
            if let Some(text) = loose_header(self.headers, &name)? {
                claim(&mut common, key, text)?;
            }
        }
        let mut own = common.clone();
        self.parameter_keys(&mut own)?;
        self.header_keys(&mut own)?;
        Ok(Contexts { common, own })
    }

    /// Which of an operation's needs this request has.
    pub fn facts(&self) -> S3Result<Facts> {
        let has = |name: &str| self.headers.contains_key(name);
        let is = |name: &'static str| {
            let value = single_header(self.headers, &HeaderName::from_static(name))?;
            Ok::<_, S3Error>(value.is_some_and(|value| !value.trim().eq_ignore_ascii_case("false")))
        };
        Ok(Facts {
            version: self.authenticated.query.contains("versionId"),
            source_version: self.source.is_some_and(|source| source.version.is_some()),
            tagging: has("x-amz-tagging"),
            // Known when the source was looked at, which only happens for those who may read it.
            source_tags: false,
            acl: has("x-amz-acl")
                || self.headers.keys().any(|name| name.as_str().starts_with("x-amz-grant-")),
            retention: has("x-amz-object-lock-mode") || has("x-amz-object-lock-retain-until-date"),
            legal_hold: has("x-amz-object-lock-legal-hold"),
            bypass: is("x-amz-bypass-governance-retention")?,
            bucket_lock: is("x-amz-bucket-object-lock-enabled")?,
            ownership: has("x-amz-object-ownership"),
        })
    }

    fn server_keys(&self, context: &mut Context) {
        time_keys(context, self.now_ms);
        server_keys(context, self.arrival, self.region);
        if let Some(version) = self.arrival.tls {
            context.set("s3:TlsVersion", version.as_str());
        }
    }

    fn signature_keys(&self, context: &mut Context) {
        let Some(signature) = &self.authenticated.signature else { return };
        let presigned = self.authenticated.presigned;
        let place = match (self.operation, presigned) {
            (Operation::PostObject, _) => "POST",
            (_, true) => "REST-QUERY-STRING",
            (_, false) => "REST-HEADER",
        };
        context
            .set("s3:signatureversion", "AWS4-HMAC-SHA256")
            .set("s3:authType", place)
            .set("s3:x-amz-content-sha256", signature.content_sha256.as_str());
        // AWS: of presigned requests only. One from a client whose clock is ahead has no age yet.
        if presigned {
            let age_ms = self.now_ms.saturating_sub(signature.signed_ms);
            context.set("s3:signatureAge", age_ms.to_string());
        }
    }

    fn parameter_keys(&self, context: &mut Context) -> S3Result<()> {
        let query = &self.authenticated.query;
        if matches!(
            self.operation,
            Operation::ListObjects | Operation::ListObjectsV2 | Operation::ListObjectVersions
        ) {
            for (key, name) in
                [("s3:prefix", "prefix"), ("s3:delimiter", "delimiter"), ("s3:max-keys", "max-keys")]
            {
                if let Some(value) = query.get(name) {
                    claim(context, key, value)?;
                }
            }
        }
        if let Some(version) = query.get("versionId") {
            claim(context, "s3:VersionId", version)?;
        }
        Ok(())
    }

    fn header_keys(&self, context: &mut Context) -> S3Result<()> {
        use Operation::{
            CompleteMultipartUpload, CopyObject, CreateBucket, CreateMultipartUpload, DeleteObject,
            PostObject, PutBucketAcl, PutObject, PutObjectAcl, UploadPartCopy,
        };
        let headers = self.headers;
        let operation = self.operation;
        if matches!(operation, PutObject | PostObject | CopyObject | CreateMultipartUpload) {
            claim_headers(context, headers, OF_ACLS)?;
            claim_headers(context, headers, OF_NEW_OBJECTS)?;
            claim_tags(context, headers)?;
            let until =
                single_header(headers, &HeaderName::from_static("x-amz-object-lock-retain-until-date"))?;
            if let Some(until_ms) = until.and_then(http_date::parse_iso_ms) {
                set_remaining_days(context, until_ms, self.now_ms);
            }
        }
        if matches!(operation, CreateBucket | PutBucketAcl | PutObjectAcl) {
            claim_headers(context, headers, OF_ACLS)?;
        }
        if operation == CreateBucket {
            claim_headers(context, headers, &[("s3:x-amz-object-ownership", "x-amz-object-ownership")])?;
        }
        if operation == CopyObject {
            claim_headers(context, headers, &[("s3:x-amz-metadata-directive", "x-amz-metadata-directive")])?;
        }
        if matches!(operation, CopyObject | UploadPartCopy)
            && let Some(source) = self.source
        {
            // Decoded, as the name that is read; however the client spelt it.
            claim(context, "s3:x-amz-copy-source", format!("{}/{}", source.bucket, source.key))?;
        }
        if matches!(operation, PutObject | CopyObject | CompleteMultipartUpload | DeleteObject) {
            for (key, name) in [("s3:if-match", IF_MATCH), ("s3:if-none-match", IF_NONE_MATCH)] {
                if let Some(value) = single_header(headers, &name)? {
                    claim(context, key, value)?;
                }
            }
        }
        // Those who sign say it in their signature.
        if self.authenticated.signature.is_none() {
            claim_headers(context, headers, &[("s3:x-amz-content-sha256", "x-amz-content-sha256")])?;
        }
        Ok(())
    }
}

/// Condition keys and the headers that they are read from.
type Named = [(&'static str, &'static str)];

const OF_NEW_OBJECTS: &Named = &[
    ("s3:object-lock-legal-hold", "x-amz-object-lock-legal-hold"),
    ("s3:object-lock-mode", "x-amz-object-lock-mode"),
    ("s3:object-lock-retain-until-date", "x-amz-object-lock-retain-until-date"),
    ("s3:x-amz-server-side-encryption", "x-amz-server-side-encryption"),
    ("s3:x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-aws-kms-key-id"),
    ("s3:x-amz-server-side-encryption-customer-algorithm", "x-amz-server-side-encryption-customer-algorithm"),
    ("s3:x-amz-storage-class", "x-amz-storage-class"),
    ("s3:x-amz-website-redirect-location", "x-amz-website-redirect-location"),
];
/// Of new objects and buckets, and of new ACLs.
const OF_ACLS: &Named = &[
    ("s3:x-amz-acl", "x-amz-acl"),
    ("s3:x-amz-grant-full-control", "x-amz-grant-full-control"),
    ("s3:x-amz-grant-read", "x-amz-grant-read"),
    ("s3:x-amz-grant-read-acp", "x-amz-grant-read-acp"),
    ("s3:x-amz-grant-write", "x-amz-grant-write"),
    ("s3:x-amz-grant-write-acp", "x-amz-grant-write-acp"),
];

fn claim_headers(context: &mut Context, headers: &HeaderMap, named: &Named) -> S3Result<()> {
    for (key, name) in named {
        if let Some(value) = single_header(headers, &HeaderName::from_static(name))? {
            claim(context, key, value)?;
        }
    }
    Ok(())
}

/// `x-amz-tagging`: tags as a query.
fn claim_tags(context: &mut Context, headers: &HeaderMap) -> S3Result<()> {
    let Some(text) = single_header(headers, &HeaderName::from_static("x-amz-tagging"))? else {
        return Ok(());
    };
    Said::Tags(&tags_of_header(text)?).claim(context, 0)
}

/// Sets what tags an object has that is there.
pub fn existing_tag_keys(context: &mut Context, tags: &Tags) {
    for (name, value) in tags {
        context.set(&format!("s3:ExistingObjectTag/{name}"), value.as_str());
    }
}

/// Sets how what an upload will make is encrypted.
pub fn sealing_keys(context: &mut Context, sealing: Option<&Sealing>) {
    match sealing.map(|sealing| sealing.by) {
        None => {}
        Some(SealedBy::Pool(_)) => {
            context.set("s3:x-amz-server-side-encryption", "AES256");
        }
        Some(SealedBy::Customer) => {
            context.set("s3:x-amz-server-side-encryption-customer-algorithm", "AES256");
        }
    }
}

/// What the body of a request says of an object that is there.
#[derive(Debug, Clone, Copy)]
pub enum Said<'a> {
    Tags(&'a Tags),
    Retention(Option<Retention>),
    LegalHold(bool),
}

impl Said<'_> {
    pub fn claim(self, context: &mut Context, now_ms: u64) -> S3Result<()> {
        match self {
            Self::Tags(tags) => {
                for (name, value) in tags {
                    claim(context, &format!("s3:RequestObjectTag/{name}"), value.as_str())?;
                }
                context.set_all("s3:RequestObjectTagKeys", tags.iter().map(|(name, _)| name.clone()));
            }
            Self::Retention(None) => {}
            Self::Retention(Some(retention)) => {
                claim(context, "s3:object-lock-mode", mode_name(retention.mode))?;
                claim(context, "s3:object-lock-retain-until-date", http_date::iso(retention.until_ms))?;
                set_remaining_days(context, retention.until_ms, now_ms);
            }
            Self::LegalHold(held) => claim(context, "s3:object-lock-legal-hold", hold_name(held))?,
        }
        Ok(())
    }
}

/// Days that begin are counted: a limit of ten holds back ten days and an hour.
fn set_remaining_days(context: &mut Context, until_ms: u64, now_ms: u64) {
    const DAY_MS: u64 = 24 * 3_600_000;
    let days = until_ms.saturating_sub(now_ms).div_ceil(DAY_MS);
    context.set("s3:object-lock-remaining-retention-days", days.to_string());
}

/// A header that is compared with what policies say, but that browsers may fill with any bytes. Given twice it
/// would be two values, of which a condition would see one.
fn loose_header(headers: &HeaderMap, name: &HeaderName) -> S3Result<Option<String>> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::as_bytes), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        (Some(_), Some(_)) => {
            let why = "A header that may be given only once was repeated";
            Err(S3Error::with(S3Code::InvalidArgument, why).extra("ArgumentName", name.as_str()))
        }
    }
}

fn claim(context: &mut Context, key: &str, value: impl Into<String>) -> S3Result<()> {
    let refused = |error: policy::Error| S3Error::with(S3Code::InvalidRequest, error.to_string());
    context.claim(key, value).map(|_| ()).map_err(refused)
}

#[cfg(test)]
#[path = "context_test.rs"]
mod tests;
