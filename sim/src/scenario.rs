//! A run: writers come and go over disks that crash, and the checkers look on.

use crate::fault::SimFault;
use crate::oracle::{Oracle, SECTOR, Survives, stamp};
use crate::world::{MILLISECOND, SERVERS, Totals, VOLUME, VOLUME_BYTES, Violation, World, violation};
use blockd::client::{Holes, VolumeOp};
use bytes::Bytes;
use proto::message::{BlockRange, BlockState, OpenMode, ReplyBody, RequestBody};
use proto::units::BLOCK_LEN;
use proto::{ChunkIndex, ClientId, VolumeEpoch};
use std::collections::{BTreeMap, BTreeSet};

/// How long anything may take, simulated.
const PATIENCE: u64 = 60_000 * MILLISECOND;

/// How a writer's life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The writer alone dies.
    WriterDies,
    /// It lives on beside its successor, which must fence it.
    Zombie,
    /// Everything is killed; disks keep their caches.
    KillAll,
    /// Everything is killed; the disks named by the mask lose their caches.
    PowerCut(u8),
    /// All operations end, and a flush.
    Quiet,
}

#[derive(Debug, Clone, Copy)]
enum Doing {
    Write,
    Read { first: u64, began: u64 },
    Flush { began: u64 },
}

struct Run {
    world: World,
    oracle: Oracle,
    writer: usize,
    epoch: u32,
    next_id: u64,
    doing: BTreeMap<u64, Doing>,
    /// Zombies, and from which moment on nothing they submit may succeed.
    zombies: Vec<(usize, u64)>,
    /// Flushes that replaced writers tried.
    zombie_flushes: BTreeSet<u64>,
    survives: Survives,
    /// Disks that lost their cache since the present writer opened the volume.
    cut: u8,
    /// Bits are flipped in this run, on one disk.
    flips: bool,
}

/// Runs one seed. `Err` is a broken promise.
pub fn run(seed: u64, fault: SimFault) -> Result<Totals, Violation> {
    let world = World::new(seed, fault);
    let mut run = Run {
        world,
        oracle: Oracle::default(),
        writer: 0,
        epoch: 0,
        next_id: 1,
        doing: BTreeMap::new(),
        zombies: Vec::new(),
        zombie_flushes: BTreeSet::new(),
        survives: Survives::Flushed,
        cut: 0,
        flips: seed % 4 == 3,
    };
    let lives = 3 + run.world.rng.below(4);
    for _ in 0..lives {
        run.open_and_check()?;
        run.work()?;
        run.end()?;
    }
    run.open_and_check()?;
    run.world.kill_writer(run.writer);
    Ok(run.world.totals)
}

