//! The open's last step: after the fences stand, make all members agree on every block that may differ.
//!
//! The horizon is the lowest *stable* version that any member has on its disk. Every version up to a stable
//! one was acked by every member before that was told, and a member logs what it was told behind what it
//! acked; so a member whose log kept the horizon kept all that is below it, whatever a power cut took, and
//! even if a bad block ended the replay of its log early. (The highest would do if replays ended nowhere but
//! at what was not flushed; *settled* would do while nobody restarted.) The set above it is bounded by the
//! writer's own flushes to about two seconds or 128 MiB. Above it:
//!
//! - A block that every member lists with one and the same version is the same everywhere: a version is given
//!   to one write only, and a resend carries the same bytes. It needs no rewrite, only the flush below.
//! - Any other block takes the content of its highest version, read from a member that lists it, and is
//!   written to all under the new epoch. If that copy is bad, its next-highest version does: not every member
//!   held the highest, so it was never flushed.
//!
//! Then all members are flushed; so from there on everything below the new epoch is stable. Lists are in the
//! order of chunks and are merged chunk by chunk, so memory is a page a member, however much was listed.

use super::map::SEATS;
use super::peer::Ask;
use super::piece::{Body, Goal, Owner, Step, Todo};
use super::read::Blocks;
use super::types::Peer;
use super::{Phase, VolumeCore};
use crate::ClientError;
use crate::limits::CORE_RECONCILE_RUNS;
use proto::checksum::BlockCrcs;
use proto::limits::MAX_BLOCKS_PER_IO;
use proto::message::{BlockState, LIST_END, ListEntry, ListKind, RequestBody};
use proto::units::BLOCKS_PER_CHUNK;
use proto::{ChunkIndex, GroupEpoch, Version};
use std::collections::VecDeque;

/// Blocks of a chunk, as block numbers are typed.
const BLOCKS: u16 = 1024;
const _: () = assert!(BLOCKS as u32 == BLOCKS_PER_CHUNK);

/// One member's list, as far as it is read.
#[derive(Debug, Default)]
struct Listing {
    entries: VecDeque<ListEntry>,
    cursor: u64,
    asked: bool,
    ended: bool,
}

/// Blocks of one chunk to be rewritten from one member.
#[derive(Debug, Clone, Copy)]
struct Run {
    chunk: u32,
    first: u16,
    count: u16,
    order: [u8; SEATS],
    len: u8,
    kind: ListKind,
}

#[derive(Debug)]
pub(super) struct Reconcile {
    serial: u64,
    horizon: Version,
    /// By peer.
    lists: Vec<Listing>,
    runs: VecDeque<Run>,
    active: usize,
    listed: bool,
    flushing: bool,
}

/// What to do next.
enum Next {
    Rewrite(Run),
    Wait,
    Ask(Vec<usize>),
    Chunk(ChunkIndex),
    Done,
}

impl Reconcile {
    fn next(&mut self) -> Next {
        if let Some(run) = self.runs.front().copied() {
            if self.active >= CORE_RECONCILE_RUNS {
                return Next::Wait;
            }
            self.runs.pop_front();
            self.active += 1;
            return Next::Rewrite(run);
        }
        // A member whose page is used up, or ends within the lowest chunk, may have more of that chunk.
        let lowest = self.lists.iter().filter_map(|list| list.entries.front()).map(|entry| entry.chunk).min();
        let short =
            |list: &Listing| !list.ended && list.entries.back().is_none_or(|last| Some(last.chunk) == lowest);
        let short: Vec<usize> = (0..self.lists.len()).filter(|&at| short(&self.lists[at])).collect();
        if !short.is_empty() {
            let ask: Vec<usize> = short.into_iter().filter(|&at| !self.lists[at].asked).collect();
            return if ask.is_empty() { Next::Wait } else { Next::Ask(ask) };
        }
        match lowest {
            Some(chunk) => Next::Chunk(chunk),
            None if self.active > 0 => Next::Wait,
            None => Next::Done,
        }
    }

