//! Side-by-side benchmarks: ours and a peer in turn, on the same disk, through the same foreign client.
//!
//! Absolute figures move from machine to machine and hour to hour; the ratios of one run hold.

mod block;
mod ceph;
mod cleaner;
mod console;
mod counters;
mod draw;
mod idle;
mod interrupt;
mod limits;
mod machine;
mod memory;
mod metrics;
mod options;
mod packages;
mod phase;
mod progress;
mod report;
mod room;
mod s3;
mod server;
mod soak;
mod store;

use anyhow::Result;
use clap::{Parser, Subcommand};
use report::Verdict;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about = "Benchmarks of Ashlar beside its peers, through public clients")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Volumes with three replicas beside other block stores, all over vhost-user-blk.
    Block(block::Options),
    /// Random writes into a log that is nearly full, beside one that is nearly empty.
    Cleaner(cleaner::Options),
    /// The memory of the index as a volume fills, and of a gateway with its connections.
    Memory(memory::Options),
    /// What everything costs when nobody asks for anything.
    Idle(idle::Options),
    /// Draws reports that the others wrote with --json.
    Draw(draw::Options),
    /// Pages of buckets with up to millions of keys, beside other object stores.
    List(s3::list::Options),
    /// GET, PUT, LIST and DELETE of mixed sizes at once, also while a volume is written to.
    Mixed(s3::mixed::Options),
    /// Objects with three replicas beside other object stores, over plain HTTP with SigV4.
    S3(s3::Options),
    /// Real daemons under load and faults, mixed by a seed, for as long as you like.
    Soak(soak::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().what {
        What::Block(options) => judged(block::run(&options), options.check()),
        What::Cleaner(options) => judged(cleaner::run(&options), options.run.check),
        What::Memory(options) => judged(memory::run(&options), options.run.check),
        What::Idle(options) => judged(idle::run(&options), options.check),
        What::Draw(options) => draw::run(&options).map(|()| ExitCode::SUCCESS),
        What::List(options) => judged(s3::list::run(&options), options.check()),
        What::Mixed(options) => judged(s3::mixed::run(&options), options.check()),
        What::S3(options) => judged(s3::run(&options), options.check()),
        What::Soak(options) => soak::run(&options).map(|verdict| match verdict {
            soak::Verdict::Held => ExitCode::SUCCESS,
            soak::Verdict::Broken => ExitCode::FAILURE,
        }),
    };
    outcome.unwrap_or_else(|error| {
        machine::say_aside(&format!("bench: {error:#}"));
        ExitCode::FAILURE
    })
}

/// A missed bound fails a run only if that was asked for: most runs want the figures.
fn judged(verdict: Result<Verdict>, check: bool) -> Result<ExitCode> {
    verdict.map(|verdict| match verdict {
        Verdict::Missed if check => ExitCode::FAILURE,
        Verdict::Missed | Verdict::Holds => ExitCode::SUCCESS,
    })
}
