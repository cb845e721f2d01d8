//! Batches: what waits becomes one contiguous write at the head of an open segment.

use super::batch::{BatchBuilder, Data};
use super::cleaner::Move;
use super::core::{Io, Store};
use super::event::{Action, Answer, IoId, Session, Ticket};
use super::index::{OnEqual, Written};
use super::limits::{
    MAX_BATCH_DATA_BLOCKS, MAX_BATCH_ENTRIES, MAX_BATCH_ENTRY_BYTES, MAX_BATCH_HORIZONS,
    MAX_BATCHES_IN_FLIGHT, MAX_CLEAN_CREDIT, MAX_CLEAN_DEBT, MIN_OVERLAPPING_OPS, MIN_RUN_BLOCKS,
    MOVES_PER_BATCH,
};
use super::queue::{Op, Queue, WriteOp};
use super::segments::Use;
use super::sums::{Sums, SumsOf};
use bytes::Bytes;
use proto::checksum::crc32;
use proto::disk::batch::ENTRY_BYTES;
use proto::disk::{BatchHeader, DataKind, Entry, LogHead, Slot};
use proto::message::BlockRange;
use proto::units::{BLOCK_BYTES, BLOCK_LEN, BLOCKS_PER_CHUNK};
use proto::{ClientId, ErrorCode, VolumeId, WireError};
use std::collections::VecDeque;

/// Whose batches a segment takes. Moved blocks are old and live long; keeping them from fresh ones keeps
/// segments all hot or all cold, which is what makes cleaning cheap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Writers = 0,
    Cleaner = 1,
}

/// Where the log stands.
#[derive(Debug)]
pub(super) struct Log {
    heads: [Option<LogHead>; 2],
    pub next_sequence: u64,
    /// Every batch below it is written.
    pub written_sequence: u64,
    /// Every batch below it is durable.
    pub flushed_sequence: u64,
    written_ops: u64,
    in_flight: VecDeque<InFlight>,
    /// Volumes whose horizons are not logged yet.
    pub dirty_horizons: Vec<VolumeId>,
    /// Bytes logged since the last checkpoint began.
    pub since_checkpoint: u64,
    /// Moves that writers owe the cleaner, in eighths of a block.
    clean_credit: u32,
    /// The last batch was one of moves.
    moved_last: bool,
    /// Below this batch, everything is known to be durable by what is on the disk itself.
    marked_sequence: u64,
    /// Writers wait for a segment.
    pub stalled: bool,
    plan: Vec<Piece>,
    plan_sessions: Vec<Session>,
}

/// A batch on its way to the device; reads of its blocks are served from here.
#[derive(Debug)]
struct InFlight {
    io: IoId,
    sequence: u64,
    /// Disk blocks it takes.
    start: u32,
    end: u32,
    /// Block data by its first disk block, ascending.
    data: Vec<(u32, Bytes)>,
    /// Of its blocks, if some became runs.
    sums: Option<Sums>,
    tickets: Vec<Ticket>,
    sessions: Vec<Session>,
    /// Every operation up to this number is in this batch or an earlier one.
    through_ops: u64,
    written: bool,
}

/// Part of a queued operation that goes into the batch being made.
#[derive(Debug, Clone, Copy)]
struct Piece {
    op: usize,
    first: u16,
    count: u16,
}

impl Log {
    pub fn new(next_sequence: u64) -> Self {
        Self {
            heads: [None, None],
            next_sequence,
            written_sequence: next_sequence,
            flushed_sequence: next_sequence,
            written_ops: 0,
            in_flight: VecDeque::new(),
            dirty_horizons: Vec::new(),
            since_checkpoint: 0,
            clean_credit: 0,
            moved_last: false,
            marked_sequence: next_sequence,
            stalled: false,
            plan: Vec::new(),
            plan_sessions: Vec::new(),
        }
    }

    pub fn heads(&self) -> Vec<LogHead> {
        self.heads.iter().flatten().copied().collect()
    }

