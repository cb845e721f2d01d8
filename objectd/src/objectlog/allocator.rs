//! Hands out the log's address space, from ranges that the control plane reserved for this writer.
//!
//! Addresses go up only and are never used twice: a block that is trimmed late, or a reader that is late,
//! can then never meet another object's bytes. The space is 8 PiB and thin, so holes cost nothing.

use proto::units::BLOCK_BYTES;
use std::ops::Range;

/// What is left of the newest reservation. All ranges are in bytes, of whole blocks.
#[derive(Debug, Default)]
pub struct Allocator {
    free: Range<u64>,
}

impl Allocator {
    /// Goes on with a new reservation. What was left of the last one stays unused.
    pub fn grant(&mut self, reserved: Range<u64>) {
        assert!(
            reserved.start.is_multiple_of(BLOCK_BYTES) && reserved.end.is_multiple_of(BLOCK_BYTES),
            "reservations are of whole blocks"
        );
        self.free = if self.free.end == reserved.start && !self.free.is_empty() {
            self.free.start..reserved.end
        } else {
            reserved
        };
    }

    /// Up to `len` bytes in one run, rounded up to blocks; less if the reservation ends before, `None` if
    /// nothing is left of it.
    pub fn take(&mut self, len: u64) -> Option<Range<u64>> {
        let end = self.free.start.saturating_add(len.next_multiple_of(BLOCK_BYTES)).min(self.free.end);
        let taken = self.free.start..end;
        self.free.start = end;
        (!taken.is_empty()).then_some(taken)
    }

    /// Where the next run begins, unless another reservation comes before it.
    pub fn next(&self) -> u64 {
        self.free.start
    }

    /// Takes back the end of the run that was handed out last, if nobody wrote to it and nothing was handed
    /// out since. Otherwise it stays unused.
    pub fn give_back(&mut self, unused: Range<u64>) {
        if unused.end == self.free.start && unused.start.is_multiple_of(BLOCK_BYTES) && !unused.is_empty() {
            self.free.start = unused.start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_are_whole_blocks_and_end_with_the_reservation() {
        let mut allocator = Allocator::default();
        assert_eq!(allocator.take(1), None);
        allocator.grant(8192..20480);
        assert_eq!(allocator.take(1), Some(8192..12288));
        assert_eq!(allocator.take(100_000), Some(12288..20480));
        assert_eq!(allocator.take(1), None);
        allocator.grant(20480..24576);
        assert_eq!(allocator.take(4096), Some(20480..24576));
    }

    #[test]
    fn only_the_newest_tail_comes_back() {
        let mut allocator = Allocator::default();
        allocator.grant(0..40960);
        let first = allocator.take(8192).unwrap();
        let second = allocator.take(8192).unwrap();
        allocator.give_back(4096..first.end);
        assert_eq!(allocator.take(4096), Some(16384..20480));
        allocator.give_back(second.end..20480);
        assert_eq!(allocator.take(4096), Some(16384..20480));
    }

    proptest! {
        #[test]
        fn nothing_is_handed_out_twice(lens in proptest::collection::vec((1u64..3_000_000, 0u64..4), 1..200)) {
            let mut allocator = Allocator::default();
            let mut reserved = 0;
            let mut last_used_end = 0;
            for (len, back) in lens {
                let run = loop {
                    match allocator.take(len) {
                        Some(run) => break run,
                        None => {
                            allocator.grant(reserved..reserved + (1 << 20));
                            reserved += 1 << 20;
                        }
                    }
                };
                prop_assert!(run.start >= last_used_end && run.end <= reserved);
                prop_assert!(run.end - run.start <= len.next_multiple_of(BLOCK_BYTES));
                // Some of the run's end is not written and goes back.
                let used_end = run.end.saturating_sub(back * BLOCK_BYTES).max(run.start + BLOCK_BYTES);
                allocator.give_back(used_end..run.end);
                last_used_end = used_end;
            }
        }
    }
}
