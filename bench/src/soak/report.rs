//! What happened, row by row.

use super::rows::Row;
use super::world::Round;
use crate::machine::say;
use std::collections::BTreeMap;

/// The sums of all rounds.
pub struct Report {
    rows: BTreeMap<Row, Round>,
    end: Vec<String>,
}

impl Report {
    pub fn new(rows: &[Row]) -> Self {
        Self { rows: rows.iter().map(|row| (*row, Round::default())).collect(), end: Vec::new() }
    }

    pub fn add(&mut self, row: Row, round: Round) {
        let sum = self.rows.entry(row).or_default();
        sum.fired += round.fired;
        sum.stall = sum.stall.max(round.stall);
        sum.whole = sum.whole.max(round.whole);
        sum.verified_bytes += round.verified_bytes;
        sum.violations.extend(round.violations);
    }

    /// What the last look at everything found.
    pub fn end(&mut self, violations: Vec<String>) {
        self.end = violations;
    }

    /// Whether P0 held so far.
    pub fn holds(&self) -> bool {
        self.end.is_empty() && self.rows.values().all(|round| round.violations.is_empty())
    }

    pub fn print(&self, seed: u64) {
        say(" row  fault                               fired  longest stall  whole again   verified  errors");
        for (row, round) in &self.rows {
            say(&format!(
                "{:>4}  {:<34} {:>6} {:>12.2} s {:>10.2} s {:>6} MiB {:>7}",
                row.number(),
                row.name(),
                round.fired,
                round.stall.as_secs_f64(),
                round.whole.as_secs_f64(),
                round.verified_bytes >> 20,
                round.violations.len()
            ));
        }
        let told = self.rows.iter().flat_map(|(row, round)| {
            round.violations.iter().map(move |violation| format!("row {}: {violation}", row.number()))
        });
        told.chain(self.end.iter().map(|violation| format!("at the end: {violation}")))
            .for_each(|line| say(&line));
        let verdict = if self.holds() { "P0 held" } else { "P0 was broken" };
        say(&format!("{verdict} (seed {seed})"));
    }
}
