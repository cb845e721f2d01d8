//! One request of a guest while the volume has it: what was asked, how far it is, what comes next.

use crate::engine::{Counters, WriteCache, count};
use crate::error::Error;
use crate::limits::MAX_PIECE_BYTES;
use crate::mem::GuestRam;
use crate::request::{Ask, Range, Status};
use crate::vring::Taken;
use blockd::client::{Holes, VolumeOp};
use bytes::Bytes;
use std::sync::Arc;
use vm_memory::GuestAddress;

/// A request with the volume.
pub struct Pending {
    pub queue: usize,
    pub taken: Taken,
    pub status: GuestAddress,
    pub ram: Arc<GuestRam>,
    pub ask: Ask,
    /// Bytes of it that count as in flight.
    pub charge: u64,
    /// Its queue has ended: the volume's answer goes nowhere.
    pub is_orphan: bool,
    /// Bytes, or ranges, that the volume has done.
    done: u64,
    /// Bytes, or ranges, that it is doing.
    piece: u64,
    flush: FlushAfter,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FlushAfter {
    No,
    Due,
    Asked,
}

impl Pending {
    pub fn new(
        queue: usize,
        taken: Taken,
        status: GuestAddress,
        ram: Arc<GuestRam>,
        ask: Ask,
        cache: WriteCache,
    ) -> Self {
        let charge = match &ask {
            Ask::Read(range, _) | Ask::Write { range, .. } => range.len.min(MAX_PIECE_BYTES),
            _ => 0,
        };
        let flush =
            if changes(&ask) && cache == WriteCache::Through { FlushAfter::Due } else { FlushAfter::No };
        Self { queue, taken, status, ram, ask, charge, is_orphan: false, done: 0, piece: 0, flush }
    }

    /// Whether it changes what the volume holds.
    pub fn changes(&self) -> bool {
        changes(&self.ask)
    }

    /// Takes in what the volume did.
    pub fn advance(&mut self, data: Option<Bytes>) -> Result<(), Error> {
        if self.flush == FlushAfter::Asked {
            return Ok(());
        }
        if let Ask::Read(_, segments) = &self.ask {
            let data = data.unwrap_or_default();
            assert_eq!(data.len() as u64, self.piece, "the volume read another length than it was asked for");
            self.ram.write(segments, self.done, &data)?;
        }
        self.done += self.piece;
        Ok(())
    }

    /// What to ask the volume next; `None` when all is done.
    pub fn next_op(&mut self) -> Result<Option<VolumeOp>, Error> {
        let op = match &self.ask {
            Ask::Read(range, _) => {
                self.piece = piece(range, self.done);
                let len = usize::try_from(self.piece).expect("a piece fits memory");
                let read = VolumeOp::Read { offset: range.offset + self.done, len, holes: Holes::Zeros };
                (self.piece > 0).then_some(read)
            }
            Ask::Write { range, segments, skip } => {
                self.piece = piece(range, self.done);
                let len = usize::try_from(self.piece).expect("a piece fits memory");
                match len {
                    0 => None,
                    _ => Some(VolumeOp::Write {
                        offset: range.offset + self.done,
                        data: self.ram.read(segments, skip + self.done, len)?,
                    }),
                }
            }
            Ask::Flush => {
                self.piece = 1;
                (self.done == 0).then_some(VolumeOp::Flush)
            }
            Ask::Discard(ranges) => {
                self.piece = 1;
                nth(ranges, self.done).map(|Range { offset, len }| VolumeOp::Trim { offset, len })
            }
            Ask::WriteZeroes(ranges) => {
                self.piece = 1;
                nth(ranges, self.done).map(|Range { offset, len }| VolumeOp::WriteZeroes { offset, len })
            }
            Ask::GetId(_) => None,
        };
        if op.is_none() && self.flush == FlushAfter::Due {
            self.flush = FlushAfter::Asked;
            return Ok(Some(VolumeOp::Flush));
        }
        Ok(op)
    }

    pub fn count(&self, counters: &Counters, status: Status) {
        if status != Status::Ok {
            return count(&counters.errors, 1);
        }
        match &self.ask {
            Ask::Read(range, _) => {
                count(&counters.reads, 1);
                count(&counters.read_bytes, range.len);
            }
            Ask::Write { range, .. } => {
                count(&counters.writes, 1);
                count(&counters.written_bytes, range.len);
            }
            Ask::Flush => count(&counters.flushes, 1),
            Ask::Discard(_) | Ask::WriteZeroes(_) => count(&counters.trims, 1),
            Ask::GetId(_) => {}
        }
    }
}

fn changes(ask: &Ask) -> bool {
    matches!(ask, Ask::Write { .. } | Ask::Discard(_) | Ask::WriteZeroes(_))
}

fn piece(range: &Range, done: u64) -> u64 {
    (range.len - done).min(MAX_PIECE_BYTES)
}

fn nth(ranges: &[Range], index: u64) -> Option<Range> {
    ranges.get(usize::try_from(index).ok()?).copied()
}
