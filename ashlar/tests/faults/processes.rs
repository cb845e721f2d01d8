//! Daemons that are killed, frozen and restarted under load.

use crate::repair::assert_copies_alike;
use std::path::PathBuf;
use std::time::Duration;
use trial::fleet::{DISKS, Fleet, Network};
use trial::harness::{Random, seed, sleep};
use trial::s3_client::runtime;
use trial::w1::{self, Blocks, Load, Lost};
use trial::w2::{self, Objects};

const BLOCKS: u64 = 8192;
pub const MINUTE: Duration = Duration::from_secs(60);
/// How long the pool may take to be whole again after a fault.
pub const WHOLE: Duration = Duration::from_secs(60);
/// A debug build beside other tests gets more than the five seconds of a release build on an idle machine.
const STALL: Duration = if cfg!(debug_assertions) { Duration::from_secs(15) } else { Duration::from_secs(5) };

pub struct Trial {
    pub fleet: Fleet,
    socket: PathBuf,
    pub seed: u64,
    pub random: Random,
}

impl Trial {
    pub fn new() -> Self {
        let seed = seed();
        let fleet = Fleet::start("1G", Network::Plain, seed).unwrap();
        fleet.wait_whole(MINUTE);
        let socket = fleet.volume("v", "256M");
        Self { fleet, socket, seed, random: Random(seed) }
    }

    pub fn load(&mut self) -> Load {
        let load = Load::start(&self.socket, BLOCKS, Blocks::default(), self.random.next());
        w1::wait_operations(&load.live, 200, MINUTE);
        load
    }

    pub fn some_disk(&mut self) -> usize {
        self.random.below(DISKS as u64) as usize
    }

    /// No error, nothing lost, and all copies alike: each attachment reads from the next member.
    pub fn check(&mut self, mut blocks: Blocks) {
        self.fleet.wait_whole(WHOLE);
        blocks.verify_members(DISKS, "v", &self.socket, |args| self.fleet.cli(args));
        blocks.assert_whole(self.seed);
        assert_copies_alike(&self.fleet);
    }
}

/// Row 1.
#[test]
fn killing_chunk_servers_stalls_for_a_moment_and_loses_nothing() {
    let mut trial = Trial::new();
    let load = trial.load();
    for turn in 0..4 {
        let disk = trial.some_disk();
        trial.fleet.kill_disk(disk);
        // Back within the grace, or long after its eviction.
        sleep(Duration::from_millis(if turn % 2 == 0 { 200 } else { 4000 }));
        w1::wait_operations(&load.live, 50, MINUTE);
        trial.fleet.start_disk(disk);
        trial.fleet.wait_whole(WHOLE);
        w1::wait_operations(&load.live, 50, MINUTE);
        let slowest = load.live.take_slowest();
        assert!(slowest < STALL, "seed {}: the guest waited {slowest:?}", trial.seed);
    }
    let blocks = load.finish();
    trial.check(blocks);
}

/// Row 2.
#[test]
fn a_frozen_chunk_server_is_left_behind() {
    let mut trial = Trial::new();
    let load = trial.load();
    for frozen in [1, 8] {
        let disk = trial.some_disk();
        trial.fleet.freeze_disk(disk);
        sleep(Duration::from_secs(frozen));
        w1::wait_operations(&load.live, 50, MINUTE);
        trial.fleet.thaw_disk(disk);
        trial.fleet.wait_whole(WHOLE);
        eprintln!("frozen for {frozen} s: the guest waited {:?}", load.live.take_slowest());
    }
    let blocks = load.finish();
    trial.check(blocks);
}

/// Row 3.
#[test]
fn with_one_server_of_three_writes_wait_and_none_is_lost() {
    let mut trial = Trial::new();
    let load = trial.load();
    let left = trial.some_disk();
    let gone: Vec<usize> = (0..DISKS).filter(|disk| *disk != left).collect();
    gone.iter().for_each(|disk| trial.fleet.kill_disk(*disk));
    // Whatever was under way ends; then nothing more is done.
    sleep(Duration::from_secs(6));
    let stuck = load.live.operations();
    sleep(Duration::from_secs(3));
    assert_eq!(load.live.operations(), stuck, "seed {}: writes went on with one replica", trial.seed);
    gone.iter().for_each(|disk| trial.fleet.start_disk(*disk));
    w1::wait_operations(&load.live, 200, MINUTE);
    let blocks = load.finish();
    trial.check(blocks);
}

/// Row 4 with processes apart: the agent lives on and waits.
#[test]
fn killing_every_chunk_server_loses_nothing_that_was_flushed() {
    let mut trial = Trial::new();
    let load = trial.load();
    for _ in 0..2 {
        (0..DISKS).for_each(|disk| trial.fleet.kill_disk(disk));
        (0..DISKS).for_each(|disk| trial.fleet.start_disk(disk));
        w1::wait_operations(&load.live, 200, MINUTE);
    }
    let blocks = load.finish();
    trial.check(blocks);
}

/// The writer dies, and the next one agrees with itself on every block. (Row 5, on a VM that lives on, is
/// vhost-user's `guests`.)
#[test]
fn killing_the_agent_keeps_every_acked_write() {
    let mut trial = Trial::new();
    let mut blocks = Blocks::default();
    for _ in 0..4 {
        let load = Load::start(&trial.socket, BLOCKS, blocks, trial.random.next());
        w1::wait_operations(&load.live, 200, MINUTE);
        trial.fleet.kill_agent();
        blocks = load.abandon(Lost::Session);
        trial.fleet.start_agent();
        blocks.verify(&trial.socket);
        blocks.assert_whole(trial.seed);
    }
    trial.check(blocks);
}

/// Row 6.
#[test]
fn a_rolling_restart_costs_retries_only() {
    let mut trial = Trial::new();
    let runtime = runtime();
    let s3 = trial.fleet.s3();
    assert_eq!(runtime.block_on(s3.put("/bucket", Vec::new())).unwrap().status, 200);
    let objects = w2::Load::start(&runtime, &s3, "bucket", Objects::default(), trial.seed);
    let load = trial.load();
    for disk in 0..DISKS {
        trial.fleet.stop_disk(disk);
        trial.fleet.start_disk(disk);
        trial.fleet.wait_whole(WHOLE);
        w1::wait_operations(&load.live, 50, MINUTE);
    }
    trial.fleet.stop_voter();
    sleep(Duration::from_secs(1));
    w1::wait_operations(&load.live, 50, MINUTE);
    trial.fleet.start_voter();
    trial.fleet.stop_gateway();
    trial.fleet.start_gateway();
    let blocks = load.finish();
    trial.fleet.stop_agent();
    trial.fleet.start_agent();
    let puts = objects.puts();
    sleep(Duration::from_secs(1));
    let objects = objects.finish(&runtime).verify(&runtime, &s3);
    assert!(objects.puts > puts, "seed {}: no PUT after the restarts", trial.seed);
    objects.assert_whole(trial.seed);
    trial.check(blocks);
}
