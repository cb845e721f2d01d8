//! The CRCs of blocks that are kept in runs (rfd/0009).
//!
//! They are on the disk, in the header of the batch that a run's piece lies in; here is a bounded memory of those
//! that were written or needed lately. Wherever they come from, they count only if the run vouches for them.
//! If a header is bad, the piece itself tells: read as a whole, its CRCs are right if the run vouches for them.

use super::chunk::Sum;
use super::cleaner::Learned;
use super::core::{Io, Store};
use super::event::Action;
use super::segments::Geometry;
use crate::fast_map::FastMap;
use bytes::Bytes;
use proto::DiskId;
use proto::checksum::BlockCrcs;
use proto::disk::{BatchHeader, Entry, Run, entries};
use proto::units::{BLOCK_BYTES, BLOCK_LEN};
use rt::buf::AlignedBuf;
use rt::device::BlockDevice;
use slab::Slab;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;

/// The CRCs of blocks that lie in a row on the disk.
#[derive(Debug, Clone)]
pub(super) struct Sums {
    first: u32,
    /// Four little-endian bytes a block.
    crcs: Bytes,
}

impl Sums {
    /// Of all of a batch's data, by its header blocks. `None` if they are not those of the batch at `start`.
    pub fn of_batch(header: &BatchHeader, start: u32, blocks: &[u8]) -> Option<Self> {
        let body = header.check_entries(blocks).ok()?;
        let mut crcs = Vec::with_capacity(header.data_blocks as usize * 4);
        for entry in entries(body).flatten() {
            if let Entry::Data { crcs: some, .. } = entry {
                crcs.extend_from_slice(some);
            }
        }
        Some(Self::new(start + u32::from(header.header_blocks), crcs.into()))
    }

    /// Of blocks from location `first` on.
    pub fn new(first: u32, crcs: Bytes) -> Self {
        Self { first, crcs }
    }

    fn of_piece(run: &Run, data: &[u8]) -> Option<Self> {
        let crcs = BlockCrcs::of(data);
        Self::new(run.piece().start, Bytes::copy_from_slice(crcs.as_bytes())).piece(run)
    }

    /// Those of a run's piece, if they are here and right.
    pub fn piece(&self, run: &Run) -> Option<Self> {
        let piece = run.piece();
        let from = piece.start.checked_sub(self.first)? as usize * 4;
        let range = from..from + piece.len() * 4;
        let crcs = self.crcs.get(range.clone()).filter(|crcs| run.vouches_for(crcs))?;
        Some(Self { first: piece.start, crcs: self.crcs.slice_ref(crcs) })
    }

    /// The CRC of the block at a location that is among them.
    pub fn crc(&self, location: u32) -> u32 {
        let at = (location - self.first) as usize * 4;
        u32::from_le_bytes(self.crcs[at..at + 4].try_into().expect("four bytes"))
    }

    /// What keeping them takes, about.
    fn bytes(&self) -> usize {
        self.crcs.len() + size_of::<(u32, Held, u32)>() + 32
    }
}

/// Gathers the CRCs of a batch's data, if anybody will ask for them: a batch of single blocks has none to keep.
pub(super) struct SumsOf {
    first: u32,
    crcs: Option<Vec<u8>>,
}

impl SumsOf {
    pub fn new(first: u32, has_runs: bool) -> Self {
        Self { first, crcs: has_runs.then(Vec::new) }
    }

    pub fn add(&mut self, crcs: &[u8]) {
        if let Some(all) = &mut self.crcs {
            all.extend_from_slice(crcs);
        }
    }

    pub fn done(self) -> Option<Sums> {
        self.crcs.map(|crcs| Sums::new(self.first, crcs.into()))
    }
}

