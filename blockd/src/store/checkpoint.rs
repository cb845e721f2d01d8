//! Checkpoints: the index, written part by part while the store goes on.
//!
//! A checkpoint begins by noting the next batch (`replay_from`) and then walks the chunks; what changes
//! behind its back is in later batches, and replaying those gives the same result in any case, since per
//! block the highest version wins. It counts once the superblock points to it, which it does only after
//! every part and every batch that its records may speak of is durable.

use super::core::{Io, Store};
use super::event::Action;
use super::limits::{CHECKPOINT_INTERVAL_FACTOR, MAX_CHECKPOINT_INTERVAL, MIN_CHECKPOINT_INTERVAL};
use super::segments::Use;
use proto::checksum::crc32;
use proto::disk::checkpoint::{
    HEADER_BYTES, MAX_CHUNK_BYTES, MAX_PAYLOAD_BYTES, MAX_RUNS_BYTES, RECORD_BYTES, put_chunk, put_runs,
};
use proto::disk::{
    CheckpointCommit, CheckpointRoot, LogHead, PartHeader, PartKind, Record, superblock::COPY_BLOCKS,
};
use proto::ids::{ChunkId, ChunkIndex};
use proto::units::{BLOCK_BYTES, BLOCK_LEN};
use proto::{Version, VolumeId};
use rt::buf::AlignedBuf;

/// A checkpoint being made.
#[derive(Debug)]
pub(super) struct Checkpoint {
    id: u64,
    replay_from: u64,
    heads: Vec<LogHead>,
    /// Volumes to walk, with what each could forget at the start: tombstones up to it go. (A horizon from
    /// later could forget a trim whose overtaken write is still to be replayed.)
    volumes: Vec<(VolumeId, Version)>,
    /// The volume and chunk that come next.
    cursor: (usize, u32),
    /// Segments nothing pointed to when it began: free once it counts.
    freeable: Vec<u32>,
    /// Its own segments with the parts in each.
    segments: Vec<(u32, u32)>,
    next_block: u32,
    parts: u32,
    bytes: u64,
    /// Volume and session records, taken when the chunks were done.
    rest: Vec<u8>,
    stage: Stage,
    /// A write of it is under way.
    writing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Chunks,
    /// The records after this many bytes of `rest`.
    Rest(usize),
    Commit,
    /// The commit part lies at the root; the batches it speaks of must be written, then all made durable.
    Log(CheckpointRoot),
    LogFlush(CheckpointRoot),
    /// Copy 0 or 1 of the superblock is next, is written, is being made durable.
    Superblock(usize),
    SuperblockWritten(usize),
    SuperblockFlush(usize),
}

/// Of the newest checkpoint that counts, what the next one needs to know.
#[derive(Debug, Clone, Default)]
pub(super) struct Newest {
    /// Its segments.
    pub segments: Vec<u32>,
    pub previous_segments: Vec<u32>,
    /// The first batch that recovery would replay.
    pub replay_from: u64,
    pub bytes: u64,
}

impl Store {
    /// Whether a mount would have nothing to replay and nothing is unknown to the newest checkpoint.
    pub(super) fn is_checkpointed(&self) -> bool {
        self.log.dirty_horizons.is_empty()
            && self.superblock.checkpoint.is_some_and(|root| root.replay_from == self.log.next_sequence)
    }

    /// Begins one. False if one is under way or no segment is free for it.
    pub(super) fn start_checkpoint(&mut self) -> bool {
        if self.checkpoint.is_some() || self.segments.free_count() == 0 {
            return false;
        }
        let mut volumes: Vec<(VolumeId, Version)> =
            self.index.volumes.iter().map(|(&volume, held)| (volume, held.forgotten)).collect();
        volumes.sort_unstable_by_key(|(volume, _)| *volume);
        self.log.since_checkpoint = 0;
        (self.index_full, self.may_forget) = (false, false);
        self.checkpoint = Some(Checkpoint {
            id: self.superblock.checkpoint.map_or(0, |root| root.id) + 1,
            replay_from: self.log.next_sequence,
            heads: self.log.heads(),
            volumes,
            cursor: (0, 0),
            freeable: self.segments.dead().collect(),
            segments: Vec::new(),
            next_block: 0,
            parts: 0,
            bytes: 0,
            rest: Vec::new(),
            stage: Stage::Chunks,
            writing: false,
        });
        true
    }

