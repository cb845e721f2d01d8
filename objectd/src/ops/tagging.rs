//! PutObjectTagging, GetObjectTagging, DeleteObjectTagging.

use super::found::Wanted;
use crate::annotations::{self, Tags};
use crate::answer;
use crate::context::Said;
use crate::error::S3Result;
use crate::events;
use crate::gateway::Shared;
use crate::limits::MAX_XML_BYTES;
use crate::service::S3Request;
use crate::version;
use axum::body::Body;
use http::{Response, StatusCode};
use meta::command::Annotate;
use meta::event::EventKind;

pub async fn get(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let object = Wanted::of(request)?.head(shared).await?;
    request.granted.check_unchanged(&object.annotations)?;
    let mut answer = answer::xml(annotations::tags_xml(&object.annotations.tags));
    version::show(&mut answer, object.version);
    Ok(answer)
}

pub async fn put(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let body = request.document(MAX_XML_BYTES).await?;
    let tags = annotations::tags_of_xml(&body)?;
    let (_, key) = request.object()?;
    request.granted.check_body(key, Said::Tags(&tags))?;
    set(shared, &request, tags, (EventKind::TaggingPut, StatusCode::OK)).await
}

pub async fn delete(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    set(shared, request, Tags::new(), (EventKind::TaggingDelete, StatusCode::NO_CONTENT)).await
}

async fn set(
    shared: &Shared,
    request: &S3Request,
    tags: Tags,
    (kind, status): (EventKind, StatusCode),
) -> S3Result<Response<Body>> {
    let wanted = Wanted::of(request)?;
    let object = wanted.head(shared).await?;
    request.granted.check_unchanged(&object.annotations)?;
    let meta = events::telling(shared, (&request.parts, &request.principal), &request.granted, kind);
    let changed = meta.annotate((wanted.bucket, wanted.key), wanted.version, Annotate::Tags(tags));
    let version = changed.await.map_err(|error| wanted.missing(error))?;
    let mut answer = answer::empty(status);
    version::show(&mut answer, version);
    Ok(answer)
}
