//! Reads: the index says where, adjacent blocks come in one device read, every block's CRC is checked. For CRCs
//! that are not in memory, the headers they are in are read at the same time.

use super::chunk::Sum;
use super::core::{Io, Store};
use super::event::{Action, Answer, Ticket};
use super::sums::{Asker, Sums};
use bytes::Bytes;
use proto::checksum::crc32;
use proto::disk::{Run, Slot};
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
    unsummed: Vec<Unsummed>,
    outstanding: usize,
}

/// Blocks of a read that are in one run, and whose CRCs have to be read too.
#[derive(Debug)]
struct Unsummed {
    /// Index of its first block within the read.
    at: usize,
    count: usize,
    location: u32,
    run: Run,
}

/// What a read needs.
#[derive(Debug, Default)]
struct Plan {
    blocks: Vec<ReadBlock>,
    parts: Vec<Part>,
    unsummed: Vec<Unsummed>,
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
    /// It comes from the device, so its CRCs are to be checked.
    is_read: bool,
}

impl Reads {
    pub fn drain_tickets(&mut self) -> Vec<Ticket> {
        self.0.drain().map(|read| read.ticket).collect()
    }
}

impl Store {
    pub(super) fn start_read(&mut self, ticket: Ticket, range: BlockRange, out: &mut Vec<Action>) {
        let Plan { blocks, parts, unsummed } = self.plan_read(&range);
        let outstanding = unsummed.len();
        let key = self.reads.0.insert(Read { ticket, range, blocks, parts, unsummed, outstanding });
        for run in 0..outstanding {
            self.look_up_sums(self.reads.0[key].unsummed[run].run, Asker::Read { read: key, run }, out);
        }
        let parts = self.reads.0[key].parts.len();
        for part in 0..parts {
            let Part { count, location, is_read, .. } = self.reads.0[key].parts[part];
            if is_read {
                self.read_part(key, part, location, count, out);
            }
        }
        self.finish_read(key, out);
    }

    /// Refuses a range of which a block would be served from the batch that is being written.
    pub(super) fn check_on_medium(&self, range: &BlockRange) -> Result<(), WireError> {
        let Some(chunk) = self.index.chunk(range.volume, range.chunk) else { return Ok(()) };
        let is_in_flight = |block| {
            let place = chunk.place(block);
            place.has_data() && self.log.in_flight_block(place.location).is_some()
        };
        if (range.first..range.first + range.count).any(is_in_flight) {
            return Err(WireError::new(
                ErrorCode::Busy,
                "a block is being written just now; verify it later",
            ));
        }
        Ok(())
    }

    fn plan_read(&self, range: &BlockRange) -> Plan {
        let hole = ReadBlock { version: proto::Version::ZERO, crc: 0, state: BlockState::Hole };
        let mut plan = Plan { blocks: vec![hole; usize::from(range.count)], ..Plan::default() };
        let Some(chunk) = self.index.chunk(range.volume, range.chunk) else { return plan };
        // Of the last run, whose blocks follow each other.
        let mut sums: Option<(Run, Sums)> = None;
        for (at, number) in (range.first..range.first + range.count).enumerate() {
            let place = chunk.place(number);
            let block = &mut plan.blocks[at];
            block.version = place.version;
            block.state = match place.location {
                Slot::HOLE => BlockState::Hole,
                Slot::TRIMMED => BlockState::Trimmed,
                Slot::LOST => BlockState::Corrupt,
                _ => BlockState::Data,
            };
            match chunk.sum(number) {
                None => continue,
                Some(Sum::Crc(crc)) => block.crc = crc,
                Some(Sum::Of(run)) => {
                    if sums.as_ref().is_none_or(|(last, _)| *last != run) {
                        sums = self.sums_of(&run).map(|sums| (run, sums));
                    }
                    match &sums {
                        Some((_, sums)) => block.crc = sums.crc(place.location),
                        None => want_sums(&mut plan.unsummed, run, (at, place.location)),
                    }
                }
            }
            let data = self.log.in_flight_block(place.location);
            match plan.parts.last_mut() {
                Some(last) if data.is_none() && last.is_read && self.adjoins(last, at, place.location) => {
                    last.count += 1;
                }
                _ => {
                    let is_read = data.is_none();
                    plan.parts.push(Part { at, count: 1, location: place.location, data, is_read });
                }
            }
        }
        plan
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
            (Ok(()), Some(buf)) => self.reads.0[key].parts[part].data = Some(buf.freeze()),
            _ if count > 1 => self.split_part(key, part, out),
            _ => {
                // The device can't read it: for the reader that is a bad copy like any other.
                let block = &mut self.reads.0[key].blocks[at];
                self.counters.corrupt_blocks += u64::from(block.state == BlockState::Data);
                block.state = BlockState::Corrupt;
            }
        }
        self.finish_read(key, out);
    }

    /// The CRCs of one of a read's runs are known, or never will be: then its blocks can't be told from bad ones.
    pub(super) fn read_learned(
        &mut self,
        (key, run): (usize, usize),
        sums: Option<&Sums>,
        out: &mut Vec<Action>,
    ) {
        let read = &mut self.reads.0[key];
        let Unsummed { at, count, location, .. } = read.unsummed[run];
        read.outstanding -= 1;
        for (block, location) in read.blocks[at..at + count].iter_mut().zip(location..) {
            match sums {
                Some(sums) => block.crc = sums.crc(location),
                None if block.state == BlockState::Data => {
                    block.state = BlockState::Corrupt;
                    self.counters.corrupt_blocks += 1;
                }
                None => {}
            }
        }
        self.finish_read(key, out);
    }

    /// Checks the CRCs of what was read. Only now: they may have come after the data.
    fn check_parts(&mut self, key: usize) {
        let Read { range, blocks, parts, .. } = &mut self.reads.0[key];
        for part in parts.iter().filter(|part| part.is_read) {
            let Some(data) = &part.data else { continue };
            for (block, data) in blocks[part.at..].iter_mut().zip(data.chunks_exact(BLOCK_LEN)) {
                if block.state == BlockState::Data && crc32(data) != block.crc {
                    block.state = BlockState::Corrupt;
                    self.counters.corrupt_blocks += 1;
                    tracing::warn!(
                        volume = range.volume.0,
                        chunk = range.chunk.0,
                        version = %block.version,
                        "a block fails its checksum"
                    );
                }
            }
        }
    }

    /// Reads a part that failed again block by block, since one bad block fails the whole of it.
    fn split_part(&mut self, key: usize, part: usize, out: &mut Vec<Action>) {
        let Part { at, count, location, .. } = self.reads.0[key].parts[part];
        let end = location + u32::try_from(count).expect("within a read");
        for (offset, location) in (location..end).enumerate() {
            let single = Part { at: at + offset, count: 1, location, data: None, is_read: true };
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
        self.check_parts(key);
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

/// One more block of a run whose CRCs have to be read.
fn want_sums(unsummed: &mut Vec<Unsummed>, run: Run, (at, location): (usize, u32)) {
    match unsummed.last_mut() {
        Some(last) if last.run == run && last.at + last.count == at => last.count += 1,
        _ => unsummed.push(Unsummed { at, count: 1, location, run }),
    }
}
