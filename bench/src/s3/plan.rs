//! What the clients of a row ask for: new objects, objects that are there, objects to delete.

use super::ask::Ask;
use super::bodies::Body;
use super::loader::Plan;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Objects of one size, numbered; each number is used for one object of a side only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Objects {
    pub folder: &'static str,
    pub len_bytes: usize,
    pub first: u64,
    pub end: u64,
}

impl Objects {
    pub fn count(&self) -> u64 {
        self.end - self.first
    }

    pub fn prefix(&self) -> String {
        format!("{}/{}/", self.folder, self.len_bytes)
    }

    pub fn key(&self, stamp: u64) -> String {
        format!("{}{stamp:010}", self.prefix())
    }

    pub fn body(&self, stamp: u64) -> Body {
        Body { len_bytes: self.len_bytes, stamp }
    }
}

/// Each object once, whichever thread comes first.
#[derive(Clone)]
pub struct InTurn {
    objects: Objects,
    next: Arc<AtomicU64>,
    work: Work,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Put,
    Delete,
}

impl InTurn {
    /// Of these objects, from the one on that `next` says; more than one run may go on with it.
    pub fn new(work: Work, objects: Objects, next: &Arc<AtomicU64>) -> Self {
        Self { objects, next: Arc::clone(next), work }
    }

    pub fn all(work: Work, objects: Objects) -> Self {
        Self { objects, next: Arc::new(AtomicU64::new(objects.first)), work }
    }
}

impl Plan for InTurn {
    fn next(&mut self) -> Option<Ask> {
        let stamp = self.next.fetch_add(1, Ordering::Relaxed);
        let key = || self.objects.key(stamp);
        (stamp < self.objects.end).then(|| match self.work {
            Work::Put => Ask::Put { key: key(), body: self.objects.body(stamp) },
            Work::Delete => Ask::Delete { key: key() },
        })
    }
}

/// One request.
pub struct Once(pub Option<Ask>);

impl Plan for Once {
    fn next(&mut self) -> Option<Ask> {
        self.0.take()
    }
}

/// Any of the objects, again and again.
pub struct AtRandom {
    objects: Objects,
    random: Random,
}

impl AtRandom {
    pub fn get(objects: Objects, seed: u64) -> Self {
        assert!(objects.count() > 0, "there is something to get");
        Self { objects, random: Random::new(seed) }
    }
}

impl Plan for AtRandom {
    fn next(&mut self) -> Option<Ask> {
        let stamp = self.objects.first + self.random.below(self.objects.count());
        Some(Ask::Get { key: self.objects.key(stamp), body: self.objects.body(stamp) })
    }
}

/// Numbers for a load: cheap, and the same for every side that is given the same seed.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: Objects = Objects { folder: "get", len_bytes: 1024, first: 5, end: 8 };

    #[test]
    fn each_object_comes_once_whoever_asks() {
        let mut one = InTurn::all(Work::Delete, OBJECTS);
        let mut other = one.clone();
        let key = |ask: Option<Ask>| match ask {
            Some(Ask::Delete { key }) => key,
            other => panic!("{other:?}"),
        };
        let keys = [key(one.next()), key(other.next()), key(one.next())];
        assert_eq!(keys, ["get/1024/0000000005", "get/1024/0000000006", "get/1024/0000000007"]);
        assert_eq!((one.next(), other.next()), (None, None));
    }

    #[test]
    fn gets_are_of_what_was_put() {
        let put = std::iter::from_fn({
            let mut plan = InTurn::all(Work::Put, OBJECTS);
            move || plan.next()
        });
        let put = put.map(|ask| match ask {
            Ask::Put { key, body } => (key, body),
            other => panic!("{other:?}"),
        });
        let put = put.collect::<Vec<_>>();
        let mut gets = AtRandom::get(OBJECTS, 7);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let Some(Ask::Get { key, body }) = gets.next() else { panic!("it never ends") };
            let at = put.iter().position(|known| *known == (key.clone(), body));
            seen.insert(at.expect("one that was put"));
        }
        assert_eq!(seen.len(), 3);
    }
}
