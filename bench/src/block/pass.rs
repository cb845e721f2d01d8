//! One shape's turn: sides of that shape, filled, measured, and gone when the next shape's turn comes.

use super::measure::{Turn, measure};
use super::recovery::{self, Start};
use super::shape::{Shape, Shapes, listed};
use super::side::Side;
use super::workload::{WORKLOADS, Workload};
use super::{Options, Peer, apart, bounds, qsd, raw, rbd};
use crate::counters::Census;
use crate::machine::{Facts, say, say_aside};
use crate::options::size_text;
use crate::report::turns::in_turn;
use crate::report::{OURS, Report, RowName, take_in};
use crate::room::{DiskSize, Plan, Room};
use crate::store::Store;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;

/// A shape, and what is measured of it.
pub struct Pass {
    shape: Shape,
    workloads: Vec<(RowName, &'static Workload)>,
    starts: Vec<Start>,
}

/// What is the same in all passes.
pub struct Passes<'a> {
    options: &'a Options,
    shapes: &'a Shapes,
    facts: Facts,
    /// Where the data lies.
    folder: &'a Path,
    census: Census,
    /// As soon as it is known who is measured.
    report: Option<Report>,
}

const NO_VITASTOR: &str = "Debian has no package of it and this program installs nothing from elsewhere; \
                           build it from https://vitastor.io and measure it with its own fio engine";

impl Pass {
    /// Those that have a row that is wanted.
    pub fn wanted(options: &Options, shapes: &Shapes) -> Result<Vec<Self>> {
        let pass = |&shape: &Shape| {
            let row =
                |workload: &Workload| RowName::new(shapes.row_name(workload.name, shape), &workload.headline);
            let workloads = WORKLOADS.iter().map(|workload| (row(workload), workload));
            Self {
                shape,
                workloads: workloads.filter(|(row, _)| options.run.wants(&row.workload)).collect(),
                starts: recovery::wanted(options, |name| shapes.row_name(name, shape)),
            }
        };
        let mut passes = shapes.all().iter().map(pass).collect::<Vec<_>>();
        passes.retain(|pass| !pass.workloads.is_empty() || !pass.starts.is_empty());
        if passes.is_empty() {
            bail!("no row's name contains {:?}", options.run.only.as_deref().unwrap_or_default());
        }
        Ok(passes)
    }

    /// No peer has the rows of starts.
    fn peers<'a>(&self, options: &'a Options) -> &'a [Peer] {
        if self.workloads.is_empty() { &[] } else { &options.peers }
    }

    /// For people who watch.
    pub fn text(&self, disks: Option<DiskSize>) -> String {
        format!("{}, disks {}", self.shape.text(), disks_text(disks))
    }

    /// Of all passes; of each, where they differ.
    pub fn disks_text(passes: &[Self], disks: &[Option<DiskSize>]) -> String {
        if disks.iter().all(|other| *other == disks[0]) {
            return disks_text(disks[0]);
        }
        let of = |(pass, disks): (&Self, &Option<DiskSize>)| {
            format!("{} ({})", disks_text(*disks), pass.shape.text())
        };
        listed(passes.iter().zip(disks).map(of))
    }

    /// The disks of each store of ours, if one is to be started.
    pub fn disks(&self, options: &Options, room: &Room) -> Result<Option<DiskSize>> {
        let peers = self.peers(options).iter();
        let apart = peers.clone().filter(|&&peer| peer == Peer::Apart).count() as u64;
        let stores = u64::from(options.socket.is_none()) + apart;
        let plan = Plan {
            stores,
            disk: self.shape.disk(),
            least: self.shape.least_disk(),
            beside_bytes: peers.map(|peer| peer.copies() * self.shape.written_bytes()).sum(),
            options: "--size, --fill, --volumes, --peers or --dir",
        };
        let disk = room.choose(plan).with_context(|| self.shape.text())?;
        Ok((stores > 0).then_some(disk))
    }
}

