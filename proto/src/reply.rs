//! Typed replies and their frames; the table of all messages is in [`crate::message`].

use crate::error::{ErrorCode, WireError};
use crate::frame::{FrameError, FrameHeader, FrameType, u16_at, u32_at, u64_at};
use crate::ids::{ChunkIndex, DiskId, Version, VolumeEpoch, VolumeId};
use crate::limits::{
    LIST_ENTRY_BYTES, MAX_BLOCKS_PER_IO, MAX_DIGEST_ENTRIES, MAX_ERROR_MESSAGE, MAX_LIST_ENTRIES,
    MAX_VOLUME_ENTRIES, PAGE_ENTRY_BYTES, READ_ENTRY_BYTES,
};
use crate::message::{BlockRange, Encoded, finish, id_at, put_range, range_of, table_of, table_only};
use crate::stat::{DiskStat, VolumeStat};
use crate::units::{BLOCK_LEN, BLOCKS_PER_CHUNK};
use bytes::Bytes;

/// What a chunk server answers; `sequence` is the request's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub sequence: u64,
    pub body: ReplyBody,
}

/// The kinds of reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyBody {
    Hello(HelloReply),
    Open(OpenReply),
    List {
        entries: Vec<ListEntry>,
        next_cursor: u64,
    },
    Ack,
    Read {
        range: BlockRange,
        blocks: Vec<ReadBlock>,
        data: Vec<Bytes>,
    },
    VolumeStat(VolumeStat),
    DiskStat(DiskStat),
    /// `next` is [`crate::message::LIST_END`] after the last page. A page may be empty.
    Volumes {
        volumes: Vec<VolumeState>,
        next: u64,
    },
    /// The same. Chunks that hold nothing are left out.
    Digests {
        chunks: Vec<(ChunkIndex, u64)>,
        next: u64,
    },
    /// As a `Read` without the data. `Corrupt`: the medium holds something else than it should, or
    /// gives nothing.
    Verify {
        range: BlockRange,
        blocks: Vec<ReadBlock>,
    },
    Error(WireError),
}

/// A volume as a disk knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeState {
    pub volume: VolumeId,
    /// The epoch below which writes are refused, durably.
    pub fence: VolumeEpoch,
    pub deleted: bool,
}

/// Who answered, and in which of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloReply {
    pub disk: DiskId,
    /// Grows at every mount of the disk.
    pub incarnation: u64,
    pub capacity_bytes: u64,
}

/// What a member knows of a volume when a writer opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenReply {
    pub volume: VolumeId,
    /// Every version up to it was on all in-sync members when a writer last said so.
    pub settled: Version,
    /// Every version up to it was flushed on all in-sync members when a writer last said so.
    pub stable: Version,
    /// The highest version held.
    pub highest: Version,
    /// Every write of this client's session up to this sequence is held here.
    pub held_sequence: u64,
    /// The epoch below which writes are refused, durably.
    pub fence: VolumeEpoch,
}

/// A run of blocks with one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListEntry {
    pub chunk: ChunkIndex,
    pub first: u16,
    pub count: u16,
    pub version: Version,
    pub kind: ListKind,
}

/// What a listed run holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    Data,
    Trimmed,
}

/// One block of a read reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadBlock {
    pub version: Version,
    pub crc: u32,
    pub state: BlockState,
}

/// What a replica holds of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum BlockState {
    /// Never written: reads as zeros.
    Hole = 0,
    /// Its data is in the reply.
    Data = 1,
    /// Trimmed with the version given: reads as zeros.
    Trimmed = 2,
    /// This copy fails its checksum; the version given is what was meant to be here.
    Corrupt = 3,
}

impl ReplyBody {
    fn kind(&self) -> FrameType {
        match self {
            Self::Hello(_) => FrameType::HelloReply,
            Self::Open(_) => FrameType::OpenReply,
            Self::List { .. } => FrameType::ListReply,
            Self::Ack => FrameType::Ack,
            Self::Read { .. } => FrameType::ReadReply,
            Self::VolumeStat(_) => FrameType::VolumeStatReply,
            Self::DiskStat(_) => FrameType::DiskStatReply,
            Self::Volumes { .. } => FrameType::VolumesReply,
            Self::Digests { .. } => FrameType::DigestsReply,
            Self::Verify { .. } => FrameType::VerifyReply,
            Self::Error(_) => FrameType::Error,
        }
    }

