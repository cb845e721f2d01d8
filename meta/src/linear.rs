//! A checker of linearizability for tests: is there an order of these operations, each somewhere between its
//! call and its return, in which a sequential model gives just these answers? (Wing and Gong's search, with
//! Lowe's memory of what was tried.)

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// What an object does when operations come one after the other.
pub trait Model {
    type State: Clone + Eq + Hash + Debug;
    type Op: Debug;
    type Answer: Debug;

    fn start(&self) -> Self::State;

    /// The state after the operation, if its answer can be this one; `None` for the answer is that nobody
    /// heard it.
    fn step(&self, state: &Self::State, op: &Self::Op, answer: Option<&Self::Answer>) -> Option<Self::State>;
}

/// An operation as its caller saw it. Moments are counted up by one clock for all callers.
#[derive(Debug)]
pub struct Call<O, A> {
    pub op: O,
    pub called: u64,
    /// When it returned and with what; `None` if it is not known whether it was done, or when.
    pub returned: Option<(u64, A)>,
}

impl<O, A> Call<O, A> {
    fn returned_at(&self) -> u64 {
        self.returned.as_ref().map_or(u64::MAX, |(at, _)| *at)
    }
}

/// Whether there is such an order.
pub fn is_linearizable<M: Model>(model: &M, calls: &[Call<M::Op, M::Answer>]) -> bool {
    let mut search = Search { model, calls, tried: HashSet::new() };
    search.go_on(&mut vec![false; calls.len()], &model.start())
}

struct Search<'a, M: Model> {
    model: &'a M,
    calls: &'a [Call<M::Op, M::Answer>],
    tried: HashSet<(Vec<bool>, M::State)>,
}

impl<M: Model> Search<'_, M> {
    fn go_on(&mut self, done: &mut Vec<bool>, state: &M::State) -> bool {
        let calls = self.calls;
        let open = || calls.iter().zip(done.iter()).filter(|(_, done)| !**done).map(|(call, _)| call);
        if open().all(|call| call.returned.is_none()) {
            // What nobody heard of need never have been done.
            return true;
        }
        if !self.tried.insert((done.clone(), state.clone())) {
            return false;
        }
        // Only what was called before the first return can be next.
        let first_return = open().map(Call::returned_at).min().unwrap_or(u64::MAX);
        for (index, call) in calls.iter().enumerate() {
            if done[index] || call.called > first_return {
                continue;
            }
            let answer = call.returned.as_ref().map(|(_, answer)| answer);
            if let Some(next) = self.model.step(state, &call.op, answer) {
                done[index] = true;
                if self.go_on(done, &next) {
                    return true;
                }
                done[index] = false;
            }
        }
        false
    }
}