/// What was written or needed lately, by where a batch starts, or a piece whose batch's header is bad. Segments are
/// used again, so it may be out of date: [`Sums::piece`] notices.
#[derive(Debug, Default)]
pub(super) struct SumCache {
    held: FastMap<u32, Held>,
    /// In the order in which they came; who was asked for since goes round once more (CLOCK).
    order: VecDeque<u32>,
    bytes: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Held {
    sums: Sums,
    used: Cell<bool>,
}

impl SumCache {
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    pub fn put(&mut self, at: u32, sums: Sums) {
        self.make_room(sums.bytes());
        self.bytes += sums.bytes();
        match self.held.insert(at, Held { sums, used: Cell::new(false) }) {
            Some(old) => self.bytes -= old.sums.bytes(),
            None => self.order.push_back(at),
        }
    }

    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > self.max_bytes {
            let Some(at) = self.order.pop_front() else { return };
            let Some(held) = self.held.get(&at) else { continue };
            if held.used.replace(false) {
                self.order.push_back(at);
            } else if let Some(gone) = self.held.remove(&at) {
                self.bytes -= gone.sums.bytes();
            }
        }
    }

    /// The CRCs of a run's piece.
    pub fn piece(&self, run: &Run) -> Option<Sums> {
        let look = |at: u32| {
            let held = self.held.get(&at)?;
            held.used.set(true);
            held.sums.piece(run)
        };
        look(run.batch()).or_else(|| look(run.piece().start))
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Who waits for a run's CRCs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asker {
    Read {
        read: usize,
        /// Which of its runs.
        run: usize,
    },
    Cleaner,
}

#[derive(Debug, Clone, Copy)]
struct Question {
    run: Run,
    asker: Asker,
}

/// CRCs being read.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    /// By the batch whose header is being read: many may want the same.
    headers: FastMap<u32, Vec<Question>>,
    /// Whole pieces, for want of a good header.
    pieces: Slab<Question>,
}

impl Store {
    /// The CRCs of a run's piece, if nothing has to be read for them.
    pub(super) fn sums_of(&self, run: &Run) -> Option<Sums> {
        let in_flight = self.log.in_flight_sums(run.batch()).and_then(|sums| sums.piece(run));
        in_flight.or_else(|| self.sums.piece(run))
    }

    /// Memory that CRCs of runs take, in bytes: a bounded cache, not part of the index.
    pub fn sums_bytes(&self) -> u64 {
        self.sums.bytes() as u64
    }

    /// Reads the CRCs of a run's piece; whoever asks is told.
    pub(super) fn look_up_sums(&mut self, run: Run, asker: Asker, out: &mut Vec<Action>) {
        let waiting = self.lookups.headers.entry(run.batch()).or_default();
        waiting.push(Question { run, asker });
        if waiting.len() == 1 {
            // Few headers have more than one block.
            self.read_blocks(Io::Header { batch: run.batch(), blocks: 1 }, run.batch(), 1, out);
        }
    }

    fn read_blocks(&mut self, io: Io, start: u32, blocks: u32, out: &mut Vec<Action>) {
        if let Some(segment) = self.segments.geometry.segment_of(start) {
            self.segments.pin(segment);
        }
        let io = self.new_io(io);
        let buf = AlignedBuf::recycled(blocks as usize * BLOCK_LEN);
        out.push(Action::DiskRead { io, offset: u64::from(start) * BLOCK_BYTES, buf });
    }

    fn unpin_at(&mut self, location: u32) {
        if let Some(segment) = self.segments.geometry.segment_of(location) {
            self.segments.unpin(segment);
        }
    }

