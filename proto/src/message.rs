//! Typed requests and replies, and their frames.
//!
//! A payload is a *table* (small, covered by the header's `table_crc`) and then block *data* (each block
//! covered by its own CRC in the table). [`Request::encode`] gives both apart, so that data goes to the
//! socket from where it lies.
//!
//! | type | header fields | table | data |
//! |---|---|---|---|
//! | Hello | | token 32, client 16, disk 16 | |
//! | HelloReply | | disk 16, incarnation 8, capacity in bytes 8 | |
//! | Open | volume, version = epoch, flags bit 0: as reader, without fencing | client 16 | |
//! | OpenReply | volume, settled | stable 8, highest 8, held sequence 8, fence 4, zero 4 | |
//! | List | volume, version = horizon | cursor 8 | |
//! | ListReply | volume | next cursor 8 (all ones: the end), entries of 24 | |
//! | Write | volume, chunk, blocks, version, flags bit 0: repair | CRC 4 a block | blocks |
//! | Trim | volume, chunk, blocks, version | | |
//! | Flush | volume, version = through | stable 8 | |
//! | Read | volume, chunk, blocks, version = epoch | | |
//! | ReadReply | volume, chunk, blocks | 16 a block: version 8, CRC 4, state 4 | blocks in state data |
//! | DeleteVolume | volume, version = epoch | | |
//! | VolumeStat | volume | | |
//! | VolumeStatReply | volume | live blocks 8, chunks 8 | |
//! | DiskStat | | | |
//! | DiskStatReply | | nine numbers of 8 (see [`DiskStat`]) | |
//! | Ack | of the request | | |
//! | Error | of the request | code 2, zero 2, message in UTF-8 | |

use crate::checksum::crc32;
use crate::error::{ErrorCode, WireError};
use crate::frame::{FrameError, FrameHeader, FrameType, HEADER_BYTES, u16_at, u32_at, u64_at};
use crate::ids::{ChunkIndex, ClientId, DiskId, GroupEpoch, Version, VolumeEpoch, VolumeId};
use crate::limits::{
    LIST_ENTRY_BYTES, MAX_BLOCKS_PER_IO, MAX_BLOCKS_PER_TRIM, MAX_ERROR_MESSAGE, MAX_LIST_ENTRIES,
    READ_ENTRY_BYTES, TOKEN_BYTES,
};
use crate::units::{BLOCK_LEN, BLOCKS_PER_CHUNK};
use bytes::Bytes;

const FLAG_REPAIR: u16 = 1;
const FLAG_READER: u16 = 1;
/// The cursor that says a listing has ended.
pub const LIST_END: u64 = u64::MAX;

/// Consecutive blocks of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockRange {
    pub volume: VolumeId,
    pub chunk: ChunkIndex,
    /// First block, below [`BLOCKS_PER_CHUNK`].
    pub first: u16,
    /// At least 1; the range ends within the chunk.
    pub count: u16,
}

impl BlockRange {
    /// Bytes of data the range holds.
    pub fn len_bytes(&self) -> usize {
        usize::from(self.count) * BLOCK_LEN
    }

    fn check(&self, max_count: u32) -> Result<(), FrameError> {
        let (first, count) = (u32::from(self.first), u32::from(self.count));
        if count == 0 || count > max_count || first + count > BLOCKS_PER_CHUNK {
            return Err(FrameError::BadPayload("the block range is empty, too long or past the chunk's end"));
        }
        Ok(())
    }
}

/// Who opens a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Fences all lower epochs, durably, before it is answered.
    Writer,
    /// Takes part in nothing; reads and stats only.
    Reader,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Grows by one with each request of a session (a client's connection to a disk, over reconnects).
    pub sequence: u64,
    pub settled: Version,
    pub group_epoch: GroupEpoch,
    pub body: RequestBody,
}

