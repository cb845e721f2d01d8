//! What a chunk of an object log holds against what should be there. Pure.

use proto::Version;
use proto::message::{ListEntry, ListKind};
use proto::units::{BLOCK_BYTES, BLOCKS_PER_CHUNK, CHUNK_BYTES};
use std::ops::Range;

const NAMED: u8 = 1;
const GARBAGE: u8 = 2;

/// A log's marks as they were before its chunks were looked at, in bytes. None of what is said by them ever changes back.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    /// Below, what nothing names was trimmed.
    pub swept: u64,
    /// Below, nothing can come to be named: it will be swept when its gateway starts, if it wasn't.
    pub sealed: u64,
    /// Below, nothing is on its way. Not below `sealed`.
    pub settled: u64,
}

/// One chunk, block by block. Ranges are in bytes of the log.
pub struct ChunkBlocks {
    start: u64,
    /// The newest that any member in sync knows of each block.
    newest: Vec<(Version, ListKind)>,
    claims: Vec<u8>,
}

/// What is to be said of a chunk, in blocks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub held: u64,
    /// Garbage that was not trimmed yet, and what the next sweep takes.
    pub waiting: u64,
    /// Too new to be judged.
    pub in_flight: u64,
    /// Held, and named by nothing.
    pub orphans: Vec<Range<u64>>,
    /// Named, and not held.
    pub missing: Vec<Range<u64>>,
}

impl ChunkBlocks {
    pub fn new(chunk: u32) -> Self {
        let blocks = BLOCKS_PER_CHUNK as usize;
        let start = u64::from(chunk) * CHUNK_BYTES;
        Self { start, newest: vec![(Version::ZERO, ListKind::Trimmed); blocks], claims: vec![0; blocks] }
    }

    /// Takes in what one member holds.
    pub fn member(&mut self, entries: &[ListEntry]) {
        for entry in entries {
            let (first, count) = (usize::from(entry.first), usize::from(entry.count));
            for known in self.newest.iter_mut().skip(first).take(count) {
                // Of equal versions both are of one write.
                if entry.version > known.0 {
                    *known = (entry.version, entry.kind);
                }
            }
        }
    }

    pub fn named(&mut self, range: &Range<u64>) {
        self.claim(range, NAMED);
    }

    pub fn garbage(&mut self, range: &Range<u64>) {
        self.claim(range, GARBAGE);
    }

    fn claim(&mut self, range: &Range<u64>, mark: u8) {
        let first = range.start.saturating_sub(self.start) / BLOCK_BYTES;
        let end = range.end.saturating_sub(self.start).div_ceil(BLOCK_BYTES);
        let (first, end) = (first.min(self.claims.len() as u64), end.min(self.claims.len() as u64));
        for at in first..end {
            if let Some(claim) = usize::try_from(at).ok().and_then(|at| self.claims.get_mut(at)) {
                *claim |= mark;
            }
        }
    }

    pub fn judge(&self, marks: Marks) -> Verdict {
        let mut verdict = Verdict::default();
        let mut at = self.start;
        for ((version, kind), claim) in self.newest.iter().zip(&self.claims) {
            let block = at..at + BLOCK_BYTES;
            at = block.end;
            let is_held = *version > Version::ZERO && *kind == ListKind::Data;
            verdict.held += u64::from(is_held);
            if claim & NAMED != 0 {
                if !is_held {
                    add(&mut verdict.missing, block);
                }
            } else if is_held {
                let to_be_swept = (marks.swept..marks.sealed).contains(&block.start);
                if claim & GARBAGE != 0 || to_be_swept {
                    verdict.waiting += 1;
                } else if block.start >= marks.settled {
                    verdict.in_flight += 1;
                } else {
                    add(&mut verdict.orphans, block);
                }
            }
        }
        verdict
    }
}

/// Adds a range behind those that are there.
pub fn add(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

/// What is in both; each is in order and doesn't overlap itself.
pub fn both(a: &[Range<u64>], b: &[Range<u64>]) -> Vec<Range<u64>> {
    let (mut common, mut a, mut b) = (Vec::new(), a.iter().peekable(), b.iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        let range = x.start.max(y.start)..x.end.min(y.end);
        if x.end <= y.end {
            a.next();
        } else {
            b.next();
        }
        if !range.is_empty() {
            add(&mut common, range);
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ChunkIndex;

    const B: u64 = BLOCK_BYTES;

    fn run(first: u16, count: u16, version: u64, kind: ListKind) -> ListEntry {
        ListEntry { chunk: ChunkIndex(1), first, count, version: Version(version), kind }
    }

    fn at(blocks: Range<u64>) -> Range<u64> {
        CHUNK_BYTES + blocks.start * B..CHUNK_BYTES + blocks.end * B
    }

    #[test]
    fn every_block_is_what_its_claims_and_the_marks_make_of_it() {
        use ListKind::{Data, Trimmed};
        let mut chunk = ChunkBlocks::new(1);
        // Two members: the higher version says what is there.
        chunk.member(&[run(0, 100, 5, Data), run(200, 10, 5, Data)]);
        chunk.member(&[run(0, 90, 5, Data), run(90, 10, 6, Trimmed), run(300, 1, 7, Trimmed)]);
        chunk.named(&at(0..10));
        chunk.named(&(at(199..201).start + 5..at(199..201).end - 5));
        chunk.named(&at(300..301));
        chunk.garbage(&at(5..20));
        chunk.garbage(&at(500..600));
        let verdict = |swept: u64, sealed: u64, settled: u64| {
            let mark = |block: u64| at(block..block).start;
            chunk.judge(Marks { swept: mark(swept), sealed: mark(sealed), settled: mark(settled) })
        };
        // All is settled: what isn't named nor garbage is an orphan.
        let all = verdict(1024, 1024, 1024);
        assert_eq!((all.held, all.waiting, all.in_flight), (100, 10, 0));
        assert_eq!(all.orphans, [at(20..90), at(201..210)]);
        assert_eq!(all.missing, [at(199..200), at(300..301)]);
        // What is to be swept waits; what is new may be on its way.
        let some = verdict(30, 50, 80);
        assert_eq!((some.waiting, some.in_flight), (10 + 20, 10 + 9));
        assert_eq!(some.orphans, [at(20..30), at(50..80)]);
        assert_eq!(some.missing, all.missing);
    }

    #[test]
    fn claims_that_reach_over_a_chunk_are_cut_to_it() {
        let mut chunk = ChunkBlocks::new(1);
        chunk.member(&[run(0, 1024, 5, ListKind::Data)]);
        chunk.named(&(0..at(1..1).start));
        chunk.named(&(at(1023..1023).start..u64::MAX));
        chunk.named(&(0..CHUNK_BYTES));
        chunk.garbage(&(2 * CHUNK_BYTES..3 * CHUNK_BYTES));
        let marks = Marks { swept: u64::MAX, sealed: u64::MAX, settled: u64::MAX };
        assert_eq!(chunk.judge(marks).orphans, [at(1..1023)]);
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "lists of one range are what is tested")]
    fn what_two_looks_agree_on() {
        assert_eq!(both(&[0..10, 20..30], &[5..25, 28..40]), [5..10, 20..25, 28..30]);
        assert_eq!(both(&[0..10], &[]), []);
        assert_eq!(both(&[0..10], &[0..4, 4..10]), [0..10]);
    }
}
