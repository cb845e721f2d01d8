//! A batch: header, entries and block data, written to a segment in one piece.
//!
//! ```text
//! offset  size  field
//!      0     8  magic "ASHBATCH"
//!      8     2  format version
//!     10     2  header blocks: this header and the entries, padded with zeros to whole blocks
//!     12     4  data blocks, which follow
//!     16    16  disk id
//!     32     8  incarnation of the mount that wrote it
//!     40     8  batch sequence: one more than the batch before, over all segments
//!     48     8  sequence of the first batch in this segment: the segment's life
//!     56     8  flushed: every batch below it was past the device's cache when this one was made
//!     64     4  segment
//!     68     4  block within the segment where this header lies
//!     72     4  entries
//!     76     4  bytes of the entries
//!     80     4  CRC-32 of the entries
//!     84    40  zero
//!    124     4  CRC-32 of bytes 0..124
//!    128        entries
//! ```
//! An entry is 40 bytes, and a CRC-32 for each of its blocks if it has data:
//!
//! ```text
//!      0     1  kind: 1 write, 2 repair, 3 move, 4 trim, 5 lost, 6 fence, 7 delete, 8 horizon, 9 session, 10 group,
//!                                 11 clear
//!      1     1  zero
//!      2     2  first block           (0 unless 1..=5)
//!      4     2  block count           (0 unless 1..=5)
//!      6     2  zero
//!      8     8  volume                (session: the client id's first half; group, clear: its number)
//!     16     8  chunk 4, zero 4       (session: the client id's second half; 0 in 6, 7, 10; horizon:
//!                                      1 if tombstones up to stable are forgotten, else 0; clear: groups
//!                                      of the pool 4, zero 4)
//!     24     8  version               (fence: the epoch's first; horizon: settled; session: sequence;
//!                                      group, clear: its least epoch)
//!     32     8  0                     (horizon: stable)
//! ```
//! The data blocks of the entries with data follow the header blocks in the entries' order.

use super::{DiskError, FORMAT_VERSION, check_counters, check_header, check_zero, id_at, put};
use crate::checksum::crc32;
use crate::frame::{u16_at, u32_at, u64_at};
use crate::ids::{ChunkIndex, ClientId, DiskId, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId};
use crate::message::BlockRange;
use crate::units::{BLOCK_LEN, BLOCKS_PER_CHUNK};

/// The first bytes of a batch.
pub const MAGIC: [u8; 8] = *b"ASHBATCH";
/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 128;
/// Bytes of an entry without its CRCs.
pub const ENTRY_BYTES: usize = 40;
/// Data blocks of one batch, at most.
pub const MAX_DATA_BLOCKS: u32 = 1024;
/// Header blocks of one batch, at most.
pub const MAX_HEADER_BLOCKS: u16 = 16;

const CRC_AT: usize = 124;

/// A batch's fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub disk: DiskId,
    pub incarnation: u64,
    pub sequence: u64,
    pub segment_first: u64,
    pub flushed: u64,
    pub segment: u32,
    pub block: u32,
    pub header_blocks: u16,
    pub data_blocks: u32,
    pub entries: u32,
    pub entries_len: u32,
    pub entries_crc: u32,
}

impl BatchHeader {
    /// Blocks that a header with `entries_len` bytes of entries takes.
    pub fn blocks_for(entries_len: usize) -> usize {
        (HEADER_BYTES + entries_len).div_ceil(BLOCK_LEN)
    }

    /// Writes the fixed header to the start of `out`.
    pub fn encode_to(&self, out: &mut [u8]) {
        let out = &mut out[..HEADER_BYTES];
        out.fill(0);
        put(out, 0, &MAGIC);
        put(out, 8, &FORMAT_VERSION.to_le_bytes());
        put(out, 10, &self.header_blocks.to_le_bytes());
        put(out, 12, &self.data_blocks.to_le_bytes());
        put(out, 16, &self.disk.0);
        put(out, 32, &self.incarnation.to_le_bytes());
        put(out, 40, &self.sequence.to_le_bytes());
        put(out, 48, &self.segment_first.to_le_bytes());
        put(out, 56, &self.flushed.to_le_bytes());
        put(out, 64, &self.segment.to_le_bytes());
        put(out, 68, &self.block.to_le_bytes());
        put(out, 72, &self.entries.to_le_bytes());
        put(out, 76, &self.entries_len.to_le_bytes());
        put(out, 80, &self.entries_crc.to_le_bytes());
        let crc = crc32(&out[..CRC_AT]);
        put(out, CRC_AT, &crc.to_le_bytes());
    }

