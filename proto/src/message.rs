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
//! | Open | volume, version = epoch, flags bit 0: as reader, bit 1: to repair | client 16, groups 4, zero 4 | |
//! | OpenReply | volume, settled | stable 8, highest 8, held sequence 8, fence 4, zero 4 | |
//! | List | volume, version = horizon | cursor 8 | |
//! | ListReply | volume | next cursor 8 (all ones: the end), entries of 24 | |
//! | Write | volume, chunk, blocks, version, flags bit 0: repair, bit 1: reconcile | CRC 4 a block | blocks |
//! | Trim | volume, chunk, blocks, version, flags bit 1: reconcile | | |
//! | Flush | volume, version = through, flags bit 0: whole | stable 8 | |
//! | Read | volume, chunk, blocks, version = epoch | | |
//! | ReadReply | volume, chunk, blocks | 16 a block: version 8, CRC 4, state 4 | blocks in state data |
//! | DeleteVolume | volume, version = epoch | | |
//! | VolumeStat | volume | | |
//! | VolumeStatReply | volume | live blocks 8, chunks 8 | |
//! | DiskStat | | | |
//! | DiskStatReply | | nine numbers of 8 (see [`DiskStat`]) | |
//! | AdoptGroup | group epoch | group 4, zero 4 | |
//! | Volumes | | cursor 8 | |
//! | VolumesReply | | next cursor 8, 16 a volume: volume 8, fence 4, flags 4 (bit 0: deleted) | |
//! | Digests | volume | cursor 8, group 4, groups 4 | |
//! | DigestsReply | | next cursor 8, 16 a chunk: chunk 4, zero 4, digest 8 | |
//! | ListChunk | volume, chunk | | |
//! | CopyIn | volume, chunk, blocks, version, flags bit 0: expects | CRC 4 a block; if it expects, a version 8 | blocks |
//! | CopyTrim | volume, chunk, blocks, version | | |
//! | Fence | volume, version = epoch | | |
//! | Verify | volume, chunk, blocks | | |
//! | ClearGroup | group epoch | group 4, groups 4 | |
//! | VerifyReply | volume, chunk, blocks | 16 a block, as ReadReply | |
//! | Ack | of the request | | |
//! | Error | of the request | code 2, zero 2, message in UTF-8 | |

use crate::checksum::BlockCrcs;
use crate::checksum::crc32;
use crate::frame::{FrameError, FrameHeader, FrameType, HEADER_BYTES, u32_at, u64_at};
use crate::ids::{ChunkIndex, ClientId, DiskId, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId};
use crate::limits::{MAX_BLOCKS_PER_IO, MAX_BLOCKS_PER_TRIM, MAX_GROUPS, TOKEN_BYTES};
use crate::units::{BLOCK_LEN, BLOCKS_PER_CHUNK};
use bytes::Bytes;

pub use crate::reply::{
    BlockState, HelloReply, ListEntry, ListKind, OpenReply, ReadBlock, Reply, ReplyBody, VolumeState,
};
pub use crate::stat::{DiskStat, VolumeStat};
pub use crate::write_kind::WriteKind;

