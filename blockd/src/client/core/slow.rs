//! Members that answer, but far later than the others: every write waits for them.
//!
//! All members are asked the same writes and flushes, so their answers can be compared: over a window, each
//! member's mean is held against the middle one of the others. Who is far above it, and above what any disk may
//! take, for several windows in a row is reported; it leaves the groups in which enough members stay. Where all
//! are slow alike, as when the network or this machine is, nobody is. (Reads go to one member only and say
//! nothing of the rest.) One whose queue grows so long that a request waits too long, though it answers others,
//! is slow at once.

use super::VolumeCore;
use crate::limits::{
    CORE_LIVELY, CORE_REQUEST_TIMEOUT, CORE_SLOW_ANSWERS, CORE_SLOW_FACTOR, CORE_SLOW_FLOOR,
    CORE_SLOW_WINDOW, CORE_SLOW_WINDOWS,
};
use rt::clock::Instant;
use std::time::Duration;

/// How fast one member answers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// In the present window.
    answers: u32,
    waited: Duration,
    /// Windows in a row in which it was slow, and its mean in the last of them.
    slow_windows: u32,
    slow_mean: Duration,
    /// When it acked last, and whether its connection was dropped for a request that it left unanswered for too
    /// long while it answered others.
    last_ack: Option<Instant>,
    is_late: bool,
}

impl Pace {
    pub fn is_slow(&self) -> bool {
        self.slow_windows >= CORE_SLOW_WINDOWS
    }

    /// It left a request unanswered for too long. If it was answering others, it is not gone.
    pub fn note_late(&mut self, now: Instant) {
        self.is_late = self.last_ack.is_some_and(|at| at + CORE_LIVELY > now);
    }

    pub fn is_late(&self) -> bool {
        self.is_late
    }

    /// It is there again.
    pub fn came_up(&mut self) {
        self.is_late = false;
    }

    /// What is wrong with it, in words.
    pub fn complaint(&self) -> String {
        if self.is_late {
            return format!(
                "it has more to write than it can: a request waited for more than {} s while it answered others",
                CORE_REQUEST_TIMEOUT.as_secs()
            );
        }
        let (mean_ms, seconds) =
            (self.slow_mean.as_millis(), (CORE_SLOW_WINDOW * CORE_SLOW_WINDOWS).as_secs());
        format!(
            "writes took it {mean_ms} ms on average for {seconds} s, at least {CORE_SLOW_FACTOR} times as long as \
             the other replicas"
        )
    }

    /// `None` if there were too few answers to say anything.
    fn mean(&self) -> Option<Duration> {
        (self.answers >= CORE_SLOW_ANSWERS).then(|| self.waited / self.answers)
    }
}

impl VolumeCore {
    /// A member acked a write or flush, asked at that time.
    pub(super) fn note_pace(&mut self, number: usize, sent_at: Instant) {
        if !self.is_serving() {
            return;
        }
        let pace = &mut self.peers[number].pace;
        pace.last_ack = Some(self.now);
        pace.answers += 1;
        pace.waited += self.now.since(sent_at);
        let end = self.now + CORE_SLOW_WINDOW;
        self.pace_due.get_or_insert(end);
    }

    pub(super) fn pace_deadline(&self) -> Option<Instant> {
        self.pace_due.filter(|_| self.is_serving())
    }

    /// Nothing that was measured until now says anything.
    pub(super) fn forget_paces(&mut self) {
        self.pace_due = None;
        self.peers.iter_mut().for_each(|peer| peer.pace = Pace::default());
    }

    pub(super) fn tick_pace(&mut self) {
        if self.pace_deadline().is_none_or(|due| due > self.now) {
            return;
        }
        self.pace_due = None;
        let counts = self.map.in_sync_peers();
        let means: Vec<Option<Duration>> = self
            .peers
            .iter()
            .zip(counts)
            .map(|(peer, counts)| peer.pace.mean().filter(|_| counts && peer.is_up() && !peer.is_faulty))
            .collect();
        for (number, mean) in means.iter().enumerate() {
            let pace = &mut self.peers[number].pace;
            (pace.answers, pace.waited) = (0, Duration::ZERO);
            let Some(mean) = *mean else { continue };
            let mut others: Vec<Duration> = means
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != number)
                .filter_map(|(_, m)| *m)
                .collect();
            others.sort_unstable();
            // The slower one of two: where two of three are slow, neither of them is the exception.
            let usual = others.get(others.len() / 2);
            let is_slow =
                mean >= CORE_SLOW_FLOOR && usual.is_some_and(|usual| mean >= *usual * CORE_SLOW_FACTOR);
            pace.slow_windows = if is_slow { pace.slow_windows + 1 } else { 0 };
            pace.slow_mean = mean;
        }
        if self.peers.iter().any(|peer| peer.pace.is_slow()) {
            self.consult_at(self.now);
        }
    }
}
