//! `bench soak`: real daemons under W1 and W2 while faults of a seed's choosing happen to them, one after the other.
//!
//! # Running it
//!
//! ```text
//! cargo build --release -p ashlar
//! cargo run --release -p bench -- soak --minutes 30 --seed 1
//! ```
//!
//! A control plane, three chunk servers, a gateway and an agent run as processes of their own; W1 is a volume under
//! libblkio, W2 a bucket under four S3 clients, and both know every byte. As root each chunk server gets a network
//! namespace behind relays, and one of the disks is a file over FUSE that fails to order; without root the rows that
//! need these are left out, and said. Every row happens once in an order that the seed decides, then all again in
//! another order, until the minutes are over and every row has happened at least once. `--rows 26,32` takes only
//! those. Ctrl-C stops everything that was started.
//!
//! # Reading it
//!
//! P0 holds when no byte read was wrong, no request of the guest failed, nothing that was acked is gone, S3 answered
//! nothing worse than a 503, and all copies are alike in the end: every copy of the volume is read (each attachment
//! reads from the next member), every object is got, and a scrub of the quiet pool finds nothing to repair.
//!
//! - *fired*: how often the fault did something: kills, frames, failed or delayed I/O, spoiled blocks. A row
//!   that never fired fails the run.
//! - *longest stall*: the slowest request of the guest, or the time until the first one after its server was killed.
//! - *whole again*: from the fault's end until every group has all its members in sync. P0 asks for 60 s on a machine
//!   that has nothing else to do; a busy one is only told to be late, and fails after five times that.
//! - *verified*: bytes that were read and compared.
//! - *errors*: what broke P0; the first of each round are told below the table.
//!
//! The load must go on within two minutes of a fault, and no request may take longer than that: a guest's own disk
//! timeouts are 30 s to 180 s, and a loaded machine must not fail the run by being slow.

mod copies;
mod crowd;
mod disks;
mod network;
mod pool;
mod processes;
mod report;
mod rows;
mod scrub;
mod world;

use crate::machine::{now, say, say_aside};
use anyhow::{Result, bail};
use report::Report;
use rows::{Needs, Row};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;
use trial::harness::Random;
use world::World;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// How long faults are injected at least; every row happens once, and the checks take some more.
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
    /// Keep the daemons' folder, with their logs.
    #[arg(long)]
    keep: bool,
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
    // What can't go on is a panic in the harness, caught and told in the report; a line of where is enough.
    std::panic::set_hook(Box::new(|info| say_aside(&info.to_string())));
    let seed = options.seed.unwrap_or_else(trial::harness::seed);
    say(&format!("soak: seed {seed}, {} minutes, {}", options.minutes, trial::process::program().display()));
    let started = catch_unwind(|| World::start(seed, options.keep));
    let mut world = started.unwrap_or_else(|panic| Err(anyhow::anyhow!(world::words(&panic))))?;
    let rows = wanted(&options.rows, |needs| world.has(needs))?;
    let mut report = Report::new(&rows);
    let is_lost = inject(options, &mut world, &rows, &mut report, seed);
    if is_lost {
        report.end(vec!["nothing was looked at: the fleet's state is unknown".into()], 0);
    } else {
        let last = catch_unwind(AssertUnwindSafe(|| world.finish()));
        let (violations, bytes) = last.unwrap_or_else(|panic| (vec![world::words(&panic)], 0));
        report.end(violations, bytes);
    }
    report.print(seed);
    let held = report.holds() && report.never_fired().is_empty();
    Ok(if held { Verdict::Held } else { Verdict::Broken })
}

/// Every row once in a random order, then again in another, until the time is over. Whether it can't go on.
fn inject(options: &Options, world: &mut World, rows: &[Row], report: &mut Report, seed: u64) -> bool {
    let mut random = Random(seed);
    let end = now() + Duration::from_secs(options.minutes * 60);
    let mut order = Vec::new();
    let mut passes = 0;
    while report.holds() {
        if order.is_empty() {
            order = rows.to_vec();
            shuffle(&mut order, &mut random);
            passes += 1;
        }
        if now() >= end && passes > 1 {
            break;
        }
        let Some(row) = order.pop() else { break };
        // What can't go on any more is a panic in the harness, with the reason.
        let round = catch_unwind(AssertUnwindSafe(|| world.round(row, &mut random)));
        let is_lost = round.is_err();
        let round = round.unwrap_or_else(|panic| world::Round::failed(&panic));
        say_aside(&format!("row {:>2} {:<36} {round}", row.number(), row.name()));
        report.add(row, round);
        if is_lost {
            return true;
        }
    }
    false
}

fn wanted(numbers: &[u32], has: impl Fn(Needs) -> bool) -> Result<Vec<Row>> {
    let known = |number: &&u32| !Row::ALL.iter().any(|row| row.number() == **number);
    if let Some(number) = numbers.iter().find(known) {
        let all = Row::ALL.map(|row| row.number().to_string()).join(", ");
        bail!("the soak has no row {number}; it has {all}");
    }
    let is_wanted = |row: &Row| (numbers.is_empty() || numbers.contains(&row.number())) && has(row.needs());
    let rows: Vec<Row> = Row::ALL.into_iter().filter(is_wanted).collect();
    if rows.is_empty() {
        bail!("none of the rows asked for can run here: network namespaces and FUSE need root");
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
        let nothing = |needs| needs == Needs::Nothing;
        assert_eq!(wanted(&[1, 13], |_| true).unwrap().len(), 2);
        assert_eq!(wanted(&[1, 13, 27], nothing).unwrap().len(), 1);
        assert!(wanted(&[13], nothing).is_err());
        assert!(wanted(&[39], |_| true).is_err());
        assert_eq!(wanted(&[], |_| true).unwrap().len(), Row::ALL.len());
    }

    #[test]
    fn numbers_are_in_order_and_each_is_there_once() {
        assert!(Row::ALL.is_sorted_by(|one, next| one.number() < next.number()));
    }
}
