//! The result: medians with their range over the rounds, ratios, and whether the bounds hold.

use super::Side;
use super::workload::{RANDREAD_D32, RANDWRITE_D32, Sample};
use crate::machine::{Facts, say};
use serde_json::{Value, json};

/// Whether every bound that was measured holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    Missed,
}

/// What must hold in any case: IOPS of ours over the peer's.
const BOUNDS: &[(&str, f64)] = &[(RANDWRITE_D32, 0.8), (RANDREAD_D32, 0.6)];

const OURS: usize = 0;
const PEER: usize = 1;

/// Everything measured.
pub struct Report {
    facts: Facts,
    size: u64,
    seconds: u64,
    names: [&'static str; 2],
    durability: [String; 2],
    rows: Vec<Row>,
}

struct Row {
    workload: &'static str,
    /// Ours and the peer's, a sample a round.
    samples: [Vec<Sample>; 2],
}

/// The middle and the ends of a figure over the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values = values.collect::<Vec<_>>();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => 0.0,
            len if len % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        let end = |value: Option<&f64>| value.copied().unwrap_or(0.0);
        Self { median, min: end(values.first()), max: end(values.last()) }
    }

    fn to_json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl Row {
    fn spread(&self, side: usize, figure: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples[side].iter().map(figure))
    }

    /// Ours over the peer's, round by round.
    fn ratio(&self, figure: impl Fn(&Sample) -> f64) -> Spread {
        let pairs = self.samples[OURS].iter().zip(&self.samples[PEER]);
        Spread::of(pairs.map(|(ours, peer)| figure(ours) / figure(peer).max(f64::MIN_POSITIVE)))
    }
}

impl Report {
    pub fn new(facts: Facts, size: u64, seconds: u64, sides: &[Side; 2]) -> Self {
        Self {
            facts,
            size,
            seconds,
            names: [sides[OURS].name, sides[PEER].name],
            durability: [sides[OURS].durability.clone(), sides[PEER].durability.clone()],
            rows: Vec::new(),
        }
    }

    pub fn add(&mut self, workload: &'static str, side: usize, sample: Sample) {
        let index = self.rows.iter().position(|row| row.workload == workload).unwrap_or_else(|| {
            self.rows.push(Row { workload, samples: [Vec::new(), Vec::new()] });
            self.rows.len() - 1
        });
        self.rows[index].samples[side].push(sample);
    }

    pub fn print(&self) {
        say("");
        say(&format!(
            "{:<18} {:<20} {:>25} {:>23} {:>8} {:>8} {:>8} {:>9} {:>7}",
            "workload",
            "",
            "IOPS (min-max)",
            "MiB/s (min-max)",
            "p50 us",
            "p99",
            "p99.9",
            "cpu us/op",
            "cpu s"
        ));
        for row in &self.rows {
            for side in [OURS, PEER] {
                self.print_side(row, side);
            }
            let (iops, p50) = (row.ratio(|s| s.iops), row.ratio(|s| s.p50_us));
            say(&format!(
                "{:<18} {:<20} {:>25} {:>32}",
                "",
                "ours / peer",
                format!("{:.2} x ({:.2}-{:.2})", iops.median, iops.min, iops.max),
                format!("p50 {:.2} x ({:.2}-{:.2})", p50.median, p50.min, p50.max),
            ));
        }
        for (workload, ratio, bound) in self.bounds() {
            let holds = if ratio >= bound { "holds" } else { "MISSED" };
            say(&format!("bound: {workload} at least {bound} x the peer's IOPS: {ratio:.2} x, {holds}"));
        }
    }

    fn print_side(&self, row: &Row, side: usize) {
        let (iops, mib) = (row.spread(side, |s| s.iops), row.spread(side, |s| s.mib_per_s));
        let median = |figure: fn(&Sample) -> f64| row.spread(side, figure).median;
        say(&format!(
            "{:<18} {:<20} {:>25} {:>23} {:>8.0} {:>8.0} {:>8.0} {:>9.1} {:>7.2}",
            if side == OURS { row.workload } else { "" },
            self.names[side],
            format!("{:.0} ({:.0}-{:.0})", iops.median, iops.min, iops.max),
            format!("{:.0} ({:.0}-{:.0})", mib.median, mib.min, mib.max),
            median(|s| s.p50_us),
            median(|s| s.p99_us),
            median(|s| s.p999_us),
            median(|s| s.cpu_us_per_request),
            median(|s| s.cpu_s),
        ));
    }

    pub fn verdict(&self) -> Verdict {
        let missed = self.bounds().any(|(_, ratio, bound)| ratio < bound);
        if missed { Verdict::Missed } else { Verdict::Holds }
    }

    pub fn to_json(&self) -> Value {
        let side = |row: &Row, side: usize| {
            json!({
                "name": self.names[side],
                "iops": row.spread(side, |s| s.iops).to_json(),
                "mib_per_s": row.spread(side, |s| s.mib_per_s).to_json(),
                "p50_us": row.spread(side, |s| s.p50_us).to_json(),
                "p99_us": row.spread(side, |s| s.p99_us).to_json(),
                "p999_us": row.spread(side, |s| s.p999_us).to_json(),
                "cpu_us_per_request": row.spread(side, |s| s.cpu_us_per_request).to_json(),
                "rounds": row.samples[side],
            })
        };
        let row = |row: &Row| {
            json!({
                "workload": row.workload,
                "ours": side(row, OURS),
                "peer": side(row, PEER),
                "iops_ratio": row.ratio(|s| s.iops).to_json(),
                "p50_ratio": row.ratio(|s| s.p50_us).to_json(),
            })
        };
        let bound = |(workload, ratio, at_least): (&str, f64, f64)| json!({ "workload": workload, "iops_ratio": ratio, "at_least": at_least, "holds": ratio >= at_least });
        json!({
            "machine": self.facts,
            "size_bytes": self.size,
            "seconds": self.seconds,
            "durability": { "ours": self.durability[OURS], "peer": self.durability[PEER] },
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "bounds": self.bounds().map(bound).collect::<Vec<_>>(),
        })
    }

    /// The bounds whose rows were measured: row, median ratio, bound.
    fn bounds(&self) -> impl Iterator<Item = (&'static str, f64, f64)> {
        BOUNDS.iter().filter_map(|&(workload, bound)| {
            let row = self.rows.iter().find(|row| row.workload == workload)?;
            Some((workload, row.ratio(|s| s.iops).median, bound))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_have_a_middle_and_ends() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(of(&[4.0, 1.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(of(&[]), Spread { median: 0.0, min: 0.0, max: 0.0 });
    }
}
