//! A descriptor chain, read once, as a request or as the reason why it is none (virtio 1.2, 2.7 and 5.2.6).
//!
//! The header, the data and the status byte may be split over descriptors in any way the standard allows.
//! Every descriptor is copied out of guest memory before it is looked at, and everything is checked before
//! anything is given to the volume.

use crate::chain::{BrokenChain, Direction, Table, walk};
use crate::limits::{ID_BYTES, MAX_POOLED_LISTS, MAX_POOLED_SEGMENTS, MAX_RANGE_SECTORS, MAX_RANGES};
use crate::mem::{GuestRam, Segment};
use proto::units::SECTOR_BYTES;
use std::mem::take;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
};
use vm_memory::{Address, GuestAddress};

/// Bytes of `struct virtio_blk_req` before the data.
const HEADER_BYTES: usize = 16;
/// Bytes of `struct virtio_blk_discard_write_zeroes`.
const RANGE_BYTES: usize = 16;
/// The one flag of a range: its blocks may be given back.
const RANGE_UNMAP: u32 = 1;

/// A request's outcome, as the status byte says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    IoError,
    Unsupported,
}

impl Status {
    pub fn byte(self) -> u8 {
        let byte = match self {
            Self::Ok => VIRTIO_BLK_S_OK,
            Self::IoError => VIRTIO_BLK_S_IOERR,
            Self::Unsupported => VIRTIO_BLK_S_UNSUPP,
        };
        u8::try_from(byte).expect("the standard's status codes are 0, 1 and 2")
    }
}

/// A range of bytes within the volume, checked against its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub offset: u64,
    pub len: u64,
}

/// What a request asks of the volume. Every range lies within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    Read(Range, Vec<Segment>),
    /// The data starts at byte `skip` of the segments, behind the header.
    Write {
        range: Range,
        segments: Vec<Segment>,
        skip: u64,
    },
    Flush,
    GetId(Vec<Segment>),
    Discard(Vec<Range>),
    WriteZeroes(Vec<Range>),
}

/// What a descriptor chain turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    Request {
        ask: Ask,
        status: GuestAddress,
    },
    /// Well-formed enough to be told so.
    Refused {
        answer: Status,
        status: GuestAddress,
    },
    /// Cyclic, cut off, too long, or without a byte for the status: it can only be handed back.
    Broken,
}

struct Buffers {
    readable: Vec<Segment>,
    writable: Vec<Segment>,
    /// A segment is unmapped, or a readable one follows a writable one.
    is_unusable: bool,
}

/// Lists of segments that requests are done with, so that the next requests allocate none.
#[derive(Default)]
pub struct SegmentPool(Vec<Vec<Segment>>);

impl SegmentPool {
    /// Takes back what a request's segments were kept in.
    pub fn put_ask(&mut self, ask: Ask) {
        if let Ask::Read(_, segments) | Ask::Write { segments, .. } | Ask::GetId(segments) = ask {
            self.put(segments);
        }
    }

    fn put(&mut self, mut segments: Vec<Segment>) {
        let is_usual = (1..=MAX_POOLED_SEGMENTS).contains(&segments.capacity());
        if is_usual && self.0.len() < MAX_POOLED_LISTS {
            segments.clear();
            self.0.push(segments);
        }
    }

    fn take(&mut self) -> Vec<Segment> {
        self.0.pop().unwrap_or_default()
    }
}

/// Reads and checks the chain at `head` for a volume of `size_bytes`.
pub fn parse(ram: &GuestRam, table: Table, head: u16, size_bytes: u64, pool: &mut SegmentPool) -> Parsed {
    let mut buffers = Buffers { readable: pool.take(), writable: pool.take(), is_unusable: false };
    let parsed = match collect(ram, table, head, &mut buffers) {
        Ok(()) => judge(&mut buffers, ram, size_bytes),
        Err(BrokenChain) => Parsed::Broken,
    };
    // What the request did not keep.
    pool.put(buffers.readable);
    pool.put(buffers.writable);
    parsed
}

fn judge(buffers: &mut Buffers, ram: &GuestRam, size_bytes: u64) -> Parsed {
    let Some(status) = take_status(&mut buffers.writable, ram) else { return Parsed::Broken };
    if buffers.is_unusable {
        return Parsed::Refused { answer: Status::IoError, status };
    }
    match ask(buffers, ram, size_bytes) {
        Ok(ask) => Parsed::Request { ask, status },
        Err(answer) => Parsed::Refused { answer, status },
    }
}

