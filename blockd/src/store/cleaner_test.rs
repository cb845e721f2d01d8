//! The cleaner at work: what random overwrites of a disk that is nearly full cost, counted in device work
//! and not in time, so that it is the same everywhere.
//!
//! The device does one operation after the other, in the order in which they were asked for: harder than
//! any real one. An operation costs what DESIGN measured: 36 us, and three quarters of one a block more.

use super::sim::{CLIENT, SimDisk, TestRng, content, range};
use super::*;
use proto::Version;
use proto::checksum::BlockCrcs;
use proto::disk::checkpoint::MAX_PART_BLOCKS;
use proto::message::BlockRange;
use proto::units::{BLOCK_BYTES, BLOCK_LEN};
use rt::clock::Instant;
use rt::device::BlockDevice;
use std::collections::{HashMap, VecDeque};

const MIB: usize = 1 << 20;
/// What an operation costs, in blocks' worth of work, before its first block.
const OPERATION_COST: u64 = 48;

struct Load {
    disk: SimDisk,
    store: Store,
    rng: TestRng,
    device: VecDeque<Action>,
    /// Device work done so far.
    clock: u64,
    version: u64,
    /// When each unanswered write was submitted.
    waiting: HashMap<u64, u64>,
    latencies: Vec<u64>,
    blocks: u64,
    versions: Vec<u64>,
    /// Blocks read and written for anybody else since the last batch of writes.
    others: u64,
    longest_others: u64,
    device_written: u64,
    device_read: u64,
    /// Of 100 writes, this many go to the hottest tenth of the blocks.
    hot_percent: u64,
}

impl Load {
    fn new(len: usize, live_percent: u64) -> Self {
        let disk = SimDisk::formatted(len);
        let (store, _) = Store::mount(&disk).unwrap();
        let blocks = store.stat().capacity_bytes / BLOCK_BYTES * live_percent / 100;
        let mut load = Self {
            disk,
            store,
            rng: TestRng::new(1),
            device: VecDeque::new(),
            clock: 0,
            version: 0,
            waiting: HashMap::new(),
            latencies: Vec::new(),
            blocks,
            versions: vec![0; usize::try_from(blocks).unwrap()],
            others: 0,
            longest_others: 0,
            device_written: 0,
            device_read: 0,
            hot_percent: 0,
        };
        for n in 0..blocks {
            load.write(n);
            if n % 64 == 63 {
                load.drain();
            }
        }
        load.drain();
        load
    }

    fn place(n: u64) -> BlockRange {
        range(1, u32::try_from(n / 1024).unwrap(), u16::try_from(n % 1024).unwrap(), 1)
    }

    fn write(&mut self, n: u64) {
        self.version += 1;
        let version = self.version;
        self.versions[usize::try_from(n).unwrap()] = version;
        let range = Self::place(n);
        let data = content(&range, version);
        let crcs = BlockCrcs::of(&data);
        let session = Session { client: CLIENT, sequence: version };
        self.waiting.insert(version, self.clock);
        let mut out = Vec::new();
        let (ticket, version, kind) = (Ticket(version), Version(version), WriteKind::Normal);
        let event = Event::Write { ticket, session, range, version, crcs, data, kind };
        self.store.submit(Instant::default(), event, &mut out);
        self.take(out);
    }

