//! Bounds of what one request may cost the disk's only thread.

/// Chunks that one page of digests passes by: a few milliseconds' worth, if all of them are full.
pub const DIGEST_CHUNKS: usize = 1024;

const _: () = assert!(DIGEST_CHUNKS <= proto::limits::MAX_DIGEST_ENTRIES as usize);
