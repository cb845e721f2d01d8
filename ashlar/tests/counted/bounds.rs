//! Bounds on counts an operation.

use crate::meter::Counts;
use std::fmt::Write as _;
use trial::harness::skip;

/// The most that an operation may count of one thing.
pub struct Bound {
    pub name: &'static str,
    pub most: f64,
    /// Whether nothing at all is a possible count, and not a counter that is broken.
    pub may_be_none: bool,
}

pub const fn at_most(name: &'static str, most: f64) -> Bound {
    Bound { name, most, may_be_none: false }
}

/// The same of what caches may spare an operation altogether.
pub const fn none_or_at_most(name: &'static str, most: f64) -> Bound {
    Bound { name, most, may_be_none: true }
}

/// Prints all that was counted of `operations`, and panics with every bound that does not hold.
#[track_caller]
pub fn check(test: &str, what: &str, operations: usize, counts: &Counts, bounds: &[Bound]) {
    let mut shown = format!("{what}, each of {operations}:");
    let each = |name: &str| counts.get(name).map(|count| count / operations as f64);
    let mut broken = Vec::new();
    for Bound { name, most, may_be_none } in bounds {
        let Some(count) = each(name) else {
            // All else comes from the daemon or /proc and is always there.
            assert!(name.ends_with("calls"), "{name} was not counted: {counts:?}");
            skip(test, "system calls can't be counted: no perf, or no right to its tracepoints");
            continue;
        };
        let _ = write!(shown, " {name} {count:.3} (most {most}),");
        if count > *most || (count <= 0.0 && !may_be_none) {
            broken.push(format!("{name}: {count:.3} each, bound {most}"));
        }
    }
    eprintln!("{}", shown.trim_end_matches(','));
    assert!(broken.is_empty(), "{what} costs more than it did: {}", broken.join("; "));
}