    fn checkpoint_is_due(&self) -> bool {
        let disk = u64::from(self.segments.geometry.segments)
            * u64::from(self.segments.geometry.segment_blocks)
            * BLOCK_BYTES;
        let interval = (self.newest.bytes * CHECKPOINT_INTERVAL_FACTOR)
            .clamp(MIN_CHECKPOINT_INTERVAL, MAX_CHECKPOINT_INTERVAL)
            .min(disk / 8);
        let forgets = self.index_full && self.may_forget;
        self.log.since_checkpoint >= interval || forgets || self.wants_dead_segments()
    }

    /// Takes the checkpoint under way as far as it goes without waiting; begins one that is due.
    pub(super) fn advance_checkpoint(&mut self, out: &mut Vec<Action>) {
        if self.checkpoint.is_none() && (!self.checkpoint_is_due() || !self.start_checkpoint()) {
            return;
        }
        while let Some(mut checkpoint) = self.checkpoint.take() {
            if checkpoint.writing {
                self.checkpoint = Some(checkpoint);
                return;
            }
            let went_on = self.checkpoint_step(&mut checkpoint, out);
            match went_on {
                Step::Again => self.checkpoint = Some(checkpoint),
                Step::Wait => {
                    self.checkpoint = Some(checkpoint);
                    return;
                }
                Step::Finished => {
                    self.finish_checkpoint(&checkpoint);
                    return;
                }
                Step::NoRoom => {
                    tracing::warn!(disk = %self.disk_id(), "a checkpoint found no free segment; it is put off");
                    checkpoint.segments.iter().for_each(|&(segment, _)| self.segments.release(segment));
                    return;
                }
            }
        }
    }

    fn checkpoint_step(&mut self, checkpoint: &mut Checkpoint, out: &mut Vec<Action>) -> Step {
        match checkpoint.stage {
            Stage::Chunks => {
                let payload = self.chunk_records(checkpoint);
                if payload.is_empty() {
                    return Step::Again;
                }
                let written = self.write_part(checkpoint, PartKind::Records, &payload, out);
                written.map_or(Step::NoRoom, |_| Step::Wait)
            }
            Stage::Rest(from) => {
                let to = checkpoint.rest.len().min(from + MAX_PAYLOAD_BYTES / RECORD_BYTES * RECORD_BYTES);
                if from == to {
                    checkpoint.stage = Stage::Commit;
                    return Step::Again;
                }
                checkpoint.stage = Stage::Rest(to);
                let payload = checkpoint.rest[from..to].to_vec();
                let written = self.write_part(checkpoint, PartKind::Records, &payload, out);
                written.map_or(Step::NoRoom, |_| Step::Wait)
            }
            Stage::Commit => self.write_commit(checkpoint, out),
            Stage::Log(root) => {
                if self.log.written_sequence < root.next_sequence {
                    return Step::Wait;
                }
                self.flusher.want_for_checkpoint();
                checkpoint.stage = Stage::LogFlush(root);
                Step::Wait
            }
            Stage::LogFlush(root) => {
                if !self.flusher.checkpoint_is_flushed() {
                    return Step::Wait;
                }
                self.point_superblock(root);
                checkpoint.stage = Stage::Superblock(0);
                Step::Again
            }
            Stage::Superblock(copy) => {
                let mut buf = AlignedBuf::zeroed(BLOCK_LEN);
                buf.copy_from_slice(&self.superblock.encode());
                let io = self.new_io(Io::Superblock);
                out.push(Action::DiskWrite {
                    io,
                    offset: u64::from(COPY_BLOCKS[copy]) * BLOCK_BYTES,
                    buf: buf.into(),
                });
                checkpoint.writing = true;
                checkpoint.stage = Stage::SuperblockWritten(copy);
                Step::Wait
            }
            Stage::SuperblockWritten(copy) => {
                self.flusher.want_for_checkpoint();
                checkpoint.stage = Stage::SuperblockFlush(copy);
                Step::Wait
            }
            Stage::SuperblockFlush(copy) => {
                if !self.flusher.checkpoint_is_flushed() {
                    return Step::Wait;
                }
                if copy == 1 {
                    return Step::Finished;
                }
                checkpoint.stage = Stage::Superblock(1);
                Step::Again
            }
        }
    }

