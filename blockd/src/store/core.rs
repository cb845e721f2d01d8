//! The store itself: takes events, keeps the parts together, gives out actions.

use super::checkpoint::{Checkpoint, Newest};
use super::chunk::Chunk;
use super::cleaner::Cleaner;
use super::event::{Action, Answer, Event, IoId, Session, Ticket, WriteKind};
use super::flush::Flusher;
use super::index::Index;
use super::limits::{
    DROPPED_CHUNKS_PER_PUMP, MAX_LIST_CHUNKS, MAX_QUEUED_BYTES, MIN_SUMS_BYTES, SUMS_DIVISOR,
};
use super::log::Log;
use super::queue::{Op, Queue, WriteOp};
use super::read::Reads;
use super::segments::Segments;
use super::session::Sessions;
use super::space::Space;
use super::sums::{Lookups, SumCache};
use proto::disk::{DataKind, Superblock};
use proto::limits::{MAX_BLOCKS_PER_IO, MAX_BLOCKS_PER_TRIM, MAX_LIST_ENTRIES};
use proto::message::{BlockRange, DiskStat, LIST_END, VolumeStat};
use proto::units::{BLOCK_BYTES, BLOCKS_PER_CHUNK};
use proto::{ClientId, DiskId, ErrorCode, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId, WireError};
use rt::buf::AlignedBuf;
use rt::clock::Instant;
use slab::Slab;
use std::collections::BTreeMap;
use std::io;

/// One disk's log and its index. Pure: it is given events and gives out actions.
#[derive(Debug)]
pub struct Store {
    pub(super) superblock: Superblock,
    pub(super) space: Space,
    pub(super) index: Index,
    pub(super) segments: Segments,
    pub(super) sessions: Sessions,
    /// The least epoch of each group that was adopted.
    pub(super) groups: BTreeMap<GroupId, GroupEpoch>,
    pub(super) queue: Queue,
    pub(super) log: Log,
    pub(super) flusher: Flusher,
    pub(super) reads: Reads,
    pub(super) sums: SumCache,
    pub(super) lookups: Lookups,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) newest: Newest,
    pub(super) cleaner: Cleaner,
    pub(super) ios: Slab<Io>,
    pub(super) counters: Counters,
    /// The index was found full since the last checkpoint began, and there are tombstones it could forget.
    pub(super) index_full: bool,
    pub(super) may_forget: bool,
    pub(super) now: Instant,
    /// When a write or trim was accepted last.
    pub(super) last_write: Instant,
    /// Chunks of deleted volumes and cleared groups, still to be counted out.
    graveyard: Vec<BTreeMap<u32, Box<Chunk>>>,
    failed: Option<WireError>,
    stop: Stop,
}

/// Times that one pump goes round while writes are stuck and nothing is under way for them.
const PASSES: usize = 4;

/// What a disk operation is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Io {
    Batch,
    Read {
        read: usize,
        part: usize,
    },
    Flush,
    CheckpointPart,
    Superblock,
    CleanRead,
    /// The header of the batch that starts there, or as much of it.
    Header {
        batch: u32,
        blocks: u16,
    },
    /// A whole piece, for its CRCs.
    Piece {
        key: usize,
    },
}

#[derive(Debug)]
enum Stop {
    Running,
    Stopping(Ticket),
    Stopped,
}

/// What happened since the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub batches: u64,
    pub bytes_written: u64,
    pub device_flushes: u64,
    pub checkpoints: u64,
    pub cleaned_segments: u64,
    pub moved_blocks: u64,
    pub corrupt_blocks: u64,
    pub repaired_blocks: u64,
    /// Pumps in which writes waited for the cleaner.
    pub stalls: u64,
    /// What the mount replayed.
    pub replayed_batches: u64,
    pub replayed_blocks: u64,
}

/// What the store knows of a volume besides its blocks. Zeros for one it never heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VolumeInfo {
    pub fence: VolumeEpoch,
    pub settled: Version,
    pub stable: Version,
    /// The highest version ever held.
    pub highest: Version,
    /// Trims up to it may be forgotten here: all members have them for good.
    pub forgotten: Version,
    pub deleted: bool,
}

