//! The cleaner: moves what is alive out of segments that are mostly dead.
//!
//! A victim's batches are read window by window; every block that the index still points to is moved, with
//! its version, to the cleaner's own segment. The victim is then dead, and the next checkpoint, whose
//! entries no longer point into it, makes it free.

use super::core::{Io, Store};
use super::event::Action;
use super::limits::CLEAN_WINDOW_BLOCKS;
use super::log::Stream;
use super::segments::Use;
use bytes::Bytes;
use proto::checksum::crc32;
use proto::disk::{BatchHeader, Entry, Slot, entries};
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
}

#[derive(Debug)]
struct Victim {
    segment: u32,
    how: How,
}

/// How the victim's live blocks are found.
#[derive(Debug)]
enum How {
    /// By its batches' headers, from this block of the segment on.
    Batches { next: u32, segment_first: Option<u64> },
    /// By the index, since a header is bad: what it says to lie in the segment, last first.
    Index { left: Vec<Move> },
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
}

impl Store {
    /// Segments that a checkpoint may need now, with one to spare.
    pub(super) fn checkpoint_need(&self) -> u32 {
        let segment_bytes = u64::from(self.segments.geometry.segment_blocks) * BLOCK_BYTES;
        let segments = self.index.checkpoint_bytes().div_ceil(segment_bytes) + 1;
        u32::try_from(segments).unwrap_or(u32::MAX)
    }

    /// Whether a stream may open one more segment. Writers leave the cleaner its reserve, and both leave
    /// what a checkpoint needs, since only a checkpoint makes segments free.
    pub(super) fn may_take_segment(&self, stream: Stream) -> bool {
        let floor = match stream {
            Stream::Writers => self.checkpoint_need() + self.space.reserve_segments,
            Stream::Cleaner => self.checkpoint_need(),
        };
        self.segments.free_count() > floor
    }

    /// Below this many free segments the cleaner works.
    fn high_water(&self) -> u32 {
        let floor = self.checkpoint_need() + self.space.reserve_segments;
        floor + (self.segments.geometry.segments / 16).max(4)
    }

    /// Whether free segments are few, so that checkpoints should make dead ones free.
    pub(super) fn wants_dead_segments(&self) -> bool {
        let (free, dead) = (self.segments.free_count(), self.segments.dead_count());
        let worth = (self.segments.geometry.segments / 32).max(2);
        let stuck = self.log.stalled || !self.may_take_segment(Stream::Cleaner);
        free < self.high_water() && (dead >= worth || dead > 0 && stuck)
    }

    /// Blocks moved for each block written: none while there is room, more the less there is.
    pub(super) fn clean_share(&self) -> u32 {
        let (free, high) = (self.segments.free_count(), self.high_water());
        let floor = self.checkpoint_need() + self.space.reserve_segments;
        if free >= high {
            return 0;
        }
        1 + (high - free) * 8 / (high - floor).max(1)
    }

    /// Chooses a victim if one is due and reads its next window if the last one's moves are gone.
    pub(super) fn advance_cleaner(&mut self, out: &mut Vec<Action>) {
        if self.is_stopping() && self.queue.is_empty() {
            self.cleaner.moves.clear();
            self.cleaner.victim = None;
            return;
        }
        // While a deleted volume's blocks are counted out, segments seem fuller than they are.
        if self.cleaner.reading.is_some() || !self.cleaner.moves.is_empty() || self.is_dropping() {
            return;
        }
        if self.cleaner.victim.as_ref().is_some_and(|victim| self.is_done(victim.segment)) {
            self.cleaner.victim = None;
            self.counters.cleaned_segments += 1;
        }
        if self.cleaner.victim.is_none() {
            // Dead segments come free with the next checkpoint: they count as if they were.
            let soon = self.segments.free_count() + self.segments.dead_count();
            if soon >= self.high_water() {
                return;
            }
            let Some(segment) = self.segments.victim(self.log.written_sequence, self.log.next_sequence)
            else {
                return;
            };
            let how = How::Batches { next: 0, segment_first: None };
            self.cleaner.victim = Some(Victim { segment, how });
        }
        self.read_window(out);
    }

