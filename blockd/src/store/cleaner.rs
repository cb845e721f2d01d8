//! The cleaner: moves what is alive out of segments that are mostly dead.
//!
//! A victim's batches are read window by window, without the gaps in which everything is dead; every block
//! that the index still points to is moved, with its version, to the cleaner's own segment. The victim is
//! then dead, and comes free as `space` says. Work is in small pieces: one read and one batch of moves may be
//! under way, and a writer's batch has to wait for no more than that.

use super::chunk::Sum;
use super::core::{Io, Store};
use super::event::Action;
use super::limits::{CLEAN_IDLE, CLEAN_WINDOW_BLOCKS, MAX_CLEAN_WINDOW_BLOCKS, MOVES_PER_BATCH};
use super::log::Log;
use super::segments::Use;
use super::space::Release;
use super::sums::{Asker, Sums};
use bytes::Bytes;
use proto::checksum::crc32;
use proto::disk::{BatchHeader, Entry, Run, entries};
use proto::units::{BLOCK_BYTES, BLOCK_LEN};
use proto::{ChunkIndex, Version, VolumeId};
use rt::buf::AlignedBuf;
use std::collections::VecDeque;
use std::io;

/// A live block on its way from one segment to another.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub volume: VolumeId,
    pub chunk: ChunkIndex,
    pub block: u16,
    pub version: Version,
    pub crc: u32,
    /// Where it lies now; if the index says otherwise later, the move is off.
    pub from: u32,
    /// `None`: this copy is bad, and only its version is kept.
    pub data: Option<Bytes>,
}

/// What the cleaner is at.
#[derive(Debug, Default)]
pub(super) struct Cleaner {
    victim: Option<Victim>,
    reading: Option<Window>,
    moves: VecDeque<Move>,
    /// Dead segments that a flush makes free.
    pub releasing: Option<Release>,
}

#[derive(Debug)]
struct Victim {
    segment: u32,
    how: How,
}

/// How the victim's live blocks are found.
#[derive(Debug)]
enum How {
    /// By its batches' headers, from block `next` of the segment on. `left` are live blocks of the batch
    /// before that are not read yet, in their order on the disk.
    Batches { next: u32, segment_first: Option<u64>, left: VecDeque<Move> },
    /// No batch is where the next one should be, though more is alive; once what was found is moved, the
    /// index is asked.
    Lost,
    /// By the index, since a header is bad: what it says to lie in the segment, last first.
    Index { left: Vec<Wanted> },
}

/// A live block as the index knows it.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    volume: VolumeId,
    chunk: ChunkIndex,
    block: u16,
    version: Version,
    from: u32,
    sum: Sum,
}

impl Wanted {
    fn with(self, crc: u32, data: Option<Bytes>) -> Move {
        let Self { volume, chunk, block, version, from, .. } = self;
        Move { volume, chunk, block, version, crc, from, data }
    }
}

/// What became of a question for a run's CRCs.
#[derive(Debug)]
pub(super) struct Learned {
    pub run: Run,
    pub sums: Option<Sums>,
}

/// Blocks being read: disk blocks from `start`.
#[derive(Debug, Clone, Copy)]
struct Window {
    start: u32,
    blocks: u32,
}

impl Cleaner {
    pub fn is_idle(&self) -> bool {
        self.victim.is_none()
    }

    pub fn moves_mut(&mut self) -> &mut VecDeque<Move> {
        &mut self.moves
    }

    pub fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    pub fn victim(&self) -> Option<u32> {
        self.victim.as_ref().map(|victim| victim.segment)
    }

    /// Whether a flush is needed, and would do now, to make dead segments free.
    pub fn wants_flush(&self, log: &Log) -> bool {
        self.releasing.as_ref().is_some_and(|release| {
            log.flushed_sequence < release.batch() && log.written_sequence >= release.batch()
        })
    }
}