/// The kinds of request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestBody {
    Hello {
        token: [u8; TOKEN_BYTES],
        client: ClientId,
        disk: DiskId,
    },
    Open {
        volume: VolumeId,
        epoch: VolumeEpoch,
        client: ClientId,
        mode: OpenMode,
    },
    /// Blocks of `volume` held with a version above `above`, from `cursor` (0 at first) on.
    List {
        volume: VolumeId,
        above: Version,
        cursor: u64,
    },
    /// `repair` puts a block back with the version it has; it takes the place of an equal version.
    Write {
        range: BlockRange,
        version: Version,
        crcs: Vec<u32>,
        data: Bytes,
        repair: bool,
    },
    Trim {
        range: BlockRange,
        version: Version,
    },
    /// Make everything acked up to `through` durable. `stable`: known flushed on all in-sync members.
    Flush {
        volume: VolumeId,
        through: Version,
        stable: Version,
    },
    Read {
        range: BlockRange,
        epoch: VolumeEpoch,
    },
    DeleteVolume {
        volume: VolumeId,
        epoch: VolumeEpoch,
    },
    VolumeStat {
        volume: VolumeId,
    },
    DiskStat,
}

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
    List { entries: Vec<ListEntry>, next_cursor: u64 },
    Ack,
    Read { range: BlockRange, blocks: Vec<ReadBlock>, data: Vec<Bytes> },
    VolumeStat(VolumeStat),
    DiskStat(DiskStat),
    Error(WireError),
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

/// What a volume takes on one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VolumeStat {
    pub live_blocks: u64,
    pub chunks: u64,
}

/// How one disk is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskStat {
    /// What data may use: the slices' segments without the held-back over-provision.
    pub capacity_bytes: u64,
    /// Blocks that an index entry points to.
    pub live_bytes: u64,
    /// What can be written before `NoSpace`, once the cleaner has done its work.
    pub free_bytes: u64,
    pub segments: u64,
    pub free_segments: u64,
    pub batches: u64,
    pub corrupt_blocks: u64,
    pub repaired_blocks: u64,
    /// Memory of the index, in bytes.
    pub index_bytes: u64,
}

/// A frame ready for the socket: `head` is header and table, `data` the blocks behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub head: Bytes,
    pub data: Vec<Bytes>,
}

impl Encoded {
    /// Bytes on the wire.
    pub fn len_bytes(&self) -> usize {
        self.head.len() + self.data.iter().map(Bytes::len).sum::<usize>()
    }
}

fn finish(mut header: FrameHeader, table: &[u8], data: Vec<Bytes>) -> Encoded {
    let len = table.len() + data.iter().map(Bytes::len).sum::<usize>();
    header.payload_len = u32::try_from(len).expect("payloads are within MAX_PAYLOAD_BYTES");
    header.table_crc = crc32(table);
    let mut head = Vec::with_capacity(HEADER_BYTES + table.len());
    head.extend_from_slice(&header.encode());
    head.extend_from_slice(table);
    Encoded { head: head.into(), data }
}

fn put_range(header: &mut FrameHeader, range: &BlockRange) {
    header.volume = range.volume;
    header.chunk = range.chunk;
    header.first_block = range.first;
    header.block_count = range.count;
}

fn range_of(header: &FrameHeader, max_count: u32) -> Result<BlockRange, FrameError> {
    let range = BlockRange {
        volume: header.volume,
        chunk: header.chunk,
        first: header.first_block,
        count: header.block_count,
    };
    range.check(max_count)?;
    Ok(range)
}

/// Splits a payload after its table, whose checksum must match.
fn table_of(header: &FrameHeader, payload: &Bytes, table_len: usize) -> Result<(Bytes, Bytes), FrameError> {
    if payload.len() != header.payload_len as usize || payload.len() < table_len {
        return Err(FrameError::BadPayload("shorter than its type needs"));
    }
    let table = payload.slice(..table_len);
    if crc32(&table) != header.table_crc {
        return Err(FrameError::TableChecksum);
    }
    Ok((table, payload.slice(table_len..)))
}

