//! Users' operations: checked, split into pieces as the windows allow, completed when all pieces are.

use super::locks::Mode;
use super::piece::{Body, Edit, Goal, Owner, Piece, Step, Todo};
use super::types::CoreOutput;
use super::{Phase, VolumeCore};
use crate::client::{Holes, OnFull, VolumeOp};
use crate::limits::{
    CORE_DATA_BYTES, CORE_OPERATION_BYTES, CORE_OPERATIONS, CORE_OTHER_PIECES, CORE_PARKED,
    CORE_VERSION_SPAN, CORE_WRITE_BYTES, CORE_WRITE_PIECES,
};
use crate::{ClientError, ErrorKind};
use bytes::Bytes;
use proto::ChunkIndex;
use proto::checksum::BlockCrcs;
use proto::limits::{MAX_BLOCKS_PER_IO, MAX_BLOCKS_PER_TRIM};
use proto::units::{BLOCK_BYTES, BLOCK_LEN, BLOCKS_PER_CHUNK, SECTOR_BYTES};
use std::collections::VecDeque;

/// Pieces in progress of one class of operations, and the operations that wait to be split further.
#[derive(Debug, Default)]
pub(super) struct Window {
    pieces: usize,
    /// Of data that the pieces write.
    bytes: usize,
    stalled: VecDeque<usize>,
}

