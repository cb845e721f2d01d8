//! How much memory bodies on their way to and from the log may take, of a whole gateway.
//!
//! Few bodies may take what makes them fast, and many get by with little: each has an allowance of its own, small and
//! always there, and besides it takes from one budget that all share. Nobody waits for the budget: what a client that
//! sends or reads slowly holds of it is back whenever that client likes. A body waits only for its own allowance, which
//! its own pieces give back, so bodies can't block each other. And a body never holds more of the budget than it leaves
//! to the others: so those who came first can't take all of it, and who comes later still finds some.

use crate::limits::{OWN_PIECE_BYTES, OWN_PIECES, PIECE_BYTES, SHARED_PIECE_BYTES};
use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// What all bodies share.
#[derive(Debug)]
pub struct Budget {
    free: AtomicUsize,
    /// Bytes that they hold of it, and of their own.
    held: Gauge,
}

impl Budget {
    /// `held` tells how much is held.
    pub fn new(held: Gauge) -> Self {
        Self { free: AtomicUsize::new(SHARED_PIECE_BYTES), held }
    }
}

/// What one body may hold. Clones share it.
#[derive(Debug, Clone)]
pub struct Allowance(Arc<Body>);

#[derive(Debug)]
struct Body {
    budget: Arc<Budget>,
    /// What it holds of the budget.
    shared: AtomicUsize,
    /// Pieces of its own that are free.
    own: Semaphore,
}

impl Allowance {
    pub fn new(budget: &Arc<Budget>) -> Self {
        let budget = Arc::clone(budget);
        Self(Arc::new(Body { budget, shared: AtomicUsize::new(0), own: Semaphore::new(OWN_PIECES) }))
    }

    /// Room for a piece of `wanted` bytes, or for a smaller one. Waits for the body's own pieces if need be; a body has
    /// one task that asks.
    pub async fn room(&self, wanted: usize) -> Room {
        let wanted = wanted.min(PIECE_BYTES);
        if wanted > OWN_PIECE_BYTES && self.0.take_shared(wanted) {
            return self.hold(wanted, Taken::Shared);
        }
        self.0.own.acquire().await.expect("nobody closes it").forget();
        self.hold(wanted.min(OWN_PIECE_BYTES), Taken::Own)
    }

    fn hold(&self, bytes: usize, taken: Taken) -> Room {
        self.0.budget.held.inc_by(gauged(bytes));
        Room { bytes, taken, body: Arc::clone(&self.0) }
    }
}

impl Body {
    fn take_shared(&self, bytes: usize) -> bool {
        let held = self.shared.load(Ordering::Relaxed) + bytes;
        let taken = self.budget.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
            free.checked_sub(bytes).filter(|&left| held <= left)
        });
        if taken.is_ok() {
            self.shared.fetch_add(bytes, Ordering::Relaxed);
        }
        taken.is_ok()
    }
}

/// Room for one piece; free again when it is dropped.
#[derive(Debug)]
pub struct Room {
    bytes: usize,
    taken: Taken,
    body: Arc<Body>,
}

/// Where room was taken from.
#[derive(Debug, Clone, Copy)]
enum Taken {
    Shared,
    Own,
}

impl Room {
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Body { budget, shared, own } = &*self.body;
        budget.held.dec_by(gauged(self.bytes));
        match self.taken {
            Taken::Own => own.add_permits(1),
            Taken::Shared => {
                shared.fetch_sub(self.bytes, Ordering::Relaxed);
                budget.free.fetch_add(self.bytes, Ordering::Relaxed);
            }
        }
    }
}

fn gauged(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("a piece is short")
}

/// Data that holds its room until its last handle is gone. `R` is a [`Room`], or an `Arc` of one for data in parts.
pub fn housed<R: Send + 'static>(data: Bytes, room: R) -> Bytes {
    struct Housed<R> {
        data: Bytes,
        _room: R,
    }
    impl<R> AsRef<[u8]> for Housed<R> {
        fn as_ref(&self) -> &[u8] {
            &self.data
        }
    }
    Bytes::from_owner(Housed { data, _room: room })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    /// Takes pieces until it would have to wait.
    fn fill(body: &Allowance, most: usize) -> Vec<Room> {
        std::iter::from_fn(|| body.room(PIECE_BYTES).now_or_never()).take(most).collect()
    }

    fn held(budget: &Budget) -> usize {
        usize::try_from(budget.held.get()).unwrap()
    }

    fn bytes(rooms: &[Room]) -> usize {
        rooms.iter().map(Room::bytes).sum()
    }

    #[test]
    fn one_body_has_large_pieces_and_leaves_half_to_others() {
        let budget = Arc::new(Budget::new(Gauge::default()));
        let body = Allowance::new(&budget);
        let rooms = fill(&body, usize::MAX);
        assert_eq!(bytes(&rooms), SHARED_PIECE_BYTES / 2 + OWN_PIECES * OWN_PIECE_BYTES);
        assert_eq!(held(&budget), bytes(&rooms));
        drop(rooms);
        assert_eq!((held(&budget), budget.free.load(Ordering::Relaxed)), (0, SHARED_PIECE_BYTES));
        assert_eq!(bytes(&fill(&body, usize::MAX)), SHARED_PIECE_BYTES / 2 + OWN_PIECES * OWN_PIECE_BYTES);
    }

    #[test]
    fn however_many_take_all_they_can_the_bound_holds_and_each_has_its_own() {
        for count in [1, 4, 16, 64, 300] {
            let budget = Arc::new(Budget::new(Gauge::default()));
            let bodies = (0..count).map(|_| Allowance::new(&budget)).collect::<Vec<_>>();
            let rooms = bodies.iter().map(|body| fill(body, usize::MAX)).collect::<Vec<_>>();
            assert!(rooms.iter().all(|rooms| bytes(rooms) >= OWN_PIECES * OWN_PIECE_BYTES));
            assert!(held(&budget) <= SHARED_PIECE_BYTES + count * OWN_PIECES * OWN_PIECE_BYTES, "{count}");
            assert_eq!(held(&budget), rooms.iter().map(|rooms| bytes(rooms)).sum::<usize>());
        }
    }

    #[test]
    fn who_holds_on_to_its_pieces_hinders_nobody() {
        let budget = Arc::new(Budget::new(Gauge::default()));
        let slow = (0..3).map(|_| Allowance::new(&budget)).collect::<Vec<_>>();
        let kept = slow.iter().map(|body| fill(body, usize::MAX)).collect::<Vec<_>>();
        let late = Allowance::new(&budget);
        assert_eq!(fill(&late, 1)[0].bytes(), PIECE_BYTES, "something is left of the budget");
        for _ in 0..1000 {
            let rooms = fill(&late, OWN_PIECES);
            assert_eq!(rooms.len(), OWN_PIECES);
        }
        drop(kept);
    }

    #[test]
    fn short_pieces_leave_the_budget_alone() {
        let budget = Arc::new(Budget::new(Gauge::default()));
        let body = Allowance::new(&budget);
        let room = body.room(OWN_PIECE_BYTES).now_or_never().unwrap();
        assert_eq!(
            (room.bytes(), budget.free.load(Ordering::Relaxed)),
            (OWN_PIECE_BYTES, SHARED_PIECE_BYTES)
        );
        let data = housed(Bytes::from_static(b"data"), room);
        let tail = data.slice(2..);
        drop(data);
        assert_eq!(held(&budget), OWN_PIECE_BYTES);
        drop(tail);
        assert_eq!(held(&budget), 0);
    }
}
