//! `bench block`: a volume with three replicas beside qemu-storage-daemon's unreplicated local file.

mod client;
mod ours;
mod peer;
mod report;
mod workload;

pub use report::Verdict;

use crate::limits::{SETTLE_STEP, SETTLE_STEPS, SETTLED_BELOW_BYTES};
use crate::machine::{Facts, pause, say, say_aside, written_bytes};
use crate::server::Server;
use anyhow::{Context, Result, bail};
use client::Client;
use report::Report;
use std::path::PathBuf;
use std::time::Duration;
use workload::{Sample, WORKLOADS, Workload};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Seconds of each workload on each side, each round.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds; the sides take turns in each.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Size of the disk on both sides; all of it is written first.
    #[arg(long, default_value = "4G", value_parser = parse_size)]
    size: u64,
    /// Where both sides keep their data; not in memory (tmpfs).
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The ashlar binary; by default the one beside this program.
    #[arg(long)]
    ashlar: Option<PathBuf>,
    /// A vhost-user-blk socket that is served already, in the place of starting ashlar.
    #[arg(long, conflicts_with = "ashlar", requires = "pid")]
    socket: Option<PathBuf>,
    /// The process behind --socket, for its CPU time.
    #[arg(long)]
    pid: Option<u32>,
    /// Only the workloads whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Write the whole result here too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Exit with 1 if a bound is missed.
    #[arg(long)]
    pub check: bool,
}

/// A side of the comparison: a disk at a socket, and the process that pays for it.
pub struct Side {
    name: &'static str,
    socket: PathBuf,
    durability: String,
    process: Process,
}

enum Process {
    Started(Server),
    Foreign(u32),
}

impl Side {
    fn pid(&self) -> u32 {
        match &self.process {
            Process::Started(server) => server.pid(),
            Process::Foreign(pid) => *pid,
        }
    }

    fn cpu_time(&self) -> Result<Duration> {
        crate::machine::cpu_time(self.pid())
    }

    /// Waits until what it does in the background is done, so that the other side does not pay for it.
    fn settle(&self) -> Result<()> {
        let mut before = written_bytes(self.pid())?;
        for _ in 0..SETTLE_STEPS {
            pause(SETTLE_STEP);
            let after = written_bytes(self.pid())?;
            if after - before < SETTLED_BELOW_BYTES {
                return Ok(());
            }
            before = after;
        }
        bail!("{} keeps writing though nobody asks it anything", self.name)
    }
}

/// Runs the comparison and prints it.
pub fn run(options: &Options) -> Result<Verdict> {
    let folder = tempfile::Builder::new()
        .prefix("ashlar-bench-")
        .tempdir_in(&options.dir)
        .with_context(|| format!("making a folder in {}", options.dir.display()))?;
    let path = folder.path().canonicalize()?;
    let facts = Facts::collect(&path);
    facts.print();

    let peer = peer::start(&path, options.size)?;
    let ours = match (&options.socket, options.pid) {
        (Some(socket), Some(pid)) => Side {
            name: "ashlar",
            socket: socket.clone(),
            durability: "as the server at --socket has it".into(),
            process: Process::Foreign(pid),
        },
        _ => ours::start(&path, options.size, options.ashlar.as_deref())?,
    };
    let sides = [ours, peer];
    for side in &sides {
        say(&format!("{}: {}", side.name, side.durability));
        fill(side, options.size)?;
        side.settle()?;
    }

    let wanted = |workload: &&Workload| options.only.as_ref().is_none_or(|only| workload.name.contains(only));
    let workloads = WORKLOADS.iter().filter(wanted).collect::<Vec<_>>();
    if workloads.is_empty() {
        bail!("no workload's name contains {:?}", options.only.as_deref().unwrap_or_default());
    }
    let mut report = Report::new(facts, options.size, options.seconds, &sides);
    for round in 0..options.rounds {
        for workload in &workloads {
            // Who goes first changes, so that neither always meets the disk the other left.
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for index in order {
                let sample = measure(&sides[index], workload, options)?;
                say_aside(&format!(
                    "round {}: {:<22} {:<20} {}",
                    round + 1,
                    workload.name,
                    sides[index].name,
                    sample.summary()
                ));
                report.add(workload.name, index, sample);
            }
        }
    }
    report.print();
    if let Some(path) = &options.json {
        let file = std::fs::File::create(path).with_context(|| format!("creating {}", path.display()))?;
        serde_json::to_writer_pretty(file, &report.to_json())?;
    }
    Ok(report.verdict())
}

fn measure(side: &Side, workload: &Workload, options: &Options) -> Result<Sample> {
    let failed = || format!("{} on {}", workload.name, side.name);
    let mut client = Client::connect(&side.socket).with_context(failed)?;
    let seconds = Duration::from_secs(options.seconds);
    let sample = workload::run(&mut client, workload, options.size, seconds, || side.cpu_time());
    drop(client);
    side.settle()?;
    sample.with_context(failed)
}

/// Writes the whole disk, so that no side answers from holes.
fn fill(side: &Side, size: u64) -> Result<()> {
    say_aside(&format!("writing all of {}'s {} MiB", side.name, size >> 20));
    let mut client = Client::connect(&side.socket)?;
    if client.capacity()? < size {
        bail!("{}'s disk has {} bytes and not {size}", side.name, client.capacity()?);
    }
    workload::fill(&mut client, size).with_context(|| format!("filling {}'s disk", side.name))
}

fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        _ => return Err(format!("{text:?}: a size is a number with M, G or T behind it")),
    };
    let number = digits.parse::<u64>().ok().filter(|&number| number > 0 && number < 1 << 20);
    number.map(|number| number << shift).ok_or_else(|| format!("{text:?}: a size starts with a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_a_unit() {
        assert_eq!((parse_size("4G"), parse_size("512MiB")), (Ok(4 << 30), Ok(512 << 20)));
        for bad in ["", "G", "0G", "4", "4X", "-1G", "4.5G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