    pub fn is_quiet(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Every operation up to it is written.
    pub fn written_ops(&self, queue: &Queue) -> u64 {
        if self.in_flight.is_empty() { queue.taken_through() } else { self.written_ops }
    }

    /// A block's data, if it is on its way to the device.
    pub fn in_flight_block(&self, location: u32) -> Option<Bytes> {
        let batch = self.in_flight.iter().find(|batch| (batch.start..batch.end).contains(&location))?;
        let at = batch.data.partition_point(|(first, _)| *first <= location).checked_sub(1)?;
        let (first, data) = &batch.data[at];
        let from = (location - first) as usize * BLOCK_LEN;
        (from < data.len()).then(|| data.slice(from..from + BLOCK_LEN))
    }

    /// The CRCs of the batch that starts there, if it is on its way and has runs.
    pub fn in_flight_sums(&self, start: u32) -> Option<&Sums> {
        self.in_flight.iter().find(|batch| batch.start == start)?.sums.as_ref()
    }

    pub fn drain_tickets(&mut self) -> Vec<Ticket> {
        self.in_flight.drain(..).flat_map(|batch| batch.tickets).collect()
    }

    /// Blocks left in a stream's segment.
    fn room(&self, stream: Stream, segment_blocks: u32) -> u32 {
        self.heads[stream as usize].map_or(0, |head| segment_blocks - head.block)
    }
}

impl Store {
    /// Makes batches until nothing is due or enough are in flight.
    pub(super) fn write_batches(&mut self, out: &mut Vec<Action>) {
        self.log.stalled = false;
        while self.may_send_batch() {
            // Moves are paid for by writes, go in small batches unless much is owed, and take turns with
            // writers', so that none waits long behind them.
            let owed = self.log.clean_credit / 8;
            let turn = owed > 0 && (!self.log.moved_last || self.queue.is_empty());
            let max_moves = if self.is_quiet() { MAX_BATCH_DATA_BLOCKS } else { owed };
            let max_moves = max_moves.clamp(MOVES_PER_BATCH, MAX_BATCH_DATA_BLOCKS);
            if (turn || self.is_quiet()) && self.write_moves(max_moves, out) {
                continue;
            }
            // Better that each waits a little than that all wait long once nothing is free.
            if owed >= MAX_CLEAN_DEBT && !self.log.moved_last && self.cleaner.is_reading() {
                break;
            }
            if self.write_queued(out) || self.log.stalled && self.write_moves(MAX_BATCH_DATA_BLOCKS, out) {
                continue;
            }
            break;
        }
        if self.log.stalled {
            self.counters.stalls += 1;
        }
    }

    /// One batch at a time, so that the next one gathers what arrives meanwhile. What is a good batch already
    /// does not wait for the device, unless the cleaner wants its share of it.
    fn may_send_batch(&self) -> bool {
        let in_flight = self.log.in_flight.len();
        let overlap = self.queue.len() >= MIN_OVERLAPPING_OPS && self.cleaner.is_idle();
        in_flight == 0 || overlap && in_flight < MAX_BATCHES_IN_FLIGHT
    }

    /// Writes an empty batch if everything is durable and nothing on the disk says so yet. Recovery takes
    /// what was durable as it is; without the mark, a bit that flips in the last batch before a crash would
    /// pass for a torn write, and the log would end in front of it.
    pub(super) fn mark_durable(&mut self, out: &mut Vec<Action>) {
        let log = &self.log;
        let known = self.superblock.checkpoint.map_or(0, |root| root.next_sequence).max(log.marked_sequence);
        let idle = self.queue.is_empty() && log.is_quiet() && log.flushed_sequence == log.next_sequence;
        if idle && log.flushed_sequence > known && self.open_head(Stream::Writers, 2) {
            let parts = Parts { data: Vec::new(), sums: None, tickets: Vec::new(), sessions: Vec::new() };
            self.send_batch(Stream::Writers, BatchBuilder::new(0, 0, Data::Copied), parts, out);
        }
    }

    /// Makes sure that `stream` has an open segment with `room` blocks; false if no segment may be taken.
    fn open_head(&mut self, stream: Stream, room: u32) -> bool {
        if self.log.room(stream, self.segments.geometry.segment_blocks) >= room {
            return true;
        }
        if !self.may_take_segment(stream) {
            return false;
        }
        if let Some(old) = self.log.heads[stream as usize].take() {
            self.segments.seal(old.segment);
        }
        let Some(segment) = self.segments.take(Use::Open) else { return false };
        let segment_first = self.log.next_sequence;
        self.log.heads[stream as usize] = Some(LogHead { segment, block: 0, segment_first });
        true
    }

