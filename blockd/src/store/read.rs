//! Reads: the index says where, adjacent blocks come in one device read, every block's CRC is checked.

use super::core::{Io, Store};
use super::event::{Action, Answer, Ticket};
use bytes::Bytes;
use proto::checksum::crc32;
use proto::disk::Slot;
use proto::message::{BlockRange, BlockState, ReadBlock};
use proto::units::{BLOCK_BYTES, BLOCK_LEN};
use proto::{ErrorCode, WireError};
use rt::buf::AlignedBuf;
use slab::Slab;
use std::io;

/// Reads under way.
#[derive(Debug, Default)]
pub(super) struct Reads(Slab<Read>);

#[derive(Debug)]
struct Read {
    ticket: Ticket,
    range: BlockRange,
    blocks: Vec<ReadBlock>,
    parts: Vec<Part>,
    outstanding: usize,
}

/// Blocks of a read that lie next to each other on the disk, or one that is still on its way there.
#[derive(Debug)]
struct Part {
    /// Index of its first block within the read.
    at: usize,
    count: usize,
    location: u32,
    /// `None` while the device reads it, or if it can't.
    data: Option<Bytes>,
}

impl Reads {
    pub fn drain_tickets(&mut self) -> Vec<Ticket> {
        self.0.drain().map(|read| read.ticket).collect()
    }
}

impl Store {
    pub(super) fn start_read(&mut self, ticket: Ticket, range: BlockRange, out: &mut Vec<Action>) {
        let (blocks, parts) = self.plan_read(&range);
        let key = self.reads.0.insert(Read { ticket, range, blocks, parts, outstanding: 0 });
        let parts = self.reads.0[key].parts.len();
        for part in 0..parts {
            let Part { count, location, ref data, .. } = self.reads.0[key].parts[part];
            if data.is_none() {
                self.read_part(key, part, location, count, out);
            }
        }
        self.finish_read(key, out);
    }

    /// Refuses a range of which a block would be served from the batch that is being written.
    pub(super) fn check_on_medium(&self, range: &BlockRange) -> Result<(), WireError> {
        let Some(chunk) = self.index.chunk(range.volume, range.chunk) else { return Ok(()) };
        let is_in_flight = |block| {
            let slot = chunk.slot(block);
            slot.has_data() && self.log.in_flight_block(slot.location).is_some()
        };
        if (range.first..range.first + range.count).any(is_in_flight) {
            return Err(WireError::new(
                ErrorCode::Busy,
                "a block is being written just now; verify it later",
            ));
        }
        Ok(())
    }

    fn plan_read(&self, range: &BlockRange) -> (Vec<ReadBlock>, Vec<Part>) {
        let hole = ReadBlock { version: proto::Version::ZERO, crc: 0, state: BlockState::Hole };
        let mut blocks = vec![hole; usize::from(range.count)];
        let mut parts: Vec<Part> = Vec::new();
        let Some(chunk) = self.index.chunk(range.volume, range.chunk) else { return (blocks, parts) };
        for (at, block) in blocks.iter_mut().enumerate() {
            let slot = chunk.slot(range.first + u16::try_from(at).expect("within the range"));
            block.version = slot.version;
            block.crc = slot.crc;
            block.state = match slot.location {
                Slot::HOLE => BlockState::Hole,
                Slot::TRIMMED => BlockState::Trimmed,
                Slot::LOST => BlockState::Corrupt,
                _ => BlockState::Data,
            };
            if !slot.has_data() {
                continue;
            }
            let data = self.log.in_flight_block(slot.location);
            match parts.last_mut() {
                Some(last)
                    if data.is_none() && last.data.is_none() && self.adjoins(last, at, slot.location) =>
                {
                    last.count += 1;
                }
                _ => parts.push(Part { at, count: 1, location: slot.location, data }),
            }
        }
        (blocks, parts)
    }

    /// Whether a block follows `part` both in the read and on the disk. A part stays within one segment,
    /// since segments are pinned one by one.
    fn adjoins(&self, part: &Part, at: usize, location: u32) -> bool {
        let geometry = &self.segments.geometry;
        let end = part.location + u32::try_from(part.count).expect("within a read");
        part.at + part.count == at
            && end == location
            && geometry.segment_of(location) == geometry.segment_of(part.location)
    }

