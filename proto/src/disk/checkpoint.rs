//! A checkpoint: the index and what goes with it, as a chain of parts in segments of their own. The last
//! part is the commit; the superblock points to it.
//!
//! A part is a header, its payload, and zeros up to a whole block:
//!
//! ```text
//! offset  size  field
//!      0     8  magic "ASHCKPNT"
//!      8     2  format version: 2, or 1 if there are no records of kind 5
//!     10     2  kind: 1 records, 2 commit
//!     12     4  part number, from 0
//!     16    16  disk id
//!     32     8  checkpoint id
//!     40     4  segment
//!     44     4  block within the segment where this part lies
//!     48     4  payload bytes
//!     52     4  CRC-32 of the payload
//!     56    68  zero
//!    124     4  CRC-32 of bytes 0..124
//!    128        payload
//! ```
//! Records, each starting with its kind:
//!
//! ```text
//! chunk    kind 1: 2, runs 2, chunk 4, volume 8, base 8 (the version of a trim of the whole chunk), then
//!          the runs, lowest first: first block 2, blocks 2, zero 4, and for each block a slot of 16:
//!          location 4 (0 never written, ff..ff trimmed, ff..fe lost), CRC 4, version 8
//! runs     kind 5: 2, runs 2, chunk 4, volume 8, zero 8, a bit for each block of the chunk 128 (1: whatever a run
//!          says of it does not count any more), then the runs as `run` has them, in order and without overlap
//! volume   kind 2: 2, flags 2 (bit 0 deleted, bit 1 tombstones up to stable are forgotten),
//!          fence 4, volume 8, settled 8, stable 8, highest 8
//! session  kind 3: 2, zero 6, client 16, sequence 8, batch of its last write 8
//! group    kind 4: 2, zero 2, group 4, least epoch 4, zero 28
//! ```
//! The commit's payload:
//!
//! ```text
//!      0     8  replay from: the first batch sequence that may be missing from the records
//!      8     8  next sequence: every batch below it was durable before this part was written
//!     16     4  parts before this one
//!     20     4  heads: segments that held batches and were open when the checkpoint began (at most 2)
//!     24     4  segments of the checkpoint
//!     28     4  zero
//!     32        heads: segment 4, block 4 (where the next batch was due), the segment's first sequence 8
//!               segments, in order: segment 4, parts in it 4
//! ```

use super::run::{RUN_RECORD_BYTES, Run};
use super::{DiskError, check_counters, check_header, check_zero, id_at, put};
use crate::checksum::crc32;
use crate::frame::{u16_at, u32_at, u64_at};
use crate::ids::{
    ChunkId, ChunkIndex, ClientId, DiskId, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId,
};
use crate::units::{BLOCK_LEN, BLOCKS_PER_CHUNK};

/// The first bytes of a part.
pub const MAGIC: [u8; 8] = *b"ASHCKPNT";
/// The format of parts that this build writes; it reads all before it.
const PART_VERSION: u16 = 2;
/// Bytes of a part's header.
pub const HEADER_BYTES: usize = 128;
/// Blocks of one part, at most.
pub const MAX_PART_BLOCKS: usize = 64;
/// Bytes of one part's payload, at most.
pub const MAX_PAYLOAD_BYTES: usize = MAX_PART_BLOCKS * BLOCK_LEN - HEADER_BYTES;
/// Bytes of one slot.
pub const SLOT_BYTES: usize = 16;
/// Bytes of a run before its slots.
pub const RUN_BYTES: usize = 8;
/// Bytes of a chunk record before its runs.
pub const CHUNK_BYTES: usize = 24;
/// Bytes of a chunk record, at most: runs have a hole between them.
pub const MAX_CHUNK_BYTES: usize = CHUNK_BYTES + BLOCKS_PER_CHUNK as usize * (SLOT_BYTES + RUN_BYTES / 2);
/// Bytes of a chunk's bits.
const DEAD_BYTES: usize = BLOCKS_PER_CHUNK as usize / 8;
/// Bytes of a runs record before its runs.
pub const RUNS_BYTES: usize = CHUNK_BYTES + DEAD_BYTES;
/// Bytes of a runs record, at most.
pub const MAX_RUNS_BYTES: usize = RUNS_BYTES + BLOCKS_PER_CHUNK as usize * RUN_RECORD_BYTES;
/// Bytes of a volume, session or group record.
pub const RECORD_BYTES: usize = 40;
/// Segments that may be open for batches: the writers' and the cleaner's.
pub const MAX_HEADS: usize = 2;

