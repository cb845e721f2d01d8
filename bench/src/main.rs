//! Side-by-side benchmarks: ours and a peer in turn, on the same disk, through the same foreign client.
//!
//! Absolute figures move from machine to machine and hour to hour; the ratios of one run hold.

mod block;
mod limits;
mod machine;
mod server;
mod soak;
mod store;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about = "Benchmarks of Ashlar beside its peers, through public clients")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A volume with three replicas beside qemu-storage-daemon on a local file, both over vhost-user-blk.
    Block(block::Options),
    /// Real daemons under load and faults, mixed by a seed, for as long as you like.
    Soak(soak::Options),
}

fn main() -> ExitCode {
    match Cli::parse().what {
        What::Block(options) => bench_block(&options),
        What::Soak(options) => bench_soak(&options),
    }
}

fn bench_soak(options: &soak::Options) -> ExitCode {
    match soak::run(options) {
        Ok(soak::Verdict::Held) => ExitCode::SUCCESS,
        Ok(soak::Verdict::Broken) => ExitCode::FAILURE,
        Err(error) => {
            machine::say_aside(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn bench_block(options: &block::Options) -> ExitCode {
    match block::run(options) {
        Ok(block::Verdict::Holds) => ExitCode::SUCCESS,
        Ok(block::Verdict::Missed) if options.check => ExitCode::FAILURE,
        Ok(block::Verdict::Missed) => ExitCode::SUCCESS,
        Err(error) => {
            machine::say_aside(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
