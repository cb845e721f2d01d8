//! The `aws-chunked` framing, undone without I/O.
//!
//! Data is handed out as it comes, before its chunk's signature could be checked: memory stays bounded
//! whatever a chunk's size, and nothing is visible until [`ChunkedDecoder::finish`] has said that all of it
//! verified.
//!
//! Source: S3 API reference, "Signature Calculations for the Authorization Header: Transferring Payload in
//! Multiple Chunks" and "... with trailing headers".

use bytes::{Buf, Bytes};
use sha2::{Digest as _, Sha256};

use super::checksum::{Checksum, ChecksumAlgorithm};
use super::limits::{MAX_CHUNK_LINE_BYTES, MAX_TRAILER_BYTES, MIN_SIGNED_CHUNK_BYTES};
use crate::auth::ChunkSigner;
use crate::error::{S3Code, S3Error, S3Result};

const CHUNK_SIGNATURE: &str = "chunk-signature";
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// Undoes the framing of one body. After an error it must not be used again.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes of data that the head promised and that have not come yet.
    left: u64,
    chunks: Option<SignedChunks>,
    /// The checksum announced to follow the chunks.
    trailer: Option<ChecksumAlgorithm>,
}

#[derive(Debug)]
enum State {
    /// In the line before a chunk's data.
    Line(Vec<u8>),
    /// In a chunk's data, with this much to come.
    Data(u64),
    /// In the CR LF after it; `true` once the CR has come.
    DataEnd(bool),
    /// After the last chunk: its CR LF, or the trailer.
    Tail(Vec<u8>),
}

#[derive(Debug)]
struct SignedChunks {
    signer: ChunkSigner,
    hash: Sha256,
    /// The current chunk's, as it came.
    given: String,
    /// Whether a chunk shorter than the minimum has come: it must have been the last with data.
    short_seen: bool,
}

impl ChunkedDecoder {
    /// `decoded_len` bytes of data must come. With a signer chunks are signed; with a trailer, and a signer,
    /// that is too.
    pub fn new(
        decoded_len: u64,
        signer: Option<ChunkSigner>,
        trailer: Option<ChecksumAlgorithm>,
    ) -> ChunkedDecoder {
        let chunks = signer.map(|signer| SignedChunks {
            signer,
            hash: Sha256::new(),
            given: String::new(),
            short_seen: false,
        });
        ChunkedDecoder { state: State::Line(Vec::new()), left: decoded_len, chunks, trailer }
    }

    /// Takes from `input` until a piece of data is found, which is handed out without a copy, or the input is
    /// used up (`None`). Errors: 4xx for whatever is not this framing or was not signed.
    pub fn push(&mut self, input: &mut Bytes) -> S3Result<Option<Bytes>> {
        while input.has_remaining() {
            match &mut self.state {
                State::Line(line) => {
                    if take_line(line, input)? {
                        let line = std::mem::take(line);
                        self.start_chunk(&line)?;
                    }
                }
                State::Data(to_come) => {
                    let len = usize::try_from(*to_come).unwrap_or(usize::MAX).min(input.len());
                    let data = input.split_to(len);
                    *to_come -= len as u64;
                    let ended = *to_come == 0;
                    self.take_data(&data, ended)?;
                    return Ok(Some(data));
                }
                State::DataEnd(cr_seen) => {
                    let expected = if *cr_seen { b'\n' } else { b'\r' };
                    if input.get_u8() != expected {
                        return Err(malformed("a chunk's data is longer than its size says"));
                    }
                    self.state = if *cr_seen { State::Line(Vec::new()) } else { State::DataEnd(true) };
                }
                State::Tail(tail) => {
                    if tail.len() + input.len() > MAX_TRAILER_BYTES {
                        return Err(malformed_trailer("it is too long"));
                    }
                    tail.extend_from_slice(&input.split_off(0));
                }
            }
        }
        Ok(None)
    }

    /// To be called when the body has ended: verifies that all of it came, and the trailer. Gives the trailer's
    /// checksum, which is still to be compared with the data's.
    pub fn finish(mut self) -> S3Result<Option<Checksum>> {
        let State::Tail(tail) = std::mem::replace(&mut self.state, State::Line(Vec::new())) else {
            return Err(incomplete());
        };
        let Some(algorithm) = self.trailer else {
            // Some writers leave out the last CR LF; nothing hangs on it.
            return match tail.as_slice() {
                b"" | b"\r\n" => Ok(None),
                _ => Err(malformed("bytes follow the last chunk")),
            };
        };
        let signer = self.chunks.as_mut().map(|chunks| &mut chunks.signer);
        read_trailer(&tail, algorithm, signer).map(Some)
    }

    fn start_chunk(&mut self, line: &[u8]) -> S3Result<()> {
        let line = std::str::from_utf8(line).map_err(|_| malformed("a chunk's size is not hexadecimal"))?;
        let (size, extension) = match line.split_once(';') {
            Some((size, extension)) => (size, Some(extension)),
            None => (line, None),
        };
        // `from_str_radix` alone would take a sign.
        let digits_ok = (1..=16).contains(&size.len()) && size.bytes().all(|b| b.is_ascii_hexdigit());
        let size = u64::from_str_radix(size, 16)
            .ok()
            .filter(|_| digits_ok)
            .ok_or_else(|| malformed("a chunk's size is not hexadecimal"))?;
        if size > self.left {
            return Err(wrong_length());
        }
        match (&mut self.chunks, extension) {
            (Some(chunks), Some(extension)) => chunks.start(extension, size)?,
            (Some(_), None) => return Err(unsigned_chunk()),
            (None, Some(_)) => return Err(malformed("an unsigned chunk has an extension")),
            (None, None) => {}
        }
        if size > 0 {
            self.state = State::Data(size);
            return Ok(());
        }
        if self.left > 0 {
            return Err(wrong_length());
        }
        if let Some(chunks) = &mut self.chunks {
            chunks.end()?;
        }
        self.state = State::Tail(Vec::new());
        Ok(())
    }

