//! What a keeper does about a disk that writers found slow: it leaves it alone for a while, and then tries again.
//!
//! The time is counted here, by a monotonic clock: the control plane only remembers how often it happened. A keeper
//! that starts again counts from its start.

use crate::limits::SLOW_LOOK;
use meta::MetaError;
use meta::client::Client;
use meta::command::Pardon;
use meta::limits::SLOW_FORGET_MS;
use meta::record::SlowRecord;
use proto::ids::DiskId;
use rt::clock::Instant;
use std::time::Duration;

/// How one disk stands, as last heard.
#[derive(Debug, Default)]
pub struct Slowness {
    /// What is known, and since when.
    known: Option<(SlowRecord, Instant)>,
    next_look: Instant,
}

impl Slowness {
    /// Whether the disk is kept out of its groups now. Asked each time that it matters, and now and then.
    pub async fn is_held(
        &mut self,
        meta: &Client,
        disk: DiskId,
        now: Instant,
        matters: bool,
    ) -> Result<bool, MetaError> {
        if !matters && now < self.next_look {
            return Ok(false);
        }
        self.next_look = now + SLOW_LOOK;
        let found = meta.slow_disks().await?.into_iter().find(|slow| slow.disk == disk);
        let Some((slow, pardon)) = self.judge(found, now) else {
            return Ok(self.known.as_ref().is_some_and(|(slow, _)| slow.held));
        };
        tracing::info!(%disk, strikes = slow.strikes, ?pardon, "a disk that was slow has had its time");
        meta.pardon_disk(disk, slow.strikes, pardon).await?;
        self.known = None;
        Ok(false)
    }

    /// Takes in what the control plane says; what the control plane is to be told, if it is time.
    fn judge(&mut self, found: Option<SlowRecord>, now: Instant) -> Option<(SlowRecord, Pardon)> {
        let Some(slow) = found else {
            self.known = None;
            return None;
        };
        let same = |known: &SlowRecord| (known.strikes, known.held) == (slow.strikes, slow.held);
        let since = match &self.known {
            Some((known, since)) if same(known) => *since,
            _ => now,
        };
        self.known = Some((slow.clone(), since));
        let (wait_ms, pardon) =
            if slow.held { (slow.pause_ms(), Pardon::TryAgain) } else { (SLOW_FORGET_MS, Pardon::Forget) };
        (since + Duration::from_millis(wait_ms) <= now).then_some((slow, pardon))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta::limits::SLOW_PAUSE_MS;

    fn slow(strikes: u32, held: bool) -> Option<SlowRecord> {
        Some(SlowRecord { disk: DiskId([1; 16]), strikes, held, why: String::new() })
    }

    fn after(ms: u64) -> Instant {
        Instant(1) + Duration::from_millis(ms)
    }

    #[test]
    fn a_slow_disk_waits_longer_each_time_and_is_forgiven_after_a_quiet_day() {
        let mut slowness = Slowness::default();
        let mut told = |found, ms| slowness.judge(found, after(ms)).map(|(_, pardon)| pardon);
        assert_eq!(told(slow(1, true), 0), None);
        assert_eq!(told(slow(1, true), SLOW_PAUSE_MS - 1), None);
        assert_eq!(told(slow(1, true), SLOW_PAUSE_MS), Some(Pardon::TryAgain));
        // Again, at another time: twice as long, counted from then.
        let again = 10 * SLOW_PAUSE_MS;
        assert_eq!(told(slow(2, true), again), None);
        assert_eq!(told(slow(2, true), again + 2 * SLOW_PAUSE_MS - 1), None);
        assert_eq!(told(slow(2, true), again + 2 * SLOW_PAUSE_MS), Some(Pardon::TryAgain));
        let quiet = 20 * SLOW_PAUSE_MS;
        assert_eq!(told(slow(2, false), quiet), None);
        assert_eq!(told(slow(2, false), quiet + SLOW_FORGET_MS - 1), None);
        assert_eq!(told(slow(2, false), quiet + SLOW_FORGET_MS), Some(Pardon::Forget));
        assert_eq!(told(None, quiet), None);
        let longest = SlowRecord { strikes: 1000, ..slow(1, true).unwrap() }.pause_ms();
        assert!(longest > 4 * 3_600_000 && longest < 5 * 3_600_000);
    }
}
