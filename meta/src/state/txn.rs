//! Changes on their way into a [`Kv`](super::kv::Kv): later commands of one batch see earlier ones, and a
//! refused command leaves nothing behind.

use super::kv::{Batch, Pair, Read, Step};
use super::over::Over;
use crate::error::{ErrorKind, MetaError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::btree_map::Entry;

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
        self.over().get(key)
    }

    fn scan(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Step) -> Result<(), MetaError> {
        self.over().scan(from, visit)
    }

    fn last_below(&self, below: &[u8]) -> Result<Option<Pair>, MetaError> {
        self.over().last_below(below)
    }
}

impl Txn<'_> {
    fn over(&self) -> Over<'_> {
        Over { base: self.base, changes: &self.pending }
    }
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