    fn take_data(&mut self, data: &[u8], ended: bool) -> S3Result<()> {
        self.left -= data.len() as u64;
        if let Some(chunks) = &mut self.chunks {
            chunks.hash.update(data);
            if ended {
                chunks.end()?;
            }
        }
        if ended {
            self.state = State::DataEnd(false);
        }
        Ok(())
    }
}

impl SignedChunks {
    fn start(&mut self, extension: &str, size: u64) -> S3Result<()> {
        let given = extension
            .strip_prefix(CHUNK_SIGNATURE)
            .and_then(|rest| rest.strip_prefix('='))
            .ok_or_else(unsigned_chunk)?;
        if size > 0 && std::mem::replace(&mut self.short_seen, size < MIN_SIGNED_CHUNK_BYTES) {
            return Err(S3Error::new(S3Code::InvalidChunkSizeError));
        }
        given.clone_into(&mut self.given);
        Ok(())
    }

    fn end(&mut self) -> S3Result<()> {
        let hash: [u8; 32] = self.hash.finalize_reset().into();
        if self.signer.chunk_matches(&hash, &self.given) {
            return Ok(());
        }
        Err(S3Error::with(
            S3Code::SignatureDoesNotMatch,
            "The signature we calculated for a chunk does not match the signature you provided.",
        ))
    }
}

/// Moves bytes up to a line's end to `line`; `true` once it is whole, without its CR LF.
fn take_line(line: &mut Vec<u8>, input: &mut Bytes) -> S3Result<bool> {
    let end = input.iter().position(|byte| *byte == b'\n');
    let taken = input.split_to(end.map_or(input.len(), |at| at + 1));
    if line.len() + taken.len() > MAX_CHUNK_LINE_BYTES {
        return Err(malformed("a chunk's size line is too long"));
    }
    line.extend_from_slice(&taken);
    if end.is_none() {
        return Ok(false);
    }
    match line.strip_suffix(b"\r\n").map(<[u8]>::len) {
        Some(len) => line.truncate(len),
        None => return Err(malformed("a chunk's size line does not end in CR LF")),
    }
    Ok(true)
}

/// Reads `name:value` lines: the announced checksum, and its signature where chunks are signed.
///
/// Blank lines and bare LFs are let through: one client library ends the checksum's line in LF and puts CR LF
/// before the signature's.
fn read_trailer(
    tail: &[u8],
    algorithm: ChecksumAlgorithm,
    signer: Option<&mut ChunkSigner>,
) -> S3Result<Checksum> {
    if tail.is_empty() || tail == b"\r\n" {
        return Err(incomplete_trailer());
    }
    let text = std::str::from_utf8(tail).map_err(|_| malformed_trailer("it is not text"))?;
    let text = text.strip_suffix('\n').ok_or_else(|| malformed_trailer("its last line has no end"))?;
    let (mut value, mut signature) = (None, None);
    for line in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
        if line.is_empty() {
            continue;
        }
        let (name, rest) = line.split_once(':').ok_or_else(|| malformed_trailer("a line is not a header"))?;
        let slot = if name == algorithm.header() {
            &mut value
        } else if name == TRAILER_SIGNATURE && signer.is_some() && value.is_some() {
            &mut signature
        } else {
            return Err(malformed_trailer("it has a header that x-amz-trailer did not announce"));
        };
        if slot.replace(rest.trim_start_matches(' ')).is_some() {
            return Err(malformed_trailer("a header is repeated"));
        }
    }
    let value = value.ok_or_else(incomplete_trailer)?;
    if let Some(signer) = signer {
        let signature = signature.ok_or_else(incomplete_trailer)?;
        if !signer.trailer_matches(format!("{}:{value}\n", algorithm.header()).as_bytes(), signature) {
            return Err(S3Error::with(
                S3Code::SignatureDoesNotMatch,
                "The signature we calculated for the trailer does not match the signature you provided.",
            ));
        }
    }
    Checksum::from_base64(algorithm, value).ok_or_else(|| {
        S3Error::with(
            S3Code::InvalidRequest,
            format!("Value for {} trailing header is invalid.", algorithm.header()),
        )
    })
}

fn malformed(what: &'static str) -> S3Error {
    S3Error::with(S3Code::InvalidRequest, format!("The aws-chunked body is malformed: {what}."))
}

fn malformed_trailer(what: &'static str) -> S3Error {
    S3Error::with(S3Code::MalformedTrailerError, format!("The trailer is malformed: {what}."))
}

fn unsigned_chunk() -> S3Error {
    S3Error::with(S3Code::AccessDenied, "A chunk of a signed body has no chunk-signature.")
}

fn incomplete() -> S3Error {
    S3Error::with(S3Code::IncompleteBody, "The request body terminated unexpectedly")
}

fn incomplete_trailer() -> S3Error {
    S3Error::with(
        S3Code::IncompleteBody,
        "The request body ended before the trailer that x-amz-trailer announced",
    )
}

fn wrong_length() -> S3Error {
    S3Error::with(
        S3Code::IncompleteBody,
        "You did not provide the number of bytes specified by the x-amz-decoded-content-length HTTP header",
    )
}
