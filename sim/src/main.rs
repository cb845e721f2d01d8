//! `cargo run --release -p sim -- --seeds N --hours H [--first-seed S]`

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command that people run and read")]

use clap::Parser;
use sim::fault::{SimFault, Trouble};
use sim::scenario::{self, Options};
use sim::world::Totals;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rt::clock::{Clock, SystemClock};

/// Runs Ashlar's cores through simulated bad days, and checks its promises.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Simulated hours a seed.
    #[arg(long, default_value_t = 1)]
    hours: u64,
    /// A bug to plant, to see it found.
    #[arg(long, value_enum, default_value_t = SimFault::None)]
    fault: SimFault,
    /// Seeds run at once; as many as there are processors if it is not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Says what happens, as it happens.
    #[arg(long)]
    trace: bool,
}

fn tell(line: &str) {
    eprintln!("{line}");
}

/// Runs seeds until there are none, or one fails; gives what failed, with its seed.
fn work(args: &Args, next: &AtomicU64, totals: &Mutex<Totals>) -> Result<(), (u64, String)> {
    let options =
        Options { hours: args.hours, fault: args.fault, tell: args.trace.then_some(tell as fn(&str)) };
    let end = args.first_seed.saturating_add(args.seeds);
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return Ok(());
        }
        match catch_unwind(AssertUnwindSafe(|| scenario::run(seed, options))) {
            Ok(Ok(run)) => totals.lock().expect("no thread panics with it").add(&run),
            Ok(Err(broken)) => {
                next.store(end, Ordering::Relaxed);
                return Err((seed, format!("{} broken: {}", broken.checker, broken.what)));
            }
            Err(_) => {
                next.store(end, Ordering::Relaxed);
                return Err((seed, "a core panicked (above)".into()));
            }
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let started = SystemClock.now();
    let (next, totals) = (AtomicU64::new(args.first_seed), Mutex::new(Totals::default()));
    let threads = args.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let failed: Vec<(u64, String)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&args, &next, &totals))).collect();
        workers.into_iter().filter_map(|worker| worker.join().expect("panics are caught").err()).collect()
    });
    for (seed, what) in &failed {
        let fault = if args.fault == SimFault::None {
            String::new()
        } else {
            let fault = clap::ValueEnum::to_possible_value(&args.fault).expect("every fault has a name");
            format!(" --fault {}", fault.get_name())
        };
        eprintln!("seed {seed}: {what}");
        eprintln!(
            "replay: cargo run --release -p sim -- --first-seed {seed} --seeds 1 --hours {}{fault} --trace",
            args.hours
        );
    }
    let totals = totals.into_inner().expect("no thread panics with it");
    report(&totals, SystemClock.now().since(started));
    let missed = missed(&totals);
    if !failed.is_empty() {
        return ExitCode::FAILURE;
    }
    // A few seeds need not meet everything.
    if args.seeds >= 20 && !missed.is_empty() {
        eprintln!("these faults never fired: {missed:?}");
        return ExitCode::FAILURE;
    }
    println!("{} seeds kept every promise", args.seeds);
    ExitCode::SUCCESS
}

fn missed(totals: &Totals) -> Vec<Trouble> {
    Trouble::all().filter(|trouble| !totals.troubles.contains_key(trouble)).collect()
}

fn report(totals: &Totals, took: Duration) {
    let hours = Duration::from_nanos(totals.simulated_ns).as_secs_f64() / 3600.0;
    println!(
        "{hours:.0} simulated hours in {:.1} s: {:.1} a second",
        took.as_secs_f64(),
        hours / took.as_secs_f64().max(0.001)
    );
    println!(
        "operations {}, acked writes {}, flushes {}, reads {}, failed {}, changes and reads of the control plane {}",
        totals.operations,
        totals.acked_writes,
        totals.flushes,
        totals.reads,
        totals.failed,
        totals.conditional
    );
    println!(
        "writers {}, blocks reconciled {}, blocks repaired {}, events {}, trace {:016x}",
        totals.writers, totals.reconciled, totals.repaired, totals.events, totals.trace
    );
    println!(
        "reports {}, catch-ups {}, blocks copied {}, new disks {}, old copies cleared {}",
        totals.reports, totals.catch_ups, totals.copied, totals.new_disks, totals.cleared
    );
    println!("leaders elected {}, changes nobody heard of {}", totals.elections, totals.unheard);
    println!("scrubs {}, copies of blocks they repaired {}", totals.scrubs, totals.scrubbed);
    for trouble in Trouble::all() {
        println!("{:>16} {}", format!("{trouble:?}"), totals.troubles.get(&trouble).unwrap_or(&0));
    }
}
