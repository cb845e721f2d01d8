//! GetObject and HeadObject.

use super::checksums;
use super::found::Wanted;
use crate::annotations::{self, Visible};
use crate::answer;
use crate::auth::{Principal, single_header};
use crate::conditional::{ReadConditions, Verdict, unquote};
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::http_date;
use crate::lifecycle::{self, Subject};
use crate::limits::MAX_PART_NUMBER;
use crate::range::{self, Unsatisfiable};
use crate::service::S3Request;
use crate::sse::{Data, Shown, Source};
use crate::target::filled;
use crate::version;
use axum::body::Body;
use futures_util::StreamExt as _;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use meta::object::{self, Annotations, ObjectRecord, VersionedObject};
use std::ops::Range;
use std::sync::Arc;

pub async fn get(shared: &Arc<Shared>, request: &S3Request) -> S3Result<Response<Body>> {
    let wanted = Wanted::of(request)?;
    let (object, pinned) = wanted.open(shared).await?;
    let opened = wanted.unseal(shared, request, &object)?;
    let (mut answer, bytes) = match head_of(request, &object, opened.shown)? {
        Prepared::Send(answer, bytes) => (answer, bytes),
        Prepared::NotModified(answer) => return Ok(answer),
    };
    show_expiration(shared, request, &object, &mut answer).await?;
    let VersionedObject { record, sealing, .. } = object;
    let source = Source { record: &record, sealing: sealing.as_ref(), opened: &opened };
    shared.metrics.sent(bytes.end - bytes.start);
    *answer.body_mut() = match &record.body {
        object::Body::Inline(data) => Body::from(source.slice(data, bytes)?),
        object::Body::Extents(extents) => {
            let len = bytes.end - bytes.start;
            body(source.stream(Arc::clone(&shared.log), extents, bytes, pinned)?, len).await?
        }
    };
    Ok(answer)
}

pub async fn head(shared: &Arc<Shared>, request: &S3Request) -> S3Result<Response<Body>> {
    let wanted = Wanted::of(request)?;
    let object = wanted.head(shared).await?;
    let opened = wanted.unseal(shared, request, &object)?;
    match head_of(request, &object, opened.shown)? {
        Prepared::Send(mut answer, _) => {
            show_expiration(shared, request, &object, &mut answer).await?;
            Ok(answer)
        }
        Prepared::NotModified(answer) => Ok(answer),
    }
}

/// Only what a key leads to expires by itself; of a version that is named nobody knows here whether it is that.
async fn show_expiration(
    shared: &Shared,
    request: &S3Request,
    object: &VersionedObject,
    answer: &mut Response<Body>,
) -> S3Result<()> {
    if request.query.contains("versionId") {
        return Ok(());
    }
    let (bucket, key) = request.object()?;
    let subject = Subject::of(key, &object.record, &object.annotations);
    lifecycle::show(answer, lifecycle::expiration(shared, bucket, subject).await.as_deref());
    Ok(())
}

/// A body for an answer. Its first bytes are read before the answer's head is sent, so that an object that
/// can't be read at all is an error; a later failure can only cut the connection.
async fn body(mut rest: Data, len: u64) -> S3Result<Body> {
    let Some(first) = rest.next().await else { return Ok(Body::empty()) };
    let first = first?;
    if first.len() as u64 == len {
        // All of it, as of most objects. What follows could only be the word that it was whole.
        if let Some(last) = rest.next().await {
            last?;
        }
        return Ok(Body::from(first));
    }
    let logged = rest.inspect(|read| {
        if let Err(error) = read {
            tracing::error!(%error, cause = fault::cause(error), "an object's body was cut short");
        }
    });
    Ok(Body::from_stream(futures_util::stream::iter([Ok(first)]).chain(logged)))
}

enum Prepared {
    /// All but the body, and which of the object's bytes it has.
    Send(Response<Body>, Range<u64>),
    NotModified(Response<Body>),
}

