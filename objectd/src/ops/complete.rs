//! CompleteMultipartUpload.

use super::checksums;
use super::commit::{commit, precondition};
use super::multipart::upload_id;
use crate::answer;
use crate::arrival::Arrival;
use crate::conditional::{WriteCondition, unquote};
use crate::error::{S3Code, S3Error, S3Result};
use crate::events;
use crate::fault;
use crate::gateway::Shared;
use crate::limits::{MAX_OBJECT_BYTES, MAX_PAGE, MAX_PART_NUMBER, MAX_XML_BYTES, MIN_PART_BYTES};
use crate::payload::{Checksum, ChecksumAlgorithm, composite_checksum, full_object_checksum, multipart_etag};
use crate::service::S3Request;
use crate::sse::{self, Name, Opened, Shown, Transport};
use crate::version;
use crate::xml::{self, Element, XmlWriter};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Response};
use meta::event::EventKind;
use meta::object::{
    self, ChecksumType, CompletedPart, ObjectRecord, PartRecord, StoredHeaders, UploadRecord,
};
use meta::sealing::SealedBy;
use std::collections::HashMap;
use std::sync::Arc;

pub async fn complete(shared: &Arc<Shared>, mut request: S3Request) -> S3Result<Response<Body>> {
    let (bucket, key) = request.object()?;
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    let id = upload_id(&request)?;
    let condition = precondition(WriteCondition::of_write(&request.parts.headers)?);
    let expected_type = request.header("x-amz-checksum-type")?.map(checksums::type_from_name).transpose()?;
    let expected_size = request.header("x-amz-mp-object-size")?.map(str::to_owned);
    let host = request.header("host")?.unwrap_or_default().to_owned();
    let is_tls = request.parts.extensions.get::<Arrival>().is_some_and(|arrival| arrival.tls.is_some());
    let scheme = if is_tls { "https" } else { "http" };
    // Here, unlike everywhere else, these headers speak of the object and not of the body.
    let expected = take_checksums(&mut request.parts.headers);
    let shown = sealing_shown(shared, &request, (&bucket, &key, id)).await?;
    let body = request.document(MAX_XML_BYTES).await?;
    let asked = parse(&body)?;
    let (upload, stored) = stored_parts(shared, (&bucket, &key, id)).await?;
    let parts = check_parts(&asked, &stored)?;
    let made = Made::of(&upload, &parts)?;
    made.check(&expected, expected_type, expected_size.as_deref())?;
    let record = ObjectRecord {
        size: made.size,
        etag: made.etag.clone(),
        last_modified_ms: shared.now_ms(),
        headers: StoredHeaders::default(),
        user_metadata: Vec::new(),
        checksums: made.checksum.clone().into_iter().collect(),
        part_sizes: Vec::new(),
        body: object::Body::Inline(Bytes::new()),
    };
    let named =
        parts.iter().map(|part| CompletedPart { number: part.number, etag: part.etag.clone() }).collect();
    let change = {
        let who = (&request.parts, &request.principal);
        let meta = events::telling(shared, who, &request.granted, EventKind::CreatedComplete);
        let (bucket, key) = (bucket.clone(), key.clone());
        async move { meta.complete_upload((&bucket, &key, id), named, record, condition).await }
    };
    // Every part was flushed when it was put: there is nothing to make durable but the entry.
    let version = commit(shared, None, change).await?;
    let mut xml = XmlWriter::new("CompleteMultipartUploadResult");
    let path = crate::auth::uri::uri_encode(key.as_bytes(), true);
    xml.text("Location", &format!("{scheme}://{host}/{bucket}/{path}"));
    xml.text("Bucket", &bucket);
    xml.text("Key", &key);
    xml.text("ETag", &answer::quoted(&made.etag));
    checksums::write(&mut xml, made.checksum.as_slice());
    let mut answer = answer::xml(xml);
    shown.show(&mut answer);
    version::show(&mut answer, version);
    Ok(answer)
}

