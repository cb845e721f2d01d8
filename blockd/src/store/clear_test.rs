//! Groups that the disk left: gone in one piece, whatever happens meanwhile, and free to be filled again.

use super::sim::{Cut, Rig, TestRng, code, range};
use super::*;
use proto::placement::group_of;
use proto::{ChunkId, ChunkIndex, ErrorCode, GroupEpoch, GroupId, Version, VolumeId};
use std::collections::BTreeMap;

const DISK: usize = 64 << 20;
const GROUPS: u32 = 4;
const CHUNKS: u32 = 24;
const BLOCKS: u16 = 64;

fn is_in(group: u32, volume: u64, chunk: u32) -> bool {
    group_of(ChunkId { volume: VolumeId(volume), index: ChunkIndex(chunk) }, GROUPS) == GroupId(group)
}

fn clear(group: u32, epoch: u32) -> impl FnOnce(Ticket) -> Event {
    move |ticket| Event::ClearGroup {
        ticket,
        group: GroupId(group),
        groups: GROUPS,
        epoch: GroupEpoch(epoch),
    }
}

/// Versions by volume, chunk and block; 0 is not there.
type Held = BTreeMap<(u64, u32, u16), u64>;

fn held(rig: &mut Rig) -> Held {
    let mut held = Held::new();
    for (volume, chunk) in (1..=2).flat_map(|volume| (0..CHUNKS).map(move |chunk| (volume, chunk))) {
        for (block, version) in (0..).zip(rig.read(range(volume, chunk, 0, BLOCKS))) {
            let version = version.expect("nothing is corrupt");
            if version > 0 {
                held.insert((volume, chunk, block), version);
            }
        }
    }
    held
}

fn write(rig: &mut Rig, volume: u64, chunk: u32, version: u64, kind: WriteKind) {
    let ticket = rig.submit_write(range(volume, chunk, 3, 5), version, kind);
    rig.settle();
    rig.result(ticket).unwrap();
}

#[test]
fn nothing_of_a_cleared_group_is_left_and_the_rest_is() {
    let mut rig = Rig::new(DISK, 1);
    for (volume, chunk) in (1..=2).flat_map(|volume| (0..CHUNKS).map(move |chunk| (volume, chunk))) {
        write(&mut rig, volume, chunk, 7, WriteKind::Normal);
    }
    rig.simple(|ticket| Event::Fence { ticket, volume: VolumeId(1), epoch: proto::VolumeEpoch(2) }).unwrap();
    let mut rest = held(&mut rig);
    let before = rig.store.stat().live_bytes;
    rest.retain(|&(volume, chunk, _), _| !is_in(2, volume, chunk));
    rig.simple(clear(2, 9)).unwrap();
    rig.crash(Cut::All);
    rig.remount();
    for round in 0..3 {
        assert_eq!(held(&mut rig), rest, "round {round}");
        assert_eq!(rig.store.group_epoch(GroupId(2)), GroupEpoch(9));
        assert_eq!(rig.store.volume_info(VolumeId(1)).fence, proto::VolumeEpoch(2));
        let live = rest.len() as u64 * 4096;
        let stat = rig.store.stat();
        assert_eq!((stat.live_bytes, stat.live_bytes < before), (live, true));
        let volumes = [VolumeId(1), VolumeId(2)].map(|volume| rig.store.volume_stat(volume));
        assert_eq!(volumes.map(|stat| stat.live_blocks).iter().sum::<u64>() * 4096, live);
        assert_eq!(volumes.map(|stat| stat.chunks).iter().sum::<u64>() * 5 * 4096, live);
        for chunk in (0..CHUNKS).filter(|&chunk| is_in(2, 1, chunk)) {
            assert_eq!(rig.store.digest(VolumeId(1), ChunkIndex(chunk)), 0, "as if it had never been there");
        }
        rig.stop();
        rig.remount();
    }
    assert_eq!(code(rig.simple(clear(2, 8))), ErrorCode::Changed, "it is a member again by now");
    for group in [GROUPS, u32::MAX] {
        assert_eq!(code(rig.simple(clear(group, 9))), ErrorCode::BadRequest);
    }
    assert_eq!(held(&mut rig), rest);
}

/// What a member gets that comes back later may be older than what it once had.
#[test]
fn a_cleared_group_takes_lower_versions_than_it_had() {
    let mut rig = Rig::new(DISK, 2);
    let chunk = (0..CHUNKS).find(|&chunk| is_in(1, 1, chunk)).unwrap();
    write(&mut rig, 1, chunk, 90, WriteKind::Normal);
    let trimmed = rig.submit_trim(range(1, chunk, 10, 4), 91);
    rig.settle();
    rig.result(trimmed).unwrap();
    rig.simple(clear(1, 3)).unwrap();
    let ticket = rig.submit_write(range(1, chunk, 0, 16), 40, WriteKind::Repair);
    rig.settle();
    rig.result(ticket).unwrap();
    rig.flush();
    for _ in 0..2 {
        assert_eq!(rig.read(range(1, chunk, 0, 17)), [vec![Some(40); 16], vec![Some(0)]].concat());
        let runs = rig.store.chunk_runs(VolumeId(1), ChunkIndex(chunk));
        assert_eq!(
            runs.iter().map(|run| (run.first, run.count, run.version)).collect::<Vec<_>>(),
            [(0, 16, Version(40))]
        );
        rig.crash(Cut::All);
        rig.remount();
    }
}

/// A store and what it may hold: what is durable, and what was done since, in order.
struct Run {
    rig: Rig,
    rng: TestRng,
    base: Held,
    since: Vec<Step>,
    clearing: Vec<Ticket>,
    flushing: Vec<(Ticket, usize)>,
    epoch: u32,
    cleared: u32,
}

