//! A disk for tests: with a volatile cache, power cuts, torn writes and errors; and what drives a store
//! on it, completing its operations in any order.

use super::*;
use bytes::Bytes;
use proto::checksum::BlockCrcs;
use proto::disk::superblock::COPY_BLOCKS;
use proto::message::{BlockRange, BlockState};
use proto::units::BLOCK_LEN;
use proto::{ChunkIndex, ClientId, DiskId, ErrorCode, Version, VolumeId, WireError};
use rt::clock::Instant;
use rt::device::BlockDevice;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;

pub(super) const SECTOR: usize = 512;

/// xorshift64*: all that the tests need of randomness, and the same everywhere.
#[derive(Debug, Clone)]
pub(super) struct TestRng(u64);

impl TestRng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What happens to the cache when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Only the processes die.
    Kill,
    /// Each sector written since the last flush is kept or not.
    Sectors,
    /// Each write since the last flush is kept or not.
    Writes,
    /// Nothing since the last flush is kept.
    All,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    /// What reads see.
    view: Vec<u8>,
    /// What survives a power cut.
    media: Vec<u8>,
    dirty: Vec<(usize, usize)>,
    pub bad_sectors: Vec<usize>,
    /// What every write since the mark replaced.
    undo: Option<Vec<(usize, Vec<u8>)>>,
    /// Writes until the device is gone; the last one is torn.
    pub writes_left: Option<u32>,
}

#[derive(Debug)]
pub(super) struct SimDisk(pub RefCell<Disk>);

impl SimDisk {
    pub fn new(len: usize) -> Self {
        Self(RefCell::new(Disk { view: vec![0; len], media: vec![0; len], ..Disk::default() }))
    }

    pub fn formatted(len: usize) -> Self {
        let disk = Self::new(len);
        Store::format(&disk, DiskId([9; 16])).unwrap();
        disk
    }

    pub fn cut(&self, how: Cut, rng: &mut TestRng) {
        let disk = &mut *self.0.borrow_mut();
        if how == Cut::Kill {
            return;
        }
        let dirty = std::mem::take(&mut disk.dirty);
        for &(from, to) in &dirty {
            let whole = rng.chance(50);
            for sector in (from..to).step_by(SECTOR) {
                let keep = match how {
                    Cut::Sectors => rng.chance(50),
                    Cut::Writes => whole,
                    Cut::All | Cut::Kill => false,
                };
                if keep {
                    disk.media[sector..sector + SECTOR].copy_from_slice(&disk.view[sector..sector + SECTOR]);
                }
            }
        }
        for (from, to) in dirty {
            disk.view[from..to].copy_from_slice(&disk.media[from..to]);
        }
    }

    pub fn flip(&self, byte: usize) {
        let disk = &mut *self.0.borrow_mut();
        disk.view[byte] ^= 0x10;
        disk.media[byte] ^= 0x10;
    }

    /// Byte offsets of every whole block with these first bytes.
    pub fn find(&self, block_start: &[u8]) -> Vec<usize> {
        let disk = self.0.borrow();
        (0..disk.view.len())
            .step_by(BLOCK_LEN)
            .filter(|&at| disk.view[at..].starts_with(block_start))
            .collect()
    }

    pub fn image(&self) -> Vec<u8> {
        self.0.borrow().view.clone()
    }

    /// From now on, [`SimDisk::rewind`] brings back what is there now.
    pub fn mark(&self) {
        let disk = &mut *self.0.borrow_mut();
        assert!(disk.dirty.is_empty(), "a mark is for a disk whose cache is empty");
        disk.undo = Some(Vec::new());
    }

    pub fn rewind(&self) {
        let disk = &mut *self.0.borrow_mut();
        for (at, old) in disk.undo.take().into_iter().flatten().rev() {
            disk.view[at..at + old.len()].copy_from_slice(&old);
            disk.media[at..at + old.len()].copy_from_slice(&old);
        }
        disk.dirty.clear();
        disk.writes_left = None;
    }

    pub fn restore(&self, image: &[u8]) {
        let disk = &mut *self.0.borrow_mut();
        disk.view.clear();
        disk.view.extend_from_slice(image);
        disk.media.clone_from(&disk.view);
        disk.dirty.clear();
    }
}

