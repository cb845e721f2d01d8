//! Power cuts at every moment: the writes of a workload are recorded, and images are built of what a device
//! may keep of them. Each must mount, hold everything that a flush was answered for, and be a prefix.

use super::check::{FindingKind, check};
use super::sim::{Cut, Happened, Model, Rig, SECTOR, SimDisk, TestRng, range};
use super::store_test::{CHUNKS, fill_mixed, random_op};
use super::*;
use crate::error::ErrorKind;
use proto::disk::superblock::COPY_BLOCKS;
use proto::message::{BlockRange, BlockState};
use proto::{ChunkIndex, VolumeId};
use rt::device::BlockDevice;
use std::collections::{BTreeMap, HashMap};

const MIB: usize = 1 << 20;
const DISK: usize = 64 * MIB;
/// Operations accepted after a cut that may have been in its last batch all the same, since they are noted
/// just after their batch is.
const NOTED_LATE: usize = 2;

/// What a store did with its disk, from a moment on at which everything was durable.
struct Tape {
    start: Vec<u8>,
    model: Model,
    still: Vec<(BlockRange, u64)>,
    happened: Vec<Happened>,
}

fn record(seed: u64, count: u64) -> Tape {
    let mut rig = Rig::new(DISK, seed);
    let mut rng = TestRng::new(seed ^ 0x77);
    let mut model = Model::default();
    let still = fill_mixed(&mut rig, &mut rng, &mut model);
    rig.disk.flush().unwrap();
    model.fold(model.ops.len());
    let start = rig.disk.image();
    let (base, before) = (model.clone(), rig.store.counters());
    rig.record = Some(Vec::new());
    let mut flushes = Vec::new();
    for _ in 0..count {
        random_op(&mut rig, &mut rng, &mut model, &mut flushes);
        if let Some((ticket, _)) = flushes.pop() {
            rig.note(|| Happened::FlushAsked(ticket));
        }
        for op in model.ops.drain(..) {
            rig.note(|| Happened::Accepted(op));
        }
        for _ in 0..rng.below(6) {
            rig.complete_one();
        }
    }
    let after = rig.store.counters();
    assert!(after.cleaned_segments > before.cleaned_segments + 5, "{after:?}");
    assert!(after.checkpoints > before.checkpoints + 2, "{after:?}");
    Tape { start, model: base, still, happened: rig.record.take().unwrap() }
}

/// A write that nothing has made durable yet.
struct Loose {
    io: u64,
    at: usize,
    data: Vec<u8>,
    done: bool,
    /// A flush that is under way began after it.
    covered: bool,
}

/// A tape being played onto a disk that holds what is surely durable.
struct Player {
    rig: Rig,
    loose: Vec<Loose>,
    model: Model,
    asked: HashMap<u64, usize>,
    accepted: usize,
    folded: usize,
}

impl Player {
    fn new(tape: &Tape) -> Self {
        let disk = SimDisk::new(DISK);
        disk.restore(&tape.start);
        let rig = Rig::on(disk, 1);
        rig.disk.restore(&tape.start);
        let mut asked = HashMap::new();
        let mut accepted = 0;
        for what in &tape.happened {
            match what {
                Happened::Accepted(_) => accepted += 1,
                Happened::FlushAsked(ticket) => {
                    asked.insert(*ticket, accepted);
                }
                _ => {}
            }
        }
        Self { rig, loose: Vec::new(), model: tape.model.clone(), asked, accepted: 0, folded: 0 }
    }

    fn play(&mut self, what: &Happened) {
        match what {
            Happened::WriteIssued(io, at, data) => {
                let (io, at, data) = (*io, *at, data.clone());
                self.loose.push(Loose { io, at, data, done: false, covered: false });
            }
            Happened::WriteDone(io) => {
                let write = self.loose.iter_mut().find(|write| write.io == *io && !write.done);
                write.expect("it was issued").done = true;
            }
            Happened::FlushIssued => self.loose.iter_mut().for_each(|write| write.covered = write.done),
            Happened::FlushDone => {
                for write in self.loose.extract_if(.., |write| write.covered) {
                    self.rig.disk.write_at(&write.data, write.at as u64).unwrap();
                }
                self.rig.disk.flush().unwrap();
            }
            Happened::Accepted(op) => {
                self.model.ops.push(op.clone());
                self.accepted += 1;
            }
            Happened::FlushAsked(_) => {}
            Happened::Answered(ticket) => {
                if let Some(&through) = self.asked.get(ticket) {
                    let count = through.saturating_sub(self.folded);
                    self.model.fold(count);
                    self.folded += count;
                }
            }
        }
    }

    /// Gives the disk some of the loose writes.
    fn keep_some(&self, how: usize, rng: &mut TestRng) {
        let prefix = usize::try_from(rng.below(self.loose.len() as u64 + 1)).unwrap();
        for (number, write) in self.loose.iter().enumerate() {
            let whole = match how {
                // All that was done, and a part of what was not.
                0 => write.done,
                // Any of them.
                1 => rng.chance(50),
                // The first of them, and a part of the next.
                2 => number < prefix,
                _ => false,
            };
            let torn = usize::try_from(rng.below((write.data.len() / SECTOR) as u64 + 1)).unwrap() * SECTOR;
            let first = match how {
                _ if whole => write.data.len(),
                0 => torn,
                2 if number == prefix => torn,
                _ => 0,
            };
            self.rig.disk.write_at(&write.data[..first], write.at as u64).unwrap();
            if how == 3 {
                // Any of their sectors.
                for (sector, data) in write.data.chunks_exact(SECTOR).enumerate() {
                    if rng.chance(50) {
                        self.rig.disk.write_at(data, (write.at + sector * SECTOR) as u64).unwrap();
                    }
                }
            }
        }
        self.rig.disk.flush().unwrap();
    }

