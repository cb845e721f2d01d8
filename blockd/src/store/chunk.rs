//! One 4 MiB chunk of the index: where each of its blocks lies.
//!
//! A block is either in a *slot* (14 bytes, with its CRC) or in a *run* (24 bytes for a row of blocks, whose CRCs
//! stay on the disk: rfd/0009), never in both. Slots lie in pages of 32, made when first written. What takes the
//! place of a block of a run leaves the run as it is and marks the block as dead, so that a random write into it
//! costs one bit and no cut; a run without living blocks goes.

use super::limits::MAX_CHUNK_RUNS;
use super::packed::{PackedSlot, Uppers};
use super::slab::{PAGE_BLOCKS, PageId, Slab};
use proto::Version;
use proto::disk::checkpoint::BlockBits;
use proto::disk::{Run, Slot};
use proto::units::BLOCKS_PER_CHUNK;
use std::ops::Range;

const PAGES: usize = BLOCKS_PER_CHUNK as usize / PAGE_BLOCKS;
/// Room for runs is made for so many at once: doubling it would take twice what is needed.
const RUN_STEP: usize = 4;

/// Its slots are in the index's slab: [`ChunkRef`] reads them.
#[derive(Debug)]
pub(super) struct Chunk {
    pages: [PageId; PAGES],
    /// The version of a trim of all of it: blocks with no higher version are trimmed with this one.
    pub base: Version,
    /// No block has a higher version: lets listings pass by.
    pub highest: Version,
    /// Of its slots' versions.
    uppers: Uppers,
    /// In order, and without a block in common.
    runs: Vec<Run>,
    /// Blocks of runs that don't count any more. There is none without runs.
    dead: Option<Box<BlockBits>>,
    /// Blocks with data on the disk.
    pub live: u16,
}

impl Default for Chunk {
    fn default() -> Self {
        Self {
            pages: [PageId::NONE; PAGES],
            base: Version::ZERO,
            highest: Version::ZERO,
            uppers: Uppers::default(),
            runs: Vec::new(),
            dead: None,
            live: 0,
        }
    }
}

/// Where a block lies and which version of it: a [`Slot`] but for its CRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// As in a slot.
    pub location: u32,
    pub version: Version,
}

/// What says whether a block's data is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    Crc(u32),
    /// Its CRC is among those of its run's piece.
    Of(Run),
}

impl Place {
    pub fn has_data(&self) -> bool {
        !matches!(self.location, Slot::HOLE | Slot::TRIMMED | Slot::LOST)
    }
}

impl From<Slot> for Place {
    fn from(slot: Slot) -> Self {
        Self { location: slot.location, version: slot.version }
    }
}

/// What changed in the memory that a chunk takes besides its pages, to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Extra {
    pub bytes: u64,
    /// It has runs.
    pub rows: u64,
}

impl Extra {
    /// One chunk's share gave way to another.
    pub fn exchange(&mut self, old: Self, new: Self) {
        self.bytes = self.bytes + new.bytes - old.bytes;
        self.rows = self.rows + new.rows - old.rows;
    }
}

/// Where a block is kept.
enum Kept {
    Slot(Slot),
    /// In the run of this number.
    Run(usize),
    Nowhere,
}

impl Chunk {
    fn find(&self, slab: &Slab, block: u16) -> Kept {
        let (page, at) = slot_of(block);
        if let Some(slots) = slab.get(self.pages[page])
            && !slots[at].is_hole()
        {
            return Kept::Slot(self.uppers.unpack(slots[at]));
        }
        match self.run_at(block) {
            Some(at) if !self.is_dead(block) => Kept::Run(at),
            _ => Kept::Nowhere,
        }
    }

    /// The run that covers a block, dead or not.
    fn run_at(&self, block: u16) -> Option<usize> {
        let at = self.runs.partition_point(|run| run.end() <= block);
        self.runs.get(at).filter(|run| run.first() <= block).map(|_| at)
    }

    fn is_dead(&self, block: u16) -> bool {
        self.dead.as_ref().is_some_and(|dead| dead[usize::from(block / 64)] >> (block % 64) & 1 == 1)
    }