impl BlockDevice for SimDisk {
    fn len_bytes(&self) -> u64 {
        self.0.borrow().view.len() as u64
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let disk = self.0.borrow();
        let at = usize::try_from(offset).unwrap();
        let range = at..at + buf.len();
        if disk.bad_sectors.iter().any(|bad| range.contains(bad)) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        buf.copy_from_slice(&disk.view[range]);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let disk = &mut *self.0.borrow_mut();
        let at = usize::try_from(offset).unwrap();
        let mut buf = buf;
        let gone = disk.writes_left == Some(0);
        if let Some(left) = &mut disk.writes_left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                // A different part of it for each place and length.
                buf =
                    &buf[..if gone { 0 } else { (at / SECTOR * 7 + 3) % (buf.len() / SECTOR + 1) * SECTOR }];
            }
        }
        if let Some(undo) = &mut disk.undo {
            undo.push((at, disk.view[at..at + buf.len()].to_vec()));
        }
        disk.view[at..at + buf.len()].copy_from_slice(buf);
        disk.dirty.push((at, at + buf.len()));
        if disk.writes_left == Some(0) { eio() } else { Ok(()) }
    }

    fn flush(&self) -> io::Result<()> {
        let disk = &mut *self.0.borrow_mut();
        if disk.writes_left == Some(0) {
            return eio();
        }
        for (from, to) in std::mem::take(&mut disk.dirty) {
            disk.media[from..to].copy_from_slice(&disk.view[from..to]);
        }
        Ok(())
    }
}

/// What can matter to a power cut, in the order in which it happened.
#[derive(Debug)]
pub(super) enum Happened {
    WriteIssued(u64, usize, Vec<u8>),
    WriteDone(u64),
    /// There is at most one flush at a time.
    FlushIssued,
    FlushDone,
    Accepted(ModelOp),
    /// A flush by this ticket asks for everything accepted so far.
    FlushAsked(u64),
    Answered(u64),
}

/// A store, its disk, and what is under way between them.
pub(super) struct Rig {
    pub disk: SimDisk,
    pub store: Store,
    pub rng: TestRng,
    pub pending: Vec<Action>,
    pub answers: HashMap<u64, Result<Answer, WireError>>,
    /// Tickets in the order of their answers.
    pub order: Vec<u64>,
    next_ticket: u64,
    pub version: u64,
    /// What happened, if anybody wants to know.
    pub record: Option<Vec<Happened>>,
    /// The next disk operation of this kind fails.
    pub fail_write: bool,
    pub fail_flush: bool,
}

pub(super) const CLIENT: ClientId = ClientId([1; 16]);

pub(super) fn range(volume: u64, chunk: u32, first: u16, count: u16) -> BlockRange {
    BlockRange { volume: VolumeId(volume), chunk: ChunkIndex(chunk), first, count }
}

/// A block's content: says which version it is and where it belongs.
pub(super) fn content(range: &BlockRange, version: u64) -> Bytes {
    let mut data = vec![0u8; range.len_bytes()];
    for (block, bytes) in (range.first..).zip(data.chunks_exact_mut(BLOCK_LEN)) {
        bytes[..8].copy_from_slice(&version.to_le_bytes());
        bytes[8..10].copy_from_slice(&block.to_le_bytes());
        bytes[10..14].copy_from_slice(&range.chunk.0.to_le_bytes());
        bytes[4088..].copy_from_slice(&version.to_le_bytes());
    }
    data.into()
}

fn check_content(bytes: &[u8], range: &BlockRange, block: u16, version: u64) {
    let right = bytes[..8] == version.to_le_bytes()
        && bytes[8..10] == block.to_le_bytes()
        && bytes[10..14] == range.chunk.0.to_le_bytes()
        && bytes[14..4088] == [0; 4074]
        && bytes[4088..] == version.to_le_bytes();
    assert!(right, "{range:?}, block {block}, version {version} holds something else");
}

impl Rig {
    pub fn new(len: usize, seed: u64) -> Self {
        Self::on(SimDisk::formatted(len), seed)
    }

    pub fn on(disk: SimDisk, seed: u64) -> Self {
        let (store, _) = Store::mount(&disk).unwrap();
        Self {
            disk,
            store,
            rng: TestRng::new(seed),
            pending: Vec::new(),
            answers: HashMap::new(),
            order: Vec::new(),
            next_ticket: 0,
            version: 0,
            record: None,
            fail_write: false,
            fail_flush: false,
        }
    }

    pub fn remount(&mut self) -> MountReport {
        self.pending.clear();
        let (store, report) = Store::mount(&self.disk).unwrap();
        self.store = store;
        report
    }

    /// Stops everything at once: what is under way is applied in part, then the cache suffers `how`.
    pub fn crash(&mut self, how: Cut) {
        for action in std::mem::take(&mut self.pending) {
            if let Action::DiskWrite { offset, buf, .. } = action {
                let sectors = buf.len() / SECTOR;
                let kept = usize::try_from(self.rng.below(sectors as u64 + 1)).unwrap() * SECTOR;
                if kept > 0 {
                    self.disk.write_at(&buf.to_vec()[..kept], offset).unwrap();
                }
            }
        }
        let mut rng = self.rng.clone();
        self.disk.cut(how, &mut rng);
        self.rng = rng;
    }

