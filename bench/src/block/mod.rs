//! `bench block`: volumes with three replicas beside other block stores, all driven by the same client.

pub mod client;
pub mod drive;
pub mod measure;
pub mod qsd;
mod raw;
pub mod rbd;
mod recovery;
mod shape;
pub mod side;
pub mod workload;

use crate::counters::Census;
use crate::machine::{say, say_aside};
use crate::options::{Run, parse_size, size_text};
use crate::report::bound::{Against, Bound};
use crate::report::figure::{IOPS, P50, THROUGHPUT};
use crate::report::turns::in_turn;
use crate::report::{OURS, Report, RowName, Verdict, take_in};
use crate::room::{DiskSize, Plan, Room};
use crate::store::Store;
use anyhow::{Result, bail};
use measure::{Turn, measure};
pub use shape::Shape;
use side::Side;
use std::path::{Path, PathBuf};
use workload::{
    RANDREAD_D1, RANDREAD_D32, RANDWRITE_D1, RANDWRITE_D32, SEQREAD, SEQWRITE, WORKLOADS, Workload,
};

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    run: Run,
    /// Whom to measure beside ours.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "qsd,raw")]
    peers: Vec<Peer>,
    /// Size of each volume on each side; thin where the side can.
    #[arg(long, default_value = "4G", value_parser = parse_size)]
    size: u64,
    /// The part of each volume, from its start, that is written first and worked on; 1 is all of it.
    #[arg(long, default_value_t = 1.0)]
    fill: f64,
    /// Volumes that are attached and driven at once; figures are sums over them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    volumes: u32,
    /// A vhost-user-blk socket that is served already, in the place of starting ashlar.
    #[arg(long, conflicts_with = "ashlar", requires = "pid")]
    socket: Option<PathBuf>,
    /// The process behind --socket, for its CPU time.
    #[arg(long)]
    pid: Option<u32>,
}