/// What the answer says of how the object is encrypted. A customer's key isn't needed here, but must be the right one.
async fn sealing_shown(
    shared: &Shared,
    request: &S3Request,
    (bucket, key, id): (&str, &str, object::UploadId),
) -> S3Result<Shown> {
    let customer = sse::of_existing(&request.parts.headers, Transport::of(&request.parts))?;
    let (_, sealing) = shared.meta.open_upload(bucket, key, id).await.map_err(fault::meta)?;
    match (sealing.as_ref().map(|sealing| sealing.by), customer) {
        (Some(SealedBy::Customer), None) => Ok(Shown::Plain),
        (_, customer) => {
            let name = Name { bucket, key };
            Ok(Opened::of_upload(shared, sealing.as_ref(), name, customer.as_ref())?.shown)
        }
    }
}

/// A part as the client lists it.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    number: u16,
    etag: String,
    checksum: Option<(ChecksumAlgorithm, String)>,
}

fn parse(body: &[u8]) -> S3Result<Vec<Asked>> {
    let root = xml::parse(body, "CompleteMultipartUpload")?;
    let parts: S3Result<Vec<Asked>> = root.all("Part").map(part).collect();
    let parts = parts?;
    if parts.is_empty() || parts.len() > MAX_PART_NUMBER as usize {
        return Err(S3Error::new(S3Code::MalformedXML));
    }
    Ok(parts)
}

fn part(element: &Element) -> S3Result<Asked> {
    let malformed = || S3Error::new(S3Code::MalformedXML);
    let number: i64 =
        element.child_text("PartNumber").and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
    let number = u16::try_from(number).ok().filter(|n| (1..=MAX_PART_NUMBER).contains(&u32::from(*n)));
    let number = number.ok_or_else(|| {
        S3Error::with(S3Code::InvalidArgument, "PartNumber must be >= 1 and <= 10000")
            .extra("ArgumentName", "partNumber")
    })?;
    let etag = unquote(element.child_text("ETag").ok_or_else(malformed)?).to_owned();
    let checksum = ChecksumAlgorithm::ALL.into_iter().find_map(|algorithm| {
        element.child_text(algorithm.element()).map(|value| (algorithm, value.to_owned()))
    });
    Ok(Asked { number, etag, checksum })
}

/// The upload and all its parts by number.
async fn stored_parts(
    shared: &Shared,
    upload: (&str, &str, object::UploadId),
) -> S3Result<(UploadRecord, HashMap<u16, PartRecord>)> {
    let mut found = HashMap::new();
    let mut after = 0;
    loop {
        let limit = u32::try_from(MAX_PAGE).unwrap_or(u32::MAX);
        let page = shared.meta.list_parts(upload, after, limit).await.map_err(fault::meta)?;
        found.extend(page.parts.into_iter().map(|part| (part.number, part)));
        match page.next {
            Some(next) => after = next,
            None => return Ok((page.upload, found)),
        }
    }
}

/// The stored part of each that is asked for. The control plane checks again, in the step that completes.
fn check_parts<'a>(asked: &[Asked], stored: &'a HashMap<u16, PartRecord>) -> S3Result<Vec<&'a PartRecord>> {
    if asked.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        return Err(S3Error::new(S3Code::InvalidPartOrder));
    }
    let mut parts: Vec<&PartRecord> = Vec::with_capacity(asked.len());
    for (index, asked_part) in asked.iter().enumerate() {
        let invalid = || {
            S3Error::new(S3Code::InvalidPart)
                .extra("PartNumber", asked_part.number.to_string())
                .extra("ETag", asked_part.etag.as_str())
        };
        let part =
            stored.get(&asked_part.number).filter(|part| part.etag == asked_part.etag).ok_or_else(invalid)?;
        if let Some((algorithm, value)) = &asked_part.checksum {
            let algorithm = checksums::to_index(*algorithm);
            let matches = |known: &object::Checksum| known.algorithm == algorithm && known.value == *value;
            if !part.checksums.iter().any(matches) {
                return Err(invalid());
            }
        }
        if index + 1 < asked.len() && part.size < MIN_PART_BYTES {
            return Err(S3Error::new(S3Code::EntityTooSmall)
                .extra("ProposedSize", part.size.to_string())
                .extra("MinSizeAllowed", MIN_PART_BYTES.to_string())
                .extra("PartNumber", part.number.to_string())
                .extra("ETag", part.etag.as_str()));
        }
        parts.push(part);
    }
    Ok(parts)
}

