//! How much fits, who may take a segment, how hard the cleaner works, and when a dead segment is free.
//!
//! A segment that nothing points to may be written over once two things are so. Nothing that recovery may
//! start from still needs what is in it: its batches are older than where the newest checkpoint's replay
//! begins. And what made it dead is durable: recovery loads the checkpoint, which may point into it still,
//! but replays the batches that put something else in the place of every such pointer before anybody reads.
//! So most segments come free with a flush. Those with batches after the checkpoint need the next one.

use super::core::Store;
use super::limits::{
    CHECKPOINT_DEAD_DIVISOR, CLEAN_MARGIN_DIVISOR, INDEX_PERCENT, MAX_CHECKPOINT_DEAD, MAX_CLEAN_MARGIN,
    MAX_CLEAN_SHARE, MAX_QUEUED_BYTES, MAX_RELEASE, MIN_CHECKPOINT_DEAD, MIN_CLEAN_MARGIN, MIN_CLEAN_SHARE,
    MIN_RELEASE, OVER_PROVISION_PERCENT, RECONCILE_RESERVE_PERCENT, RELEASE_DIVISOR,
};
use super::log::Stream;
use super::segments::Geometry;
use proto::disk::Slot;
use proto::disk::checkpoint::{CHUNK_BYTES, RUN_BYTES, SLOT_BYTES};
use proto::limits::MAX_BLOCKS_PER_IO;
use proto::message::{BlockRange, WriteKind};
use proto::units::{BLOCK_BYTES, BLOCKS_PER_CHUNK};
use proto::{ErrorCode, WireError};

/// What a block that has no neighbours takes in a checkpoint.
const SLOT_AND_RUN: u64 = (SLOT_BYTES + RUN_BYTES) as u64;

/// How much fits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    /// Blocks of live data, at most.
    pub capacity_blocks: u64,
    /// How many more an open's writes may add, so that members can be made to agree when they are full.
    pub reconcile_blocks: u64,
    /// Segments that only the cleaner and checkpoints may use.
    pub reserve_segments: u32,
    /// Bytes of the index in a checkpoint, at most: what the capacity leaves room for, three times over.
    pub index_bytes: u64,
}

impl Space {
    /// Blocks of live data that writes of this kind may fill the disk to.
    fn blocks_for(&self, kind: WriteKind) -> u64 {
        match kind {
            WriteKind::Normal | WriteKind::Repair => self.capacity_blocks,
            WriteKind::Reconcile => self.capacity_blocks + self.reconcile_blocks,
        }
    }

    /// The capacity of a layout: all segments but those that checkpoints (three at a time: the newest, the
    /// one before, the one being made), the open heads and the cleaner need, less what batch headers take
    /// even when the cleaner packed them full, less the over-provision.
    pub fn of(geometry: &Geometry) -> Self {
        let segments = u64::from(geometry.segments);
        let segment_blocks = u64::from(geometry.segment_blocks);
        let index_bytes = segments * segment_blocks * SLOT_AND_RUN * INDEX_PERCENT / 100;
        let checkpoint = index_bytes.div_ceil(segment_blocks * BLOCK_BYTES);
        let reserve = (segments / 64).max(2);
        let usable = segments.saturating_sub(3 * checkpoint + reserve + 3);
        let data_blocks = usable * (segment_blocks - segment_blocks / 64 - 1);
        Self {
            capacity_blocks: data_blocks * (100 - OVER_PROVISION_PERCENT) / 100,
            reconcile_blocks: data_blocks * RECONCILE_RESERVE_PERCENT / 100,
            reserve_segments: u32::try_from(reserve).expect("fewer than the segments"),
            index_bytes,
        }
    }
}

/// Dead segments on their way to being free.
#[derive(Debug)]
pub(super) struct Release {
    /// Every batch below it must be durable, and every operation up to the other (a deletion drops blocks
    /// before it is in a batch).
    batch: u64,
    op: u64,
    segments: Vec<u32>,
}

impl Release {
    /// The batch below which a flush has to reach.
    pub fn batch(&self) -> u64 {
        self.batch
    }
}

