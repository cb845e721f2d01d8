//! `bench idle`: what everything costs when nobody asks for anything: the share of a core, and how often threads wake.

use crate::block::client::Client;
use crate::block::side::{Disks, Side};
use crate::block::{Shape, qsd, rbd};
use crate::counters::Meter;
use crate::machine::pause;
use crate::options::Run;
use crate::report::bound::{Against, Bound};
use crate::report::figure::{Better, Figure, MEMORY, Sample, count};
use crate::report::turns::in_turn;
use crate::report::{Report, RowName, Verdict, take_in};
use crate::room::{Plan, Room};
use crate::store::Store;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Seconds of rest that are watched each time.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Rounds; the sides take turns in each.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Whom to watch beside ours.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "qsd")]
    peers: Vec<Peer>,
    /// Where all sides keep their data.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The ashlar binary; by default the one beside this program.
    #[arg(long)]
    ashlar: Option<PathBuf>,
    /// Write the whole result here too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Exit with 1 if a bound is missed.
    #[arg(long)]
    pub check: bool,
    /// Install the Debian packages that peers need and that are missing (as root, or by sudo).
    #[arg(long)]
    install_peers: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Peer {
    /// qemu-storage-daemon on a local file.
    Qsd,
    /// Ceph RBD with three OSDs.
    Ceph,
}

impl Peer {
    /// How often it keeps what is written.
    fn copies(self) -> u64 {
        match self {
            Self::Qsd => 1,
            Self::Ceph => 3,
        }
    }
}

const SHARE: Figure = Figure::new("share of a core", "%", Better::Lower);
const WAKE_UPS: Figure = Figure::new("wake-ups", "/s", Better::Lower);
const WRITTEN: Figure = Figure::new("written", "KiB/s", Better::Lower);

const ATTACHED: &str = "at rest, a volume attached";
const CONNECTED: &str = "at rest, its client silent";

/// Whether a client is there, who asks for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guest {
    None,
    Silent,
}

const SHAPE: Shape = Shape { volumes: 1, size: 256 << 20, area: 256 << 20 };

pub fn run(options: &Options) -> Result<Verdict> {
    let run = options.as_run();
    let (folder, facts) = run.begin()?;
    let plan = Plan {
        stores: 1,
        disk: SHAPE.disk(),
        least: SHAPE.least_disk(),
        beside_bytes: options.peers.iter().map(|peer| peer.copies() * SHAPE.written_bytes()).sum(),
        options: "--dir",
    };
    let disks = Room::under(folder.path())?.choose(plan)?;
    let ours = Side::of_store(Store::start(folder.path(), disks, run.ashlar())?, SHAPE)?;
    let mut sides = vec![ours];
    let mut missing = Vec::new();
    for peer in &options.peers {
        let (name, started) = match peer {
            Peer::Qsd => (qsd::NAME, qsd::start(folder.path(), SHAPE, options.install_peers)?),
            Peer::Ceph => (rbd::NAME, rbd::start(folder.path(), SHAPE, options.install_peers)?),
        };
        take_in(name, started, &mut sides, &mut missing);
    }
    for side in &sides {
        side.fill(SHAPE)?;
    }
    let mut report = Report::new("idle", "At rest", facts, sides.iter().map(Side::facts).collect());
    report.set("disks", disks.text());
    report.set("seconds", options.seconds.to_string());
    report.set("rounds", options.rounds.to_string());
    report.missing = missing;
    report.bounds =
        [ATTACHED, CONNECTED].map(|row| Bound::new(row, &SHARE, Against::Itself, (1.0, Some(0.2)))).into();
    let rows = [(ATTACHED, Guest::None), (CONNECTED, Guest::Silent)];
    let rows = rows.map(|(name, guest)| (RowName::new(name, &SHARE), guest));
    in_turn(&mut report, options.rounds, &rows, |guest, side, _| {
        measure(&sides[side], *guest, (&run, folder.path())).map(Some)
    })?;
    run.finish(&report)
}

fn measure(side: &Side, guest: Guest, (run, folder): (&Run, &Path)) -> Result<Sample> {
    let client = match (guest, &side.disks) {
        (Guest::None, _) => None,
        (Guest::Silent, Disks::Sockets(sockets)) => {
            let mut client = Client::connect(&sockets[0])?;
            // A guest that has worked before.
            client.read_once(0)?;
            Some(client)
        }
        (Guest::Silent, Disks::Files(_)) => bail!("a file has no client"),
    };
    side.settle()?;
    let meter = Meter::start(&side.members, folder)?;
    pause(run.time());
    let usage = meter.read()?;
    drop(client);
    let seconds = usage.elapsed.as_secs_f64();
    let mut sample = Sample::default();
    sample.put(&SHARE, usage.cpu_total().as_secs_f64() / seconds * 100.0);
    if usage.cpu.len() > 1 {
        for (part, cpu) in &usage.cpu {
            sample.put(&SHARE.of_part(part), cpu.as_secs_f64() / seconds * 100.0);
        }
    }
    sample.put(&WAKE_UPS, count(usage.context_switches) / seconds);
    sample.put(&WRITTEN, count(usage.written_bytes) / 1024.0 / seconds);
    sample.put(&MEMORY, count(usage.memory_bytes) / count(1 << 20));
    Ok(sample)
}

impl Options {
    /// The options that all modes have; there is no choice of workloads here.
    fn as_run(&self) -> Run {
        Run {
            seconds: self.seconds,
            rounds: self.rounds,
            dir: self.dir.clone(),
            ashlar: self.ashlar.clone(),
            only: None,
            json: self.json.clone(),
            check: self.check,
            install_peers: self.install_peers,
        }
    }
}
