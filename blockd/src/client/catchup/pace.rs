//! How fast catch-up and scrub may go, so that guests feel little of them.

use super::limits::PACE_BURST;
use rt::clock::Instant;
use std::time::Duration;

/// Bytes a second that a run may read. [`Pace::UNLIMITED`] leaves it to the window of what is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub bytes_per_second: u64,
}

impl Pace {
    pub const UNLIMITED: Pace = Pace { bytes_per_second: 0 };
}

/// Counts what was sent against what the pace allows.
#[derive(Debug)]
pub(crate) struct Meter {
    pace: Pace,
    /// From then on something more may be sent.
    free_at: Instant,
}

impl Meter {
    pub fn new(pace: Pace) -> Self {
        Self { pace, free_at: Instant(0) }
    }

    pub fn is_free(&self, now: Instant) -> bool {
        self.free_at <= now
    }

    /// When [`is_free`](Self::is_free) will be true.
    pub fn free_at(&self) -> Instant {
        self.free_at
    }

    /// `bytes` are sent now.
    pub fn spend(&mut self, now: Instant, bytes: u64) {
        let Some(nanos) = (u128::from(bytes) * 1_000_000_000).checked_div(self.pace.bytes_per_second.into())
        else {
            return;
        };
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let burst = u64::try_from(PACE_BURST.as_nanos()).unwrap_or(0);
        let from = self.free_at.max(Instant(now.0.saturating_sub(burst)));
        self.free_at = from + cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paced_run_sends_what_it_may_and_no_more() {
        let mut meter = Meter::new(Pace { bytes_per_second: 1 << 20 });
        let (mut now, mut sent) = (Instant(1_000_000_000), 0u64);
        while now < Instant(11_000_000_000) {
            if meter.is_free(now) {
                meter.spend(now, 1 << 16);
                sent += 1 << 16;
            }
            now = now + Duration::from_millis(1);
        }
        // Ten seconds, the burst of a tenth and one request.
        assert!((10 << 20..(10 << 20) + (1 << 20) / 10 + (1 << 16) + 1).contains(&sent), "{sent}");
        let mut free = Meter::new(Pace::UNLIMITED);
        free.spend(now, u64::MAX);
        assert!(free.is_free(now));
    }
}
