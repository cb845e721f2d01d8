//! Networks that fail: each chunk server in a network namespace of its own, behind relays that lose, hold back,
//! break off, repeat and change what they carry.

use crate::repair::assert_copies_alike;
use std::path::PathBuf;
use std::time::Duration;
use trial::fleet::{DISKS, Fleet, HOME, Network};
use trial::harness::{Random, seed, skip, sleep};
use trial::net::Weather;
use trial::w1::{self, Blocks, Load};

const BLOCKS: u64 = 8192;
const MINUTE: Duration = Duration::from_secs(60);

struct Trial {
    fleet: Fleet,
    socket: PathBuf,
    seed: u64,
    random: Random,
    blocks: Blocks,
}

impl Trial {
    /// Or why not: said, and counted as skipped.
    fn new(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip(test, "network namespaces need root");
            return None;
        }
        let seed = seed();
        let fleet = match Fleet::start("1G", Network::Relayed, seed) {
            Ok(fleet) => fleet,
            Err(why) => {
                skip(test, &why);
                return None;
            }
        };
        fleet.wait_whole(MINUTE);
        let socket = fleet.volume("v", "256M");
        Some(Self { fleet, socket, seed, random: Random(seed), blocks: Blocks::default() })
    }

    /// A load with bad weather on one disk for this long; then P0 within a minute.
    fn storm(&mut self, lasts: Duration, bad: impl FnOnce(&Fleet, usize)) -> Duration {
        let load = Load::start(&self.socket, BLOCKS, std::mem::take(&mut self.blocks), self.random.next());
        w1::wait_operations(&load.live, 200, MINUTE);
        load.live.take_slowest();
        let disk = self.random.below(DISKS as u64) as usize;
        let before = self.fleet.fired(disk);
        bad(&self.fleet, disk);
        sleep(lasts);
        w1::wait_operations(&load.live, 50, MINUTE);
        let fired = self.fleet.fired(disk) - before;
        assert!(fired > 0, "seed {}: the fault never fired", self.seed);
        self.fleet.isolate(disk, Weather::Clear);
        w1::wait_operations(&load.live, 50, MINUTE);
        self.check(load, disk)
    }

    fn check(&mut self, load: Load, disk: usize) -> Duration {
        let slowest = load.live.take_slowest();
        let mut blocks = load.finish();
        let whole = self.fleet.wait_whole(MINUTE);
        blocks.verify_members(DISKS, "v", &self.socket, |args| self.fleet.cli(args));
        blocks.assert_whole(self.seed);
        assert_copies_alike(&self.fleet);
        self.blocks = blocks;
        eprintln!("disk {disk}: the guest waited {slowest:?}; whole again after {whole:?}");
        slowest
    }
}

/// Row 13.
#[test]
fn a_link_that_goes_down_comes_back_with_nothing_lost() {
    let Some(mut trial) = Trial::new("a_link_that_goes_down_comes_back_with_nothing_lost") else { return };
    trial.storm(Duration::from_secs(10), |fleet, disk| fleet.isolate(disk, Weather::Blackhole));
}

/// Row 14: the server hears its writer, who does not hear it, and the other way round.
#[test]
fn a_link_that_carries_one_way_is_a_link_that_is_down() {
    let Some(mut trial) = Trial::new("a_link_that_carries_one_way_is_a_link_that_is_down") else { return };
    trial.storm(Duration::from_secs(8), |fleet, disk| fleet.one_way(disk, HOME));
    trial.storm(Duration::from_secs(8), |fleet, disk| fleet.one_way(HOME, disk));
}

/// Row 16: nobody copies from whom it can't see, and nothing is lost for it.
#[test]
fn servers_that_do_not_see_each_other_still_serve() {
    let Some(mut trial) = Trial::new("servers_that_do_not_see_each_other_still_serve") else { return };
    trial.fleet.weather(0, 1, Weather::Blackhole);
    let load = Load::start(&trial.socket, BLOCKS, Blocks::default(), trial.random.next());
    w1::wait_operations(&load.live, 200, MINUTE);
    // It has to catch up, and one of its two sources is out of its sight.
    trial.fleet.kill_disk(0);
    sleep(Duration::from_secs(5));
    trial.fleet.start_disk(0);
    // It finds out once that nothing comes of asking that one, and copies all from the other.
    trial.fleet.wait_whole(2 * MINUTE);
    let fired: u64 = trial.fleet.links(0, 1).iter().map(|(_, link)| link.fired()).sum();
    assert!(fired > 0, "seed {}: they never tried to see each other", trial.seed);
    trial.fleet.weather(0, 1, Weather::Clear);
    trial.check(load, 0);
}

/// Row 17.
#[test]
fn delays_resets_and_narrow_links_cost_time_only() {
    let Some(mut trial) = Trial::new("delays_resets_and_narrow_links_cost_time_only") else { return };
    let home = |weather| move |fleet: &Fleet, disk: usize| fleet.weather(HOME, disk, weather);
    trial.storm(Duration::from_secs(4), home(Weather::Delay(Duration::from_millis(200))));
    trial.storm(Duration::from_secs(4), home(Weather::Reset));
    trial.storm(Duration::from_secs(8), home(Weather::Throttle(125_000)));
}

/// Row 18.
#[test]
fn changed_repeated_and_replayed_frames_are_refused() {
    let Some(mut trial) = Trial::new("changed_repeated_and_replayed_frames_are_refused") else { return };
    for weather in [Weather::Flip, Weather::Repeat, Weather::Replay] {
        trial.storm(Duration::from_secs(5), |fleet, disk| fleet.weather(HOME, disk, weather));
    }
}

/// Row 19.
#[test]
fn a_flapping_link_does_not_keep_a_repair_from_its_end() {
    let Some(mut trial) = Trial::new("a_flapping_link_does_not_keep_a_repair_from_its_end") else { return };
    let load = Load::start(&trial.socket, BLOCKS, Blocks::default(), trial.random.next());
    w1::wait_operations(&load.live, 200, MINUTE);
    let disk = trial.random.below(DISKS as u64) as usize;
    for _ in 0..4 {
        trial.fleet.isolate(disk, Weather::Blackhole);
        sleep(Duration::from_secs(2));
        trial.fleet.isolate(disk, Weather::Clear);
        sleep(Duration::from_secs(2));
    }
    w1::wait_operations(&load.live, 50, MINUTE);
    assert!(trial.fleet.fired(disk) > 0, "seed {}: the fault never fired", trial.seed);
    trial.check(load, disk);
}