impl Store {
    /// Whether any write fits, whatever of it is fresh: that need not be looked up then. Twice what may wait:
    /// once for what came in unseen before space became scarce, which thus is never refused for it, and
    /// once for what that left behind.
    pub(super) fn has_ample_space(&self) -> bool {
        let blocks = 2 * MAX_QUEUED_BYTES as u64 / BLOCK_BYTES + u64::from(MAX_BLOCKS_PER_IO);
        self.index.live_blocks + blocks <= self.space.capacity_blocks
            && self.index.checkpoint_bytes() + blocks * SLOT_AND_RUN <= self.space.index_bytes
    }

    /// Whether a write to `fresh` blocks without data still fits, as data and in the index.
    pub(super) fn check_space(&mut self, fresh: u64, kind: WriteKind) -> Result<(), WireError> {
        let wanted = self.queue.fresh_blocks() + fresh;
        let most = self.space.blocks_for(kind);
        if self.index.live_blocks + wanted > most {
            // Deleted volumes are counted out little by little; now their room is wanted.
            self.drop_chunks(usize::MAX);
        }
        if self.index.live_blocks + wanted > most {
            let (disk, capacity) =
                (self.disk_id(), proto::size::show(self.space.capacity_blocks * BLOCK_BYTES));
            let message = format!("disk {disk} holds all of the {capacity} it can; delete or trim something");
            return Err(WireError::new(ErrorCode::NoSpace, message));
        }
        if self.index.checkpoint_bytes() + wanted * SLOT_AND_RUN > self.space.index_bytes {
            return Err(self.too_many_trims());
        }
        Ok(())
    }

    /// Whether the index still has room for what a trim leaves in it. Data that may yet come has a claim on
    /// most of it, and what a trim makes of data takes nothing. A catch-up's trims may take of that claim: they
    /// are forgotten once its group is whole, which it never is if they are refused. So may the few of an open,
    /// which can't end without them.
    pub(super) fn check_trim_space(&mut self, range: &BlockRange, kind: WriteKind) -> Result<(), WireError> {
        let held = self.index.chunk(range.volume, range.chunk);
        let new_chunk = if held.is_none() { CHUNK_BYTES as u64 } else { 0 };
        let leaves_nothing = |block| {
            held.is_none_or(|chunk| {
                let place = chunk.place(block);
                place.location == Slot::HOLE
                    || place.location == Slot::TRIMMED && place.version == chunk.base()
            })
        };
        let whole = u32::from(range.count) == BLOCKS_PER_CHUNK;
        let end = range.first + range.count;
        let fresh = if whole { 0 } else { (range.first..end).filter(|&b| leaves_nothing(b)).count() as u64 };
        let grows = new_chunk + fresh * SLOT_AND_RUN;
        let for_data = |blocks: u64| blocks * SLOT_AND_RUN;
        let others = self.index.checkpoint_bytes().saturating_sub(for_data(self.index.live_blocks));
        let claimed = match kind {
            WriteKind::Repair | WriteKind::Reconcile => self.index.live_blocks + self.queue.fresh_blocks(),
            WriteKind::Normal => self.space.blocks_for(WriteKind::Reconcile),
        };
        if grows > 0 && others + grows > self.space.index_bytes.saturating_sub(for_data(claimed)) {
            return Err(self.too_many_trims());
        }
        Ok(())
    }

    fn too_many_trims(&mut self) -> WireError {
        self.index_full = true;
        let message = format!(
            "disk {} remembers all the trims it can, since a replica has been away for long; bring it back, \
             or delete a volume",
            self.disk_id()
        );
        WireError::new(ErrorCode::NoSpace, message)
    }

    /// Segments that a checkpoint may need now, with one to spare.
    pub(super) fn checkpoint_need(&self) -> u32 {
        let segment_bytes = u64::from(self.segments.geometry.segment_blocks) * BLOCK_BYTES;
        let segments = self.index.checkpoint_bytes().div_ceil(segment_bytes) + 1;
        u32::try_from(segments).unwrap_or(u32::MAX)
    }

    /// Whether a stream may open one more segment. Writers leave the cleaner its reserve, and both leave
    /// what a checkpoint needs, since a log without checkpoints can't go on.
    pub(super) fn may_take_segment(&self, stream: Stream) -> bool {
        let floor = match stream {
            Stream::Writers => self.floor(),
            Stream::Cleaner => self.checkpoint_need(),
        };
        self.segments.free_count() > floor
    }