    /// Checks and decodes a fixed header; its lengths are within limits when this returns `Ok`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DiskError> {
        check_header(bytes, (MAGIC, FORMAT_VERSION), 84..CRC_AT)?;
        let header = Self {
            disk: DiskId(id_at(bytes, 16)),
            incarnation: u64_at(bytes, 32),
            sequence: u64_at(bytes, 40),
            segment_first: u64_at(bytes, 48),
            flushed: u64_at(bytes, 56),
            segment: u32_at(bytes, 64),
            block: u32_at(bytes, 68),
            header_blocks: u16_at(bytes, 10),
            data_blocks: u32_at(bytes, 12),
            entries: u32_at(bytes, 72),
            entries_len: u32_at(bytes, 76),
            entries_crc: u32_at(bytes, 80),
        };
        check_counters(&[header.incarnation, header.sequence, header.segment_first, header.flushed])?;
        let room = usize::from(MAX_HEADER_BLOCKS) * BLOCK_LEN - HEADER_BYTES;
        if header.entries_len as usize > room || header.data_blocks > MAX_DATA_BLOCKS {
            return Err(DiskError::Content("a batch is longer than any"));
        }
        if Self::blocks_for(header.entries_len as usize) != usize::from(header.header_blocks) {
            return Err(DiskError::Content("a batch's header blocks do not fit its entries"));
        }
        Ok(header)
    }

    /// Blocks of the whole batch.
    pub fn blocks(&self) -> u32 {
        u32::from(self.header_blocks) + self.data_blocks
    }

    /// Checks the entries in `header_blocks` whole blocks and returns their bytes.
    pub fn check_entries<'a>(&self, blocks: &'a [u8]) -> Result<&'a [u8], DiskError> {
        if blocks.len() != usize::from(self.header_blocks) * BLOCK_LEN {
            return Err(DiskError::Content("a batch's header is cut short"));
        }
        let (bytes, padding) = blocks[HEADER_BYTES..].split_at(self.entries_len as usize);
        if crc32(bytes) != self.entries_crc {
            return Err(DiskError::BodyChecksum);
        }
        check_zero(padding)?;
        let (mut count, mut data_blocks) = (0u32, 0u32);
        for entry in entries(bytes) {
            count += 1;
            data_blocks += entry?.data_blocks();
        }
        if count != self.entries || data_blocks != self.data_blocks {
            return Err(DiskError::Content("a batch's entries do not add up to its header"));
        }
        Ok(bytes)
    }
}

/// Where an entry's data came from; it decides what an equal version does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum DataKind {
    /// A writer's: an equal version that is held stays.
    Write = 1,
    /// A repair's: takes an equal version's place.
    Repair = 2,
    /// The cleaner's: takes an equal version's place.
    Move = 3,
}

/// One thing that a batch says. CRCs are four little-endian bytes a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    Data {
        kind: DataKind,
        range: BlockRange,
        version: Version,
        crcs: &'a [u8],
    },
    Trim {
        range: BlockRange,
        version: Version,
    },
    /// The only copy here of these blocks was bad when the cleaner came by; the version is known still.
    Lost {
        range: BlockRange,
        version: Version,
    },
    Fence {
        volume: VolumeId,
        epoch: VolumeEpoch,
    },
    Delete {
        volume: VolumeId,
    },
    Horizon {
        volume: VolumeId,
        settled: Version,
        stable: Version,
        /// Tombstones up to `stable` are forgotten: all members of all the volume's groups have them.
        whole: bool,
    },
    /// The group has this epoch or a higher one.
    Group {
        group: GroupId,
        epoch: GroupEpoch,
    },
    /// Nothing of the group that was written before is here any more, in a pool of so many groups; and the
    /// group has this epoch or a higher one.
    Clear {
        group: GroupId,
        groups: u32,
        epoch: GroupEpoch,
    },
    /// Every write of the client's session up to `sequence` is in this batch or an earlier one.
    Session {
        client: ClientId,
        sequence: u64,
    },
}

impl<'a> Entry<'a> {
    /// Data blocks that belong to the entry.
    pub fn data_blocks(&self) -> u32 {
        match self {
            Self::Data { range, .. } => u32::from(range.count),
            _ => 0,
        }
    }

    /// Bytes the entry takes.
    pub fn len_bytes(&self) -> usize {
        ENTRY_BYTES + self.data_blocks() as usize * 4
    }

    /// Writes the entry at the start of `out` and returns its length.
    pub fn encode_to(&self, out: &mut [u8]) -> usize {
        let len = self.len_bytes();
        let out = &mut out[..len];
        out[..ENTRY_BYTES].fill(0);
        match self {
            Self::Data { kind, range, version, crcs } => {
                assert_eq!(crcs.len(), usize::from(range.count) * 4, "a CRC a block");
                put_range(out, *kind as u8, range, *version);
                put(out, ENTRY_BYTES, crcs);
            }
            Self::Trim { range, version } => put_range(out, 4, range, *version),
            Self::Lost { range, version } => put_range(out, 5, range, *version),
            Self::Fence { volume, epoch } => put_numbers(out, 6, *volume, Version::first_of(*epoch).0, 0),
            Self::Delete { volume } => put_numbers(out, 7, *volume, 0, 0),
            Self::Horizon { volume, settled, stable, whole } => {
                put_numbers(out, 8, *volume, settled.0, stable.0);
                out[16] = u8::from(*whole);
            }
            Self::Group { group, epoch } => {
                put_numbers(out, 10, VolumeId(u64::from(group.0)), u64::from(epoch.0), 0);
            }
            Self::Clear { group, groups, epoch } => {
                put_numbers(out, 11, VolumeId(u64::from(group.0)), u64::from(epoch.0), 0);
                put(out, 16, &groups.to_le_bytes());
            }
            Self::Session { client, sequence } => {
                out[0] = 9;
                put(out, 8, &client.0);
                put(out, 24, &sequence.to_le_bytes());
            }
        }
        len
    }

