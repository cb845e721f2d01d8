//! A checker of linearizability that looks on: after each answer, is there still an order of all operations, each
//! somewhere between its call and its return, in which a sequential model gives just these answers?
//!
//! It keeps everything that may be so: the states that the object may be in, each with the operations under way
//! that have then taken effect and what they were answered. An answer rules out what does not fit it; when nothing
//! is left, there is no such order. So a violation is seen at the first answer that shows it, and calm moments,
//! when nothing is under way, leave one state only, however long the history.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// What an object does when operations come one after the other.
pub trait Model {
    type Op: Clone + Debug;
    type Answer: Clone + Ord + Debug;

    /// The state after the operation, and its answer.
    fn step(&self, op: &Self::Op) -> (Self, Self::Answer)
    where
        Self: Sized;
}

/// A state that may be so, and the operations under way that are done in it.
type World<M> = (M, BTreeMap<u64, <M as Model>::Answer>);

#[derive(Debug)]
pub struct Monitor<M: Model + Ord> {
    /// What was called and may still take effect.
    open: BTreeMap<u64, M::Op>,
    worlds: BTreeSet<World<M>>,
}

impl<M: Model + Ord + Clone + Debug> Monitor<M> {
    pub fn new(start: M) -> Self {
        Self { open: BTreeMap::new(), worlds: BTreeSet::from([(start, BTreeMap::new())]) }
    }

    pub fn called(&mut self, id: u64, op: M::Op) {
        self.open.insert(id, op);
    }

    /// The operation was answered.
    pub fn returned(&mut self, id: u64, answer: &M::Answer) -> Result<(), String> {
        let before = self.worlds.clone();
        let mut next = BTreeSet::new();
        for (state, mut done) in self.reachable() {
            if done.remove(&id).as_ref() == Some(answer) {
                next.insert((state, done));
            }
        }
        let op = self.open.remove(&id);
        self.worlds = next;
        if self.worlds.is_empty() {
            let open = &self.open;
            return Err(format!("{op:?} is answered {answer:?}: before it {before:?}, under way {open:?}"));
        }
        Ok(())
    }

    /// The operation was certainly not done, and won't be.
    pub fn not_done(&mut self, id: u64) {
        self.open.remove(&id);
        self.worlds.retain(|(_, done)| !done.contains_key(&id));
    }

    /// The operation, which nobody heard of again, was done by now, or never will be.
    pub fn settled(&mut self, id: u64) {
        let worlds = self.reachable();
        self.open.remove(&id);
        self.worlds = worlds
            .into_iter()
            .map(|(state, mut done)| {
                done.remove(&id);
                (state, done)
            })
            .collect();
    }

    /// Every world that operations under way may have led to by now.
    fn reachable(&self) -> BTreeSet<World<M>> {
        let mut found = BTreeSet::new();
        let mut ahead: Vec<World<M>> = self.worlds.iter().cloned().collect();
        while let Some(world) = ahead.pop() {
            let (state, done) = &world;
            for (id, op) in self.open.iter().filter(|(id, _)| !done.contains_key(id)) {
                let (after, answer) = state.step(op);
                let mut done = done.clone();
                done.insert(*id, answer);
                let next = (after, done);
                if !found.contains(&next) {
                    ahead.push(next);
                }
            }
            found.insert(world);
        }
        found
    }
}

#[cfg(test)]
#[path = "linear_test.rs"]
mod tests;
