//! Writes zeros ahead of the log where the disk's file is still holes.
//!
//! A direct write into a hole allocates blocks under the file system's exclusive lock, which io_uring must
//! leave to a worker thread: measured, a third less throughput and two more context switches a batch. So
//! holes ahead of where the log writes are filled first: while the disk is idle, as far ahead as the log
//! has come since the start, with long writes; while it is busy, a little ahead with short ones, which cost
//! a quarter of the throughput of small writes. A file stays sparse where the log won't come soon; a raw
//! device has no holes and is left alone.

use crate::limits::{
    PREFILL_AHEAD, PREFILL_BYTES, PREFILL_FOR_BELOW, PREFILL_IDLE_AFTER, PREFILL_IDLE_AHEAD,
    PREFILL_IDLE_UNITS,
};
use rt::buf::AlignedBuf;
use rt::clock::Instant;
use rt::ring::{Fd, Op, Token};
use std::ops::Range;

/// The state of the filling, in units of [`PREFILL_BYTES`].
pub(super) struct Prefill {
    units: Vec<Unit>,
    /// The units that zeros are being written to.
    filling: Range<usize>,
    /// Units to look at next while busy.
    window: Range<usize>,
    /// Where an idle disk's filling looks for holes first: above everything written. The log takes segments
    /// that were never used in order; lower holes are the tails of segments that were left.
    next_hole: usize,
    /// Where it looks after that. Nothing becomes a hole again, so that both only go up: a disk without holes is
    /// not searched for them in every turn.
    lowest_hole: usize,
    /// Units filled that the log has not come to yet.
    ahead: usize,
    last_write: Instant,
    /// Bytes the log wrote since the start: how far ahead an idle disk is filled.
    written: u64,
    zeros: Option<AlignedBuf>,
    /// Writes to the units being filled: they come after the zeros.
    held: Vec<(Token, Op)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Nothing was ever written to it.
    Hole,
    Filled,
    Data,
}

impl Prefill {
    /// For a disk of `len_bytes` with these holes, in bytes.
    pub fn new(len_bytes: u64, holes: &[Range<u64>]) -> Self {
        let units = usize::try_from(len_bytes / PREFILL_BYTES).unwrap_or(0);
        let mut filler = Self {
            units: vec![Unit::Data; units],
            filling: 0..0,
            window: 0..0,
            next_hole: 0,
            lowest_hole: 0,
            ahead: 0,
            last_write: Instant(0),
            written: 0,
            zeros: None,
            held: Vec::new(),
        };
        for hole in holes {
            // Only units that are a hole as a whole: zeros must never go over anything.
            let whole = unit(hole.start.next_multiple_of(PREFILL_BYTES))..unit(hole.end);
            if let Some(units) = filler.units.get_mut(whole) {
                units.fill(Unit::Hole);
            }
        }
        filler
    }

    /// A write is about to start. Gives it back if it may go to the device now; else it is kept until the
    /// zeros before it are there.
    pub fn before_write(&mut self, now: Instant, token: Token, op: Op) -> Option<(Token, Op)> {
        let Op::Write { buf, offset, .. } = &op else { return Some((token, op)) };
        let end = unit(offset + buf.len() as u64 + PREFILL_BYTES - 1).min(self.units.len());
        let touched = unit(*offset).min(end)..end;
        for unit in &mut self.units[touched.clone()] {
            self.ahead -= usize::from(*unit == Unit::Filled);
            *unit = Unit::Data;
        }
        self.next_hole = self.next_hole.max(touched.end);
        self.last_write = now;
        self.written += buf.len() as u64;
        // Long writes pay the allocation once for many blocks; filling just ahead of them would only double
        // what the device writes.
        let ahead = if buf.len() < PREFILL_FOR_BELOW { PREFILL_AHEAD } else { 0 };
        self.window = end..(end + ahead).min(self.units.len());
        if touched.start < self.filling.end && self.filling.start < touched.end {
            self.held.push((token, op));
            return None;
        }
        Some((token, op))
    }

    /// The next write of zeros, if one is due.
    pub fn next(&mut self, now: Instant, disk: &Fd) -> Option<Op> {
        if !self.filling.is_empty() {
            return None;
        }
        let holes = self.busy_hole().or_else(|| self.idle_holes(now))?;
        self.units[holes.clone()].fill(Unit::Filled);
        self.ahead += holes.len();
        self.filling = holes.clone();
        let offset = holes.start as u64 * PREFILL_BYTES;
        let len = usize::try_from(holes.len() as u64 * PREFILL_BYTES).expect("a few units fit in memory");
        let kept = self.zeros.take().filter(|zeros| zeros.len() == len);
        let buf = kept.unwrap_or_else(|| AlignedBuf::zeroed(len));
        Some(Op::Write { fd: Fd::clone(disk), buf: buf.into(), offset })
    }

    fn busy_hole(&mut self) -> Option<Range<usize>> {
        let next = self.window.find(|&unit| self.units[unit] == Unit::Hole)?;
        Some(next..next + 1)
    }

    fn idle_holes(&mut self, now: Instant) -> Option<Range<usize>> {
        let wanted = unit(self.written.min(PREFILL_IDLE_AHEAD));
        if self.ahead >= wanted || now < self.last_write + PREFILL_IDLE_AFTER {
            return None;
        }
        self.next_hole = self.hole_from(self.next_hole);
        let first = if self.next_hole < self.units.len() {
            self.next_hole
        } else {
            self.lowest_hole = self.hole_from(self.lowest_hole);
            self.lowest_hole
        };
        if first == self.units.len() {
            return None;
        }
        let most = (wanted - self.ahead).min(PREFILL_IDLE_UNITS);
        let len = self.units[first..].iter().take(most).take_while(|&&unit| unit == Unit::Hole).count();
        Some(first..first + len)
    }