fn table_only(header: &FrameHeader, payload: &Bytes, table_len: usize) -> Result<Bytes, FrameError> {
    let (table, rest) = table_of(header, payload, table_len)?;
    if !rest.is_empty() {
        return Err(FrameError::BadPayload("longer than its type needs"));
    }
    Ok(table)
}

impl Request {
    /// The frame of this request.
    pub fn encode(&self) -> Encoded {
        let kind = match &self.body {
            RequestBody::Hello { .. } => FrameType::Hello,
            RequestBody::Open { .. } => FrameType::Open,
            RequestBody::List { .. } => FrameType::List,
            RequestBody::Write { .. } => FrameType::Write,
            RequestBody::Trim { .. } => FrameType::Trim,
            RequestBody::Flush { .. } => FrameType::Flush,
            RequestBody::Read { .. } => FrameType::Read,
            RequestBody::DeleteVolume { .. } => FrameType::DeleteVolume,
            RequestBody::VolumeStat { .. } => FrameType::VolumeStat,
            RequestBody::DiskStat => FrameType::DiskStat,
        };
        let mut header = FrameHeader::new(kind, self.sequence);
        header.settled = self.settled;
        header.group_epoch = self.group_epoch;
        let mut table = Vec::new();
        let mut data = Vec::new();
        match &self.body {
            RequestBody::Hello { token, client, disk } => {
                table.extend_from_slice(token);
                table.extend_from_slice(&client.0);
                table.extend_from_slice(&disk.0);
            }
            RequestBody::Open { volume, epoch, client, mode } => {
                header.volume = *volume;
                header.version = Version::first_of(*epoch);
                header.flags = if *mode == OpenMode::Reader { FLAG_READER } else { 0 };
                table.extend_from_slice(&client.0);
            }
            RequestBody::List { volume, above, cursor } => {
                header.volume = *volume;
                header.version = *above;
                table.extend_from_slice(&cursor.to_le_bytes());
            }
            RequestBody::Write { range, version, crcs, data: blocks, repair } => {
                assert_eq!(blocks.len(), range.len_bytes(), "a write carries all its blocks");
                assert_eq!(crcs.len(), usize::from(range.count), "a write carries a CRC a block");
                put_range(&mut header, range);
                header.version = *version;
                header.flags = if *repair { FLAG_REPAIR } else { 0 };
                table.reserve_exact(crcs.len() * 4);
                crcs.iter().for_each(|crc| table.extend_from_slice(&crc.to_le_bytes()));
                data.push(blocks.clone());
            }
            RequestBody::Trim { range, version } => {
                put_range(&mut header, range);
                header.version = *version;
            }
            RequestBody::Flush { volume, through, stable } => {
                header.volume = *volume;
                header.version = *through;
                table.extend_from_slice(&stable.0.to_le_bytes());
            }
            RequestBody::Read { range, epoch } => {
                put_range(&mut header, range);
                header.version = Version::first_of(*epoch);
            }
            RequestBody::DeleteVolume { volume, epoch } => {
                header.volume = *volume;
                header.version = Version::first_of(*epoch);
            }
            RequestBody::VolumeStat { volume } => header.volume = *volume,
            RequestBody::DiskStat => {}
        }
        finish(header, &table, data)
    }

