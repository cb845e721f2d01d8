//! Writes zeros ahead of the log where the disk's file is still holes.
//!
//! A direct write into a hole allocates blocks under the file system's exclusive lock, which io_uring must
//! leave to a worker thread: measured, a third less throughput and two more context switches a batch. So
//! holes a little ahead of where the log writes are filled first, with long writes. A file stays sparse
//! where the log has not come; a raw device has no holes and is left alone.

use crate::limits::{PREFILL_AHEAD, PREFILL_BYTES, PREFILL_FOR_BELOW};
use rt::buf::AlignedBuf;
use rt::ring::{Fd, Op, Token};
use std::ops::Range;

/// The state of the filling, one unit of [`PREFILL_BYTES`] at a time.
pub(super) struct Prefill {
    /// Per unit: nothing was ever written to it.
    holes: Vec<bool>,
    filling: Option<usize>,
    /// Units to look at next.
    window: Range<usize>,
    zeros: Option<AlignedBuf>,
    /// Writes to the unit being filled: they come after the zeros.
    held: Vec<(Token, Op)>,
}

impl Prefill {
    /// For a disk of `len_bytes` with these holes, in bytes.
    pub fn new(len_bytes: u64, holes: &[Range<u64>]) -> Self {
        let units = usize::try_from(len_bytes / PREFILL_BYTES).unwrap_or(0);
        let mut filler =
            Self { holes: vec![false; units], filling: None, window: 0..0, zeros: None, held: Vec::new() };
        for hole in holes {
            // Only units that are a hole as a whole: zeros must never go over anything.
            let whole = unit(hole.start.next_multiple_of(PREFILL_BYTES))..unit(hole.end);
            if let Some(units) = filler.holes.get_mut(whole) {
                units.fill(true);
            }
        }
        filler
    }

    /// A write is about to start. Gives it back if it may go to the device now; else it is kept until the
    /// zeros before it are there.
    pub fn before_write(&mut self, token: Token, op: Op) -> Option<(Token, Op)> {
        let Op::Write { buf, offset, .. } = &op else { return Some((token, op)) };
        let end = unit(offset + buf.len() as u64 + PREFILL_BYTES - 1).min(self.holes.len());
        let touched = unit(*offset).min(end)..end;
        self.holes[touched.clone()].fill(false);
        // Long writes pay the allocation once for many blocks; filling ahead of them would only double what
        // the device writes.
        let ahead = if buf.len() < PREFILL_FOR_BELOW { PREFILL_AHEAD } else { 0 };
        self.window = end..(end + ahead).min(self.holes.len());
        if self.filling.is_some_and(|filling| touched.contains(&filling)) {
            self.held.push((token, op));
            return None;
        }
        Some((token, op))
    }

    /// The next write of zeros, if one is due.
    pub fn next(&mut self, disk: &Fd) -> Option<Op> {
        if self.filling.is_some() {
            return None;
        }
        let next = self.window.find(|&unit| self.holes[unit])?;
        self.holes[next] = false;
        self.filling = Some(next);
        let len = usize::try_from(PREFILL_BYTES).expect("a unit fits in memory");
        let buf = self.zeros.take().unwrap_or_else(|| AlignedBuf::zeroed(len));
        Some(Op::Write { fd: Fd::clone(disk), buf, offset: next as u64 * PREFILL_BYTES })
    }

    /// The zeros are written, or could not be (the store's own write will tell). Gives the writes that
    /// waited for them.
    pub fn filled(&mut self, op: Op) -> Vec<(Token, Op)> {
        self.filling = None;
        if let Op::Write { buf, .. } = op {
            self.zeros = Some(buf);
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

    fn write(disk: &Fd, offset: u64, blocks: usize) -> Op {
        Op::Write { fd: Fd::clone(disk), buf: AlignedBuf::zeroed(blocks * 4096), offset }
    }

    fn offset(op: &Op) -> u64 {
        let Op::Write { offset, .. } = op else { panic!("only writes are made") };
        *offset
    }

    #[test]
    fn fills_only_whole_holes_ahead_of_the_log_and_never_under_a_write() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let disk: Fd = Arc::new(OwnedFd::from(null));
        let token = Token::new(1, 0, 7);
        let unit = PREFILL_BYTES;
        // Unit 1 is half data; 2 to 5 are holes; 6 is data; from 7 on all is a hole.
        let mut prefill = Prefill::new(100 * unit, &[unit + 4096..6 * unit, 7 * unit..100 * unit]);
        assert!(prefill.next(&disk).is_none(), "nothing is filled before the log writes");
        assert!(prefill.before_write(token, write(&disk, 3 * unit - 4096, 2)).is_some());
        let first = prefill.next(&disk).unwrap();
        assert_eq!(offset(&first), 4 * unit, "units 2 and 3 have the log's data now");
        assert!(prefill.next(&disk).is_none(), "one at a time");
        assert!(prefill.before_write(token, write(&disk, 3 * unit + 4096, 1)).is_some());
        assert!(prefill.before_write(token, write(&disk, 4 * unit + 4096, 1)).is_none());
        let released = prefill.filled(first);
        assert_eq!((released.len(), released[0].0), (1, token));
        assert_eq!(offset(&released[0].1), 4 * unit + 4096);
        let mut filled = Vec::new();
        while let Some(op) = prefill.next(&disk) {
            filled.push(offset(&op) / unit);
            assert!(prefill.filled(op).is_empty());
        }
        assert_eq!(filled[..2], [5, 7]);
        assert_eq!(*filled.last().unwrap(), 4 + PREFILL_AHEAD as u64, "not further ahead than it should");
    }
}