const COMMIT_BYTES: usize = 32;
const CRC_AT: usize = 124;

const _: () = assert!(MAX_CHUNK_BYTES + MAX_RUNS_BYTES <= MAX_PAYLOAD_BYTES);

/// A bit for each block of a chunk, from the lowest bit of the first word on.
pub type BlockBits = [u64; BLOCKS_PER_CHUNK as usize / 64];

/// What a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum PartKind {
    Records = 1,
    Commit = 2,
}

/// A part's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartHeader {
    pub kind: PartKind,
    pub part: u32,
    pub disk: DiskId,
    pub checkpoint: u64,
    pub segment: u32,
    pub block: u32,
    pub payload_len: u32,
    pub payload_crc: u32,
}

impl PartHeader {
    /// Blocks that a part with `payload_len` bytes takes.
    pub fn blocks_for(payload_len: usize) -> usize {
        (HEADER_BYTES + payload_len).div_ceil(BLOCK_LEN)
    }

    /// Writes the header to the start of `out`.
    pub fn encode_to(&self, out: &mut [u8]) {
        let out = &mut out[..HEADER_BYTES];
        out.fill(0);
        put(out, 0, &MAGIC);
        put(out, 8, &PART_VERSION.to_le_bytes());
        put(out, 10, &(self.kind as u16).to_le_bytes());
        put(out, 12, &self.part.to_le_bytes());
        put(out, 16, &self.disk.0);
        put(out, 32, &self.checkpoint.to_le_bytes());
        put(out, 40, &self.segment.to_le_bytes());
        put(out, 44, &self.block.to_le_bytes());
        put(out, 48, &self.payload_len.to_le_bytes());
        put(out, 52, &self.payload_crc.to_le_bytes());
        let crc = crc32(&out[..CRC_AT]);
        put(out, CRC_AT, &crc.to_le_bytes());
    }

    /// Checks and decodes a header; the payload's length is within limits when this returns `Ok`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DiskError> {
        check_header(bytes, (MAGIC, PART_VERSION), 56..CRC_AT)?;
        let kind = match u16_at(bytes, 10) {
            1 => PartKind::Records,
            2 => PartKind::Commit,
            _ => return Err(DiskError::Content("a checkpoint part's kind is not known")),
        };
        let payload_len = u32_at(bytes, 48);
        if payload_len as usize > MAX_PAYLOAD_BYTES {
            return Err(DiskError::Content("a checkpoint part is longer than any"));
        }
        Ok(Self {
            kind,
            part: u32_at(bytes, 12),
            disk: DiskId(id_at(bytes, 16)),
            checkpoint: u64_at(bytes, 32),
            segment: u32_at(bytes, 40),
            block: u32_at(bytes, 44),
            payload_len,
            payload_crc: u32_at(bytes, 52),
        })
    }

    /// Blocks of the whole part.
    pub fn blocks(&self) -> usize {
        Self::blocks_for(self.payload_len as usize)
    }

    /// Checks and returns the payload out of the part's whole blocks.
    pub fn check_payload<'a>(&self, part: &'a [u8]) -> Result<&'a [u8], DiskError> {
        if part.len() != self.blocks() * BLOCK_LEN {
            return Err(DiskError::Content("a checkpoint part is cut short"));
        }
        let (payload, padding) = part[HEADER_BYTES..].split_at(self.payload_len as usize);
        if crc32(payload) != self.payload_crc {
            return Err(DiskError::BodyChecksum);
        }
        check_zero(padding)?;
        Ok(payload)
    }
}

/// Where one block of a chunk lies, and what must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slot {
    /// Block on the disk, or one of the constants.
    pub location: u32,
    pub crc: u32,
    pub version: Version,
}

impl Slot {
    /// Never written. (The superblock is at location 0.)
    pub const HOLE: u32 = 0;
    /// Trimmed with the slot's version.
    pub const TRIMMED: u32 = u32::MAX;
    /// Held once with the slot's version, and found bad.
    pub const LOST: u32 = u32::MAX - 1;