    /// Takes a chunk's entries out of one member's list, as a version and kind for each block.
    fn take(&mut self, peer: usize, chunk: ChunkIndex) -> Vec<(Version, ListKind)> {
        let mut blocks = vec![(Version::ZERO, ListKind::Trimmed); BLOCKS_PER_CHUNK as usize];
        let entries = &mut self.lists[peer].entries;
        while let Some(entry) = entries.pop_front_if(|entry| entry.chunk == chunk) {
            let first = usize::from(entry.first);
            for block in &mut blocks[first..first + usize::from(entry.count)] {
                if entry.version > block.0 {
                    *block = (entry.version, entry.kind);
                }
            }
        }
        blocks
    }

    /// Adds the runs of one chunk on whose blocks its in-sync members differ. They come with their slots, in
    /// the order of those.
    fn plan(&mut self, chunk: ChunkIndex, members: &[(u8, Vec<(Version, ListKind)>)]) {
        let len = u8::try_from(members.len()).expect("a group has few members");
        let mut by_version: Vec<usize> = Vec::with_capacity(members.len());
        for first in 0..BLOCKS {
            let block = usize::from(first);
            let version = |member: usize| members[member].1[block].0;
            if (1..members.len()).all(|member| version(member) == version(0)) {
                continue;
            }
            by_version.clear();
            by_version.extend(0..members.len());
            by_version.sort_by_key(|&member| std::cmp::Reverse(version(member)));
            let mut order = [0; SEATS];
            order.iter_mut().zip(&by_version).for_each(|(slot, &member)| *slot = members[member].0);
            let kind = members[by_version[0]].1[block].1;
            let run = Run { chunk: chunk.0, first, count: 1, order, len, kind };
            match self.runs.back_mut() {
                Some(last) if last.takes(&run) => last.count += 1,
                _ => self.runs.push_back(run),
            }
        }
    }
}

impl Run {
    fn takes(&self, next: &Run) -> bool {
        let same = (self.chunk, self.order, self.kind) == (next.chunk, next.order, next.kind);
        same && self.first + self.count == next.first && u32::from(self.count) < MAX_BLOCKS_PER_IO
    }
}

impl VolumeCore {
    /// Every member is open.
    pub(super) fn start_reconcile(&mut self) {
        // What catches up says nothing that counts.
        let counts = self.map.in_sync_peers();
        let in_sync = self.peers.iter().zip(&counts).filter(|(_, counts)| **counts);
        let horizon = in_sync.filter_map(|(peer, _)| peer.opened).map(|open| open.stable).min();
        self.next_serial += 1;
        self.phase = Phase::Reconciling(Reconcile {
            serial: self.next_serial,
            horizon: horizon.unwrap_or(Version::ZERO),
            lists: counts.iter().map(|counts| Listing { ended: !counts, ..Listing::default() }).collect(),
            runs: VecDeque::new(),
            active: 0,
            listed: false,
            flushing: false,
        });
        self.reconcile_on();
    }

    /// Goes on until an answer is needed.
    fn reconcile_on(&mut self) {
        loop {
            let Phase::Reconciling(state) = &mut self.phase else { return };
            match state.next() {
                Next::Wait => return,
                Next::Rewrite(run) => self.rewrite(run),
                Next::Ask(peers) => {
                    let (reconcile, above) = (state.serial, state.horizon);
                    let cursors: Vec<(usize, u64)> =
                        peers.iter().map(|&peer| (peer, state.lists[peer].cursor)).collect();
                    peers.iter().for_each(|&peer| state.lists[peer].asked = true);
                    for (peer, cursor) in cursors {
                        let peer = Peer(u16::try_from(peer).expect("peers are numbered in 16 bits"));
                        let list = RequestBody::List { volume: self.volume, above, cursor };
                        self.ask(peer, Ask::List { reconcile }, GroupEpoch(0), list);
                    }
                    return;
                }
                Next::Chunk(chunk) => {
                    let group = *self.map.group(self.map.group_index(chunk));
                    let mut members = Vec::with_capacity(SEATS);
                    for number in 0..state.lists.len() {
                        let blocks = state.take(number, chunk);
                        let peer = Peer(u16::try_from(number).expect("peers are numbered in 16 bits"));
                        // What a disk holds of a group it has left, or lags behind in, counts for nothing.
                        let slot = group.slot_of(peer);
                        if let Some(slot) =
                            slot.filter(|&slot| group.seat(slot).is_some_and(|seat| seat.in_sync))
                        {
                            members.push((slot, blocks));
                        }
                    }
                    members.sort_by_key(|(slot, _)| *slot);
                    state.plan(chunk, &members);
                }
                Next::Done => {
                    if !state.listed {
                        self.reconciled();
                    } else if !std::mem::replace(&mut state.flushing, true) {
                        self.flush_agreed();
                    }
                    return;
                }
            }
        }
    }

