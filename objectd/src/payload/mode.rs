//! What a request's head says about its body.

use crate::auth::ChunkSigner;
use crate::error::{S3Code, S3Error, S3Result};

/// The values of `x-amz-content-sha256` that say how the body is framed and what protects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadMode {
    /// `UNSIGNED-PAYLOAD`, or nothing said in a presigned or anonymous request.
    Unsigned,
    /// The body's SHA-256.
    Sha256([u8; 32]),
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: signed chunks.
    StreamingSigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: signed chunks and a signed trailer.
    StreamingSignedTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: chunks and a trailer, protected by the trailer's checksum.
    StreamingUnsignedTrailer,
}

impl PayloadMode {
    /// Errors: `NotImplemented` for the ECDSA modes, `InvalidArgument` for what S3 does not know.
    pub fn parse(value: &str) -> S3Result<PayloadMode> {
        match value {
            "UNSIGNED-PAYLOAD" => Ok(PayloadMode::Unsigned),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(PayloadMode::StreamingSigned),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(PayloadMode::StreamingSignedTrailer),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(PayloadMode::StreamingUnsignedTrailer),
            "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
            | "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER" => {
                Err(S3Error::with(S3Code::NotImplemented, "SigV4A payloads are not supported; use SigV4"))
            }
            _ => {
                let mut hash = [0; 32];
                hex::decode_to_slice(value, &mut hash).map_err(|_| {
                    S3Error::with(
                        S3Code::InvalidArgument,
                        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, \
                         STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, \
                         STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
                    )
                    .extra("ArgumentName", "x-amz-content-sha256")
                    .extra("ArgumentValue", value)
                })?;
                Ok(PayloadMode::Sha256(hash))
            }
        }
    }

    /// Whether the body is in `aws-chunked` framing.
    pub fn is_streaming(self) -> bool {
        !matches!(self, PayloadMode::Unsigned | PayloadMode::Sha256(_))
    }

    /// Whether a trailer follows the chunks.
    pub fn has_trailer(self) -> bool {
        matches!(self, PayloadMode::StreamingSignedTrailer | PayloadMode::StreamingUnsignedTrailer)
    }

    /// Whether the chunks are signed.
    pub fn has_signed_chunks(self) -> bool {
        matches!(self, PayloadMode::StreamingSigned | PayloadMode::StreamingSignedTrailer)
    }
}

/// A payload mode with what is needed to verify it. Only the authenticator makes one that is signed.
#[derive(Debug, Clone)]
pub struct PayloadAuth {
    mode: PayloadMode,
    signer: Option<ChunkSigner>,
}

impl PayloadAuth {
    /// Errors: `AccessDenied` if the mode's chunks are signed and there is no signature to start from.
    pub(crate) fn new(mode: PayloadMode, signer: Option<ChunkSigner>) -> S3Result<PayloadAuth> {
        if mode.has_signed_chunks() && signer.is_none() {
            return Err(S3Error::with(S3Code::AccessDenied, "Signed chunks need a signed request"));
        }
        Ok(PayloadAuth { mode, signer: signer.filter(|_| mode.has_signed_chunks()) })
    }

    pub fn mode(&self) -> PayloadMode {
        self.mode
    }

    /// The chain that verifies the chunks; `None` exactly if they are not signed.
    pub(crate) fn into_signer(self) -> Option<ChunkSigner> {
        self.signer
    }
}
