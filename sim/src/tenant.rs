//! One volume and who uses it: writers that come, work, die or are replaced while they still run.

use crate::fault::SimFault;
use crate::oracle::{Oracle, SECTOR, stamp};
use crate::scenario::Run;
use crate::world::{Due, Event, MILLISECOND, SECOND, Violation, violation};
use blockd::client::{Holes, OnFull, VolumeOp};
use blockd::{ClientError, ErrorKind};
use bytes::Bytes;
use proto::placement::group_of;
use proto::units::BLOCKS_PER_CHUNK;
use proto::{ChunkId, ChunkIndex, VolumeId};
use std::collections::BTreeMap;

/// How long an operation may take when nothing goes wrong and nothing did for a while.
const MAX_LATENCY: u64 = 5 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Write,
    Read {
        first: u64,
    },
    Flush,
    Nothing,
    /// Touches a block of which every copy is bad: it must say so.
    Bad,
    /// Goes past the volume's end: it must be refused.
    Past,
}

type Outcome = Result<Option<Bytes>, ClientError>;

/// An operation under way.
#[derive(Debug, Clone, Copy)]
pub struct Doing {
    what: What,
    pub writer: usize,
    pub began: u64,
    pub at: u64,
}

/// A volume and its users.
#[derive(Debug)]
pub struct Tenant {
    pub name: String,
    pub volume: VolumeId,
    pub size_bytes: u64,
    pub oracle: Oracle,
    /// The writer that serves.
    pub writer: Option<usize>,
    /// The one that is to take over.
    pub opening: Option<usize>,
    /// Writers that were replaced and live on, and since when.
    zombies: Vec<(usize, u64)>,
    pub doing: BTreeMap<u64, Doing>,
    /// Operations to come now.
    pub burst: u64,
    depth: usize,
    due_at: u64,
    pub on_full: OnFull,
}

impl Doing {
    /// A write that began just now.
    pub fn write(writer: usize, began: u64, at: u64) -> Self {
        Self { what: What::Write, writer, began, at }
    }
}

impl Tenant {
    pub fn new(name: String, volume: VolumeId, size_bytes: u64, on_full: OnFull) -> Self {
        Self {
            name,
            volume,
            size_bytes,
            oracle: Oracle::default(),
            writer: None,
            opening: None,
            zombies: Vec::new(),
            doing: BTreeMap::new(),
            burst: 0,
            depth: 4,
            due_at: u64::MAX,
            on_full,
        }
    }

    pub fn is_quiet(&self) -> bool {
        self.writer.is_some() && self.opening.is_none() && self.doing.is_empty()
    }

    /// Who uses it, or would like to.
    pub fn writers(&self) -> Vec<usize> {
        let zombies = self.zombies.iter().map(|(zombie, _)| *zombie);
        self.writer.into_iter().chain(self.opening).chain(zombies).collect()
    }

    /// Its chunks.
    pub fn chunks(&self) -> u32 {
        u32::try_from(self.size_bytes.div_ceil(4 << 20)).expect("a small volume")
    }

    /// The group of a sector of the volume.
    pub fn group_of(&self, sector: u64, groups: u32) -> u32 {
        let chunk = u32::try_from(sector / 8 / u64::from(BLOCKS_PER_CHUNK)).expect("a small volume");
        group_of(ChunkId { volume: self.volume, index: ChunkIndex(chunk) }, groups).0
    }
}

impl Run {
    /// The tenant acts after a wait, if it is not due before.
    pub fn tenant_after(&mut self, number: usize, wait: u64) {
        let at = self.world.now + wait;
        let tenant = &mut self.tenants[number];
        if tenant.due_at <= self.world.now || at < tenant.due_at {
            tenant.due_at = at;
            self.world.at(at, Event::Due(Due::Tenant(number)));
        }
    }

    /// The tenant has much to do.
    pub fn burst(&mut self, number: usize) {
        let ops = self.world.rng.spread(2, 4);
        self.tenants[number].burst = ops;
        self.tenants[number].depth = self.world.rng.pick(&[1, 4, 16, 64]);
        self.tenant_after(number, 0);
    }

    pub fn tenant_due(&mut self, number: usize) -> Result<(), Violation> {
        let tenant = &mut self.tenants[number];
        if tenant.due_at > self.world.now {
            return Ok(());
        }
        tenant.due_at = u64::MAX;
        let Some(writer) = tenant.writer else {
            if tenant.opening.is_none() {
                self.open(number);
            }
            return Ok(());
        };
        let busy = tenant.doing.len() >= tenant.depth;
        if tenant.burst == 0 && !self.calm {
            let wait = self.world.pace * self.world.rng.spread(2 * SECOND, 9);
            self.tenants[number].burst = self.world.rng.spread(1, 3);
            self.tenant_after(number, wait);
        } else if tenant.burst > 0 {
            if !busy {
                tenant.burst -= 1;
                self.submit_some(number, writer);
            }
            let most = self.world.rng.pick(&[100_000, 2 * MILLISECOND, 50 * MILLISECOND]);
            let wait = self.world.rng.below(most) + if busy { 10 * MILLISECOND } else { 0 };
            self.tenant_after(number, wait);
        }
        Ok(())
    }