    fn read_part(&mut self, read: usize, part: usize, location: u32, count: usize, out: &mut Vec<Action>) {
        if let Some(segment) = self.segments.geometry.segment_of(location) {
            self.segments.pin(segment);
        }
        self.reads.0[read].outstanding += 1;
        let io = self.new_io(Io::Read { read, part });
        let buf = AlignedBuf::recycled(count * BLOCK_LEN);
        out.push(Action::DiskRead { io, offset: u64::from(location) * BLOCK_BYTES, buf });
    }

    pub(super) fn read_done(
        &mut self,
        key: usize,
        part: usize,
        buf: Option<AlignedBuf>,
        result: io::Result<()>,
        out: &mut Vec<Action>,
    ) {
        let Part { at, count, location, .. } = self.reads.0[key].parts[part];
        if let Some(segment) = self.segments.geometry.segment_of(location) {
            self.segments.unpin(segment);
        }
        self.reads.0[key].outstanding -= 1;
        match (result, buf) {
            (Ok(()), Some(buf)) => self.reads.0[key].parts[part].data = Some(self.check_part(key, part, buf)),
            _ if count > 1 => self.split_part(key, part, out),
            _ => {
                // The device can't read it: for the reader that is a bad copy like any other.
                self.counters.corrupt_blocks += 1;
                self.reads.0[key].blocks[at].state = BlockState::Corrupt;
            }
        }
        self.finish_read(key, out);
    }

    /// Checks the CRCs of what was read.
    fn check_part(&mut self, key: usize, part: usize, buf: AlignedBuf) -> Bytes {
        let read = &mut self.reads.0[key];
        let at = read.parts[part].at;
        for (block, data) in read.blocks[at..].iter_mut().zip(buf.chunks_exact(BLOCK_LEN)) {
            if crc32(data) != block.crc {
                block.state = BlockState::Corrupt;
                self.counters.corrupt_blocks += 1;
                tracing::warn!(
                    volume = read.range.volume.0,
                    chunk = read.range.chunk.0,
                    version = %block.version,
                    "a block fails its checksum"
                );
            }
        }
        buf.freeze()
    }

    /// Reads a part that failed again block by block, since one bad block fails the whole of it.
    fn split_part(&mut self, key: usize, part: usize, out: &mut Vec<Action>) {
        let Part { at, count, location, .. } = self.reads.0[key].parts[part];
        let end = location + u32::try_from(count).expect("within a read");
        for (offset, location) in (location..end).enumerate() {
            let single = Part { at: at + offset, count: 1, location, data: None };
            let parts = &mut self.reads.0[key].parts;
            let index = if offset == 0 { part } else { parts.len() };
            if offset == 0 {
                parts[part] = single;
            } else {
                parts.push(single);
            }
            self.read_part(key, index, location, 1, out);
        }
    }

    fn finish_read(&mut self, key: usize, out: &mut Vec<Action>) {
        if self.reads.0[key].outstanding > 0 {
            return;
        }
        let Read { ticket, range, blocks, mut parts, .. } = self.reads.0.remove(key);
        parts.sort_unstable_by_key(|part| part.at);
        let mut data = Vec::with_capacity(parts.len());
        for part in parts {
            let Some(bytes) = part.data else { continue };
            let states = &blocks[part.at..part.at + part.count];
            if states.iter().all(|block| block.state == BlockState::Data) {
                data.push(bytes);
                continue;
            }
            // Only what is good goes out: the slices around bad blocks.
            let mut from = 0;
            for run in states.split_inclusive(|block| block.state != BlockState::Data) {
                let good = run.iter().filter(|block| block.state == BlockState::Data).count();
                if good > 0 {
                    data.push(bytes.slice(from * BLOCK_LEN..(from + good) * BLOCK_LEN));
                }
                from += run.len();
            }
        }
        out.push(Action::Answer { ticket, result: Ok(Answer::Read { range, blocks, data }) });
    }
}
