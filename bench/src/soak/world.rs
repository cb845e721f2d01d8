//! The daemons, the loads on them, and what each row does to both.

use super::rows::Row;
use crate::machine::pause;
use anyhow::{Context, Result};
use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;
use trial::disk_file::DiskFile;
use trial::fleet::{DISKS, Fleet, HOME, Network};
use trial::harness::Random;
use trial::net::Weather;
use trial::s3_client::{self, S3Client};
use trial::w1::{self, Blocks, Load, Lost};
use trial::w2::{self, Objects};

const BLOCKS: u64 = 1 << 16;
const VOLUME: &str = "soak";
const BUCKET: &str = "soak";
/// How long the pool may take to be whole again after a fault.
const WHOLE: Duration = Duration::from_secs(60);
/// How long the load may take to go on after a fault.
const PROGRESS: Duration = Duration::from_secs(60);
/// Operations that show that the load goes on.
const OPERATIONS: u64 = 200;
/// Copies that a row of the disk spoils.
const SPOILED: usize = 50;
/// Rounds between two looks at everything.
const LOOK_EVERY: u64 = 8;

/// What one fault did.
#[derive(Debug, Default)]
pub struct Round {
    pub fired: u64,
    pub stall: Duration,
    pub whole: Duration,
    pub verified_bytes: u64,
    pub violations: Vec<String>,
}

impl Round {
    /// A round that could not go on.
    pub fn failed(panic: &Box<dyn Any + Send>) -> Self {
        Self { violations: vec![words(panic)], ..Self::default() }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stall, whole) = (self.stall.as_secs_f64(), self.whole.as_secs_f64());
        write!(f, "fired {}, stall {stall:.2} s, whole after {whole:.2} s", self.fired)?;
        self.violations.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

/// What a panic said.
pub fn words(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
    text.lines().take(3).collect::<Vec<_>>().join(" ")
}

pub struct World {
    // The loads end before the daemons.
    load: Option<Load>,
    objects: Option<w2::Load>,
    fleet: Fleet,
    has_relays: bool,
    socket: PathBuf,
    s3: S3Client,
    runtime: Runtime,
    rounds: u64,
    random: Random,
}

impl World {
    pub fn start(seed: u64) -> Result<Self> {
        let (fleet, has_relays) = match Fleet::start("4G", Network::Relayed, seed) {
            Ok(fleet) => (fleet, true),
            Err(_) => (Fleet::start("4G", Network::Plain, seed).map_err(anyhow::Error::msg)?, false),
        };
        fleet.wait_whole(WHOLE);
        let socket = fleet.volume(VOLUME, "1G");
        let (s3, runtime) = (fleet.s3(), s3_client::runtime());
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
        };
        world.start_load(Blocks::default());
        Ok(world)
    }

    pub fn has_relays(&self) -> bool {
        self.has_relays
    }

    fn start_load(&mut self, blocks: Blocks) {
        let load = Load::start(&self.socket, BLOCKS, blocks, self.random.next());
        w1::wait_operations(&load.live, OPERATIONS, PROGRESS);
        self.load = Some(load);
    }

    fn load(&self) -> &Load {
        self.load.as_ref().expect("between rounds the load runs")
    }

    fn progress(&self) {
        w1::wait_operations(&self.load().live, OPERATIONS, PROGRESS);
    }

    /// One fault, from its beginning until the pool is whole again and everybody is served.
    pub fn round(&mut self, row: Row, random: &mut Random) -> Round {
        let live = std::sync::Arc::clone(&self.load().live);
        live.take_slowest();
        let before = live.verified_bytes();
        let fired = self.inject(row, random);
        self.progress();
        let whole = self.fleet.wait_whole(WHOLE);
        self.progress();
        let stall = live.take_slowest().max(self.load().live.take_slowest());
        let verified_bytes = live.verified_bytes() - before;
        let mut round = Round { fired, stall, whole, verified_bytes, violations: Vec::new() };
        if fired == 0 {
            round.violations.push("the fault never fired".to_owned());
        }
        self.rounds += 1;
        let mut blocks = self.load.take().expect("between rounds the load runs").finish();
        if self.rounds.is_multiple_of(LOOK_EVERY) {
            round.verified_bytes += self.look_at_all(&mut blocks);
        }
        round.violations.append(&mut blocks.violations);
        self.start_load(blocks);
        round
    }

    /// Reads everything from every member: each attachment reads from the next.
    fn look_at_all(&mut self, blocks: &mut Blocks) -> u64 {
        let mut bytes = 0;
        for _ in 0..DISKS {
            bytes += blocks.verify(&self.socket);
            self.attach_again();
        }
        bytes
    }

    fn attach_again(&self) {
        let socket = self.socket.to_string_lossy();
        self.fleet.cli(&["volume", "detach", VOLUME]);
        self.fleet.cli(&["volume", "attach", VOLUME, "--socket", &socket]);
    }

    /// Ends the loads and looks at everything once more; what was wrong.
    pub fn finish(&mut self) -> Vec<String> {
        let mut violations = Vec::new();
        if let Some(load) = self.load.take() {
            let mut blocks = load.finish();
            self.look_at_all(&mut blocks);
            violations.append(&mut blocks.violations);
        }
        if let Some(load) = self.objects.take() {
            let mut objects = load.finish(&self.runtime).verify(&self.runtime, &self.s3);
            violations.append(&mut objects.violations);
        }
        violations
    }

