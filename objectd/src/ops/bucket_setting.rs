//! Settings of a bucket that the control plane keeps as the text that is given back.

use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::service::S3Request;
use crate::xml::XmlWriter;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use meta::setting::SettingKind;

/// Keeps a setting's XML, which was found right; the answer is the operation's own.
pub async fn put(shared: &Shared, request: &S3Request, kind: SettingKind, text: String) -> S3Result<()> {
    set(shared, request, kind, Some(text)).await
}

/// Answers with a setting, or with `missing` where there is none.
pub async fn get(
    shared: &Shared,
    request: &S3Request,
    kind: SettingKind,
    missing: S3Code,
) -> S3Result<Response<Body>> {
    let bucket = request.bucket()?;
    let found = shared.meta.bucket_setting(bucket, kind).await.map_err(fault::meta)?;
    let missing = || S3Error::new(missing).extra("BucketName", bucket);
    let mut answer = Response::new(Body::from(found.text.ok_or_else(missing)?));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(answer)
}

/// Answers with a setting, or with a document that stands for none.
pub async fn get_or(
    shared: &Shared,
    request: &S3Request,
    kind: SettingKind,
    none: impl FnOnce() -> XmlWriter,
) -> S3Result<Response<Body>> {
    let found = shared.meta.bucket_setting(request.bucket()?, kind).await.map_err(fault::meta)?;
    let Some(text) = found.text else { return Ok(answer::xml(none())) };
    let mut answer = Response::new(Body::from(text));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(answer)
}

/// Deleting what is not there is done, too.
pub async fn delete(shared: &Shared, request: &S3Request, kind: SettingKind) -> S3Result<Response<Body>> {
    set(shared, request, kind, None).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

async fn set(shared: &Shared, request: &S3Request, kind: SettingKind, text: Option<String>) -> S3Result<()> {
    let bucket = &request.granted.bucket()?.record;
    let named = (bucket.name.as_str(), bucket.id);
    shared.meta.put_bucket_setting(named, kind, text).await.map_err(fault::meta)
}