    /// Fills in the header's fields, and the table.
    fn put(&self, header: &mut FrameHeader, table: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => {
                table.extend_from_slice(&hello.disk.0);
                put_u64s(table, &[hello.incarnation, hello.capacity_bytes]);
            }
            Self::Open(open) => {
                header.volume = open.volume;
                header.settled = open.settled;
                put_u64s(table, &[open.stable.0, open.highest.0, open.held_sequence]);
                table.extend_from_slice(&open.fence.0.to_le_bytes());
                table.extend_from_slice(&[0; 4]);
            }
            Self::List { entries, next_cursor } => {
                put_u64s(table, &[*next_cursor]);
                entries.iter().for_each(|entry| put_list_entry(table, entry));
            }
            Self::Ack => {}
            Self::Read { range, blocks, .. } | Self::Verify { range, blocks } => {
                put_range(header, range);
                put_read_blocks(table, blocks);
            }
            Self::VolumeStat(stat) => put_u64s(table, &[stat.live_blocks, stat.chunks]),
            Self::DiskStat(stat) => put_u64s(table, &stat.to_numbers()),
            Self::Volumes { volumes, next } => {
                put_u64s(table, &[*next]);
                for held in volumes {
                    put_u64s(table, &[held.volume.0]);
                    table.extend_from_slice(&held.fence.0.to_le_bytes());
                    table.extend_from_slice(&u32::from(held.deleted).to_le_bytes());
                }
            }
            Self::Digests { chunks, next } => {
                put_u64s(table, &[*next]);
                chunks.iter().for_each(|(chunk, digest)| put_u64s(table, &[u64::from(chunk.0), *digest]));
            }
            Self::Error(error) => {
                table.extend_from_slice(&(error.code as u16).to_le_bytes());
                table.extend_from_slice(&[0; 2]);
                let mut end = error.message.len().min(MAX_ERROR_MESSAGE);
                while !error.message.is_char_boundary(end) {
                    end -= 1;
                }
                table.extend_from_slice(&error.message.as_bytes()[..end]);
            }
        }
    }
}

impl Reply {
    /// A refusal of request `sequence`.
    pub fn error(sequence: u64, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { sequence, body: ReplyBody::Error(WireError::new(code, message)) }
    }

    /// The frame of this reply.
    pub fn encode(&self) -> Encoded {
        let mut header = FrameHeader::new(self.body.kind(), self.sequence);
        let mut table = Vec::new();
        self.body.put(&mut header, &mut table);
        let data = match &self.body {
            ReplyBody::Read { data, .. } => data.clone(),
            _ => Vec::new(),
        };
        finish(header, &table, data)
    }

    /// The reply of a decoded header and its whole payload. As with requests, block data is checked
    /// against its CRCs by the one who uses it.
    pub fn decode(header: &FrameHeader, payload: &Bytes) -> Result<Self, FrameError> {
        let body = match header.kind {
            FrameType::HelloReply => {
                let table = table_only(header, payload, 32)?;
                ReplyBody::Hello(HelloReply {
                    disk: DiskId(id_at(&table, 0)),
                    incarnation: u64_at(&table, 16),
                    capacity_bytes: u64_at(&table, 24),
                })
            }
            FrameType::OpenReply => {
                let table = table_only(header, payload, 32)?;
                ReplyBody::Open(OpenReply {
                    volume: header.volume,
                    settled: header.settled,
                    stable: Version(u64_at(&table, 0)),
                    highest: Version(u64_at(&table, 8)),
                    held_sequence: u64_at(&table, 16),
                    fence: VolumeEpoch(u32_at(&table, 24)),
                })
            }
            FrameType::ListReply => {
                let table = table_only(header, payload, payload.len().max(8))?;
                let entries = list_entries(&table[8..])?;
                ReplyBody::List { entries, next_cursor: u64_at(&table, 0) }
            }
            FrameType::Ack => {
                table_only(header, payload, 0)?;
                ReplyBody::Ack
            }
            FrameType::ReadReply => decode_read(header, payload)?,
            FrameType::VolumeStatReply => {
                let table = table_only(header, payload, 16)?;
                ReplyBody::VolumeStat(VolumeStat {
                    live_blocks: u64_at(&table, 0),
                    chunks: u64_at(&table, 8),
                })
            }
            FrameType::DiskStatReply => {
                let table = table_only(header, payload, DiskStat::NUMBERS * 8)?;
                let mut numbers = [0; DiskStat::NUMBERS];
                numbers.iter_mut().zip(table.chunks_exact(8)).for_each(|(n, bytes)| *n = u64_at(bytes, 0));
                ReplyBody::DiskStat(DiskStat::from_numbers(numbers))
            }
            FrameType::VolumesReply => {
                let (next, entries) = decode_page(header, payload, MAX_VOLUME_ENTRIES)?;
                let volumes = entries.chunks_exact(PAGE_ENTRY_BYTES).map(volume_state);
                ReplyBody::Volumes { volumes: volumes.collect::<Result<_, _>>()?, next }
            }
            FrameType::DigestsReply => {
                let (next, entries) = decode_page(header, payload, MAX_DIGEST_ENTRIES)?;
                let chunk = |entry| (ChunkIndex(u32_at(entry, 0)), u64_at(entry, 8));
                ReplyBody::Digests {
                    chunks: entries.chunks_exact(PAGE_ENTRY_BYTES).map(chunk).collect(),
                    next,
                }
            }
            FrameType::VerifyReply => {
                let range = range_of(header, MAX_BLOCKS_PER_IO)?;
                let table = table_only(header, payload, usize::from(range.count) * READ_ENTRY_BYTES)?;
                ReplyBody::Verify { range, blocks: read_blocks(&table)? }
            }
            FrameType::Error => decode_error(header, payload)?,
            _ => return Err(FrameError::BadPayload("a request where a reply was due")),
        };
        Ok(Self { sequence: header.sequence, body })
    }
}