    /// Does it; how often it happened.
    fn inject(&mut self, row: Row, random: &mut Random) -> u64 {
        let disk = pick(random, DISKS);
        match row {
            Row::KillServer => {
                self.fleet.kill_disk(disk);
                pause(Duration::from_millis(random.below(8000)));
                self.fleet.start_disk(disk);
                1
            }
            Row::FreezeServer => {
                self.fleet.freeze_disk(disk);
                pause(Duration::from_millis(1000 + random.below(30_000)));
                self.fleet.thaw_disk(disk);
                1
            }
            Row::KillTwo => {
                let others = (0..DISKS).filter(|other| *other != disk).collect::<Vec<_>>();
                others.iter().for_each(|other| self.fleet.kill_disk(*other));
                pause(Duration::from_millis(random.below(10_000)));
                others.iter().for_each(|other| self.fleet.start_disk(*other));
                2
            }
            Row::KillAllServers => {
                (0..DISKS).for_each(|disk| self.fleet.kill_disk(disk));
                (0..DISKS).for_each(|disk| self.fleet.start_disk(disk));
                3
            }
            Row::KillInRecovery => self.kill_in_recovery(disk, random),
            Row::KillAgent => {
                let load = self.load.take().expect("between rounds the load runs");
                self.fleet.kill_agent();
                let mut blocks = load.abandon(Lost::Session);
                self.fleet.start_agent();
                blocks.verify(&self.socket);
                self.start_load(blocks);
                1
            }
            Row::RollingRestart => self.restart_all(),
            Row::KillGateway => {
                self.fleet.kill_gateway();
                self.fleet.start_gateway();
                1
            }
            Row::FlippedBits | Row::SwappedBlocks => self.spoil(row, disk, random),
            _ => self.storm(row, disk, random),
        }
    }

    fn kill_in_recovery(&mut self, disk: usize, random: &mut Random) -> u64 {
        self.fleet.kill_disk(disk);
        for _ in 0..5 {
            self.fleet.start_and_kill_disk(disk, Duration::from_millis(random.below(500)));
        }
        self.fleet.start_disk(disk);
        6
    }

    fn restart_all(&mut self) -> u64 {
        for disk in 0..DISKS {
            self.fleet.stop_disk(disk);
            self.fleet.start_disk(disk);
            self.progress();
            self.fleet.wait_whole(WHOLE);
        }
        self.fleet.stop_voter();
        self.progress();
        self.fleet.start_voter();
        self.fleet.stop_gateway();
        self.fleet.start_gateway();
        let blocks = self.load.take().expect("between rounds the load runs").finish();
        self.fleet.stop_agent();
        self.fleet.start_agent();
        self.start_load(blocks);
        DISKS as u64 + 3
    }

    /// Bad weather on a disk's links.
    fn storm(&mut self, row: Row, disk: usize, random: &mut Random) -> u64 {
        let before = self.fleet.fired(disk);
        let lasts = Duration::from_millis(2000 + random.below(15_000));
        match row {
            Row::LinkDown => self.fleet.isolate(disk, Weather::Blackhole),
            Row::OneWay if random.below(2) == 0 => self.fleet.one_way(disk, HOME),
            Row::OneWay => self.fleet.one_way(HOME, disk),
            Row::BlindPeers => {
                // The one that comes back can't copy from one of its two sources.
                let other = (disk + 1) % DISKS;
                self.fleet.weather(disk, other, Weather::Blackhole);
                self.fleet.kill_disk(disk);
                pause(Duration::from_secs(5));
                self.fleet.start_disk(disk);
                self.fleet.wait_whole(WHOLE);
                self.fleet.isolate(disk, Weather::Clear);
                return 1;
            }
            Row::SlowNetwork => {
                let all =
                    [Weather::Delay(Duration::from_millis(200)), Weather::Reset, Weather::Throttle(125_000)];
                self.fleet.weather(HOME, disk, all[pick(random, all.len())]);
            }
            Row::LyingNetwork => {
                let all = [Weather::Flip, Weather::Repeat, Weather::Replay];
                self.fleet.weather(HOME, disk, all[pick(random, all.len())]);
            }
            _ => {
                for _ in 0..4 {
                    self.fleet.isolate(disk, Weather::Blackhole);
                    pause(Duration::from_secs(2));
                    self.fleet.isolate(disk, Weather::Clear);
                    pause(Duration::from_secs(2));
                }
            }
        }
        pause(lasts);
        self.progress();
        self.fleet.isolate(disk, Weather::Clear);
        self.fleet.fired(disk) - before
    }

    /// Spoils copies on one disk while its server is away; then every copy is read.
    fn spoil(&mut self, row: Row, disk: usize, random: &mut Random) -> u64 {
        let mut blocks = self.load.take().expect("between rounds the load runs").finish();
        self.fleet.stop_disk(disk);
        let file = DiskFile::open(&self.fleet.disk_file(disk));
        let places: Vec<Vec<u64>> = file.find(blocks.contents()).into_values().collect();
        let mut fired = 0;
        for _ in 0..SPOILED.min(places.len() / 2) {
            let one = &places[pick(random, places.len())];
            if row == Row::FlippedBits {
                one.iter().for_each(|at| file.flip(*at, random));
            } else {
                let other = &places[pick(random, places.len())];
                let (first, second) = (file.read(one[0]), file.read(other[0]));
                one.iter().for_each(|at| file.write(*at, &second));
                other.iter().for_each(|at| file.write(*at, &first));
            }
            fired += 1;
        }
        file.sync();
        self.fleet.start_disk(disk);
        self.fleet.wait_whole(WHOLE);
        self.look_at_all(&mut blocks);
        self.start_load(blocks);
        fired
    }
}

fn pick(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).unwrap_or(0)
}