    /// One batch of what waits. False if there is nothing or no room for it now.
    fn write_queued(&mut self, out: &mut Vec<Action>) -> bool {
        while !self.queue.is_empty() {
            if !self.open_head(Stream::Writers, 2) {
                self.log.stalled = true;
                return false;
            }
            let horizons = self.log.dirty_horizons.len().min(MAX_BATCH_HORIZONS);
            let (entries_len, data_blocks) = self.plan_batch(horizons);
            if self.log.plan.is_empty() {
                // Too little is left for even one piece: on to the next segment.
                if !self.open_head(Stream::Writers, self.segments.geometry.segment_blocks) {
                    self.log.stalled = true;
                    return false;
                }
                continue;
            }
            let mut builder = BatchBuilder::new(entries_len, data_blocks, self.planned_data());
            match self.fill_batch(&mut builder) {
                Ok(()) => {
                    self.commit_queued(builder, horizons, out);
                    return true;
                }
                Err(bad) => self.refuse(bad, out),
            }
        }
        false
    }

    /// Chooses what goes into the next batch: as much as waits and fits. Returns the bytes of its entries
    /// and its data blocks.
    fn plan_batch(&mut self, horizons: usize) -> (usize, usize) {
        let room = self.log.room(Stream::Writers, self.segments.geometry.segment_blocks) as usize;
        let log = &mut self.log;
        log.plan.clear();
        log.plan_sessions.clear();
        let (mut entries_len, mut data_blocks) = (horizons * ENTRY_BYTES, 0usize);
        for (at, op) in self.queue.iter().enumerate().take(MAX_BATCH_ENTRIES) {
            let session_len = match op.session() {
                Some(session) if !log.plan_sessions.iter().any(|s| s.client == session.client) => ENTRY_BYTES,
                _ => 0,
            };
            let base = entries_len + session_len + ENTRY_BYTES;
            let fits = |blocks: usize| {
                let len = base + blocks * 4;
                len <= MAX_BATCH_ENTRY_BYTES && BatchHeader::blocks_for(len) + data_blocks + blocks <= room
            };
            let (first, wanted) = match op {
                Op::Write(op) => (op.taken, op.range.count - op.taken),
                _ => (0, 0),
            };
            let mut count = usize::from(wanted).min(MAX_BATCH_DATA_BLOCKS as usize - data_blocks);
            while count > 0 && !fits(count) {
                count -= 1;
            }
            if !fits(count) || count == 0 && wanted > 0 {
                break;
            }
            if let Some(session) = op.session().filter(|_| session_len > 0) {
                log.plan_sessions.push(session);
            }
            let count = u16::try_from(count).expect("at most what was wanted");
            log.plan.push(Piece { op: at, first, count });
            entries_len = base + usize::from(count) * 4;
            data_blocks += usize::from(count);
            if count < wanted {
                break;
            }
        }
        (entries_len, data_blocks)
    }

    fn planned_data(&self) -> Data {
        let ops = self.log.plan.iter().filter_map(|piece| self.queue.get(piece.op));
        Data::of(ops.filter_map(|op| if let Op::Write(op) = op { Some(&op.data[..]) } else { None }))
    }

    /// Lays the planned batch out, checking each block's CRC. `Err`: the operation at this
    /// place came with bad data, and nothing has happened yet.
    fn fill_batch(&self, builder: &mut BatchBuilder) -> Result<(), usize> {
        for piece in &self.log.plan {
            match self.queue.get(piece.op).expect("the plan names operations in the queue") {
                Op::Write(op) => {
                    let (from, to) = (usize::from(piece.first), usize::from(piece.first + piece.count));
                    let range = piece_range(op, piece);
                    let crcs = &op.crcs.as_bytes()[from * 4..to * 4];
                    builder.entry(&Entry::Data { kind: op.kind, range, version: op.version, crcs });
                    let blocks = op.data.slice(from * BLOCK_LEN..to * BLOCK_LEN);
                    let mut checked = (from..to).zip(blocks.chunks_exact(BLOCK_LEN));
                    if !checked.all(|(at, block)| crc32(block) == op.crcs.get(at)) {
                        return Err(piece.op);
                    }
                    builder.place(blocks);
                }
                Op::Trim { range, version, .. } => {
                    builder.entry(&Entry::Trim { range: *range, version: *version });
                }
                Op::Fence { volume, epoch } => {
                    builder.entry(&Entry::Fence { volume: *volume, epoch: *epoch });
                }
                Op::Group { group, epoch } => {
                    builder.entry(&Entry::Group { group: *group, epoch: *epoch });
                }
                Op::Clear { group, groups, epoch } => {
                    builder.entry(&Entry::Clear { group: *group, groups: *groups, epoch: *epoch });
                }
                Op::Delete { volume } => builder.entry(&Entry::Delete { volume: *volume }),
            }
        }
        Ok(())
    }

