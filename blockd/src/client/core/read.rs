//! Reads: from one member, every block checked, what is bad there from the next.

use super::VolumeCore;
use super::map::Seat;
use super::ops::{Kind, Op, ReadBuf};
use super::piece::{Body, Goal, Owner, Step};
use crate::ErrorKind;
use crate::client::Holes;
use bytes::{Bytes, BytesMut};
use proto::checksum::{BlockCrcs, crc32};
use proto::message::{BlockRange, BlockState, ReadBlock};
use proto::units::{BLOCK_BYTES, BLOCK_LEN, BLOCKS_PER_CHUNK};
use proto::{ErrorCode, Version, WireError};

/// A member's answer, checked.
pub(super) struct Blocks {
    /// By block; none is in state `Corrupt` unless `bad` says so.
    pub states: Vec<ReadBlock>,
    /// By block: its copy fails its checksum.
    pub bad: Vec<bool>,
    parts: Vec<Bytes>,
}

impl Blocks {
    /// Checks the answer to a read of `asked`; `None` if it is not one.
    pub fn check(
        asked: &BlockRange,
        answer: BlockRange,
        states: Vec<ReadBlock>,
        parts: Vec<Bytes>,
    ) -> Option<Self> {
        let with_data = states.iter().filter(|block| block.state == BlockState::Data).count();
        let len = parts.iter().map(Bytes::len).sum::<usize>();
        let whole = parts.iter().all(|part| part.len().is_multiple_of(BLOCK_LEN));
        if *asked != answer
            || states.len() != usize::from(asked.count)
            || len != with_data * BLOCK_LEN
            || !whole
        {
            return None;
        }
        let mut data = parts.iter().flat_map(|part| part.chunks_exact(BLOCK_LEN));
        let bad = states
            .iter()
            .map(|block| match block.state {
                BlockState::Hole | BlockState::Trimmed => false,
                BlockState::Corrupt => true,
                BlockState::Data => data.next().is_none_or(|data| crc32(data) != block.crc),
            })
            .collect();
        Some(Self { states, bad, parts })
    }

    fn is_all_good_data(&self) -> bool {
        self.parts.len() == 1
            && self.bad.iter().all(|&bad| !bad)
            && self.states.iter().all(|block| block.state == BlockState::Data)
    }

    /// Each block's number, and its data if it has any.
    fn iter(&self) -> impl Iterator<Item = (usize, Option<&[u8]>)> {
        let mut data = self.parts.iter().flat_map(|part| part.chunks_exact(BLOCK_LEN));
        self.states
            .iter()
            .enumerate()
            .map(move |(at, block)| (at, (block.state == BlockState::Data).then(|| data.next()).flatten()))
    }

    /// The only block's data; `None` where it reads as zeros.
    pub fn single(&self) -> Option<Bytes> {
        (self.states[0].state == BlockState::Data).then(|| self.parts[0].slice(..BLOCK_LEN))
    }

    /// All data, as one.
    pub fn joined(&self) -> Bytes {
        if let [only] = &self.parts[..] {
            return only.clone();
        }
        let mut all = BytesMut::with_capacity(self.states.len() * BLOCK_LEN);
        self.parts.iter().for_each(|part| all.extend_from_slice(part));
        all.freeze()
    }
}

/// Contiguous runs of what is marked, as (start, length).
pub(super) fn runs(marked: &[bool]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, _) in marked.iter().enumerate().filter(|(_, marked)| **marked) {
        match runs.last_mut() {
            Some((start, len)) if *start + *len == at => *len += 1,
            _ => runs.push((at, 1)),
        }
    }
    runs
}

impl VolumeCore {
    /// Asks the next member that may serve a reading piece; fails the piece if none is left.
    pub(super) fn read_next(&mut self, key: usize) {
        let piece = &self.pieces[key];
        let Step::Reading { goal, tried, corrupt } = &piece.step else { return };
        let group = self.map.group(piece.group);
        let (order, len) = match goal {
            Goal::Reconcile { order, len } => (*order, *len),
            Goal::User | Goal::Merge(_) | Goal::Repair { .. } => {
                self.map.read_order(piece.chunk, piece.group)
            }
        };
        let untried = || order[..usize::from(len)].iter().copied().filter(|slot| tried & 1 << slot == 0);
        let serves = |slot: u8| {
            let good = |seat: &Seat| seat.in_sync && seat.doubt.is_none() && self.trusts(*seat);
            let seat = group.seat(slot).filter(good);
            seat.is_some_and(|seat| self.peers[usize::from(seat.peer.0)].is_up())
        };
        if let Some(slot) = untried().find(|&slot| serves(slot)) {
            self.send_piece(key, slot);
            return;
        }
        if untried().next().is_some() {
            // Until the member is back, or a map comes in which it is out.
            self.read_waiters.push(key);
            return;
        }
        let corrupt = *corrupt;
        match goal {
            Goal::Repair { .. } => self.finish_piece(key, Ok(())),
            Goal::Reconcile { .. } => self.unreconciled(key),
            Goal::User | Goal::Merge(_) => {
                let (chunk, first, count) = (piece.chunk, piece.first, piece.count);
                let (kind, why) = if corrupt != 0 {
                    (ErrorKind::Corrupt, "fails its checksum, or is missing, on every member")
                } else {
                    (ErrorKind::Unavailable, "can be read from no member now")
                };
                let error = self.error(kind, format!("chunk {chunk}, blocks {first}+{count}: {why}"));
                self.finish_piece(key, Err(error));
            }
        }
    }

    /// The member in `slot` can't serve the piece.
    pub(super) fn read_refused(&mut self, key: usize, slot: u8, error: &WireError) {
        if let Step::Reading { tried, corrupt, .. } = &mut self.pieces[key].step {
            *tried |= 1 << slot;
            if error.code == ErrorCode::Corrupt {
                *corrupt |= 1 << slot;
            }
            self.read_next(key);
        }
    }