/// What the parts make together.
#[derive(Debug)]
struct Made {
    size: u64,
    etag: String,
    checksum: Option<object::Checksum>,
}

impl Made {
    fn of(upload: &UploadRecord, parts: &[&PartRecord]) -> S3Result<Self> {
        let size: u64 = parts.iter().map(|part| part.size).sum();
        if size > MAX_OBJECT_BYTES {
            return Err(S3Error::new(S3Code::EntityTooLarge));
        }
        let md5s: Result<Vec<[u8; 16]>, _> = parts
            .iter()
            .map(|part| {
                let mut md5 = [0; 16];
                hex::decode_to_slice(&part.etag, &mut md5).map(|()| md5)
            })
            .collect();
        Ok(Self {
            size,
            etag: multipart_etag(&md5s.map_err(S3Error::internal)?),
            checksum: combine(upload, parts),
        })
    }

    /// Compares with what the client says of the whole.
    fn check(
        &self,
        expected: &[(ChecksumAlgorithm, String)],
        kind: Option<ChecksumType>,
        size: Option<&str>,
    ) -> S3Result<()> {
        if let Some(size) = size
            && size.parse() != Ok(self.size)
        {
            let why = "The provided 'x-amz-mp-object-size' header does not match what was computed.";
            return Err(S3Error::with(S3Code::InvalidRequest, why));
        }
        if kind.is_some_and(|kind| self.checksum.as_ref().is_some_and(|made| made.kind != kind)) {
            return Err(S3Error::with(
                S3Code::InvalidRequest,
                "The upload was created with another checksum type",
            ));
        }
        for (algorithm, value) in expected {
            let algorithm = checksums::to_index(*algorithm);
            let matches = |made: &object::Checksum| made.algorithm == algorithm && made.value == *value;
            if !self.checksum.as_ref().is_some_and(matches) {
                return Err(S3Error::new(S3Code::BadDigest));
            }
        }
        Ok(())
    }
}

/// The checksum of the whole from those of its parts: of the upload's kind, or, if it has none, of the CRC that
/// all parts happen to have.
fn combine(upload: &UploadRecord, parts: &[&PartRecord]) -> Option<object::Checksum> {
    let of_parts: Option<Vec<(Checksum, u64)>> = parts
        .iter()
        .map(|part| {
            let known = part.checksums.first()?;
            let algorithm = checksums::of_index(known.algorithm);
            Checksum::from_base64(algorithm, &known.value).map(|checksum| (checksum, part.size))
        })
        .collect();
    let of_parts = of_parts?;
    let (algorithm, kind) = match upload.checksum {
        Some((algorithm, kind)) => (checksums::of_index(algorithm), kind),
        None => (of_parts.first()?.0.algorithm(), ChecksumType::FullObject),
    };
    let value = match kind {
        ChecksumType::FullObject => full_object_checksum(algorithm, &of_parts)?.to_base64(),
        ChecksumType::Composite => {
            let values: Vec<Checksum> = of_parts.into_iter().map(|(checksum, _)| checksum).collect();
            composite_checksum(algorithm, &values)?
        }
    };
    Some(object::Checksum { algorithm: checksums::to_index(algorithm), kind, value })
}

