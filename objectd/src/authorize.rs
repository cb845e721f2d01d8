//! Whether a caller may: the one place between routing and every operation.
//!
//! Today an account's root may do everything with what its account owns, and nobody else may do anything. The
//! table in `operation` already names each permission, for the policies to come.

use crate::copy_source::CopySource;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::operation::{On, Operation};
use crate::target::Target;
use http::HeaderMap;
use meta::client::Client;
use meta::object::BucketRecord;

/// What an allowed operation works on.
#[derive(Debug, Clone, Default)]
pub struct Granted {
    /// The bucket of the request, if the operation needs one that exists.
    pub bucket: Option<BucketRecord>,
    pub source: Option<CopySource>,
}

/// Checks every permission that `operation` needs for the account `owner`.
pub async fn authorize(
    meta: &Client,
    owner: &str,
    operation: Operation,
    target: &Target,
    headers: &HeaderMap,
) -> S3Result<Granted> {
    let mut granted = Granted::default();
    for permission in operation.permissions() {
        match permission.on {
            On::Account | On::NewBucket => {}
            On::Bucket | On::Object | On::ListedObjects => {
                let name = target.bucket.as_deref().ok_or_else(|| S3Error::new(S3Code::InvalidBucketName))?;
                if granted.bucket.is_none() {
                    let bucket = owned(meta, name, owner).await?;
                    check_expected(headers, "x-amz-expected-bucket-owner", &bucket)?;
                    granted.bucket = Some(bucket);
                }
            }
            On::Source => {
                let missing = || S3Error::with(S3Code::InvalidArgument, "x-amz-copy-source is missing");
                let source = CopySource::of(headers)?.ok_or_else(missing)?;
                let bucket = owned(meta, &source.bucket, owner).await?;
                check_expected(headers, "x-amz-source-expected-bucket-owner", &bucket)?;
                granted.source = Some(source);
            }
        }
    }
    Ok(granted)
}

async fn owned(meta: &Client, name: &str, owner: &str) -> S3Result<BucketRecord> {
    let bucket = meta.bucket(name).await.map_err(|error| fault::meta(error).extra("BucketName", name))?;
    if bucket.owner == owner { Ok(bucket) } else { Err(S3Error::new(S3Code::AccessDenied)) }
}

fn check_expected(headers: &HeaderMap, name: &str, bucket: &BucketRecord) -> S3Result<()> {
    match headers.get(name) {
        Some(expected) if expected.as_bytes() != bucket.owner.as_bytes() => {
            Err(S3Error::new(S3Code::AccessDenied))
        }
        _ => Ok(()),
    }
}
