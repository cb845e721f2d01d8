//! What each segment is for, and which may be used next.

use super::index::SlotChange;
use proto::disk::Superblock;
use std::collections::VecDeque;

/// How the disk is cut up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub first_block: u32,
    pub segment_blocks: u32,
    pub segments: u32,
}

impl Geometry {
    pub fn of(superblock: &Superblock) -> Self {
        Self {
            first_block: superblock.first_block,
            segment_blocks: superblock.segment_blocks,
            segments: superblock.segments,
        }
    }

    /// The disk block at which a segment starts.
    pub fn start(&self, segment: u32) -> u32 {
        self.first_block + segment * self.segment_blocks
    }

    /// The segment of a disk block, if it is in one.
    pub fn segment_of(&self, location: u32) -> Option<u32> {
        let segment = location.checked_sub(self.first_block)? / self.segment_blocks;
        (segment < self.segments).then_some(segment)
    }
}

/// What a segment is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Free,
    /// Batches are being added.
    Open,
    /// Full of batches, or closed by a restart.
    Sealed,
    /// Part of a checkpoint.
    Checkpoint,
    /// Nothing is needed of it, but a read is still under way.
    Retired,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub used: Use,
    /// Blocks in it that the index points to.
    pub live: u32,
    /// Reads under way.
    pub pins: u32,
    /// Its newest batch.
    pub last_sequence: u64,
    /// The batch in which the youngest of its data came from a writer, about: its age for the cleaner. What
    /// is moved keeps its age, so that cold data is known as such.
    pub data_sequence: u64,
}

/// All segments of a disk.
#[derive(Debug)]
pub(super) struct Segments {
    pub geometry: Geometry,
    all: Vec<Segment>,
    free: VecDeque<u32>,
    /// Sealed segments that nothing points to: free once a checkpoint says so.
    dead: u32,
}

impl Segments {
    /// All of them sealed, until `used` is set and [`Segments::recount`] called.
    pub fn new(geometry: Geometry) -> Self {
        let segment = Segment { used: Use::Sealed, live: 0, pins: 0, last_sequence: 0, data_sequence: 0 };
        Self { geometry, all: vec![segment; geometry.segments as usize], free: VecDeque::new(), dead: 0 }
    }

    /// No more batches go into it.
    pub fn seal(&mut self, segment: u32) {
        let entry = self.get_mut(segment);
        entry.used = Use::Sealed;
        self.dead += u32::from(self.get(segment).live == 0);
    }

    pub fn dead_count(&self) -> u32 {
        self.dead
    }

    /// Counts afresh, after `used` was set from outside.
    pub fn recount(&mut self) {
        self.dead = u32::try_from(self.dead().count()).expect("at most every segment");
        self.free = (0u32..).zip(&self.all).filter(|(_, s)| s.used == Use::Free).map(|(n, _)| n).collect();
    }

    pub fn get(&self, segment: u32) -> &Segment {
        &self.all[segment as usize]
    }

    pub fn get_mut(&mut self, segment: u32) -> &mut Segment {
        &mut self.all[segment as usize]
    }

    pub fn free_count(&self) -> u32 {
        u32::try_from(self.free.len()).expect("at most every segment is free")
    }

    /// Takes the segment that has been free longest.
    pub fn take(&mut self, used: Use) -> Option<u32> {
        let segment = self.free.pop_front()?;
        let entry = self.get_mut(segment);
        (entry.used, entry.last_sequence, entry.data_sequence) = (used, 0, 0);
        Some(segment)
    }

    /// Gives a segment back, at once or when the last read of it ends.
    pub fn release(&mut self, segment: u32) {
        let dead = &mut self.dead;
        let entry = &mut self.all[segment as usize];
        if entry.used == Use::Sealed {
            *dead -= 1;
        }
        if entry.pins > 0 {
            entry.used = Use::Retired;
        } else {
            entry.used = Use::Free;
            self.free.push_back(segment);
        }
    }

    /// A read of it begins: it can't be reused until [`Segments::unpin`].
    pub fn pin(&mut self, segment: u32) {
        self.get_mut(segment).pins += 1;
    }

    pub fn unpin(&mut self, segment: u32) {
        let entry = self.get_mut(segment);
        entry.pins -= 1;
        if entry.pins == 0 && entry.used == Use::Retired {
            self.release(segment);
        }
    }

    /// Counts a changed slot.
    pub fn note(&mut self, change: SlotChange) {
        if change.old.has_data()
            && let Some(segment) = self.geometry.segment_of(change.old.location)
        {
            let entry = &mut self.all[segment as usize];
            entry.live -= 1;
            self.dead += u32::from(entry.live == 0 && entry.used == Use::Sealed);
        }
        if change.new.has_data()
            && let Some(segment) = self.geometry.segment_of(change.new.location)
        {
            self.get_mut(segment).live += 1;
        }
    }

    /// Nothing in the whole index points into this sealed segment, whatever was counted.
    pub fn correct_to_dead(&mut self, segment: u32) {
        let entry = &mut self.all[segment as usize];
        if entry.used == Use::Sealed && entry.live > 0 {
            entry.live = 0;
            self.dead += 1;
        }
    }

    pub fn is_dead(&self, segment: u32) -> bool {
        let entry = self.get(segment);
        entry.used == Use::Sealed && entry.live == 0
    }

    /// Sealed segments that nothing points to.
    pub fn dead(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.all).filter(|(_, s)| s.used == Use::Sealed && s.live == 0).map(|(n, _)| n)
    }

    /// The sealed segment that is best to clean: much is dead in it, and what is alive has been for long,
    /// so that it will not die by itself right after it was moved. Segments above `before` may still be
    /// being written. `None`: moving would gain nothing anywhere.
    pub fn victim(&self, before: u64, now: u64) -> Option<u32> {
        let blocks = u64::from(self.geometry.segment_blocks);
        let score = |segment: &Segment| {
            let live = u64::from(segment.live);
            let age = u128::from(now.saturating_sub(segment.data_sequence)) + 1;
            // (1 - u) * age / (1 + u), scaled.
            age * u128::from(blocks - live) * 1024 / u128::from(blocks + live)
        };
        // A batch of moves has a header: what fills a segment but for that gains nothing.
        let gains = |segment: &Segment| u64::from(segment.live) + blocks / 64 + 2 < blocks;
        (0u32..)
            .zip(&self.all)
            .filter(|(_, s)| s.used == Use::Sealed && s.live > 0 && s.last_sequence < before && gains(s))
            .max_by_key(|(_, s)| score(s))
            .map(|(n, _)| n)
    }
}
