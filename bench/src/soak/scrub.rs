//! Scrubs, asked for and read as an operator does.

use crate::limits::SOAK_LATE;
use serde_json::Value;
use trial::fleet::Fleet;
use trial::harness::eventually;

/// What a scrub found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub checked: u64,
    pub bad: u64,
    pub missing: u64,
    pub repaired: u64,
    pub unrepairable: u64,
    pub conflicting: u64,
    pub groups_skipped: u64,
}

impl Counts {
    fn of(view: &Value) -> Option<Self> {
        let count = |name: &str| view["counts"][name].as_u64();
        Some(Self {
            checked: count("blocks_checked")?,
            bad: count("bad_blocks")?,
            missing: count("missing_blocks")?,
            repaired: count("repaired_blocks")?,
            unrepairable: count("unrepairable_blocks")?,
            conflicting: count("conflicting_blocks")?,
            groups_skipped: view["groups_skipped"].as_u64()?,
        })
    }

    /// What is wrong in a pool of which all was checked and nothing is bad.
    pub fn complaints(&self, what: &str) -> Option<String> {
        let good = Self { checked: self.checked, ..GOOD };
        (*self != good || self.checked == 0).then(|| format!("{what} found {self:?}"))
    }
}

/// With groups that could not be looked at apart, since their members come and go.
pub const GOOD: Counts = Counts {
    checked: 0,
    bad: 0,
    missing: 0,
    repaired: 0,
    unrepairable: 0,
    conflicting: 0,
    groups_skipped: 0,
};

fn view(fleet: &Fleet) -> Option<Value> {
    let output = fleet.command(&["scrub", "status", "-o", "json"]).output().ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

/// Begins a scrub; how many ended before.
pub fn start(fleet: &Fleet) -> u64 {
    fleet.cli(&["scrub", "start"]);
    view(fleet).and_then(|view| view["passes"].as_u64()).unwrap_or(0)
}

/// Waits for its end.
pub fn wait(fleet: &Fleet, passes_before: u64) -> Counts {
    eventually("the end of a scrub", SOAK_LATE, || {
        trial::harness::sleep(std::time::Duration::from_millis(200));
        let view = view(fleet)?;
        let is_over = view["running"] == false && view["passes"].as_u64()? > passes_before;
        if is_over { Counts::of(&view) } else { None }
    })
}

/// A scrub from its beginning to its end.
pub fn whole_pass(fleet: &Fleet) -> Counts {
    let before = start(fleet);
    wait(fleet, before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_pool_is_one_that_was_looked_at() {
        assert!(GOOD.complaints("it").is_some());
        assert_eq!(Counts { checked: 9, ..GOOD }.complaints("it"), None);
        assert!(Counts { checked: 9, missing: 1, ..GOOD }.complaints("it").is_some());
        assert!(Counts { checked: 9, groups_skipped: 1, ..GOOD }.complaints("it").is_some());
    }
}
