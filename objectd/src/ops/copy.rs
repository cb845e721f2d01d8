//! CopyObject and UploadPartCopy. Data goes through the gateway into new extents; what lies in the index is
//! copied there.

use super::acl;
use super::checksums;
use super::commit::{commit, precondition};
use super::found::Wanted;
use super::multipart::{open_slot, store};
use crate::annotations;
use crate::answer;
use crate::conditional::{ReadConditions, Verdict, WriteCondition};
use crate::copy_source::CopySource;
use crate::error::{S3Code, S3Error, S3Result};
use crate::events;
use crate::gateway::Shared;
use crate::http_date;
use crate::lifecycle::{self, Subject};
use crate::limits::{MAX_COPY_BYTES, MAX_PUT_BYTES};
use crate::objectlog::{Pending, Pinned};
use crate::payload::{ChecksumAlgorithm, ChecksumSet, PayloadDigest};
use crate::range::{self, RangeSpec};
use crate::room;
use crate::service::S3Request;
use crate::sse::cipher::{DataKey, PartKey, seal_whole};
use crate::sse::{self, Data, Opened, Origin, Seal, Shown, Sink, Source, Transport};
use crate::stored_headers::{refuse_unserved, refuse_unserved_of_object, stored_headers, user_metadata};
use crate::version::{self, COPY_SOURCE_VERSION_ID};
use crate::xml::XmlWriter;
use axum::body::Body;
use futures_util::StreamExt as _;
use http::Response;
use meta::event::EventKind;
use meta::object::{self, ObjectRecord, VersionedObject};
use std::ops::Range;
use std::sync::Arc;

/// What `x-amz-metadata-directive` and `x-amz-tagging-directive` say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Copy,
    Replace,
}

