//! `cargo run --release -p sim -- --seeds N [--first-seed S]`

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command that people run and read")]

use clap::Parser;
use sim::fault::SimFault;
use sim::scenario;
use sim::world::Totals;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// Runs the block layer's cores against simulated crashes, and checks its promises.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// A bug to plant, to see it found.
    #[arg(long, value_enum, default_value_t = SimFault::None)]
    fault: SimFault,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut totals = Totals::default();
    for seed in args.first_seed..args.first_seed.saturating_add(args.seeds) {
        let replay = format!("replay: cargo run --release -p sim -- --first-seed {seed} --seeds 1");
        match catch_unwind(AssertUnwindSafe(|| scenario::run(seed, args.fault))) {
            Ok(Ok(run)) => totals.add(&run),
            Ok(Err(broken)) => {
                eprintln!("seed {seed}: {} broken: {}", broken.checker, broken.what);
                eprintln!("{replay}");
                return ExitCode::FAILURE;
            }
            Err(_) => {
                eprintln!("seed {seed}: a core panicked (above)");
                eprintln!("{replay}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{} seeds passed: {totals:?}", args.seeds);
    ExitCode::SUCCESS
}
