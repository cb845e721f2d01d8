//! PutBucketTagging, GetBucketTagging, DeleteBucketTagging. Tags of a bucket are for people and bills: no policy asks.

use crate::annotations;
use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::limits::MAX_XML_BYTES;
use crate::payload::BodyPlan;
use crate::service::S3Request;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use meta::setting::SettingKind;

pub async fn put(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let bucket = &request.granted.bucket()?.record;
    let plan = BodyPlan::document(&request.parts, request.payload, MAX_XML_BYTES as u64)?;
    let (body, _) = plan.reader(request.body).collect().await?;
    let text = annotations::tags_xml(&annotations::bucket_tags_of_xml(&body)?).finish();
    let named = (bucket.name.as_str(), bucket.id);
    shared.meta.put_bucket_setting(named, SettingKind::Tagging, Some(text)).await.map_err(fault::meta)?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

pub async fn get(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let bucket = request.bucket()?;
    let found = shared.meta.bucket_setting(bucket, SettingKind::Tagging).await.map_err(fault::meta)?;
    let missing = || S3Error::new(S3Code::NoSuchTagSet).extra("BucketName", bucket);
    let mut answer = Response::new(Body::from(found.text.ok_or_else(missing)?));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(answer)
}

pub async fn delete(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let bucket = &request.granted.bucket()?.record;
    let named = (bucket.name.as_str(), bucket.id);
    shared.meta.put_bucket_setting(named, SettingKind::Tagging, None).await.map_err(fault::meta)?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}
