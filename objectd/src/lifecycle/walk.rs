//! What of a bucket's entries, looked at one by one in order, is due.

use super::due::Subject;
use super::rules::Lifecycle;
use meta::lifecycle::{Cover, ExpirableVersion, Expiring, Expiry, SeenVersion};

/// A walk from the newest version of some key on. It knows of the present key what rules ask for.
pub struct Walk<'a> {
    rules: &'a Lifecycle,
    /// By the clock that rules are judged by.
    now_ms: u64,
    /// By the clock that locks are judged by. The control plane judges them again.
    lock_now_ms: u64,
    at: Option<Place>,
}

/// The last entry that was looked at.
struct Place {
    key: String,
    last_modified_ms: u64,
    /// Its key's newest.
    newest: Cover,
    /// Its key's entries up to it.
    count: u32,
    /// Itself, if it is a delete marker that nothing was seen behind yet.
    marker: Option<SeenVersion>,
}

impl<'a> Walk<'a> {
    pub fn new(rules: &'a Lifecycle, now_ms: u64, lock_now_ms: u64) -> Self {
        Self { rules, now_ms, lock_now_ms, at: None }
    }

    /// Looks at the next entry. A delete marker is judged once it is known what follows. New delete markers get their
    /// nonce from whoever proposes them.
    pub fn step(&mut self, entry: ExpirableVersion, out: &mut Vec<Expiry>) {
        let ExpirableVersion { key, seen, locked_until_ms, .. } = entry;
        let above = self.at.take();
        let (last_modified_ms, mut marker) = (seen.last_modified_ms, None);
        let (newest, count) = match above {
            Some(above) if above.key == key => {
                let is_locked = locked_until_ms.is_some_and(|until_ms| until_ms > self.lock_now_ms);
                if !is_locked {
                    self.noncurrent(&key, seen, &above, out);
                }
                (above.newest, above.count.saturating_add(1))
            }
            above => {
                self.leave(above, out);
                let newest = Cover { version: seen.version, last_modified_ms };
                match seen.marker {
                    true => marker = Some(seen),
                    false => self.current(&key, seen, out),
                }
                (newest, 1)
            }
        };
        self.at = Some(Place { key, last_modified_ms, newest, count, marker });
    }

    /// There are no more entries.
    pub fn end(mut self, out: &mut Vec<Expiry>) {
        let last = self.at.take();
        self.leave(last, out);
    }

    fn current(&self, key: &str, seen: SeenVersion, out: &mut Vec<Expiry>) {
        let due = self.rules.current(subject(key, &seen));
        if due.is_some_and(|due| due.at_ms <= self.now_ms) {
            out.push(Expiry { key: key.to_owned(), what: Expiring::Current { seen, nonce: 0 } });
        }
    }

    fn noncurrent(&self, key: &str, seen: SeenVersion, above: &Place, out: &mut Vec<Expiry>) {
        let since_ms = above.last_modified_ms;
        let of_object = (!seen.marker).then(|| subject(key, &seen));
        let due = self.rules.noncurrent(of_object, key, (since_ms, above.count.saturating_sub(1)));
        if let Some((_, newer)) = due.filter(|(due, _)| due.at_ms <= self.now_ms) {
            out.push(Expiry {
                key: key.to_owned(),
                what: Expiring::Noncurrent { seen, under: above.newest, newer },
            });
        }
    }

    fn leave(&self, place: Option<Place>, out: &mut Vec<Expiry>) {
        let Some(Place { key, marker: Some(seen), last_modified_ms, .. }) = place else { return };
        let due = self.rules.lone_marker(&key, last_modified_ms);
        if due.is_some_and(|due| due.at_ms <= self.now_ms) {
            out.push(Expiry { key, what: Expiring::LoneMarker { seen } });
        }
    }
}

fn subject<'a>(key: &'a str, seen: &'a SeenVersion) -> Subject<'a> {
    Subject { key, size: seen.size, tags: &seen.tags, last_modified_ms: seen.last_modified_ms }
}

#[cfg(test)]
#[path = "walk_test.rs"]
mod tests;
