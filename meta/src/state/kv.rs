//! The small ordered key-value trait under the state machine: sled in production, a `BTreeMap` in tests and
//! in the simulator.

use crate::error::MetaError;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

/// Changes to make together: a value, or `None` to remove the key.
pub type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What a visitor of [`Read::scan`] wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Next,
    /// The first pair at or after this key, which must be above the one being visited.
    Seek(Vec<u8>),
    Stop,
}

/// Reads of an ordered map of bytes. Each call sees whole batches, but two calls may see different ones.
pub trait Read {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError>;

    /// Visits pairs in order of key, from the first at or after `from`, until the visitor stops.
    fn scan(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Step) -> Result<(), MetaError>;

    /// The last pair strictly below `below`.
    fn last_below(&self, below: &[u8]) -> Result<Option<Pair>, MetaError>;
}

/// An ordered map of bytes that takes batches whole or not at all.
pub trait Kv: Read {
    fn apply(&self, batch: Batch) -> Result<(), MetaError>;

    /// Makes what was applied durable, if it is kept anywhere but in memory.
    fn flush(&self) -> Result<(), MetaError>;
}

/// A map in memory.
#[derive(Debug, Default)]
pub struct MemKv(RwLock<BTreeMap<Vec<u8>, Vec<u8>>>);

impl MemKv {
    /// Everything in it.
    pub fn dump(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Read for MemKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn scan(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Step) -> Result<(), MetaError> {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut pairs = map.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        while let Some((key, value)) = pairs.next() {
            match visit(key, value) {
                Step::Next => {}
                Step::Seek(to) => pairs = map.range::<[u8], _>((Bound::Included(&to[..]), Bound::Unbounded)),
                Step::Stop => break,
            }
        }
        Ok(())
    }

    fn last_below(&self, below: &[u8]) -> Result<Option<Pair>, MetaError> {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = map.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(below))).next_back();
        Ok(found.map(|(key, value)| (key.clone(), value.clone())))
    }
}

impl Kv for MemKv {
    fn apply(&self, batch: Batch) -> Result<(), MetaError> {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in batch {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), MetaError> {
        Ok(())
    }
}
