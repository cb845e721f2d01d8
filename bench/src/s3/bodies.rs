//! The objects' content: noise that nobody can compress, and no two objects alike.
//!
//! Some stores keep equal blocks once (Garage names them by their hash), so that content which repeats would be put
//! for free. A body is a window of one buffer of noise with a stamp at its end, which makes it known from its length
//! and stamp alone: nothing is kept of what was put, and an answer is compared with the buffer as it comes in.

use crate::limits::{S3_MAX_BODY_BYTES, S3_SHARED_WINDOW_BYTES};
use anyhow::{Result, bail};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

/// Where windows of large bodies may begin: as far apart as the blocks that stores cut objects into, so that no two
/// of them have a block in common.
const SPREAD_BYTES: usize = 1 << 20;
/// Windows of small bodies, of which the hash is known up to the stamp.
const SHARED_WINDOWS: u64 = 16;
const SHARED_STEP_BYTES: usize = 4096;
const STAMP_BYTES: usize = 16;

/// An object's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Body {
    pub len_bytes: usize,
    pub stamp: u64,
}

/// Makes bodies, and knows their hashes. A clone shares the noise.
#[derive(Clone)]
pub struct Bodies {
    noise: Arc<[u8]>,
    /// Hashes of windows without the stamp, by length and offset.
    begun: HashMap<(usize, usize), Sha256>,
    prepared: Arc<HashMap<Body, [u8; 64]>>,
}

impl Bodies {
    pub fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut noise = vec![0u8; S3_MAX_BODY_BYTES + SPREAD_BYTES];
        for word in noise.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        Self { noise: noise.into(), begun: HashMap::new(), prepared: Arc::default() }
    }

    /// The window and the stamp; the body is both, one after the other.
    pub fn parts(&self, body: Body) -> (&[u8], [u8; STAMP_BYTES], usize) {
        let mut stamp = [0; STAMP_BYTES];
        stamp[..8].copy_from_slice(&body.stamp.to_le_bytes());
        stamp[8..].copy_from_slice(&(body.len_bytes as u64).to_le_bytes());
        let tail = body.len_bytes.min(STAMP_BYTES);
        let offset = offset(body);
        (&self.noise[offset..offset + body.len_bytes - tail], stamp, tail)
    }

    /// Hashes of large bodies are made before a run, as a client would that uploads what it has hashed; it would
    /// hold up the other connections.
    pub fn prepare(&mut self, bodies: impl Iterator<Item = Body>) {
        let hashes = bodies
            .filter(|body| body.len_bytes > S3_SHARED_WINDOW_BYTES)
            .map(|body| (body, self.whole(body)));
        self.prepared = Arc::new(hashes.collect());
    }

    /// Its SHA-256 in hexadecimal.
    pub fn sha256(&mut self, body: Body) -> [u8; 64] {
        if let Some(hash) = self.prepared.get(&body) {
            return *hash;
        }
        if body.len_bytes > S3_SHARED_WINDOW_BYTES {
            return self.whole(body);
        }
        let key = (body.len_bytes, offset(body));
        if !self.begun.contains_key(&key) {
            let hash = Sha256::new().chain_update(self.parts(body).0);
            self.begun.insert(key, hash);
        }
        let (_, stamp, tail) = self.parts(body);
        hexadecimal(self.begun[&key].clone().chain_update(&stamp[..tail]))
    }

    fn whole(&self, body: Body) -> [u8; 64] {
        let (window, stamp, tail) = self.parts(body);
        hexadecimal(Sha256::new().chain_update(window).chain_update(&stamp[..tail]))
    }

    /// Compares a piece of an answer with the body from `at` on.
    pub fn compare(&self, body: Body, at: usize, piece: &[u8]) -> Result<()> {
        let (window, stamp, tail) = self.parts(body);
        if at + piece.len() > body.len_bytes {
            bail!("an object of {} bytes came with more", body.len_bytes);
        }
        let (first, second) = piece.split_at(piece.len().min(window.len().saturating_sub(at)));
        let in_tail = at.saturating_sub(window.len());
        let is_same = first == &window[at.min(window.len())..][..first.len()]
            && second == &stamp[..tail][in_tail..][..second.len()];
        if !is_same {
            bail!("wrong content in an object of {} bytes, at {at} or after it", body.len_bytes);
        }
        Ok(())
    }
}

fn offset(body: Body) -> usize {
    let place = |value: u64| usize::try_from(value).expect("below a megabyte");
    if body.len_bytes > S3_SHARED_WINDOW_BYTES {
        // Odd, so that a million stamps in a row have as many places.
        return place(body.stamp.wrapping_mul(0x000f_4243) % SPREAD_BYTES as u64);
    }
    place(body.stamp % SHARED_WINDOWS) * SHARED_STEP_BYTES
}

fn hexadecimal(hash: Sha256) -> [u8; 64] {
    let mut text = [0; 64];
    hex::encode_to_slice(hash.finalize(), &mut text).expect("32 bytes are 64 digits");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(bodies: &Bodies, body: Body) -> Vec<u8> {
        let (window, stamp, tail) = bodies.parts(body);
        [window, &stamp[..tail]].concat()
    }

    #[test]
    fn hashes_are_of_the_content() {
        let mut bodies = Bodies::new();
        for len_bytes in [0, 7, 16, 1024, 128 << 10, (128 << 10) + 1, 1 << 20] {
            for stamp in [0, 1, 17, u64::MAX] {
                let body = Body { len_bytes, stamp };
                let content = bytes(&bodies, body);
                assert_eq!(content.len(), len_bytes);
                assert_eq!(bodies.sha256(body).as_slice(), hex::encode(Sha256::digest(&content)).as_bytes());
            }
        }
        let large = Body { len_bytes: 1 << 20, stamp: 5 };
        let plain = bodies.sha256(large);
        bodies.prepare(std::iter::once(large));
        assert_eq!((bodies.prepared.len(), bodies.sha256(large)), (1, plain));
    }

    #[test]
    fn no_two_objects_share_a_block() {
        let bodies = Bodies::new();
        let block = |stamp| bytes(&bodies, Body { len_bytes: 2 << 20, stamp })[..1 << 20].to_vec();
        assert_ne!(block(1), block(2));
        assert_ne!(
            bytes(&bodies, Body { len_bytes: 64, stamp: 1 }),
            bytes(&bodies, Body { len_bytes: 64, stamp: 17 })
        );
    }

    #[test]
    fn a_wrong_byte_is_found_wherever_it_is() {
        let bodies = Bodies::new();
        for len_bytes in [8, 100, 4096] {
            let body = Body { len_bytes, stamp: 3 };
            let content = bytes(&bodies, body);
            for cut in [0, 1, len_bytes / 2, len_bytes - 1, len_bytes] {
                bodies.compare(body, 0, &content[..cut]).unwrap();
                bodies.compare(body, cut, &content[cut..]).unwrap();
            }
            for at in [0, len_bytes / 2, len_bytes - 1] {
                let mut wrong = content.clone();
                wrong[at] ^= 1;
                assert!(bodies.compare(body, 0, &wrong).is_err(), "{len_bytes} {at}");
            }
            assert!(bodies.compare(body, 1, &content).is_err(), "too long");
            assert!(bodies.compare(Body { len_bytes, stamp: 19 }, 0, &content).is_err(), "another's");
        }
    }
}