impl Store {
    pub(super) fn assemble(
        superblock: Superblock,
        index: Index,
        segments: Segments,
        sessions: Sessions,
        groups: BTreeMap<GroupId, GroupEpoch>,
        next_sequence: u64,
    ) -> Self {
        let space = Space::of(&segments.geometry);
        let sums = usize::try_from(space.capacity_blocks * BLOCK_BYTES / SUMS_DIVISOR).unwrap_or(usize::MAX);
        Self {
            space,
            index,
            segments,
            sessions,
            groups,
            queue: Queue::default(),
            log: Log::new(next_sequence),
            flusher: Flusher::default(),
            reads: Reads::default(),
            sums: SumCache::new(sums.max(MIN_SUMS_BYTES)),
            lookups: Lookups::default(),
            checkpoint: None,
            newest: Newest::default(),
            cleaner: Cleaner::default(),
            ios: Slab::new(),
            counters: Counters::default(),
            index_full: false,
            may_forget: false,
            now: Instant::default(),
            last_write: Instant::default(),
            graveyard: Vec::new(),
            failed: None,
            stop: Stop::Running,
            superblock,
        }
    }

    /// Takes one event and gives out what is to be done. [`Store::submit`] and [`Store::pump`] in one.
    pub fn step(&mut self, now: Instant, event: Event, out: &mut Vec<Action>) {
        self.submit(now, event, out);
        self.pump(now, out);
    }

    /// Takes one event. Writes wait for [`Store::pump`], so that all that is ready makes one batch.
    pub fn submit(&mut self, now: Instant, event: Event, out: &mut Vec<Action>) {
        self.now = now;
        match event {
            Event::DiskDone { io, buf, result } => self.disk_done(io, buf, result, out),
            Event::Tick if self.check_running().is_ok() => self.mark_durable(out),
            Event::Tick => {}
            Event::Horizon { volume, settled, stable, whole } => {
                self.horizon(volume, settled, stable, whole);
            }
            Event::Write { ticket, session, range, version, crcs, data, kind } => {
                let logged = logged_as(kind);
                let op =
                    WriteOp { ticket, session, range, version, crcs, data, kind: logged, taken: 0, fresh: 0 };
                if let Err(error) = self.accept_write(op, kind) {
                    out.push(Action::Answer { ticket, result: Err(error) });
                }
            }
            Event::Trim { ticket, session, range, version, kind } => {
                if let Err(error) = self.accept_trim(ticket, session, (range, version), kind) {
                    out.push(Action::Answer { ticket, result: Err(error) });
                }
            }
            Event::Read { ticket, range } => match self.check_read(&range) {
                Ok(()) => self.start_read(ticket, range, out),
                Err(error) => out.push(Action::Answer { ticket, result: Err(error) }),
            },
            Event::Verify { ticket, range } => {
                match self.check_read(&range).and_then(|()| self.check_on_medium(&range)) {
                    Ok(()) => self.start_read(ticket, range, out),
                    Err(error) => out.push(Action::Answer { ticket, result: Err(error) }),
                }
            }
            Event::Flush { ticket } => match self.check_running() {
                Ok(()) => self.flusher.wait(ticket, self.queue.accepted()),
                Err(error) => out.push(Action::Answer { ticket, result: Err(error) }),
            },
            Event::Fence { ticket, volume, epoch } => {
                if let Err(error) = self.accept_fence(ticket, volume, epoch) {
                    out.push(Action::Answer { ticket, result: Err(error) });
                }
            }
            Event::AdoptGroup { ticket, group, epoch } => {
                if let Err(error) = self.accept_group(ticket, group, epoch) {
                    out.push(Action::Answer { ticket, result: Err(error) });
                }
            }
            Event::ClearGroup { ticket, group, groups, epoch } => {
                if let Err(error) = self.accept_clear(ticket, (group, groups), epoch) {
                    out.push(Action::Answer { ticket, result: Err(error) });
                }
            }
            Event::DeleteVolume { ticket, volume } => {
                if let Err(error) = self.accept_delete(ticket, volume) {
                    out.push(Action::Answer { ticket, result: Err(error) });
                }
            }
            Event::List { ticket, volume, above, cursor } => {
                let result = self.check_running().map(|()| self.list(volume, above, cursor));
                out.push(Action::Answer { ticket, result });
            }
            Event::Stop { ticket } => match self.check_running() {
                Ok(()) => self.stop = Stop::Stopping(ticket),
                Err(error) => out.push(Action::Answer { ticket, result: Err(error) }),
            },
        }
    }

