//! Checksums between the payload's types, the index's, and what clients see.

use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::payload::{Checksum, ChecksumAlgorithm};
use crate::xml::XmlWriter;
use axum::body::Body;
use http::{HeaderName, Response};
use meta::object::{self, ChecksumType};

/// An algorithm as the index keeps it.
pub fn to_index(algorithm: ChecksumAlgorithm) -> object::ChecksumAlgorithm {
    match algorithm {
        ChecksumAlgorithm::Crc32 => object::ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32c => object::ChecksumAlgorithm::Crc32c,
        ChecksumAlgorithm::Crc64Nvme => object::ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1 => object::ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256 => object::ChecksumAlgorithm::Sha256,
    }
}

/// An algorithm that the index kept.
pub fn of_index(algorithm: object::ChecksumAlgorithm) -> ChecksumAlgorithm {
    match algorithm {
        object::ChecksumAlgorithm::Crc32 => ChecksumAlgorithm::Crc32,
        object::ChecksumAlgorithm::Crc32c => ChecksumAlgorithm::Crc32c,
        object::ChecksumAlgorithm::Crc64Nvme => ChecksumAlgorithm::Crc64Nvme,
        object::ChecksumAlgorithm::Sha1 => ChecksumAlgorithm::Sha1,
        object::ChecksumAlgorithm::Sha256 => ChecksumAlgorithm::Sha256,
    }
}

/// A checksum of a whole body, as the index keeps it.
pub fn whole(checksum: Checksum) -> object::Checksum {
    object::Checksum {
        algorithm: to_index(checksum.algorithm()),
        kind: ChecksumType::FullObject,
        value: checksum.to_base64(),
    }
}

/// `FULL_OBJECT` or `COMPOSITE`.
pub fn type_name(kind: ChecksumType) -> &'static str {
    match kind {
        ChecksumType::FullObject => "FULL_OBJECT",
        ChecksumType::Composite => "COMPOSITE",
    }
}

/// The type with this name.
pub fn type_from_name(name: &str) -> S3Result<ChecksumType> {
    match name {
        "FULL_OBJECT" => Ok(ChecksumType::FullObject),
        "COMPOSITE" => Ok(ChecksumType::Composite),
        _ => Err(S3Error::with(S3Code::InvalidRequest, "Value for x-amz-checksum-type header is invalid.")),
    }
}

/// The algorithm of an `x-amz-checksum-algorithm` header.
pub fn algorithm_from_name(name: &str) -> S3Result<ChecksumAlgorithm> {
    ChecksumAlgorithm::from_name(name).ok_or_else(|| {
        S3Error::with(
            S3Code::InvalidRequest,
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, \
             CRC32C, CRC64NVME, SHA1, SHA256]",
        )
    })
}

/// Shows one checksum in an answer's headers, without its type: parts' have none.
pub fn set_header(answer: &mut Response<Body>, algorithm: object::ChecksumAlgorithm, value: &str) {
    answer::set(answer, HeaderName::from_static(of_index(algorithm).header()), value);
}

/// Shows checksums in an answer's headers.
pub fn set_headers(answer: &mut Response<Body>, checksums: &[object::Checksum]) {
    for checksum in checksums {
        set_header(answer, checksum.algorithm, &checksum.value);
        answer::set(answer, HeaderName::from_static("x-amz-checksum-type"), type_name(checksum.kind));
    }
}

/// Shows checksums in a document, with their type.
pub fn write(xml: &mut XmlWriter, checksums: &[object::Checksum]) {
    write_values(xml, checksums);
    if let Some(checksum) = checksums.first() {
        xml.text("ChecksumType", type_name(checksum.kind));
    }
}

/// Shows which checksum something has or will have, in a list.
pub fn write_kind(xml: &mut XmlWriter, kind: Option<(object::ChecksumAlgorithm, ChecksumType)>) {
    if let Some((algorithm, kind)) = kind {
        xml.text("ChecksumAlgorithm", of_index(algorithm).name());
        xml.text("ChecksumType", type_name(kind));
    }
}

/// Shows checksums in a document, without their type: parts' have none.
pub fn write_values(xml: &mut XmlWriter, checksums: &[object::Checksum]) {
    for checksum in checksums {
        xml.text(of_index(checksum.algorithm).element(), &checksum.value);
    }
}
