//! PutBucketTagging, GetBucketTagging, DeleteBucketTagging. Tags of a bucket are for people and bills: no policy asks.

use super::bucket_setting;
use crate::annotations;
use crate::answer;
use crate::error::{S3Code, S3Result};
use crate::gateway::Shared;
use crate::limits::MAX_XML_BYTES;
use crate::service::S3Request;
use axum::body::Body;
use http::{Response, StatusCode};
use meta::setting::SettingKind;

pub async fn put(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let body = request.document(MAX_XML_BYTES).await?;
    let text = annotations::tags_xml(&annotations::bucket_tags_of_xml(&body)?).finish();
    bucket_setting::put(shared, &request, SettingKind::Tagging, text).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

pub async fn get(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    bucket_setting::get(shared, request, SettingKind::Tagging, S3Code::NoSuchTagSet).await
}

pub async fn delete(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    bucket_setting::delete(shared, request, SettingKind::Tagging).await
}