    pub fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    pub fn step(&mut self, event: Event) {
        let mut out = Vec::new();
        self.store.step(Instant::default(), event, &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<Action>) {
        for action in out {
            match action {
                Action::Answer { ticket, result } => {
                    self.order.push(ticket.0);
                    assert!(self.answers.insert(ticket.0, result).is_none(), "{ticket:?} was answered twice");
                    self.note(|| Happened::Answered(ticket.0));
                }
                other => {
                    self.note_issued(&other);
                    self.pending.push(other);
                }
            }
        }
    }

    pub fn note(&mut self, what: impl FnOnce() -> Happened) {
        if let Some(record) = &mut self.record {
            record.push(what());
        }
    }

    fn note_issued(&mut self, action: &Action) {
        match action {
            Action::DiskWrite { io, offset, buf } => {
                let at = usize::try_from(*offset).unwrap();
                self.note(|| Happened::WriteIssued(io.0, at, buf.to_vec()));
            }
            Action::DiskFlush { .. } => self.note(|| Happened::FlushIssued),
            _ => {}
        }
    }

    /// Completes one disk operation, any of them. False if there is none.
    pub fn complete_one(&mut self) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        let at = usize::try_from(self.rng.below(self.pending.len() as u64)).unwrap();
        let event = match self.pending.swap_remove(at) {
            Action::DiskRead { io, offset, mut buf } => {
                let result = self.disk.read_at(&mut buf, offset);
                Event::DiskDone { io, buf: Some(buf), result }
            }
            Action::DiskWrite { io, offset, buf } => {
                let superblock = COPY_BLOCKS.iter().any(|&b| u64::from(b) * BLOCK_LEN as u64 == offset);
                assert!(superblock || offset >= limits::FIRST_SEGMENT_BYTES, "a write outside the layout");
                let failed = std::mem::take(&mut self.fail_write);
                let result = if failed { eio() } else { self.disk.write_at(&buf.to_vec(), offset) };
                self.note(|| Happened::WriteDone(io.0));
                Event::DiskDone { io, buf: Some(buf.into_head()), result }
            }
            Action::DiskFlush { io } => {
                let failed = std::mem::take(&mut self.fail_flush);
                let result = if failed { eio() } else { self.disk.flush() };
                self.note(|| Happened::FlushDone);
                Event::DiskDone { io, buf: None, result }
            }
            Action::Answer { .. } => unreachable!("answers are not pending"),
        };
        self.step(event);
        true
    }

    pub fn settle(&mut self) {
        let mut steps = 0;
        while self.complete_one() {
            steps += 1;
            assert!(steps < 100_000, "the store never comes to rest");
        }
    }

    pub fn submit_write(&mut self, range: BlockRange, version: u64, kind: WriteKind) -> Ticket {
        let ticket = self.ticket();
        let data = content(&range, version);
        let crcs = BlockCrcs::of(&data);
        let session = Session { client: CLIENT, sequence: ticket.0 };
        let version = Version(version);
        self.step(Event::Write { ticket, session, range, version, crcs, data, kind });
        ticket
    }

    pub fn write(&mut self, range: BlockRange) -> Result<u64, WireError> {
        self.version += 1;
        let version = self.version;
        let ticket = self.submit_write(range, version, WriteKind::Normal);
        self.settle();
        self.result(ticket).map(|_| version)
    }

    pub fn submit_trim(&mut self, range: BlockRange, version: u64) -> Ticket {
        let ticket = self.ticket();
        let session = Session { client: CLIENT, sequence: ticket.0 };
        let (version, kind) = (Version(version), WriteKind::Normal);
        self.step(Event::Trim { ticket, session, range, version, kind });
        ticket
    }

    pub fn trim(&mut self, range: BlockRange) -> Result<u64, WireError> {
        self.version += 1;
        let version = self.version;
        let ticket = self.submit_trim(range, version);
        self.settle();
        self.result(ticket).map(|_| version)
    }

    pub fn simple(&mut self, make: impl FnOnce(Ticket) -> Event) -> Result<Answer, WireError> {
        let ticket = self.ticket();
        self.step(make(ticket));
        self.settle();
        self.result(ticket)
    }

    pub fn flush(&mut self) {
        self.simple(|ticket| Event::Flush { ticket }).unwrap();
    }

    pub fn stop(&mut self) {
        self.simple(|ticket| Event::Stop { ticket }).unwrap();
    }