    /// The request of a decoded header and its whole payload. Block data is *not* checked against its
    /// CRCs here: the one who stores or uses it does, once, while it copies.
    pub fn decode(header: &FrameHeader, payload: &Bytes) -> Result<Self, FrameError> {
        let volume = header.volume;
        let epoch = header.version.epoch();
        let body = match header.kind {
            FrameType::Hello => {
                let table = table_only(header, payload, TOKEN_BYTES + 32)?;
                let token = table[..TOKEN_BYTES].try_into().expect("the token's length");
                let client = ClientId(id_at(&table, TOKEN_BYTES));
                RequestBody::Hello { token, client, disk: DiskId(id_at(&table, TOKEN_BYTES + 16)) }
            }
            FrameType::Open => {
                let table = table_only(header, payload, 16)?;
                let reader = header.flags & FLAG_READER != 0;
                let mode = if reader { OpenMode::Reader } else { OpenMode::Writer };
                RequestBody::Open { volume, epoch, client: ClientId(id_at(&table, 0)), mode }
            }
            FrameType::List => {
                let table = table_only(header, payload, 8)?;
                RequestBody::List { volume, above: header.version, cursor: u64_at(&table, 0) }
            }
            FrameType::Write => {
                let range = range_of(header, MAX_BLOCKS_PER_IO)?;
                let (table, data) = table_of(header, payload, usize::from(range.count) * 4)?;
                if data.len() != range.len_bytes() {
                    return Err(FrameError::BadPayload("a write's data is not its blocks"));
                }
                let crcs = table.chunks_exact(4).map(|crc| u32_at(crc, 0)).collect();
                let repair = header.flags & FLAG_REPAIR != 0;
                RequestBody::Write { range, version: header.version, crcs, data, repair }
            }
            FrameType::Trim => {
                table_only(header, payload, 0)?;
                RequestBody::Trim { range: range_of(header, MAX_BLOCKS_PER_TRIM)?, version: header.version }
            }
            FrameType::Flush => {
                let table = table_only(header, payload, 8)?;
                RequestBody::Flush { volume, through: header.version, stable: Version(u64_at(&table, 0)) }
            }
            FrameType::Read => {
                table_only(header, payload, 0)?;
                RequestBody::Read { range: range_of(header, MAX_BLOCKS_PER_IO)?, epoch }
            }
            FrameType::DeleteVolume => {
                table_only(header, payload, 0)?;
                RequestBody::DeleteVolume { volume, epoch }
            }
            FrameType::VolumeStat => {
                table_only(header, payload, 0)?;
                RequestBody::VolumeStat { volume }
            }
            FrameType::DiskStat => {
                table_only(header, payload, 0)?;
                RequestBody::DiskStat
            }
            _ => return Err(FrameError::BadPayload("a reply where a request was due")),
        };
        Ok(Self { sequence: header.sequence, settled: header.settled, group_epoch: header.group_epoch, body })
    }
}

impl Reply {
    /// A refusal of request `sequence`.
    pub fn error(sequence: u64, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { sequence, body: ReplyBody::Error(WireError::new(code, message)) }
    }

