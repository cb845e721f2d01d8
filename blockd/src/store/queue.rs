//! What was accepted and is not in a batch yet, in order.

use super::event::{Session, Ticket};
use bytes::Bytes;
use proto::checksum::BlockCrcs;
use proto::disk::DataKind;
use proto::message::BlockRange;
use proto::{GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId};
use std::collections::VecDeque;

/// A write, perhaps with its first blocks in earlier batches.
#[derive(Debug)]
pub(super) struct WriteOp {
    pub ticket: Ticket,
    pub session: Session,
    pub range: BlockRange,
    pub version: Version,
    pub crcs: BlockCrcs,
    pub data: Bytes,
    pub kind: DataKind,
    /// Blocks that are in batches already.
    pub taken: u16,
    /// Blocks that may have held no data when it was accepted: the room it was promised.
    pub fresh: u16,
}

#[derive(Debug)]
pub(super) enum Op {
    Write(WriteOp),
    Trim { ticket: Ticket, session: Session, range: BlockRange, version: Version },
    Fence { volume: VolumeId, epoch: VolumeEpoch },
    Group { group: GroupId, epoch: GroupEpoch },
    Clear { group: GroupId, groups: u32, epoch: GroupEpoch },
    Delete { volume: VolumeId },
}

impl Op {
    pub fn session(&self) -> Option<Session> {
        match self {
            Self::Write(op) => Some(op.session),
            Self::Trim { session, .. } => Some(*session),
            Self::Fence { .. } | Self::Group { .. } | Self::Clear { .. } | Self::Delete { .. } => None,
        }
    }

    /// Who waits for it to be written. (Fences, groups, clearings and deletions wait as flushes.)
    pub fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Write(op) => Some(op.ticket),
            Self::Trim { ticket, .. } => Some(*ticket),
            Self::Fence { .. } | Self::Group { .. } | Self::Clear { .. } | Self::Delete { .. } => None,
        }
    }

    fn weight(&self) -> (usize, u64) {
        match self {
            Self::Write(op) => (op.data.len(), u64::from(op.fresh)),
            _ => (0, 0),
        }
    }
}

/// Operations are numbered from 1 as they are accepted; flushes wait for numbers.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ops: VecDeque<(u64, Op)>,
    accepted: u64,
    last_delete: u64,
    bytes: usize,
    fresh_blocks: u64,
}

impl Queue {
    pub fn push(&mut self, op: Op) {
        let (bytes, fresh) = op.weight();
        self.bytes += bytes;
        self.fresh_blocks += fresh;
        self.accepted += 1;
        if matches!(op, Op::Delete { .. }) {
            self.last_delete = self.accepted;
        }
        self.ops.push_back((self.accepted, op));
    }

    /// Takes the operation at `at` out of the line.
    pub fn remove(&mut self, at: usize) -> Option<Op> {
        let (_, op) = self.ops.remove(at)?;
        let (bytes, fresh) = op.weight();
        self.bytes -= bytes;
        self.fresh_blocks -= fresh;
        Some(op)
    }

    pub fn get(&self, at: usize) -> Option<&Op> {
        self.ops.get(at).map(|(_, op)| op)
    }

    pub fn front_mut(&mut self) -> Option<&mut Op> {
        self.ops.front_mut().map(|(_, op)| op)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Op> {
        self.ops.iter().map(|(_, op)| op)
    }

    /// Operations that wait.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The number of the newest operation.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// The number of the newest deletion; 0 if there was none.
    pub fn last_delete(&self) -> u64 {
        self.last_delete
    }

    /// Every operation up to this number has left the line.
    pub fn taken_through(&self) -> u64 {
        self.ops.front().map_or(self.accepted, |(number, _)| number - 1)
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Room promised to what waits, in blocks.
    pub fn fresh_blocks(&self) -> u64 {
        self.fresh_blocks
    }

    pub fn drain_tickets(&mut self) -> Vec<Ticket> {
        self.bytes = 0;
        self.fresh_blocks = 0;
        self.ops.drain(..).filter_map(|(_, op)| op.ticket()).collect()
    }
}