    /// The entry at the start of `bytes`, and the rest.
    fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DiskError> {
        if bytes.len() < ENTRY_BYTES {
            return Err(DiskError::Content("an entry is cut short"));
        }
        let (head, rest) = bytes.split_at(ENTRY_BYTES);
        check_zero(&head[1..2])?;
        check_zero(&head[6..8])?;
        let volume = VolumeId(u64_at(head, 8));
        let (first, second) = (u64_at(head, 24), u64_at(head, 32));
        let entry = match head[0] {
            kind @ 1..=3 => {
                let kind = [DataKind::Write, DataKind::Repair, DataKind::Move][usize::from(kind) - 1];
                let range = range_of(head)?;
                let len = usize::from(range.count) * 4;
                if rest.len() < len {
                    return Err(DiskError::Content("an entry's CRCs are cut short"));
                }
                let (crcs, rest) = rest.split_at(len);
                return Ok((Self::Data { kind, range, version: Version(first), crcs }, rest));
            }
            4 => Self::Trim { range: range_of(head)?, version: Version(first) },
            5 => Self::Lost { range: range_of(head)?, version: Version(first) },
            9 => {
                check_zero(&head[2..6])?;
                check_zero(&head[32..])?;
                Self::Session { client: ClientId(id_at(head, 8)), sequence: first }
            }
            kind @ 6..=8 => {
                check_zero(&head[2..6])?;
                check_zero(&head[17..24])?;
                if head[16] > u8::from(kind == 8) {
                    return Err(DiskError::Content("an entry's flags are not known"));
                }
                match kind {
                    6 => {
                        check_zero(&head[32..])?;
                        Self::Fence { volume, epoch: Version(first).epoch() }
                    }
                    7 => {
                        check_zero(&head[24..])?;
                        Self::Delete { volume }
                    }
                    _ => {
                        let (settled, stable) = (Version(first), Version(second));
                        Self::Horizon { volume, settled, stable, whole: head[16] == 1 }
                    }
                }
            }
            10 => {
                [2..6, 12..24, 28..40].into_iter().try_for_each(|range| check_zero(&head[range]))?;
                Self::Group { group: GroupId(u32_at(head, 8)), epoch: GroupEpoch(u32_at(head, 24)) }
            }
            11 => {
                [2..6, 12..16, 20..24, 28..40].into_iter().try_for_each(|range| check_zero(&head[range]))?;
                let (group, groups) = (u32_at(head, 8), u32_at(head, 16));
                if group >= groups {
                    return Err(DiskError::Content("an entry clears a group that its pool does not have"));
                }
                Self::Clear { group: GroupId(group), groups, epoch: GroupEpoch(u32_at(head, 24)) }
            }
            _ => return Err(DiskError::Content("an entry's kind is not known")),
        };
        Ok((entry, rest))
    }
}

fn put_range(out: &mut [u8], kind: u8, range: &BlockRange, version: Version) {
    out[0] = kind;
    put(out, 2, &range.first.to_le_bytes());
    put(out, 4, &range.count.to_le_bytes());
    put(out, 8, &range.volume.0.to_le_bytes());
    put(out, 16, &range.chunk.0.to_le_bytes());
    put(out, 24, &version.0.to_le_bytes());
}

fn put_numbers(out: &mut [u8], kind: u8, volume: VolumeId, first: u64, second: u64) {
    out[0] = kind;
    put(out, 8, &volume.0.to_le_bytes());
    put(out, 24, &first.to_le_bytes());
    put(out, 32, &second.to_le_bytes());
}

fn range_of(head: &[u8]) -> Result<BlockRange, DiskError> {
    check_zero(&head[20..24])?;
    check_zero(&head[32..40])?;
    let range = BlockRange {
        volume: VolumeId(u64_at(head, 8)),
        chunk: ChunkIndex(u32_at(head, 16)),
        first: u16_at(head, 2),
        count: u16_at(head, 4),
    };
    if range.count == 0 || u32::from(range.first) + u32::from(range.count) > BLOCKS_PER_CHUNK {
        return Err(DiskError::Content("an entry's blocks are empty or past their chunk's end"));
    }
    Ok(range)
}

/// The entries in `bytes`, in order; the first bad one ends them with its error.
pub fn entries(bytes: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, DiskError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match Entry::decode(rest) {
            Ok((entry, after)) => {
                rest = after;
                Some(Ok(entry))
            }
            Err(error) => {
                rest = &[];
                Some(Err(error))
            }
        }
    })
}
