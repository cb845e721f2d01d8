//! What was read of the log lately, so that what is asked for often is not asked of the disks each time.
//!
//! Addresses of the log are never used twice (see [`Allocator`](super::allocator::Allocator)), so what was once read at
//! one is right for as long as an index entry names it: nothing here is ever out of date. It was verified when it was
//! read; scrubbing reads the disks themselves.

use super::layout::Piece;
use crate::limits::{LOG_CACHE_BYTES, MAX_CACHED_PIECE_BYTES};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Pieces by where they begin. When the newer half is full it becomes the older one, and what nobody asked for since it
/// did so the last time goes: that costs no list to keep in order.
#[derive(Debug, Default)]
pub struct PieceCache(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    newer: HashMap<u64, Bytes>,
    older: HashMap<u64, Bytes>,
    /// Of the newer half.
    bytes: usize,
}

impl PieceCache {
    /// All that a piece reads, if it is here.
    pub fn get(&self, piece: &Piece) -> Option<Bytes> {
        if piece.len > MAX_CACHED_PIECE_BYTES {
            return None;
        }
        let mut halves = self.lock();
        if let Some(found) = halves.newer.get(&piece.offset) {
            return long_enough(found, piece.len);
        }
        let found = halves.older.remove(&piece.offset)?;
        halves.put(piece.offset, found.clone());
        long_enough(&found, piece.len)
    }

    /// Keeps what a piece read. It is copied: it may be a part of something larger.
    pub fn keep(&self, piece: &Piece, data: &Bytes) {
        if data.len() <= MAX_CACHED_PIECE_BYTES {
            let copy = Bytes::copy_from_slice(data);
            self.lock().put(piece.offset, copy);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Halves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first `len` bytes. Another range of the same object may have begun here and ended earlier.
fn long_enough(found: &Bytes, len: usize) -> Option<Bytes> {
    (found.len() >= len).then(|| found.slice(..len))
}

impl Halves {
    fn put(&mut self, offset: u64, data: Bytes) {
        if self.bytes + data.len() > LOG_CACHE_BYTES / 2 {
            self.older = std::mem::take(&mut self.newer);
            self.bytes = 0;
        }
        self.bytes += data.len();
        if let Some(former) = self.newer.insert(offset, data) {
            self.bytes -= former.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ids::VolumeId;

    fn piece(offset: u64, len: usize) -> Piece {
        Piece { volume: VolumeId(1), offset, len, wanted: 0..len }
    }

    #[test]
    fn what_was_read_is_there_until_enough_else_was() {
        let cache = PieceCache::default();
        let data = |fill: u8| Bytes::from(vec![fill; MAX_CACHED_PIECE_BYTES]);
        let at = |number: usize| piece((number * MAX_CACHED_PIECE_BYTES) as u64, MAX_CACHED_PIECE_BYTES);
        let fits = LOG_CACHE_BYTES / MAX_CACHED_PIECE_BYTES;
        assert_eq!(cache.get(&at(0)), None);
        cache.keep(&at(0), &data(1));
        for number in 1..10 * fits {
            cache.keep(&at(number), &data(2));
            assert_eq!(cache.get(&at(0)), Some(data(1)), "asked for all the time");
            let halves = cache.lock();
            let held: usize = halves.newer.values().chain(halves.older.values()).map(Bytes::len).sum();
            assert!(held <= LOG_CACHE_BYTES);
        }
        assert_eq!(cache.get(&at(1)), None);
        assert_eq!(cache.get(&at(10 * fits - 1)), Some(data(2)));
    }

    #[test]
    fn a_shorter_piece_is_a_part_and_a_longer_one_is_not_there() {
        let cache = PieceCache::default();
        cache.keep(&piece(4096, 8192), &Bytes::from(vec![3; 8192]));
        assert_eq!(cache.get(&piece(4096, 4096)), Some(Bytes::from(vec![3; 4096])));
        assert_eq!(cache.get(&piece(4096, 12_288)), None);
        cache.keep(&piece(4096, 12_288), &Bytes::from(vec![3; 12_288]));
        assert_eq!(cache.get(&piece(4096, 12_288)).unwrap().len(), 12_288);
        assert_eq!(cache.lock().bytes, 12_288);
        let long = MAX_CACHED_PIECE_BYTES + 4096;
        cache.keep(&piece(0, long), &Bytes::from(vec![3; long]));
        assert_eq!(cache.get(&piece(0, long)), None);
    }
}