    /// Whether there is data on the disk for it.
    pub fn has_data(&self) -> bool {
        !matches!(self.location, Self::HOLE | Self::TRIMMED | Self::LOST)
    }
}

/// Appends a chunk record. `slots` are blocks in ascending order; holes are left out.
pub fn put_chunk(out: &mut Vec<u8>, chunk: ChunkId, base: Version, slots: impl Iterator<Item = (u16, Slot)>) {
    let at = out.len();
    out.extend_from_slice(&1u16.to_le_bytes());
    out.extend_from_slice(&0u16.to_le_bytes());
    out.extend_from_slice(&chunk.index.0.to_le_bytes());
    out.extend_from_slice(&chunk.volume.0.to_le_bytes());
    out.extend_from_slice(&base.0.to_le_bytes());
    let mut runs = 0u16;
    let mut run: Option<(usize, u16, u16)> = None;
    for (block, slot) in slots {
        let (run_at, first, count) = match run {
            Some((run_at, first, count)) if first + count == block => (run_at, first, count + 1),
            _ => {
                runs += 1;
                let run_at = out.len();
                out.extend_from_slice(&block.to_le_bytes());
                out.extend_from_slice(&[0; 6]);
                (run_at, block, 1)
            }
        };
        put(out, run_at + 2, &count.to_le_bytes());
        run = Some((run_at, first, count));
        out.extend_from_slice(&slot.location.to_le_bytes());
        out.extend_from_slice(&slot.crc.to_le_bytes());
        out.extend_from_slice(&slot.version.0.to_le_bytes());
    }
    put(out, at + 2, &runs.to_le_bytes());
}

/// Appends a runs record. `runs` are in ascending order and have no block in common; those of their blocks that
/// are in `dead` do not count.
pub fn put_runs(
    out: &mut Vec<u8>,
    chunk: ChunkId,
    dead: &BlockBits,
    runs: impl ExactSizeIterator<Item = Run>,
) {
    let count = u16::try_from(runs.len()).expect("each has a block of the chunk");
    out.extend_from_slice(&5u16.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&chunk.index.0.to_le_bytes());
    out.extend_from_slice(&chunk.volume.0.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    dead.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    runs.for_each(|run| out.extend_from_slice(&run.encode()));
}

/// One record of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// `runs` is what [`chunk_slots`] takes apart.
    Chunk {
        chunk: ChunkId,
        base: Version,
        runs: &'a [u8],
    },
    /// Follows the record of its chunk. `runs` is what [`runs_of`] takes apart.
    Runs {
        chunk: ChunkId,
        dead: BlockBits,
        runs: &'a [u8],
    },
    Volume {
        volume: VolumeId,
        deleted: bool,
        fence: VolumeEpoch,
        settled: Version,
        stable: Version,
        highest: Version,
        /// As in a batch's horizon.
        whole: bool,
    },
    Session {
        client: ClientId,
        sequence: u64,
        batch: u64,
    },
    Group {
        group: GroupId,
        epoch: GroupEpoch,
    },
}

