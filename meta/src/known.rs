//! Answers that gateways ask for at every request, kept while nothing changes that they are made of.
//!
//! A kept answer is given only if [`Revision::now`] is the one it was read at. The revision moves before a change goes
//! into the state and again after it, both before the change is acknowledged; so at the moment it is looked at, the
//! state holds just what the answer says, and a read of it would have said the same: promise 7, and with it 10, hold as
//! if the state had been read. Asking "did it change since?" of a time or of a message would hold neither.

use crate::error::MetaError;
use crate::limits::{MAX_KNOWN_ANSWERS, MAX_KNOWN_BYTES};
use serde::Serialize;
use std::any::Any;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// Counts the changes of what requests are judged by. Odd while one goes in. One writer: who applies the log.
#[derive(Debug, Default)]
pub struct Revision(AtomicU64);

impl Revision {
    /// The present one; `None` while a change goes in, or since one broke in the middle.
    pub fn now(&self) -> Option<u64> {
        let now = self.0.load(Ordering::SeqCst);
        now.is_multiple_of(2).then_some(now)
    }

    /// To be called before the first write of a change.
    pub fn begin(&self) {
        if self.now().is_some() {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// To be called when all of it is in.
    pub fn end(&self) {
        if self.now().is_none() {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// An answer, and what its reader makes of it, which is made once.
pub struct Known<T> {
    answer: T,
    made: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl<T> Known<T> {
    pub fn new(answer: T) -> Self {
        Self { answer, made: OnceLock::new() }
    }

    /// What `make` makes of the answer: the same for all readers of this one, so it must depend on nothing else that
    /// could change. Failures are not kept.
    pub fn made<M, E>(&self, make: impl FnOnce(&T) -> Result<M, E>) -> Result<Arc<M>, E>
    where
        M: Send + Sync + 'static,
    {
        let there = || Arc::clone(self.made.get()?).downcast::<M>().ok();
        if let Some(made) = there() {
            return Ok(made);
        }
        let made = Arc::new(make(&self.answer)?);
        // Another reader may have been first, or keep something else there.
        let _ = self.made.set(made.clone());
        Ok(there().unwrap_or(made))
    }
}

impl<T> Deref for Known<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.answer
    }
}

/// The answers to one kind of question, by what is asked about. Bounded by number and by bytes.
pub struct KnownAnswers<T>(RwLock<Kept<T>>);

struct Kept<T> {
    /// What all of them were read at.
    revision: u64,
    answers: HashMap<Box<[u8]>, Arc<Known<T>>>,
    bytes: usize,
}

impl<T> Default for KnownAnswers<T> {
    fn default() -> Self {
        Self(RwLock::new(Kept { revision: 0, answers: HashMap::new(), bytes: 0 }))
    }
}

impl<T: Serialize> KnownAnswers<T> {
    /// The answer about `name` as of now, read from the state if it isn't kept.
    pub fn get(
        &self,
        revision: &Revision,
        name: &[u8],
        read: impl FnOnce() -> Result<T, MetaError>,
    ) -> Result<Arc<Known<T>>, MetaError> {
        let before = revision.now();
        if let Some(now) = before {
            let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if kept.revision == now
                && let Some(found) = kept.answers.get(name)
            {
                return Ok(Arc::clone(found));
            }
        }
        let found = Arc::new(Known::new(read()?));
        // What was read before this must not be looked at after it.
        fence(Ordering::SeqCst);
        if let Some(now) = before.filter(|_| revision.now() == before) {
            self.keep(now, name, &found);
        }
        Ok(found)
    }

    fn keep(&self, revision: u64, name: &[u8], found: &Arc<Known<T>>) {
        let size = postcard::serialize_with_flavor(&found.answer, postcard::ser_flavors::Size::default());
        let Some(bytes) = size.ok().map(|size| size + name.len()).filter(|bytes| *bytes <= MAX_KNOWN_BYTES)
        else {
            return;
        };
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.revision > revision {
            return;
        }
        let is_full = kept.answers.len() >= MAX_KNOWN_ANSWERS || kept.bytes + bytes > MAX_KNOWN_BYTES;
        if kept.revision < revision || is_full {
            *kept = Kept { revision, answers: HashMap::new(), bytes: 0 };
        }
        if kept.answers.insert(name.into(), Arc::clone(found)).is_none() {
            kept.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn get(known: &KnownAnswers<u64>, revision: &Revision, name: &str, value: u64) -> u64 {
        **known.get(revision, name.as_bytes(), || Ok(value)).unwrap()
    }

    #[test]
    fn an_answer_is_kept_until_something_changes() {
        let (known, revision) = (KnownAnswers::default(), Revision::default());
        assert_eq!((get(&known, &revision, "a", 1), get(&known, &revision, "a", 2)), (1, 1));
        assert_eq!(get(&known, &revision, "b", 3), 3);
        revision.begin();
        // While a change goes in, nothing kept is given and nothing read is kept.
        assert_eq!((get(&known, &revision, "a", 4), get(&known, &revision, "a", 5)), (4, 5));
        revision.end();
        assert_eq!((get(&known, &revision, "a", 6), get(&known, &revision, "a", 7)), (6, 6));
        assert_eq!(get(&known, &revision, "b", 8), 8);
    }

    #[test]
    fn what_was_read_across_a_change_is_not_kept() {
        let (known, revision) = (KnownAnswers::default(), Revision::default());
        let old = known.get(&revision, b"a", || {
            revision.begin();
            revision.end();
            Ok(1u64)
        });
        assert_eq!(**old.unwrap(), 1);
        assert_eq!(get(&known, &revision, "a", 2), 2);
    }

    #[test]
    fn a_reader_that_is_late_does_not_bring_back_what_was() {
        let (known, revision) = (KnownAnswers::default(), Revision::default());
        let old = Arc::new(Known::new(1u64));
        revision.begin();
        revision.end();
        assert_eq!(get(&known, &revision, "a", 2), 2);
        known.keep(0, b"a", &old);
        known.keep(0, b"b", &old);
        assert_eq!((get(&known, &revision, "a", 3), get(&known, &revision, "b", 4)), (2, 4));
    }

    #[test]
    fn a_change_that_broke_leaves_nothing_to_be_known() {
        let (known, revision) = (KnownAnswers::default(), Revision::default());
        revision.begin();
        assert_eq!((get(&known, &revision, "a", 1), get(&known, &revision, "a", 2)), (1, 2));
    }

    #[test]
    fn answers_are_bounded() {
        let (known, revision) = (KnownAnswers::default(), Revision::default());
        for number in 0..2 * MAX_KNOWN_ANSWERS as u64 {
            get(&known, &revision, &number.to_string(), number);
            assert!(known.0.read().unwrap().answers.len() <= MAX_KNOWN_ANSWERS);
        }
        let known = KnownAnswers::default();
        let long = || Ok("x".repeat(MAX_KNOWN_BYTES / 3));
        for name in ["a", "b", "c", "d"] {
            known.get(&revision, name.as_bytes(), long).unwrap();
            assert!(known.0.read().unwrap().bytes <= MAX_KNOWN_BYTES);
        }
        known.get(&revision, b"e", || Ok("x".repeat(MAX_KNOWN_BYTES + 1))).unwrap();
        assert!(!known.0.read().unwrap().answers.contains_key(&b"e"[..]));
    }

    #[test]
    fn what_is_made_of_an_answer_is_made_once() {
        let (known, times) = (Known::new(5u64), Cell::new(0));
        let make = |value: &u64| {
            times.set(times.get() + 1);
            Ok::<_, ()>(value.to_string())
        };
        assert_eq!(known.made(|_| Err::<String, _>(7)), Err(7));
        assert_eq!(*known.made(make).unwrap(), "5");
        assert_eq!(*known.made(make).unwrap(), "5");
        assert_eq!(times.get(), 1);
        // Who makes something else of it does so each time.
        assert_eq!(*known.made(|value| Ok::<_, ()>(value + 1)).unwrap(), 6);
    }
}
