//! The daemons, the loads on them, and a round: one fault, from its beginning until all is well again.

use super::rows::{Needs, Row};
use super::scrub;
use crate::limits::{
    SOAK_BLOCKS, SOAK_DISK_GIB, SOAK_LATE, SOAK_LOOK_EVERY, SOAK_OPERATIONS, SOAK_PROGRESS, SOAK_PUTS,
};
use crate::machine::{now, say};
use anyhow::{Context, Result};
use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use trial::fleet::{DISKS, Fleet, Network};
use trial::harness::{Random, eventually, interrupt};
use trial::s3_client::{self, S3Client};
use trial::w1::{self, Blocks, Load};
use trial::w2::{self, Objects};

const VOLUME: &str = "soak";
const BUCKET: &str = "soak";

/// What one fault did.
#[derive(Debug, Default)]
pub struct Round {
    pub fired: u64,
    pub stall: Duration,
    pub whole: Duration,
    pub verified_bytes: u64,
    pub errors: u64,
    /// The first of the errors, in words.
    pub violations: Vec<String>,
}

impl Round {
    /// A round that could not go on.
    pub fn failed(panic: &Box<dyn Any + Send>) -> Self {
        Self { errors: 1, violations: vec![words(panic)], ..Self::default() }
    }

    fn blame(&mut self, mut violations: Vec<String>, count: u64) {
        self.errors += count.max(violations.len() as u64);
        self.violations.append(&mut violations);
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stall, whole) = (self.stall.as_secs_f64(), self.whole.as_secs_f64());
        let mib = self.verified_bytes >> 20;
        write!(f, "fired {}, stall {stall:.2} s, whole after {whole:.2} s, {mib} MiB verified", self.fired)?;
        self.violations.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

/// What a panic said.
pub fn words(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
    text.lines().take(5).collect::<Vec<_>>().join(" ")
}

pub struct World {
    // The loads end before the daemons.
    pub(super) load: Option<Load>,
    objects: Option<w2::Load>,
    pub(super) fleet: Fleet,
    has_relays: bool,
    pub(super) socket: PathBuf,
    s3: S3Client,
    runtime: Runtime,
    rounds: u64,
    random: Random,
    /// Of the round under way: a stall that the load could not see, and what was wrong.
    pub(super) stall: Duration,
    pub(super) wrong: Vec<String>,
    /// Bytes that the round under way read outside the load.
    pub(super) looked_at_bytes: u64,
}

impl World {
    pub fn start(seed: u64, keep: bool) -> Result<Self> {
        let runtime = s3_client::runtime();
        runtime.spawn(stop_when_told());
        let relayed = Fleet::start_with_fault_disk(SOAK_DISK_GIB, Network::Relayed, seed);
        let has_relays = relayed.is_ok();
        let (mut fleet, no_fault_disk) = match relayed {
            Ok(started) => started,
            Err(why) => {
                say(&format!("rows that need a network of their own are left out: {why}"));
                let plain = Fleet::start_with_fault_disk(SOAK_DISK_GIB, Network::Plain, seed);
                plain.map_err(anyhow::Error::msg)?
            }
        };
        if let Some(why) = no_fault_disk {
            say(&format!("rows that need a disk that fails to order are left out: {why}"));
        }
        if keep {
            fleet.dir.disable_cleanup(true);
            say(&format!("the daemons' folder is {}", fleet.dir.path().display()));
        }
        fleet.wait_whole(SOAK_LATE);
        let socket = fleet.volume(VOLUME, "1G");
        let s3 = fleet.s3();
        let made = runtime.block_on(s3.put(&format!("/{BUCKET}"), Vec::new()));
        made.filter(|answer| answer.status == 200).context("the bucket can't be made")?;
        let objects = w2::Load::start(&runtime, &s3, BUCKET, Objects::default(), seed);
        let mut world = Self {
            load: None,
            objects: Some(objects),
            fleet,
            has_relays,
            socket,
            s3,
            runtime,
            rounds: 0,
            random: Random(seed),
            stall: Duration::ZERO,
            wrong: Vec::new(),
            looked_at_bytes: 0,
        };
        world.start_load(Blocks::default());
        Ok(world)
    }

