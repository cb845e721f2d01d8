//! Whether a thread looks for completions for a moment before it sleeps.
//!
//! To wake a thread on an idle processor takes an interrupt there, on virtual machines with an exit or two: more
//! than a 4 KiB write takes on its disk. Between requests that come one by one that was most of the time. So a
//! thread that waits shortly and has little to do each time looks again and again for a moment, which also spares
//! those who would wake it. One that once waits longer sleeps at once the next time, so that at rest nobody
//! looks. Nor does one that is given much at once: then others have work too, and looking would keep them from it.

use crate::clock::Instant;
use crate::limits::{CONTENDED, POLL, SHORT_TURN};

#[derive(Debug, Default)]
pub(super) struct Polling {
    /// The last wait was short.
    was_short: bool,
    /// When it ended.
    ended: Instant,
}

/// One wait, from before its first look.
pub(super) struct Wait {
    began: Instant,
    looked: Instant,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Look,
    Sleep,
}

impl Polling {
    /// Begins a wait; says whether to look before sleeping.
    pub fn begin(&self, now: Instant) -> (Wait, Next) {
        let is_worth = self.was_short && now.since(self.ended) <= SHORT_TURN;
        (Wait { began: now, looked: now }, if is_worth { Next::Look } else { Next::Sleep })
    }

    /// A wait is over.
    pub fn end(&mut self, wait: &Wait, now: Instant) {
        self.was_short = now.since(wait.began) <= 2 * POLL;
        self.ended = now;
    }
}

impl Wait {
    /// A look found nothing, and the processor was offered to others since.
    pub fn looked(&mut self, now: Instant) -> Next {
        let others = now.since(self.looked);
        self.looked = now;
        if others <= CONTENDED && now.since(self.began) < POLL { Next::Look } else { Next::Sleep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MOMENT: Duration = Duration::from_micros(5);

    struct Thread {
        polling: Polling,
        now: Instant,
    }

    impl Thread {
        fn new() -> Self {
            Self { polling: Polling::default(), now: Instant(1_000_000_000) }
        }

        /// Works for `turn`, then waits for `len`, looking every moment while it is told to; how often it looked.
        fn turn(&mut self, turn: Duration, len: Duration) -> u32 {
            self.now = self.now + turn;
            let (mut wait, mut next) = self.polling.begin(self.now);
            let end = self.now + len;
            let mut looks = 0;
            while next == Next::Look && self.now < end {
                self.now = self.now + MOMENT;
                looks += 1;
                next = wait.looked(self.now);
            }
            self.now = end;
            self.polling.end(&wait, end);
            looks
        }
    }

    #[test]
    fn at_rest_nobody_looks() {
        let mut thread = Thread::new();
        for _ in 0..10 {
            assert_eq!(thread.turn(MOMENT, 100 * POLL), 0);
        }
    }

    #[test]
    fn a_thread_that_is_given_little_looks_until_it_once_sleeps_long() {
        let mut thread = Thread::new();
        assert_eq!(thread.turn(MOMENT, POLL / 2), 0);
        assert!(thread.turn(MOMENT, POLL / 2) > 0);
        // A little too late for the looks: worth it still.
        assert!(thread.turn(MOMENT, POLL + MOMENT) > 0);
        let most = thread.turn(MOMENT, 3 * POLL);
        assert!(most > 0 && MOMENT * most <= POLL, "{most} looks");
        assert_eq!(thread.turn(MOMENT, POLL / 2), 0);
    }

    #[test]
    fn a_thread_that_is_given_much_at_once_sleeps() {
        let mut thread = Thread::new();
        thread.turn(MOMENT, MOMENT);
        assert_eq!(thread.turn(SHORT_TURN + MOMENT, MOMENT), 0);
        assert_eq!(thread.turn(MOMENT, MOMENT), 1);
    }

    #[test]
    fn a_processor_that_others_want_is_left_to_them() {
        let mut thread = Thread::new();
        thread.turn(MOMENT, MOMENT);
        let (mut wait, next) = thread.polling.begin(thread.now + MOMENT);
        assert_eq!(next, Next::Look);
        assert_eq!(wait.looked(thread.now + CONTENDED + MOMENT + MOMENT), Next::Sleep);
    }
}
