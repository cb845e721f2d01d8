//! The materialised state as one moment after another: batches go in with their log id, and a snapshot can
//! be read out of the middle while later batches go in.
//!
//! The store below gets many batches at once, as one batch with the last one's mark: each that sled gets costs it two
//! writes and a wake-up of all its threads. Until then they are kept here, over what it has. A crash loses them, as it
//! loses what sled has not written yet: the log has all of it, and the mark says where to go on.

use super::{LogId, StoredMembership};
use crate::error::{ErrorKind, MetaError};
use crate::known::{KnownAnswers, Revision};
use crate::limits::STATE_BEHIND_BYTES;
use crate::state::keys;
use crate::state::kv::{Batch, Kv, Pair, Read, Step};
use crate::state::over::Over;
use crate::state::txn::load;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

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

/// Changes that the store below has not got yet.
#[derive(Default)]
struct Behind {
    /// Shared with scans, which may be long, and see what was there when they began.
    changes: Arc<Batch>,
    /// Of all keys and values that were put in, those that gave way to later ones too.
    bytes: usize,
}

/// The state of one node. One thread changes it.
pub struct View<K> {
    kv: K,
    behind: RwLock<Behind>,
    past: Mutex<Option<Past>>,
    /// Of what requests are judged by.
    revision: Revision,
    /// Values of the pool's keys as they are at a revision: every request and every change reads a few of them.
    pool: KnownAnswers<Option<Vec<u8>>>,
}

impl<K: Kv> View<K> {
    pub fn new(kv: K) -> Self {
        Self {
            kv,
            behind: RwLock::default(),
            past: Mutex::new(None),
            revision: Revision::default(),
            pool: KnownAnswers::default(),
        }
    }

    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The store below, with all that was applied.
    pub fn into_kv(self) -> Result<K, MetaError> {
        self.catch_up()?;
        Ok(self.kv)
    }

    /// Sees to it that a crash of this process takes nothing of what was applied before this call.
    pub fn settle(&self) -> Result<(), MetaError> {
        let past = self.past();
        self.catch_up()?;
        drop(past);
        self.kv.flush()
    }

    /// Gives the store below all that it has not got yet. For who holds `past`, as all do who change anything: what came
    /// in meanwhile would be forgotten.
    fn catch_up(&self) -> Result<(), MetaError> {
        // Readers go on meanwhile: until it is taken away, what is here counts, not what is below it.
        let changes = Arc::clone(&self.behind().changes);
        if !changes.is_empty() {
            self.kv.apply(Batch::clone(&changes))?;
        }
        self.forget_behind();
        Ok(())
    }

    fn forget_behind(&self) {
        *self.behind.write().unwrap_or_else(PoisonError::into_inner) = Behind::default();
    }

    fn behind(&self) -> RwLockReadGuard<'_, Behind> {
        self.behind.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a batch over what is there already.
    fn add(&self, batch: Batch) -> Result<(), MetaError> {
        let mut behind = self.behind.write().unwrap_or_else(PoisonError::into_inner);
        behind.bytes +=
            batch.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum::<usize>();
        Arc::make_mut(&mut behind.changes).extend(batch);
        let is_full = behind.bytes >= STATE_BEHIND_BYTES;
        drop(behind);
        if is_full { self.catch_up() } else { Ok(()) }
    }

    /// Up to where the log is in the state; nothing if it was never filled, or not to the end.
    pub fn applied(&self) -> Result<Option<Applied>, MetaError> {
        load(self, &keys::applied())
    }

    /// Applies changes and moves the applied mark, together.
    pub fn commit(&self, batch: Batch, applied: &Applied) -> Result<(), MetaError> {
        self.commit_with(&mut self.past(), batch, applied)
    }

    fn commit_with(
        &self,
        past: &mut Option<Past>,
        mut batch: Batch,
        applied: &Applied,
    ) -> Result<(), MetaError> {
        let mark = postcard::to_stdvec(applied).map_err(|e| {
            MetaError::new(ErrorKind::Invalid, "can't encode the applied mark").with_source(e)
        })?;
        if let Some(past) = past {
            for key in batch.keys().filter(|key| **key >= past.cursor) {
                if !past.before.contains_key(key) {
                    past.before.insert(key.clone(), self.read(key)?);
                }
            }
        }
        // The pool's keys come first.
        let judges = batch.keys().take_while(|key| keys::is_of_pool(key)).any(|key| keys::judges(key));
        batch.insert(keys::applied(), Some(mark));
        if judges {
            self.revision.begin();
        }
        self.add(batch)?;
        if judges {
            self.revision.end();
        }
        Ok(())
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
        let behind = self.behind();
        let now = Over { base: &self.kv, changes: &behind.changes };
        let then = Over { base: &now, changes: &past.before };
        let (mut page, mut bytes) = (Vec::new(), 0);
        let own = keys::applied();
        then.scan(&past.cursor, &mut |key, value| {
            if key >= own.as_slice() || bytes >= limit_bytes {
                return Step::Stop;
            }
            bytes += key.len() + value.len();
            page.push((key.to_vec(), value.to_vec()));
            Step::Next
        })?;
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
        // Nobody may give the store below what was before.
        let mut past = self.past();
        self.revision.begin();
        let mut mark = Batch::new();
        mark.insert(keys::applied(), None);
        self.kv.apply(mark)?;
        self.forget_behind();
        self.clear()?;
        for page in pages {
            self.kv.apply(page?.into_iter().map(|(key, value)| (key, Some(value))).collect())?;
        }
        self.commit_with(&mut past, Batch::new(), applied)?;
        self.revision.end();
        Ok(())
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

    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        Over { base: &self.kv, changes: &self.behind().changes }.get(key)
    }