fn head_of(request: &S3Request, object: &VersionedObject, shown: Shown) -> S3Result<Prepared> {
    let (headers, record) = (&request.parts.headers, &object.record);
    request.granted.check_unchanged(&object.annotations)?;
    match ReadConditions::of_read(headers).check(&record.etag, record.last_modified_ms) {
        Verdict::Failed => {
            return Err(S3Error::new(S3Code::PreconditionFailed).extra("Condition", "If-Match"));
        }
        Verdict::NotModified => {
            let mut answer = answer::empty(StatusCode::NOT_MODIFIED);
            identity(&mut answer, record);
            version::show(&mut answer, object.version);
            return Ok(Prepared::NotModified(answer));
        }
        Verdict::Proceed => {}
    }
    let selected = select(request, record)?;
    let mut answer = answer::empty(selected.status);
    identity(&mut answer, record);
    version::show(&mut answer, object.version);
    describe(&mut answer, request, record)?;
    shown.show(&mut answer);
    annotations::show(&mut answer, &object.annotations, visible(request, &object.annotations)?);
    let bytes = selected.bytes;
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
    if selected.status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{}", bytes.start, bytes.end.saturating_sub(1), record.size);
        answer::set(&mut answer, CONTENT_RANGE, &range);
    }
    if let Some(parts) = selected.parts {
        answer::set(&mut answer, HeaderName::from_static("x-amz-mp-parts-count"), &parts.to_string());
    }
    if request.header("x-amz-checksum-mode")?.is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED")) {
        let of_part = selected.index.and_then(|index| object.part_checksums.get(index));
        match (of_part, record.checksums.first()) {
            (Some(value), Some(whole)) => checksums::set_header(&mut answer, whole.algorithm, value),
            _ if bytes.end - bytes.start == record.size => {
                checksums::set_headers(&mut answer, &record.checksums);
            }
            _ => {}
        }
    }
    Ok(Prepared::Send(answer, bytes))
}

/// Who may read an object doesn't learn what it may not ask for by itself. Of what isn't there, nothing is decided.
fn visible(request: &S3Request, annotations: &Annotations) -> S3Result<Visible> {
    let (_, key) = request.object()?;
    let tags = match request.query.contains("versionId") {
        true => "s3:GetObjectVersionTagging",
        false => "s3:GetObjectTagging",
    };
    let may = |action| request.granted.may(action, key);
    Ok(Visible {
        tags: !annotations.tags.is_empty() && may(tags),
        retention: annotations.retention.is_some() && may("s3:GetObjectRetention"),
        legal_hold: annotations.legal_hold.is_some() && may("s3:GetObjectLegalHold"),
    })
}

/// Which bytes of the object are wanted.
struct Selected {
    bytes: Range<u64>,
    status: StatusCode,
    /// How many parts there are, if one was asked for.
    parts: Option<usize>,
    /// Which of them that was, counted from 0.
    index: Option<usize>,
}

fn select(request: &S3Request, record: &ObjectRecord) -> S3Result<Selected> {
    let headers = &request.parts.headers;
    let range = single_header(headers, &RANGE)?;
    if let Some(number) = filled(&request.query, "partNumber") {
        if range.is_some() {
            let why = "Cannot specify both Range header and partNumber query parameter";
            return Err(S3Error::with(S3Code::InvalidRequest, why));
        }
        return select_part(number, record);
    }
    let whole = Selected { bytes: 0..record.size, status: StatusCode::OK, parts: None, index: None };
    let Some(spec) = range.and_then(range::parse) else { return Ok(whole) };
    // A client that resumes a download must not get the tail of another object.
    if let Some(validator) = single_header(headers, &IF_RANGE)? {
        let seconds = record.last_modified_ms / 1000;
        if unquote(validator) != record.etag && http_date::parse(validator) != Some(seconds) {
            return Ok(whole);
        }
    }
    let bytes = spec.resolve(record.size).map_err(|Unsatisfiable| {
        S3Error::new(S3Code::InvalidRange)
            .extra("RangeRequested", range.unwrap_or_default())
            .extra("ActualObjectSize", record.size.to_string())
    })?;
    Ok(Selected { bytes, status: StatusCode::PARTIAL_CONTENT, parts: None, index: None })
}