fn collect(ram: &GuestRam, table: Table, head: u16, buffers: &mut Buffers) -> Result<(), BrokenChain> {
    walk(ram, table, head, |segment, direction| {
        if segment.len == 0 {
            return;
        }
        buffers.is_unusable |= !ram.contains(segment);
        if direction == Direction::ToDriver {
            buffers.writable.push(segment);
        } else {
            buffers.is_unusable |= !buffers.writable.is_empty();
            buffers.readable.push(segment);
        }
    })
}

/// The status byte is the last writable one, wherever the descriptors' borders lie.
fn take_status(writable: &mut Vec<Segment>, ram: &GuestRam) -> Option<GuestAddress> {
    let last = writable.last_mut()?;
    last.len -= 1;
    let addr = last.addr.checked_add(u64::from(last.len))?;
    if last.len == 0 {
        writable.pop();
    }
    ram.contains(Segment { addr, len: 1 }).then_some(addr)
}

fn ask(buffers: &mut Buffers, ram: &GuestRam, size_bytes: u64) -> Result<Ask, Status> {
    let Buffers { readable, writable, .. } = buffers;
    let header = ram.read_start::<HEADER_BYTES>(readable).ok_or(Status::IoError)?;
    let kind = u32_at(&header, 0);
    let sector = u64_at(&header, 8);
    let in_len = total(writable);
    let out_len = total(readable) - HEADER_BYTES as u64;
    let only = |is_so: bool| if is_so { Ok(()) } else { Err(Status::IoError) };
    match kind {
        VIRTIO_BLK_T_IN => {
            only(out_len == 0)?;
            Ok(Ask::Read(range(sector, in_len, size_bytes)?, take(writable)))
        }
        VIRTIO_BLK_T_OUT => {
            only(in_len == 0)?;
            let range = range(sector, out_len, size_bytes)?;
            Ok(Ask::Write { range, segments: take(readable), skip: HEADER_BYTES as u64 })
        }
        VIRTIO_BLK_T_FLUSH => Ok(Ask::Flush),
        VIRTIO_BLK_T_GET_ID => {
            only(in_len >= ID_BYTES as u64)?;
            Ok(Ask::GetId(take(writable)))
        }
        VIRTIO_BLK_T_DISCARD => Ok(Ask::Discard(ranges(ram, readable, out_len, size_bytes, 0)?)),
        VIRTIO_BLK_T_WRITE_ZEROES => {
            Ok(Ask::WriteZeroes(ranges(ram, readable, out_len, size_bytes, RANGE_UNMAP)?))
        }
        _ => Err(Status::Unsupported),
    }
}

fn range(sector: u64, len: u64, size_bytes: u64) -> Result<Range, Status> {
    let offset = sector.checked_mul(SECTOR_BYTES).ok_or(Status::IoError)?;
    let end = offset.checked_add(len).ok_or(Status::IoError)?;
    let fits = len > 0 && len.is_multiple_of(SECTOR_BYTES) && end <= size_bytes;
    if fits { Ok(Range { offset, len }) } else { Err(Status::IoError) }
}

fn ranges(
    ram: &GuestRam,
    readable: &[Segment],
    len: u64,
    size_bytes: u64,
    allowed_flags: u32,
) -> Result<Vec<Range>, Status> {
    let len = usize::try_from(len).map_err(|_| Status::IoError)?;
    if len == 0 || !len.is_multiple_of(RANGE_BYTES) || len > MAX_RANGES as usize * RANGE_BYTES {
        return Err(Status::IoError);
    }
    let table = ram.read(readable, HEADER_BYTES as u64, len).map_err(|_| Status::IoError)?;
    let entry = |entry: &[u8]| {
        let (sector, sectors, flags) = (u64_at(entry, 0), u32_at(entry, 8), u32_at(entry, 12));
        // A flag nobody defined, or unmap on a discard: 5.2.6.2 wants UNSUPP.
        if flags & !allowed_flags != 0 {
            return Err(Status::Unsupported);
        }
        if sectors > MAX_RANGE_SECTORS {
            return Err(Status::IoError);
        }
        range(sector, u64::from(sectors) * SECTOR_BYTES, size_bytes)
    };
    table.chunks_exact(RANGE_BYTES).map(entry).collect()
}

fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.len)).sum()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
