//! `bench cleaner`: random writes for as long as you like, with a log that is nearly full beside one that is nearly
//! empty: what cleaning costs in operations a second, in latency and in bytes written.
//!
//! Two stores with disks of the same size run at once; the one whose turn it is not is at rest. The full one holds a
//! volume of so much of its log's room (`--full`), the empty one a volume of a sixteenth. Before anything is measured
//! both are aged: written at random until every byte of the disk's file was written once at least, so that neither
//! meets holes, and every segment of the full one holds old and new blocks.
//!
//! What a turn leaves to be cleaned is waited for after it, and counts as written by that turn.

use crate::block::Shape;
use crate::block::drive::Drivers;
use crate::block::measure::{Turn, measure};
use crate::block::side::{Keeper, Side};
use crate::block::workload::{RANDWRITE_D32, WORKLOADS, Workload};
use crate::counters::Census;
use crate::limits::{AGE_STEP, MAX_REQUEST_BYTES};
use crate::machine::{pause, say, say_aside, written_bytes};
use crate::options::{Run, parse_size, size_text};
use crate::report::bound::{Against, Bound};
use crate::report::figure::{Better, Figure, IOPS, P50, P999, count};
use crate::report::turns::in_turn;
use crate::report::{Report, RowName, Verdict};
use crate::room::{DiskSize, Plan, Room};
use crate::store::Store;
use anyhow::{Context, Result, bail};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub run: Run,
    /// Size of each of the three disks of both stores.
    #[arg(long, default_value = "4G", value_parser = parse_size)]
    disk: u64,
    /// The part of the log's room that the full store's volume takes.
    #[arg(long, default_value_t = 0.8)]
    full: f64,
    /// How often the log's room is written at random before anything is measured.
    #[arg(long, default_value_t = 1.5)]
    age: f64,
}

const EMPTY: &str = "4K randwrite d32, log nearly empty";

/// Bytes that a disk wrote over those that the client asked each replica to write, with what was cleaned later.
const AMPLIFICATION: Figure = Figure::new("write amplification", "B/B a replica", Better::Lower);
const LIVE: Figure = Figure::new("live in the log", "%", Better::Lower);
const REPLICAS: f64 = 3.0;

pub fn run(options: &Options) -> Result<Verdict> {
    if !(options.full > 0.0 && options.full <= 0.95) {
        bail!("--full is a part: above 0, 0.95 at most, as a log can't be cleaned without room");
    }
    let (folder, facts) = options.run.begin()?;
    let disk = DiskSize::of_mib(options.disk >> 20);
    let plan = Plan { stores: 2, disk, least: disk, beside_bytes: 0, options: "--disk or --dir" };
    let disks = Room::under(folder.path())?.choose(plan)?;
    let full = start((options, disks), &folder.path().join("full"), options.full)?;
    let empty = start((options, disks), &folder.path().join("empty"), 1.0 / 16.0)?;
    say(&format!("ashlar: {}", full.side.durability));
    for log in [&full, &empty] {
        log.side.fill(log.shape)?;
        age(log, options.age)?;
        log.side.settle()?;
    }

    let title = "Cleaning: random writes into a log that is nearly full, beside one that is nearly empty";
    let mut report = Report::new("cleaner", title, facts, vec![full.side.facts()]);
    report.set("disks", disks.text());
    report.set("seconds", options.run.seconds.to_string());
    report.set("rounds", options.run.rounds.to_string());
    let name = format!("4K randwrite d32, log {:.0} % full", options.full * 100.0);
    report.bounds = bounds(&name);
    let rows = [(RowName::new(EMPTY, &IOPS), &empty), (RowName::new(name, &IOPS), &full)];
    let mut census = Census::default();
    in_turn(&mut report, options.run.rounds, &rows, |log, _, report| {
        let turn = Turn { time: options.run.time(), shape: log.shape, folder: folder.path() };
        let before = log.written()?;
        let measured = measure(&log.side, workload()?, turn, (&mut census, report))?;
        let mut measured = measured.context("ours takes random writes")?;
        log.side.settle()?;
        let asked = count(measured.all_operations * workload()?.request_bytes as u64);
        measured.sample.put(&AMPLIFICATION, count(log.written()? - before) / asked / REPLICAS);
        measured.sample.put(&LIVE, log.live_part()? * 100.0);
        Ok(Some(measured.sample))
    })?;
    options.run.finish(&report)
}

/// A store, and how much of its log its volume takes.
struct Log {
    side: Side,
    shape: Shape,
    capacity: f64,
}

fn start((options, disks): (&Options, DiskSize), folder: &Path, part: f64) -> Result<Log> {
    std::fs::create_dir(folder).with_context(|| format!("making {}", folder.display()))?;
    let store = Store::start(folder, disks, options.run.ashlar())?;
    let capacity = store.console.metrics()?.of_a_disk("ashlar_disk_capacity_bytes")?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a size")]
    let size = (capacity * part) as u64 & !(MAX_REQUEST_BYTES as u64 - 1);
    let shape = Shape { volumes: 1, size, area: size };
    Ok(Log { side: Side::of_store(store, shape)?, shape, capacity })
}

/// Writes at random until the log was written so often.
fn age(log: &Log, times: f64) -> Result<()> {
    let drivers = Drivers::start(&log.side, workload()?, log.shape)?.context("ours takes random writes")?;
    let wanted = log.capacity * times;
    drivers.count_only();
    loop {
        pause(AGE_STEP);
        if drivers.has_failed() {
            break;
        }
        let written = count(drivers.counted_only() * workload()?.request_bytes as u64);
        let percent = (written / wanted * 100.0).min(100.0);
        say_aside(&format!(
            "writing {} at random, log of {:.0} MiB: {percent:.0} %",
            size_text(log.shape.area),
            log.capacity / count(1 << 20)
        ));
        if written >= wanted {
            break;
        }
    }
    drivers.end().with_context(|| format!("ageing {}'s log", log.side.name))?;
    Ok(())
}

fn workload() -> Result<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == RANDWRITE_D32).context("it is a row")
}

impl Log {
    fn written(&self) -> Result<u64> {
        self.side.members.iter().map(|member| written_bytes(member.pid)).sum()
    }

    fn live_part(&self) -> Result<f64> {
        let Keeper::Ours(store) = &self.side.keeper else { bail!("it is ours") };
        Ok(store.console.metrics()?.of_a_disk("ashlar_disk_live_bytes")? / self.capacity)
    }
}

fn bounds(full: &str) -> Vec<Bound> {
    let of_empty = Against::Own { row: EMPTY.to_owned(), figure: IOPS };
    let of_p50 = Against::Own { row: full.to_owned(), figure: P50 };
    vec![Bound::new(full, &IOPS, of_empty, (0.5, Some(0.75))), Bound::new(full, &P999, of_p50, (10.0, None))]
}
