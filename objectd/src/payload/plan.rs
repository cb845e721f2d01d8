//! From a request's head to a reader of its body.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::request::Parts;

use super::checksum::ChecksumAlgorithm;
use super::expect::Expectations;
use super::mode::PayloadAuth;
use super::reader::PayloadReader;
use crate::auth::single_header;
use crate::error::{S3Code, S3Error, S3Result};
use crate::limits::MAX_PUT_BYTES;

/// The gateway's own choice when a client sends no checksum, as AWS's.
const DEFAULT_CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;

/// How one body will be read and what it must turn out to be. Making it checks all that the head can get
/// wrong, before a byte of the body is asked for.
#[derive(Debug, Clone)]
pub struct BodyPlan {
    pub(super) payload: PayloadAuth,
    pub(super) expect: Expectations,
    pub(super) length: Option<u64>,
    pub(super) max: u64,
    pub(super) checksum: ChecksumAlgorithm,
}

impl BodyPlan {
    /// For an object or a part: its length must be known before.
    ///
    /// Errors: `MissingContentLength`, `EntityTooLarge` past 5 GiB, and whatever is wrong with its checksums.
    pub fn object(parts: &Parts, payload: PayloadAuth) -> S3Result<BodyPlan> {
        let plan = BodyPlan::new(parts, payload, MAX_PUT_BYTES)?;
        match plan.length {
            None => Err(S3Error::new(S3Code::MissingContentLength)),
            Some(length) if length > MAX_PUT_BYTES => Err(S3Error::new(S3Code::EntityTooLarge)
                .extra("ProposedSize", length.to_string())
                .extra("MaxSizeAllowed", MAX_PUT_BYTES.to_string())),
            Some(_) => Ok(plan),
        }
    }

    /// For a small document, such as XML, of at most `max` bytes. Its length may be unknown.
    ///
    /// Errors: `MaxMessageLengthExceeded`, and whatever is wrong with its checksums.
    pub fn document(parts: &Parts, payload: PayloadAuth, max: u64) -> S3Result<BodyPlan> {
        let plan = BodyPlan::new(parts, payload, max)?;
        match plan.length {
            Some(length) if length > max => Err(S3Error::new(S3Code::MaxMessageLengthExceeded)),
            _ => Ok(plan),
        }
    }

    fn new(parts: &Parts, payload: PayloadAuth, max: u64) -> S3Result<BodyPlan> {
        let expect = Expectations::from_head(&parts.headers, payload.mode())?;
        let length = if payload.mode().is_streaming() {
            let name = HeaderName::from_static("x-amz-decoded-content-length");
            let length = length_header(parts, &name)?.ok_or_else(|| {
                S3Error::with(
                    S3Code::MissingContentLength,
                    "You must provide the x-amz-decoded-content-length HTTP header.",
                )
            })?;
            Some(length)
        } else {
            match length_header(parts, &CONTENT_LENGTH)? {
                // A request with neither has no body: HTTP/1.1.
                None if !parts.headers.contains_key(TRANSFER_ENCODING) && max < MAX_PUT_BYTES => Some(0),
                length => length,
            }
        };
        let checksum = expect.algorithm().unwrap_or(DEFAULT_CHECKSUM);
        Ok(BodyPlan { payload, expect, length, max, checksum })
    }

    /// Bytes of the body once its framing is undone. Known for objects; the body is held to it.
    pub fn decoded_len(&self) -> Option<u64> {
        self.length
    }

    /// The checksum algorithm the client chose, if it did.
    pub fn chosen_checksum(&self) -> Option<ChecksumAlgorithm> {
        self.expect.algorithm()
    }

    /// Whether the client sends a checksum of the body beside its signature's.
    pub fn has_checksum(&self) -> bool {
        self.expect.md5.is_some() || self.expect.algorithm().is_some()
    }

    /// What to compute if the client chose nothing: a part follows its upload.
    #[must_use]
    pub fn with_default_checksum(mut self, algorithm: ChecksumAlgorithm) -> BodyPlan {
        self.checksum = self.expect.algorithm().unwrap_or(algorithm);
        self
    }

    /// Starts reading `body`.
    pub fn reader<B>(self, body: B) -> PayloadReader<B>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        PayloadReader::new(self, body)
    }
}

fn length_header(parts: &Parts, name: &HeaderName) -> S3Result<Option<u64>> {
    let Some(text) = single_header(&parts.headers, name)? else { return Ok(None) };
    // `parse` alone would take a plus sign.
    let number = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    number.map(Some).ok_or_else(|| {
        S3Error::with(S3Code::InvalidArgument, "A length must be a number")
            .extra("ArgumentName", name.as_str())
            .extra("ArgumentValue", text)
    })
}

/// A `Content-Encoding` without `aws-chunked`, which is a framing and is never stored. `None` if nothing
/// else was in it.
pub fn strip_aws_chunked(content_encoding: &str) -> Option<String> {
    let kept: Vec<&str> = content_encoding
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

#[cfg(test)]
mod tests {
    use super::strip_aws_chunked;

    #[test]
    fn aws_chunked_is_not_an_encoding_to_store() {
        assert_eq!(strip_aws_chunked("aws-chunked"), None);
        assert_eq!(strip_aws_chunked("AWS-Chunked, gzip"), Some("gzip".to_owned()));
        assert_eq!(strip_aws_chunked("gzip,aws-chunked"), Some("gzip".to_owned()));
        assert_eq!(strip_aws_chunked("gzip"), Some("gzip".to_owned()));
        assert_eq!(strip_aws_chunked(""), None);
    }
}