    /// Answers a write whose data changed on its way here.
    fn refuse(&mut self, at: usize, out: &mut Vec<Action>) {
        let Some(op) = self.queue.remove(at) else { return };
        let message =
            "a block does not match the checksum it came with; it changed on the way, send it again";
        if let Some(ticket) = op.ticket() {
            out.push(Action::Answer { ticket, result: Err(WireError::new(ErrorCode::BadChecksum, message)) });
        }
    }

    /// Puts the filled batch into the index and on its way.
    fn commit_queued(&mut self, mut builder: BatchBuilder, horizons: usize, out: &mut Vec<Action>) {
        for volume in self.log.dirty_horizons.drain(..horizons) {
            // Every planned horizon has its place in the batch, so a deleted volume's goes in as well.
            let held = self.index.volume_mut(volume);
            held.horizon_dirty = false;
            let (settled, stable, whole) = (held.settled, held.stable, held.forgotten == held.stable);
            builder.entry(&Entry::Horizon { volume, settled, stable, whole });
        }
        let head = self.log.heads[Stream::Writers as usize].expect("the plan was made for an open segment");
        let start = self.segments.geometry.start(head.segment) + head.block;
        let mut location = start + builder.header_blocks();
        let plan = std::mem::take(&mut self.log.plan);
        let mut sums = SumsOf::new(location, plan.iter().any(|piece| piece.count >= MIN_RUN_BLOCKS));
        let written = plan.iter().map(|piece| u32::from(piece.count)).sum::<u32>();
        let mut data = Vec::with_capacity(plan.len());
        let mut tickets = Vec::with_capacity(plan.len());
        let mut sessions: Vec<Session> = Vec::new();
        for piece in &plan {
            let op = self.queue.front_mut().expect("planned operations leave from the front, in order");
            if let Op::Write(op) = op {
                let from = usize::from(piece.first) * BLOCK_LEN;
                data.push((location, op.data.slice(from..from + usize::from(piece.count) * BLOCK_LEN)));
                op.taken += piece.count;
                let range = piece_range(op, piece);
                let done = op.taken == op.range.count;
                let (kind, version, crcs) = (op.kind, op.version, op.crcs.clone());
                let crcs = &crcs.as_bytes()[usize::from(piece.first) * 4..][..usize::from(piece.count) * 4];
                sums.add(crcs);
                self.index_data(&range, kind, &Written { batch: start, location, version, crcs });
                location += u32::from(piece.count);
                if !done {
                    break;
                }
            }
            let op = self.queue.remove(0).expect("it was at the front just now");
            match &op {
                Op::Trim { range, version, .. } => self.index_trim(range, *version),
                // Here and not when it was accepted: what was accepted before it is in the index only now.
                Op::Clear { group, groups, .. } => self.bury_group(*group, *groups),
                _ => {}
            }
            tickets.extend(op.ticket());
            if let Some(session) = op.session() {
                note_session(&mut sessions, session);
            }
        }
        self.log.plan = plan;
        for planned in &self.log.plan_sessions {
            let held = sessions.iter().find(|session| session.client == planned.client);
            // A write cut in two is not held yet: its session stands where it stood.
            let sequence = held.map_or_else(|| self.sessions.held(planned.client), |s| s.sequence);
            builder.entry(&Entry::Session { client: planned.client, sequence });
        }
        let batch = Parts { data, sums: sums.done(), tickets, sessions };
        let share = self.clean_share();
        self.log.clean_credit = (self.log.clean_credit + share * written).min(MAX_CLEAN_CREDIT);
        self.send_batch(Stream::Writers, builder, batch, out);
    }

    fn index_data(&mut self, range: &BlockRange, kind: DataKind, data: &Written<'_>) {
        let (segments, counters) = (&mut self.segments, &mut self.counters);
        let place = (range.volume, range.chunk, range.first);
        self.index.apply_data(place, OnEqual::from(kind), data, |change| {
            segments.note(change);
            if kind == DataKind::Repair && change.old.version == change.new.version {
                counters.repaired_blocks += 1;
            }
        });
    }