    /// The next chunks' records, as many as one part holds; on the way, tombstones that every member has
    /// are forgotten. After the last chunk the stage moves on.
    fn chunk_records(&mut self, checkpoint: &mut Checkpoint) -> Vec<u8> {
        let mut payload = Vec::new();
        while payload.len() + MAX_CHUNK_BYTES + MAX_RUNS_BYTES <= MAX_PAYLOAD_BYTES {
            let (at, from) = checkpoint.cursor;
            let Some(&(volume, horizon)) = checkpoint.volumes.get(at) else {
                checkpoint.rest = self.rest_records();
                checkpoint.stage = Stage::Rest(0);
                break;
            };
            let next = self.index.volumes.get(&volume).and_then(|held| held.chunks.range(from..).next());
            let Some((&chunk, _)) = next else {
                checkpoint.cursor = (at + 1, 0);
                continue;
            };
            self.index.forget_tombstones(volume, chunk, horizon);
            let id = ChunkId { volume, index: ChunkIndex(chunk) };
            if let Some(entry) = self.index.chunk(volume, id.index) {
                put_chunk(&mut payload, id, entry.base(), entry.slots());
                let (runs, dead) = entry.runs();
                if !runs.is_empty() {
                    put_runs(&mut payload, id, &dead, runs.iter().copied());
                }
            }
            checkpoint.cursor = match chunk.checked_add(1) {
                Some(next) => (at, next),
                None => (at + 1, 0),
            };
        }
        payload
    }

    fn rest_records(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        // The horizons go in here, so they need no batch any more.
        for volume in self.log.dirty_horizons.drain(..) {
            self.index.volume_mut(volume).horizon_dirty = false;
        }
        for (&volume, held) in &self.index.volumes {
            let record = Record::Volume {
                volume,
                deleted: held.deleted,
                fence: held.fence,
                settled: held.settled,
                stable: held.stable,
                highest: held.highest,
                whole: held.forgotten == held.stable,
            };
            record.encode_to(&mut out);
        }
        for (client, held) in self.sessions.sorted() {
            Record::Session { client, sequence: held.sequence, batch: held.batch }.encode_to(&mut out);
        }
        for (&group, &epoch) in &self.groups {
            Record::Group { group, epoch }.encode_to(&mut out);
        }
        out
    }

