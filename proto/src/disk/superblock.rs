//! The superblock: whose disk this is, how it is cut up, and where its newest checkpoint lies.
//!
//! ```text
//! offset  size  field
//!      0     8  magic "ASHLARDK"
//!      8     2  format version
//!     10     2  number of lives
//!     12     4  zero
//!     16    16  disk id
//!     32     8  generation: grows by one with each write of the superblock
//!     40     4  blocks of one segment
//!     44     4  segments
//!     48     4  the first segment's first block
//!     52     4  zero
//!     56    32  newest checkpoint: id 8 (0: none), replay from 8, next sequence 8, segment 4, block in it 4
//!     88    32  the checkpoint before it
//!    120    16  a life: incarnation 8, first batch sequence 8; up to 64 of them, oldest first
//!   1144        zero
//!   4092     4  CRC-32 of bytes 0..4092
//! ```
//! Two copies lie at blocks [`COPY_BLOCKS`]; the valid one with the higher generation counts. They are
//! written one after the other with a flush between, so that one is whole at any moment.

use super::{DiskError, FORMAT_VERSION, check_counters, check_version, check_zero, id_at, put};
use crate::checksum::crc32;
use crate::frame::{u16_at, u32_at, u64_at};
use crate::ids::DiskId;
use crate::units::BLOCK_LEN;

/// The first bytes of a disk.
pub const MAGIC: [u8; 8] = *b"ASHLARDK";
/// Where the two copies lie, in blocks. Apart, so that one bad stretch of the medium can't take both.
pub const COPY_BLOCKS: [u32; 2] = [0, 128];
/// Mounts since the newest checkpoint that a superblock can tell apart.
pub const MAX_LIVES: usize = 64;

const ROOTS_AT: usize = 56;
const ROOT_BYTES: usize = 32;
const LIVES_AT: usize = 120;
const LIFE_BYTES: usize = 16;
const CRC_AT: usize = BLOCK_LEN - 4;

const _: () = assert!(LIVES_AT + MAX_LIVES * LIFE_BYTES <= CRC_AT);

/// One mount of the disk. Batches of `incarnation` count only from `first_sequence` up to the next
/// life's: what an earlier life left beyond is a torn tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    pub incarnation: u64,
    pub first_sequence: u64,
}

/// Where a checkpoint's commit part lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointRoot {
    /// Grows by one with each checkpoint; 1 is the first.
    pub id: u64,
    /// The first batch that may be missing from the checkpoint's records.
    pub replay_from: u64,
    /// Every batch below it was durable when the checkpoint was committed.
    pub next_sequence: u64,
    pub segment: u32,
    /// Block within the segment.
    pub block: u32,
}

/// A decoded superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    pub disk: DiskId,
    pub generation: u64,
    pub segment_blocks: u32,
    pub segments: u32,
    pub first_block: u32,
    pub checkpoint: Option<CheckpointRoot>,
    pub previous: Option<CheckpointRoot>,
    /// The lives that may have batches to replay, oldest first; never more than [`MAX_LIVES`].
    pub lives: Vec<Life>,
}

impl Superblock {
    /// The block as it lies on the disk.
    pub fn encode(&self) -> [u8; BLOCK_LEN] {
        assert!(self.lives.len() <= MAX_LIVES, "a superblock holds {MAX_LIVES} lives");
        let mut out = [0; BLOCK_LEN];
        put(&mut out, 0, &MAGIC);
        put(&mut out, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut out, 10, &u16::try_from(self.lives.len()).expect("at most 64").to_le_bytes());
        put(&mut out, 16, &self.disk.0);
        put(&mut out, 32, &self.generation.to_le_bytes());
        put(&mut out, 40, &self.segment_blocks.to_le_bytes());
        put(&mut out, 44, &self.segments.to_le_bytes());
        put(&mut out, 48, &self.first_block.to_le_bytes());
        for (index, root) in [self.checkpoint, self.previous].into_iter().enumerate() {
            let Some(root) = root else { continue };
            let at = ROOTS_AT + index * ROOT_BYTES;
            put(&mut out, at, &root.id.to_le_bytes());
            put(&mut out, at + 8, &root.replay_from.to_le_bytes());
            put(&mut out, at + 16, &root.next_sequence.to_le_bytes());
            put(&mut out, at + 24, &root.segment.to_le_bytes());
            put(&mut out, at + 28, &root.block.to_le_bytes());
        }
        for (index, life) in self.lives.iter().enumerate() {
            let at = LIVES_AT + index * LIFE_BYTES;
            put(&mut out, at, &life.incarnation.to_le_bytes());
            put(&mut out, at + 8, &life.first_sequence.to_le_bytes());
        }
        let crc = crc32(&out[..CRC_AT]);
        put(&mut out, CRC_AT, &crc.to_le_bytes());
        out
    }