    pub fn result(&mut self, ticket: Ticket) -> Result<Answer, WireError> {
        self.answers.remove(&ticket.0).expect("it was answered")
    }

    /// The versions of a range's data (0: zeros), each block's content checked; `None`: corrupt.
    pub fn read(&mut self, range: BlockRange) -> Vec<Option<u64>> {
        let answer = self.simple(|ticket| Event::Read { ticket, range }).unwrap();
        let Answer::Read { blocks, data, .. } = answer else { panic!("{answer:?}") };
        let mut data = data.iter().flat_map(|piece| piece.chunks_exact(BLOCK_LEN));
        let mut versions = Vec::new();
        for (block, at) in blocks.iter().zip(range.first..) {
            versions.push(match block.state {
                BlockState::Hole | BlockState::Trimmed => Some(0),
                BlockState::Corrupt => None,
                BlockState::Data => {
                    let bytes = data.next().expect("a block of data for each in that state");
                    check_content(bytes, &range, at, block.version.0);
                    Some(block.version.0)
                }
            });
        }
        assert!(data.next().is_none(), "more data than blocks");
        versions
    }
}

fn eio() -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::EIO))
}

pub(super) fn code(result: Result<impl std::fmt::Debug, WireError>) -> ErrorCode {
    result.expect_err("it should have failed").code
}

/// What was asked, in the order in which it was accepted: the order of the log.
#[derive(Debug, Clone)]
pub(super) struct ModelOp {
    pub ticket: u64,
    pub range: BlockRange,
    pub version: u64,
    pub trim: bool,
}

type Place = (u64, u32, u16);

/// What the disk may hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub ops: Vec<ModelOp>,
    /// This many operations are surely there after a power cut, and after a kill.
    pub flushed: usize,
    pub acked: usize,
    /// Each block's version, and whether it is data, after the operations that are settled.
    base: BTreeMap<Place, (u64, bool)>,
}

impl Model {
    fn places(op: &ModelOp) -> impl Iterator<Item = Place> + use<> {
        let range = op.range;
        (range.first..range.first + range.count).map(move |block| (range.volume.0, range.chunk.0, block))
    }

    fn apply(state: &mut BTreeMap<Place, (u64, bool)>, op: &ModelOp, place: Place) {
        let held = state.entry(place).or_insert((0, false));
        if op.version > held.0 {
            *held = (op.version, !op.trim);
        }
    }

    /// The first `count` operations are surely there from now on.
    pub fn fold(&mut self, count: usize) {
        for op in self.ops.drain(..count) {
            for place in Self::places(&op) {
                Self::apply(&mut self.base, &op, place);
            }
        }
    }

    /// Finds the prefix of the operations that `seen` is, at least `floor` long, and forgets the rest.
    pub fn settle(&mut self, seen: &BTreeMap<Place, u64>, floor: usize) {
        let shown = |held: Option<&(u64, bool)>| held.map_or(0, |&(v, data)| if data { v } else { 0 });
        let differs = |state: &BTreeMap<Place, (u64, bool)>, place: &Place| {
            shown(state.get(place)) != seen.get(place).copied().unwrap_or(0)
        };
        let mut state = self.base.clone();
        for op in &self.ops {
            for place in Self::places(op) {
                state.entry(place).or_insert((0, false));
            }
        }
        let mut wrong = state.keys().filter(|place| differs(&state, place)).count();
        for k in 0..=self.ops.len() {
            if k >= floor && wrong == 0 {
                return self.keep(state);
            }
            let Some(op) = self.ops.get(k) else { break };
            // A write cut in two by the end of a batch: each of its blocks is old or new.
            if k >= floor && wrong <= usize::from(op.range.count) {
                let mended: Vec<Place> = Self::places(op)
                    .filter(|place| {
                        let held = state.get(place).copied();
                        let mut after: BTreeMap<Place, (u64, bool)> =
                            held.map(|h| (*place, h)).into_iter().collect();
                        Self::apply(&mut after, op, *place);
                        differs(&state, place) && !differs(&after, place)
                    })
                    .collect();
                if mended.len() == wrong {
                    mended.into_iter().for_each(|place| Self::apply(&mut state, op, place));
                    return self.keep(state);
                }
            }
            for place in Self::places(op) {
                let before = differs(&state, &place);
                Self::apply(&mut state, op, place);
                let after = differs(&state, &place);
                wrong = wrong + usize::from(after) - usize::from(before);
            }
        }
        panic!("what is on the disk is no prefix of at least {floor} of {} operations", self.ops.len());
    }

    fn keep(&mut self, state: BTreeMap<Place, (u64, bool)>) {
        *self = Self { base: state, ..Self::default() };
    }
}
