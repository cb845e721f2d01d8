//! PutObject.

use super::acl;
use super::checksums;
use super::commit::{commit, precondition};
use crate::annotations;
use crate::answer;
use crate::conditional::WriteCondition;
use crate::error::{S3Code, S3Error, S3Result};
use crate::events;
use crate::gateway::Shared;
use crate::lent_body::LentBody;
use crate::lifecycle::{self, Subject};
use crate::limits::MAX_INLINE_BYTES;
use crate::objectlog::{Appender, Pending};
use crate::payload::{BodyPlan, PayloadDigest, PayloadReader};
use crate::room;
use crate::service::S3Request;
use crate::stored_headers::{refuse_unserved_of_object, stored_headers, user_metadata};
use crate::version;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::ETAG;
use http::{HeaderMap, Response, StatusCode};
use meta::acl::ObjectAcl;
use meta::client::Client;
use meta::event::EventKind;
use meta::object::{self, Annotations, ObjectRecord, Precondition, StoredHeaders, VersionRef};
use std::sync::Arc;

pub async fn put(shared: &Arc<Shared>, request: S3Request) -> S3Result<Response<Body>> {
    let headers = &request.parts.headers;
    let new = New::of(request.object()?, headers, shared.now_ms())?;
    let new = new.with_acl(acl::of_new(shared, &request.granted, headers).await?);
    let meta = events::telling(
        shared,
        (&request.parts, &request.principal),
        &request.granted,
        EventKind::CreatedPut,
    );
    let plan = BodyPlan::object(&request.parts, request.payload)?;
    if new.annotations.locks() && !plan.has_checksum() {
        return Err(S3Error::with(
            S3Code::InvalidRequest,
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters",
        ));
    }
    room::check_object(shared, (&new.bucket, &new.key), plan.decoded_len().unwrap_or(0)).await?;
    let received = receive(shared, plan, request.body, Keep::InlineIfSmall).await?;
    let etag = answer::quoted(&received.digest.etag());
    let stored = store((shared, meta), new, received).await?;
    let mut answer = answer::empty(StatusCode::OK);
    stored.show(&mut answer);
    answer::set(&mut answer, ETAG, &etag);
    Ok(answer)
}

/// All that a request says of the object but its data.
pub struct New {
    bucket: String,
    key: String,
    kept: StoredHeaders,
    metadata: Vec<(String, String)>,
    annotations: Annotations,
    condition: Precondition,
}

impl New {
    /// Errors: it asks for what is not served, or what a header may not hold.
    pub fn of((bucket, key): (&str, &str), headers: &HeaderMap, now_ms: u64) -> S3Result<Self> {
        refuse_unserved_of_object(headers)?;
        Ok(Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            kept: stored_headers(headers)?,
            metadata: user_metadata(headers)?,
            annotations: annotations::of_headers(headers, now_ms)?,
            condition: precondition(WriteCondition::of_write(headers)?),
        })
    }

    /// Whose it is and what it grants: the bucket owner's own, unless this is said.
    pub fn with_acl(mut self, acl: Option<ObjectAcl>) -> Self {
        self.annotations.acl = acl;
        self
    }
}

/// What an answer says of a new object.
pub struct Stored {
    version: Option<VersionRef>,
    checksum: object::Checksum,
    expiration: Option<String>,
}

impl Stored {
    pub fn show(self, answer: &mut Response<Body>) {
        version::show(answer, self.version);
        checksums::set_headers(answer, &[self.checksum]);
        lifecycle::show(answer, self.expiration.as_deref());
    }
}

/// Makes what was received an object, by a control plane that tells of it.
pub async fn store((shared, meta): (&Arc<Shared>, Client), new: New, received: Received) -> S3Result<Stored> {
    let (body, pending) = match received.data {
        Data::Inline(data) => (object::Body::Inline(data), None),
        Data::Logged(pending) => (object::Body::Extents(pending.extents().to_vec()), Some(pending)),
    };
    let digest = received.digest;
    let checksum = checksums::whole(digest.checksum);
    let record = ObjectRecord {
        size: digest.length_bytes,
        etag: digest.etag(),
        last_modified_ms: shared.now_ms(),
        headers: new.kept,
        user_metadata: new.metadata,
        checksums: vec![checksum.clone()],
        part_sizes: Vec::new(),
        body,
    };
    let New { bucket, key, annotations, condition, .. } = new;
    let subject = Subject::of(&key, &record, &annotations);
    let expiration = lifecycle::expiration(shared, &bucket, subject).await;
    let change = async move { meta.put_version((&bucket, &key), record, annotations, condition).await };
    let version = commit(shared, pending, change).await?;
    Ok(Stored { version, checksum, expiration })
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