    fn unwritten(&self) -> Place {
        let location = if self.base == Version::ZERO { Slot::HOLE } else { Slot::TRIMMED };
        Place { location, version: self.base }
    }

    pub fn place(&self, slab: &Slab, block: u16) -> Place {
        match self.find(slab, block) {
            Kept::Slot(slot) => slot.into(),
            Kept::Run(at) => self.place_in(at, block),
            Kept::Nowhere => self.unwritten(),
        }
    }

    fn place_in(&self, at: usize, block: u16) -> Place {
        let run = &self.runs[at];
        Place { location: run.location(block), version: run.version }
    }

    pub fn is_empty(&self) -> bool {
        self.base == Version::ZERO
            && self.runs.is_empty()
            && self.pages.iter().all(|&page| page == PageId::NONE)
    }

    /// The memory that runs and its slots' upper halves take.
    pub fn extra(&self) -> Extra {
        let dead = if self.dead.is_some() { size_of::<BlockBits>() } else { 0 };
        let bytes = self.runs.capacity() * size_of::<Run>() + dead + self.uppers.bytes();
        Extra { bytes: bytes as u64, rows: u64::from(!self.runs.is_empty()) }
    }

    /// Whether one more run may be kept, which may cut another in two.
    pub fn has_room_for_run(&self) -> bool {
        self.runs.len() + 2 <= MAX_CHUNK_RUNS
    }

    /// Puts one block into a slot. Returns whether it is one more block that is known.
    pub fn put_slot(&mut self, slab: &mut Slab, block: u16, new: Slot) -> bool {
        let (page, at) = slot_of(block);
        let new = self.pack(slab, new);
        let slots = slab.get_or_take(&mut self.pages[page]);
        let was_hole = slots[at].is_hole();
        slots[at] = new;
        was_hole && !self.kill(block)
    }

    fn pack(&mut self, slab: &mut Slab, slot: Slot) -> PackedSlot {
        if let Some(packed) = self.uppers.pack(slot) {
            return packed;
        }
        if self.uppers.is_full() {
            self.forget_uppers(slab);
        }
        self.uppers.take_in(slot)
    }

    /// Leaves upper halves out that no slot has any more, so that they don't add up over a volume's epochs.
    fn forget_uppers(&mut self, slab: &mut Slab) {
        let mut used = Uppers::default();
        for &id in &self.pages {
            for slot in slab.get_mut(id).into_iter().flatten().filter(|slot| !slot.is_hole()) {
                *slot = used.take_in(self.uppers.unpack(*slot));
            }
        }
        used.reserve();
        self.uppers = used;
    }

    /// A block that is kept in a run, if it is, is not any more.
    fn kill(&mut self, block: u16) -> bool {
        let Some(at) = self.run_at(block).filter(|_| !self.is_dead(block)) else { return false };
        let dead = self.dead.get_or_insert_default();
        dead[usize::from(block / 64)] |= 1 << (block % 64);
        let run = self.runs[at];
        if (run.first()..run.end()).all(|block| self.is_dead(block)) {
            self.drop_runs(at..at + 1);
        }
        true
    }

    /// Takes runs away, and the marks of their dead blocks.
    fn drop_runs(&mut self, runs: Range<usize>) {
        for run in &self.runs[runs.clone()] {
            unmark(&mut self.dead, run.first()..run.end());
        }
        self.runs.drain(runs);
        self.tidy();
    }

    fn tidy(&mut self) {
        if self.dead.as_ref().is_some_and(|dead| dead.iter().all(|&word| word == 0)) {
            self.dead = None;
        }
        if self.runs.capacity() >= self.runs.len() + 2 * RUN_STEP || self.runs.is_empty() {
            self.runs.shrink_to(self.runs.len().next_multiple_of(RUN_STEP));
        }
    }

