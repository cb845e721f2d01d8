//! A map of bytes with changes over it, read as one.

use super::kv::{Batch, Pair, Read, Step};
use crate::error::MetaError;
use std::collections::btree_map::Range;
use std::ops::Bound;

/// `base` as it will be once `changes` are in it.
pub struct Over<'a> {
    pub base: &'a dyn Read,
    pub changes: &'a Batch,
}

impl Read for Over<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Step) -> Result<(), MetaError> {
        let mut changes = Changes::from(self.changes, from);
        let mut stopped = false;
        self.base.scan(from, &mut |key, value| {
            let step = match changes.visit_below(Some(key), visit) {
                Step::Next => changes.visit_at(key, value, visit),
                other => other,
            };
            stopped = step == Step::Stop;
            step
        })?;
        if !stopped {
            changes.visit_below(None, visit);
        }
        Ok(())
    }

    fn last_below(&self, below: &[u8]) -> Result<Option<Pair>, MetaError> {
        let mut found = self.base.last_below(below)?;
        while let Some((key, _)) = &found {
            if !self.changes.contains_key(key) {
                break;
            }
            found = self.base.last_below(key)?;
        }
        let range = self.changes.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(below)));
        let changed = range.rev().find_map(|(key, change)| Some((key, change.as_ref()?)));
        Ok(match (found, changed) {
            (Some(base), Some((key, _))) if base.0 > *key => Some(base),
            (_, Some((key, value))) => Some((key.clone(), value.clone())),
            (base, None) => base,
        })
    }
}

/// The changes that a scan has still to come to.
struct Changes<'a> {
    all: &'a Batch,
    after: Range<'a, Vec<u8>, Option<Vec<u8>>>,
    next: Option<(&'a Vec<u8>, &'a Option<Vec<u8>>)>,
}

impl<'a> Changes<'a> {
    fn from(all: &'a Batch, from: &[u8]) -> Self {
        let mut after = all.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        let next = after.next();
        Self { all, after, next }
    }

    fn seek(&mut self, to: &[u8]) {
        *self = Self::from(self.all, to);
    }

    /// Visits the new values below `end`. Says `Stop` if the visitor did, and `Seek` if it asked for a key above `end`.
    fn visit_below(&mut self, end: Option<&[u8]>, visit: &mut dyn FnMut(&[u8], &[u8]) -> Step) -> Step {
        while let Some((key, change)) = self.next
            && end.is_none_or(|end| key.as_slice() < end)
        {
            self.next = self.after.next();
            let Some(value) = change else { continue };
            match visit(key, value) {
                Step::Next => {}
                Step::Stop => return Step::Stop,
                Step::Seek(to) => {
                    self.seek(&to);
                    if end.is_some_and(|end| to.as_slice() > end) {
                        return Step::Seek(to);
                    }
                }
            }
        }
        Step::Next
    }

    /// Visits what is at `key`, where the base has `value`.
    fn visit_at(&mut self, key: &[u8], value: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Step) -> Step {
        let step = match self.next {
            Some((changed, change)) if changed.as_slice() == key => {
                self.next = self.after.next();
                change.as_ref().map_or(Step::Next, |value| visit(key, value))
            }
            _ => visit(key, value),
        };
        if let Step::Seek(to) = &step {
            self.seek(to);
        }
        step
    }
}
