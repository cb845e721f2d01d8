//! Writes and trims: a version each, to every member that is not out, acked when all have acked and enough of
//! them are in sync. Those that catch up are waited for too: else one could join without a write that it lost
//! after the ack.

use super::members::Fault;
use super::piece::{Body, Owner, Piece, Step};
use super::{Retry, VolumeCore};
use crate::client::OnFull;
use crate::limits::{CORE_BUSY_WAIT, CORE_DAMAGED_TRIES, CORE_NO_SPACE_WAIT};
use crate::{ClientError, ErrorKind};
use proto::message::{BlockRange, RequestBody, WriteKind};
use proto::units::BLOCK_BYTES;
use proto::{ErrorCode, VolumeEpoch, VolumeId, WireError};

impl Piece {
    /// What its members are asked now.
    pub fn request(&self, volume: VolumeId, epoch: VolumeEpoch) -> RequestBody {
        let range = BlockRange { volume, chunk: self.chunk, first: self.first, count: self.count };
        let kind = |repair: bool| match self.owner {
            _ if repair => WriteKind::Repair,
            Owner::Reconcile => WriteKind::Reconcile,
            Owner::Op(_) | Owner::Parked | Owner::Repair => WriteKind::Normal,
        };
        match &self.step {
            Step::Queued(_) => unreachable!("a queued piece asks nothing"),
            Step::Reading { .. } => RequestBody::Read { range, epoch },
            Step::Writing { version, body: Body::Data { crcs, data }, repair, .. } => RequestBody::Write {
                range,
                version: *version,
                crcs: crcs.clone(),
                data: data.clone(),
                kind: kind(*repair),
            },
            Step::Writing { version, body: Body::Trim, .. } => {
                RequestBody::Trim { range, version: *version, kind: kind(false) }
            }
        }
    }
}

pub(super) fn slots(mask: u8) -> impl Iterator<Item = u8> {
    (0..8).filter(move |slot| mask & 1 << slot != 0)
}

impl VolumeCore {
    /// Gives the write its version and sends it to every member.
    pub(super) fn begin_write(&mut self, key: usize, body: Body) {
        let Some(version) = self.settled.next() else {
            let why = "this writer's versions are used up, open the volume again";
            let error = self.error(ErrorKind::Closed, why);
            self.pieces[key].step = Step::Queued(super::piece::Todo::Write(body));
            self.fail_writes(error);
            return;
        };
        let pending = self.map.group(self.pieces[key].group).all();
        self.send_write(key, Step::Writing { version, body, pending, repair: false }, pending);
    }

    /// Sends a write to the members in `mask`.
    pub(super) fn send_write(&mut self, key: usize, step: Step, mask: u8) {
        self.pieces[key].step = step;
        for slot in slots(mask) {
            self.send_piece(key, slot);
        }
    }

    /// The member in `slot` has the write.
    pub(super) fn write_acked(&mut self, key: usize, slot: u8) {
        let piece = &mut self.pieces[key];
        let Step::Writing { pending, .. } = &mut piece.step else { return };
        *pending &= !(1 << slot);
        self.settle_write(key);
    }

    /// Ends a write that all its members have.
    pub(super) fn settle_write(&mut self, key: usize) {
        let piece = &self.pieces[key];
        let Step::Writing { version, pending: 0, repair, body } = &piece.step else { return };
        let (version, repair, is_data) = (*version, *repair, matches!(body, Body::Data { .. }));
        let (count, piece_group) = (u64::from(piece.count), piece.group);
        if !repair && !self.has_enough(piece.owner, piece.group) {
            return;
        }
        if repair {
            self.stats.repaired_blocks += count;
        } else {
            self.settled.ack(version);
            let group = &mut self.map.groups[piece_group as usize];
            group.acked = group.acked.max(version);
            let bytes = if is_data { count * BLOCK_BYTES } else { 0 };
            self.flush_bytes_written(bytes);
        }
        self.finish_piece(key, Ok(()));
    }

    /// The member in `slot` refused the write.
    pub(super) fn write_refused(&mut self, key: usize, slot: u8, error: WireError) {
        let piece = &mut self.pieces[key];
        let is_repair = matches!(piece.step, Step::Writing { repair: true, .. });
        let retry = Retry { due: self.now + CORE_BUSY_WAIT, key, serial: piece.serial, slot };
        piece.tries += 1;
        match error.code {
            // A repair that can't be done now is left for the next read that meets the bad block.
            _ if is_repair => self.finish_piece(key, Ok(())),
            ErrorCode::NoSpace => {
                self.full.push_back(Retry { due: self.now + CORE_NO_SPACE_WAIT, ..retry });
                if self.on_full == OnFull::Fail && matches!(piece.owner, Owner::Op(_)) {
                    self.park(key, ClientError::from(error));
                }
            }
            ErrorCode::Busy => self.busy.push_back(retry),
            ErrorCode::BadChecksum if piece.tries < CORE_DAMAGED_TRIES => self.busy.push_back(retry),
            _ => {
                let Some(seat) = self.map.group(piece.group).seat(slot) else { return };
                self.fail_member(seat.peer, Fault::Broken, &format!("it refused a write: {error}"));
            }
        }
    }
}