    /// The frame of this reply.
    pub fn encode(&self) -> Encoded {
        let kind = match &self.body {
            ReplyBody::Hello(_) => FrameType::HelloReply,
            ReplyBody::Open(_) => FrameType::OpenReply,
            ReplyBody::List { .. } => FrameType::ListReply,
            ReplyBody::Ack => FrameType::Ack,
            ReplyBody::Read { .. } => FrameType::ReadReply,
            ReplyBody::VolumeStat(_) => FrameType::VolumeStatReply,
            ReplyBody::DiskStat(_) => FrameType::DiskStatReply,
            ReplyBody::Error(_) => FrameType::Error,
        };
        let mut header = FrameHeader::new(kind, self.sequence);
        let mut table = Vec::new();
        let mut blocks_data = Vec::new();
        match &self.body {
            ReplyBody::Hello(hello) => {
                table.extend_from_slice(&hello.disk.0);
                put_u64s(&mut table, &[hello.incarnation, hello.capacity_bytes]);
            }
            ReplyBody::Open(open) => {
                header.volume = open.volume;
                header.settled = open.settled;
                put_u64s(&mut table, &[open.stable.0, open.highest.0, open.held_sequence]);
                table.extend_from_slice(&open.fence.0.to_le_bytes());
                table.extend_from_slice(&[0; 4]);
            }
            ReplyBody::List { entries, next_cursor } => {
                put_u64s(&mut table, &[*next_cursor]);
                entries.iter().for_each(|entry| put_list_entry(&mut table, entry));
            }
            ReplyBody::Ack => {}
            ReplyBody::Read { range, blocks, data } => {
                put_range(&mut header, range);
                for block in blocks {
                    put_u64s(&mut table, &[block.version.0]);
                    table.extend_from_slice(&block.crc.to_le_bytes());
                    table.extend_from_slice(&(block.state as u32).to_le_bytes());
                }
                blocks_data.clone_from(data);
            }
            ReplyBody::VolumeStat(stat) => put_u64s(&mut table, &[stat.live_blocks, stat.chunks]),
            ReplyBody::DiskStat(stat) => put_u64s(&mut table, &stat.to_numbers()),
            ReplyBody::Error(error) => {
                table.extend_from_slice(&(error.code as u16).to_le_bytes());
                table.extend_from_slice(&[0; 2]);
                let mut end = error.message.len().min(MAX_ERROR_MESSAGE);
                while !error.message.is_char_boundary(end) {
                    end -= 1;
                }
                table.extend_from_slice(&error.message.as_bytes()[..end]);
            }
        }
        finish(header, &table, blocks_data)
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
            FrameType::Error => {
                let len = payload.len().clamp(4, MAX_ERROR_MESSAGE + 4);
                let table = table_only(header, payload, len)?;
                let code = ErrorCode::from_u16(u16_at(&table, 0))
                    .ok_or(FrameError::BadPayload("an error code that is not known"))?;
                let message = String::from_utf8_lossy(&table[4..]).into_owned();
                ReplyBody::Error(WireError { code, message })
            }
            _ => return Err(FrameError::BadPayload("a request where a reply was due")),
        };
        Ok(Self { sequence: header.sequence, body })
    }
}

fn decode_read(header: &FrameHeader, payload: &Bytes) -> Result<ReplyBody, FrameError> {
    let range = range_of(header, MAX_BLOCKS_PER_IO)?;
    let (table, data) = table_of(header, payload, usize::from(range.count) * READ_ENTRY_BYTES)?;
    let mut blocks = Vec::with_capacity(usize::from(range.count));
    let mut data_blocks = 0;
    for entry in table.chunks_exact(READ_ENTRY_BYTES) {
        let state = match u32_at(entry, 12) {
            0 => BlockState::Hole,
            1 => BlockState::Data,
            2 => BlockState::Trimmed,
            3 => BlockState::Corrupt,
            _ => return Err(FrameError::BadPayload("a block state that is not known")),
        };
        data_blocks += usize::from(state == BlockState::Data);
        blocks.push(ReadBlock { version: Version(u64_at(entry, 0)), crc: u32_at(entry, 8), state });
    }
    if data.len() != data_blocks * BLOCK_LEN {
        return Err(FrameError::BadPayload("a read reply's data is not its blocks"));
    }
    Ok(ReplyBody::Read { range, blocks, data: vec![data] })
}

fn id_at(table: &[u8], at: usize) -> [u8; 16] {
    table[at..at + 16].try_into().expect("sixteen bytes")
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

impl DiskStat {
    const NUMBERS: usize = 9;

    fn to_numbers(self) -> [u64; Self::NUMBERS] {
        [
            self.capacity_bytes,
            self.live_bytes,
            self.free_bytes,
            self.segments,
            self.free_segments,
            self.batches,
            self.corrupt_blocks,
            self.repaired_blocks,
            self.index_bytes,
        ]
    }

    fn from_numbers(numbers: [u64; Self::NUMBERS]) -> Self {
        let [
            capacity_bytes,
            live_bytes,
            free_bytes,
            segments,
            free_segments,
            batches,
            corrupt_blocks,
            repaired_blocks,
            index_bytes,
        ] = numbers;
        Self {
            capacity_bytes,
            live_bytes,
            free_bytes,
            segments,
            free_segments,
            batches,
            corrupt_blocks,
            repaired_blocks,
            index_bytes,
        }
    }
}

#[cfg(test)]
#[path = "message_test.rs"]
mod tests;