    /// A new writer asks for the volume's lease and opens it. The one that serves lives on until it hears.
    pub fn open(&mut self, number: usize) {
        let retry = 100 * MILLISECOND + self.world.rng.below(SECOND);
        if !self.world.reaches_control(self.world.writers.len()) {
            return self.tenant_after(number, retry);
        }
        let (volume, on_full) = (self.tenants[number].volume, self.tenants[number].on_full);
        let lease = self.world.control.open_volume(volume).expect("the volume is there");
        self.world.trace.say(self.world.now, || format!("volume {volume}: opened under {}", lease.epoch));
        if self.world.loses_answer() {
            return self.tenant_after(number, retry);
        }
        match self.world.start_writer(lease, on_full) {
            Ok(writer) => self.tenants[number].opening = Some(writer),
            Err(_) => self.tenant_after(number, retry),
        }
    }

    /// Ends a writer; what it had under way may or may not be done.
    pub fn end_writer(&mut self, number: usize, writer: usize) {
        self.world.kill_writer(writer);
        let tenant = &mut self.tenants[number];
        tenant.doing.retain(|_, doing| doing.writer != writer);
        tenant.zombies.retain(|(zombie, _)| *zombie != writer);
        tenant.writer = tenant.writer.filter(|&serving| serving != writer);
        tenant.opening = tenant.opening.filter(|&opening| opening != writer);
        if tenant.writer.is_none() && tenant.opening.is_none() {
            let wait = self.world.rng.spread(MILLISECOND, 12);
            self.tenant_after(number, wait);
        }
    }

    /// Sees what a writer has to say.
    pub fn watch(&mut self, writer: usize) -> Result<(), Violation> {
        let volume = self.world.writers[writer].volume;
        let number = self.tenants.iter().position(|tenant| tenant.volume == volume);
        let Some(number) = number else {
            if self.watch_hog(writer) {
                return Ok(());
            }
            let known = self.watch_grave(writer)?;
            assert!(known, "every writer is of a tenant's volume, or of one that was deleted");
            return Ok(());
        };
        if let Some(opened) = self.world.writers[writer].opened.take() {
            self.opened(number, writer, opened)?;
        }
        let done = std::mem::take(&mut self.world.writers[writer].done);
        let mut broken = None;
        for (id, result) in done {
            let Some(doing) = self.tenants[number].doing.get(&id).copied() else {
                return violation("completion", format!("operation {id} completed twice"));
            };
            if self.held_back(doing.what) {
                self.held.push((writer, id, result));
                continue;
            }
            self.tenants[number].doing.remove(&id);
            let result = self.spoilt(doing, result);
            if let Err(error) = &result {
                broken = Some(error.clone());
            }
            self.completed(number, id, doing, result)?;
        }
        if let Some(error) = broken.filter(|error| !matches!(error.kind, ErrorKind::NoSpace)) {
            self.failed(number, writer, &error);
        }
        Ok(())
    }

    /// A planted bug gives an error where there was a stall.
    fn spoilt(&self, doing: Doing, result: Outcome) -> Outcome {
        let stalled = self.world.now - doing.at > SECOND;
        if self.world.fault == SimFault::ErrorNotStall && stalled && doing.what == What::Write {
            return Err(ClientError::new(ErrorKind::Unavailable, "a member could not be reached"));
        }
        let is_bad = result.as_ref().is_err_and(|error| error.kind == ErrorKind::Corrupt);
        if self.world.fault == SimFault::CorruptIsNothing && is_bad {
            return Ok(None);
        }
        result
    }

    /// Whether a planted bug makes an answer wait for the control plane.
    fn held_back(&self, what: What) -> bool {
        self.world.fault == SimFault::ControlOnPath
            && what == What::Flush
            && self.world.control.down_until > self.world.now
    }

    /// An open has ended.
    fn opened(
        &mut self,
        number: usize,
        writer: usize,
        opened: Result<(), ClientError>,
    ) -> Result<(), Violation> {
        if self.tenants[number].opening != Some(writer) {
            return Ok(());
        }
        if opened.is_err() {
            self.end_writer(number, writer);
            if self.tenants[number].writer.is_none() {
                self.tenant_after(number, SECOND);
            }
            return Ok(());
        }
        let moment = self.world.moment();
        let tenant = &mut self.tenants[number];
        tenant.opening = None;
        tenant.oracle.opened(writer, moment);
        if let Some(before) = tenant.writer.replace(writer) {
            tenant.zombies.push((before, moment));
            self.poke(number, before);
            let wait = self.world.rng.spread(10 * MILLISECOND, 12);
            self.world.due(wait, Due::EndOfZombie(before));
        }
        self.read_everything(number, writer);
        self.burst(number);
        Ok(())
    }