    fn index_trim(&mut self, range: &BlockRange, version: proto::Version) {
        let segments = &mut self.segments;
        if u32::from(range.count) == BLOCKS_PER_CHUNK {
            self.index.trim_chunk(range.volume, range.chunk, version, |change| segments.note(change));
            return;
        }
        let slot = Slot { location: Slot::TRIMMED, crc: 0, version };
        let slots = std::iter::repeat_n(slot, usize::from(range.count));
        let place = (range.volume, range.chunk, range.first);
        self.index.apply(place, OnEqual::ReplaceData, slots, |change| segments.note(change));
    }

    /// One batch of moves. False if there are none or no segment for them.
    fn write_moves(&mut self, max_moves: u32, out: &mut Vec<Action>) -> bool {
        if !self.moves_are_ready() || !self.open_head(Stream::Cleaner, 3) {
            return false;
        }
        let room = self.log.room(Stream::Cleaner, self.segments.geometry.segment_blocks) as usize;
        let moves = take_moves(self.cleaner.moves_mut(), max_moves as usize, room);
        let moved = u32::try_from(moves.len()).expect("within a batch");
        let runs = runs_of(&moves);
        let data_blocks = moves.iter().filter(|m| m.data.is_some()).count();
        let entries_len = runs.iter().map(|run| run_entry_len(&moves[run.clone()])).sum();
        let moved_data = Data::of(moves.iter().filter_map(|m| m.data.as_deref()));
        let mut builder = BatchBuilder::new(entries_len, data_blocks, moved_data);
        let head = self.log.heads[Stream::Cleaner as usize].expect("it was opened above");
        let start = self.segments.geometry.start(head.segment) + head.block;
        let mut location = start + builder.header_blocks();
        let mut sums = SumsOf::new(location, runs.iter().any(|run| run.len() >= usize::from(MIN_RUN_BLOCKS)));
        let mut data = Vec::with_capacity(moves.len());
        for run in runs {
            let run = &moves[run];
            let (first, count) = (&run[0], u16::try_from(run.len()).expect("within a chunk"));
            let range = BlockRange { volume: first.volume, chunk: first.chunk, first: first.block, count };
            let segments = &mut self.segments;
            let place = (range.volume, range.chunk, range.first);
            if first.data.is_none() {
                builder.entry(&Entry::Lost { range, version: first.version });
                let slot = Slot { location: Slot::LOST, crc: 0, version: first.version };
                let slots = std::iter::repeat_n(slot, run.len());
                self.index.apply(place, OnEqual::Replace, slots, |change| segments.note(change));
                continue;
            }
            let crcs: Vec<u8> = run.iter().flat_map(|m| m.crc.to_le_bytes()).collect();
            builder.entry(&Entry::Data { kind: DataKind::Move, range, version: first.version, crcs: &crcs });
            sums.add(&crcs);
            let moved = Written { batch: start, location, version: first.version, crcs: &crcs };
            self.index.apply_data(place, OnEqual::Replace, &moved, |change| segments.note(change));
            for block in run.iter().filter_map(|m| m.data.as_ref()) {
                builder.place(block.clone());
                data.push((location, block.clone()));
                location += 1;
            }
        }
        self.counters.moved_blocks += data_blocks as u64;
        self.log.clean_credit = self.log.clean_credit.saturating_sub(8 * moved);
        self.note_age(head.segment);
        let batch = Parts { data, sums: sums.done(), tickets: Vec::new(), sessions: Vec::new() };
        self.send_batch(Stream::Cleaner, builder, batch, out);
        true
    }

    /// What moves into a segment is as old as it was where it came from.
    fn note_age(&mut self, segment: u32) {
        let age = self
            .cleaner
            .victim()
            .map_or(self.log.next_sequence, |from| self.segments.get(from).data_sequence);
        let entry = self.segments.get_mut(segment);
        entry.data_sequence = entry.data_sequence.max(age);
    }

