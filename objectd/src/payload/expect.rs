//! The checksums that a request's head declares.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use http::header::HeaderName;

use super::checksum::{Checksum, ChecksumAlgorithm, PayloadDigest};
use super::mode::PayloadMode;
use crate::auth::single_header;
use crate::error::{S3Code, S3Error, S3Result};

/// What the body must turn out to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expectations {
    pub md5: Option<[u8; 16]>,
    pub sha256: Option<[u8; 32]>,
    /// From a header.
    pub checksum: Option<Checksum>,
    /// Announced to come in the trailer.
    pub trailer: Option<ChecksumAlgorithm>,
}

impl Expectations {
    /// Errors: `InvalidDigest`, `InvalidRequest` for values and combinations that S3 does not know.
    pub fn from_head(headers: &HeaderMap, mode: PayloadMode) -> S3Result<Expectations> {
        let checksum = checksum_header(headers)?;
        let trailer = announced_trailer(headers, mode)?;
        if checksum.is_some() && trailer.is_some() {
            return Err(several());
        }
        check_sdk_algorithm(headers, checksum.map(Checksum::algorithm).or(trailer))?;
        let sha256 = match mode {
            PayloadMode::Sha256(hash) => Some(hash),
            _ => None,
        };
        Ok(Expectations { md5: content_md5(headers)?, sha256, checksum, trailer })
    }

    /// The algorithm the client chose, if it did.
    pub fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.checksum.map(Checksum::algorithm).or(self.trailer)
    }

    /// Compares with what came. Errors: `BadDigest`, `XAmzContentSHA256Mismatch`.
    pub fn verify(&self, digest: &PayloadDigest) -> S3Result<()> {
        if let Some(expected) = self.sha256.filter(|expected| digest.sha256 != Some(*expected)) {
            return Err(S3Error::new(S3Code::XAmzContentSHA256Mismatch)
                .extra("ClientComputedContentSHA256", hex::encode(expected))
                .extra("S3ComputedContentSHA256", hex::encode(digest.sha256.unwrap_or_default())));
        }
        if let Some(expected) = self.md5.filter(|expected| digest.md5 != *expected) {
            return Err(S3Error::with(
                S3Code::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            )
            .extra("ExpectedDigest", BASE64.encode(expected))
            .extra("CalculatedDigest", BASE64.encode(digest.md5)));
        }
        match self.checksum {
            Some(expected) if expected != digest.checksum => Err(S3Error::with(
                S3Code::BadDigest,
                format!(
                    "The {} you specified did not match the calculated checksum.",
                    expected.algorithm().name()
                ),
            )),
            _ => Ok(()),
        }
    }
}

fn content_md5(headers: &HeaderMap) -> S3Result<Option<[u8; 16]>> {
    let Some(text) = single_header(headers, &HeaderName::from_static("content-md5"))? else {
        return Ok(None);
    };
    let md5 = BASE64.decode(text.trim()).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    md5.map(Some).ok_or_else(|| {
        S3Error::with(S3Code::InvalidDigest, "The Content-MD5 you specified was invalid.")
            .extra("Content-MD5", text)
    })
}

fn checksum_header(headers: &HeaderMap) -> S3Result<Option<Checksum>> {
    let mut found = None;
    for algorithm in ChecksumAlgorithm::ALL {
        let name = HeaderName::from_static(algorithm.header());
        let Some(text) = single_header(headers, &name)? else { continue };
        let checksum = Checksum::from_base64(algorithm, text.trim()).ok_or_else(|| {
            S3Error::with(
                S3Code::InvalidRequest,
                format!("Value for {} header is invalid.", algorithm.header()),
            )
        })?;
        if found.replace(checksum).is_some() {
            return Err(several());
        }
    }
    Ok(found)
}

fn several() -> S3Error {
    S3Error::with(
        S3Code::InvalidRequest,
        "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
    )
}

fn announced_trailer(headers: &HeaderMap, mode: PayloadMode) -> S3Result<Option<ChecksumAlgorithm>> {
    let announced = single_header(headers, &HeaderName::from_static("x-amz-trailer"))?;
    match (announced, mode.has_trailer()) {
        (None, false) => Ok(None),
        (Some(text), true) => ChecksumAlgorithm::from_header(text.trim()).map(Some).ok_or_else(|| {
            S3Error::with(
                S3Code::InvalidRequest,
                "The value specified in the x-amz-trailer header is not supported",
            )
        }),
        (None, true) => Err(S3Error::with(
            S3Code::InvalidRequest,
            "A payload with a trailer needs an x-amz-trailer header that names its checksum",
        )),
        (Some(_), false) => Err(S3Error::with(
            S3Code::InvalidRequest,
            "An x-amz-trailer header needs a payload mode with a trailer in x-amz-content-sha256",
        )),
    }
}

fn check_sdk_algorithm(headers: &HeaderMap, given: Option<ChecksumAlgorithm>) -> S3Result<()> {
    let Some(text) = single_header(headers, &HeaderName::from_static("x-amz-sdk-checksum-algorithm"))? else {
        return Ok(());
    };
    let invalid =
        || S3Error::with(S3Code::InvalidRequest, "Value for x-amz-sdk-checksum-algorithm header is invalid.");
    let named = ChecksumAlgorithm::from_name(text.trim());
    match given {
        // SDKs name MD5 when they send Content-MD5 in place of a checksum.
        None if text.trim().eq_ignore_ascii_case("MD5") && headers.contains_key("content-md5") => Ok(()),
        None => Err(S3Error::with(
            S3Code::InvalidRequest,
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
             headers were found.",
        )),
        Some(given) if named == Some(given) => Ok(()),
        Some(_) => Err(invalid()),
    }
}