impl Run {
    /// Lets time pass until `done`, watching every completion.
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), Violation> {
        let deadline = self.world.now + PATIENCE;
        while !done(self) {
            if self.world.now > deadline {
                return violation("liveness", format!("waited a minute for {what}"));
            }
            self.world.step();
            self.watch()?;
        }
        Ok(())
    }

    /// Checks what has completed.
    fn watch(&mut self) -> Result<(), Violation> {
        let done = std::mem::take(&mut self.world.writers[self.writer].done);
        for (id, result) in done {
            let now = self.world.moment();
            let Some(doing) = self.doing.remove(&id) else {
                return violation("completion", format!("operation {id} completed twice"));
            };
            match (doing, result) {
                (_, Err(_)) => self.world.totals.failed += 1,
                (Doing::Write, Ok(_)) => {
                    self.world.totals.acked_writes += 1;
                    self.oracle.acked(id, now);
                }
                (Doing::Flush { began }, Ok(_)) => {
                    self.world.totals.flushes += 1;
                    let reads = self.doing.values().filter_map(|doing| match doing {
                        Doing::Read { began, .. } => Some(*began),
                        Doing::Write | Doing::Flush { .. } => None,
                    });
                    self.oracle.flushed(began, reads.min().unwrap_or(u64::MAX));
                }
                (Doing::Read { first, began }, Ok(data)) => {
                    self.world.totals.reads += 1;
                    let data = data.unwrap_or_default();
                    let checked = self.oracle.check_read(first, &data, began);
                    checked.or_else(|what| violation("read", what))?;
                }
            }
        }
        for (zombie, since) in self.zombies.clone() {
            for (id, result) in std::mem::take(&mut self.world.writers[zombie].done) {
                if id > since && result.is_ok() && !self.zombie_flushes.contains(&id) {
                    let epoch = self.world.writers[zombie].epoch;
                    return violation("fence", format!("operation {id} of epoch {epoch} succeeded"));
                }
            }
        }
        Ok(())
    }

    /// A new writer opens the volume; then everything in it is read and compared.
    fn open_and_check(&mut self) -> Result<(), Violation> {
        self.epoch += 1;
        let before = self.writer;
        let had_writer = !self.world.writers.is_empty();
        let zombie = had_writer && self.world.writers[before].alive;
        self.writer = self.world.start_writer(self.epoch);
        if zombie {
            // It goes on meanwhile, and what it acks before the open is done is acked.
            let writer = std::mem::replace(&mut self.writer, before);
            self.until("the open", |run| run.world.writers[writer].opened.is_some())?;
            self.writer = writer;
            self.doing.clear();
            self.zombies.push((before, self.next_id));
            self.world.writers[before].done.clear();
        } else {
            self.until("the open", |run| run.world.writers[run.writer].opened.is_some())?;
        }
        if let Some(Err(error)) = &self.world.writers[self.writer].opened {
            return violation("liveness", format!("the volume could not be opened: {error}"));
        }
        // While one disk kept its cache, nothing acked may be gone.
        // A flipped bit may end a replay early, so that disk can keep no more promises than one that lost power.
        self.cut |= if self.flips { 0b100 } else { 0 };
        self.survives = if self.cut == 0b111 { Survives::Flushed } else { Survives::Acked };
        self.oracle.forget_unflushed();
        for (first, sectors) in self.oracle.touched_blocks() {
            let data = self.read_all(first, sectors)?;
            let checked = self.oracle.check_survivor(first, &data, self.survives);
            checked.or_else(|what| violation("survival", what))?;
        }
        for (zombie, _) in self.zombies.clone() {
            self.poke_zombie(zombie);
        }
        self.compare_replicas()?;
        self.cut = 0;
        Ok(())
    }

    /// Reads with the present writer, alone.
    fn read_all(&mut self, first: u64, sectors: u64) -> Result<Bytes, Violation> {
        let id = self.next_id;
        self.next_id += 1;
        let len = usize::try_from(sectors).expect("small") * SECTOR;
        self.world.submit(self.writer, id, VolumeOp::Read { offset: first * 512, len, holes: Holes::Zeros });
        let deadline = self.world.now + PATIENCE;
        loop {
            let done = &mut self.world.writers[self.writer].done;
            if let Some(at) = done.iter().position(|(done, _)| *done == id) {
                return match done.remove(at).1 {
                    Ok(data) => Ok(data.unwrap_or_default()),
                    Err(error) => violation("survival", format!("sector {first} can't be read: {error}")),
                };
            }
            if self.world.now > deadline {
                return violation("liveness", "waited a minute for a read");
            }
            self.world.step();
        }
    }

    /// A writer that was replaced tries to go on.
    fn poke_zombie(&mut self, zombie: usize) {
        for _ in 0..3 {
            let id = self.next_id;
            self.next_id += 1;
            let sector = self.world.rng.below(64) * 8;
            let op = match self.world.rng.below(3) {
                // Never told to the oracle: nobody may ever see it.
                0 | 1 => VolumeOp::Write { offset: sector * 512, data: stamp(id, sector, 8) },
                _ => {
                    // With nothing of its own unflushed it asks nobody, and its success promises nothing: only
                    // its writes must all fail.
                    self.zombie_flushes.insert(id);
                    VolumeOp::Flush
                }
            };
            self.world.submit(zombie, id, op);
        }
    }

    /// Every replica holds the same: asked of each directly.
    fn compare_replicas(&mut self) -> Result<(), Violation> {
        let ranges = self.oracle.touched_blocks();
        let mut held: Vec<Vec<(u64, BlockState, u32)>> = Vec::new();
        for server in 0..SERVERS {
            let conn = self.world.probe_connect(server);
            self.probed(conn)?;
            let (epoch, client) = (VolumeEpoch(0), ClientId([255; 16]));
            let mode = OpenMode::Reader;
            self.world.probe_ask(conn, RequestBody::Open { volume: VOLUME, epoch, client, mode, groups: 4 });
            self.probed(conn)?;
            let mut blocks = Vec::new();
            for &(first, sectors) in &ranges {
                for range in within_chunks(first / 8, sectors / 8) {
                    self.world.probe_ask(conn, RequestBody::Read { range, epoch });
                    match self.probed(conn)? {
                        ReplyBody::Read { blocks: read, .. } => {
                            blocks.extend(read.iter().map(|block| (block.version.0, block.state, block.crc)));
                        }
                        other => {
                            return violation("replicas", format!("replica {server} answered {other:?}"));
                        }
                    }
                }
            }
            self.world.probe_close(conn);
            held.push(blocks);
        }
        let copies = held[0].iter().zip(&held[1]).zip(&held[2]).map(|((a, b), c)| [*a, *b, *c]);
        for copies in copies {
            let same = |a: (u64, BlockState, u32), b: (u64, BlockState, u32)| {
                let zeros = |state| matches!(state, BlockState::Hole | BlockState::Trimmed);
                let corrupt = |state| self.flips && state == BlockState::Corrupt;
                a == b || zeros(a.1) && zeros(b.1) || corrupt(a.1) || corrupt(b.1)
            };
            if !same(copies[0], copies[1]) || !same(copies[1], copies[2]) {
                return violation("replicas", format!("copies of a block differ: {copies:?}"));
            }
        }
        Ok(())
    }

    fn probed(&mut self, conn: u64) -> Result<ReplyBody, Violation> {
        let deadline = self.world.now + PATIENCE;
        loop {
            if let Some(answer) = self.world.probe_answer(conn) {
                return Ok(answer);
            }
            if self.world.now > deadline {
                return violation("liveness", "waited a minute for a probe");
            }
            self.world.step();
            self.watch()?;
        }
    }

    /// Reads, writes, trims and flushes, many at once, with trouble on the way.
    fn work(&mut self) -> Result<(), Violation> {
        let operations = 50 + self.world.rng.below(250);
        let depth = [1, 4, 16, 64][self.world.rng.index(4)];
        let trouble = [0, 1, 3][self.world.rng.index(3)];
        for _ in 0..operations {
            self.until("room", |run| run.doing.len() < depth)?;
            self.submit();
            if self.world.rng.chance(trouble) {
                self.trouble();
            }
            for _ in 0..self.world.rng.below(12) {
                self.world.step();
                self.watch()?;
            }
        }
        Ok(())
    }

    fn trouble(&mut self) {
        let server = self.world.rng.index(SERVERS);
        match self.world.rng.below(3) {
            0 if self.flips => (0..4).for_each(|_| self.world.flip(2)),
            // One server is killed and comes back, mostly within the writer's grace.
            1 if (0..SERVERS).all(|server| self.world.is_server_up(server)) => {
                self.world.kill_server(server);
                // It may lose power, too: then it says what it forgot, or the writer must stop.
                if self.world.rng.chance(30) {
                    self.cut_power(server);
                }
                let wait = self.world.rng.below(2_500 * MILLISECOND);
                self.world.restart_server_after(server, wait);
            }
            _ => self.world.reset(self.writer, server),
        }
    }

    fn submit(&mut self) {
        let id = self.next_id;
        self.next_id += 1;
        let chunk = self.world.rng.below(VOLUME_BYTES >> 22);
        let first = self.world.rng.below(24) * 8;
        // Near the start of a chunk, where writes meet, or over its end.
        let over = self.world.rng.chance(10);
        let base = if over {
            ((chunk + 1) << 13).min(VOLUME_BYTES / 512 - 512) - first
        } else {
            (chunk << 13) + first
        };
        let part = self.world.rng.below(8);
        let now = self.world.moment();
        let (offset, len) = match self.world.rng.below(100) {
            0 => (base, 8 * (1 + self.world.rng.below(600))),
            1..45 => (base, 8 * (1 + self.world.rng.below(8))),
            _ => (base + part, 1 + self.world.rng.below(20)),
        };
        let len = len.min(VOLUME_BYTES / 512 - offset);
        let (op, doing) = match self.world.rng.below(100) {
            0..6 => (VolumeOp::Flush, Doing::Flush { began: now }),
            6..26 => {
                let bytes = usize::try_from(len).expect("small") * SECTOR;
                let read = VolumeOp::Read { offset: offset * 512, len: bytes, holes: Holes::Zeros };
                (read, Doing::Read { first: offset, began: now })
            }
            26..36 => {
                // A trim takes whole blocks only.
                let (from, to) = (offset.next_multiple_of(8), (offset + len) / 8 * 8);
                self.oracle.submitted(id, from.min(to), to.saturating_sub(from), true, now);
                (VolumeOp::Trim { offset: offset * 512, len: len * 512 }, Doing::Write)
            }
            36..42 => {
                self.oracle.submitted(id, offset, len, true, now);
                (VolumeOp::WriteZeroes { offset: offset * 512, len: len * 512 }, Doing::Write)
            }
            _ => {
                self.oracle.submitted(id, offset, len, false, now);
                (VolumeOp::Write { offset: offset * 512, data: stamp(id, offset, len) }, Doing::Write)
            }
        };
        self.doing.insert(id, doing);
        self.world.submit(self.writer, id, op);
    }

    fn end(&mut self) -> Result<(), Violation> {
        // What failed at once has completed with no step in between.
        self.watch()?;
        let end = match self.world.rng.below(100) {
            0..10 => End::WriterDies,
            10..20 => End::Zombie,
            20..30 => End::Quiet,
            30..50 => End::KillAll,
            50..75 => End::PowerCut(0b111),
            _ => End::PowerCut(u8::try_from(1 + self.world.rng.below(6)).expect("three bits")),
        };
        match end {
            End::Zombie => {
                self.restart_servers(5 * MILLISECOND)?;
                return Ok(());
            }
            End::Quiet => {
                self.until("all operations", |run| run.doing.is_empty())?;
                let id = self.next_id;
                self.next_id += 1;
                let began = self.world.moment();
                self.doing.insert(id, Doing::Flush { began });
                self.world.submit(self.writer, id, VolumeOp::Flush);
                self.until("the last flush", |run| run.doing.is_empty())?;
                self.world.kill_writer(self.writer);
            }
            End::WriterDies => self.world.kill_writer(self.writer),
            End::KillAll | End::PowerCut(_) => {
                self.world.kill_writer(self.writer);
                (0..SERVERS).for_each(|server| self.world.kill_server(server));
                if let End::PowerCut(mask) = end {
                    let cut = (0..SERVERS).filter(|server| mask & 1 << server != 0);
                    cut.for_each(|server| self.cut_power(server));
                }
            }
        }
        self.doing.clear();
        self.restart_servers(20 * MILLISECOND)
    }

    fn cut_power(&mut self, server: usize) {
        self.world.cut_power(server);
        self.cut |= 1 << server;
    }

    fn restart_servers(&mut self, most: u64) -> Result<(), Violation> {
        for server in 0..SERVERS {
            let wait = self.world.rng.below(most);
            self.world.restart_server_after(server, wait);
        }
        self.until("the servers", |run| (0..SERVERS).all(|server| run.world.is_server_up(server)))
    }
}

/// Ranges of blocks of the volume, cut where chunks end and at what one read may ask.
fn within_chunks(first: u64, count: u64) -> Vec<BlockRange> {
    let mut ranges: Vec<BlockRange> = Vec::new();
    for block in first..first + count {
        let chunk = ChunkIndex(u32::try_from(block / 1024).expect("a small volume"));
        let at = u16::try_from(block % 1024).expect("within a chunk");
        match ranges.last_mut() {
            Some(last) if last.chunk == chunk && last.count < 256 => last.count += 1,
            _ => ranges.push(BlockRange { volume: VOLUME, chunk, first: at, count: 1 }),
        }
    }
    ranges
}

const _: () = assert!(SECTOR * 8 == BLOCK_LEN);
