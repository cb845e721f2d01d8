//! Random runs of faults over a core.

use super::rig::{GROUPS, Rig, disk};
use super::*;
use crate::client::VolumeOp;
use bytes::Bytes;
use proto::control::MemberState;
use proto::units::CHUNK_BYTES;
use std::time::Duration;

const CHUNKS: usize = 16;

struct Run {
    rig: Rig,
    dice: u64,
    /// By chunk: the fills that it may hold. The first is the newest that was acked.
    held: Vec<Vec<u8>>,
    /// By chunk: the write under way and its fill.
    writing: Vec<Option<(u64, u8)>>,
    id: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let (held, writing) = (vec![vec![0]; CHUNKS], vec![None; CHUNKS]);
        let dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { rig: Rig::new(OnFull::Wait).open(), dice, held, writing, id: 0 }
    }

    /// A number that looks random, below `below`.
    fn roll(&mut self, below: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 16) % below
    }

    fn start(&mut self, number: usize) {
        if !self.rig.reachable[number] {
            self.rig.members[number].restart();
            self.rig.reachable[number] = true;
        }
    }

    fn step(&mut self) {
        let number = usize::try_from(self.roll(3)).unwrap();
        match self.roll(16) {
            0 => self.rig.kill(number),
            1 | 2 => self.start(number),
            3 => self.power_cut(number),
            4 => self.rig.control.is_up = self.roll(3) > 0,
            5 => self.rig.cut(number),
            6 => self.rig.silent[number] = !self.rig.silent[number],
            7 => {
                let join = self.roll(2) == 0;
                self.catch_up(number, join);
            }
            8 => {
                self.id += 1;
                self.rig.submit(1_000_000 + self.id, VolumeOp::Flush);
            }
            9 | 10 => {
                let time = Duration::from_millis(self.roll(3000));
                self.rig.pass(time);
            }
            _ => self.write(),
        }
        for _ in 0..self.roll(20) {
            let number = usize::try_from(self.roll(3)).unwrap();
            self.rig.deliver(number);
        }
        for (slot, held) in self.writing.iter_mut().zip(&mut self.held) {
            if let Some((id, fill)) = *slot
                && let Some(result) = self.rig.take(id)
            {
                result.unwrap();
                (*held, *slot) = (vec![fill], None);
            }
        }
    }

    fn write(&mut self) {
        let chunk = usize::try_from(self.roll(CHUNKS as u64)).unwrap();
        if self.writing[chunk].is_some() {
            return;
        }
        self.id += 1;
        let fill = u8::try_from(1 + self.id % 250).unwrap();
        let (offset, data) = (chunk as u64 * CHUNK_BYTES + 512, Bytes::from(vec![fill; 512]));
        self.held[chunk].push(fill);
        self.writing[chunk] = Some((self.id, fill));
        self.rig.submit(self.id, VolumeOp::Write { offset, data });
    }

    /// One at a time, while the others have everything and it can be evicted: so that nothing acked is lost.
    fn power_cut(&mut self, number: usize) {
        let rig = &mut self.rig;
        let in_sync = |rig: &Rig, other: usize| {
            rig.control.state(other).iter().all(|state| *state == MemberState::InSync)
        };
        let fit = |other: usize| {
            rig.reachable[other] && !rig.silent[other] && (other == number || in_sync(rig, other))
        };
        if rig.control.is_up && (0..3).all(fit) {
            rig.members[number].power_cut();
            rig.cut(number);
            rig.pass(Duration::from_millis(1200));
        }
    }

    /// The node of a disk that is out brings it back: it begins, copies what is newer, and joins if nothing
    /// changed meanwhile.
    fn catch_up(&mut self, number: usize, join: bool) {
        let rig = &mut self.rig;
        let states = rig.control.state(number);
        if !rig.reachable[number] {
            return;
        }
        let out = states.contains(&MemberState::Out);
        for (group, state) in (0..GROUPS).zip(states) {
            if out && state == MemberState::Out {
                rig.control.set_in(group, number, MemberState::CatchingUp);
            }
            if out || !join || state != MemberState::CatchingUp {
                continue;
            }
            let members = rig.control.map.groups[group as usize].clone();
            let source = (0..3).find(|&other| {
                let member = members.member(disk(other));
                rig.reachable[other] && member.is_some_and(|member| member.state == MemberState::InSync)
            });
            let Some(source) = source else { continue };
            let epoch = rig.members[source].adopted.entry(group).or_insert(members.epoch);
            *epoch = (*epoch).max(members.epoch);
            let blocks = rig.members[source].blocks.clone();
            rig.members[number].copy_in(&blocks, group);
            rig.control.set_in(group, number, MemberState::InSync);
        }
    }

    /// All faults end, and everything must come to its end.
    fn mend(&mut self) {
        self.rig.control.is_up = true;
        self.rig.silent = [false; super::rig::DISKS];
        (0..3).for_each(|number| self.start(number));
        for round in 0..12 {
            self.rig.pass(Duration::from_secs(6));
            (0..3).for_each(|number| self.catch_up(number, round % 2 == 1));
        }
    }
}

/// Members come and go in every way, writes are answered in any order, and whatever was acked is there, on
/// all members.
#[test]
fn what_is_acked_survives_any_run_of_faults() {
    for seed in 1..=300u64 {
        let mut run = Run::new(seed);
        (0..150).for_each(|_| run.step());
        run.mend();
        let Run { mut rig, held, .. } = run;
        let stats = rig.core.stats();
        assert_eq!(stats.operations, 0, "seed {seed}: {stats:?}\n{:?}", rig.control.map);
        let failed = rig.done.iter().filter(|(_, result)| result.is_err()).count();
        assert_eq!((failed, stats.map_version), (0, rig.control.map.version), "seed {seed}");
        for (chunk, held) in held.iter().enumerate() {
            let seen = rig.read(chunk as u64 * CHUNK_BYTES + 512, 512);
            let newest = *held.last().unwrap();
            assert_eq!(seen, vec![newest; 512], "seed {seed}, chunk {chunk}: {held:?}");
        }
        assert!(rig.members[..3].windows(2).all(|pair| pair[0].blocks == pair[1].blocks), "seed {seed}");
    }
}