    fn pump(&mut self) {
        let mut out = Vec::new();
        self.store.pump(Instant::default(), &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<Action>) {
        for action in out {
            match action {
                Action::Answer { ticket, result } => {
                    result.unwrap();
                    let since = self.waiting.remove(&ticket.0).unwrap();
                    self.latencies.push(self.clock - since);
                    self.longest_others = self.longest_others.max(self.others);
                    self.others = 0;
                }
                other => self.device.push_back(other),
            }
        }
    }

    /// The device does its next operation. False if it has none.
    fn work(&mut self) -> bool {
        let Some(action) = self.device.pop_front() else { return false };
        let (io, buf, result, blocks) = match action {
            Action::DiskRead { io, offset, mut buf } => {
                let result = self.disk.read_at(&mut buf, offset);
                let blocks = (buf.len() / BLOCK_LEN) as u64;
                self.device_read += blocks;
                (io, Some(buf), result, blocks)
            }
            Action::DiskWrite { io, offset, buf } => {
                let result = self.disk.write_at(&buf.to_vec(), offset);
                let blocks = (buf.len() / BLOCK_LEN) as u64;
                self.device_written += blocks;
                (io, Some(buf.into_head()), result, blocks)
            }
            Action::DiskFlush { io } => (io, None, self.disk.flush(), 0),
            Action::Answer { .. } => unreachable!("answers are no work"),
        };
        self.clock += OPERATION_COST + blocks;
        self.others += blocks;
        let mut out = Vec::new();
        self.store.submit(Instant::default(), Event::DiskDone { io, buf, result }, &mut out);
        self.take(out);
        true
    }

    fn drain(&mut self) {
        self.pump();
        while self.work() {
            self.pump();
        }
        assert!(self.waiting.is_empty(), "wedged: {:?} {:?}", self.store.segments, self.store.cleaner);
    }

    fn next_block(&mut self) -> u64 {
        let hot = self.rng.chance(self.hot_percent);
        let end = if hot { self.blocks / 10 } else { self.blocks };
        self.rng.below(end)
    }

    /// Random overwrites with `depth` of them unanswered at any time. Gives what it cost.
    fn overwrite(&mut self, count: u64, depth: usize) -> Cost {
        let (moved, written, read) =
            (self.store.counters().moved_blocks, self.device_written, self.device_read);
        self.latencies.clear();
        let clock = self.clock;
        (self.others, self.longest_others) = (0, 0);
        let mut left = count;
        while left > 0 || !self.waiting.is_empty() {
            while left > 0 && self.waiting.len() < depth {
                let n = self.next_block();
                self.write(n);
                left -= 1;
            }
            self.pump();
            assert!(
                self.work(),
                "wedged: {:?} {:?} {:?}",
                self.store.segments,
                self.store.cleaner,
                self.store.counters()
            );
        }
        self.latencies.sort_unstable();
        let at = |permille: usize| self.latencies[(self.latencies.len() - 1) * permille / 1000];
        let count = count as f64;
        Cost {
            moved: (self.store.counters().moved_blocks - moved) as f64 / count,
            written: (self.device_written - written) as f64 / count,
            read: (self.device_read - read) as f64 / count,
            p50: at(500),
            p999: at(999),
            max: at(1000),
            longest_others: self.longest_others,
            work: (self.clock - clock) as f64 / count,
        }
    }

    fn verify(&mut self) {
        for n in (0..self.blocks).step_by(3) {
            let mut out = Vec::new();
            let range = Self::place(n);
            self.store.submit(Instant::default(), Event::Read { ticket: Ticket(0), range }, &mut out);
            while let Some(action) = out.pop() {
                match action {
                    Action::DiskRead { io, offset, mut buf } => {
                        let result = self.disk.read_at(&mut buf, offset);
                        let event = Event::DiskDone { io, buf: Some(buf), result };
                        self.store.submit(Instant::default(), event, &mut out);
                    }
                    Action::Answer { result: Ok(Answer::Read { data, .. }), .. } => {
                        let expected = content(&range, self.versions[usize::try_from(n).unwrap()]);
                        assert!(data.concat() == expected, "block {n}");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

/// What overwrites cost: blocks a block written, latencies in units of device work.
#[derive(Debug)]
struct Cost {
    moved: f64,
    written: f64,
    read: f64,
    p50: u64,
    p999: u64,
    max: u64,
    longest_others: u64,
    work: f64,
}

/// How full victims are under uniform overwrites, for a log filled to `u`: the `v` with
/// `u = (v - 1) / ln v`. Each block written then moves `v / (1 - v)`.
fn theory_moved(u: f64) -> f64 {
    let (mut low, mut high) = (0.001, 0.999);
    for _ in 0..60 {
        let v: f64 = f64::midpoint(low, high);
        if (v - 1.0) / v.ln() < u { low = v } else { high = v }
    }
    low / (1.0 - low)
}

/// What theory says that overwrites with `depth` at once move, with what the store holds back left out: free
/// segments, checkpoints, half of each open head, and a header with each batch.
fn theory_of(load: &Load, depth: usize) -> f64 {
    let store = &load.store;
    let geometry = store.segments.geometry;
    let checkpoints = store.newest.segments.len() + store.newest.previous_segments.len();
    let held = store.clean_below() + u32::try_from(checkpoints).unwrap() + 1;
    let usable = f64::from((geometry.segments - held) * geometry.segment_blocks);
    // Batches of moves have few headers, writers' have many: what is written is a mixture of both.
    let mut moved = 1.0;
    for _ in 0..20 {
        let headers = (1.0 / depth as f64 + moved / f64::from(limits::MOVES_PER_BATCH)) / (1.0 + moved);
        moved = theory_moved(load.blocks as f64 / usable * (1.0 + headers));
    }
    moved
}

/// What one read, one batch of moves and one part of a checkpoint come to, with their headers.
const LONGEST_RUN: u64 =
    (limits::CLEAN_WINDOW_BLOCKS + limits::MAX_BATCH_DATA_BLOCKS + 16) as u64 + MAX_PART_BLOCKS as u64 + 1;

#[test]
fn four_fifths_full_random_overwrites_cost_what_theory_says_and_nobody_waits_long() {
    for depth in [8, 32] {
        let mut load = Load::new(64 * MIB, 80);
        load.overwrite(load.blocks, depth);
        let stalls = load.store.counters().stalls;
        let cost = load.overwrite(load.blocks * 3 / 2, depth);
        let theory = theory_of(&load, depth);
        assert!(cost.moved < theory * 1.25, "depth {depth}: theory {theory:.2}, {cost:?}");
        // Moves and headers, and an eighth for checkpoints.
        let written = (1.0 + theory * 1.25) * (1.0 + 1.0 / depth as f64) * 1.125;
        assert!(cost.written < written && cost.read < 1.25 * cost.written, "{written:.2}, {cost:?}");
        assert_eq!(load.store.counters().stalls, stalls, "writers had to wait for a segment");
        assert!(cost.p999 < 10 * cost.p50 && cost.max < 20 * cost.p50, "depth {depth}: {cost:?}");
        assert!(cost.longest_others <= LONGEST_RUN, "depth {depth}: {cost:?}");
        load.verify();
    }
}

#[test]
fn one_writer_at_a_time_waits_for_little() {
    let mut load = Load::new(64 * MIB, 80);
    load.overwrite(load.blocks, 1);
    let stalls = load.store.counters().stalls;
    let cost = load.overwrite(load.blocks / 2, 1);
    assert_eq!(load.store.counters().stalls, stalls);
    assert!(cost.p999 < 10 * cost.p50 && cost.longest_others <= LONGEST_RUN, "{cost:?}");
}

/// Cold data is told from hot by its age, so that it is seldom moved.
#[test]
fn skewed_overwrites_cost_far_less_than_uniform_ones() {
    let mut load = Load::new(64 * MIB, 80);
    load.overwrite(load.blocks, 32);
    let uniform = load.overwrite(load.blocks, 32);
    load.hot_percent = 90;
    load.overwrite(load.blocks, 32);
    let skewed = load.overwrite(load.blocks, 32);
    assert!(skewed.moved < uniform.moved * 0.7, "uniform {uniform:?}, skewed {skewed:?}");
    assert!(skewed.p999 < 10 * skewed.p50, "{skewed:?}");
}

/// Slower, but it goes on.
#[test]
fn nearly_full_it_slows_down_and_does_not_wedge() {
    let mut load = Load::new(64 * MIB, 95);
    load.overwrite(load.blocks / 4, 8);
    let cost = load.overwrite(load.blocks, 8);
    assert!(cost.work < 50.0, "{cost:?}");
    load.verify();
    let mut load = Load::new(64 * MIB, 100);
    let cost = load.overwrite(load.blocks / 2, 32);
    assert!(cost.work < 50.0, "{cost:?}");
    load.verify();
}
