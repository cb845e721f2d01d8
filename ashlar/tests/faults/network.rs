//! Networks that fail: each chunk server in a network namespace of its own, behind relays that lose, hold back,
//! break off, repeat and change what they carry.

use std::path::PathBuf;
use std::time::Duration;
use trial::fleet::{DISKS, Fleet, Network};
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
        Some(Self { fleet, socket, seed, random: Random(seed) })
    }

    /// A load with bad weather on one disk for this long; then P0 within a minute.
    fn storm(&mut self, lasts: Duration, bad: impl FnOnce(&Fleet, usize)) -> Duration {
        let load = Load::start(&self.socket, BLOCKS, Blocks::default(), self.random.next());
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
        self.check(load, disk)
    }

    fn check(&mut self, load: Load, disk: usize) -> Duration {
        let whole = self.fleet.wait_whole(MINUTE);
        let slowest = load.live.take_slowest();
        let mut blocks = load.finish();
        for _ in 0..DISKS {
            blocks.verify(&self.socket);
            blocks.assert_whole(self.seed);
            self.fleet.cli(&["volume", "detach", "v"]);
            self.fleet.cli(&["volume", "attach", "v", "--socket", self.socket.to_str().unwrap()]);
        }
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