impl Options {
    pub fn check(&self) -> bool {
        self.run.check
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Peer {
    /// qemu-storage-daemon on a local file: no replica, no checksums.
    Qsd,
    /// A local file without any server: what the disk gives, for the rows of whole mebibytes.
    Raw,
    /// Ceph RBD with three OSDs and three replicas, through qemu-storage-daemon.
    Ceph,
    /// Vitastor, which Debian does not have.
    Vitastor,
}

impl Peer {
    /// How often it keeps what is written.
    fn copies(self) -> u64 {
        match self {
            Self::Qsd | Self::Raw => 1,
            Self::Ceph => 3,
            // It is not started.
            Self::Vitastor => 0,
        }
    }
}

/// Runs the comparison and prints it.
pub fn run(options: &Options) -> Result<Verdict> {
    let shape = Shape::new(options.volumes, options.size, options.fill)?;
    let workloads = WORKLOADS.iter().filter(|workload| options.run.wants(workload.name));
    let workloads = workloads.map(|workload| (workload.row(), workload)).collect::<Vec<_>>();
    if workloads.is_empty() && !recovery::is_wanted(options) {
        bail!("no workload's name contains {:?}", options.run.only.as_deref().unwrap_or_default());
    }
    let (folder, facts) = options.run.begin()?;
    let disks = disks(options, shape, &Room::under(folder.path())?)?;
    let (mut sides, missing) = start_sides(options, (shape, disks), folder.path())?;
    for side in &sides {
        say(&format!("{}: {}", side.name, side.durability));
        say_aside(&format!("writing {} of {}'s volumes", size_text(shape.area), side.name));
        side.fill(shape)?;
        side.settle()?;
    }
    let sides_facts = sides.iter().map(Side::facts).collect();
    let mut report = Report::new("block", "Volumes: one client, one queue a volume", facts, sides_facts);
    report.set("volumes", shape.volumes.to_string());
    report.set("size", size_text(shape.size));
    report.set("filled", size_text(shape.area));
    report
        .set("disks", disks.map_or_else(|| "as the server at --socket has them".to_owned(), DiskSize::text));
    report.set("seconds", options.run.seconds.to_string());
    report.set("rounds", options.run.rounds.to_string());
    report.missing = missing;
    report.bounds = bounds();

    let mut census = Census::default();
    let turn = Turn { time: options.run.time(), shape, folder: folder.path() };
    in_turn(&mut report, options.run.rounds, &workloads, |workload, side, report| {
        let side = &sides[side];
        let measured = measure(side, workload, turn, (&mut census, report))?;
        side.settle()?;
        Ok(measured.map(|measured| measured.sample))
    })?;
    recovery::run(&mut sides[OURS], &mut report, (options, shape))?;
    options.run.finish(&report)
}

/// The disks of a store of ours, if one is to be started.
fn disks(options: &Options, shape: Shape, room: &Room) -> Result<Option<DiskSize>> {
    let plan = Plan {
        stores: u64::from(options.socket.is_none()),
        disk: shape.disk(),
        least: shape.least_disk(),
        beside_bytes: options.peers.iter().map(|peer| peer.copies() * shape.written_bytes()).sum(),
        options: "--size, --fill, --volumes, --peers or --dir",
    };
    let disk = room.choose(plan)?;
    Ok(options.socket.is_none().then_some(disk))
}

/// Ours and those peers that are there; the others with the reason.
#[expect(clippy::type_complexity, reason = "sides and a list of names with reasons")]
fn start_sides(
    options: &Options,
    (shape, disks): (Shape, Option<DiskSize>),
    folder: &Path,
) -> Result<(Vec<Side>, Vec<(String, String)>)> {
    let ours = match (disks, &options.socket, options.pid) {
        (Some(disks), ..) => Side::of_store(Store::start(folder, disks, options.run.ashlar())?, shape)?,
        (None, Some(socket), Some(pid)) => Side::foreign(socket, pid),
        (None, ..) => bail!("--socket needs --pid"),
    };
    let (mut sides, mut missing) = (vec![ours], Vec::new());
    for peer in &options.peers {
        let (name, started) = match peer {
            Peer::Qsd => (qsd::NAME, qsd::start(folder, shape, options.run.install_peers)?),
            Peer::Raw => (raw::NAME, Ok(raw::start(folder, shape)?)),
            Peer::Ceph => (rbd::NAME, rbd::start(folder, shape, options.run.install_peers)?),
            Peer::Vitastor => ("vitastor", Err(NO_VITASTOR.to_owned())),
        };
        take_in(name, started, &mut sides, &mut missing);
    }
    Ok((sides, missing))
}

const NO_VITASTOR: &str = "Debian has no package of it and this program installs nothing from elsewhere; \
                           build it from https://vitastor.io and measure it with its own fio engine";

/// The targets of volumes: the first number must hold, the second is aimed at.
fn bounds() -> Vec<Bound> {
    let peer = |side: &str| Against::Peer { side: side.to_owned(), share: 1.0 };
    let qsd = || peer(qsd::NAME);
    let third_of_raw = Against::Peer { side: raw::NAME.to_owned(), share: 1.0 / 3.0 };
    vec![
        Bound::new(RANDWRITE_D32, &IOPS, qsd(), (1.5, Some(3.0))),
        Bound::new(RANDWRITE_D32, &IOPS, peer(rbd::NAME), (25.0, Some(50.0))),
        Bound::new(RANDWRITE_D1, &P50, qsd(), (2.0, Some(1.3))),
        Bound::new(RANDREAD_D32, &IOPS, qsd(), (0.8, Some(1.0))),
        Bound::new(RANDREAD_D1, &P50, qsd(), (1.5, Some(1.2))),
        Bound::new(SEQWRITE, &THROUGHPUT, third_of_raw, (0.7, Some(0.9))),
        Bound::new(SEQREAD, &THROUGHPUT, qsd(), (1.0, Some(1.5))),
    ]
}

impl Workload {
    fn row(&self) -> RowName {
        RowName::new(self.name, &self.headline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_is_of_a_row() {
        for bound in bounds() {
            let row = WORKLOADS.iter().find(|workload| workload.name == bound.row).expect("a row");
            assert_eq!(row.headline, bound.figure);
        }
    }
}
