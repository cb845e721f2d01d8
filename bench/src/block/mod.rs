//! `bench block`: volumes with three replicas beside other block stores, all driven by the same client.

mod apart;
pub mod client;
pub mod drive;
pub mod measure;
mod pass;
pub mod qsd;
mod raw;
pub mod rbd;
mod recovery;
mod shape;
pub mod side;
pub mod workload;

use crate::machine::say_aside;
use crate::options::{Run, parse_size};
use crate::report::Verdict;
use crate::report::bound::{Against, Bound};
use crate::report::figure::{IOPS, P50, THROUGHPUT};
use crate::room::{Room, within};
use anyhow::{Result, ensure};
use pass::{Pass, Passes};
pub use shape::Shape;
use shape::Shapes;
use std::path::PathBuf;
use workload::{RANDREAD_D1, RANDREAD_D32, RANDWRITE_D1, RANDWRITE_D32, SEQREAD, SEQWRITE};

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    run: Run,
    /// Whom to measure beside ours.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "qsd,raw")]
    peers: Vec<Peer>,
    /// Size of each volume on each side, thin where the side can; several, such as 1G,4G,16G, are measured one after
    /// the other.
    #[arg(long, value_delimiter = ',', default_value = "4G", value_parser = parse_size)]
    size: Vec<u64>,
    /// The part of each volume, from its start, that is written first and worked on; 1 is all of it.
    #[arg(long, default_value_t = 1.0)]
    fill: f64,
    /// Volumes that are attached and driven at once; figures are sums over them. Several numbers, such as 1,2,4, are
    /// measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..=8))]
    volumes: Vec<u32>,
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

    /// What can't be had together is refused.
    fn allow(&self, shapes: &Shapes) -> Result<()> {
        let [shape] = shapes.all() else {
            ensure!(
                !self.check(),
                "--check judges targets, which are of one shape: give one --size and --volumes"
            );
            ensure!(self.socket.is_none(), "--socket is of one shape: give one --size and --volumes");
            return Ok(());
        };
        ensure!(self.socket.is_none() || shape.volumes == 1, "--socket is one volume: give --volumes 1");
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Peer {
    /// qemu-storage-daemon on a local file: no replica, no checksums.
    Qsd,
    /// A local file without any server: what the disk gives, for the rows of whole mebibytes.
    Raw,
    /// Ours again, with every daemon a process of its own, over TCP on loopback.
    Apart,
    /// Ceph RBD with three OSDs and three replicas, through qemu-storage-daemon.
    Ceph,
    /// Vitastor, which Debian does not have.
    Vitastor,
}

impl Peer {
    /// How often it keeps what is written, beside the disks of ours.
    fn copies(self) -> u64 {
        match self {
            Self::Qsd | Self::Raw => 1,
            Self::Ceph => 3,
            // One has disks of ours, the other is not started.
            Self::Apart | Self::Vitastor => 0,
        }
    }
}

/// Runs the comparison and prints it.
pub fn run(options: &Options) -> Result<Verdict> {
    let shapes = Shapes::new(&options.volumes, &options.size, options.fill)?;
    options.allow(&shapes)?;
    let passes = Pass::wanted(options, &shapes)?;
    let (folder, facts) = options.run.begin()?;
    // All are asked before the first is started; each has the room that the one before gives back.
    let room = Room::under(folder.path())?;
    let disks = passes.iter().map(|pass| pass.disks(options, &room)).collect::<Result<Vec<_>>>()?;
    let mut bench = Passes::new((options, &shapes), facts, folder.path());
    for (number, (pass, disks)) in (1..).zip(passes.iter().zip(&disks)) {
        if let [_, _, ..] = &*passes {
            say_aside(&format!("shape {number} of {}: {}", passes.len(), pass.text(*disks)));
        }
        within(folder.path(), &number.to_string(), |folder| bench.run(pass, *disks, folder))?;
    }
    let mut report = bench.report()?;
    report.set("disks", Pass::disks_text(&passes, &disks));
    options.run.finish(&report)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use workload::WORKLOADS;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Result<Options> {
        Ok(Line::try_parse_from([&["block"], arguments].concat())?.options)
    }

    fn shapes(arguments: &[&str]) -> Result<Vec<(u32, u64)>> {
        let options = options(arguments)?;
        let shapes = Shapes::new(&options.volumes, &options.size, options.fill)?;
        options.allow(&shapes)?;
        Ok(shapes.all().iter().map(|shape| (shape.volumes, shape.size >> 20)).collect())
    }

    #[test]
    fn shapes_are_every_combination_of_two_lists() {
        assert_eq!(shapes(&[]).unwrap(), [(1, 4096)]);
        let all = shapes(&["--volumes", "1,2", "--size", "64M,1G"]).unwrap();
        assert_eq!(all, [(1, 64), (1, 1024), (2, 64), (2, 1024)]);
        for bad in [
            &["--volumes", "1,9"][..],
            &["--volumes", "1,"],
            &["--volumes", "0"],
            &["--size", "1G,4"],
            &["--size", "1G,,2G"],
            &["--size", ""],
            &["--size", "1G,1024M"],
            &["--volumes", "2,2"],
            &["--size", "1G,8M"],
            &["--size", "1G,2G", "--check"],
            &["--volumes", "1,2", "--socket", "s", "--pid", "1"],
            &["--volumes", "2", "--socket", "s", "--pid", "1"],
        ] {
            assert!(shapes(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_shapes_with_a_wanted_row_are_measured() {
        let passes = |arguments: &[&str]| {
            let options = options(arguments)?;
            let shapes = Shapes::new(&options.volumes, &options.size, options.fill)?;
            Ok::<_, anyhow::Error>(Pass::wanted(&options, &shapes)?.len())
        };
        assert_eq!(passes(&["--size", "1G,2G"]).unwrap(), 2);
        assert_eq!(passes(&["--size", "1G,2G", "--only", "start"]).unwrap(), 2);
        assert_eq!(passes(&["--size", "1G,2G", "--only", "d32, 2 GiB"]).unwrap(), 1);
        assert!(passes(&["--size", "1G,2G", "--only", "4 GiB"]).is_err());
        assert!(passes(&["--only", "4 GiB"]).is_err(), "one shape's rows are named as ever");
    }

    #[test]
    fn every_bound_is_of_a_row() {
        for bound in bounds() {
            let row = WORKLOADS.iter().find(|workload| workload.name == bound.row).expect("a row");
            assert_eq!(row.headline, bound.figure);
        }
    }
}
