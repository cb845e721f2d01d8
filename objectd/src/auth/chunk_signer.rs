//! The chain of chunk signatures that follows a signed head.

use std::fmt;

use aws_sigv4::sign::v4::calculate_signature;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Hash of nothing: chunks have no headers, but their string to sign has a place for them.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Verifies each chunk's signature against the one before, starting from the head's.
///
/// A link is what makes reordering, dropping or repeating a chunk visible.
#[derive(Clone)]
pub struct ChunkSigner {
    signing_key: [u8; 32],
    timestamp: String,
    scope: String,
    previous: String,
}

impl ChunkSigner {
    /// `seed` is the head's signature; `scope` lacks the key id.
    pub(crate) fn new(signing_key: [u8; 32], timestamp: &str, scope: String, seed: &str) -> ChunkSigner {
        ChunkSigner { signing_key, timestamp: timestamp.to_owned(), scope, previous: seed.to_owned() }
    }

    /// The signature of the next chunk, whose data hashes to `data_sha256`.
    pub fn sign_chunk(&mut self, data_sha256: &[u8; 32]) -> &str {
        let hashes = format!("{EMPTY_SHA256}\n{}", hex::encode(data_sha256));
        self.link("AWS4-HMAC-SHA256-PAYLOAD", &hashes)
    }

    /// The signature of the trailer, given as its canonical `name:value\n` lines.
    pub fn sign_trailer(&mut self, canonical: &[u8]) -> &str {
        let hash = hex::encode(Sha256::digest(canonical));
        self.link("AWS4-HMAC-SHA256-TRAILER", &hash)
    }

    /// Whether `given` is the next chunk's signature; advances the chain either way.
    pub fn chunk_matches(&mut self, data_sha256: &[u8; 32], given: &str) -> bool {
        signatures_equal(self.sign_chunk(data_sha256), given)
    }

    /// Whether `given` is the trailer's signature.
    pub fn trailer_matches(&mut self, canonical: &[u8], given: &str) -> bool {
        signatures_equal(self.sign_trailer(canonical), given)
    }

    fn link(&mut self, algorithm: &str, hashes: &str) -> &str {
        let to_sign = format!("{algorithm}\n{}\n{}\n{}\n{hashes}", self.timestamp, self.scope, self.previous);
        self.previous = calculate_signature(self.signing_key, to_sign.as_bytes());
        &self.previous
    }
}

/// Compares signatures in a time that tells nothing about where they differ.
pub(crate) fn signatures_equal(expected: &str, given: &str) -> bool {
    expected.as_bytes().ct_eq(given.as_bytes()).into()
}

impl fmt::Debug for ChunkSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkSigner").field("scope", &self.scope).finish_non_exhaustive()
    }
}