    fn send_batch(&mut self, stream: Stream, builder: BatchBuilder, parts: Parts, out: &mut Vec<Action>) {
        let disk = self.disk_id();
        let incarnation = self.incarnation();
        let log = &mut self.log;
        let head = log.heads[stream as usize].as_mut().expect("a batch is made for an open segment");
        let start = self.segments.geometry.start(head.segment) + head.block;
        let sequence = log.next_sequence;
        let buf = builder.finish(|header| {
            header.disk = disk;
            header.incarnation = incarnation;
            header.sequence = sequence;
            header.segment_first = head.segment_first;
            header.flushed = log.flushed_sequence;
            log.marked_sequence =
                if log.flushed_sequence == sequence { sequence + 1 } else { log.marked_sequence };
            header.segment = head.segment;
            header.block = head.block;
        });
        let blocks = u32::try_from(buf.len() / BLOCK_LEN).expect("a batch is small");
        head.block += blocks;
        let segment = self.segments.get_mut(head.segment);
        segment.last_sequence = sequence;
        if stream == Stream::Writers {
            segment.data_sequence = sequence;
        }
        log.moved_last = stream == Stream::Cleaner;
        log.next_sequence += 1;
        log.since_checkpoint += buf.len() as u64;
        self.counters.batches += 1;
        self.counters.bytes_written += buf.len() as u64;
        let Parts { data, sums, tickets, sessions } = parts;
        let through_ops = self.queue.taken_through();
        let io = self.new_io(Io::Batch);
        let (end, written) = (start + blocks, false);
        self.log.in_flight.push_back(InFlight {
            io,
            sequence,
            start,
            end,
            data,
            sums,
            tickets,
            sessions,
            through_ops,
            written,
        });
        out.push(Action::DiskWrite { io, offset: u64::from(start) * BLOCK_BYTES, buf });
    }

    /// A batch is written. Answers go out in the log's order: recovery ends at the first batch missing, so
    /// one that overtook an earlier one is worth nothing yet.
    pub(super) fn batch_done(&mut self, io: IoId, out: &mut Vec<Action>) {
        if let Some(batch) = self.log.in_flight.iter_mut().find(|batch| batch.io == io) {
            batch.written = true;
        }
        while self.log.in_flight.front().is_some_and(|batch| batch.written) {
            let Some(batch) = self.log.in_flight.pop_front() else { return };
            self.log.written_sequence = batch.sequence + 1;
            self.log.written_ops = batch.through_ops;
            if let Some(sums) = batch.sums {
                self.sums.put(batch.start, sums);
            }
            for session in batch.sessions {
                self.sessions.note(session.client, session.sequence, batch.sequence);
            }
            out.extend(
                batch.tickets.into_iter().map(|ticket| Action::Answer { ticket, result: Ok(Answer::Done) }),
            );
        }
    }
}

/// What a batch does when it is written.
struct Parts {
    data: Vec<(u32, Bytes)>,
    sums: Option<Sums>,
    tickets: Vec<Ticket>,
    sessions: Vec<Session>,
}

fn piece_range(op: &WriteOp, piece: &Piece) -> BlockRange {
    BlockRange { first: op.range.first + piece.first, count: piece.count, ..op.range }
}

fn note_session(sessions: &mut Vec<Session>, session: Session) {
    let held: Option<&mut Session> = sessions.iter_mut().find(|s| s.client == session.client);
    match held {
        Some(held) => held.sequence = held.sequence.max(session.sequence),
        None => sessions.push(Session { client: ClientId(session.client.0), ..session }),
    }
}

/// As many moves as one batch in `room` blocks holds, each with an entry of its own at worst.
fn take_moves(moves: &mut VecDeque<Move>, max_moves: usize, room: usize) -> Vec<Move> {
    let mut taken = moves.len().min(max_moves);
    while BatchHeader::blocks_for(taken * (ENTRY_BYTES + 4)) + taken > room {
        taken -= 1;
    }
    let mut moves: Vec<Move> = moves.drain(..taken).collect();
    moves.sort_unstable_by_key(|m| (m.volume, m.chunk, m.block));
    moves
}

/// Neighbours with one version, which one entry can name.
fn runs_of(moves: &[Move]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for at in 0..moves.len() {
        let joins = at > 0 && {
            let (last, next) = (&moves[at - 1], &moves[at]);
            (last.volume, last.chunk, last.version) == (next.volume, next.chunk, next.version)
                && last.block + 1 == next.block
                && last.data.is_some() == next.data.is_some()
        };
        match runs.last_mut() {
            Some(run) if joins => run.end += 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

fn run_entry_len(run: &[Move]) -> usize {
    ENTRY_BYTES + run.iter().filter(|m| m.data.is_some()).count() * 4
}
