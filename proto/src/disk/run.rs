//! A run: neighbouring blocks of a chunk that lie in a row in one batch. Their CRCs stay in that batch's header,
//! and what vouches for them is one checksum over them all (rfd/0009).
//!
//! ```text
//!      0     2  first block
//!      2     2  blocks
//!      4     4  the piece as it was written: blocks in it less one (bits 0..10), blocks of it in front of the
//!               first (10..20), disk blocks from the batch's start to it (20..31); bit 31 is 0
//!      8     4  location of the piece
//!     12     4  CRC-32 of the CRCs of all blocks of the piece, each little-endian
//!     16     8  version
//! ```

use super::{DiskError, batch, put};
use crate::checksum::crc32;
use crate::frame::{u16_at, u32_at, u64_at};
use crate::ids::Version;
use crate::units::BLOCKS_PER_CHUNK;
use std::ops::Range;

/// Bytes of a run.
pub const RUN_RECORD_BYTES: usize = 24;

const LEN_BITS: u32 = 10;
const BACK_BITS: u32 = 11;

const _: () = assert!(BLOCKS_PER_CHUNK == 1 << LEN_BITS);
const _: () = assert!(batch::MAX_DATA_BLOCKS + batch::MAX_HEADER_BLOCKS as u32 <= 1 << BACK_BITS);

/// Blocks in a row, all of one version, that are (or were, before others took the place of some) a *piece* of
/// one batch's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    first: u16,
    count: u16,
    packed: u32,
    piece: u32,
    check: u32,
    pub version: Version,
}

impl Run {
    /// A whole piece, with its first block in the chunk, its location and its batch's. `crcs` are its blocks', four
    /// little-endian bytes each.
    pub fn new(first: u16, (piece, batch): (u32, u32), version: Version, crcs: &[u8]) -> Self {
        let count = u16::try_from(crcs.len() / 4).expect("a piece is within a chunk");
        assert!(count > 0 && u32::from(first + count) <= BLOCKS_PER_CHUNK, "a piece is within a chunk");
        let back = piece - batch;
        assert!(back > 0 && back < 1 << BACK_BITS, "a piece lies behind its batch's header");
        let packed = u32::from(count - 1) | back << (2 * LEN_BITS);
        Self { first, count, packed, piece, check: crc32(crcs), version }
    }

    /// The part of it with these blocks, which it must have.
    #[must_use]
    pub fn part(&self, blocks: Range<u16>) -> Self {
        assert!(blocks.start >= self.first && blocks.end <= self.end() && !blocks.is_empty());
        let count = blocks.end - blocks.start;
        let packed = self.packed + (u32::from(blocks.start - self.first) << LEN_BITS);
        Self { first: blocks.start, count, packed, ..*self }
    }

    pub fn first(&self) -> u16 {
        self.first
    }

    /// One behind its last block.
    pub fn end(&self) -> u16 {
        self.first + self.count
    }

    fn before(&self) -> u32 {
        self.packed >> LEN_BITS & ((1 << LEN_BITS) - 1)
    }

    /// Where one of its blocks lies.
    pub fn location(&self, block: u16) -> u32 {
        self.piece + self.before() + u32::from(block - self.first)
    }

    /// Where its batch starts.
    pub fn batch(&self) -> u32 {
        self.piece - (self.packed >> (2 * LEN_BITS))
    }

    /// Where the whole piece lies.
    pub fn piece(&self) -> Range<u32> {
        self.piece..self.piece + 1 + (self.packed & ((1 << LEN_BITS) - 1))
    }

    /// Whether these are the CRCs of the whole piece.
    pub fn vouches_for(&self, crcs: &[u8]) -> bool {
        crcs.len() == self.piece().len() * 4 && crc32(crcs) == self.check
    }

    pub(super) fn encode(&self) -> [u8; RUN_RECORD_BYTES] {
        let mut out = [0; RUN_RECORD_BYTES];
        put(&mut out, 0, &self.first.to_le_bytes());
        put(&mut out, 2, &self.count.to_le_bytes());
        put(&mut out, 4, &self.packed.to_le_bytes());
        put(&mut out, 8, &self.piece.to_le_bytes());
        put(&mut out, 12, &self.check.to_le_bytes());
        put(&mut out, 16, &self.version.0.to_le_bytes());
        out
    }

    /// `bytes` are as many as a run has.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DiskError> {
        let run = Self {
            first: u16_at(bytes, 0),
            count: u16_at(bytes, 2),
            packed: u32_at(bytes, 4),
            piece: u32_at(bytes, 8),
            check: u32_at(bytes, 12),
            version: Version(u64_at(bytes, 16)),
        };
        let (first, count) = (u32::from(run.first), u32::from(run.count));
        let whole = 1 + (run.packed & ((1 << LEN_BITS) - 1));
        let back = run.packed >> (2 * LEN_BITS);
        let in_chunk = count > 0 && first + count <= BLOCKS_PER_CHUNK;
        let in_piece = run.before() + count <= whole;
        let on_disk = (1..1 << BACK_BITS).contains(&back)
            && back <= run.piece
            && run.piece.checked_add(whole).is_some_and(|end| end < super::Slot::LOST);
        if !in_chunk || !in_piece || !on_disk {
            return Err(DiskError::Content("a run is outside its chunk, its piece or the disk"));
        }
        Ok(run)
    }
}
