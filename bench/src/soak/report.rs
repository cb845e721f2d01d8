//! What happened, row by row.

use super::rows::Row;
use super::world::Round;
use crate::limits::SOAK_WHOLE;
use crate::machine::say;
use std::collections::BTreeMap;

/// The sums of all rounds.
pub struct Report {
    rows: BTreeMap<Row, Round>,
    end: Vec<String>,
    end_bytes: u64,
}

impl Report {
    pub fn new(rows: &[Row]) -> Self {
        let rows = rows.iter().map(|row| (*row, Round::default())).collect();
        Self { rows, end: Vec::new(), end_bytes: 0 }
    }

    pub fn add(&mut self, row: Row, round: Round) {
        let sum = self.rows.entry(row).or_default();
        sum.fired += round.fired;
        sum.stall = sum.stall.max(round.stall);
        sum.whole = sum.whole.max(round.whole);
        sum.verified_bytes += round.verified_bytes;
        sum.errors += round.errors;
        sum.violations.extend(round.violations);
    }

    /// What the last look at everything found.
    pub fn end(&mut self, violations: Vec<String>, verified_bytes: u64) {
        self.end = violations;
        self.end_bytes = verified_bytes;
    }

    /// Whether P0 held so far.
    pub fn holds(&self) -> bool {
        self.end.is_empty() && self.rows.values().all(|round| round.errors == 0)
    }

    /// A fault that never happened proves nothing.
    pub fn never_fired(&self) -> Vec<Row> {
        self.rows.iter().filter(|(_, round)| round.fired == 0).map(|(row, _)| *row).collect()
    }

    pub fn print(&self, seed: u64) {
        say(
            " row  fault                                 fired  longest stall  whole again    verified  errors",
        );
        for (row, round) in &self.rows {
            say(&format!(
                "{:>4}  {:<36} {:>6} {:>12.2} s {:>10.2} s {:>7} MiB {:>7}",
                row.number(),
                row.name(),
                round.fired,
                round.stall.as_secs_f64(),
                round.whole.as_secs_f64(),
                round.verified_bytes >> 20,
                round.errors
            ));
        }
        say(&format!("at the end every copy of everything was read again: {} MiB", self.end_bytes >> 20));
        for (row, round) in &self.rows {
            if round.whole > SOAK_WHOLE {
                let (took, number) = (round.whole.as_secs(), row.number());
                say(&format!("row {number}: late: the pool was whole again only after {took} s"));
            }
            round.violations.iter().for_each(|what| say(&format!("row {}: {what}", row.number())));
        }
        self.end.iter().for_each(|what| say(&format!("at the end: {what}")));
        let idle = self.never_fired();
        idle.iter().for_each(|row| say(&format!("row {}: it never fired", row.number())));
        let verdict = match (self.holds(), idle.is_empty()) {
            (false, _) => "P0 was broken",
            (true, false) => "P0 held, but not every fault fired",
            (true, true) => "P0 held",
        };
        say(&format!("{verdict} (seed {seed})"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_never_fired_and_one_that_failed_are_told() {
        let mut report = Report::new(&[Row::KillServer, Row::KillTwo]);
        assert_eq!(report.never_fired(), [Row::KillServer, Row::KillTwo]);
        report.add(Row::KillServer, Round { fired: 2, ..Round::default() });
        assert!(report.holds());
        assert_eq!(report.never_fired(), [Row::KillTwo]);
        report.add(Row::KillTwo, Round { fired: 1, errors: 1, ..Round::default() });
        assert!(!report.holds() && report.never_fired().is_empty());
    }

    #[test]
    fn what_the_last_look_finds_breaks_it_too() {
        let mut report = Report::new(&[Row::KillServer]);
        report.end(vec!["wrong".into()], 0);
        assert!(!report.holds());
    }
}
