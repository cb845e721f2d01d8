//! One body, read piece by piece and verified as a whole.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;

use super::checksum::{ChecksumSet, PayloadDigest};
use super::chunked::ChunkedDecoder;
use super::expect::Expectations;
use super::plan::BodyPlan;
use crate::error::{S3Code, S3Error, S3Result};
use crate::limits::BODY_TIMEOUT;

/// Hands out a body's data as it arrives; its verdict comes at the end.
///
/// Whoever stores the data must not make it visible before [`PayloadReader::finish`] gave a digest: only
/// then are length, signatures and checksums known to hold.
pub struct PayloadReader<B> {
    body: B,
    input: Bytes,
    framing: Framing,
    sums: Option<ChecksumSet>,
    expect: Expectations,
    length: Option<u64>,
    max: u64,
    received: u64,
    digest: Option<PayloadDigest>,
}

enum Framing {
    Plain,
    Chunked(ChunkedDecoder),
    Ended,
}

impl<B> PayloadReader<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(plan: BodyPlan, body: B) -> PayloadReader<B> {
        let mode = plan.payload.mode();
        let framing = if mode.is_streaming() {
            // The plan refuses a streaming body without a length; zero would only refuse all data.
            let length = plan.length.unwrap_or(0);
            Framing::Chunked(ChunkedDecoder::new(length, plan.payload.into_signer(), plan.expect.trailer))
        } else {
            Framing::Plain
        };
        PayloadReader {
            body,
            input: Bytes::new(),
            framing,
            sums: Some(ChecksumSet::new(plan.checksum, plan.expect.sha256.is_some())),
            expect: plan.expect,
            length: plan.length,
            max: plan.max,
            received: 0,
            digest: None,
        }
    }

    /// The next piece of data, never empty; `None` once all came and verified.
    ///
    /// Errors: `IncompleteBody` if the connection ended early, `RequestTimeout` if it fell silent, and all
    /// that can be wrong with the data. After an error the body must be given up, with the connection.
    pub async fn next(&mut self) -> S3Result<Option<Bytes>> {
        loop {
            if let Some(data) = self.decode()? {
                self.received += data.len() as u64;
                if self.received > self.length.unwrap_or(self.max) {
                    return Err(self.too_long());
                }
                if let Some(sums) = &mut self.sums {
                    sums.update(&data);
                }
                return Ok(Some(data));
            }
            let frame = match tokio::time::timeout(BODY_TIMEOUT, self.body.frame()).await {
                Err(_) => return Err(S3Error::new(S3Code::RequestTimeout)),
                Ok(None) => {
                    self.end()?;
                    return Ok(None);
                }
                Ok(Some(Err(error))) => {
                    let error: Box<dyn std::error::Error + Send + Sync> = error.into();
                    return Err(S3Error::new(S3Code::IncompleteBody).source(error));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            // HTTP's own trailers mean nothing in S3.
            if let Ok(data) = frame.into_data() {
                self.input = data;
            }
        }
    }

    /// The digest of a body that was read to its end.
    ///
    /// Errors: `IncompleteBody` if it was not.
    pub fn finish(self) -> S3Result<PayloadDigest> {
        self.digest.ok_or_else(|| S3Error::new(S3Code::IncompleteBody))
    }

    /// The whole body of a small document. Memory is bounded by the plan's maximum.
    pub async fn collect(mut self) -> S3Result<(Bytes, PayloadDigest)> {
        let mut all = BytesMut::new();
        while let Some(data) = self.next().await? {
            all.extend_from_slice(&data);
        }
        Ok((all.freeze(), self.finish()?))
    }

    fn decode(&mut self) -> S3Result<Option<Bytes>> {
        if self.input.is_empty() {
            return Ok(None);
        }
        match &mut self.framing {
            Framing::Plain => Ok(Some(std::mem::take(&mut self.input))),
            Framing::Chunked(decoder) => decoder.push(&mut self.input),
            Framing::Ended => Ok(None),
        }
    }

    fn end(&mut self) -> S3Result<()> {
        match std::mem::replace(&mut self.framing, Framing::Ended) {
            Framing::Chunked(decoder) => {
                if let Some(checksum) = decoder.finish()? {
                    self.expect.checksum = Some(checksum);
                }
            }
            Framing::Plain => {}
            Framing::Ended => return Ok(()),
        }
        if self.length.is_some_and(|length| length != self.received) {
            return Err(S3Error::new(S3Code::IncompleteBody));
        }
        if let Some(sums) = self.sums.take() {
            let digest = sums.finish();
            self.expect.verify(&digest)?;
            self.digest = Some(digest);
        }
        Ok(())
    }

    fn too_long(&self) -> S3Error {
        match self.length {
            Some(_) => S3Error::new(S3Code::IncompleteBody),
            None => S3Error::new(S3Code::MaxMessageLengthExceeded),
        }
    }
}
