//! PutObject.

use super::acl;
use super::checksums;
use super::commit::{commit, precondition};
use crate::annotations;
use crate::answer;
use crate::bucket_rules::BucketRules;
use crate::conditional::WriteCondition;
use crate::error::{S3Code, S3Error, S3Result};
use crate::events;
use crate::gateway::Shared;
use crate::lent_body::LentBody;
use crate::lifecycle::{self, Subject};
use crate::limits::MAX_INLINE_BYTES;
use crate::objectlog::Pending;
use crate::payload::{BodyPlan, PayloadDigest, PayloadReader};
use crate::room;
use crate::service::S3Request;
use crate::sse::cipher::{DataKey, PartKey, seal_whole};
use crate::sse::{Origin, Seal, Shown, Sink, Transport};
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
    let mut new = new.with_acl(acl::of_new(shared, &request.granted, headers).await?);
    let transport = Transport::of(&request.parts);
    new.seal(shared, (headers, transport), request.granted.bucket()?).await?;
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
    let key = new.key();
    let received = receive(shared, plan, request.body, key).await?;
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
    seal: Option<Seal>,
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
            seal: None,
        })
    }

    /// Whose it is and what it grants: the bucket owner's own, unless this is said.
    pub fn with_acl(mut self, acl: Option<ObjectAcl>) -> Self {
        self.annotations.acl = acl;
        self
    }

    /// Has it encrypted, if the request or its bucket says so.
    pub async fn seal(
        &mut self,
        shared: &Shared,
        said: (&HeaderMap, Transport),
        bucket: &BucketRules,
    ) -> S3Result<()> {
        self.seal = Seal::of_new(shared, said, bucket, &self.key, Origin::Clear).await?;
        Ok(())
    }

    /// What its data is encrypted with.
    pub fn key(&self) -> Option<DataKey> {
        self.seal.as_ref().map(|seal| seal.key.clone())
    }
}

/// What an answer says of a new object.
pub struct Stored {
    version: Option<VersionRef>,
    checksum: object::Checksum,
    expiration: Option<String>,
    shown: Shown,
}

impl Stored {
    pub fn show(self, answer: &mut Response<Body>) {
        version::show(answer, self.version);
        checksums::set_headers(answer, &[self.checksum]);
        lifecycle::show(answer, self.expiration.as_deref());
        self.shown.show(answer);
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
    let New { bucket, key, annotations, condition, seal, .. } = new;
    let (sealing, shown) = seal.map_or((None, Shown::Plain), |seal| (Some(seal.sealing), seal.shown));
    let subject = Subject::of(&key, &record, &annotations);
    let expiration = lifecycle::expiration(shared, &bucket, subject).await;
    let change =
        async move { meta.put_sealed((&bucket, &key), (record, sealing), annotations, condition).await };
    let version = commit(shared, pending, change).await?;
    Ok(Stored { version, checksum, expiration, shown })
}

/// A body that came, verified; its data as it is kept.
pub struct Received {
    pub data: Data,
    pub digest: PayloadDigest,
}

pub enum Data {
    Inline(Bytes),
    /// Not durable yet, and named by nothing.
    Logged(Pending),
}

impl Data {
    /// What is small enough for the index.
    pub fn inline(data: Bytes, key: Option<&DataKey>) -> Self {
        Self::Inline(key.map_or(data.clone(), |key| seal_whole(key, &data)))
    }
}

/// Reads a body to its end. What it wrote is trimmed again unless the result is committed.
pub async fn receive(
    shared: &Arc<Shared>,
    plan: BodyPlan,
    body: LentBody,
    key: Option<DataKey>,
) -> S3Result<Received> {
    let len = plan.decoded_len().ok_or_else(|| S3Error::new(S3Code::MissingContentLength))?;
    let mut reader: PayloadReader<LentBody> = plan.reader(body);
    let data = if len <= MAX_INLINE_BYTES as u64 {
        let mut small = BytesMut::new();
        while let Some(data) = reader.next().await? {
            small.extend_from_slice(&data);
        }
        Data::inline(small.freeze(), key.as_ref())
    } else {
        return receive_logged(shared, (reader, len), key.map(|key| key.whole())).await;
    };
    let digest = reader.finish()?;
    shared.metrics.received(digest.length_bytes);
    Ok(Received { data, digest })
}

/// The same of what always goes to the log, of `len` bytes.
pub async fn receive_logged(
    shared: &Arc<Shared>,
    (mut reader, len): (PayloadReader<LentBody>, u64),
    key: Option<PartKey>,
) -> S3Result<Received> {
    let mut sink = Sink::new(Arc::clone(&shared.log), len, key);
    while let Some(data) = reader.next().await? {
        sink.push(data).await?;
    }
    let data = Data::Logged(sink.finish().await?);
    let digest = reader.finish()?;
    shared.metrics.received(digest.length_bytes);
    Ok(Received { data, digest })
}