    /// Makes batches, flushes, checkpoints and moves out of what is due.
    pub fn pump(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.now = now;
        if self.failed.is_some() {
            return;
        }
        self.drop_chunks(if self.log.stalled { usize::MAX } else { DROPPED_CHUNKS_PER_PUMP });
        for _ in 0..PASSES {
            self.advance_release();
            self.advance_cleaner(out);
            self.write_batches(out);
            self.advance_checkpoint(out);
            // A checkpoint that has just ended makes segments free, and moves that became pointless make
            // the cleaner look further: what was stuck on either tries again before everybody sleeps.
            if !self.log.is_quiet() || self.queue.is_empty() && self.cleaner.is_idle() {
                break;
            }
        }
        self.advance_flush(out);
        self.advance_stop(out);
    }

    pub fn disk_id(&self) -> DiskId {
        self.superblock.disk
    }

    /// Grows at every mount.
    pub fn incarnation(&self) -> u64 {
        self.superblock.lives.last().map_or(0, |life| life.incarnation)
    }

    /// Why the store has stopped for good, if it has.
    pub fn failure(&self) -> Option<&WireError> {
        self.failed.as_ref()
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub fn stat(&self) -> DiskStat {
        let live = self.index.live_blocks;
        let taken = live + self.queue.fresh_blocks();
        DiskStat {
            capacity_bytes: self.space.capacity_blocks * BLOCK_BYTES,
            live_bytes: live * BLOCK_BYTES,
            free_bytes: self.space.capacity_blocks.saturating_sub(taken) * BLOCK_BYTES,
            segments: u64::from(self.segments.geometry.segments),
            free_segments: u64::from(self.segments.free_count()),
            batches: self.counters.batches,
            corrupt_blocks: self.counters.corrupt_blocks,
            repaired_blocks: self.counters.repaired_blocks,
            index_bytes: self.index.memory_bytes(),
        }
    }

    pub fn volume_stat(&self, volume: VolumeId) -> VolumeStat {
        self.index.volumes.get(&volume).map_or_else(VolumeStat::default, |held| VolumeStat {
            live_blocks: held.live_blocks,
            chunks: held.live_chunks,
        })
    }

    pub fn volume_info(&self, volume: VolumeId) -> VolumeInfo {
        self.index.volumes.get(&volume).map_or_else(VolumeInfo::default, |held| VolumeInfo {
            fence: held.fence,
            settled: held.settled,
            stable: held.stable,
            highest: held.highest,
            forgotten: held.forgotten,
            deleted: held.deleted,
        })
    }

    /// Every write of the client's session up to this sequence is on the device (0: none is known).
    pub fn held_sequence(&self, client: ClientId) -> u64 {
        self.sessions.held(client)
    }

    /// Ends the store: everything waiting, and everything to come, is answered with the error.
    pub(super) fn fail(&mut self, message: String, out: &mut Vec<Action>) {
        if self.failed.is_some() {
            return;
        }
        tracing::error!(disk = %self.superblock.disk, "{message}");
        let error = WireError::new(ErrorCode::Io, message);
        self.failed = Some(error.clone());
        let mut tickets = self.queue.drain_tickets();
        tickets.extend(self.log.drain_tickets());
        tickets.extend(self.flusher.drain_tickets());
        tickets.extend(self.reads.drain_tickets());
        if let Stop::Stopping(ticket) = self.stop {
            tickets.push(ticket);
        }
        self.stop = Stop::Stopped;
        out.extend(tickets.into_iter().map(|ticket| Action::Answer { ticket, result: Err(error.clone()) }));
    }

    pub(super) fn new_io(&mut self, io: Io) -> IoId {
        IoId(self.ios.insert(io) as u64)
    }

    fn disk_done(
        &mut self,
        io: IoId,
        buf: Option<AlignedBuf>,
        result: io::Result<()>,
        out: &mut Vec<Action>,
    ) {
        let key = usize::try_from(io.0).ok().filter(|&key| self.ios.contains(key));
        let Some(key) = key else { return };
        let kind = self.ios.remove(key);
        if self.failed.is_some() {
            return;
        }
        match (kind, result) {
            (Io::Read { read, part }, result) => self.read_done(read, part, buf, result, out),
            (Io::CleanRead, result) => self.clean_read_done(buf, result),
            (Io::Header { batch, blocks }, result) => self.header_done((batch, blocks), buf, result, out),
            (Io::Piece { key }, result) => self.piece_done(key, buf, result, out),
            (_, Err(error)) => {
                let what = match kind {
                    Io::Flush => "a flush of the disk failed, so nothing says what it kept",
                    _ => "a write to the disk failed",
                };
                self.fail(format!("{what}: {error}; the shard has stopped"), out);
            }
            (Io::Batch, Ok(())) => self.batch_done(io, out),
            (Io::Flush, Ok(())) => self.flush_done(out),
            (Io::CheckpointPart | Io::Superblock, Ok(())) => self.checkpoint_write_done(),
        }
    }

    pub(super) fn check_running(&self) -> Result<(), WireError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.stop {
            Stop::Running => Ok(()),
            _ => Err(WireError::new(ErrorCode::Busy, "the disk is being stopped")),
        }
    }

