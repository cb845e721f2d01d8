//! What clients at work are told from outside: whether what they do counts, and as what.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Nothing counts: warming up, or between two counts.
    Idle,
    /// Operations, bytes and latencies.
    Count,
    /// Operations alone, while something else is counted.
    CountOnly,
    End,
}

/// The present phase, as all clients of a side see it.
#[derive(Debug)]
pub struct Signal {
    phase: AtomicU8,
    counted_only: AtomicU64,
}

impl Signal {
    pub fn new(phase: Phase) -> Self {
        Self { phase: AtomicU8::new(phase as u8), counted_only: AtomicU64::new(0) }
    }

    pub fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    pub fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    /// An operation ended in [`Phase::CountOnly`].
    pub fn count_one(&self) {
        self.counted_only.fetch_add(1, Ordering::Relaxed);
    }

    /// Operations that ended in [`Phase::CountOnly`].
    pub fn counted_only(&self) -> u64 {
        self.counted_only.load(Ordering::SeqCst)
    }
}