    fn past(&self) -> MutexGuard<'_, Option<Past>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Kv> Read for View<K> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        if !keys::judges(key) {
            return self.read(key);
        }
        let found = self.pool.get(&self.revision, key, || self.read(key))?;
        Ok((**found).clone())
    }

    fn scan(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Step) -> Result<(), MetaError> {
        let changes = Arc::clone(&self.behind().changes);
        Over { base: &self.kv, changes: &changes }.scan(from, visit)
    }

    fn last_below(&self, below: &[u8]) -> Result<Option<Pair>, MetaError> {
        Over { base: &self.kv, changes: &self.behind().changes }.last_below(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::kv::MemKv;
    use proptest::prelude::*;

    #[test]
    fn the_store_below_gets_whole_batches_with_their_mark_and_in_the_end_all() {
        let view = View::new(MemKv::default());
        let mark = |index| Applied {
            log_id: Some(LogId::new(openraft::CommittedLeaderId::new(1, 1), index)),
            membership: StoredMembership::default(),
        };
        let key = |n: u64| keys::object(1, &n.to_string(), 0);
        let value = vec![7; STATE_BEHIND_BYTES / 10];
        let below = |n: u64| view.kv.get(&key(n)).unwrap().is_some();
        for index in 0..25u64 {
            // Each batch takes away what the one before it put, all but the first one's.
            let gone = index.checked_sub(2).map(|before| (key(before + 1), None));
            let batch = [(key(index), Some(value.clone()))].into_iter().chain(gone).collect();
            view.commit(batch, &mark(index)).unwrap();
            assert_eq!(view.get(&key(index)).unwrap().as_ref(), Some(&value));
            assert_eq!(view.applied().unwrap(), Some(mark(index)));
            let mut there = Vec::new();
            view.scan(&keys::object(1, "", 0), &mut |key, _| {
                there.push(key.to_vec());
                Step::Next
            })
            .unwrap();
            there.retain(|key| *key != keys::applied());
            assert_eq!(there.len() as u64, (index + 1).min(2), "{index}");
            let last = |below: &[u8]| view.last_below(below).unwrap().unwrap().0;
            assert_eq!(last(&keys::applied()), there[there.len() - 1]);
            let told: Option<Applied> = load(&view.kv, &keys::applied()).unwrap();
            let upto = told.and_then(|applied| applied.log_id).map(|log_id| log_id.index);
            // What is below is the state at its mark.
            assert_eq!(upto.is_some(), below(0));
            assert!(upto.is_none_or(|upto| below(upto) && !below(upto + 1)), "{index}: {upto:?}");
        }
        view.settle().unwrap();
        assert!(view.behind().changes.is_empty());
        let kv = view.into_kv().unwrap();
        assert!(kv.get(&key(24)).unwrap().is_some() && kv.get(&key(23)).unwrap().is_none());
    }

    #[test]
    fn a_read_sees_every_change_of_the_pool() {
        let view = View::new(MemKv::default());
        let (bucket, other) = (keys::bucket("b"), keys::bucket("c"));
        let set = |key: &[u8], value: Option<&[u8]>| {
            let change = [(key.to_vec(), value.map(<[u8]>::to_vec))].into_iter().collect();
            view.commit(change, &Applied::default()).unwrap();
        };
        let get = |key: &[u8]| view.get(key).unwrap();
        assert_eq!((get(&bucket), get(&bucket)), (None, None));
        set(&bucket, Some(b"1"));
        assert_eq!((get(&bucket), get(&other)), (Some(b"1".to_vec()), None));
        set(&other, Some(b"2"));
        set(&bucket, None);
        assert_eq!((get(&bucket), get(&other)), (None, Some(b"2".to_vec())));
        // What changes all the time is never kept, so it moves no revision.
        let before = view.revision().now();
        set(&keys::counter(keys::Counter::Event), Some(b"3"));
        set(&keys::object(1, "k", 0), Some(b"4"));
        assert_eq!(
            (before, get(&keys::counter(keys::Counter::Event))),
            (view.revision().now(), Some(b"3".to_vec()))
        );
        let mut pages = [Ok(vec![(bucket.clone(), b"5".to_vec())])].into_iter();
        view.replace(&Applied::default(), &mut pages).unwrap();
        assert_eq!((get(&bucket), get(&other)), (Some(b"5".to_vec()), None));
    }

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
