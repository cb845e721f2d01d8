//! How far the log's addresses are settled: below the mark nothing is on its way any more, whatever becomes of it. A check
//! of what the log holds may call an orphan there what nothing names. Addresses only go up, so the mark stays true.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The addresses at which bodies on their way begin, and where the next one will.
#[derive(Debug, Default)]
pub struct Holds(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// `None` before anything was handed out.
    next: Option<u64>,
    held: BTreeMap<u64, u32>,
}

impl Holds {
    /// Holds the mark at `start`, from which on addresses were just handed out up to `next`.
    pub fn hold(self: &Arc<Self>, start: u64, next: u64) -> Hold {
        let mut state = self.lock();
        state.next = Some(next);
        *state.held.entry(start).or_insert(0) += 1;
        Hold { holds: Arc::clone(self), start }
    }

    /// Addresses from `next` on were handed back.
    pub fn taken_back(&self, next: u64) {
        self.lock().next = Some(next);
    }

    /// Below this everything is settled; unknown before anything was handed out.
    pub fn settled(&self) -> Option<u64> {
        let state = self.lock();
        let next = state.next?;
        Some(state.held.first_key_value().map_or(next, |(&start, _)| start.min(next)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds the mark until it is dropped: when a body is named, or off the log again.
#[derive(Debug)]
pub struct Hold {
    holds: Arc<Holds>,
    start: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.holds.lock();
        if let Some(count) = state.held.get_mut(&self.start) {
            *count -= 1;
            if *count == 0 {
                state.held.remove(&self.start);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_below_all_that_is_on_its_way() {
        let holds = Arc::new(Holds::default());
        assert_eq!(holds.settled(), None);
        let first = holds.hold(100, 200);
        let second = holds.hold(200, 300);
        assert_eq!(holds.settled(), Some(100));
        drop(first);
        assert_eq!(holds.settled(), Some(200));
        // The end of the run goes back, and is handed out again.
        holds.taken_back(250);
        let again = holds.hold(250, 260);
        drop(second);
        assert_eq!(holds.settled(), Some(250));
        drop(again);
        assert_eq!(holds.settled(), Some(260));
    }
}