pub async fn object(shared: &Arc<Shared>, request: S3Request) -> S3Result<Response<Body>> {
    let (bucket, key) = request.object()?;
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    let headers = &request.parts.headers;
    refuse_unserved_of_object(headers)?;
    let source = source_of(&request)?;
    let tags_directive = match request.header("x-amz-tagging-directive")? {
        None | Some("COPY") => Directive::Copy,
        Some("REPLACE") => Directive::Replace,
        Some(_) => return Err(S3Error::with(S3Code::InvalidArgument, "Unknown tagging directive.")),
    };
    let mut annotations = annotations::of_headers(headers, shared.now_ms())?;
    // Never the source's: AWS copies no ACL.
    annotations.acl = acl::of_new(shared, &request.granted, headers).await?;
    let directive = match request.header("x-amz-metadata-directive")? {
        None | Some("COPY") => Directive::Copy,
        Some("REPLACE") => Directive::Replace,
        Some(_) => return Err(S3Error::with(S3Code::InvalidArgument, "Unknown metadata directive.")),
    };
    // A version of the key itself is brought back by copying it.
    let is_itself = source.bucket == bucket && source.key == key && source.version.is_none();
    if directive == Directive::Copy && is_itself && !sse::says_anything(headers) {
        return Err(S3Error::with(
            S3Code::InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let asked =
        request.header("x-amz-checksum-algorithm")?.map(checksums::algorithm_from_name).transpose()?;
    let condition = precondition(WriteCondition::of_write(headers)?);
    let (object, pinned, opened) = open_source(shared, &request, source).await?;
    if tags_directive == Directive::Copy {
        // Retention and holds are never copied: they are the version's own.
        annotations.tags = object.annotations.tags;
    }
    let VersionedObject { record: found, version: from, sealing, .. } = object;
    if found.size > MAX_COPY_BYTES {
        let why = "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120";
        return Err(S3Error::with(S3Code::InvalidRequest, why));
    }
    room::check_object(shared, (&bucket, &key), found.size).await?;
    let (kept, metadata) = match directive {
        Directive::Copy => (found.headers.clone(), found.user_metadata.clone()),
        Directive::Replace => (stored_headers(headers)?, user_metadata(headers)?),
    };
    let algorithm = asked.unwrap_or_else(|| algorithm_of(&found));
    let bytes = 0..found.size;
    let origin = if sealing.is_some() { Origin::Encrypted } else { Origin::Clear };
    let said = (headers, Transport::of(&request.parts));
    let seal = Seal::of_new(shared, said, request.granted.bucket()?, &key, origin).await?;
    let new_key = seal.as_ref().map(|seal| &seal.key);
    let source = Source { record: &found, sealing: sealing.as_ref(), opened: &opened };
    let (body, pending, digest) = match &found.body {
        object::Body::Inline(data) => {
            let data = source.slice(data, bytes)?;
            let mut sums = ChecksumSet::new(algorithm, false);
            sums.update(&data);
            let kept = new_key.map_or(data.clone(), |key| seal_whole(key, &data));
            (object::Body::Inline(kept), None, sums.finish())
        }
        object::Body::Extents(_) => {
            let part = new_key.map(DataKey::whole);
            let (pending, digest) = copy(shared, (source, part), bytes, pinned, algorithm).await?;
            (object::Body::Extents(pending.extents().to_vec()), Some(pending), digest)
        }
    };
    let stored = vec![checksums::whole(digest.checksum)];
    let record = ObjectRecord {
        size: digest.length_bytes,
        etag: digest.etag(),
        last_modified_ms: shared.now_ms(),
        headers: kept,
        user_metadata: metadata,
        checksums: stored.clone(),
        part_sizes: Vec::new(),
        body,
    };
    let modified_ms = record.last_modified_ms;
    let subject = Subject::of(&key, &record, &annotations);
    let expiration = lifecycle::expiration(shared, &bucket, subject).await;
    let who = (&request.parts, &request.principal);
    let meta = events::telling(shared, who, &request.granted, EventKind::CreatedCopy);
    let (sealing, shown) = seal.map_or((None, Shown::Plain), |seal| (Some(seal.sealing), seal.shown));
    let change =
        async move { meta.put_sealed((&bucket, &key), (record, sealing), annotations, condition).await };
    let version = commit(shared, pending, change).await?;
    let mut answer = result("CopyObjectResult", &digest, modified_ms, |xml| checksums::write(xml, &stored));
    shown.show(&mut answer);
    version::show(&mut answer, version);
    version::show_as(&mut answer, COPY_SOURCE_VERSION_ID, from);
    lifecycle::show(&mut answer, expiration.as_deref());
    Ok(answer)
}

pub async fn part(shared: &Arc<Shared>, request: S3Request) -> S3Result<Response<Body>> {
    let (slot, upload, key) = open_slot(shared, &request).await?;
    refuse_unserved(&request.parts.headers)?;
    let source = source_of(&request)?;
    let (object, pinned, opened) = open_source(shared, &request, source).await?;
    let VersionedObject { record: found, version: from, sealing, .. } = object;
    let bytes = match request.header("x-amz-copy-source-range")? {
        None => 0..found.size,
        Some(header) => source_range(header, found.size)?,
    };
    if bytes.end - bytes.start > MAX_PUT_BYTES {
        return Err(S3Error::new(S3Code::EntityTooLarge));
    }
    let algorithm = match upload.checksum {
        Some((algorithm, _)) => checksums::of_index(algorithm),
        None => ChecksumAlgorithm::Crc64Nvme,
    };
    slot.check_room(shared, bytes.end - bytes.start).await?;
    let source = Source { record: &found, sealing: sealing.as_ref(), opened: &opened };
    let (pending, digest) = copy(shared, (source, key), bytes, pinned, algorithm).await?;
    let shown = slot.shown;
    let part = store(shared, slot, pending, digest).await?;
    let checksums_of_part = &part.checksums;
    let mut answer = result("CopyPartResult", &digest, part.last_modified_ms, |xml| {
        checksums::write_values(xml, checksums_of_part);
    });
    shown.show(&mut answer);
    version::show_as(&mut answer, COPY_SOURCE_VERSION_ID, from);
    Ok(answer)
}

/// The source that authorization granted.
fn source_of(request: &S3Request) -> S3Result<&CopySource> {
    let missing = || S3Error::with(S3Code::InvalidArgument, "x-amz-copy-source is missing");
    request.granted.source.as_ref().ok_or_else(missing)
}

async fn open_source(
    shared: &Shared,
    request: &S3Request,
    source: &CopySource,
) -> S3Result<(VersionedObject, Pinned, Opened)> {
    let wanted = Wanted { bucket: &source.bucket, key: &source.key, version: source.version };
    let (found, pinned) = wanted.open(shared).await.map_err(|error| match error.code() {
        S3Code::MethodNotAllowed => S3Error::with(
            S3Code::InvalidRequest,
            "The source of a copy request may not specifically refer to a delete marker by version id.",
        )
        .source(error),
        _ => error,
    })?;
    request.granted.check_source_unchanged(&found.annotations)?;
    let customer = sse::of_source(&request.parts.headers, Transport::of(&request.parts))?;
    let opened = Opened::of_object(shared, found.sealing.as_ref(), wanted.name(), customer.as_ref())?;
    let conditions = ReadConditions::of_copy_source(&request.parts.headers);
    match conditions.check(&found.record.etag, found.record.last_modified_ms) {
        Verdict::Proceed => Ok((found, pinned, opened)),
        Verdict::NotModified | Verdict::Failed => Err(S3Error::new(S3Code::PreconditionFailed)),
    }
}

/// `bytes=first-last`, which must lie in the source: AWS cuts nothing here.
fn source_range(header: &str, size: u64) -> S3Result<Range<u64>> {
    match range::parse(header) {
        Some(RangeSpec::FirstLast { first, last }) if last < size => Ok(first..last + 1),
        Some(RangeSpec::FirstLast { .. }) => Err(S3Error::with(
            S3Code::InvalidArgument,
            format!("Range specified is not valid for source object of size: {size}"),
        )),
        _ => Err(S3Error::with(
            S3Code::InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )),
    }
}

/// The algorithm of the source's checksum, so that a copy has the same.
fn algorithm_of(found: &ObjectRecord) -> ChecksumAlgorithm {
    let known = found.checksums.first().map(|checksum| checksums::of_index(checksum.algorithm));
    known.unwrap_or(ChecksumAlgorithm::Crc64Nvme)
}

/// Copies `bytes` of an object to the end of the log.
async fn copy(
    shared: &Arc<Shared>,
    (source, key): (Source<'_>, Option<PartKey>),
    bytes: Range<u64>,
    pinned: Pinned,
    algorithm: ChecksumAlgorithm,
) -> S3Result<(Pending, PayloadDigest)> {
    let mut sums = ChecksumSet::new(algorithm, false);
    let mut sink = Sink::new(Arc::clone(&shared.log), bytes.end - bytes.start, key);
    let mut data: Data = match &source.record.body {
        object::Body::Inline(data) => {
            let data = source.slice(data, bytes)?;
            Box::pin(futures_util::stream::iter([Ok(data)]))
        }
        object::Body::Extents(extents) => source.stream(Arc::clone(&shared.log), extents, bytes, pinned)?,
    };
    while let Some(data) = data.next().await {
        let data = data?;
        sums.update(&data);
        sink.push(data).await?;
    }
    Ok((sink.finish().await?, sums.finish()))
}

fn result(
    root: &'static str,
    digest: &PayloadDigest,
    modified_ms: u64,
    checksums: impl FnOnce(&mut XmlWriter),
) -> Response<Body> {
    let mut xml = XmlWriter::new(root);
    xml.text("LastModified", &http_date::iso(modified_ms));
    xml.text("ETag", &answer::quoted(&digest.etag()));
    checksums(&mut xml);
    answer::xml(xml)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_ranges_are_strict() {
        let of = |header| source_range(header, 10).map_err(|error| error.code());
        assert_eq!(of("bytes=0-9"), Ok(0..10));
        assert_eq!(of("bytes=3-3"), Ok(3..4));
        for bad in
            ["bytes=0-10", "bytes=5-", "bytes=-5", "0-5", "bytes=18446744073709551615-18446744073709551615"]
        {
            assert_eq!(of(bad), Err(S3Code::InvalidArgument), "{bad}");
        }
    }
}