    /// A page of a member's list. `false` if it is not in the order of chunks.
    pub(super) fn listed(
        &mut self,
        peer: Peer,
        serial: u64,
        entries: Vec<ListEntry>,
        next_cursor: u64,
    ) -> bool {
        let Phase::Reconciling(state) = &mut self.phase else { return true };
        if state.serial != serial {
            return true;
        }
        let list = &mut state.lists[usize::from(peer.0)];
        let last = list.entries.back().map(|entry| entry.chunk);
        let chunks = last.into_iter().chain(entries.iter().map(|entry| entry.chunk));
        let stuck = next_cursor == list.cursor && next_cursor != LIST_END;
        if !chunks.is_sorted() || stuck {
            return false;
        }
        state.listed |= !entries.is_empty();
        list.entries.extend(entries);
        list.cursor = next_cursor;
        list.ended = next_cursor == LIST_END;
        list.asked = false;
        self.reconcile_on();
        true
    }

    fn rewrite(&mut self, run: Run) {
        let todo = match run.kind {
            ListKind::Trimmed => Todo::Write(Body::Trim),
            ListKind::Data => Todo::Read(Goal::Reconcile { order: run.order, len: run.len }),
        };
        self.stats.reconciled_blocks += u64::from(run.count);
        let piece = self.piece(Owner::Reconcile, run.chunk, (run.first, run.count), None, todo);
        let key = self.pieces.insert(piece);
        self.ready.push_back(key);
    }

    /// A member gave what is to be written to all.
    pub(super) fn reconcile_read(&mut self, key: usize, slot: u8, blocks: &Blocks) {
        let is_data = |at: usize| !blocks.bad[at] && blocks.states[at].state == BlockState::Data;
        if (0..blocks.states.len()).all(is_data) {
            let data = blocks.joined();
            self.begin_write(key, Body::Data { crcs: BlockCrcs::of(&data), data });
            return;
        }
        if blocks.states.len() == 1 {
            if blocks.bad[0] {
                self.mark_corrupt(key, slot);
            } else {
                self.begin_write(key, Body::Trim);
            }
            return;
        }
        self.reconcile_singly(key);
    }

    /// Blocks of a run differ in what their members can give: each goes its own way.
    fn reconcile_singly(&mut self, key: usize) {
        let piece = &self.pieces[key];
        let Step::Reading { goal: Goal::Reconcile { order, len }, .. } = piece.step else { return };
        let (chunk, first, count) = (piece.chunk.0, piece.first, piece.count);
        if let Phase::Reconciling(state) = &mut self.phase {
            for first in first..first + count {
                state.runs.push_front(Run { chunk, first, count: 1, order, len, kind: ListKind::Data });
            }
        }
        self.stats.reconciled_blocks -= u64::from(count);
        self.finish_piece(key, Ok(()));
    }

    /// No member can give any of the run's content.
    pub(super) fn unreconciled(&mut self, key: usize) {
        let piece = &self.pieces[key];
        if piece.count > 1 {
            self.reconcile_singly(key);
            return;
        }
        // Every copy of every version is bad: reads of the block say so. Nothing true can be written.
        let (chunk, block) = (piece.chunk.0, piece.first);
        tracing::error!(volume = self.volume.0, chunk, block, "every copy of a block is bad");
        self.finish_piece(key, Ok(()));
    }

    pub(super) fn reconcile_piece_done(&mut self, result: Result<(), ClientError>) {
        if let Err(error) = result {
            self.fail(error);
            return;
        }
        if let Phase::Reconciling(state) = &mut self.phase {
            state.active -= 1;
            self.reconcile_on();
        }
    }
}
