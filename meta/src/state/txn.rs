//! Changes on their way into a [`Kv`](super::kv::Kv): later commands of one batch see earlier ones, and a
//! refused command leaves nothing behind.

use super::kv::{Batch, Pair, Read, Step};
use crate::error::{ErrorKind, MetaError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::btree_map::Entry;
use std::ops::Bound;

/// A key and its pending change before, if it had one.
type Undo = (Vec<u8>, Option<Option<Vec<u8>>>);

/// A view of a map with uncommitted changes over it.
pub struct Txn<'a> {
    base: &'a dyn Read,
    pending: Batch,
    /// What the current command replaced in `pending`, so that it can be taken back.
    undo: Vec<Undo>,
}

impl<'a> Txn<'a> {
    pub fn new(base: &'a dyn Read) -> Self {
        Self { base, pending: Batch::new(), undo: Vec::new() }
    }

    /// A view of a map with these values over its own.
    pub fn over(base: &'a dyn Read, pending: Batch) -> Self {
        Self { base, pending, undo: Vec::new() }
    }

    /// All the changes, to be applied as one batch.
    pub fn into_batch(self) -> Batch {
        self.pending
    }

    /// Keeps what was changed since the last `keep` or `take_back`.
    pub fn keep(&mut self) {
        self.undo.clear();
    }

    /// Takes back what was changed since the last `keep` or `take_back`.
    pub fn take_back(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(change) => self.pending.insert(key, change),
                None => self.pending.remove(&key),
            };
        }
    }

    pub fn put_bytes(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.change(key, Some(value));
    }

    pub fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T) -> Result<(), MetaError> {
        let value = postcard::to_stdvec(value).map_err(|e| {
            MetaError::new(ErrorKind::Invalid, "can't encode a record of the state").with_source(e)
        })?;
        self.change(key, Some(value));
        Ok(())
    }

    pub fn delete(&mut self, key: Vec<u8>) {
        self.change(key, None);
    }

    fn change(&mut self, key: Vec<u8>, change: Option<Vec<u8>>) {
        let before = match self.pending.entry(key.clone()) {
            Entry::Occupied(mut entry) => Some(entry.insert(change)),
            Entry::Vacant(entry) => {
                entry.insert(change);
                None
            }
        };
        self.undo.push((key, before));
    }
}

impl Read for Txn<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        match self.pending.get(key) {
            Some(change) => Ok(change.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Step) -> Result<(), MetaError> {
        // Pending changes at or above `position` are still to be visited.
        let mut position = from.to_vec();
        let mut stopped = false;
        self.base.scan(from, &mut |key, value| {
            match self.visit_pending(&mut position, Some(key), visit) {
                Step::Stop => stopped = true,
                Step::Seek(to) if to.as_slice() > key => return Step::Seek(to),
                Step::Seek(_) | Step::Next if self.pending.contains_key(key) => {
                    match self.visit_one(key, visit) {
                        Step::Stop => stopped = true,
                        Step::Next => position = above(key),
                        Step::Seek(to) => {
                            position.clone_from(&to);
                            return Step::Seek(to);
                        }
                    }
                }
                Step::Seek(_) | Step::Next => match visit(key, value) {
                    Step::Stop => stopped = true,
                    Step::Next => position = above(key),
                    Step::Seek(to) => {
                        position.clone_from(&to);
                        return Step::Seek(to);
                    }
                },
            }
            if stopped { Step::Stop } else { Step::Next }
        })?;
        if !stopped {
            self.visit_pending(&mut position, None, visit);
        }
        Ok(())
    }

    fn last_below(&self, below: &[u8]) -> Result<Option<Pair>, MetaError> {
        let mut found = self.base.last_below(below)?;
        while let Some((key, _)) = &found {
            if !self.pending.contains_key(key) {
                break;
            }
            found = self.base.last_below(key)?;
        }
        let range = self.pending.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(below)));
        let pending = range.rev().find_map(|(key, change)| Some((key, change.as_ref()?)));
        Ok(match (found, pending) {
            (Some(base), Some((key, _))) if base.0 > *key => Some(base),
            (_, Some((key, value))) => Some((key.clone(), value.clone())),
            (base, None) => base,
        })
    }
}

impl Txn<'_> {
    /// Visits pending values from `position` to before `end`. Says `Stop` if the visitor did, `Seek` if it
    /// asked for a key at or after `end`, else `Next`.
    fn visit_pending(
        &self,
        position: &mut Vec<u8>,
        end: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Step,
    ) -> Step {
        loop {
            let upper = end.map_or(Bound::Unbounded, Bound::Excluded);
            if end.is_some_and(|end| position.as_slice() >= end) {
                return Step::Seek(position.clone());
            }
            let mut range = self.pending.range::<[u8], _>((Bound::Included(&position[..]), upper));
            let Some((key, value)) = range.find_map(|(key, change)| Some((key, change.as_ref()?))) else {
                return Step::Next;
            };
            match visit(key, value) {
                Step::Stop => return Step::Stop,
                Step::Next => *position = above(key),
                Step::Seek(to) => *position = to,
            }
        }
    }

    fn visit_one(&self, key: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Step) -> Step {
        match self.pending.get(key) {
            Some(Some(value)) => visit(key, value),
            _ => Step::Next,
        }
    }
}

/// The lowest key above `key`.
fn above(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

/// A record of the state, if it is there.
pub fn load<T: DeserializeOwned>(view: &dyn Read, key: &[u8]) -> Result<Option<T>, MetaError> {
    view.get(key)?.map(|value| decode(&value)).transpose()
}

/// A record of the state from its bytes.
pub fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, MetaError> {
    postcard::from_bytes(value).map_err(|e| {
        MetaError::new(ErrorKind::Corrupt, "a record of the materialised state can't be read").with_source(e)
    })
}

#[cfg(test)]
#[path = "txn_test.rs"]
mod tests;
