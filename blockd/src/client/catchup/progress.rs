//! How far a run is, for whoever watches. Several runs (one a group) may share one.

use rt::clock::Instant;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes done of an estimated total. The total is what is known to be left plus, for chunks that were not
/// looked into yet, their full size: it shrinks as they are, and is never below what is done.
#[derive(Debug, Default)]
pub struct Progress {
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
    bytes_per_second: AtomicU64,
    finished_runs: AtomicU64,
}

/// [`Progress`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProgressSnapshot {
    pub done_bytes: u64,
    /// Never below `done_bytes`.
    pub total_bytes: u64,
    pub bytes_per_second: u64,
    /// Runs that ended well.
    pub finished_runs: u64,
}

impl Progress {
    pub fn snapshot(&self) -> ProgressSnapshot {
        // Done first: what is added between the two loads is added to neither or to the total.
        let done_bytes = self.done_bytes.load(Ordering::SeqCst);
        ProgressSnapshot {
            done_bytes,
            total_bytes: self.total_bytes.load(Ordering::SeqCst).max(done_bytes),
            bytes_per_second: self.bytes_per_second.load(Ordering::SeqCst),
            finished_runs: self.finished_runs.load(Ordering::SeqCst),
        }
    }
}

impl ProgressSnapshot {
    /// 0 to 100. 100 only when all that is known of is done; 0 while nothing is known.
    pub fn percent(&self) -> u8 {
        if self.total_bytes == 0 && self.finished_runs > 0 {
            return 100;
        }
        let percent = u128::from(self.done_bytes) * 100 / u128::from(self.total_bytes.max(1));
        u8::try_from(percent.min(100)).expect("at most 100")
    }

    /// Seconds left at the present rate, if there is one.
    pub fn seconds_left(&self) -> Option<u64> {
        (self.total_bytes - self.done_bytes).checked_div(self.bytes_per_second)
    }
}

/// One run's part of a [`Progress`]. What a run that ends early leaves undone is taken off the total.
#[derive(Debug)]
pub(crate) struct Share {
    progress: Arc<Progress>,
    done: u64,
    total: u64,
    began: Option<Instant>,
}

impl Share {
    pub fn new(progress: Arc<Progress>) -> Self {
        Self { progress, done: 0, total: 0, began: None }
    }

    /// There are so many bytes more to do than was known.
    pub fn expect(&mut self, bytes: u64) {
        self.total += bytes;
        self.progress.total_bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    /// So many bytes that were expected need not be done.
    pub fn spare(&mut self, bytes: u64) {
        let bytes = bytes.min(self.total - self.done);
        self.total -= bytes;
        self.progress.total_bytes.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// So many bytes that were expected are done.
    pub fn done(&mut self, now: Instant, bytes: u64) {
        let bytes = bytes.min(self.total - self.done);
        self.done += bytes;
        self.progress.done_bytes.fetch_add(bytes, Ordering::SeqCst);
        let began = *self.began.get_or_insert(now);
        let millis = u64::try_from(now.since(began).as_millis()).unwrap_or(u64::MAX);
        if let Some(rate) = self.done.saturating_mul(1000).checked_div(millis) {
            self.progress.bytes_per_second.store(rate, Ordering::SeqCst);
        }
    }

    /// The run has ended well.
    pub fn finish(&mut self) {
        self.spare(u64::MAX);
        self.progress.finished_runs.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.spare(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_passes_a_hundred_percent() {
        let progress = Arc::new(Progress::default());
        assert_eq!(progress.snapshot().percent(), 0);
        let mut first = Share::new(Arc::clone(&progress));
        first.expect(1000);
        first.done(Instant(1), 300);
        first.spare(900);
        assert_eq!(progress.snapshot().percent(), 100, "what is done stays in the total");
        first.expect(300);
        let mut second = Share::new(Arc::clone(&progress));
        second.expect(400);
        second.done(Instant(1), 100);
        second.done(Instant(1_000_000_001), 5000);
        let snapshot = progress.snapshot();
        assert_eq!((snapshot.done_bytes, snapshot.total_bytes, snapshot.percent()), (700, 1000, 70));
        assert_eq!((snapshot.bytes_per_second, snapshot.seconds_left()), (400, Some(0)));
        second.finish();
        drop(first);
        let snapshot = progress.snapshot();
        assert_eq!((snapshot.percent(), snapshot.finished_runs), (100, 1));
    }
}
