//! `bench soak`: real daemons under W1 and W2 while faults of a seed's choosing happen to them, one after the other.
//!
//! P0 holds when no byte read was wrong, no request of the guest failed, nothing that was acked is gone, and every
//! group was whole again within a minute of each fault's end.

mod report;
mod rows;
mod world;

use crate::machine::{now, say, say_aside};
use anyhow::{Result, bail};
use report::Report;
use rows::Row;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;
use trial::harness::Random;
use world::World;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// How long faults are injected; the checks before and after take some more.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Decides which faults happen when; another one each time unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these rows of the list of faults, such as 1,2,13.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<u32>,
    /// The ashlar binary; by default the one beside this program.
    #[arg(long)]
    ashlar: Option<PathBuf>,
}

/// Whether P0 held.
pub enum Verdict {
    Held,
    Broken,
}

/// Runs the soak and prints what it saw.
pub fn run(options: &Options) -> Result<Verdict> {
    if let Some(path) = &options.ashlar {
        trial::process::use_program(path.clone());
    }
    let seed = options.seed.unwrap_or_else(trial::harness::seed);
    let mut world = World::start(seed)?;
    let rows = wanted(&options.rows, world.has_relays())?;
    say(&format!("soak: seed {seed}, {} minutes, {}", options.minutes, trial::process::program().display()));
    if !world.has_relays() {
        say("rows of the network are left out: network namespaces need root");
    }
    let mut report = Report::new(&rows);
    let mut random = Random(seed);
    let end = now() + Duration::from_secs(options.minutes * 60);
    let mut order = Vec::new();
    while now() < end && report.holds() {
        // Every row once in a random order, then again in another.
        if order.is_empty() {
            order.clone_from(&rows);
            shuffle(&mut order, &mut random);
        }
        let Some(row) = order.pop() else { break };
        // What can't go on any more is a panic in the harness, with the reason; the fleet's state is unknown then.
        let round = catch_unwind(AssertUnwindSafe(|| world.round(row, &mut random)));
        let is_lost = round.is_err();
        let round = round.unwrap_or_else(|panic| world::Round::failed(&panic));
        say_aside(&format!("row {:>2} {:<34} {round}", row.number(), row.name()));
        report.add(row, round);
        if is_lost {
            break;
        }
    }
    let last = catch_unwind(AssertUnwindSafe(|| world.finish()));
    report.end(last.unwrap_or_else(|panic| vec![world::words(&panic)]));
    report.print(seed);
    Ok(if report.holds() { Verdict::Held } else { Verdict::Broken })
}

fn wanted(numbers: &[u32], has_relays: bool) -> Result<Vec<Row>> {
    let known = |number: &&u32| !Row::ALL.iter().any(|row| row.number() == **number);
    if let Some(number) = numbers.iter().find(known) {
        let all = Row::ALL.map(|row| row.number().to_string()).join(", ");
        bail!("the soak has no row {number}; it has {all}");
    }
    let is_wanted = |row: &Row| {
        (numbers.is_empty() || numbers.contains(&row.number())) && (has_relays || !row.needs_relays())
    };
    let rows: Vec<Row> = Row::ALL.into_iter().filter(is_wanted).collect();
    if rows.is_empty() {
        bail!("none of the rows asked for can run here: network namespaces need root");
    }
    Ok(rows)
}

fn shuffle(rows: &mut [Row], random: &mut Random) {
    for left in (1..rows.len()).rev() {
        let other = usize::try_from(random.below(left as u64 + 1)).unwrap_or(0);
        rows.swap(left, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_number() {
        assert_eq!(wanted(&[1, 13], true).unwrap().len(), 2);
        assert_eq!(wanted(&[1, 13], false).unwrap().len(), 1);
        assert!(wanted(&[13], false).is_err());
        assert!(wanted(&[39], true).is_err());
        assert_eq!(wanted(&[], true).unwrap().len(), Row::ALL.len());
    }
}
