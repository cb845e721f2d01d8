//! Bad weather on a disk's links.

use super::rows::Row;
use super::world::{World, pick};
use std::time::Duration;
use trial::fleet::HOME;
use trial::harness::{Random, rest};
use trial::net::Weather;

impl World {
    pub(super) fn storm(&mut self, row: Row, random: &mut Random) -> u64 {
        let disk = self.some_disk(random);
        let before = self.fleet.fired(disk);
        let lasts = Duration::from_millis(2000 + random.below(15_000));
        match row {
            Row::LinkDown => self.fleet.isolate(disk, Weather::Blackhole),
            Row::OneWay if random.below(2) == 0 => self.fleet.one_way(disk, HOME),
            Row::OneWay => self.fleet.one_way(HOME, disk),
            Row::BlindPeers => return self.blind_peers(disk, random),
            Row::SlowNetwork | Row::LyingNetwork => return self.three_weathers(row, disk),
            _ => {
                for _ in 0..4 {
                    self.fleet.isolate(disk, Weather::Blackhole);
                    rest(Duration::from_secs(2));
                    self.fleet.isolate(disk, Weather::Clear);
                    rest(Duration::from_secs(2));
                }
                return self.fleet.fired(disk) - before;
            }
        }
        rest(lasts);
        trial::w1::wait_operations(&self.load().live, 50, crate::limits::SOAK_PROGRESS);
        self.fleet.isolate(disk, Weather::Clear);
        self.fleet.fired(disk) - before
    }

    /// The one that comes back can't copy from one of its two sources.
    fn blind_peers(&mut self, disk: usize, random: &mut Random) -> u64 {
        let others: Vec<usize> = self.fleet.used().iter().copied().filter(|other| *other != disk).collect();
        let other = others[pick(random, others.len())];
        let before = self.fleet.fired(disk);
        self.fleet.weather(disk, other, Weather::Blackhole);
        self.fleet.kill_disk(disk);
        rest(Duration::from_secs(5));
        self.fleet.start_disk(disk);
        self.progress();
        self.wait_whole();
        self.fleet.isolate(disk, Weather::Clear);
        self.fleet.fired(disk) - before
    }

    /// One after the other, with the load going on in each; it counts if all of them did something.
    fn three_weathers(&mut self, row: Row, disk: usize) -> u64 {
        let all = if row == Row::SlowNetwork {
            [Weather::Delay(Duration::from_millis(200)), Weather::Reset, Weather::Throttle(125_000)]
        } else {
            [Weather::Flip, Weather::Repeat, Weather::Replay]
        };
        let mut fired = 0;
        for weather in all {
            let before = self.fleet.fired(disk);
            self.fleet.weather(HOME, disk, weather);
            rest(Duration::from_secs(5));
            trial::w1::wait_operations(&self.load().live, 50, crate::limits::SOAK_PROGRESS);
            self.fleet.weather(HOME, disk, Weather::Clear);
            let did = self.fleet.fired(disk) - before;
            if did == 0 {
                self.wrong.push(format!("{weather:?} never did anything"));
            }
            fired += did;
            self.wait_whole();
        }
        fired
    }
}
