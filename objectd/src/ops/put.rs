//! PutObject.

use super::checksums;
use super::commit::{commit, precondition};
use crate::annotations;
use crate::answer;
use crate::conditional::WriteCondition;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Shared;
use crate::lent_body::LentBody;
use crate::limits::MAX_INLINE_BYTES;
use crate::objectlog::{Appender, Pending};
use crate::payload::{BodyPlan, PayloadDigest, PayloadReader};
use crate::service::S3Request;
use crate::stored_headers::{refuse_unserved_of_object, stored_headers, user_metadata};
use crate::version;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::ETAG;
use http::{Response, StatusCode};
use meta::object::{self, ObjectRecord};
use std::sync::Arc;

pub async fn put(shared: &Arc<Shared>, request: S3Request) -> S3Result<Response<Body>> {
    let (bucket, key) = request.object()?;
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    let headers = &request.parts.headers;
    refuse_unserved_of_object(headers)?;
    let (kept, metadata) = (stored_headers(headers)?, user_metadata(headers)?);
    let annotations = annotations::of_headers(headers, shared.now_ms())?;
    let condition = precondition(WriteCondition::of_write(headers)?);
    let plan = BodyPlan::object(&request.parts, request.payload)?;
    let received = receive(shared, plan, request.body, Keep::InlineIfSmall).await?;
    let (body, pending) = match received.data {
        Data::Inline(data) => (object::Body::Inline(data), None),
        Data::Logged(pending) => (object::Body::Extents(pending.extents().to_vec()), Some(pending)),
    };
    let digest = received.digest;
    let stored = checksums::whole(digest.checksum);
    let record = ObjectRecord {
        size: digest.length_bytes,
        etag: digest.etag(),
        last_modified_ms: shared.now_ms(),
        headers: kept,
        user_metadata: metadata,
        checksums: vec![stored.clone()],
        part_sizes: Vec::new(),
        body,
    };
    let meta = shared.meta.clone();
    let change = async move { meta.put_version((&bucket, &key), record, annotations, condition).await };
    let version = commit(shared, pending, change).await?;
    let mut answer = answer::empty(StatusCode::OK);
    version::show(&mut answer, version);
    answer::set(&mut answer, ETAG, &answer::quoted(&digest.etag()));
    checksums::set_headers(&mut answer, &[stored]);
    Ok(answer)
}

/// Where a received body may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// In the index if it is small, else in the log.
    InlineIfSmall,
    /// Always in the log.
    Logged,
}

/// A body that came, verified.
pub struct Received {
    pub data: Data,
    pub digest: PayloadDigest,
}

pub enum Data {
    Inline(Bytes),
    /// Not durable yet, and named by nothing.
    Logged(Pending),
}

/// Reads a body to its end. What it wrote is trimmed again unless the result is committed.
pub async fn receive(shared: &Arc<Shared>, plan: BodyPlan, body: LentBody, keep: Keep) -> S3Result<Received> {
    let len = plan.decoded_len().ok_or_else(|| S3Error::new(S3Code::MissingContentLength))?;
    let mut reader: PayloadReader<LentBody> = plan.reader(body);
    let data = if keep == Keep::InlineIfSmall && len <= MAX_INLINE_BYTES as u64 {
        let mut small = BytesMut::new();
        while let Some(data) = reader.next().await? {
            small.extend_from_slice(&data);
        }
        Data::Inline(small.freeze())
    } else {
        let mut appender = Appender::new(Arc::clone(&shared.log), len);
        while let Some(data) = reader.next().await? {
            appender.push(data).await?;
        }
        Data::Logged(appender.finish().await?)
    };
    let digest = reader.finish()?;
    shared.metrics.received(digest.length_bytes);
    Ok(Received { data, digest })
}
