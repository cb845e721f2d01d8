//! A disk that fails to order.

use super::rows::Row;
use super::world::World;
use crate::limits::{SOAK_OPERATIONS, SOAK_PROGRESS};
use std::time::Duration;
use trial::fault_disk::{Cut, FaultDisk};
use trial::fleet::FAULT_MACHINE;
use trial::harness::{Random, eventually, rest};

/// Power cuts of a round.
const CUTS: u64 = 4;
/// Bytes a second of a slow disk.
const SLOW: u64 = 1_000_000;

impl World {
    fn fault_disk(&self) -> &FaultDisk {
        self.fleet.fault_disk().expect("rows without what they need are left out")
    }

    pub(super) fn hurt_disk(&mut self, row: Row, random: &mut Random) -> u64 {
        let before = self.fault_disk().fired();
        match row {
            Row::CutLog => return (0..CUTS).map(|_| self.cut_power(Cut::Prefix, random)).sum(),
            Row::PowerCut => return (0..CUTS).map(|_| self.cut_power(Cut::Subset, random)).sum(),
            Row::FailedWrite => {
                self.fault_disk().fail_writes(1);
                self.wait_fired(before);
            }
            Row::FailedFlush => {
                self.fault_disk().fail_flushes(1);
                self.wait_fired(before);
            }
            Row::StalledDisk => {
                self.fault_disk().stall();
                rest(Duration::from_millis(1000 + random.below(29_000)));
            }
            Row::SlowDisk => {
                self.fault_disk().throttle(SLOW);
                self.wait_left_behind();
                trial::w1::wait_operations(&self.load().live, SOAK_OPERATIONS, SOAK_PROGRESS);
            }
            _ => {
                self.fault_disk().be_odd();
                rest(Duration::from_secs(8));
            }
        }
        self.fault_disk().heal();
        self.fault_disk().fired() - before
    }

    fn wait_fired(&self, before: u64) {
        eventually("the fault", SOAK_PROGRESS, || (self.fault_disk().fired() > before).then_some(()));
    }

    /// Its writers find it slow, or it leaves one of them without an answer.
    fn wait_left_behind(&self) {
        eventually("the slow disk to be left behind", SOAK_PROGRESS, || {
            rest(Duration::from_millis(200));
            (self.fleet.listed(FAULT_MACHINE)?["in_sync"] == 0).then_some(())
        });
    }

    /// The machine of the disk loses its power under load and comes back. How many writes that lost; none of them
    /// was flushed.
    fn cut_power(&mut self, cut: Cut, random: &mut Random) -> u64 {
        self.fault_disk().be_volatile();
        rest(Duration::from_millis(200 + random.below(2000)));
        self.fleet.kill_disk(FAULT_MACHINE);
        let lost = self.fault_disk().cut_power(cut, random);
        rest(Duration::from_millis(random.below(4000)));
        self.fault_disk().heal();
        self.fleet.start_disk(FAULT_MACHINE);
        self.progress();
        self.wait_whole();
        lost
    }
}