    /// Free segments that writers leave alone.
    fn floor(&self) -> u32 {
        self.checkpoint_need() + self.space.reserve_segments
    }

    fn margin(&self) -> u32 {
        (self.segments.geometry.segments / CLEAN_MARGIN_DIVISOR).clamp(MIN_CLEAN_MARGIN, MAX_CLEAN_MARGIN)
    }

    /// Segments that are free or will be, whatever happens.
    pub(super) fn free_soon(&self) -> u32 {
        self.segments.free_count() + self.segments.dead_count()
    }

    /// With fewer segments free the cleaner works.
    pub(super) fn clean_below(&self) -> u32 {
        self.floor() + self.margin()
    }

    /// Whether the cleaner has to look for a victim.
    pub(super) fn wants_cleaning(&self) -> bool {
        self.free_soon() < self.clean_below()
    }

    /// Whether somebody can't go on without another segment.
    fn is_stuck(&self) -> bool {
        self.log.stalled || !self.may_take_segment(Stream::Cleaner)
    }

    /// Whether a checkpoint should make dead segments free that a flush can't.
    pub(super) fn wants_dead_segments(&self) -> bool {
        if self.segments.free_count() >= self.clean_below() {
            return false;
        }
        let worth = (self.segments.geometry.segments / CHECKPOINT_DEAD_DIVISOR)
            .clamp(MIN_CHECKPOINT_DEAD, MAX_CHECKPOINT_DEAD);
        let dead = self.segments.dead_count();
        if dead == 0 || dead < worth && !self.is_stuck() {
            return false;
        }
        let by_flush = self.releasable().count();
        let kept = dead as usize - by_flush;
        let released = self.cleaner.releasing.as_ref().is_some_and(|release| self.may_release(release.op));
        kept >= worth as usize || self.is_stuck() && !released && (kept > 0 || by_flush > 0)
    }

    /// Blocks moved for each eight that are written: none while there is room, more the less there is.
    pub(super) fn clean_share(&self) -> u32 {
        let (soon, margin) = (self.free_soon(), self.margin());
        let high = self.clean_below();
        if soon >= high {
            return 0;
        }
        let missing = (high - soon).min(margin);
        MIN_CLEAN_SHARE + missing * (MAX_CLEAN_SHARE - MIN_CLEAN_SHARE) / margin
    }

    fn releasable(&self) -> impl Iterator<Item = u32> + '_ {
        self.segments.dead().filter(|&segment| self.is_releasable(segment, self.newest.replay_from))
    }

    /// Whether a segment is dead and has nothing that a replay from `replay_from` on needs.
    pub(super) fn is_releasable(&self, segment: u32, replay_from: u64) -> bool {
        self.segments.is_dead(segment) && self.segments.get(segment).last_sequence < replay_from
    }

    fn may_release(&self, op: u64) -> bool {
        self.flusher.flushed_ops() >= op
    }

    /// Gives back the dead segments whose deaths are durable, and chooses the next.
    pub(super) fn advance_release(&mut self) {
        let dead = self.segments.dead_count();
        if dead == 0 {
            self.cleaner.releasing = None;
            return;
        }
        if self.cleaner.releasing.is_none() {
            let worth = (self.segments.geometry.segments / RELEASE_DIVISOR).clamp(MIN_RELEASE, MAX_RELEASE);
            let enough = self.segments.free_count() >= self.clean_below();
            if enough || dead < worth && !self.is_stuck() {
                return;
            }
            let segments: Vec<u32> = self.releasable().collect();
            if segments.is_empty() || segments.len() < worth as usize && !self.is_stuck() {
                return;
            }
            let (batch, op) = (self.log.next_sequence, self.queue.last_delete());
            self.cleaner.releasing = Some(Release { batch, op, segments });
        }
        let durable = |release: &mut Release| {
            self.log.flushed_sequence >= release.batch && self.flusher.flushed_ops() >= release.op
        };
        let Some(release) = self.cleaner.releasing.take_if(durable) else { return };
        for segment in release.segments {
            // A checkpoint may have been quicker.
            if self.is_releasable(segment, self.newest.replay_from) {
                self.segments.release(segment);
            }
        }
    }
}