    /// The first hole from this unit on; the end if there is none.
    fn hole_from(&self, from: usize) -> usize {
        let hole = self.units[from..].iter().position(|&unit| unit == Unit::Hole);
        hole.map_or(self.units.len(), |at| from + at)
    }

    /// The zeros are written, or could not be (the store's own write will tell). Gives the writes that
    /// waited for them.
    pub fn filled(&mut self, op: Op) -> Vec<(Token, Op)> {
        self.filling = 0..0;
        if let Op::Write { buf, .. } = op {
            self.zeros = Some(buf.into_head());
        }
        std::mem::take(&mut self.held)
    }
}

fn unit(offset: u64) -> usize {
    usize::try_from(offset / PREFILL_BYTES).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::time::Duration;

    const UNIT: u64 = PREFILL_BYTES;
    const NOW: Instant = Instant(1_000_000_000);

    fn disk() -> Fd {
        Arc::new(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()))
    }

    fn write(disk: &Fd, offset: u64, blocks: usize) -> Op {
        Op::Write { fd: Fd::clone(disk), buf: AlignedBuf::zeroed(blocks * 4096).into(), offset }
    }

    fn place(op: &Op) -> (u64, u64) {
        let Op::Write { offset, buf, .. } = op else { panic!("only writes are made") };
        (*offset, buf.len() as u64)
    }

    #[test]
    fn fills_only_whole_holes_ahead_of_the_log_and_never_under_a_write() {
        let (disk, token) = (disk(), Token::new(1, 0, 7));
        // Unit 1 is half data; 2 to 5 are holes; 6 is data; from 7 on all is a hole.
        let mut prefill = Prefill::new(100 * UNIT, &[UNIT + 4096..6 * UNIT, 7 * UNIT..100 * UNIT]);
        assert!(prefill.next(NOW, &disk).is_none(), "nothing is filled before the log writes");
        assert!(prefill.before_write(NOW, token, write(&disk, 3 * UNIT - 4096, 2)).is_some());
        let first = prefill.next(NOW, &disk).unwrap();
        assert_eq!(place(&first), (4 * UNIT, UNIT), "units 2 and 3 have the log's data now");
        assert!(prefill.next(NOW, &disk).is_none(), "one at a time");
        assert!(prefill.before_write(NOW, token, write(&disk, 3 * UNIT + 4096, 1)).is_some());
        assert!(prefill.before_write(NOW, token, write(&disk, 4 * UNIT + 4096, 1)).is_none());
        let released = prefill.filled(first);
        assert_eq!((released.len(), released[0].0), (1, token));
        assert_eq!(place(&released[0].1).0, 4 * UNIT + 4096);
        let mut filled = Vec::new();
        while let Some(op) = prefill.next(NOW, &disk) {
            filled.push(place(&op).0 / UNIT);
            assert!(prefill.filled(op).is_empty());
        }
        assert_eq!(filled[..2], [5, 7]);
        assert_eq!(*filled.last().unwrap(), 4 + PREFILL_AHEAD as u64, "not further ahead than it should");
    }

    #[test]
    fn a_disk_without_holes_is_searched_once() {
        let disk = disk();
        let mut prefill = Prefill::new(1000 * UNIT, &[]);
        assert!(prefill.before_write(NOW, Token::new(1, 0, 7), write(&disk, 0, 64)).is_some());
        assert!(prefill.next(NOW + PREFILL_IDLE_AFTER, &disk).is_none());
        assert_eq!((prefill.next_hole, prefill.lowest_hole), (1000, 1000));
    }

    #[test]
    fn an_idle_disk_is_filled_as_far_ahead_as_the_log_has_come() {
        let (disk, token) = (disk(), Token::new(1, 0, 7));
        let mut prefill = Prefill::new(1000 * UNIT, &[0..20 * UNIT, 21 * UNIT..1000 * UNIT]);
        // 12 units in long writes, which ask for nothing just ahead of them.
        // One segment is left early: its tail, units 9 to 11, is not what comes next.
        for at in [0, 1, 2, 4] {
            let op = write(&disk, at * 3 * UNIT, 96);
            assert!(prefill.before_write(NOW, token, op).is_some());
        }
        assert!(prefill.next(NOW, &disk).is_none(), "it is busy");
        let idle = NOW + PREFILL_IDLE_AFTER;
        let mut filled = Vec::new();
        while let Some(op) = prefill.next(idle, &disk) {
            filled.push(place(&op));
            assert!(prefill.filled(op).is_empty());
        }
        assert_eq!(filled, [(15 * UNIT, 5 * UNIT), (21 * UNIT, 7 * UNIT)], "12 units, and not over data");
        assert!(prefill.before_write(idle, token, write(&disk, 0, 1)).is_some(), "the superblock's place");
        assert!(prefill.before_write(idle, token, write(&disk, 15 * UNIT, 64)).is_some());
        let late = idle + Duration::from_secs(1);
        let op = prefill.next(late, &disk).unwrap();
        assert_eq!(place(&op), (28 * UNIT, 4 * UNIT), "two came to be used, and two more were written");
        assert!(prefill.before_write(late, token, write(&disk, place(&op).0, 1)).is_none(), "held back");
    }
}
