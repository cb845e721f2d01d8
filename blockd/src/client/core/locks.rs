//! Locks of blocks at the writer: what keeps read-modify-writes apart from other writes of their block.
//!
//! Writes of whole blocks share a block (versions decide between them); a read-modify-write and a repair
//! have it alone. A claim takes all its blocks, within one chunk, at once or waits in the chunk's queue, so
//! two claims can never each hold what the other needs. The queue is strictly first come, first served:
//! nothing starves, and a chunk without contention pays one map look-up and a counter a block.

use crate::fast_map::FastMap;
use proto::ChunkIndex;
use proto::units::BLOCKS_PER_CHUNK;
use std::collections::VecDeque;

const BLOCKS: usize = BLOCKS_PER_CHUNK as usize;
/// The mark of an exclusively held block; below it, a count of sharers. Sharers are bounded by the window
/// of pieces, far below it.
const EXCLUSIVE: u16 = 0x8000;
/// Empty counter arrays kept for the next chunk, so that a random workload does not allocate.
const SPARE: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Shared,
    Exclusive,
}

/// Blocks of one chunk that somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub chunk: ChunkIndex,
    pub first: u16,
    pub count: u16,
    pub mode: Mode,
}

impl Claim {
    fn blocks(&self) -> std::ops::Range<usize> {
        usize::from(self.first)..usize::from(self.first) + usize::from(self.count)
    }
}

#[derive(Debug)]
struct ChunkLocks {
    held: Box<[u16]>,
    holders: usize,
    waiters: VecDeque<(Claim, usize)>,
}

impl ChunkLocks {
    fn try_take(&mut self, claim: &Claim) -> bool {
        let blocks = &mut self.held[claim.blocks()];
        match claim.mode {
            Mode::Shared if blocks.iter().all(|&held| held < EXCLUSIVE - 1) => {
                blocks.iter_mut().for_each(|held| *held += 1);
            }
            Mode::Exclusive if blocks.iter().all(|&held| held == 0) => blocks.fill(EXCLUSIVE),
            _ => return false,
        }
        self.holders += 1;
        true
    }
}

/// All locks of one volume.
#[derive(Debug, Default)]
pub(super) struct Locks {
    chunks: FastMap<u32, ChunkLocks>,
    spare: Vec<Box<[u16]>>,
}

impl Locks {
    /// Takes the claim for `key`, or queues it and returns false: `release` will name the key.
    pub fn acquire(&mut self, claim: Claim, key: usize) -> bool {
        let spare = &mut self.spare;
        let chunk = self.chunks.entry(claim.chunk.0).or_insert_with(|| ChunkLocks {
            held: spare.pop().unwrap_or_else(|| vec![0; BLOCKS].into()),
            holders: 0,
            waiters: VecDeque::new(),
        });
        if chunk.waiters.is_empty() && chunk.try_take(&claim) {
            return true;
        }
        chunk.waiters.push_back((claim, key));
        false
    }

    /// Gives a taken claim back; the keys whose turn has come are added to `ready`.
    pub fn release(&mut self, claim: Claim, ready: &mut VecDeque<usize>) {
        let chunk = self.chunks.get_mut(&claim.chunk.0).expect("a held claim's chunk is in the table");
        let blocks = &mut chunk.held[claim.blocks()];
        match claim.mode {
            Mode::Shared => blocks.iter_mut().for_each(|held| *held -= 1),
            Mode::Exclusive => blocks.fill(0),
        }
        chunk.holders -= 1;
        while let Some(&(next, key)) = chunk.waiters.front() {
            if !chunk.try_take(&next) {
                break;
            }
            chunk.waiters.pop_front();
            ready.push_back(key);
        }
        if chunk.holders == 0 {
            let chunk = self.chunks.remove(&claim.chunk.0).expect("it was found above");
            assert!(chunk.waiters.is_empty(), "a chunk that nobody holds has nobody waiting");
            // All counters are zero again, so the array needs no clearing.
            if self.spare.len() < SPARE {
                self.spare.push(chunk.held);
            }
        }
    }

    /// Forgets everything: nobody's claims count any more.
    pub fn clear(&mut self) {
        self.chunks.clear();
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(first: u16, count: u16, mode: Mode) -> Claim {
        Claim { chunk: ChunkIndex(7), first, count, mode }
    }

    #[test]
    fn sharers_share_and_exclusives_wait_in_turn() {
        let (mut locks, mut ready) = (Locks::default(), VecDeque::new());
        let (wide, block) = (claim(0, 16, Mode::Shared), claim(3, 1, Mode::Exclusive));
        assert!(locks.acquire(wide, 1) && locks.acquire(wide, 2));
        assert!(!locks.acquire(block, 3) && !locks.acquire(wide, 4) && !locks.acquire(block, 5));
        locks.release(wide, &mut ready);
        assert!(ready.is_empty());
        locks.release(wide, &mut ready);
        assert_eq!(ready.drain(..).collect::<Vec<_>>(), [3]);
        locks.release(block, &mut ready);
        assert_eq!(ready.drain(..).collect::<Vec<_>>(), [4]);
        locks.release(wide, &mut ready);
        assert_eq!(ready.drain(..).collect::<Vec<_>>(), [5]);
        locks.release(block, &mut ready);
        assert!(ready.is_empty() && locks.is_empty());
    }

    #[test]
    fn disjoint_claims_do_not_meet() {
        let mut locks = Locks::default();
        assert!(locks.acquire(claim(0, 1, Mode::Exclusive), 1));
        assert!(locks.acquire(claim(1, 1, Mode::Exclusive), 2));
        assert!(locks.acquire(Claim { chunk: ChunkIndex(8), ..claim(0, 1, Mode::Exclusive) }, 3));
    }
}