    fn check_read(&self, range: &BlockRange) -> Result<(), WireError> {
        self.check_running()?;
        check_range(range, MAX_BLOCKS_PER_IO)?;
        self.check_not_deleted(range.volume)
    }

    fn check_not_deleted(&self, volume: VolumeId) -> Result<(), WireError> {
        match self.index.volumes.get(&volume) {
            Some(held) if held.deleted => {
                Err(WireError::new(ErrorCode::Deleted, format!("volume {volume} was deleted")))
            }
            _ => Ok(()),
        }
    }

    fn check_version(&self, volume: VolumeId, version: Version, kind: DataKind) -> Result<(), WireError> {
        if version == Version::ZERO {
            return Err(WireError::new(
                ErrorCode::BadRequest,
                "version 0 is the one of blocks never written",
            ));
        }
        self.check_not_deleted(volume)?;
        let fence = self.index.volumes.get(&volume).map_or(VolumeEpoch(0), |held| held.fence);
        if kind == DataKind::Write && version.epoch() < fence {
            let epoch = version.epoch();
            return Err(WireError::new(
                ErrorCode::Fenced,
                format!("volume {volume} was opened with epoch {fence}; this write has {epoch}"),
            ));
        }
        Ok(())
    }

    fn accept_write(&mut self, mut op: WriteOp, kind: WriteKind) -> Result<(), WireError> {
        self.check_running()?;
        let range = op.range;
        check_range(&range, MAX_BLOCKS_PER_IO)?;
        if op.data.len() != range.len_bytes() || op.crcs.len() != usize::from(range.count) {
            return Err(WireError::new(ErrorCode::BadRequest, "a write's data or CRCs are not its blocks"));
        }
        self.check_version(range.volume, op.version, op.kind)?;
        if self.queue.bytes() + op.data.len() > MAX_QUEUED_BYTES {
            return Err(WireError::new(ErrorCode::Busy, "too many writes wait for the disk"));
        }
        op.fresh = range.count;
        if !self.has_ample_space() {
            op.fresh = self.fresh_blocks(&range);
            if op.fresh > 0 {
                self.check_space(u64::from(op.fresh), kind)?;
            }
        }
        self.last_write = self.now;
        self.queue.push(Op::Write(op));
        Ok(())
    }

    /// Blocks of the range that hold no data yet.
    fn fresh_blocks(&self, range: &BlockRange) -> u16 {
        let Some(chunk) = self.index.chunk(range.volume, range.chunk) else { return range.count };
        let fresh = (range.first..range.first + range.count).filter(|&b| !chunk.place(b).has_data()).count();
        u16::try_from(fresh).expect("at most the range")
    }

    fn accept_trim(
        &mut self,
        ticket: Ticket,
        session: Session,
        (range, version): (BlockRange, Version),
        kind: WriteKind,
    ) -> Result<(), WireError> {
        self.check_running()?;
        check_range(&range, MAX_BLOCKS_PER_TRIM)?;
        self.check_version(range.volume, version, logged_as(kind))?;
        self.check_trim_space(&range, kind)?;
        self.last_write = self.now;
        self.queue.push(Op::Trim { ticket, session, range, version });
        Ok(())
    }