    /// Puts a run in the place of whatever is known of its blocks. Returns how many blocks more are known.
    pub fn put_run(&mut self, slab: &mut Slab, run: Run) -> u64 {
        let blocks = run.first()..run.end();
        let known = blocks.clone().filter(|&block| !matches!(self.find(slab, block), Kept::Nowhere)).count();
        for page in usize::from(blocks.start) / PAGE_BLOCKS..=usize::from(blocks.end - 1) / PAGE_BLOCKS {
            let first = u16::try_from(page * PAGE_BLOCKS).expect("within a chunk");
            self.clear_slots(slab, page, |at, _| blocks.contains(&(first + at)));
        }
        self.cut(blocks.clone());
        let at = self.runs.partition_point(|held| held.end() <= blocks.start);
        self.make_room();
        self.runs.insert(at, run);
        (blocks.len() - known) as u64
    }

    /// For one run more.
    fn make_room(&mut self) {
        if self.runs.len() == self.runs.capacity() {
            self.runs.reserve_exact(RUN_STEP);
        }
    }

    /// Takes blocks out of the runs that have them. What is left of a run without a living block goes too.
    fn cut(&mut self, blocks: Range<u16>) {
        let from = self.runs.partition_point(|run| run.end() <= blocks.start);
        let to = self.runs.partition_point(|run| run.first() < blocks.end);
        if from == to {
            return;
        }
        unmark(&mut self.dead, blocks.clone());
        let (first, last) = (self.runs[from], self.runs[to - 1]);
        let left = (first.first() < blocks.start).then(|| first.part(first.first()..blocks.start));
        let right = (last.end() > blocks.end).then(|| last.part(blocks.end..last.end()));
        let mut rest = [left, right];
        for part in &mut rest {
            let is_dead = |run: &Run| (run.first()..run.end()).all(|block| self.is_dead(block));
            if let Some(run) = part.take_if(|run| is_dead(run)) {
                unmark(&mut self.dead, run.first()..run.end());
            }
        }
        self.make_room();
        self.runs.splice(from..to, rest.into_iter().flatten());
        self.tidy();
    }

    /// Makes holes of a page's slots that `goes` names; returns how many. A page of holes is given back.
    fn clear_slots(&mut self, slab: &mut Slab, page: usize, mut goes: impl FnMut(u16, &Slot) -> bool) -> u64 {
        let id = &mut self.pages[page];
        let Some(slots) = slab.get_mut(*id) else { return 0 };
        let mut gone = 0;
        for (at, slot) in (0..).zip(slots.iter_mut()) {
            if !slot.is_hole() && goes(at, &self.uppers.unpack(*slot)) {
                *slot = PackedSlot::default();
                gone += 1;
            }
        }
        if gone > 0 && slots.iter().all(|slot| slot.is_hole()) {
            slab.give_back(id);
            if self.pages.iter().all(|&page| page == PageId::NONE) {
                self.uppers = Uppers::default();
            }
        }
        gone
    }

    /// Forgets every slot that `goes` names; returns how many.
    pub fn retain_slots(&mut self, slab: &mut Slab, mut goes: impl FnMut(&Slot) -> bool) -> u64 {
        (0..PAGES).map(|page| self.clear_slots(slab, page, |_, slot| goes(slot))).sum()
    }

    /// Forgets runs with versions below `version`, and gives `each` the places of their blocks; returns how many.
    pub fn drop_runs_below(&mut self, version: Version, mut each: impl FnMut(Place)) -> u64 {
        let mut gone = 0;
        let mut at = 0;
        while let Some(run) = self.runs.get(at).copied() {
            if run.version >= version {
                at += 1;
                continue;
            }
            for block in (run.first()..run.end()).filter(|&block| !self.is_dead(block)) {
                each(self.place_in(at, block));
                gone += 1;
            }
            self.drop_runs(at..at + 1);
        }
        gone
    }

    /// Ends the chunk: its pages are free.
    pub fn give_back(&mut self, slab: &mut Slab) {
        self.pages.iter_mut().for_each(|page| slab.give_back(page));
    }

