//! Daemons that are killed, frozen, restarted.

use super::rows::Row;
use super::world::{World, since};
use crate::machine::now;
use std::time::Duration;
use trial::block_client::BlockClient;
use trial::harness::{Random, rest};
use trial::w1::{BLOCK, Lost};

fn up_to(random: &mut Random, ms: u64) -> Duration {
    Duration::from_millis(random.below(ms))
}

impl World {
    pub(super) fn hurt_processes(&mut self, row: Row, random: &mut Random) -> u64 {
        let disk = self.some_disk(random);
        let all = self.fleet.used().to_vec();
        match row {
            Row::KillServer => self.kill_servers(4, random),
            Row::FreezeServer => {
                self.fleet.freeze_disk(disk);
                rest(Duration::from_secs(1) + up_to(random, 25_000));
                self.fleet.thaw_disk(disk);
                1
            }
            Row::KillTwo => {
                let others: Vec<usize> = all.into_iter().filter(|other| *other != disk).collect();
                others.iter().for_each(|other| self.fleet.kill_disk(*other));
                rest(up_to(random, 10_000));
                others.iter().for_each(|other| self.fleet.start_disk(*other));
                others.len() as u64
            }
            Row::KillAllServers => {
                all.iter().for_each(|disk| self.fleet.kill_disk(*disk));
                all.iter().for_each(|disk| self.fleet.start_disk(*disk));
                all.len() as u64
            }
            Row::KillInRecovery => {
                self.fleet.kill_disk(disk);
                (0..8).for_each(|_| self.fleet.start_and_kill_disk(disk, up_to(random, 500)));
                self.fleet.start_disk(disk);
                9
            }
            Row::KillAgent => (0..3).map(|_| self.kill_agent(random)).sum(),
            Row::KillGateway => {
                for _ in 0..3 {
                    rest(up_to(random, 2000));
                    self.fleet.kill_gateway();
                    self.fleet.start_gateway();
                }
                3
            }
            _ => self.restart_all(),
        }
    }

    /// Kills some server every five seconds, each back before the next, but maybe not caught up.
    pub(super) fn kill_servers(&mut self, times: u64, random: &mut Random) -> u64 {
        for _ in 0..times {
            let disk = self.some_disk(random);
            let begun = now();
            self.fleet.kill_disk(disk);
            rest(up_to(random, 4000));
            self.fleet.start_disk(disk);
            rest(Duration::from_secs(5).saturating_sub(since(begun)));
        }
        times
    }

    fn kill_agent(&mut self, random: &mut Random) -> u64 {
        rest(up_to(random, 2000));
        let load = self.load.take().expect("between rounds the load runs");
        self.stall = self.stall.max(load.live.take_slowest());
        self.looked_at_bytes += load.live.verified_bytes();
        self.fleet.kill_agent();
        let begun = now();
        let mut blocks = load.abandon(Lost::Session);
        self.fleet.start_agent();
        // The load is gone with the agent: the stall is the time until somebody is served again.
        if let Err(errno) = BlockClient::connect(&self.socket).try_read(0, BLOCK) {
            self.wrong.push(format!("the first read after the agent's restart failed with {errno}"));
        }
        self.stall = self.stall.max(since(begun));
        self.looked_at_bytes += blocks.verify(&self.socket);
        self.start_load(blocks);
        1
    }

    fn restart_all(&mut self) -> u64 {
        let all = self.fleet.used().to_vec();
        for disk in &all {
            self.fleet.stop_disk(*disk);
            self.fleet.start_disk(*disk);
            self.progress();
            self.wait_whole();
        }
        self.fleet.stop_voter();
        // Static stability: guests go on without the control plane.
        trial::w1::wait_operations(&self.load().live, 200, crate::limits::SOAK_PROGRESS);
        self.fleet.start_voter();
        self.fleet.stop_gateway();
        self.fleet.start_gateway();
        let blocks = self.end_load();
        self.fleet.stop_agent();
        self.fleet.start_agent();
        self.start_load(blocks);
        all.len() as u64 + 3
    }
}