    fn accept_fence(
        &mut self,
        ticket: Ticket,
        volume: VolumeId,
        epoch: VolumeEpoch,
    ) -> Result<(), WireError> {
        self.check_running()?;
        self.check_not_deleted(volume)?;
        let held = self.index.volume_mut(volume);
        if epoch > held.fence {
            held.fence = epoch;
            self.queue.push(Op::Fence { volume, epoch });
        }
        self.flusher.wait(ticket, self.queue.accepted());
        Ok(())
    }

    fn accept_delete(&mut self, ticket: Ticket, volume: VolumeId) -> Result<(), WireError> {
        self.check_running()?;
        if !self.volume_info(volume).deleted {
            let chunks = self.index.delete_volume(volume);
            self.graveyard.push(chunks);
            self.queue.push(Op::Delete { volume });
        }
        self.flusher.wait(ticket, self.queue.accepted());
        Ok(())
    }

    /// Takes a group's chunks out of the index, to be counted out bit by bit.
    pub(super) fn bury_group(&mut self, group: GroupId, groups: u32) {
        self.graveyard.extend(self.index.clear_group(group, groups));
    }

    fn horizon(&mut self, volume: VolumeId, settled: Version, stable: Version, whole: bool) {
        // A volume nobody wrote to here has no horizon worth keeping.
        let Some(held) = self.index.volumes.get_mut(&volume) else { return };
        let before = held.forgotten;
        if held.deleted || !held.raise_horizon(settled, stable, whole) {
            return;
        }
        self.may_forget |= held.forgotten > before;
        if !held.horizon_dirty {
            held.horizon_dirty = true;
            self.log.dirty_horizons.push(volume);
        }
    }

    fn list(&self, volume: VolumeId, above: Version, cursor: u64) -> Answer {
        let mut entries = Vec::new();
        let bounds = (MAX_LIST_ENTRIES as usize, MAX_LIST_CHUNKS);
        let next = self.index.list(volume, above, cursor, bounds, &mut entries);
        Answer::List { entries, next_cursor: next.unwrap_or(LIST_END) }
    }

    pub(super) fn drop_chunks(&mut self, max_chunks: usize) {
        let mut left = max_chunks;
        while let Some(chunks) = self.graveyard.last_mut() {
            while let Some((_, chunk)) = chunks.pop_first() {
                let segments = &mut self.segments;
                self.index.drop_chunk(*chunk, |change| segments.note(change));
                left -= 1;
                if left == 0 {
                    return;
                }
            }
            self.graveyard.pop();
        }
    }

    fn advance_stop(&mut self, out: &mut Vec<Action>) {
        let Stop::Stopping(ticket) = self.stop else { return };
        let quiet = self.queue.is_empty() && self.log.is_quiet() && self.flusher.is_idle();
        if !quiet || self.checkpoint.is_some() {
            return;
        }
        self.drop_chunks(usize::MAX);
        if self.is_checkpointed() {
            self.stop = Stop::Stopped;
            out.push(Action::Answer { ticket, result: Ok(Answer::Done) });
        } else if !self.start_checkpoint() {
            self.stop = Stop::Stopped;
            let message = "no segment is free for the last checkpoint; the next start replays the log";
            out.push(Action::Answer { ticket, result: Err(WireError::new(ErrorCode::NoSpace, message)) });
        } else {
            self.advance_checkpoint(out);
        }
    }

    /// Whether blocks of deleted volumes and cleared groups are still counted as live.
    pub(super) fn is_dropping(&self) -> bool {
        !self.graveyard.is_empty()
    }

    /// Whether the cleaner should rest and nothing new is started.
    pub(super) fn is_stopping(&self) -> bool {
        !matches!(self.stop, Stop::Running)
    }
}

/// An open's writes are in the log as any others.
fn logged_as(kind: WriteKind) -> DataKind {
    match kind {
        WriteKind::Normal | WriteKind::Reconcile => DataKind::Write,
        WriteKind::Repair => DataKind::Repair,
    }
}

fn check_range(range: &BlockRange, max_count: u32) -> Result<(), WireError> {
    let (first, count) = (u32::from(range.first), u32::from(range.count));
    if count == 0 || count > max_count || first + count > BLOCKS_PER_CHUNK {
        return Err(WireError::new(
            ErrorCode::BadRequest,
            "the block range is empty, too long or past the chunk's end",
        ));
    }
    Ok(())
}
