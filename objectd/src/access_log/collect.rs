//! Lines that wait to be delivered, by bucket and day; bounded as a whole.

use super::line::Line;
use crate::limits::{MAX_LOG_LINES_BYTES, MAX_LOGGING_BUCKETS};
use crate::metrics::{LogLines, Metrics};
use meta::query::BucketAccess;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::Notify;

const DAY_MS: u64 = 24 * 3_600_000;

/// A bucket whose requests are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub id: u64,
    pub owner: String,
}

/// Lines of a bucket and a day, which are one log object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pile {
    pub bucket: String,
    pub id: u64,
    pub day: u64,
    pub text: String,
    pub lines: u64,
}

impl Pile {
    /// A time within its day.
    pub fn event_ms(&self) -> u64 {
        self.day * DAY_MS
    }
}

#[derive(Debug, Default)]
struct Piles {
    /// By the bucket's id and the day.
    waiting: BTreeMap<(u64, u64), Pile>,
    bytes: usize,
}

/// What a gateway gathers.
#[derive(Debug)]
pub struct Collector {
    known: RwLock<HashMap<String, Known>>,
    piles: Mutex<Piles>,
    /// Told when enough waits to be delivered before its time.
    pub full: Notify,
    metrics: Metrics,
}

impl Collector {
    pub fn new(metrics: Metrics) -> Self {
        Self { known: RwLock::default(), piles: Mutex::default(), full: Notify::new(), metrics }
    }

    /// Notes whether a bucket logs, as every request learns of its bucket. So a request that is refused before its bucket
    /// is looked at has a line too, once another was at this gateway.
    pub fn note(&self, found: &BucketAccess) {
        let (name, known) = (&found.bucket.name, self.known(&found.bucket.name));
        let now = found.logs.then(|| Known { id: found.bucket.id, owner: found.bucket.owner.clone() });
        if known == now {
            return;
        }
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match now {
            Some(now) if all.len() < MAX_LOGGING_BUCKETS || known.is_some() => {
                all.insert(name.clone(), now);
            }
            Some(_) => self.metrics.log_lines(LogLines::NoRoom, 1),
            None => {
                all.remove(name);
            }
        }
    }

    /// Whether no bucket logs, as far as is known here.
    pub fn is_idle(&self) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub fn known(&self, bucket: &str) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(bucket).cloned()
    }

    /// Adds a line, unless there is no room for it.
    pub fn push(&self, id: u64, line: &Line) {
        let mut text = String::new();
        line.write(&mut text);
        let pile = Pile { bucket: line.bucket.clone(), id, day: line.time_ms / DAY_MS, text, lines: 1 };
        self.put(pile);
    }

    /// Puts lines that could not be delivered back, before those that came since.
    pub fn put_back(&self, pile: Pile) {
        self.put(pile);
    }

    fn put(&self, pile: Pile) {
        let mut piles = self.piles();
        if piles.bytes + pile.text.len() > MAX_LOG_LINES_BYTES {
            drop(piles);
            self.metrics.log_lines(LogLines::NoRoom, pile.lines);
            self.full.notify_one();
            return;
        }
        piles.bytes += pile.text.len();
        match piles.waiting.get_mut(&(pile.id, pile.day)) {
            Some(there) => {
                there.lines += pile.lines;
                there.text.push_str(&pile.text);
            }
            None => {
                piles.waiting.insert((pile.id, pile.day), pile);
            }
        }
        self.metrics.log_waiting(piles.bytes);
        if piles.bytes > MAX_LOG_LINES_BYTES / 2 {
            self.full.notify_one();
        }
    }

    /// All that waits.
    pub fn take(&self) -> Vec<Pile> {
        let taken = std::mem::take(&mut *self.piles());
        self.metrics.log_waiting(0);
        taken.waiting.into_values().collect()
    }

    fn piles(&self) -> MutexGuard<'_, Piles> {
        self.piles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;

    fn line(bucket: &str, time_ms: u64, agent: usize) -> Line {
        Line { bucket: bucket.into(), time_ms, agent: Some("a".repeat(agent)), ..Line::default() }
    }

    #[test]
    fn lines_gather_by_bucket_and_day_and_are_bounded() {
        let collector = Collector::new(Metrics::register(&mut Registry::default()));
        collector.push(1, &line("a", 5, 1));
        collector.push(1, &line("a", 6, 1));
        collector.push(1, &line("a", DAY_MS, 1));
        collector.push(2, &line("b", 5, 1));
        let taken = collector.take();
        let shape: Vec<_> = taken.iter().map(|pile| (pile.bucket.as_str(), pile.day, pile.lines)).collect();
        assert_eq!(shape, [("a", 0, 2), ("a", 1, 1), ("b", 0, 1)]);
        assert_eq!(taken[0].text.lines().count(), 2);
        assert!(collector.take().is_empty());
        for pile in &taken {
            collector.put_back(pile.clone());
        }
        assert_eq!(collector.take(), taken);
        for _ in 0..3 {
            collector.push(1, &line("a", 5, MAX_LOG_LINES_BYTES / 2 - 1000));
        }
        let kept = collector.take();
        assert_eq!((kept.len(), kept[0].lines), (1, 2), "the third had no room");
        collector.push(1, &line("a", 5, 1));
        assert_eq!(collector.take().len(), 1);
    }
}