    fn is_done(&self, segment: u32) -> bool {
        let segment = self.segments.get(segment);
        segment.live == 0 || segment.used != Use::Sealed
    }

    fn read_window(&mut self, out: &mut Vec<Action>) {
        let geometry = self.segments.geometry;
        let Some(victim) = &mut self.cleaner.victim else { return };
        let window = match &victim.how {
            How::Batches { next, .. } if *next < geometry.segment_blocks => Window {
                start: geometry.start(victim.segment) + next,
                blocks: (geometry.segment_blocks - next).min(CLEAN_WINDOW_BLOCKS),
            },
            How::Batches { .. } => return self.look_in_index(),
            How::Index { left } => match left.last() {
                Some(last) => Window { start: last.from, blocks: 1 },
                None => return self.look_in_index(),
            },
        };
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
            (How::Batches { next, segment_first }, Some(data)) => {
                let before = *next;
                self.walk_window(victim.segment, next, segment_first, &data);
                let stuck = *next == before;
                self.cleaner.victim = Some(victim);
                if stuck {
                    self.look_in_index();
                }
            }
            (How::Batches { .. }, None) => {
                self.cleaner.victim = Some(victim);
                self.look_in_index();
            }
            (How::Index { left }, data) => {
                if let Some(mut found) = left.pop() {
                    let good = data.filter(|data| crc32(data) == found.crc);
                    self.counters.corrupt_blocks += u64::from(good.is_none());
                    found.data = good;
                    self.cleaner.moves.push_back(found);
                }
                self.cleaner.victim = Some(victim);
            }
        }
    }

    /// Queues the live blocks of every whole batch in the window and moves `next` behind them.
    fn walk_window(&mut self, segment: u32, next: &mut u32, segment_first: &mut Option<u64>, window: &Bytes) {
        let geometry = self.segments.geometry;
        let mut at = 0usize;
        while let Ok(header) = BatchHeader::decode(&window[at..]) {
            let ours = header.disk == self.disk_id()
                && header.segment == segment
                && header.block == *next
                && segment_first.is_none_or(|first| first == header.segment_first);
            let len = header.blocks() as usize * BLOCK_LEN;
            let header_len = usize::from(header.header_blocks) * BLOCK_LEN;
            if !ours || at + len > window.len() {
                return;
            }
            let Ok(body) = header.check_entries(&window[at..at + header_len]) else { return };
            *segment_first = Some(header.segment_first);
            let mut data_at = at + header_len;
            let mut location = geometry.start(segment) + *next + u32::from(header.header_blocks);
            for entry in entries(body).flatten() {
                let Entry::Data { range, .. } = entry else { continue };
                for block in range.first..range.first + range.count {
                    let slot = self.index.slot(range.volume, range.chunk, block);
                    if slot.location == location {
                        let data = window.slice(data_at..data_at + BLOCK_LEN);
                        let good = crc32(&data) == slot.crc;
                        self.counters.corrupt_blocks += u64::from(!good);
                        self.cleaner.moves.push_back(Move {
                            volume: range.volume,
                            chunk: range.chunk,
                            block,
                            version: slot.version,
                            crc: slot.crc,
                            from: location,
                            data: good.then_some(data),
                        });
                    }
                    location += 1;
                    data_at += BLOCK_LEN;
                }
            }
            at += len;
            *next += header.blocks();
            if at == window.len() {
                return;
            }
        }
    }

    /// The way that always works: every slot that points into the victim. It takes as long as the index is
    /// large, so it is only for segments with a bad header or a device that can't read a window.
    fn look_in_index(&mut self) {
        let geometry = self.segments.geometry;
        let Some(victim) = &mut self.cleaner.victim else { return };
        let wanted =
            |slot: &Slot| slot.has_data() && geometry.segment_of(slot.location) == Some(victim.segment);
        let mut left = Vec::new();
        for (&volume, held) in &self.index.volumes {
            for (&chunk, entry) in &held.chunks {
                left.extend(entry.slots().filter(|(_, slot)| wanted(slot)).map(|(block, slot)| Move {
                    volume,
                    chunk: ChunkIndex(chunk),
                    block,
                    version: slot.version,
                    crc: slot.crc,
                    from: slot.location,
                    data: None,
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
