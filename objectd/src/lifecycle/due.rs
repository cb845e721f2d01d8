//! When something is due by a bucket's rules.
//!
//! Days are counted from when a thing was made (a version that isn't the newest: from when the next newer one was), and
//! end at the next midnight UTC, as AWS does.

use super::rules::{Expiration, Filter, Lifecycle, Rule};
use meta::object::{Annotations, ObjectRecord};

const DAY_MS: u64 = 24 * 3_600_000;

/// An object or version as far as filters look at it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub key: &'a str,
    pub size: u64,
    pub tags: &'a [(String, String)],
    pub last_modified_ms: u64,
}

impl<'a> Subject<'a> {
    pub fn of(key: &'a str, record: &ObjectRecord, annotations: &'a Annotations) -> Self {
        let ObjectRecord { size, last_modified_ms, .. } = *record;
        Self { key, size, tags: &annotations.tags, last_modified_ms }
    }
}

/// When, and by which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due<'a> {
    pub at_ms: u64,
    pub rule: &'a str,
}

/// The midnight that ends so many days after a time; a midnight is its own.
fn days_after(from_ms: u64, days: u32) -> u64 {
    let end_ms = from_ms.saturating_add(u64::from(days) * DAY_MS);
    end_ms.checked_next_multiple_of(DAY_MS).unwrap_or(u64::MAX)
}

impl Filter {
    /// Whether it is about a key, whatever else it asks for.
    fn has_prefix_of(&self, key: &str) -> bool {
        key.starts_with(self.prefix.as_deref().unwrap_or_default())
    }

    fn is_about(&self, subject: &Subject<'_>) -> bool {
        self.has_prefix_of(subject.key)
            && self.larger_than.is_none_or(|bytes| subject.size > bytes)
            && self.smaller_than.is_none_or(|bytes| subject.size < bytes)
            && self.tags.iter().all(|tag| subject.tags.contains(tag))
    }

    /// Whether it is about things that have neither tags nor a size: delete markers and uploads.
    fn is_about_bare(&self, key: &str) -> bool {
        let is_plain = self.tags.is_empty() && self.larger_than.is_none() && self.smaller_than.is_none();
        is_plain && self.has_prefix_of(key)
    }
}

impl Lifecycle {
    fn enabled(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.enabled)
    }

    /// Of an object that is its key's newest version.
    pub fn current(&self, subject: Subject<'_>) -> Option<Due<'_>> {
        let rules = self.enabled().filter(|rule| rule.filter.is_about(&subject));
        let due = rules.filter_map(|rule| {
            let at_ms = match rule.expiration? {
                Expiration::Days(days) => days_after(subject.last_modified_ms, days),
                Expiration::Date(at_ms) => at_ms,
                Expiration::LoneMarkers(_) => return None,
            };
            Some(Due { at_ms, rule: &rule.id })
        });
        due.min_by_key(|due| due.at_ms)
    }

    /// Of a version that a newer one, of `since_ms`, covers, with `newer` others between it and the newest. With
    /// how many of those the rule asks for. A delete marker is no subject of filters by tags or size.
    pub fn noncurrent(
        &self,
        subject: Option<Subject<'_>>,
        key: &str,
        (since_ms, newer): (u64, u32),
    ) -> Option<(Due<'_>, u32)> {
        let is_about = |filter: &Filter| match &subject {
            Some(subject) => filter.is_about(subject),
            None => filter.is_about_bare(key),
        };
        let rules = self.enabled().filter(|rule| is_about(&rule.filter));
        let due = rules.filter_map(|rule| {
            let noncurrent = rule.noncurrent?;
            let keep = noncurrent.keep.unwrap_or(0);
            let at_ms = days_after(since_ms, noncurrent.days);
            (newer >= keep).then_some((Due { at_ms, rule: &rule.id }, keep))
        });
        due.min_by_key(|(due, _)| due.at_ms)
    }

    /// Of a delete marker that nothing is behind. Days and dates of objects are for it too.
    pub fn lone_marker(&self, key: &str, last_modified_ms: u64) -> Option<Due<'_>> {
        let rules = self.enabled().filter(|rule| rule.filter.is_about_bare(key));
        let due = rules.filter_map(|rule| {
            let at_ms = match rule.expiration? {
                Expiration::Days(days) => days_after(last_modified_ms, days),
                Expiration::Date(at_ms) => at_ms,
                Expiration::LoneMarkers(true) => 0,
                Expiration::LoneMarkers(false) => return None,
            };
            Some(Due { at_ms, rule: &rule.id })
        });
        due.min_by_key(|due| due.at_ms)
    }

    /// Of an unfinished upload.
    pub fn upload(&self, key: &str, initiated_ms: u64) -> Option<Due<'_>> {
        let rules = self.enabled().filter(|rule| rule.filter.is_about_bare(key));
        let due = rules.filter_map(|rule| {
            Some(Due { at_ms: days_after(initiated_ms, rule.abort_days?), rule: &rule.id })
        });
        due.min_by_key(|due| due.at_ms)
    }

    /// Below which all that objects' rules are about is, in order, none inside another.
    pub fn prefixes(&self) -> Vec<&str> {
        let about_objects = |rule: &&Rule| rule.expiration.is_some() || rule.noncurrent.is_some();
        outermost(self.enabled().filter(about_objects))
    }

    /// The same of uploads.
    pub fn upload_prefixes(&self) -> Vec<&str> {
        outermost(self.enabled().filter(|rule| rule.abort_days.is_some()))
    }
}

fn outermost<'a>(rules: impl Iterator<Item = &'a Rule>) -> Vec<&'a str> {
    let mut all: Vec<&str> = rules.map(|rule| rule.filter.prefix.as_deref().unwrap_or_default()).collect();
    // A prefix comes right before what it is one of.
    all.sort_unstable();
    all.dedup_by(|later, kept| later.starts_with(*kept));
    all
}

#[cfg(test)]
#[path = "due_test.rs"]
mod tests;