    /// Reads all that was ever written: after an open, it must be what it was.
    pub fn read_everything(&mut self, number: usize, writer: usize) {
        for (first, sectors) in self.tenants[number].oracle.touched_blocks() {
            let len = usize::try_from(sectors).expect("small") * SECTOR;
            let op = VolumeOp::Read { offset: first * 512, len, holes: Holes::Zeros };
            self.start(number, writer, What::Read { first }, op);
        }
    }

    pub fn flush(&mut self, number: usize, writer: usize) {
        self.start(number, writer, What::Flush, VolumeOp::Flush);
    }

    /// A writer that was replaced goes on as if nothing had happened.
    fn poke(&mut self, number: usize, zombie: usize) {
        for _ in 0..3 {
            self.submit_some(number, zombie);
        }
    }

    /// A writer that was replaced has lived long enough.
    pub fn end_of_zombie(&mut self, writer: usize) {
        let is_of = |tenant: &Tenant| tenant.zombies.iter().any(|(zombie, _)| *zombie == writer);
        if let Some(number) = self.tenants.iter().position(is_of) {
            self.end_writer(number, writer);
        } else {
            // Its volume was deleted meanwhile.
            self.world.kill_writer(writer);
        }
    }

    /// A writer gave an error: its guest is restarted.
    fn failed(&mut self, number: usize, writer: usize, error: &ClientError) {
        self.world.trace.say(self.world.now, || format!("writer {writer} fails: {error}"));
        let tenant = &self.tenants[number];
        if tenant.writer == Some(writer) && tenant.opening.is_none() && error.kind != ErrorKind::Corrupt {
            self.end_writer(number, writer);
        }
    }

    fn completed(&mut self, number: usize, id: u64, doing: Doing, result: Outcome) -> Result<(), Violation> {
        let now = self.world.moment();
        self.world.trace.note(id << 1 | u64::from(result.is_ok()));
        let late = self.world.now - doing.at;
        if late > MAX_LATENCY && doing.at > self.trouble_until && self.hog.is_none() {
            let what = format!("{:?} took {} ms when all was well", doing.what, late / MILLISECOND);
            return violation("stall", what);
        }
        let tenant = &mut self.tenants[number];
        let zombie =
            tenant.zombies.iter().find(|(zombie, _)| *zombie == doing.writer).map(|(_, since)| *since);
        match (doing.what, result) {
            (What::Bad, Err(error)) if error.kind == ErrorKind::Corrupt => {}
            (What::Bad, result) => {
                let what = format!("every copy of a block is bad, and operation {id} gives {result:?}");
                return violation("corrupt", what);
            }
            (What::Past, Err(_)) => {}
            (What::Past, Ok(_)) => {
                return violation("size", format!("operation {id} past the volume's end succeeded"));
            }
            (what, Err(error)) => {
                self.world.totals.failed += 1;
                if what == What::Flush {
                    tenant.oracle.flush_failed(doing.writer);
                }
                self.check_error(number, doing.writer, &error)?;
            }
            (What::Write, Ok(_)) => {
                if zombie.is_some_and(|since| doing.began > since) {
                    return violation("fence", format!("write {id} of a writer that was replaced succeeded"));
                }
                self.world.totals.acked_writes += 1;
                tenant.oracle.acked(id, now);
                self.check_acked(number, id, doing.began)?;
                self.check_enough(number, id, (doing.writer, doing.began))?;
            }
            (What::Nothing, Ok(_)) => {}
            (What::Flush, Ok(_)) => {
                self.world.totals.flushes += 1;
                let reads = tenant.doing.values().filter(|doing| matches!(doing.what, What::Read { .. }));
                let oldest = reads.map(|doing| doing.began).min().unwrap_or(u64::MAX);
                tenant.oracle.flushed(doing.writer, doing.began, oldest);
                if zombie.is_none() {
                    let volume = tenant.volume;
                    self.check_flushed(volume, doing.began)?;
                }
            }
            (What::Read { first }, Ok(data)) => {
                self.world.totals.reads += 1;
                let data = data.unwrap_or_default();
                let checked = if zombie.is_some() {
                    tenant.oracle.check_content(first, &data)
                } else {
                    let custody = &self.world.custody;
                    let volume = tenant.volume;
                    let kept = |sector: u64, acked: u64| {
                        let chunk = u32::try_from(sector / 8 / u64::from(BLOCKS_PER_CHUNK)).expect("small");
                        let group =
                            group_of(ChunkId { volume, index: ChunkIndex(chunk) }, crate::control::GROUPS);
                        custody.keeps(group.0, acked)
                    };
                    tenant.oracle.check_read((first, &data), (doing.began, now), &kept)
                };
                checked.or_else(|what| violation("read", format!("volume {}: {what}", tenant.volume)))?;
            }
        }
        Ok(())
    }