    /// Puts back the runs of a checkpoint, which are in order and without overlap. Blocks that are kept in slots are
    /// dead. Returns where the others lie.
    pub fn load_runs(&mut self, slab: &Slab, runs: Vec<Run>, mut dead: BlockBits) -> Vec<Place> {
        let mut covered: BlockBits = Default::default();
        let blocks = runs.iter().flat_map(|run| run.first()..run.end());
        for block in blocks {
            covered[usize::from(block / 64)] |= 1 << (block % 64);
            if matches!(self.find(slab, block), Kept::Slot(_)) {
                dead[usize::from(block / 64)] |= 1 << (block % 64);
            }
        }
        dead.iter_mut().zip(covered).for_each(|(dead, covered)| *dead &= covered);
        self.runs = runs;
        self.dead = Some(Box::new(dead));
        let all_dead = |chunk: &Self, run: &Run| (run.first()..run.end()).all(|block| chunk.is_dead(block));
        while let Some(at) = self.runs.iter().position(|run| all_dead(self, run)) {
            self.drop_runs(at..at + 1);
        }
        self.tidy();
        let runs = self.runs.iter().enumerate();
        let blocks = runs.flat_map(|(at, run)| (run.first()..run.end()).map(move |block| (at, block)));
        let living = blocks.filter(|&(_, block)| !self.is_dead(block));
        living.map(|(at, block)| self.place_in(at, block)).collect()
    }
}

fn unmark(dead: &mut Option<Box<BlockBits>>, blocks: Range<u16>) {
    let Some(dead) = dead else { return };
    blocks.for_each(|block| dead[usize::from(block / 64)] &= !(1 << (block % 64)));
}

/// A chunk with its slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkRef<'a> {
    pub chunk: &'a Chunk,
    pub slab: &'a Slab,
}

impl<'a> ChunkRef<'a> {
    pub fn place(self, block: u16) -> Place {
        self.chunk.place(self.slab, block)
    }

    /// With what says whether its data is right; `None` for a block without data.
    pub fn sum(self, block: u16) -> Option<Sum> {
        match self.chunk.find(self.slab, block) {
            Kept::Slot(slot) => slot.has_data().then_some(Sum::Crc(slot.crc)),
            Kept::Run(at) => Some(Sum::Of(self.chunk.runs[at])),
            Kept::Nowhere => None,
        }
    }

    pub fn base(self) -> Version {
        self.chunk.base
    }

    /// Blocks that are known by themselves, in order.
    pub fn blocks(self) -> impl Iterator<Item = (u16, Place)> + 'a {
        let Self { chunk, slab } = self;
        let pages = chunk.pages.iter().enumerate().filter(move |&(page, &id)| {
            let first = first_of(page);
            let at = chunk.runs.partition_point(|run| run.end() <= first);
            id != PageId::NONE || chunk.runs.get(at).is_some_and(|run| run.first() < first_of(page + 1))
        });
        pages.flat_map(move |(page, _)| first_of(page)..first_of(page + 1)).filter_map(move |block| {
            match chunk.find(slab, block) {
                Kept::Slot(slot) => Some((block, slot.into())),
                Kept::Run(at) => Some((block, chunk.place_in(at, block))),
                Kept::Nowhere => None,
            }
        })
    }

    /// Blocks that are kept in slots, in order.
    pub fn slots(self) -> impl Iterator<Item = (u16, Slot)> + 'a {
        let Self { chunk, slab } = self;
        let pages = chunk.pages.iter().enumerate().filter_map(|(page, &id)| Some((page, slab.get(id)?)));
        pages.flat_map(move |(page, slots)| {
            let held = (first_of(page)..).zip(slots).filter(|(_, slot)| !slot.is_hole());
            held.map(move |(block, &slot)| (block, chunk.uppers.unpack(slot)))
        })
    }

    /// All runs, in order, with the bits of their dead blocks.
    pub fn runs(self) -> (&'a [Run], BlockBits) {
        (&self.chunk.runs, self.chunk.dead.as_deref().copied().unwrap_or_default())
    }
}

fn first_of(page: usize) -> u16 {
    u16::try_from(page * PAGE_BLOCKS).expect("within a chunk")
}

/// Page, and place in it.
fn slot_of(block: u16) -> (usize, usize) {
    (usize::from(block) / PAGE_BLOCKS, usize::from(block) % PAGE_BLOCKS)
}