impl<'a> Record<'a> {
    /// Appends a volume, session or group record (chunks: [`put_chunk`], [`put_runs`]).
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Chunk { chunk, base, runs } => put_chunk(out, *chunk, *base, chunk_slots(runs)),
            Self::Runs { chunk, dead, runs } => {
                put_runs(out, *chunk, dead, runs_of(runs).collect::<Vec<_>>().into_iter());
            }
            Self::Volume { volume, deleted, fence, settled, stable, highest, whole } => {
                out.extend_from_slice(&2u16.to_le_bytes());
                out.extend_from_slice(&(u16::from(*deleted) | u16::from(*whole) << 1).to_le_bytes());
                out.extend_from_slice(&fence.0.to_le_bytes());
                for number in [volume.0, settled.0, stable.0, highest.0] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
            Self::Session { client, sequence, batch } => {
                out.extend_from_slice(&3u64.to_le_bytes());
                out.extend_from_slice(&client.0);
                out.extend_from_slice(&sequence.to_le_bytes());
                out.extend_from_slice(&batch.to_le_bytes());
            }
            Self::Group { group, epoch } => {
                out.extend_from_slice(&4u32.to_le_bytes());
                out.extend_from_slice(&group.0.to_le_bytes());
                out.extend_from_slice(&epoch.0.to_le_bytes());
                out.extend_from_slice(&[0; 28]);
            }
        }
    }

    fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DiskError> {
        let short = DiskError::Content("a checkpoint record is cut short");
        if bytes.len() < CHUNK_BYTES {
            return Err(short);
        }
        let kind = u16_at(bytes, 0);
        if kind == 1 {
            let chunk = ChunkId { volume: VolumeId(u64_at(bytes, 8)), index: ChunkIndex(u32_at(bytes, 4)) };
            let base = Version(u64_at(bytes, 16));
            let len = check_runs(&bytes[CHUNK_BYTES..], u16_at(bytes, 2))?;
            let (runs, rest) = bytes[CHUNK_BYTES..].split_at(len);
            return Ok((Self::Chunk { chunk, base, runs }, rest));
        }
        if kind == 5 {
            let chunk = ChunkId { volume: VolumeId(u64_at(bytes, 8)), index: ChunkIndex(u32_at(bytes, 4)) };
            check_zero(&bytes[16..CHUNK_BYTES])?;
            let len = RUNS_BYTES + usize::from(u16_at(bytes, 2)) * RUN_RECORD_BYTES;
            let (record, rest) = bytes.split_at_checked(len).ok_or(short)?;
            let (bits, runs) = record[CHUNK_BYTES..].split_at(DEAD_BYTES);
            check_row(runs)?;
            let dead = std::array::from_fn(|word| u64_at(bits, word * 8));
            return Ok((Self::Runs { chunk, dead, runs }, rest));
        }
        if bytes.len() < RECORD_BYTES {
            return Err(short);
        }
        let (bytes, rest) = bytes.split_at(RECORD_BYTES);
        let record = match kind {
            2 => {
                let flags = u16_at(bytes, 2);
                if flags > 3 {
                    return Err(DiskError::Content("a volume record's flags are not known"));
                }
                Self::Volume {
                    volume: VolumeId(u64_at(bytes, 8)),
                    deleted: flags & 1 != 0,
                    whole: flags & 2 != 0,
                    fence: VolumeEpoch(u32_at(bytes, 4)),
                    settled: Version(u64_at(bytes, 16)),
                    stable: Version(u64_at(bytes, 24)),
                    highest: Version(u64_at(bytes, 32)),
                }
            }
            3 => {
                check_zero(&bytes[2..8])?;
                let client = ClientId(id_at(bytes, 8));
                Self::Session { client, sequence: u64_at(bytes, 24), batch: u64_at(bytes, 32) }
            }
            4 => {
                [2..4, 12..RECORD_BYTES].into_iter().try_for_each(|range| check_zero(&bytes[range]))?;
                Self::Group { group: GroupId(u32_at(bytes, 4)), epoch: GroupEpoch(u32_at(bytes, 8)) }
            }
            _ => return Err(DiskError::Content("a checkpoint record's kind is not known")),
        };
        Ok((record, rest))
    }
}

/// The length of `count` runs at the start of `bytes`: ascending, within a chunk, whole.
fn check_runs(bytes: &[u8], count: u16) -> Result<usize, DiskError> {
    let (mut at, mut end) = (0usize, 0u32);
    for _ in 0..count {
        let Some(head) = bytes.get(at..at + RUN_BYTES) else {
            return Err(DiskError::Content("a chunk's runs are cut short"));
        };
        check_zero(&head[4..])?;
        let (first, blocks) = (u32::from(u16_at(head, 0)), u32::from(u16_at(head, 2)));
        if blocks == 0 || first < end || first + blocks > BLOCKS_PER_CHUNK {
            return Err(DiskError::Content("a chunk's runs are out of order or past its end"));
        }
        end = first + blocks;
        at += RUN_BYTES + blocks as usize * SLOT_BYTES;
    }
    if at > bytes.len() {
        return Err(DiskError::Content("a chunk's runs are cut short"));
    }
    Ok(at)
}

/// Fails unless `runs` are whole, ascending and without overlap.
fn check_row(runs: &[u8]) -> Result<(), DiskError> {
    let mut end = 0;
    for bytes in runs.chunks_exact(RUN_RECORD_BYTES) {
        let run = Run::decode(bytes)?;
        if run.first() < end {
            return Err(DiskError::Content("a chunk's runs are out of order"));
        }
        end = run.end();
    }
    Ok(())
}