/// Takes the checksums of the object out of the headers.
fn take_checksums(headers: &mut HeaderMap) -> Vec<(ChecksumAlgorithm, String)> {
    headers.remove("x-amz-sdk-checksum-algorithm");
    let mut taken = Vec::new();
    for algorithm in ChecksumAlgorithm::ALL {
        if let Some(value) = headers.remove(algorithm.header()) {
            taken.push((algorithm, value.to_str().unwrap_or_default().to_owned()));
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::ChecksumSet;
    use meta::object::UploadId;

    fn record(number: u16, data: &[u8]) -> PartRecord {
        let mut sums = ChecksumSet::new(ChecksumAlgorithm::Crc32, false);
        sums.update(data);
        let digest = sums.finish();
        PartRecord {
            number,
            size: data.len() as u64,
            etag: digest.etag(),
            last_modified_ms: 0,
            checksums: vec![checksums::whole(digest.checksum)],
            extents: vec![],
        }
    }

    fn upload(checksum: Option<(object::ChecksumAlgorithm, ChecksumType)>) -> UploadRecord {
        UploadRecord {
            id: UploadId([0; 16]),
            key: "k".to_owned(),
            owner: "o".to_owned(),
            initiated_ms: 0,
            headers: StoredHeaders::default(),
            user_metadata: vec![],
            checksum,
        }
    }

    fn body(parts: &[(i64, &str)]) -> String {
        let parts: String = parts
            .iter()
            .map(|(number, etag)| {
                format!("<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>")
            })
            .collect();
        format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
    }

    #[test]
    fn lists_are_checked() {
        let big = vec![7; usize::try_from(MIN_PART_BYTES).unwrap()];
        let parts = [record(1, b"small"), record(2, &big), record(5, b"last")];
        let etags: Vec<String> = parts.iter().map(|part| part.etag.clone()).collect();
        let stored: HashMap<u16, PartRecord> = parts.into_iter().map(|part| (part.number, part)).collect();
        let check = |asked: &[(i64, &str)]| {
            let asked = parse(body(asked).as_bytes()).map_err(|error| error.code())?;
            check_parts(&asked, &stored).map(|parts| parts.len()).map_err(|error| error.code())
        };
        assert_eq!(check(&[(2, &etags[1]), (5, &etags[2])]), Ok(2));
        assert_eq!(check(&[(1, &etags[0])]), Ok(1));
        assert_eq!(check(&[(1, &etags[0]), (2, &etags[1])]), Err(S3Code::EntityTooSmall));
        assert_eq!(check(&[(5, &etags[2]), (2, &etags[1])]), Err(S3Code::InvalidPartOrder));
        assert_eq!(check(&[(2, &etags[1]), (2, &etags[1])]), Err(S3Code::InvalidPartOrder));
        assert_eq!(check(&[(2, &etags[0])]), Err(S3Code::InvalidPart));
        assert_eq!(check(&[(3, &etags[0])]), Err(S3Code::InvalidPart));
        assert_eq!(check(&[(0, "x")]), Err(S3Code::InvalidArgument));
        assert_eq!(check(&[(10_001, "x")]), Err(S3Code::InvalidArgument));
        assert_eq!(check(&[]), Err(S3Code::MalformedXML));
    }

    #[test]
    fn wholes_follow_from_parts() {
        let (a, b) = (record(1, b"hello "), record(2, b"world"));
        let whole = record(1, b"hello world");
        let none = Made::of(&upload(None), &[&a, &b]).unwrap();
        assert_eq!(none.checksum, Some(whole.checksums[0].clone()));
        assert!(none.etag.ends_with("-2") && none.size == 11);
        let composite = upload(Some((object::ChecksumAlgorithm::Crc32, ChecksumType::Composite)));
        let made = Made::of(&composite, &[&a, &b]).unwrap();
        assert!(made.checksum.unwrap().value.ends_with("-2"));
        let check = |value: &str| {
            let expected = [(ChecksumAlgorithm::Crc32, value.to_owned())];
            none.check(&expected, Some(ChecksumType::FullObject), Some("11")).map_err(|error| error.code())
        };
        assert_eq!(check(&whole.checksums[0].value), Ok(()));
        assert_eq!(check("AAAAAA=="), Err(S3Code::BadDigest));
        assert!(none.check(&[], None, Some("12")).is_err());
    }
}
