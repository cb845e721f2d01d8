//! The 64-byte header of every message between a client and a chunk server.
//!
//! ```text
//! offset  size  field
//!      0     4  magic "ASHF"
//!      4     1  wire version (1)
//!      5     1  message type
//!      6     2  flags
//!      8     8  volume
//!     16     4  chunk
//!     20     2  first block
//!     22     2  block count
//!     24     8  version (a write's; or the epoch, the horizon or the cursor, by type)
//!     32     8  sequence: the request's number in its session; a reply repeats it
//!     40     8  settled: every version up to it is on all in-sync members
//!     48     4  group epoch
//!     52     4  payload length in bytes
//!     56     4  CRC-32 of the payload's table (see `message`): block data carries its own CRCs
//!     60     4  CRC-32 of bytes 0..60
//! ```
//! All numbers are little-endian.

use crate::checksum::crc32;
use crate::ids::{ChunkIndex, GroupEpoch, Version, VolumeId};
use crate::limits::MAX_PAYLOAD_BYTES;
use std::fmt;

/// Bytes of a header on the wire.
pub const HEADER_BYTES: usize = 64;
/// The first bytes of every frame.
pub const MAGIC: [u8; 4] = *b"ASHF";
/// The wire version this build speaks.
pub const WIRE_VERSION: u8 = 1;

/// What a frame is. Replies have the high bit set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameType {
    Hello = 1,
    Open = 2,
    List = 3,
    Write = 4,
    Trim = 5,
    Flush = 6,
    Read = 7,
    DeleteVolume = 8,
    VolumeStat = 9,
    DiskStat = 10,
    AdoptGroup = 11,
    Volumes = 12,
    Digests = 13,
    /// Answered with `ListReply`.
    ListChunk = 14,
    CopyIn = 15,
    CopyTrim = 16,
    Fence = 17,
    Verify = 18,
    ClearGroup = 19,
    HelloReply = 0x81,
    OpenReply = 0x82,
    ListReply = 0x83,
    /// Answers what asks for nothing but to be done: `Write`, `Flush`, `CopyIn` and the like.
    Ack = 0x84,
    ReadReply = 0x87,
    VolumeStatReply = 0x89,
    DiskStatReply = 0x8a,
    VolumesReply = 0x8c,
    DigestsReply = 0x8d,
    VerifyReply = 0x92,
    Error = 0xff,
}

impl FrameType {
    /// The type of a byte from the wire.
    pub fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Hello,
            2 => Self::Open,
            3 => Self::List,
            4 => Self::Write,
            5 => Self::Trim,
            6 => Self::Flush,
            7 => Self::Read,
            8 => Self::DeleteVolume,
            9 => Self::VolumeStat,
            10 => Self::DiskStat,
            11 => Self::AdoptGroup,
            12 => Self::Volumes,
            13 => Self::Digests,
            14 => Self::ListChunk,
            15 => Self::CopyIn,
            16 => Self::CopyTrim,
            17 => Self::Fence,
            18 => Self::Verify,
            19 => Self::ClearGroup,
            0x81 => Self::HelloReply,
            0x82 => Self::OpenReply,
            0x83 => Self::ListReply,
            0x84 => Self::Ack,
            0x87 => Self::ReadReply,
            0x89 => Self::VolumeStatReply,
            0x8a => Self::DiskStatReply,
            0x8c => Self::VolumesReply,
            0x8d => Self::DigestsReply,
            0x92 => Self::VerifyReply,
            0xff => Self::Error,
            _ => return None,
        })
    }
}

/// A decoded header. Fields that a type does not use are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    pub kind: FrameType,
    pub flags: u16,
    pub volume: VolumeId,
    pub chunk: ChunkIndex,
    pub first_block: u16,
    pub block_count: u16,
    pub version: Version,
    pub sequence: u64,
    pub settled: Version,
    pub group_epoch: GroupEpoch,
    pub payload_len: u32,
    pub table_crc: u32,
}