impl<'a> Passes<'a> {
    pub fn new((options, shapes): (&'a Options, &'a Shapes), facts: Facts, folder: &'a Path) -> Self {
        Self { options, shapes, facts, folder, census: Census::default(), report: None }
    }

    /// Makes the sides in `folder`, measures them, and ends them.
    pub fn run(&mut self, pass: &Pass, disks: Option<DiskSize>, folder: &Path) -> Result<()> {
        let shape = pass.shape;
        let (mut sides, missing) = self.start_sides(pass, disks, folder)?;
        for side in &sides {
            if self.report.is_none() {
                say(&format!("{}: {}", side.name, side.durability));
            }
            say_aside(&format!("writing {} of {}'s volumes", size_text(shape.area), side.name));
            side.fill(shape)?;
            side.settle()?;
        }
        let report = self.report.get_or_insert_with(|| {
            let mut report = report((self.options, self.shapes), &self.facts, &sides);
            report.missing = missing;
            report
        });
        let names = || sides.iter().map(|side| side.name);
        ensure!(
            names().eq(report.sides.iter().map(|side| side.name.as_str())),
            "not all sides of the other shapes could be measured with {}",
            shape.text()
        );

        let turn = Turn { time: self.options.run.time(), shape, folder: self.folder };
        in_turn(report, self.options.run.rounds, &pass.workloads, |workload, side, report| {
            let side = &sides[side];
            let measured = measure(side, workload, turn, (&mut self.census, report))?;
            side.settle()?;
            Ok(measured.map(|measured| measured.sample))
        })?;
        recovery::run(&mut sides[OURS], report, &pass.starts, (self.options, shape))
    }

    pub fn report(self) -> Result<Report> {
        self.report.context("nothing was measured")
    }

    /// Ours and those peers that are there; the others with the reason.
    #[expect(clippy::type_complexity, reason = "sides and a list of names with reasons")]
    fn start_sides(
        &self,
        pass: &Pass,
        disks: Option<DiskSize>,
        folder: &Path,
    ) -> Result<(Vec<Side>, Vec<(String, String)>)> {
        let (shape, run) = (pass.shape, &self.options.run);
        let disks = || disks.context("a store is started only where there is room for its disks");
        let ours = match (&self.options.socket, self.options.pid) {
            (Some(socket), Some(pid)) => Side::foreign(socket, pid),
            _ => Side::of_store(Store::start(folder, disks()?, run.ashlar())?, shape)?,
        };
        let (mut sides, mut missing) = (vec![ours], Vec::new());
        for peer in pass.peers(self.options) {
            let (name, started) = match peer {
                Peer::Qsd => (qsd::NAME, qsd::start(folder, shape, run.install_peers)?),
                Peer::Raw => (raw::NAME, Ok(raw::start(folder, shape)?)),
                Peer::Apart => (apart::NAME, Ok(apart::start(folder, (shape, disks()?), run.ashlar())?)),
                Peer::Ceph => (rbd::NAME, rbd::start(folder, shape, run.install_peers)?),
                Peer::Vitastor => ("vitastor", Err(NO_VITASTOR.to_owned())),
            };
            take_in(name, started, &mut sides, &mut missing);
        }
        Ok((sides, missing))
    }
}

fn disks_text(disks: Option<DiskSize>) -> String {
    disks.map_or_else(|| "as the server at --socket has them".to_owned(), DiskSize::text)
}

/// An empty report of these sides.
fn report((options, shapes): (&Options, &Shapes), facts: &Facts, sides: &[Side]) -> Report {
    let sides = sides.iter().map(Side::facts).collect();
    let mut report = Report::new("block", "Volumes: one client, one queue a volume", facts.clone(), sides);
    shapes.tell(&mut report);
    report.set("seconds", options.run.seconds.to_string());
    report.set("rounds", options.run.rounds.to_string());
    match shapes.all() {
        [_] => report.bounds = bounds(),
        _ => report.note(NO_BOUNDS),
    }
    report
}

const NO_BOUNDS: &str = "no target is judged of several shapes: targets are of one";
