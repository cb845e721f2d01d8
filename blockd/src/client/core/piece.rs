//! Pieces: what operations are split into. A piece stays within one chunk and is at most one request to
//! each member at a time.

use super::locks::{Claim, Mode};
use super::map::SEATS;
use bytes::Bytes;
use proto::checksum::BlockCrcs;
use proto::{ChunkIndex, Version};

/// Whom a piece's end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The user's operation with this key.
    Op(usize),
    /// A write whose operation has failed for want of room: sent on until all members have it, so that
    /// they agree and the settled horizon moves on.
    Parked,
    /// The repair of one block.
    Repair,
    /// The open.
    Reconcile,
}

/// What a write carries.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Data { crcs: BlockCrcs, data: Bytes },
    Trim,
}

/// A change of part of one block.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    Data { at: usize, data: Bytes },
    Zero { at: usize, len: usize },
}

impl Edit {
    pub fn apply(&self, block: &mut [u8]) {
        match self {
            Edit::Data { at, data } => block[*at..*at + data.len()].copy_from_slice(data),
            Edit::Zero { at, len } => block[*at..*at + *len].fill(0),
        }
    }
}

/// What read data is for.
#[derive(Debug, Clone)]
pub(super) enum Goal {
    /// The operation's buffer.
    User,
    /// To be changed and written back (one block, held alone).
    Merge(Edit),
    /// To be written, with its version, over the bad copies in these slots (one block, held alone).
    Repair { bad: u8 },
    /// To be written to all under the new epoch. The slots are in the order of what they hold, newest
    /// first, `len` of them.
    Reconcile { order: [u8; SEATS], len: u8 },
}

/// What a piece does once it has its lock.
#[derive(Debug, Clone)]
pub(super) enum Todo {
    Write(Body),
    Read(Goal),
}

/// How far a piece is.
#[derive(Debug)]
pub(super) enum Step {
    /// Waiting for its lock or its turn.
    Queued(Todo),
    Reading {
        goal: Goal,
        /// Slots that can't serve it.
        tried: u8,
        /// Those of them whose copy is bad.
        corrupt: u8,
    },
    Writing {
        version: Version,
        body: Body,
        /// Slots that have not acked it, or failed since.
        pending: u8,
        repair: bool,
    },
}

#[derive(Debug)]
pub(super) struct Piece {
    /// Never used twice: tells an answer to this piece from one to an earlier piece with its key.
    pub serial: u64,
    pub owner: Owner,
    pub chunk: ChunkIndex,
    pub first: u16,
    pub count: u16,
    pub group: u32,
    pub mode: Option<Mode>,
    /// Whether its lock is held now.
    pub locked: bool,
    pub tries: u16,
    pub step: Step,
}

impl Piece {
    /// The lock it needs.
    pub fn claim(&self) -> Option<Claim> {
        let (chunk, first, count) = (self.chunk, self.first, self.count);
        self.mode.map(|mode| Claim { chunk, first, count, mode })
    }

    /// Whether it is a write that the member in `slot` has not acked.
    pub fn waits_for(&self, slot: u8) -> bool {
        matches!(self.step, Step::Writing { pending, .. } if pending & 1 << slot != 0)
    }

    /// Whether it changes the volume.
    pub fn is_write(&self) -> bool {
        match &self.step {
            Step::Queued(Todo::Write(_)) | Step::Writing { .. } => true,
            Step::Queued(Todo::Read(goal)) | Step::Reading { goal, .. } => !matches!(goal, Goal::User),
        }
    }
}