impl FrameHeader {
    /// A header of `kind` for request number `sequence`, with every other field zero.
    pub fn new(kind: FrameType, sequence: u64) -> Self {
        Self {
            kind,
            flags: 0,
            volume: VolumeId(0),
            chunk: ChunkIndex(0),
            first_block: 0,
            block_count: 0,
            version: Version::ZERO,
            sequence,
            settled: Version::ZERO,
            group_epoch: GroupEpoch(0),
            payload_len: 0,
            table_crc: 0,
        }
    }

    /// The header as it goes over the wire, with its CRC.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0u8; HEADER_BYTES];
        out[0..4].copy_from_slice(&MAGIC);
        out[4] = WIRE_VERSION;
        out[5] = self.kind as u8;
        out[6..8].copy_from_slice(&self.flags.to_le_bytes());
        out[8..16].copy_from_slice(&self.volume.0.to_le_bytes());
        out[16..20].copy_from_slice(&self.chunk.0.to_le_bytes());
        out[20..22].copy_from_slice(&self.first_block.to_le_bytes());
        out[22..24].copy_from_slice(&self.block_count.to_le_bytes());
        out[24..32].copy_from_slice(&self.version.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        out[40..48].copy_from_slice(&self.settled.0.to_le_bytes());
        out[48..52].copy_from_slice(&self.group_epoch.0.to_le_bytes());
        out[52..56].copy_from_slice(&self.payload_len.to_le_bytes());
        out[56..60].copy_from_slice(&self.table_crc.to_le_bytes());
        let crc = crc32(&out[..60]);
        out[60..64].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Checks and decodes a header. Its length is bounded when this returns `Ok`.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        if bytes[0..4] != MAGIC {
            return Err(FrameError::NotAFrame);
        }
        if u32_at(bytes, 60) != crc32(&bytes[..60]) {
            return Err(FrameError::HeaderChecksum);
        }
        if bytes[4] != WIRE_VERSION {
            return Err(FrameError::UnknownVersion(bytes[4]));
        }
        let kind = FrameType::from_u8(bytes[5]).ok_or(FrameError::UnknownType(bytes[5]))?;
        let payload_len = u32_at(bytes, 52);
        if payload_len > MAX_PAYLOAD_BYTES {
            return Err(FrameError::TooLong(payload_len));
        }
        Ok(Self {
            kind,
            flags: u16_at(bytes, 6),
            volume: VolumeId(u64_at(bytes, 8)),
            chunk: ChunkIndex(u32_at(bytes, 16)),
            first_block: u16_at(bytes, 20),
            block_count: u16_at(bytes, 22),
            version: Version(u64_at(bytes, 24)),
            sequence: u64_at(bytes, 32),
            settled: Version(u64_at(bytes, 40)),
            group_epoch: GroupEpoch(u32_at(bytes, 48)),
            payload_len,
            table_crc: u32_at(bytes, 56),
        })
    }
}

/// Little-endian numbers at fixed places; the callers' slices are of fixed, checked length.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Why bytes are not a frame. The connection they came on can't be trusted further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    NotAFrame,
    HeaderChecksum,
    UnknownVersion(u8),
    UnknownType(u8),
    TooLong(u32),
    /// The payload's length or content does not fit its type.
    BadPayload(&'static str),
    TableChecksum,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFrame => f.write_str("the bytes do not start with a frame's magic"),
            Self::HeaderChecksum => f.write_str("the header's checksum does not match"),
            Self::UnknownVersion(version) => {
                write!(f, "wire version {version} is not known here (this build speaks {WIRE_VERSION})")
            }
            Self::UnknownType(kind) => write!(f, "frame type {kind:#x} is not known"),
            Self::TooLong(len) => {
                write!(f, "a payload of {len} bytes passes the limit of {MAX_PAYLOAD_BYTES}")
            }
            Self::BadPayload(why) => write!(f, "bad payload: {why}"),
            Self::TableChecksum => f.write_str("the payload table's checksum does not match"),
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
#[path = "frame_test.rs"]
mod tests;
