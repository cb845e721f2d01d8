//! Bounds of signatures and of the `aws-chunked` framing. What is the gateway's as a whole is in `crate::limits`.

/// Headers one signature may name.
pub const MAX_SIGNED_HEADERS: usize = 256;
/// Bytes of the line before a chunk's data: a size, `;chunk-signature=` and 64 digits.
pub const MAX_CHUNK_LINE_BYTES: usize = 256;
/// Bytes of everything after the last chunk.
pub const MAX_TRAILER_BYTES: usize = 4096;
/// Signed chunks but the last two must have at least this much data, as AWS requires: a signature a byte
/// would be a cheap way to keep the gateway busy.
pub const MIN_SIGNED_CHUNK_BYTES: u64 = 8192;