/// The runs of a decoded runs record, in order.
pub fn runs_of(runs: &[u8]) -> impl Iterator<Item = Run> + '_ {
    runs.chunks_exact(RUN_RECORD_BYTES).map_while(|bytes| Run::decode(bytes).ok())
}

/// The blocks of a decoded chunk record's `runs` with their slots, in order.
pub fn chunk_slots(runs: &[u8]) -> impl Iterator<Item = (u16, Slot)> + '_ {
    let mut rest = runs;
    let (mut block, mut left) = (0u16, 0u16);
    std::iter::from_fn(move || {
        if left == 0 {
            if rest.len() < RUN_BYTES {
                return None;
            }
            (block, left) = (u16_at(rest, 0), u16_at(rest, 2));
            rest = &rest[RUN_BYTES..];
        }
        let (slot, after) = rest.split_at_checked(SLOT_BYTES)?;
        rest = after;
        left = left.checked_sub(1)?;
        let at = block;
        block += 1;
        let version = Version(u64_at(slot, 8));
        Some((at, Slot { location: u32_at(slot, 0), crc: u32_at(slot, 4), version }))
    })
}

/// The records of a payload, in order; the first bad one ends them with its error.
pub fn records(payload: &[u8]) -> impl Iterator<Item = Result<Record<'_>, DiskError>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match Record::decode(rest) {
            Ok((record, after)) => {
                rest = after;
                Some(Ok(record))
            }
            Err(error) => {
                rest = &[];
                Some(Err(error))
            }
        }
    })
}

/// A segment that was open for batches when a checkpoint began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    pub segment: u32,
    /// Block within the segment where its next batch was due.
    pub block: u32,
    /// Sequence of the segment's first batch.
    pub segment_first: u64,
}

/// A commit part's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointCommit {
    pub replay_from: u64,
    pub next_sequence: u64,
    pub parts: u32,
    pub heads: Vec<LogHead>,
    /// The checkpoint's segments in order, with the number of parts in each (the commit not counted).
    pub segments: Vec<(u32, u32)>,
}

impl CheckpointCommit {
    /// The payload's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(COMMIT_BYTES + self.segments.len() * 8 + self.heads.len() * 16);
        let count = |len: usize| u32::try_from(len).expect("bounded by the part's length");
        out.extend_from_slice(&self.replay_from.to_le_bytes());
        out.extend_from_slice(&self.next_sequence.to_le_bytes());
        for number in [self.parts, count(self.heads.len()), count(self.segments.len()), 0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for head in &self.heads {
            out.extend_from_slice(&head.segment.to_le_bytes());
            out.extend_from_slice(&head.block.to_le_bytes());
            out.extend_from_slice(&head.segment_first.to_le_bytes());
        }
        for (segment, parts) in &self.segments {
            out.extend_from_slice(&segment.to_le_bytes());
            out.extend_from_slice(&parts.to_le_bytes());
        }
        out
    }

    /// Checks and decodes a commit's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DiskError> {
        if payload.len() < COMMIT_BYTES {
            return Err(DiskError::Content("a checkpoint commit is cut short"));
        }
        let (heads, segments) = (u32_at(payload, 20) as usize, u32_at(payload, 24) as usize);
        check_zero(&payload[28..32])?;
        check_counters(&[u64_at(payload, 0), u64_at(payload, 8)])?;
        let rest = &payload[COMMIT_BYTES..];
        if heads > MAX_HEADS || segments > MAX_PAYLOAD_BYTES / 8 || rest.len() != heads * 16 + segments * 8 {
            return Err(DiskError::Content("a checkpoint commit's lists do not fit its length"));
        }
        let (head_bytes, segment_bytes) = rest.split_at(heads * 16);
        let head = |bytes: &[u8]| LogHead {
            segment: u32_at(bytes, 0),
            block: u32_at(bytes, 4),
            segment_first: u64_at(bytes, 8),
        };
        Ok(Self {
            replay_from: u64_at(payload, 0),
            next_sequence: u64_at(payload, 8),
            parts: u32_at(payload, 16),
            heads: head_bytes.chunks_exact(16).map(head).collect(),
            segments: segment_bytes.chunks_exact(8).map(|s| (u32_at(s, 0), u32_at(s, 4))).collect(),
        })
    }
}
