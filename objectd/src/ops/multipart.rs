//! CreateMultipartUpload, UploadPart, ListParts, AbortMultipartUpload.

use super::acl;
use super::checksums;
use super::commit::commit;
use super::put::{Data, receive_logged};
use crate::annotations;
use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::http_date;
use crate::limits::{MAX_PAGE, MAX_PART_NUMBER};
use crate::listing::{self, Encoding};
use crate::objectlog::Pending;
use crate::payload::{BodyPlan, ChecksumAlgorithm, PayloadDigest};
use crate::room;
use crate::service::S3Request;
use crate::sse::cipher::PartKey;
use crate::sse::{self, Name, Opened, Origin, Seal, Shown, Transport};
use crate::stored_headers::{refuse_unserved, refuse_unserved_of_object, stored_headers, user_metadata};
use crate::target::{filled, number};
use crate::xml::XmlWriter;
use axum::body::Body;
use http::header::ETAG;
use http::{HeaderName, Response, StatusCode};
use meta::object::{ChecksumType, PartRecord, UploadId, UploadRecord};
use meta::quota::Incoming;
use meta::sealing::PartSalt;
use rt::rng::{Rng, SystemRng};
use std::sync::Arc;

pub async fn create(shared: &Arc<Shared>, request: &S3Request) -> S3Result<Response<Body>> {
    let (bucket, key) = request.object()?;
    let headers = &request.parts.headers;
    refuse_unserved_of_object(headers)?;
    let mut annotations = annotations::of_headers(headers, shared.now_ms())?;
    annotations.acl = acl::of_new(shared, &request.granted, headers).await?;
    let chosen = chosen_checksum(request)?;
    let upload = UploadRecord {
        id: UploadId(SystemRng.id()),
        key: key.to_owned(),
        owner: request.principal.require()?.to_owned(),
        initiated_ms: shared.now_ms(),
        headers: stored_headers(headers)?,
        user_metadata: user_metadata(headers)?,
        checksum: chosen.map(|(algorithm, kind)| (checksums::to_index(algorithm), kind)),
    };
    let id = upload.id;
    let said = (headers, Transport::of(&request.parts));
    let seal = Seal::of_new(shared, said, request.granted.bucket()?, key, Origin::Clear).await?;
    let (sealing, shown) = seal.map_or((None, Shown::Plain), |seal| (Some(seal.sealing), seal.shown));
    let created = shared.meta.create_sealed_upload(bucket, (upload, sealing), annotations).await;
    created.map_err(fault::meta)?;
    let mut xml = XmlWriter::new("InitiateMultipartUploadResult");
    xml.text("Bucket", bucket);
    xml.text("Key", key);
    xml.text("UploadId", &id.to_string());
    let mut answer = answer::xml(xml);
    shown.show(&mut answer);
    if let Some((algorithm, kind)) = chosen {
        answer::set(&mut answer, HeaderName::from_static("x-amz-checksum-algorithm"), algorithm.name());
        answer::set(&mut answer, HeaderName::from_static("x-amz-checksum-type"), checksums::type_name(kind));
    }
    Ok(answer)
}

/// The checksum algorithm and type that an upload is to have.
fn chosen_checksum(request: &S3Request) -> S3Result<Option<(ChecksumAlgorithm, ChecksumType)>> {
    let algorithm =
        request.header("x-amz-checksum-algorithm")?.map(checksums::algorithm_from_name).transpose()?;
    let kind = request.header("x-amz-checksum-type")?.map(checksums::type_from_name).transpose()?;
    check_choice(algorithm, kind)
}