    /// Checks and decodes one copy.
    pub fn decode(bytes: &[u8; BLOCK_LEN]) -> Result<Self, DiskError> {
        if bytes[..8] != MAGIC {
            return Err(DiskError::Magic);
        }
        check_version(bytes, FORMAT_VERSION)?;
        if u32_at(bytes, CRC_AT) != crc32(&bytes[..CRC_AT]) {
            return Err(DiskError::HeaderChecksum);
        }
        let count = usize::from(u16_at(bytes, 10));
        if count > MAX_LIVES {
            return Err(DiskError::Content("too many lives"));
        }
        let lives_end = LIVES_AT + count * LIFE_BYTES;
        [&bytes[12..16], &bytes[52..56], &bytes[lives_end..CRC_AT]].into_iter().try_for_each(check_zero)?;
        let lives: Vec<Life> = bytes[LIVES_AT..lives_end]
            .chunks_exact(LIFE_BYTES)
            .map(|life| Life { incarnation: u64_at(life, 0), first_sequence: u64_at(life, 8) })
            .collect();
        let ordered = |pair: &[Life]| {
            pair[0].incarnation < pair[1].incarnation && pair[0].first_sequence <= pair[1].first_sequence
        };
        if !lives.windows(2).all(ordered) {
            return Err(DiskError::Content("the lives are not in order"));
        }
        let superblock = Self {
            disk: DiskId(id_at(bytes, 16)),
            generation: u64_at(bytes, 32),
            segment_blocks: u32_at(bytes, 40),
            segments: u32_at(bytes, 44),
            first_block: u32_at(bytes, 48),
            checkpoint: root_at(bytes, ROOTS_AT)?,
            previous: root_at(bytes, ROOTS_AT + ROOT_BYTES)?,
            lives,
        };
        check_counters(&[superblock.generation])?;
        superblock
            .lives
            .iter()
            .try_for_each(|life| check_counters(&[life.incarnation, life.first_sequence]))?;
        superblock.check_geometry()?;
        Ok(superblock)
    }

    /// The format version of bytes that start as a superblock does, whatever else is wrong with them.
    pub fn peek_version(bytes: &[u8; BLOCK_LEN]) -> Option<u16> {
        (bytes[..8] == MAGIC).then(|| u16_at(bytes, 8))
    }

    /// Blocks the layout takes: the device must have at least as many.
    pub fn end_block(&self) -> u64 {
        u64::from(self.first_block) + u64::from(self.segments) * u64::from(self.segment_blocks)
    }

    fn check_geometry(&self) -> Result<(), DiskError> {
        let past_copies = self.first_block > COPY_BLOCKS[1];
        let sane = self.segment_blocks >= 2 && self.segments > 0 && past_copies;
        // The two highest locations say "trimmed" and "lost".
        if !sane || self.end_block() > u64::from(u32::MAX - 2) {
            return Err(DiskError::Content("the geometry makes no sense"));
        }
        for root in [self.checkpoint, self.previous].into_iter().flatten() {
            if root.segment >= self.segments || root.block >= self.segment_blocks {
                return Err(DiskError::Content("a checkpoint lies outside the disk"));
            }
        }
        Ok(())
    }
}

fn root_at(bytes: &[u8], at: usize) -> Result<Option<CheckpointRoot>, DiskError> {
    let root = CheckpointRoot {
        id: u64_at(bytes, at),
        replay_from: u64_at(bytes, at + 8),
        next_sequence: u64_at(bytes, at + 16),
        segment: u32_at(bytes, at + 24),
        block: u32_at(bytes, at + 28),
    };
    if root.id == 0 {
        check_zero(&bytes[at..at + ROOT_BYTES])?;
        return Ok(None);
    }
    check_counters(&[root.id, root.replay_from, root.next_sequence])?;
    Ok(Some(root))
}