fn decode_error(header: &FrameHeader, payload: &Bytes) -> Result<ReplyBody, FrameError> {
    let len = payload.len().clamp(4, MAX_ERROR_MESSAGE + 4);
    let table = table_only(header, payload, len)?;
    let code = ErrorCode::from_u16(u16_at(&table, 0))
        .ok_or(FrameError::BadPayload("an error code that is not known"))?;
    let message = String::from_utf8_lossy(&table[4..]).into_owned();
    Ok(ReplyBody::Error(WireError { code, message }))
}

fn decode_read(header: &FrameHeader, payload: &Bytes) -> Result<ReplyBody, FrameError> {
    let range = range_of(header, MAX_BLOCKS_PER_IO)?;
    let (table, data) = table_of(header, payload, usize::from(range.count) * READ_ENTRY_BYTES)?;
    let blocks = read_blocks(&table)?;
    let data_blocks = blocks.iter().filter(|block| block.state == BlockState::Data).count();
    if data.len() != data_blocks * BLOCK_LEN {
        return Err(FrameError::BadPayload("a read reply's data is not its blocks"));
    }
    Ok(ReplyBody::Read { range, blocks, data: vec![data] })
}

fn put_read_blocks(table: &mut Vec<u8>, blocks: &[ReadBlock]) {
    for block in blocks {
        put_u64s(table, &[block.version.0]);
        table.extend_from_slice(&block.crc.to_le_bytes());
        table.extend_from_slice(&(block.state as u32).to_le_bytes());
    }
}

fn read_blocks(table: &[u8]) -> Result<Vec<ReadBlock>, FrameError> {
    let decode = |entry: &[u8]| {
        let state = match u32_at(entry, 12) {
            0 => BlockState::Hole,
            1 => BlockState::Data,
            2 => BlockState::Trimmed,
            3 => BlockState::Corrupt,
            _ => return Err(FrameError::BadPayload("a block state that is not known")),
        };
        Ok(ReadBlock { version: Version(u64_at(entry, 0)), crc: u32_at(entry, 8), state })
    };
    table.chunks_exact(READ_ENTRY_BYTES).map(decode).collect()
}

/// A page's next cursor, and its entries, of which there are at most `max`.
fn decode_page(header: &FrameHeader, payload: &Bytes, max: u32) -> Result<(u64, Bytes), FrameError> {
    let table = table_only(header, payload, payload.len().max(8))?;
    let entries = table.slice(8..);
    if !entries.len().is_multiple_of(PAGE_ENTRY_BYTES) || entries.len() / PAGE_ENTRY_BYTES > max as usize {
        return Err(FrameError::BadPayload("a page is not whole entries, or too many"));
    }
    Ok((u64_at(&table, 0), entries))
}

fn volume_state(entry: &[u8]) -> Result<VolumeState, FrameError> {
    let deleted = match u32_at(entry, 12) {
        0 => false,
        1 => true,
        _ => return Err(FrameError::BadPayload("a volume's state is not known")),
    };
    Ok(VolumeState { volume: VolumeId(u64_at(entry, 0)), fence: VolumeEpoch(u32_at(entry, 8)), deleted })
}

fn put_u64s(table: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|number| table.extend_from_slice(&number.to_le_bytes()));
}

fn put_list_entry(table: &mut Vec<u8>, entry: &ListEntry) {
    table.extend_from_slice(&entry.chunk.0.to_le_bytes());
    table.extend_from_slice(&entry.first.to_le_bytes());
    table.extend_from_slice(&entry.count.to_le_bytes());
    table.extend_from_slice(&entry.version.0.to_le_bytes());
    let kind: u64 = if entry.kind == ListKind::Data { 1 } else { 2 };
    table.extend_from_slice(&kind.to_le_bytes());
}

fn list_entries(table: &[u8]) -> Result<Vec<ListEntry>, FrameError> {
    if !table.len().is_multiple_of(LIST_ENTRY_BYTES)
        || table.len() / LIST_ENTRY_BYTES > MAX_LIST_ENTRIES as usize
    {
        return Err(FrameError::BadPayload("a list is not whole entries, or too many"));
    }
    let decode = |entry: &[u8]| {
        let kind = match u64_at(entry, 16) {
            1 => ListKind::Data,
            2 => ListKind::Trimmed,
            _ => return Err(FrameError::BadPayload("a list entry's kind is not known")),
        };
        let (first, count) = (u16_at(entry, 4), u16_at(entry, 6));
        if count == 0 || u32::from(first) + u32::from(count) > BLOCKS_PER_CHUNK {
            return Err(FrameError::BadPayload("a list entry is past its chunk's end"));
        }
        let chunk = ChunkIndex(u32_at(entry, 0));
        Ok(ListEntry { chunk, first, count, version: Version(u64_at(entry, 8)), kind })
    };
    table.chunks_exact(LIST_ENTRY_BYTES).map(decode).collect()
}