const FLAG_READER: u16 = 1;
const FLAG_REPAIRER: u16 = 2;
const FLAG_WHOLE: u16 = 1;
const FLAG_EXPECTS: u16 = 1;
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
    /// Needs no epoch and fences nobody: compares what members hold, and copies from one to another.
    Repair,
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
        /// Groups of the pool, at most [`MAX_GROUPS`]: with it a server knows each chunk's group.
        groups: u32,
    },
    /// Blocks of `volume` held with a version above `above`, from `cursor` (0 at first) on.
    List {
        volume: VolumeId,
        above: Version,
        cursor: u64,
    },
    Write {
        range: BlockRange,
        version: Version,
        crcs: BlockCrcs,
        data: Bytes,
        kind: WriteKind,
    },
    /// Never a repair.
    Trim {
        range: BlockRange,
        version: Version,
        kind: WriteKind,
    },
    /// Make everything acked up to `through` durable. `stable`: known flushed on all in-sync members.
    /// `whole`: in every group of the volume all members are in sync, so tombstones up to `stable` may go.
    Flush {
        volume: VolumeId,
        through: Version,
        stable: Version,
        whole: bool,
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
    /// From now on, and over restarts, frames of the group with a lower epoch than this one's
    /// `group_epoch` are refused. Answered when that is durable, and so is every write taken before.
    AdoptGroup {
        group: GroupId,
    },
    /// A page of all volumes that the disk knows, deleted ones too, from `cursor` (0 at first) on.
    Volumes {
        cursor: u64,
    },
    /// A page of digests of the volume's chunks in one group, from `cursor` (0 at first) on.
    Digests {
        volume: VolumeId,
        group: GroupId,
        /// Groups of the pool.
        groups: u32,
        cursor: u64,
    },
    /// All runs of one chunk; answered with a `List` of one page.
    ListChunk {
        volume: VolumeId,
        chunk: ChunkIndex,
    },
    /// Blocks of another member, with the version they have there. A higher version that is held stays, an
    /// equal one is replaced: its copy may be bad. `expect`: only if each block is held with this version
    /// ([`Version::ZERO`]: not at all), else `Changed`. Among members in sync a copy must not come after a
    /// trim that they have forgotten since it was read; a member that is catching up forgets none.
    CopyIn {
        range: BlockRange,
        version: Version,
        expect: Option<Version>,
        crcs: BlockCrcs,
        data: Bytes,
    },
    /// The same for a trim.
    CopyTrim {
        range: BlockRange,
        version: Version,
    },
    /// Refuses writes below `epoch`, durably, as an open by a writer of that epoch would.
    Fence {
        volume: VolumeId,
        epoch: VolumeEpoch,
    },
    /// Reads the blocks from the medium, whatever memory holds, and says what was found.
    Verify {
        range: BlockRange,
    },
    /// The disk is no member of the group at this frame's `group_epoch`: all that it still holds of the group
    /// goes, and frames with a lower epoch are refused from now on, over restarts. Answered when that is
    /// durable. Refused if the group has a higher epoch here: it may be a member again.
    ClearGroup {
        group: GroupId,
        /// Groups of the pool.
        groups: u32,
    },
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

pub(crate) fn finish(mut header: FrameHeader, table: &[u8], data: Vec<Bytes>) -> Encoded {
    let len = table.len() + data.iter().map(Bytes::len).sum::<usize>();
    header.payload_len = u32::try_from(len).expect("payloads are within MAX_PAYLOAD_BYTES");
    header.table_crc = crc32(table);
    let mut head = Vec::with_capacity(HEADER_BYTES + table.len());
    head.extend_from_slice(&header.encode());
    head.extend_from_slice(table);
    Encoded { head: head.into(), data }
}

pub(crate) fn put_range(header: &mut FrameHeader, range: &BlockRange) {
    header.volume = range.volume;
    header.chunk = range.chunk;
    header.first_block = range.first;
    header.block_count = range.count;
}

pub(crate) fn range_of(header: &FrameHeader, max_count: u32) -> Result<BlockRange, FrameError> {
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
pub(crate) fn table_of(
    header: &FrameHeader,
    payload: &Bytes,
    table_len: usize,
) -> Result<(Bytes, Bytes), FrameError> {
    if payload.len() != header.payload_len as usize || payload.len() < table_len {
        return Err(FrameError::BadPayload("shorter than its type needs"));
    }
    let table = payload.slice(..table_len);
    if crc32(&table) != header.table_crc {
        return Err(FrameError::TableChecksum);
    }
    Ok((table, payload.slice(table_len..)))
}

pub(crate) fn table_only(
    header: &FrameHeader,
    payload: &Bytes,
    table_len: usize,
) -> Result<Bytes, FrameError> {
    let (table, rest) = table_of(header, payload, table_len)?;
    if !rest.is_empty() {
        return Err(FrameError::BadPayload("longer than its type needs"));
    }
    Ok(table)
}

impl RequestBody {
    fn kind(&self) -> FrameType {
        match self {
            Self::Hello { .. } => FrameType::Hello,
            Self::Open { .. } => FrameType::Open,
            Self::List { .. } => FrameType::List,
            Self::Write { .. } => FrameType::Write,
            Self::Trim { .. } => FrameType::Trim,
            Self::Flush { .. } => FrameType::Flush,
            Self::Read { .. } => FrameType::Read,
            Self::DeleteVolume { .. } => FrameType::DeleteVolume,
            Self::VolumeStat { .. } => FrameType::VolumeStat,
            Self::DiskStat => FrameType::DiskStat,
            Self::AdoptGroup { .. } => FrameType::AdoptGroup,
            Self::Volumes { .. } => FrameType::Volumes,
            Self::Digests { .. } => FrameType::Digests,
            Self::ListChunk { .. } => FrameType::ListChunk,
            Self::CopyIn { .. } => FrameType::CopyIn,
            Self::CopyTrim { .. } => FrameType::CopyTrim,
            Self::Fence { .. } => FrameType::Fence,
            Self::Verify { .. } => FrameType::Verify,
            Self::ClearGroup { .. } => FrameType::ClearGroup,
        }
    }

    /// Fills in the header's fields, and the table.
    fn put(&self, header: &mut FrameHeader, table: &mut Vec<u8>) {
        match self {
            Self::Hello { token, client, disk } => {
                table.extend_from_slice(token);
                table.extend_from_slice(&client.0);
                table.extend_from_slice(&disk.0);
            }
            Self::Open { volume, epoch, client, mode, groups } => {
                header.volume = *volume;
                header.version = Version::first_of(*epoch);
                header.flags = match mode {
                    OpenMode::Writer => 0,
                    OpenMode::Reader => FLAG_READER,
                    OpenMode::Repair => FLAG_REPAIRER,
                };
                table.extend_from_slice(&client.0);
                table.extend_from_slice(&groups.to_le_bytes());
                table.extend_from_slice(&[0; 4]);
            }
            Self::List { volume, above, cursor } => {
                header.volume = *volume;
                header.version = *above;
                table.extend_from_slice(&cursor.to_le_bytes());
            }
            Self::Write { range, version, crcs, kind, .. } => {
                put_range(header, range);
                header.version = *version;
                header.flags = kind.flags();
                table.extend_from_slice(crcs.as_bytes());
            }
            Self::CopyIn { range, version, expect, crcs, .. } => {
                put_range(header, range);
                header.version = *version;
                table.extend_from_slice(crcs.as_bytes());
                if let Some(expect) = expect {
                    header.flags = FLAG_EXPECTS;
                    table.extend_from_slice(&expect.0.to_le_bytes());
                }
            }
            Self::Trim { range, version, kind } => {
                put_range(header, range);
                header.version = *version;
                header.flags = kind.flags();
            }
            Self::CopyTrim { range, version } => {
                put_range(header, range);
                header.version = *version;
            }
            Self::Flush { volume, through, stable, whole } => {
                header.volume = *volume;
                header.version = *through;
                header.flags = if *whole { FLAG_WHOLE } else { 0 };
                table.extend_from_slice(&stable.0.to_le_bytes());
            }
            Self::Read { range, epoch } => {
                put_range(header, range);
                header.version = Version::first_of(*epoch);
            }
            Self::DeleteVolume { volume, epoch } | Self::Fence { volume, epoch } => {
                header.volume = *volume;
                header.version = Version::first_of(*epoch);
            }
            Self::VolumeStat { volume } => header.volume = *volume,
            Self::DiskStat => {}
            Self::AdoptGroup { group } => {
                table.extend_from_slice(&group.0.to_le_bytes());
                table.extend_from_slice(&[0; 4]);
            }
            Self::ClearGroup { group, groups } => {
                table.extend_from_slice(&group.0.to_le_bytes());
                table.extend_from_slice(&groups.to_le_bytes());
            }
            Self::Volumes { cursor } => table.extend_from_slice(&cursor.to_le_bytes()),
            Self::Digests { volume, group, groups, cursor } => {
                header.volume = *volume;
                table.extend_from_slice(&cursor.to_le_bytes());
                table.extend_from_slice(&group.0.to_le_bytes());
                table.extend_from_slice(&groups.to_le_bytes());
            }
            Self::ListChunk { volume, chunk } => (header.volume, header.chunk) = (*volume, *chunk),
            Self::Verify { range } => put_range(header, range),
        }
    }
}

impl Request {
    /// The frame of this request.
    pub fn encode(&self) -> Encoded {
        let mut header = FrameHeader::new(self.body.kind(), self.sequence);
        header.settled = self.settled;
        header.group_epoch = self.group_epoch;
        let mut table = Vec::new();
        self.body.put(&mut header, &mut table);
        let data = match &self.body {
            RequestBody::Write { range, crcs, data, .. } | RequestBody::CopyIn { range, crcs, data, .. } => {
                assert_eq!(data.len(), range.len_bytes(), "a write carries all its blocks");
                assert_eq!(crcs.len(), usize::from(range.count), "a write carries a CRC a block");
                vec![data.clone()]
            }
            _ => Vec::new(),
        };
        finish(header, &table, data)
    }

    /// The request of a decoded header and its whole payload. Block data is *not* checked against its
    /// CRCs here: the one who stores or uses it does, once, while it copies.
    pub fn decode(header: &FrameHeader, payload: &Bytes) -> Result<Self, FrameError> {
        let body = match header.kind {
            FrameType::Hello | FrameType::Open => decode_greeting(header, payload)?,
            FrameType::List => {
                let table = table_only(header, payload, 8)?;
                RequestBody::List { volume: header.volume, above: header.version, cursor: u64_at(&table, 0) }
            }
            FrameType::Write | FrameType::CopyIn => decode_write(header, payload)?,
            FrameType::Trim => {
                table_only(header, payload, 0)?;
                let kind = match WriteKind::of(header.flags)? {
                    WriteKind::Repair => return Err(FrameError::BadPayload("a trim that repairs")),
                    kind => kind,
                };
                let range = range_of(header, MAX_BLOCKS_PER_TRIM)?;
                RequestBody::Trim { range, version: header.version, kind }
            }
            FrameType::Flush => {
                let table = table_only(header, payload, 8)?;
                RequestBody::Flush {
                    volume: header.volume,
                    through: header.version,
                    stable: Version(u64_at(&table, 0)),
                    whole: header.flags & FLAG_WHOLE != 0,
                }
            }
            FrameType::Read => {
                table_only(header, payload, 0)?;
                let range = range_of(header, MAX_BLOCKS_PER_IO)?;
                RequestBody::Read { range, epoch: header.version.epoch() }
            }
            FrameType::DeleteVolume => {
                table_only(header, payload, 0)?;
                RequestBody::DeleteVolume { volume: header.volume, epoch: header.version.epoch() }
            }
            FrameType::VolumeStat => {
                table_only(header, payload, 0)?;
                RequestBody::VolumeStat { volume: header.volume }
            }
            FrameType::DiskStat => {
                table_only(header, payload, 0)?;
                RequestBody::DiskStat
            }
            _ => decode_upkeep(header, payload)?,
        };
        Ok(Self { sequence: header.sequence, settled: header.settled, group_epoch: header.group_epoch, body })
    }
}

fn decode_greeting(header: &FrameHeader, payload: &Bytes) -> Result<RequestBody, FrameError> {
    if header.kind == FrameType::Hello {
        let table = table_only(header, payload, TOKEN_BYTES + 32)?;
        let token = table[..TOKEN_BYTES].try_into().expect("the token's length");
        let client = ClientId(id_at(&table, TOKEN_BYTES));
        return Ok(RequestBody::Hello { token, client, disk: DiskId(id_at(&table, TOKEN_BYTES + 16)) });
    }
    let table = table_only(header, payload, 24)?;
    let mode = match header.flags {
        0 => OpenMode::Writer,
        FLAG_READER => OpenMode::Reader,
        FLAG_REPAIRER => OpenMode::Repair,
        _ => return Err(FrameError::BadPayload("a way to open a volume that is not known")),
    };
    let (client, groups) = (ClientId(id_at(&table, 0)), u32_at(&table, 16));
    check_groups(groups)?;
    Ok(RequestBody::Open { volume: header.volume, epoch: header.version.epoch(), client, mode, groups })
}

fn decode_write(header: &FrameHeader, payload: &Bytes) -> Result<RequestBody, FrameError> {
    let range = range_of(header, MAX_BLOCKS_PER_IO)?;
    let crcs_len = usize::from(range.count) * 4;
    let expects = header.kind == FrameType::CopyIn && header.flags & FLAG_EXPECTS != 0;
    let (table, data) = table_of(header, payload, crcs_len + if expects { 8 } else { 0 })?;
    if data.len() != range.len_bytes() {
        return Err(FrameError::BadPayload("a write's data is not its blocks"));
    }
    let expect = expects.then(|| Version(u64_at(&table, crcs_len)));
    let (crcs, version) = (BlockCrcs::from_bytes(table.slice(..crcs_len)), header.version);
    Ok(match header.kind {
        FrameType::CopyIn => RequestBody::CopyIn { range, version, expect, crcs, data },
        _ => RequestBody::Write { range, version, crcs, data, kind: WriteKind::of(header.flags)? },
    })
}

/// What catch-up and scrub ask.
fn decode_upkeep(header: &FrameHeader, payload: &Bytes) -> Result<RequestBody, FrameError> {
    let volume = header.volume;
    Ok(match header.kind {
        FrameType::AdoptGroup => {
            let table = table_only(header, payload, 8)?;
            let group = GroupId(u32_at(&table, 0));
            if group.0 >= MAX_GROUPS || u32_at(&table, 4) != 0 {
                return Err(FrameError::BadPayload("a group that no pool has"));
            }
            RequestBody::AdoptGroup { group }
        }
        FrameType::Volumes => {
            let table = table_only(header, payload, 8)?;
            RequestBody::Volumes { cursor: u64_at(&table, 0) }
        }
        FrameType::Digests => {
            let table = table_only(header, payload, 16)?;
            let (group, groups) = group_among(&table, 8)?;
            RequestBody::Digests { volume, group, groups, cursor: u64_at(&table, 0) }
        }
        FrameType::ClearGroup => {
            let table = table_only(header, payload, 8)?;
            let (group, groups) = group_among(&table, 0)?;
            RequestBody::ClearGroup { group, groups }
        }
        FrameType::ListChunk => {
            table_only(header, payload, 0)?;
            RequestBody::ListChunk { volume, chunk: header.chunk }
        }
        FrameType::CopyTrim => {
            table_only(header, payload, 0)?;
            RequestBody::CopyTrim { range: range_of(header, MAX_BLOCKS_PER_TRIM)?, version: header.version }
        }
        FrameType::Fence => {
            table_only(header, payload, 0)?;
            RequestBody::Fence { volume, epoch: header.version.epoch() }
        }
        FrameType::Verify => {
            table_only(header, payload, 0)?;
            RequestBody::Verify { range: range_of(header, MAX_BLOCKS_PER_IO)? }
        }
        _ => return Err(FrameError::BadPayload("a reply where a request was due")),
    })
}

/// A group and how many the pool has.
fn group_among(table: &[u8], at: usize) -> Result<(GroupId, u32), FrameError> {
    let (group, groups) = (GroupId(u32_at(table, at)), u32_at(table, at + 4));
    check_groups(groups)?;
    if group.0 >= groups {
        return Err(FrameError::BadPayload("a group that the pool does not have"));
    }
    Ok((group, groups))
}

fn check_groups(groups: u32) -> Result<(), FrameError> {
    if groups == 0 || groups > MAX_GROUPS {
        return Err(FrameError::BadPayload("a number of groups that no pool has"));
    }
    Ok(())
}

pub(crate) fn id_at(table: &[u8], at: usize) -> [u8; 16] {
    table[at..at + 16].try_into().expect("sixteen bytes")
}

#[cfg(test)]
#[path = "message_test.rs"]
mod tests;