fn select_part(number: &str, record: &ObjectRecord) -> S3Result<Selected> {
    let number: u32 = number.parse().ok().filter(|n| (1..=MAX_PART_NUMBER).contains(n)).ok_or_else(|| {
        S3Error::with(
            S3Code::InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive",
        )
        .extra("ArgumentName", "partNumber")
        .extra("ArgumentValue", number)
    })?;
    let whole = [record.size];
    let (parts, count) = if record.part_sizes.is_empty() {
        (&whole[..], None)
    } else {
        (&record.part_sizes[..], Some(record.part_sizes.len()))
    };
    let index = number as usize - 1;
    let size = parts.get(index).ok_or_else(|| {
        S3Error::new(S3Code::InvalidPartNumber)
            .extra("ActualPartCount", parts.len().to_string())
            .extra("PartNumberRequested", number.to_string())
    })?;
    let start: u64 = parts[..index].iter().sum();
    // An empty range can't be written in Content-Range.
    let status = if *size == 0 { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
    Ok(Selected { bytes: start..start + size, status, parts: count, index: Some(index) })
}

/// What a 304 has too.
fn identity(answer: &mut Response<Body>, record: &ObjectRecord) {
    answer::set(answer, ETAG, &answer::quoted(&record.etag));
    answer::set(answer, LAST_MODIFIED, &http_date::http(record.last_modified_ms));
    if let Some(caching) = &record.headers.cache_control {
        answer::set(answer, CACHE_CONTROL, caching);
    }
}

/// The kept headers, what the request overrides of them, and user metadata.
fn describe(answer: &mut Response<Body>, request: &S3Request, record: &ObjectRecord) -> S3Result<()> {
    let kept = &record.headers;
    let shown = [
        (CONTENT_TYPE, "response-content-type", kept.content_type.as_deref().or(Some("binary/octet-stream"))),
        (CACHE_CONTROL, "response-cache-control", kept.cache_control.as_deref()),
        (CONTENT_DISPOSITION, "response-content-disposition", kept.content_disposition.as_deref()),
        (CONTENT_ENCODING, "response-content-encoding", kept.content_encoding.as_deref()),
        (CONTENT_LANGUAGE, "response-content-language", kept.content_language.as_deref()),
        (EXPIRES, "response-expires", kept.expires.as_deref()),
    ];
    for (name, parameter, kept) in shown {
        match request.query.get(parameter) {
            // Else anybody could give a public bucket's links the type of a page that its owner never made.
            Some(_) if matches!(request.principal, Principal::Anonymous) => {
                let why = "Request specific response headers cannot be used for anonymous GET requests.";
                return Err(S3Error::with(S3Code::InvalidRequest, why));
            }
            Some(asked) if HeaderValue::from_bytes(asked.as_bytes()).is_err() => {
                return Err(S3Error::with(S3Code::InvalidArgument, "A header can't have this value")
                    .extra("ArgumentName", parameter));
            }
            Some(asked) => answer::set(answer, name, asked),
            None => kept.into_iter().for_each(|kept| answer::set(answer, name.clone(), kept)),
        }
    }
    answer.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    for (name, value) in &record.user_metadata {
        if let Ok(name) = HeaderName::from_bytes(format!("x-amz-meta-{name}").as_bytes()) {
            answer::set(answer, name, value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta::object::StoredHeaders;

    fn record(part_sizes: &[u64]) -> ObjectRecord {
        ObjectRecord {
            size: if part_sizes.is_empty() { 7 } else { part_sizes.iter().sum() },
            etag: "e".to_owned(),
            last_modified_ms: 0,
            headers: StoredHeaders::default(),
            user_metadata: vec![],
            checksums: vec![],
            part_sizes: part_sizes.to_vec(),
            body: object::Body::Extents(vec![]),
        }
    }

    #[test]
    fn parts_are_ranges_of_the_object() {
        let select = |number: &str, sizes: &[u64]| {
            select_part(number, &record(sizes)).map(|s| (s.bytes, s.parts)).map_err(|error| error.code())
        };
        assert_eq!(select("1", &[]), Ok((0..7, None)));
        assert_eq!(select("2", &[]), Err(S3Code::InvalidPartNumber));
        assert_eq!(select("2", &[10, 5, 3]), Ok((10..15, Some(3))));
        assert_eq!(select("4", &[10, 5, 3]), Err(S3Code::InvalidPartNumber));
        for bad in ["0", "-1", "10001", "x"] {
            assert_eq!(select(bad, &[10]), Err(S3Code::InvalidArgument), "{bad}");
        }
    }
}
