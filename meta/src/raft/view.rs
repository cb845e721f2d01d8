//! The materialised state as one moment after another: batches go in with their log id, and a snapshot can
//! be read out of the middle while later batches go in.

use super::{LogId, StoredMembership};
use crate::error::{ErrorKind, MetaError};
use crate::state::keys;
use crate::state::kv::{Batch, Kv, Pair, Read, Step};
use crate::state::txn::{Txn, load};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Up to where the state has applied the log; in the same batch as what was applied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Applied {
    pub log_id: Option<LogId>,
    pub membership: StoredMembership,
}

/// What the state was when a snapshot began, where it was changed since and not yet read out.
#[derive(Default)]
struct Past {
    /// Everything below was read out.
    cursor: Vec<u8>,
    before: Batch,
}

/// The state of one node.
pub struct View<K> {
    kv: K,
    past: Mutex<Option<Past>>,
}

impl<K: Kv> View<K> {
    pub fn new(kv: K) -> Self {
        Self { kv, past: Mutex::new(None) }
    }

    pub fn kv(&self) -> &K {
        &self.kv
    }

    pub fn into_kv(self) -> K {
        self.kv
    }

    /// Up to where the log is in the state; nothing if it was never filled, or not to the end.
    pub fn applied(&self) -> Result<Option<Applied>, MetaError> {
        load(&self.kv, &keys::applied())
    }

    /// Applies changes and moves the applied mark, together.
    pub fn commit(&self, mut batch: Batch, applied: &Applied) -> Result<(), MetaError> {
        let mark = postcard::to_stdvec(applied).map_err(|e| {
            MetaError::new(ErrorKind::Invalid, "can't encode the applied mark").with_source(e)
        })?;
        let mut past = self.past();
        if let Some(past) = past.as_mut() {
            for key in batch.keys().filter(|key| **key >= past.cursor) {
                if !past.before.contains_key(key) {
                    past.before.insert(key.clone(), self.kv.get(key)?);
                }
            }
        }
        batch.insert(keys::applied(), Some(mark));
        self.kv.apply(batch)
    }

    /// Begins to keep the state of now for a snapshot.
    pub fn begin_snapshot(&self) {
        *self.past() = Some(Past::default());
    }

    /// The next pairs of the snapshot, about `limit_bytes` of them; none means that it is complete.
    pub fn read_snapshot(&self, limit_bytes: usize) -> Result<Vec<Pair>, MetaError> {
        let mut past = self.past();
        let Some(past) = past.as_mut() else {
            return Err(MetaError::new(ErrorKind::Invalid, "no snapshot was begun"));
        };
        let then = Txn::over(&self.kv, std::mem::take(&mut past.before));
        let (mut page, mut bytes) = (Vec::new(), 0);
        let own = keys::applied();
        let result = then.scan(&past.cursor, &mut |key, value| {
            if key >= own.as_slice() || bytes >= limit_bytes {
                return Step::Stop;
            }
            bytes += key.len() + value.len();
            page.push((key.to_vec(), value.to_vec()));
            Step::Next
        });
        past.before = then.into_batch();
        result?;
        if let Some((last, _)) = page.last() {
            past.cursor.clone_from(last);
            past.cursor.push(0);
            past.before = past.before.split_off(&past.cursor);
        }
        Ok(page)
    }

    pub fn end_snapshot(&self) {
        *self.past() = None;
    }

    /// Replaces the whole state. Until the last pair is in, there is no applied mark.
    pub fn replace(
        &self,
        applied: &Applied,
        pages: &mut dyn Iterator<Item = Result<Vec<Pair>, MetaError>>,
    ) -> Result<(), MetaError> {
        let mut mark = Batch::new();
        mark.insert(keys::applied(), None);
        self.kv.apply(mark)?;
        self.clear()?;
        for page in pages {
            self.kv.apply(page?.into_iter().map(|(key, value)| (key, Some(value))).collect())?;
        }
        self.commit(Batch::new(), applied)
    }

    fn clear(&self) -> Result<(), MetaError> {
        const PAGE: usize = 4096;
        loop {
            let mut batch = Batch::new();
            self.kv.scan(&[], &mut |key, _| {
                batch.insert(key.to_vec(), None);
                if batch.len() < PAGE { Step::Next } else { Step::Stop }
            })?;
            if batch.is_empty() {
                return Ok(());
            }
            self.kv.apply(batch)?;
        }
    }

    fn past(&self) -> MutexGuard<'_, Option<Past>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::kv::MemKv;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_snapshot_is_of_one_moment(
            first in prop::collection::btree_map(0u8..60, any::<u8>(), 0..60),
            later in prop::collection::vec((0u8..60, prop::option::of(any::<u8>()), 0usize..3), 0..60),
        ) {
            let view = View::new(MemKv::default());
            let key = |n: u8| vec![0, n];
            let batch = first.iter().map(|(k, v)| (key(*k), Some(vec![*v]))).collect();
            view.commit(batch, &Applied::default()).unwrap();
            let expected: Vec<Pair> = first.iter().map(|(k, v)| (key(*k), vec![*v])).collect();
            view.begin_snapshot();
            let mut read = Vec::new();
            for (k, v, pages) in later {
                let change = [(key(k), v.map(|v| vec![v]))].into_iter().collect();
                view.commit(change, &Applied::default()).unwrap();
                for _ in 0..pages {
                    read.extend(view.read_snapshot(7).unwrap());
                }
            }
            loop {
                let page = view.read_snapshot(7).unwrap();
                if page.is_empty() {
                    break;
                }
                read.extend(page);
            }
            view.end_snapshot();
            prop_assert_eq!(read, expected);
        }
    }
}