    /// The member in `slot` answered. `false` if that was no answer to what was asked.
    pub(super) fn read_answered(
        &mut self,
        (key, slot): (usize, u8),
        range: BlockRange,
        states: Vec<ReadBlock>,
        parts: Vec<Bytes>,
    ) -> bool {
        let piece = &self.pieces[key];
        let (chunk, first, count) = (piece.chunk, piece.first, piece.count);
        let asked = BlockRange { volume: self.volume, chunk, first, count };
        let Some(blocks) = Blocks::check(&asked, range, states, parts) else { return false };
        let Step::Reading { goal, .. } = &piece.step else { return true };
        let goal = goal.clone();
        let heals = !matches!(goal, Goal::Repair { .. } | Goal::Reconcile { .. });
        for (at, _) in blocks.bad.iter().enumerate().filter(|(_, bad)| **bad) {
            self.stats.corrupt_blocks += 1;
            if heals {
                let block = first + u16::try_from(at).expect("within a chunk");
                self.repair_later(chunk, block, slot);
            }
        }
        match goal {
            Goal::User => self.user_read(key, slot, &blocks),
            Goal::Merge(edit) => {
                if blocks.bad[0] {
                    self.mark_corrupt(key, slot);
                    return true;
                }
                let mut block = BytesMut::zeroed(BLOCK_LEN);
                if let Some(old) = blocks.single() {
                    block.copy_from_slice(&old);
                }
                edit.apply(&mut block);
                let data = block.freeze();
                self.begin_write(key, Body::Data { crcs: BlockCrcs::of(&data), data });
            }
            Goal::Repair { bad } => self.repair_read(key, slot, bad, &blocks),
            Goal::Reconcile { .. } => self.reconcile_read(key, slot, &blocks),
        }
        true
    }

    /// Tries the next member after a bad copy.
    pub(super) fn mark_corrupt(&mut self, key: usize, slot: u8) {
        if let Step::Reading { tried, corrupt, .. } = &mut self.pieces[key].step {
            *tried |= 1 << slot;
            *corrupt |= 1 << slot;
        }
        self.read_next(key);
    }

    /// Puts the good blocks into the operation's buffer, and reads only the bad ones elsewhere: different
    /// blocks may be bad on each member.
    fn user_read(&mut self, key: usize, slot: u8, blocks: &Blocks) {
        let piece = &self.pieces[key];
        let Owner::Op(op_key) = piece.owner else { return };
        let start =
            (u64::from(piece.chunk.0) * u64::from(BLOCKS_PER_CHUNK) + u64::from(piece.first)) * BLOCK_BYTES;
        let op = &mut self.ops[op_key];
        let Some(missing) = op.gather(start, blocks) else {
            self.finish_piece(key, Ok(()));
            return;
        };
        let runs = runs(&missing);
        if let [(0, len)] = runs[..]
            && len == missing.len()
        {
            self.mark_corrupt(key, slot);
            return;
        }
        let (chunk, first) = (piece.chunk, piece.first);
        let Step::Reading { tried, corrupt, .. } = piece.step else { return };
        for (at, len) in runs {
            let at = first + u16::try_from(at).expect("within a chunk");
            let len = u16::try_from(len).expect("within a chunk");
            let todo = super::piece::Todo::Read(Goal::User);
            let mut part = self.piece(Owner::Op(op_key), chunk.0, (at, len), None, todo);
            let (tried, corrupt) = (tried | 1 << slot, corrupt | 1 << slot);
            part.step = Step::Reading { goal: Goal::User, tried, corrupt };
            let part = self.pieces.insert(part);
            self.add_piece_to_op(op_key);
            self.ready.push_back(part);
        }
        self.finish_piece(key, Ok(()));
    }
}

impl Op {
    /// Takes the good blocks of a run that starts at byte `start` of the volume. Gives the marks of what
    /// must be read elsewhere, if anything.
    fn gather(&mut self, start: u64, blocks: &Blocks) -> Option<Vec<bool>> {
        let (offset, end, len) = (self.offset, self.end, self.len());
        let Kind::Read { holes, buf } = &mut self.kind else { return None };
        let covered = start + (blocks.states.len() * BLOCK_LEN) as u64;
        if matches!(buf, ReadBuf::Empty) && start <= offset && covered >= end && blocks.is_all_good_data() {
            let from = usize::try_from(offset - start).expect("within a block");
            *buf = ReadBuf::Whole(blocks.parts[0].slice(from..from + len));
            return None;
        }
        if !matches!(buf, ReadBuf::Parts(_)) {
            *buf = ReadBuf::Parts(vec![0; len]);
        }
        let ReadBuf::Parts(bytes) = buf else { return None };
        let mut missing: Option<Vec<bool>> = None;
        for (at, data) in blocks.iter() {
            let is_hole = matches!(blocks.states[at].state, BlockState::Hole | BlockState::Trimmed);
            if blocks.bad[at] || is_hole && *holes == Holes::Error {
                missing.get_or_insert_with(|| vec![false; blocks.states.len()])[at] = true;
                continue;
            }
            let Some(data) = data else { continue };
            let block = start + (at * BLOCK_LEN) as u64;
            let (from, to) = (block.max(offset), (block + BLOCK_BYTES).min(end));
            let place = |byte: u64, base: u64| usize::try_from(byte - base).expect("within the operation");
            bytes[place(from, offset)..place(to, offset)]
                .copy_from_slice(&data[place(from, block)..place(to, block)]);
        }
        missing
    }
}

/// The version of a read's only block.
pub(super) fn only_version(blocks: &Blocks) -> Version {
    blocks.states[0].version
}