fn check_choice(
    algorithm: Option<ChecksumAlgorithm>,
    kind: Option<ChecksumType>,
) -> S3Result<Option<(ChecksumAlgorithm, ChecksumType)>> {
    let Some(algorithm) = algorithm else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(S3Error::with(
                S3Code::InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let default = if algorithm == ChecksumAlgorithm::Crc64Nvme {
        ChecksumType::FullObject
    } else {
        ChecksumType::Composite
    };
    let kind = kind.unwrap_or(default);
    let possible = match kind {
        ChecksumType::FullObject => algorithm.is_crc(),
        ChecksumType::Composite => algorithm != ChecksumAlgorithm::Crc64Nvme,
    };
    if possible {
        return Ok(Some((algorithm, kind)));
    }
    let (kind, name) = (checksums::type_name(kind), algorithm.name().to_lowercase());
    let why = format!("The {kind} checksum type cannot be used with the {name} checksum algorithm.");
    Err(S3Error::with(S3Code::InvalidRequest, why))
}

pub async fn part(shared: &Arc<Shared>, request: S3Request) -> S3Result<Response<Body>> {
    let (slot, upload, key) = open_slot(shared, &request).await?;
    refuse_unserved(&request.parts.headers)?;
    let mut plan = BodyPlan::object(&request.parts, request.payload)?;
    if let Some((algorithm, _)) = upload.checksum {
        let expected = checksums::of_index(algorithm);
        match plan.chosen_checksum() {
            Some(actual) if actual != expected => return Err(other_algorithm(expected, actual)),
            _ => plan = plan.with_default_checksum(expected),
        }
    }
    let len = plan.decoded_len().ok_or_else(|| S3Error::new(S3Code::MissingContentLength))?;
    slot.check_room(shared, len).await?;
    let received = receive_logged(shared, (plan.reader(request.body), len), key).await?;
    let Data::Logged(pending) = received.data else {
        return Err(S3Error::internal("a part was not kept in the log"));
    };
    let shown = slot.shown;
    let part = store(shared, slot, pending, received.digest).await?;
    let mut answer = answer::empty(StatusCode::OK);
    shown.show(&mut answer);
    answer::set(&mut answer, ETAG, &answer::quoted(&part.etag));
    for checksum in &part.checksums {
        checksums::set_header(&mut answer, checksum.algorithm, &checksum.value);
    }
    Ok(answer)
}

fn other_algorithm(expected: ChecksumAlgorithm, actual: ChecksumAlgorithm) -> S3Error {
    let (expected, actual) = (expected.name().to_lowercase(), actual.name().to_lowercase());
    let why = format!(
        "Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}"
    );
    S3Error::with(S3Code::InvalidRequest, why)
}

/// Where a part goes.
pub struct Slot {
    bucket: String,
    key: String,
    upload: UploadId,
    number: u16,
    /// Of an upload that is encrypted.
    salt: Option<PartSalt>,
    pub shown: Shown,
}

impl Slot {
    /// Errors: `QuotaExceeded`, if so many bytes would be refused in the end.
    pub async fn check_room(&self, shared: &Shared, bytes: u64) -> S3Result<()> {
        let (key, upload, number) = (self.key.clone(), self.upload, self.number);
        room::check(shared, &self.bucket, Incoming::Part { key, upload, number }, bytes).await
    }
}

/// The slot that a request names, its upload, which must exist (nothing is read for one that does not), and what the
/// part is encrypted with.
pub async fn open_slot(
    shared: &Shared,
    request: &S3Request,
) -> S3Result<(Slot, UploadRecord, Option<PartKey>)> {
    let (bucket, key) = request.object()?;
    let text = request.query.get("partNumber").unwrap_or_default();
    let number: u16 =
        text.parse().ok().filter(|n| (1..=MAX_PART_NUMBER).contains(&u32::from(*n))).ok_or_else(|| {
            S3Error::with(
                S3Code::InvalidArgument,
                "Part number must be an integer between 1 and 10000, inclusive",
            )
            .extra("ArgumentName", "partNumber")
            .extra("ArgumentValue", text)
        })?;
    let upload = upload_id(request)?;
    let (record, sealing) = shared.meta.open_upload(bucket, key, upload).await.map_err(fault::meta)?;
    let customer = sse::of_existing(&request.parts.headers, Transport::of(&request.parts))?;
    let opened = Opened::of_upload(shared, sealing.as_ref(), Name { bucket, key }, customer.as_ref())?;
    let (salt, part_key) = opened.new_part().unzip();
    let (bucket, key, shown) = (bucket.to_owned(), key.to_owned(), opened.shown);
    Ok((Slot { bucket, key, upload, number, salt, shown }, record, part_key))
}

/// Makes what was received a part of its upload.
pub async fn store(
    shared: &Arc<Shared>,
    slot: Slot,
    pending: Pending,
    digest: PayloadDigest,
) -> S3Result<PartRecord> {
    let part = PartRecord {
        number: slot.number,
        size: digest.length_bytes,
        etag: digest.etag(),
        last_modified_ms: shared.now_ms(),
        checksums: vec![checksums::whole(digest.checksum)],
        extents: pending.extents().to_vec(),
    };
    let (meta, stored) = (shared.meta.clone(), part.clone());
    let change = async move {
        let at = (slot.bucket.as_str(), slot.key.as_str(), slot.upload);
        meta.put_sealed_part(at, stored, slot.salt).await
    };
    commit(shared, Some(pending), change).await?;
    Ok(part)
}

/// The request's upload id. One that could be none is of no upload.
pub fn upload_id(request: &S3Request) -> S3Result<UploadId> {
    let text = request.query.get("uploadId").unwrap_or_default();
    text.parse().map_err(|_| S3Error::new(S3Code::NoSuchUpload).extra("UploadId", text))
}

pub async fn abort(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let (bucket, key) = request.object()?;
    shared.meta.abort_upload(bucket, key, upload_id(request)?).await.map_err(fault::meta)?;
    shared.log.garbage_made();
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

pub async fn list(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let (bucket, key) = request.object()?;
    let query = &request.query;
    let id = upload_id(request)?;
    let page_size = u32::try_from(MAX_PAGE).unwrap_or(u32::MAX);
    let limit = number(query, "max-parts", page_size)?.unwrap_or(page_size);
    let after = number(query, "part-number-marker", MAX_PART_NUMBER)?.unwrap_or(0);
    let encoding = Encoding::of(query)?;
    let marker = u16::try_from(after).unwrap_or(u16::MAX);
    let page = shared.meta.list_parts((bucket, key, id), marker, limit.max(1)).await.map_err(fault::meta)?;
    let (parts, next) = if limit == 0 { (Vec::new(), None) } else { (page.parts, page.next) };
    let mut xml = XmlWriter::new("ListPartsResult");
    xml.text("Bucket", bucket);
    xml.text("Key", &encoding.encode(key));
    xml.text("UploadId", filled(query, "uploadId").unwrap_or_default());
    listing::owner(&mut xml, "Initiator", &page.upload.owner);
    listing::owner(&mut xml, "Owner", &request.granted.bucket()?.record.owner);
    xml.text("StorageClass", "STANDARD");
    xml.value("PartNumberMarker", after);
    if let Some(next) = next {
        xml.value("NextPartNumberMarker", next);
    }
    xml.value("MaxParts", limit);
    encoding.write(&mut xml);
    xml.value("IsTruncated", next.is_some());
    checksums::write_kind(&mut xml, page.upload.checksum);
    for part in &parts {
        xml.start("Part");
        xml.value("PartNumber", part.number);
        xml.text("LastModified", &http_date::iso(part.last_modified_ms));
        xml.text("ETag", &answer::quoted(&part.etag));
        xml.value("Size", part.size);
        checksums::write_values(&mut xml, &part.checksums);
        xml.end();
    }
    Ok(answer::xml(xml))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChecksumAlgorithm::{Crc32, Crc64Nvme, Sha256};
    use ChecksumType::{Composite, FullObject};

    #[test]
    fn checksum_choices() {
        let choose = |algorithm, kind| check_choice(algorithm, kind).map_err(|error| error.code());
        assert_eq!(choose(None, None), Ok(None));
        assert_eq!(choose(Some(Crc32), None), Ok(Some((Crc32, Composite))));
        assert_eq!(choose(Some(Crc64Nvme), None), Ok(Some((Crc64Nvme, FullObject))));
        assert_eq!(choose(Some(Crc32), Some(FullObject)), Ok(Some((Crc32, FullObject))));
        let bad =
            [(None, Some(Composite)), (Some(Sha256), Some(FullObject)), (Some(Crc64Nvme), Some(Composite))];
        for (algorithm, kind) in bad {
            assert_eq!(choose(algorithm, kind), Err(S3Code::InvalidRequest));
        }
    }
}
