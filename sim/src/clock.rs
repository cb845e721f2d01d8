//! Each process reads a clock of its own, which runs a little fast or slow and may jump.

use crate::rng::SimRng;
use rt::clock::Instant;

/// An hour, in nanoseconds.
pub const HOUR: u64 = 3_600_000_000_000;
/// How far a clock's rate may be off, in parts per million. Machines keep within 100; a bad day has more.
const MAX_SKEW_PPM: u64 = 1000;
const MILLION: u64 = 1_000_000;

/// A process's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct SimClock {
    /// What it shows at time 0, with all its jumps.
    base: u64,
    /// Nanoseconds it counts in a million.
    rate: u64,
}

impl SimClock {
    pub fn new(rng: &mut SimRng) -> Self {
        let base = 1_000_000_000 + rng.below(HOUR);
        Self { base, rate: MILLION - MAX_SKEW_PPM + rng.below(2 * MAX_SKEW_PPM) }
    }

    pub fn read(&self, now: u64) -> Instant {
        Instant(self.base + now / MILLION * self.rate + now % MILLION * self.rate / MILLION)
    }

    /// How long it takes until the clock shows at least `due`.
    pub fn wait(&self, now: u64, due: Instant) -> u64 {
        let left = due.0.saturating_sub(self.read(now).0);
        left / self.rate * MILLION + left % self.rate * MILLION / self.rate + 1
    }

    /// The machine slept for an hour, or somebody set its clock.
    pub fn jump(&mut self, by: u64) {
        self.base += by;
    }
}