impl Store {
    /// Whether nobody has written for a while.
    pub(super) fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.now.since(self.last_write) >= CLEAN_IDLE
    }

    /// Chooses a victim if one is due and reads on in it if more moves are wanted.
    pub(super) fn advance_cleaner(&mut self, out: &mut Vec<Action>) {
        if self.is_stopping() && self.queue.is_empty() {
            self.cleaner.moves.clear();
            self.cleaner.victim = None;
            return;
        }
        let found = self.cleaner.moves.len();
        // While a deleted volume's blocks are counted out, segments seem fuller than they are.
        if self.cleaner.reading.is_some() || found >= MOVES_PER_BATCH as usize || self.is_dropping() {
            return;
        }
        if found == 0 && self.cleaner.victim().is_some_and(|victim| self.is_done(victim)) {
            self.cleaner.victim = None;
            self.counters.cleaned_segments += 1;
        }
        if self.cleaner.victim.is_none() {
            if !self.wants_cleaning() {
                return;
            }
            let Some(segment) = self.segments.victim(self.log.written_sequence, self.log.next_sequence)
            else {
                return;
            };
            let how = How::Batches { next: 0, segment_first: None, left: VecDeque::new() };
            self.cleaner.victim = Some(Victim { segment, how });
        }
        if self.has_more_to_find() {
            self.read_window(out);
        }
    }

    fn is_done(&self, segment: u32) -> bool {
        let segment = self.segments.get(segment);
        segment.live == 0 || segment.used != Use::Sealed
    }

    /// Whether more of the victim is alive than what was found, and it is not lost.
    fn has_more_to_find(&self) -> bool {
        let Some(victim) = &self.cleaner.victim else { return false };
        let found = self.cleaner.moves.len();
        match &victim.how {
            How::Batches { .. } => self.segments.get(victim.segment).live as usize > found,
            How::Lost => found == 0,
            How::Index { left } => !left.is_empty() || found == 0 && !self.is_done(victim.segment),
        }
    }

    /// Whether there are moves, and as many as a batch should have or all that there are for now.
    pub(super) fn moves_are_ready(&mut self) -> bool {
        let enough = MOVES_PER_BATCH as usize;
        let found = self.cleaner.moves.len();
        if found == 0 || self.cleaner.reading.is_some() && found < enough {
            return false;
        }
        let index = &self.index;
        self.cleaner.moves.retain(|m| index.place(m.volume, m.chunk, m.block).location == m.from);
        let found = self.cleaner.moves.len();
        found >= enough || found > 0 && !self.has_more_to_find()
    }

    fn read_window(&mut self, out: &mut Vec<Action>) {
        let geometry = self.segments.geometry;
        let hurry = self.log.stalled || self.is_quiet();
        let most = if hurry { MAX_CLEAN_WINDOW_BLOCKS } else { CLEAN_WINDOW_BLOCKS };
        let Some(victim) = &self.cleaner.victim else { return };
        let end = geometry.start(victim.segment) + geometry.segment_blocks;
        let window = match &victim.how {
            How::Batches { next, left, .. } => {
                let start = left.front().map_or(geometry.start(victim.segment) + next, |block| block.from);
                Window { start, blocks: (end - start).min(most) }
            }
            How::Index { left } => match left.last() {
                Some(Wanted { sum: Sum::Of(run), from, .. }) => {
                    let (run, start) = (*run, *from);
                    self.cleaner.reading = Some(Window { start, blocks: 0 });
                    return self.look_up_sums(run, Asker::Cleaner, out);
                }
                Some(block) => Window { start: block.from, blocks: 1 },
                None => return self.look_in_index(),
            },
            How::Lost => return self.look_in_index(),
        };
        if window.blocks == 0 {
            return self.lose_victim();
        }
        let segment = victim.segment;
        self.segments.pin(segment);
        self.cleaner.reading = Some(window);
        let io = self.new_io(Io::CleanRead);
        let buf = AlignedBuf::recycled(window.blocks as usize * BLOCK_LEN);
        out.push(Action::DiskRead { io, offset: u64::from(window.start) * BLOCK_BYTES, buf });
    }

    pub(super) fn clean_read_done(&mut self, buf: Option<AlignedBuf>, result: io::Result<()>) {
        let Some(window) = self.cleaner.reading.take() else { return };
        if let Some(segment) = self.segments.geometry.segment_of(window.start) {
            self.segments.unpin(segment);
        }
        let Some(mut victim) = self.cleaner.victim.take() else { return };
        let data = buf.filter(|_| result.is_ok()).map(AlignedBuf::freeze);
        match (&mut victim.how, data) {
            (How::Batches { .. }, Some(data)) => self.take_window(&mut victim, window, &data),
            (How::Batches { .. }, None) => victim.how = How::Lost,
            (How::Index { left }, data) => {
                if let Some(block) = left.pop()
                    && let Sum::Crc(crc) = block.sum
                {
                    self.found(block.with(crc, None), data);
                }
            }
            (How::Lost, _) => {}
        }
        self.cleaner.victim = Some(victim);
    }

    /// The CRCs of one run of what the index says are known, or never will be.
    pub(super) fn clean_learned(&mut self, learned: &Learned) {
        self.cleaner.reading = None;
        let Some(mut victim) = self.cleaner.victim.take() else { return };
        if let How::Index { left } = &mut victim.how {
            let of_it = |block: &mut Wanted| block.sum == Sum::Of(learned.run);
            let blocks: Vec<Wanted> = left.extract_if(.., of_it).collect();
            match &learned.sums {
                Some(sums) => left.extend(
                    blocks.into_iter().map(|block| Wanted { sum: Sum::Crc(sums.crc(block.from)), ..block }),
                ),
                None => blocks.into_iter().for_each(|block| self.found(block.with(0, None), None)),
            }
        }
        self.cleaner.victim = Some(victim);
    }

    /// A block of the victim was read, or could not be.
    fn found(&mut self, block: Move, data: Option<Bytes>) {
        if self.index.place(block.volume, block.chunk, block.block).location != block.from {
            return;
        }
        let data = data.filter(|data| crc32(data) == block.crc);
        self.counters.corrupt_blocks += u64::from(data.is_none());
        self.cleaner.moves.push_back(Move { data, ..block });
    }

    /// Queues the live blocks that the window holds, and notes those behind it that its headers tell of.
    fn take_window(&mut self, victim: &mut Victim, window: Window, data: &Bytes) {
        let How::Batches { next, segment_first, left } = &mut victim.how else { return };
        let start = self.segments.geometry.start(victim.segment);
        let end = window.start + window.blocks;
        loop {
            while let Some(block) = left.pop_front_if(|block| block.from < end) {
                let at = (block.from - window.start) as usize * BLOCK_LEN;
                self.found(block, Some(data.slice(at..at + BLOCK_LEN)));
            }
            if !left.is_empty() || start + *next >= end {
                return;
            }
            let bytes = &data[(start + *next - window.start) as usize * BLOCK_LEN..];
            let Some(header) = self.batch_of(victim.segment, *next, *segment_first, bytes) else {
                victim.how = How::Lost;
                return;
            };
            let header_len = usize::from(header.header_blocks) * BLOCK_LEN;
            if header_len > bytes.len() {
                return;
            }
            *segment_first = Some(header.segment_first);
            let Some(found) = self.live_in(&header, start + *next, &bytes[..header_len]) else {
                victim.how = How::Lost;
                return;
            };
            left.extend(found);
            *next += header.blocks();
        }
    }

    /// The live blocks of the batch at `start`, in their order on the disk, by its header blocks. `None`: those are
    /// not what the index remembers of them.
    fn live_in(&self, header: &BatchHeader, start: u32, blocks: &[u8]) -> Option<Vec<Move>> {
        let sums = Sums::of_batch(header, start, blocks)?;
        let mut live = Vec::new();
        let mut vouched: Option<Run> = None;
        let mut location = start + u32::from(header.header_blocks);
        for entry in entries(header.check_entries(blocks).ok()?).flatten() {
            let Entry::Data { range, .. } = entry else { continue };
            let chunk = self.index.chunk(range.volume, range.chunk);
            for (block, from) in (range.first..range.first + range.count).zip(location..) {
                let Some(chunk) = chunk.filter(|chunk| chunk.place(block).location == from) else { continue };
                let crc = match chunk.sum(block)? {
                    Sum::Crc(crc) => crc,
                    Sum::Of(run) => {
                        if vouched != Some(run) {
                            vouched = Some(sums.piece(&run).map(|_| run)?);
                        }
                        sums.crc(from)
                    }
                };
                let (volume, version) = (range.volume, chunk.place(block).version);
                live.push(Move { volume, chunk: range.chunk, block, version, crc, from, data: None });
            }
            location += u32::from(range.count);
        }
        Some(live)
    }

    /// The header of the victim's next batch, if that is what lies there.
    fn batch_of(&self, segment: u32, block: u32, first: Option<u64>, bytes: &[u8]) -> Option<BatchHeader> {
        let header = BatchHeader::decode(bytes).ok()?;
        let ours = header.disk == self.disk_id()
            && (header.segment, header.block) == (segment, block)
            && block + header.blocks() <= self.segments.geometry.segment_blocks
            && first.is_none_or(|first| first == header.segment_first);
        ours.then_some(header)
    }

    fn lose_victim(&mut self) {
        if let Some(victim) = &mut self.cleaner.victim {
            victim.how = How::Lost;
        }
    }

    /// The way that always works: every slot that points into the victim. It takes as long as the index is
    /// large, so it is only for segments with a bad header or a device that can't read a window.
    fn look_in_index(&mut self) {
        let geometry = self.segments.geometry;
        let Some(victim) = &mut self.cleaner.victim else { return };
        let mut left = Vec::new();
        for (&volume, held) in &self.index.volumes {
            for (chunk, entry) in self.index.chunks_of(held, 0) {
                left.extend(entry.blocks().filter_map(|(block, place)| {
                    let sum = entry.sum(block)?;
                    let (version, from) = (place.version, place.location);
                    let wanted = Wanted { volume, chunk: ChunkIndex(chunk), block, version, from, sum };
                    (geometry.segment_of(from) == Some(victim.segment)).then_some(wanted)
                }));
            }
        }
        if left.is_empty() {
            tracing::error!(segment = victim.segment, "a segment's live blocks were miscounted; it is dead");
            self.segments.correct_to_dead(victim.segment);
        }
        victim.how = How::Index { left };
    }
}