    fn versions(&self) -> BTreeMap<(u64, u32, u16), u64> {
        let mut seen = BTreeMap::new();
        for volume in 1..3 {
            for chunk in 0..u32::try_from(CHUNKS).unwrap() {
                for run in self.rig.store.chunk_runs(VolumeId(volume), ChunkIndex(chunk)) {
                    assert!(run.state != BlockState::Corrupt);
                    let version = if run.state == BlockState::Data { run.version.0 } else { 0 };
                    (run.first..run.first + run.count).for_each(|block| {
                        seen.insert((volume, chunk, block), version);
                    });
                }
            }
        }
        seen
    }

    /// Digests of everything there is.
    fn state(&self) -> Vec<u64> {
        let digests = |volume| {
            let all = self.rig.store.digests(VolumeId(volume), ChunkIndex(0), usize::MAX, |_| true).0;
            all.into_iter().flat_map(|(chunk, digest)| [u64::from(chunk.0), digest])
        };
        [1, 2, 9].into_iter().flat_map(digests).collect()
    }

    /// Reads some of what is there: its content and versions must be what the index says.
    fn read_some(
        &mut self,
        seen: &BTreeMap<(u64, u32, u16), u64>,
        still: &[(BlockRange, u64)],
        rng: &mut TestRng,
    ) {
        for _ in 0..2 {
            let (volume, chunk) = (1 + rng.below(2), u32::try_from(rng.below(CHUNKS)).unwrap());
            let first = u16::try_from(rng.below(8) * 128).unwrap();
            let got = self.rig.read(range(volume, chunk, first, 128));
            for (block, version) in (first..).zip(got) {
                let expected = seen.get(&(volume, chunk, block)).copied().unwrap_or(0);
                assert_eq!(version, Some(expected), "volume {volume}, chunk {chunk}, block {block}");
            }
        }
        let (r, version) = still[usize::try_from(rng.below(still.len() as u64)).unwrap()];
        assert_eq!(self.rig.read(r), vec![Some(version); usize::from(r.count)]);
    }
}

/// Plays a tape and builds `images` images of it. Every fifth is killed again while it recovers.
fn cut_everywhere(seed: u64, images: usize) {
    let tape = record(seed, 1500);
    let mut player = Player::new(&tape);
    let mut rng = TestRng::new(seed);
    let mut made = 0;
    for (at, what) in tape.happened.iter().enumerate() {
        player.play(what);
        while made * tape.happened.len() < at * images {
            made += 1;
            player.rig.disk.mark();
            let (how, chosen) = (made % 4, rng.clone());
            player.keep_some(how, &mut rng);
            if made % 40 == 0 {
                let report = check(&player.rig.disk).unwrap();
                // The cut may have torn one copy of the superblock; the mount mends it.
                let torn = report.findings.iter().all(|found| found.kind == FindingKind::Superblock);
                assert!(torn && report.findings.len() <= 1, "image {made}: {report:?}");
            }
            player.rig.remount();
            let seen = player.versions();
            let mut model = player.model.clone();
            let ahead = tape.happened[at + 1..].iter().filter_map(|what| match what {
                Happened::Accepted(op) => Some(op.clone()),
                _ => None,
            });
            model.ops.extend(ahead.take(NOTED_LATE));
            model.settle(&seen, 0);
            let single = player.state();
            player.read_some(&seen, &tape.still, &mut rng);
            player.rig.disk.rewind();
            if made % 5 == 0 {
                player.rig.disk.mark();
                player.keep_some(how, &mut chosen.clone());
                kill_mount(&player.rig.disk, &mut rng);
                player.rig.remount();
                assert_eq!(player.state(), single, "image {made}: killed again in its recovery");
                player.rig.disk.rewind();
            }
        }
    }
    assert!(made + 1 >= images, "{made}");
}

/// A mount that the power cut ends after a few writes.
fn kill_mount(disk: &SimDisk, rng: &mut TestRng) {
    disk.0.borrow_mut().writes_left = Some(1 + u32::try_from(rng.below(2)).unwrap());
    let error = Store::mount(disk).expect_err("the device is gone");
    assert_eq!(error.kind, ErrorKind::Io);
    disk.0.borrow_mut().writes_left = None;
    let how = [Cut::Kill, Cut::Sectors, Cut::Writes, Cut::All][usize::try_from(rng.below(4)).unwrap()];
    disk.cut(how, rng);
    disk.flush().unwrap();
}

/// One crash tears a superblock copy, the next one the mount that mends it.
#[test]
fn a_superblock_survives_two_crashes_in_a_row() {
    for copy in COPY_BLOCKS {
        for seed in 0..25 {
            let rig = Rig::new(DISK, seed);
            let torn = [0xaa; SECTOR];
            rig.disk.write_at(&torn, u64::from(copy) * proto::units::BLOCK_BYTES).unwrap();
            rig.disk.flush().unwrap();
            kill_mount(&rig.disk, &mut TestRng::new(seed));
            assert!(Store::mount(&rig.disk).is_ok(), "copy at block {copy}, seed {seed}");
        }
    }
}

/// More than a thousand images in all, in four tests: a slow machine stops none of them for its length.
fn images_of(seed: u64) {
    let run = std::panic::catch_unwind(|| cut_everywhere(seed, 260));
    assert!(run.is_ok(), "replay with cargo nextest run -p blockd images_of_power_cuts_{seed}");
}

#[test]
fn images_of_power_cuts_1() {
    images_of(1);
}

#[test]
fn images_of_power_cuts_2() {
    images_of(2);
}

#[test]
fn images_of_power_cuts_3() {
    images_of(3);
}

#[test]
fn images_of_power_cuts_4() {
    images_of(4);
}