#[derive(Debug, Clone)]
enum Step {
    Write { volume: u64, chunk: u32, first: u16, count: u16, version: u64 },
    Clear { group: u32 },
}

fn apply(held: &mut Held, step: &Step) {
    match *step {
        Step::Write { volume, chunk, first, count, version } => {
            for block in first..first + count {
                let slot = held.entry((volume, chunk, block)).or_default();
                *slot = version.max(*slot);
            }
        }
        Step::Clear { group } => held.retain(|&(volume, chunk, _), _| !is_in(group, volume, chunk)),
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let (rig, rng) = (Rig::new(DISK, seed), TestRng::new(seed ^ 0x51));
        let (base, since, clearing, flushing) = (Held::new(), Vec::new(), Vec::new(), Vec::new());
        Self { rig, rng, base, since, clearing, flushing, epoch: 0, cleared: 0 }
    }

    fn act(&mut self) {
        match self.rng.below(20) {
            0 => {
                self.epoch += 1;
                let group = u32::try_from(self.rng.below(u64::from(GROUPS))).unwrap();
                let ticket = self.rig.ticket();
                self.rig.step(clear(group, self.epoch)(ticket));
                self.since.push(Step::Clear { group });
                self.clearing.push(ticket);
                self.flushing.push((ticket, self.since.len()));
            }
            1 => {
                let ticket = self.rig.ticket();
                self.rig.step(Event::Flush { ticket });
                self.flushing.push((ticket, self.since.len()));
            }
            // Nobody looks at it; it keeps the cleaner at work.
            2..5 => {
                let (chunk, first) = (self.rng.below(6), self.rng.below(4) * 256);
                self.rig.version += 1;
                let place = range(3, u32::try_from(chunk).unwrap(), u16::try_from(first).unwrap(), 256);
                self.rig.submit_write(place, self.rig.version, WriteKind::Normal);
            }
            _ => {
                let mut below = |end: u64| u16::try_from(self.rng.below(end)).unwrap();
                let (first, count) = (below(u64::from(BLOCKS) - 16), below(16) + 1);
                let (volume, chunk) = (u64::from(below(2)) + 1, u32::from(below(u64::from(CHUNKS))));
                // Some are older than what may be there: copies, as a catch-up sends them.
                self.rig.version += 1;
                let back = u64::from(below(30));
                let version = self.rig.version.saturating_sub(back).max(1);
                let place = range(volume, chunk, first, count);
                self.rig.submit_write(place, version, WriteKind::Repair);
                self.since.push(Step::Write { volume, chunk, first, count, version });
            }
        }
        for _ in 0..self.rng.below(4) {
            self.rig.complete_one();
        }
        let answers = &self.rig.answers;
        let done = self.flushing.iter().filter(|(ticket, _)| answers.contains_key(&ticket.0));
        let durable = done.map(|&(_, steps)| steps).max().unwrap_or(0);
        for step in self.since.drain(..durable) {
            apply(&mut self.base, &step);
        }
        self.flushing.retain(|(ticket, _)| !answers.contains_key(&ticket.0));
        self.flushing.iter_mut().for_each(|(_, steps)| *steps -= durable);
        self.cleared +=
            u32::try_from(self.clearing.extract_if(.., |t| answers.contains_key(&t.0)).count()).unwrap();
    }

    /// What is there is what some prefix of the steps leaves, at least all the durable ones.
    fn crash(&mut self, how: Cut) {
        self.rig.crash(how);
        self.rig.remount();
        let seen = held(&mut self.rig);
        let mut state = self.base.clone();
        let mut prefix = self.since.iter();
        while state != seen {
            let Some(step) = prefix.next() else {
                panic!("no prefix of {:?} gives what is there", self.since)
            };
            // A write may have been cut in two by the end of a batch: as far as it is there, it counts.
            if let Step::Write { volume, chunk, first, count, version } = *step {
                let part = (1..count).map(|count| Step::Write { volume, chunk, first, count, version });
                let whole = part.map(|part| {
                    let mut state = state.clone();
                    apply(&mut state, &part);
                    state
                });
                if let Some(found) = whole.into_iter().find(|state| *state == seen) {
                    state = found;
                    continue;
                }
            }
            apply(&mut state, step);
        }
        self.base = state;
        self.since.clear();
        self.clearing.clear();
        self.flushing.clear();
    }
}

/// Power cuts and kills at any moment of clearing, writing, checkpointing and cleaning: a group is there as it
/// was, or gone, never in part; and what was gone stays gone.
#[test]
fn a_crash_leaves_a_group_whole_or_gone() {
    let (mut cleared, mut checkpoints, mut cleaned) = (0, 0, 0);
    for seed in 0..8 {
        let mut run = Run::new(seed);
        for round in 0..12 {
            let acts = run.rng.below(160);
            (0..acts).for_each(|_| run.act());
            let counters = run.rig.store.counters();
            (checkpoints, cleaned) =
                (checkpoints + counters.checkpoints, cleaned + counters.cleaned_segments);
            let how = [Cut::Kill, Cut::Sectors, Cut::Writes, Cut::All][round % 4];
            run.crash(how);
            if round == 7 {
                run.rig.stop();
                run.rig.remount();
                assert_eq!(held(&mut run.rig), run.base, "seed {seed}");
            }
        }
        cleared += run.cleared;
    }
    assert!(cleared > 20, "{cleared} cleared, {checkpoints} checkpoints, {cleaned} segments cleaned");
    assert!(
        checkpoints > 3 && cleaned > 3,
        "{cleared} cleared, {checkpoints} checkpoints, {cleaned} segments cleaned"
    );
}