    /// Promises 9 and 11: guests see stalls, not errors, but for these.
    fn check_error(&self, number: usize, writer: usize, error: &ClientError) -> Result<(), Violation> {
        let tenant = &self.tenants[number];
        // Whoever came after it may have died since; its fence stays.
        let replaced = self.world.writers[writer + 1..].iter().any(|later| later.volume == tenant.volume);
        let may = match error.kind {
            ErrorKind::Fenced => replaced,
            ErrorKind::NoSpace => tenant.on_full == OnFull::Fail,
            ErrorKind::Invalid => {
                // One that was replaced does not hear of the volume's new size.
                let knows = self.world.writers[writer].core.size_bytes() >= tenant.size_bytes;
                if knows || tenant.writer == Some(writer) {
                    let what = format!("within {} bytes of the volume: {error}", tenant.size_bytes);
                    return violation("size", what);
                }
                true
            }
            // Bad copies, or what a power cut took from all: the next flush says so.
            _ => self.world.custody.any_tampered() || self.world.custody.lost_something(),
        };
        if may {
            Ok(())
        } else {
            violation("error", format!("writer {writer} of volume {}: {error}", tenant.volume))
        }
    }

    /// Answers that waited for the control plane come.
    pub fn let_go(&mut self) -> Result<(), Violation> {
        if self.held.is_empty() || self.world.control.down_until > self.world.now {
            return Ok(());
        }
        for (writer, id, result) in std::mem::take(&mut self.held) {
            self.world.writers[writer].done.push((id, result));
            if self.world.writers[writer].alive {
                self.watch(writer)?;
            }
        }
        Ok(())
    }

    pub fn start(&mut self, number: usize, writer: usize, what: What, op: VolumeOp) {
        let began = self.world.moment();
        let id = self.next_id;
        self.next_id += 1;
        self.tenants[number].doing.insert(id, Doing { what, writer, began, at: self.world.now });
        self.world.submit(writer, id, op);
    }

    /// Where an operation goes: near the start of a chunk, where writes meet, or over its end.
    fn place(&mut self, size_bytes: u64) -> (u64, u64) {
        let rng = &mut self.world.rng;
        let chunk = rng.below(size_bytes >> 22);
        let first = rng.below(10) * 8;
        let over = rng.chance(8);
        let base = if over {
            ((chunk + 1) << 13).min(size_bytes / 512 - 512) - first
        } else {
            (chunk << 13) + first
        };
        let (offset, len) = match rng.below(100) {
            0 => (base, 8 * (1 + rng.below(60))),
            1..50 => (base, 8 * (1 + rng.below(3))),
            _ => (base + rng.below(8), 1 + rng.below(12)),
        };
        (offset, len.min(size_bytes / 512 - offset))
    }

    /// Submits a read, a write, a trim or a flush.
    fn submit_some(&mut self, number: usize, writer: usize) {
        let (offset, len) = self.place(self.tenants[number].size_bytes);
        match self.world.rng.below(100) {
            0..8 => self.flush(number, writer),
            8..26 => {
                let bytes = usize::try_from(len).expect("small") * SECTOR;
                let op = VolumeOp::Read { offset: offset * 512, len: bytes, holes: Holes::Zeros };
                self.start(number, writer, What::Read { first: offset }, op);
            }
            26..36 => {
                // A trim takes whole blocks only.
                let (from, to) = (offset.next_multiple_of(8), (offset + len) / 8 * 8);
                let op = VolumeOp::Trim { offset: offset * 512, len: len * 512 };
                if from < to {
                    self.start_write(number, writer, (from, to - from), true, |_| op);
                } else {
                    // It asks nobody, so that it always succeeds.
                    self.start(number, writer, What::Nothing, op);
                }
            }
            36..42 => {
                let op = VolumeOp::WriteZeroes { offset: offset * 512, len: len * 512 };
                self.start_write(number, writer, (offset, len), true, |_| op);
            }
            _ => {
                let op = |id| VolumeOp::Write { offset: offset * 512, data: stamp(id, offset, len) };
                self.start_write(number, writer, (offset, len), false, op);
            }
        }
    }

    pub fn start_write(
        &mut self,
        number: usize,
        writer: usize,
        sectors: (u64, u64),
        zero: bool,
        op: impl FnOnce(u64) -> VolumeOp,
    ) {
        let (id, now) = (self.next_id, self.world.moment());
        self.tenants[number].oracle.submitted((id, writer), sectors, zero, now);
        self.start(number, writer, What::Write, op(id));
    }
}