impl Window {
    fn has_room_for_data(&self) -> bool {
        self.pieces < CORE_WRITE_PIECES && self.bytes < CORE_WRITE_BYTES
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What is done to each piece of an operation.
#[derive(Debug)]
pub(super) enum Kind {
    Read { holes: Holes, buf: ReadBuf },
    Write { data: Bytes },
    Trim,
    WriteZeroes,
    Flush,
}

/// Where read data is gathered.
#[derive(Debug)]
pub(super) enum ReadBuf {
    /// Nothing but zeros so far.
    Empty,
    /// The one reply that gave everything.
    Whole(Bytes),
    Parts(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Op {
    pub id: u64,
    pub kind: Kind,
    pub offset: u64,
    pub end: u64,
    /// The first byte that no piece was made for yet.
    cursor: u64,
    pieces: usize,
    error: Option<ClientError>,
}

impl Op {
    fn is_data_write(&self) -> bool {
        matches!(self.kind, Kind::Write { .. })
    }

    fn is_write(&self) -> bool {
        !matches!(self.kind, Kind::Read { .. })
    }

    /// Bytes of memory it stands for.
    fn data_bytes(&self) -> usize {
        match &self.kind {
            Kind::Read { .. } => usize::try_from(self.end - self.offset).unwrap_or(usize::MAX),
            Kind::Write { data } => data.len(),
            Kind::Trim | Kind::WriteZeroes | Kind::Flush => 0,
        }
    }

    pub fn len(&self) -> usize {
        usize::try_from(self.end - self.offset).expect("reads and writes are bounded")
    }
}

/// A piece before it has its numbers.
struct Cut {
    chunk: u32,
    first: u16,
    count: u16,
    mode: Option<Mode>,
    todo: Todo,
}

impl VolumeCore {
    pub(super) fn submit(&mut self, id: u64, op: VolumeOp) {
        let result = self.check(&op);
        let (offset, len, kind) = match op {
            VolumeOp::Read { offset, len, holes } => {
                (offset, len as u64, Kind::Read { holes, buf: ReadBuf::Empty })
            }
            VolumeOp::Write { offset, data } => (offset, data.len() as u64, Kind::Write { data }),
            VolumeOp::Trim { offset, len } => (offset, len, Kind::Trim),
            VolumeOp::WriteZeroes { offset, len } => (offset, len, Kind::WriteZeroes),
            VolumeOp::Flush => (0, 0, Kind::Flush),
        };
        if let Err(error) = result {
            self.out.push(CoreOutput::Complete { id, result: Err(error) });
            return;
        }
        let op = Op { id, kind, offset, end: offset + len, cursor: offset, pieces: 0, error: None };
        if matches!(op.kind, Kind::Flush) {
            let key = self.ops.insert(op);
            self.flush_asked(key);
        } else if len == 0 {
            let bytes = matches!(op.kind, Kind::Read { .. }).then(Bytes::new);
            self.out.push(CoreOutput::Complete { id, result: Ok(bytes) });
        } else {
            self.data_bytes += op.data_bytes();
            let window = if op.is_data_write() { &mut self.writes } else { &mut self.others };
            window.stalled.push_back(self.ops.insert(op));
        }
    }

    fn check(&self, op: &VolumeOp) -> Result<(), ClientError> {
        if let Phase::Failed(error) = &self.phase {
            return Err(error.clone());
        }
        let (offset, len, data_len, is_read) = match op {
            VolumeOp::Read { offset, len, .. } => (*offset, *len as u64, *len, true),
            VolumeOp::Write { offset, data } => (*offset, data.len() as u64, data.len(), false),
            VolumeOp::Trim { offset, len } | VolumeOp::WriteZeroes { offset, len } => {
                (*offset, *len, 0, false)
            }
            VolumeOp::Flush => (0, 0, 0, false),
        };
        if let (false, Some(error)) = (is_read, &self.write_error) {
            return Err(error.clone());
        }
        if !offset.is_multiple_of(SECTOR_BYTES) || !len.is_multiple_of(SECTOR_BYTES) {
            let why = format!("offset {offset} or length {len} is not a multiple of {SECTOR_BYTES}");
            return Err(self.error(ErrorKind::Invalid, why));
        }
        if offset.checked_add(len).is_none_or(|end| end > self.size_bytes) {
            let why = format!("{len} bytes at {offset} end past its size of {}", self.size_bytes);
            return Err(self.error(ErrorKind::Invalid, why));
        }
        if data_len > CORE_OPERATION_BYTES {
            let why = format!("{data_len} bytes in one operation, at most {CORE_OPERATION_BYTES} are served");
            return Err(self.error(ErrorKind::Invalid, why));
        }
        if self.ops.len() >= CORE_OPERATIONS || self.data_bytes + data_len > CORE_DATA_BYTES {
            return Err(self.error(ErrorKind::Busy, "too many operations at once, send it again later"));
        }
        Ok(())
    }

    /// Splits one piece off the first operation that may go on. Says whether there was one.
    pub(super) fn admit(&mut self) -> bool {
        if !self.is_serving() {
            return false;
        }
        let room = self.settled.span() < CORE_VERSION_SPAN;
        if room && self.writes.has_room_for_data() && !self.writes.stalled.is_empty() {
            let key = self.writes.stalled[0];
            if self.on_full == OnFull::Fail && self.parked >= CORE_PARKED {
                self.writes.stalled.pop_front();
                let error = self.error(ErrorKind::NoSpace, "the pool has no room: delete or trim something");
                self.end_early(key, error);
            } else if self.split(key) {
                self.writes.stalled.pop_front();
                self.complete_if_done(key);
            }
            return true;
        }
        if self.others.pieces < CORE_OTHER_PIECES
            && let Some(&key) = self.others.stalled.front()
            && (room || matches!(self.ops[key].kind, Kind::Read { .. }))
        {
            if self.split(key) {
                self.others.stalled.pop_front();
                self.complete_if_done(key);
            }
            return true;
        }
        false
    }

    /// Makes the operation's next piece. Says whether it was the last.
    fn split(&mut self, key: usize) -> bool {
        let op = &mut self.ops[key];
        if op.cursor >= op.end {
            return true; // It failed while it waited here.
        }
        let is_data_write = op.is_data_write();
        let cut = op.cut();
        let last = op.cursor >= op.end;
        if let Some(cut) = cut {
            op.pieces += 1;
            let window = if is_data_write { &mut self.writes } else { &mut self.others };
            window.pieces += 1;
            if is_data_write {
                window.bytes += usize::from(cut.count) * BLOCK_LEN;
            }
            let piece = self.piece(Owner::Op(key), cut.chunk, (cut.first, cut.count), cut.mode, cut.todo);
            let piece = self.pieces.insert(piece);
            self.ready.push_back(piece);
        }
        last
    }

    /// A new piece over the blocks (first, count) of a chunk.
    pub(super) fn piece(
        &mut self,
        owner: Owner,
        chunk: u32,
        (first, count): (u16, u16),
        mode: Option<Mode>,
        todo: Todo,
    ) -> Piece {
        self.next_serial += 1;
        let (serial, chunk) = (self.next_serial, ChunkIndex(chunk));
        let group = self.map.group_index(chunk);
        let step = Step::Queued(todo);
        Piece { serial, owner, chunk, first, count, group, mode, locked: false, tries: 0, step }
    }

    /// Another piece for an operation that has one in progress: part of a read that goes elsewhere.
    pub(super) fn add_piece_to_op(&mut self, op: usize) {
        self.ops[op].pieces += 1;
        self.others.pieces += 1;
    }

    /// Starts a queued piece (after its lock), or lets a reading one try its next member.
    pub(super) fn run_piece(&mut self, key: usize) {
        if !self.is_serving() && self.pieces[key].owner != Owner::Reconcile {
            self.held.push(key);
            return;
        }
        let piece = &mut self.pieces[key];
        match piece.step {
            Step::Queued(_) => {}
            Step::Reading { .. } => return self.read_next(key),
            // It was made ready again by a member that left while another answered.
            Step::Writing { .. } => return,
        }
        if let (false, Some(claim)) = (piece.locked, piece.claim()) {
            // Set before the answer is known: a queued claim is held when its key is ready again.
            piece.locked = true;
            if !self.locks.acquire(claim, key) {
                return;
            }
        }
        let idle = Step::Reading { goal: Goal::User, tried: 0, corrupt: 0 };
        match std::mem::replace(&mut self.pieces[key].step, idle) {
            Step::Queued(Todo::Write(body)) => self.begin_write(key, body),
            Step::Queued(Todo::Read(goal)) => {
                // A repair reads from anybody but those it repairs.
                let tried = if let Goal::Repair { bad } = goal { bad } else { 0 };
                self.pieces[key].step = Step::Reading { goal, tried, corrupt: 0 };
                self.read_next(key);
            }
            Step::Reading { .. } | Step::Writing { .. } => unreachable!("only queued pieces come here"),
        }
    }

    /// One piece, of `blocks`, less in an operation's window and account.
    pub(super) fn piece_of_op_done(&mut self, key: usize, blocks: u16, result: Result<(), ClientError>) {
        let op = &mut self.ops[key];
        op.pieces -= 1;
        if op.is_data_write() {
            self.writes.pieces -= 1;
            self.writes.bytes -= usize::from(blocks) * BLOCK_LEN;
        } else {
            self.others.pieces -= 1;
        }
        if let Err(error) = result {
            op.error.get_or_insert(error);
            op.cursor = op.end;
        }
        self.complete_if_done(key);
    }

    fn complete_if_done(&mut self, key: usize) {
        let op = &self.ops[key];
        if op.pieces > 0 || op.cursor < op.end {
            return;
        }
        let window = if op.is_data_write() { &mut self.writes } else { &mut self.others };
        // Only the first can have been cut short while it waited for its turn, but for failures.
        if op.error.is_some() {
            window.stalled.retain(|&stalled| stalled != key);
        }
        let op = self.ops.remove(key);
        self.data_bytes -= op.data_bytes();
        let len = op.len_if_read();
        let result = match (op.error, op.kind) {
            (Some(error), _) => Err(error),
            (None, Kind::Read { buf, .. }) => Ok(Some(match buf {
                ReadBuf::Empty => Bytes::from(vec![0; len]),
                ReadBuf::Whole(bytes) => bytes,
                ReadBuf::Parts(bytes) => bytes.into(),
            })),
            (None, _) => Ok(None),
        };
        self.out.push(CoreOutput::Complete { id: op.id, result });
    }

    /// Ends an operation that is not, or no more, in a window's queue, once its pieces are done.
    fn end_early(&mut self, key: usize, error: ClientError) {
        let op = &mut self.ops[key];
        op.error.get_or_insert(error);
        op.cursor = op.end;
        self.complete_if_done(key);
    }

    /// Completes a flush.
    pub(super) fn flush_done(&mut self, key: usize, result: Result<(), ClientError>) {
        let op = self.ops.remove(key);
        self.out.push(CoreOutput::Complete { id: op.id, result: result.map(|()| None) });
    }

    /// Fails the writes and trims that wait for room in a window.
    pub(super) fn fail_stalled_writes(&mut self, error: &ClientError) {
        let mut keys: Vec<usize> = self.writes.stalled.drain(..).collect();
        let ops = &self.ops;
        self.others.stalled.retain(|&key| {
            let write = ops[key].is_write();
            if write {
                keys.push(key);
            }
            !write
        });
        for key in keys {
            self.end_early(key, error.clone());
        }
    }

    /// A write's operation fails now, but its piece stays until every member has it.
    pub(super) fn park(&mut self, key: usize, error: ClientError) {
        let piece = &mut self.pieces[key];
        let Owner::Op(op) = piece.owner else { return };
        piece.owner = Owner::Parked;
        self.parked += 1;
        let (locked, claim, blocks) = (std::mem::take(&mut piece.locked), piece.claim(), piece.count);
        if let (true, Some(claim)) = (locked, claim) {
            self.locks.release(claim, &mut self.ready);
        }
        self.piece_of_op_done(op, blocks, Err(error));
    }
}

impl Op {
    fn len_if_read(&self) -> usize {
        if matches!(self.kind, Kind::Read { .. }) { self.len() } else { 0 }
    }

    /// Cuts the next piece off at the cursor, or nothing where a trim covers only part of a block.
    fn cut(&mut self) -> Option<Cut> {
        let block = self.cursor / BLOCK_BYTES;
        let per_chunk = u64::from(BLOCKS_PER_CHUNK);
        let chunk = u32::try_from(block / per_chunk).expect("volumes are at most 2^32 chunks");
        let first = u16::try_from(block % per_chunk).expect("below a chunk's blocks");
        let in_chunk = per_chunk - u64::from(first);
        let blocks = |wanted: u64, most: u32| {
            u16::try_from(wanted.min(in_chunk).min(u64::from(most))).expect("at most a chunk's blocks")
        };
        if matches!(self.kind, Kind::Read { .. }) {
            let count = blocks((self.end - block * BLOCK_BYTES).div_ceil(BLOCK_BYTES), MAX_BLOCKS_PER_IO);
            self.cursor = (block + u64::from(count)) * BLOCK_BYTES;
            return Some(Cut { chunk, first, count, mode: None, todo: Todo::Read(Goal::User) });
        }
        let at = self.cursor % BLOCK_BYTES;
        let whole = (self.end - self.cursor) / BLOCK_BYTES;
        if at != 0 || whole == 0 {
            let len = (BLOCK_BYTES - at).min(self.end - self.cursor);
            let goal = self.edit(at, len).map(Goal::Merge);
            self.cursor += len;
            let mode = Some(Mode::Exclusive);
            return goal.map(|goal| Cut { chunk, first, count: 1, mode, todo: Todo::Read(goal) });
        }
        let most = if self.is_data_write() { MAX_BLOCKS_PER_IO } else { MAX_BLOCKS_PER_TRIM };
        let count = blocks(whole, most);
        let len = u64::from(count) * BLOCK_BYTES;
        let body = match &self.kind {
            Kind::Write { data } => {
                let from = usize::try_from(self.cursor - self.offset).expect("within the data");
                let to = from + usize::try_from(len).expect("at most 1 MiB");
                let data = data.slice(from..to);
                Body::Data { crcs: BlockCrcs::of(&data), data }
            }
            Kind::Trim | Kind::WriteZeroes | Kind::Read { .. } | Kind::Flush => Body::Trim,
        };
        self.cursor += len;
        Some(Cut { chunk, first, count, mode: Some(Mode::Shared), todo: Todo::Write(body) })
    }

    /// The change of `len` bytes at `at` in the cursor's block. A trim of part of a block changes nothing.
    fn edit(&self, at: u64, len: u64) -> Option<Edit> {
        let at = usize::try_from(at).expect("within a block");
        let len = usize::try_from(len).expect("within a block");
        match &self.kind {
            Kind::Write { data } => {
                let from = usize::try_from(self.cursor - self.offset).expect("within the data");
                Some(Edit::Data { at, data: data.slice(from..from + len) })
            }
            Kind::WriteZeroes => Some(Edit::Zero { at, len }),
            Kind::Trim | Kind::Read { .. } | Kind::Flush => None,
        }
    }
}
