//! PutBucketCors, GetBucketCors, DeleteBucketCors, and what a configuration does: preflights and the headers of
//! answers to pages of other sites. It is read at each of them, so that what is taken away is gone everywhere at once.

use super::bucket_setting;
use crate::answer;
use crate::cors::{Cors, CrossOrigin};
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::limits::MAX_CORS_BYTES;
use crate::service::S3Request;
use crate::target::Target;
use axum::body::Body;
use http::header::{ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::request::Parts;
use http::{HeaderName, Response, StatusCode};
use meta::error::{Entity, ErrorKind};
use meta::setting::SettingKind;

pub async fn put(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let body = request.document(MAX_CORS_BYTES).await?;
    let text = Cors::parse(&body)?.xml().finish();
    if text.len() > MAX_CORS_BYTES {
        return Err(S3Error::new(S3Code::MaxMessageLengthExceeded));
    }
    bucket_setting::put(shared, &request, SettingKind::Cors, text).await?;
    Ok(answer::empty(StatusCode::OK))
}

pub async fn get(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    bucket_setting::get(shared, request, SettingKind::Cors, S3Code::NoSuchCORSConfiguration).await
}

pub async fn delete(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    bucket_setting::delete(shared, request, SettingKind::Cors).await
}

/// The configuration of the bucket of a request. Errors: the control plane can't be reached; it is not readable.
async fn of_bucket(shared: &Shared, bucket: &str) -> S3Result<Option<Cors>> {
    match shared.meta.bucket_setting(bucket, SettingKind::Cors).await {
        Ok(found) => {
            found.text.map(|text| Cors::parse(text.as_bytes())).transpose().map_err(S3Error::internal)
        }
        Err(error) if error.kind() == ErrorKind::NotFound(Entity::Bucket) => Ok(None),
        Err(error) => Err(fault::meta(error)),
    }
}

/// A browser's question before a request (Fetch, "CORS-preflight request"), which nobody signs. A bucket that does
/// not exist answers as one without a configuration does: strangers don't learn which buckets there are.
pub async fn preflight(shared: &Shared, parts: &Parts, target: S3Result<Target>) -> S3Result<Response<Body>> {
    let bad = |why: String| S3Error::with(S3Code::BadRequest, why);
    let text = |name: &HeaderName| crate::auth::single_header(&parts.headers, name);
    let origin = text(&ORIGIN)?
        .ok_or_else(|| bad("Insufficient information. Origin request header needed.".into()))?;
    let method = text(&ACCESS_CONTROL_REQUEST_METHOD)?;
    let method = method
        .filter(|method| !method.is_empty())
        .ok_or_else(|| bad("Invalid Access-Control-Request-Method: null".to_owned()))?;
    let headers = text(&ACCESS_CONTROL_REQUEST_HEADERS)?.unwrap_or_default();
    let target = target?;
    let forbidden = |why| {
        let kind = if target.key.is_some() { "OBJECT" } else { "BUCKET" };
        S3Error::with(S3Code::AccessForbidden, why).extra("Method", method).extra("ResourceType", kind)
    };
    let cors = match &target.bucket {
        Some(bucket) => of_bucket(shared, bucket).await?,
        None => None,
    };
    let cors = cors.ok_or_else(|| forbidden("CORSResponse: CORS is not enabled for this bucket."))?;
    let asked = CrossOrigin { origin, method, headers };
    let rule = cors.rule(asked).ok_or_else(|| {
        forbidden(
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request \
             method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the \
             resource's CORS spec.",
        )
    })?;
    let mut answer = answer::empty(StatusCode::OK);
    for (name, value) in rule.answer(asked) {
        answer::set(&mut answer, HeaderName::from_static(name), &value);
    }
    Ok(answer)
}

/// Lets a page of another site see an answer, of whatever status, if the bucket's configuration says so.
pub async fn show(
    shared: &Shared,
    parts: CrossOrigin<'_>,
    target: S3Result<Target>,
    answer: &mut Response<Body>,
) {
    let Ok(Target { bucket: Some(bucket), .. }) = target else { return };
    let cors = match of_bucket(shared, &bucket).await {
        Ok(Some(cors)) => cors,
        Ok(None) => return,
        // The answer stands; without these headers a browser keeps it from the page, as it must where nothing allows it.
        Err(error) => {
            tracing::warn!(%error, cause = fault::cause(&error), "a CORS configuration could not be read");
            return;
        }
    };
    if let Some(rule) = cors.rule(parts) {
        for (name, value) in rule.answer(parts) {
            answer::set(answer, HeaderName::from_static(name), &value);
        }
    }
}
