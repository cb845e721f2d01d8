//! Bad blocks put back from another member's copy, in the background, one block at a time.
//!
//! A repair writes an *old* version. It has its block alone, so no newer write can be acked, settle, and let
//! a member forget a trim's tombstone while the repair is under way: it never brings back what is gone.

use super::VolumeCore;
use super::locks::Mode;
use super::piece::{Body, Goal, Owner, Step, Todo};
use super::read::{Blocks, only_version};
use crate::fast_map::FastMap;
use crate::limits::{CORE_REPAIR_QUEUE, CORE_REPAIRS};
use proto::ChunkIndex;
use proto::checksum::BlockCrcs;
use proto::units::BLOCKS_PER_CHUNK;
use std::collections::VecDeque;

/// What is bad, and how many repairs are under way.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    queue: VecDeque<u64>,
    /// The slots whose copy is bad, by block of the volume.
    bad: FastMap<u64, u8>,
    pub active: usize,
}

impl Repairs {
    /// Slots have other members now: what is bad is found again by the next read that meets it.
    pub fn forget_slots(&mut self) {
        self.queue.clear();
        self.bad.clear();
    }
}

impl VolumeCore {
    pub(super) fn repair_later(&mut self, chunk: ChunkIndex, block: u16, slot: u8) {
        let at = u64::from(chunk.0) * u64::from(BLOCKS_PER_CHUNK) + u64::from(block);
        let repairs = &mut self.repairs;
        if let Some(slots) = repairs.bad.get_mut(&at) {
            *slots |= 1 << slot;
        } else if repairs.queue.len() < CORE_REPAIR_QUEUE {
            repairs.bad.insert(at, 1 << slot);
            repairs.queue.push_back(at);
        }
    }

    /// Starts what may be repaired now. Says whether there was anything.
    pub(super) fn start_repairs(&mut self) -> bool {
        if !self.is_serving() || self.write_error.is_some() || self.repairs.active >= CORE_REPAIRS {
            return false;
        }
        let Some(at) = self.repairs.queue.pop_front() else { return false };
        let bad = self.repairs.bad.remove(&at).expect("every queued block is in the table");
        let per_chunk = u64::from(BLOCKS_PER_CHUNK);
        let chunk = u32::try_from(at / per_chunk).expect("it was made from a chunk's number");
        let block = u16::try_from(at % per_chunk).expect("below a chunk's blocks");
        let todo = Todo::Read(Goal::Repair { bad });
        let piece = self.piece(Owner::Repair, chunk, (block, 1), Some(Mode::Exclusive), todo);
        let key = self.pieces.insert(piece);
        self.repairs.active += 1;
        self.ready.push_back(key);
        true
    }

    /// A member answered a repair's read: good data goes over the bad copies, with the version it has.
    pub(super) fn repair_read(&mut self, key: usize, slot: u8, bad: u8, blocks: &Blocks) {
        if blocks.bad[0] {
            if let Step::Reading { goal, .. } = &mut self.pieces[key].step {
                *goal = Goal::Repair { bad: bad | 1 << slot };
            }
            self.mark_corrupt(key, slot);
            return;
        }
        // A tombstone or a hole has no data to go bad: what is bad there is something else's, and stays for
        // the scrub.
        let Some(data) = blocks.single() else { return self.finish_piece(key, Ok(())) };
        let body = Body::Data { crcs: BlockCrcs::of(&data), data };
        let version = only_version(blocks);
        self.send_write(key, Step::Writing { version, body, pending: bad, repair: true }, bad);
    }
}