    /// Writes one part, in a new segment if the last one is full. `None`: there is none.
    fn write_part(
        &mut self,
        checkpoint: &mut Checkpoint,
        kind: PartKind,
        payload: &[u8],
        out: &mut Vec<Action>,
    ) -> Option<(u32, u32)> {
        let blocks = u32::try_from(PartHeader::blocks_for(payload.len())).expect("a part is small");
        let full = checkpoint.next_block + blocks > self.segments.geometry.segment_blocks;
        if checkpoint.segments.is_empty() || full {
            checkpoint.segments.push((self.segments.take(Use::Checkpoint)?, 0));
            checkpoint.next_block = 0;
        }
        let (segment, parts) = checkpoint.segments.last_mut().expect("one was taken above");
        let (segment, block) = (*segment, checkpoint.next_block);
        let mut buf = AlignedBuf::zeroed(blocks as usize * BLOCK_LEN);
        buf[HEADER_BYTES..HEADER_BYTES + payload.len()].copy_from_slice(payload);
        let header = PartHeader {
            kind,
            part: checkpoint.parts,
            disk: self.superblock.disk,
            checkpoint: checkpoint.id,
            segment,
            block,
            payload_len: u32::try_from(payload.len()).expect("a part is small"),
            payload_crc: crc32(payload),
        };
        header.encode_to(&mut buf);
        *parts += u32::from(kind == PartKind::Records);
        checkpoint.parts += u32::from(kind == PartKind::Records);
        checkpoint.next_block += blocks;
        checkpoint.bytes += buf.len() as u64;
        checkpoint.writing = true;
        self.counters.bytes_written += buf.len() as u64;
        let location = self.segments.geometry.start(segment) + block;
        let io = self.new_io(Io::CheckpointPart);
        out.push(Action::DiskWrite { io, offset: u64::from(location) * BLOCK_BYTES, buf: buf.into() });
        Some((segment, block))
    }

    fn write_commit(&mut self, checkpoint: &mut Checkpoint, out: &mut Vec<Action>) -> Step {
        let next_sequence = self.log.next_sequence;
        let commit = |checkpoint: &Checkpoint| CheckpointCommit {
            replay_from: checkpoint.replay_from,
            next_sequence,
            parts: checkpoint.parts,
            heads: checkpoint.heads.clone(),
            segments: checkpoint.segments.clone(),
        };
        // The commit lists its own segment: it must be known before the list is made. Eight bytes of
        // slack stand for the entry that a new segment would add.
        let blocks = PartHeader::blocks_for(commit(checkpoint).encode().len() + 8);
        let left = self.segments.geometry.segment_blocks - checkpoint.next_block;
        if checkpoint.segments.is_empty() || (left as usize) < blocks {
            let Some(segment) = self.segments.take(Use::Checkpoint) else { return Step::NoRoom };
            checkpoint.segments.push((segment, 0));
            checkpoint.next_block = 0;
        }
        let payload = commit(checkpoint).encode();
        let Some((segment, block)) = self.write_part(checkpoint, PartKind::Commit, &payload, out) else {
            return Step::NoRoom;
        };
        let (id, replay_from) = (checkpoint.id, checkpoint.replay_from);
        checkpoint.stage = Stage::Log(CheckpointRoot { id, replay_from, next_sequence, segment, block });
        Step::Wait
    }

    /// Makes the superblock say that `root` is the newest checkpoint.
    fn point_superblock(&mut self, root: CheckpointRoot) {
        let superblock = &mut self.superblock;
        superblock.generation += 1;
        superblock.previous = superblock.checkpoint.replace(root);
        // Lives whose batches even the previous checkpoint has.
        let needed_from = superblock.previous.map_or(root.replay_from, |previous| previous.replay_from);
        let past =
            superblock.lives.windows(2).take_while(|pair| pair[1].first_sequence <= needed_from).count();
        superblock.lives.drain(..past);
    }

    pub(super) fn checkpoint_write_done(&mut self) {
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.writing = false;
        }
    }

    fn finish_checkpoint(&mut self, checkpoint: &Checkpoint) {
        let segments = checkpoint.segments.iter().map(|&(segment, _)| segment).collect();
        let last = std::mem::replace(&mut self.newest.segments, segments);
        let old = std::mem::replace(&mut self.newest.previous_segments, last);
        old.into_iter().for_each(|segment| self.segments.release(segment));
        for &segment in &checkpoint.freeable {
            // A flush may have been quicker, and the segment in use again.
            if self.is_releasable(segment, checkpoint.replay_from) {
                self.segments.release(segment);
            }
        }
        self.newest.replay_from = checkpoint.replay_from;
        self.newest.bytes = checkpoint.bytes;
        self.counters.checkpoints += 1;
    }
}

enum Step {
    Again,
    Wait,
    Finished,
    NoRoom,
}