    pub fn has(&self, needs: Needs) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Relays => self.has_relays,
            Needs::FaultDisk => self.fleet.fault_disk().is_some(),
        }
    }

    pub(super) fn start_load(&mut self, blocks: Blocks) {
        let load = Load::start(&self.socket, SOAK_BLOCKS, blocks, self.random.next());
        w1::wait_operations(&load.live, SOAK_OPERATIONS, SOAK_PROGRESS);
        self.load = Some(load);
    }

    pub(super) fn load(&self) -> &Load {
        self.load.as_ref().expect("between rounds the load runs")
    }

    pub(super) fn objects(&self) -> &w2::Load {
        self.objects.as_ref().expect("it runs to the end")
    }

    /// Ends W1; what it knows.
    pub(super) fn end_load(&mut self) -> Blocks {
        let load = self.load.take().expect("between rounds the load runs");
        self.stall = self.stall.max(load.live.take_slowest());
        self.looked_at_bytes += load.live.verified_bytes();
        load.finish()
    }

    /// Waits until both loads go on.
    pub(super) fn progress(&self) {
        w1::wait_operations(&self.load().live, SOAK_OPERATIONS, SOAK_PROGRESS);
        let wanted = self.objects().puts() + SOAK_PUTS;
        eventually("another object's PUT", SOAK_PROGRESS, || (self.objects().puts() >= wanted).then_some(()));
    }

    pub(super) fn wait_whole(&self) -> Duration {
        self.fleet.wait_whole(SOAK_LATE)
    }

    pub fn round(&mut self, row: Row, random: &mut Random) -> Round {
        (self.stall, self.wrong, self.looked_at_bytes) = (Duration::ZERO, Vec::new(), 0);
        let live = Arc::clone(&self.load().live);
        live.take_slowest();
        let (before, objects_before) = (live.verified_bytes(), self.objects().verified_bytes());
        let full_before = self.objects().refused_as_full();

        let fired = self.inject(row, random);
        self.progress();
        let whole = self.wait_whole();
        self.progress();

        // The load may be another one by now; each tells what it read when it is ended.
        let mut blocks = self.end_load();
        let mut round = Round { fired, whole, ..Round::default() };
        if fired == 0 {
            self.wrong.push("the fault never fired".to_owned());
        }
        self.rounds += 1;
        if self.rounds.is_multiple_of(SOAK_LOOK_EVERY) {
            self.look_at_all(&mut blocks);
        }
        round.stall = self.stall;
        round.verified_bytes =
            (self.looked_at_bytes - before) + (self.objects().verified_bytes() - objects_before);
        if row != Row::FullDisks && self.objects().refused_as_full() > full_before {
            self.wrong.push("S3 said that the disks are full".to_owned());
        }
        let violations = std::mem::take(&mut blocks.violations);
        round.blame(violations, std::mem::take(&mut blocks.violation_count));
        round.blame(self.objects().take_violations(), 0);
        round.blame(std::mem::take(&mut self.wrong), 0);
        self.start_load(blocks);
        round
    }

    fn inject(&mut self, row: Row, random: &mut Random) -> u64 {
        match row {
            Row::KillServer
            | Row::FreezeServer
            | Row::KillTwo
            | Row::KillAllServers
            | Row::KillAgent
            | Row::RollingRestart
            | Row::KillGateway
            | Row::KillInRecovery => self.hurt_processes(row, random),
            Row::LinkDown
            | Row::OneWay
            | Row::BlindPeers
            | Row::SlowNetwork
            | Row::LyingNetwork
            | Row::Flaps => self.storm(row, random),
            Row::FlippedBits
            | Row::FlippedEverywhere
            | Row::AllCopiesBad
            | Row::SwappedBlocks
            | Row::OlderBlocks => self.spoil(row, random),
            Row::CutLog
            | Row::FailedWrite
            | Row::FailedFlush
            | Row::StalledDisk
            | Row::SlowDisk
            | Row::PowerCut
            | Row::OddDisk => self.hurt_disk(row, random),
            Row::FullDisks => self.fill_disks(),
            Row::Crowd => self.crowd(random),
            Row::ReplacedDisk => self.replace_disk(random),
            Row::Scrub => self.scrub_while_killing(random),
        }
    }

    /// One of the disks in the pool.
    pub(super) fn some_disk(&self, random: &mut Random) -> usize {
        let used = self.fleet.used();
        used[pick(random, used.len())]
    }

    /// Reads everything from every member: each attachment reads from the next.
    pub(super) fn look_at_all(&mut self, blocks: &mut Blocks) {
        self.looked_at_bytes +=
            blocks.verify_members(DISKS, VOLUME, &self.socket, |args| self.fleet.cli(args));
    }

    /// The id of the volume that is written to.
    pub(super) fn volume_id(&self) -> u64 {
        let volumes = self.fleet.cli(&["volume", "list", "-o", "json"]);
        let volumes: serde_json::Value = serde_json::from_str(&volumes).expect("the CLI prints JSON");
        let ours = volumes.as_array().and_then(|all| all.iter().find(|volume| volume["name"] == VOLUME));
        ours.and_then(|volume| volume["id"].as_u64()).expect("the volume was made at the start")
    }

    pub(super) fn attach_again(&self) {
        let socket = self.socket.to_string_lossy();
        self.fleet.cli(&["volume", "detach", VOLUME]);
        self.fleet.cli(&["volume", "attach", VOLUME, "--socket", &socket]);
    }

    /// Ends the loads and looks at everything once more: what was wrong, and the bytes read.
    pub fn finish(&mut self) -> (Vec<String>, u64) {
        (self.wrong, self.looked_at_bytes) = (Vec::new(), 0);
        let mut violations = Vec::new();
        if let Some(load) = self.load.take() {
            let mut blocks = load.finish();
            self.look_at_all(&mut blocks);
            violations.append(&mut blocks.violations);
        }
        if let Some(load) = self.objects.take() {
            let mut objects = load.finish(&self.runtime);
            let before = objects.verified_bytes;
            objects = objects.verify(&self.runtime, &self.s3);
            self.looked_at_bytes += objects.verified_bytes - before;
            violations.append(&mut objects.violations);
        }
        // With nobody writing, all copies are alike or a scrub says so.
        let counts = scrub::whole_pass(&self.fleet);
        violations.extend(counts.complaints("the scrub of the quiet pool"));
        (violations, self.looked_at_bytes)
    }
}

/// Ctrl-C or SIGTERM: whatever waits gives up, and what was started is stopped on the way out.
async fn stop_when_told() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupted), Ok(mut terminated)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    interrupt();
}

/// The moment something began, to tell how long it took.
pub(super) fn since(begun: std::time::Instant) -> Duration {
    now().saturating_duration_since(begun)
}

pub(super) fn pick(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).unwrap_or(0)
}
