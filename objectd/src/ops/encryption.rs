//! PutBucketEncryption, GetBucketEncryption, DeleteBucketEncryption. The setting comes with the bucket at every request,
//! so that from the moment a change returned, what any gateway puts is kept as it says.

use super::bucket_setting;
use crate::answer;
use crate::error::{S3Code, S3Result};
use crate::gateway::Shared;
use crate::limits::MAX_ENCRYPTION_BYTES;
use crate::service::S3Request;
use crate::sse::BucketEncryption;
use axum::body::Body;
use http::{Response, StatusCode};
use meta::setting::SettingKind;

pub async fn put(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let body = request.document(MAX_ENCRYPTION_BYTES).await?;
    let text = BucketEncryption::parse(&body)?.xml().finish();
    // A setting that no put could follow helps nobody.
    shared.keyring.newest().await?;
    bucket_setting::put(shared, &request, SettingKind::Encryption, text).await?;
    Ok(answer::empty(StatusCode::OK))
}

pub async fn get(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let missing = S3Code::ServerSideEncryptionConfigurationNotFoundError;
    bucket_setting::get(shared, request, SettingKind::Encryption, missing).await
}

pub async fn delete(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    bucket_setting::delete(shared, request, SettingKind::Encryption).await
}