    pub(super) fn header_done(
        &mut self,
        (batch, blocks): (u32, u16),
        buf: Option<AlignedBuf>,
        result: io::Result<()>,
        out: &mut Vec<Action>,
    ) {
        self.unpin_at(batch);
        let buf = buf.filter(|_| result.is_ok());
        let header =
            buf.as_ref().and_then(|buf| header_at(self.disk_id(), &self.segments.geometry, batch, buf));
        let sums = match (buf, header) {
            (Some(_), Some(header)) if header.header_blocks > blocks => {
                let blocks = header.header_blocks;
                return self.read_blocks(Io::Header { batch, blocks }, batch, u32::from(blocks), out);
            }
            (Some(buf), Some(header)) => Sums::of_batch(&header, batch, &buf),
            _ => None,
        };
        let waiting = self.lookups.headers.remove(&batch).unwrap_or_default();
        for question in waiting {
            match sums.as_ref().and_then(|sums| sums.piece(&question.run)) {
                Some(piece) => self.tell(question, Some(piece), out),
                None => {
                    let piece = question.run.piece();
                    let key = self.lookups.pieces.insert(question);
                    let blocks = u32::try_from(piece.len()).expect("within a chunk");
                    self.read_blocks(Io::Piece { key }, piece.start, blocks, out);
                }
            }
        }
        if let Some(sums) = sums {
            self.sums.put(batch, sums);
        }
    }

    pub(super) fn piece_done(
        &mut self,
        key: usize,
        buf: Option<AlignedBuf>,
        result: io::Result<()>,
        out: &mut Vec<Action>,
    ) {
        let question = self.lookups.pieces.remove(key);
        let start = question.run.piece().start;
        self.unpin_at(start);
        let sums = buf.filter(|_| result.is_ok()).and_then(|buf| Sums::of_piece(&question.run, &buf));
        tracing::warn!(batch = question.run.batch(), found = sums.is_some(), "a batch's header is damaged");
        if let Some(sums) = &sums {
            self.sums.put(start, sums.clone());
        }
        self.tell(question, sums, out);
    }

    fn tell(&mut self, question: Question, sums: Option<Sums>, out: &mut Vec<Action>) {
        match question.asker {
            Asker::Read { read, run } => self.read_learned((read, run), sums.as_ref(), out),
            Asker::Cleaner => self.clean_learned(&Learned { run: question.run, sums }),
        }
    }
}

/// The header of the batch that starts at a location, if that is what was read there.
fn header_at(disk: DiskId, geometry: &Geometry, batch: u32, bytes: &[u8]) -> Option<BatchHeader> {
    let header = BatchHeader::decode(bytes).ok()?;
    let segment = geometry.segment_of(batch)?;
    let here = (disk, segment, batch - geometry.start(segment));
    ((header.disk, header.segment, header.block) == here).then_some(header)
}

/// Tells the CRCs of one block after the other, and asks once for those of a run.
#[derive(Default)]
pub(super) struct OneByOne(Option<(Run, Option<Sums>)>);

impl OneByOne {
    /// The CRC of the block at a location; `ask` finds those of a run. `None`: it can't.
    pub fn crc(&mut self, sum: Sum, location: u32, ask: impl FnOnce(&Run) -> Option<Sums>) -> Option<u32> {
        let run = match sum {
            Sum::Crc(crc) => return Some(crc),
            Sum::Of(run) => run,
        };
        let last = self.0.take().filter(|(of, _)| *of == run).unwrap_or_else(|| (run, ask(&run)));
        Some(self.0.insert(last).1.as_ref()?.crc(location))
    }
}

/// The CRCs of a run's piece as the disk has them, by whichever way leads to them.
pub(super) fn read_sums(dev: &dyn BlockDevice, disk: DiskId, geometry: &Geometry, run: &Run) -> Option<Sums> {
    let read = |start: u32, blocks: usize| {
        let mut buf = AlignedBuf::recycled(blocks * BLOCK_LEN);
        dev.read_at(&mut buf, u64::from(start) * BLOCK_BYTES).ok().map(|()| buf)
    };
    let by_header = || {
        let first = read(run.batch(), 1)?;
        let header = header_at(disk, geometry, run.batch(), &first)?;
        let blocks = read(run.batch(), usize::from(header.header_blocks))?;
        Sums::of_batch(&header, run.batch(), &blocks)?.piece(run)
    };
    by_header().or_else(|| Sums::of_piece(run, &read(run.piece().start, run.piece().len())?))
}
