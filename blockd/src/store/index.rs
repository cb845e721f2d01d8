//! Where every block is: volume -> chunk -> slot.
//!
//! A chunk keeps slots (16 bytes a block) in pages of 32, made when first written, so that a chunk with
//! one block costs little and a full one costs 16 KiB. A trim of a whole chunk is one number, its `base`:
//! a discarded terabyte must not cost gigabytes of tombstones. A random write finds its slot with two cache
//! misses, one in the chunk and one in the page: see [`Slab`].

use super::slab::{PAGE_BLOCKS, PageId, Slab};
use crate::fast_map::FastMap;
use proto::disk::{DataKind, Slot};
use proto::message::{ListEntry, ListKind};
use proto::placement::group_of;
use proto::units::BLOCKS_PER_CHUNK;
use proto::{ChunkId, ChunkIndex, GroupId, Version, VolumeEpoch, VolumeId};
use std::collections::BTreeMap;

const PAGES: usize = BLOCKS_PER_CHUNK as usize / PAGE_BLOCKS;

/// One 4 MiB chunk. Its slots are in the index's slab: [`ChunkRef`] reads them.
#[derive(Debug)]
pub(super) struct Chunk {
    pages: [PageId; PAGES],
    /// The version of a trim of all of it: blocks with no higher version are trimmed with this one.
    base: Version,
    /// Slots with data on the disk.
    live: u16,
    /// No block has a higher version: lets listings pass by.
    highest: Version,
}

impl Default for Chunk {
    fn default() -> Self {
        Self { pages: [PageId::NONE; PAGES], base: Version::ZERO, live: 0, highest: Version::ZERO }
    }
}

/// A chunk with its slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkRef<'a> {
    chunk: &'a Chunk,
    slab: &'a Slab,
}

/// What the store knows of one volume.
#[derive(Debug, Default)]
pub(super) struct Volume {
    pub chunks: BTreeMap<u32, Box<Chunk>>,
    pub fence: VolumeEpoch,
    pub settled: Version,
    pub stable: Version,
    pub highest: Version,
    /// Tombstones up to it count as holes: all members of all of the volume's groups have them for good.
    pub forgotten: Version,
    pub deleted: bool,
    /// The horizons have changed since they were last logged.
    pub horizon_dirty: bool,
    pub live_blocks: u64,
    pub live_chunks: u64,
}

/// Who may take the place of an equal version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnEqual {
    Keep,
    Replace,
    /// A trim's: what a catch-up takes away for want of it anywhere else goes under its own version.
    ReplaceData,
}

impl OnEqual {
    fn keeps(self, old: &Slot) -> bool {
        match self {
            Self::Keep => true,
            Self::Replace => false,
            Self::ReplaceData => old.location == Slot::TRIMMED,
        }
    }
}

impl From<DataKind> for OnEqual {
    fn from(kind: DataKind) -> Self {
        if kind == DataKind::Write { Self::Keep } else { Self::Replace }
    }
}

/// The whole index of a disk.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub volumes: FastMap<VolumeId, Volume>,
    pub live_blocks: u64,
    pub chunks: u64,
    slab: Slab,
    /// Slots that are not holes.
    slots: u64,
}

impl Volume {
    /// Takes in what was said of the horizons; whether anything changed.
    pub fn raise_horizon(&mut self, settled: Version, stable: Version, whole: bool) -> bool {
        let before = (self.settled, self.stable, self.forgotten);
        self.settled = self.settled.max(settled);
        self.stable = self.stable.max(stable);
        if whole {
            self.forgotten = self.forgotten.max(stable);
        }
        before != (self.settled, self.stable, self.forgotten)
    }
}

impl Chunk {
    fn slot(&self, slab: &Slab, block: u16) -> Slot {
        let (page, at) = place(block);
        let slot = slab.get(self.pages[page]).map_or_else(Slot::default, |page| page[at]);
        if slot.version >= self.base && slot.location != Slot::HOLE || self.base == Version::ZERO {
            return slot;
        }
        Slot { location: Slot::TRIMMED, crc: 0, version: self.base }
    }

    fn is_empty(&self) -> bool {
        self.base == Version::ZERO && self.pages.iter().all(|&page| page == PageId::NONE)
    }
}

impl<'a> ChunkRef<'a> {
    pub fn slot(self, block: u16) -> Slot {
        self.chunk.slot(self.slab, block)
    }

    pub fn base(self) -> Version {
        self.chunk.base
    }

    /// Blocks with slots of their own, in order.
    pub fn slots(self) -> impl Iterator<Item = (u16, Slot)> + 'a {
        let Self { chunk, slab } = self;
        let pages = (0u16..).zip(&chunk.pages).filter_map(|(page, &id)| Some((page, slab.get(id)?)));
        pages.flat_map(|(page, slots)| {
            let first = page * u16::try_from(PAGE_BLOCKS).expect("pages are small");
            (first..).zip(slots.iter().copied()).filter(|(_, slot)| slot.location != Slot::HOLE)
        })
    }
}

fn place(block: u16) -> (usize, usize) {
    (usize::from(block) / PAGE_BLOCKS, usize::from(block) % PAGE_BLOCKS)
}

impl Index {
    pub fn volume_mut(&mut self, volume: VolumeId) -> &mut Volume {
        self.volumes.entry(volume).or_default()
    }

    pub fn chunk(&self, volume: VolumeId, chunk: ChunkIndex) -> Option<ChunkRef<'_>> {
        let chunk = self.volumes.get(&volume)?.chunks.get(&chunk.0)?;
        Some(ChunkRef { chunk, slab: &self.slab })
    }

    /// The chunks of a volume from `first` on, in order.
    pub fn chunks_of<'a>(
        &'a self,
        held: &'a Volume,
        first: u32,
    ) -> impl Iterator<Item = (u32, ChunkRef<'a>)> + 'a {
        held.chunks.range(first..).map(|(&at, chunk)| (at, ChunkRef { chunk, slab: &self.slab }))
    }

    pub fn slot(&self, volume: VolumeId, chunk: ChunkIndex, block: u16) -> Slot {
        self.chunk(volume, chunk).map_or_else(Slot::default, |chunk| chunk.slot(block))
    }

    /// Puts `slots` (one a block, from `first` on) where they are newer; `dead` is given the location of
    /// each block of data that lost its place and `placed` says whether the new one is held.
    pub fn apply(
        &mut self,
        (volume, chunk, first): (VolumeId, ChunkIndex, u16),
        on_equal: OnEqual,
        slots: impl Iterator<Item = Slot>,
        mut change: impl FnMut(SlotChange),
    ) {
        let held = self.volumes.entry(volume).or_default();
        if held.deleted {
            return;
        }
        let chunks = &mut self.chunks;
        let entry = held.chunks.entry(chunk.0).or_insert_with(|| {
            *chunks += 1;
            Box::default()
        });
        let before = entry.live;
        for (block, new) in (first..).zip(slots) {
            let old = entry.slot(&self.slab, block);
            held.highest = held.highest.max(new.version);
            if new.version < old.version || new.version == old.version && on_equal.keeps(&old) {
                continue;
            }
            entry.highest = entry.highest.max(new.version);
            let (page, at) = place(block);
            let page = self.slab.get_or_take(&mut entry.pages[page]);
            self.slots += u64::from(page[at].location == Slot::HOLE);
            page[at] = new;
            entry.live = entry.live + u16::from(new.has_data()) - u16::from(old.has_data());
            change(SlotChange { old, new });
        }
        let live = (u64::from(before), u64::from(entry.live));
        held.live_blocks = held.live_blocks + live.1 - live.0;
        self.live_blocks = self.live_blocks + live.1 - live.0;
        held.live_chunks = held.live_chunks + u64::from(live.1 > 0) - u64::from(live.0 > 0);
    }

    /// Trims all of a chunk at `version`: slots at or below it go.
    pub fn trim_chunk(
        &mut self,
        volume: VolumeId,
        chunk: ChunkIndex,
        version: Version,
        mut change: impl FnMut(SlotChange),
    ) {
        let held = self.volumes.entry(volume).or_default();
        if held.deleted {
            return;
        }
        let chunks = &mut self.chunks;
        let entry = held.chunks.entry(chunk.0).or_insert_with(|| {
            *chunks += 1;
            Box::default()
        });
        held.highest = held.highest.max(version);
        if version <= entry.base {
            return;
        }
        let before = entry.live;
        let trimmed = Slot { location: Slot::TRIMMED, crc: 0, version };
        for id in &mut entry.pages {
            let Some(page) = self.slab.get_mut(*id) else { continue };
            for slot in page.iter_mut().filter(|slot| slot.location != Slot::HOLE && slot.version < version) {
                if slot.has_data() {
                    entry.live -= 1;
                    change(SlotChange { old: *slot, new: trimmed });
                }
                self.slots -= 1;
                *slot = Slot::default();
            }
            if page.iter().all(|slot| slot.location == Slot::HOLE) {
                self.slab.give_back(id);
            }
        }
        entry.base = version;
        entry.highest = entry.highest.max(version);
        let gone = u64::from(before - entry.live);
        held.live_blocks -= gone;
        self.live_blocks -= gone;
        held.live_chunks -= u64::from(before > 0 && entry.live == 0);
    }

    /// Puts back a chunk record of a checkpoint. The chunk is not held yet.
    pub fn load(
        &mut self,
        (volume, chunk, base): (VolumeId, ChunkIndex, Version),
        slots: impl Iterator<Item = (u16, Slot)>,
        mut change: impl FnMut(SlotChange),
    ) {
        if base > Version::ZERO {
            self.trim_chunk(volume, chunk, base, |_| {});
        }
        for (block, slot) in slots {
            self.apply((volume, chunk, block), OnEqual::Replace, std::iter::once(slot), &mut change);
        }
    }

    /// Forgets tombstones at or below `horizon`: every member has them for good.
    pub fn forget_tombstones(&mut self, volume: VolumeId, chunk: u32, horizon: Version) {
        let Some(held) = self.volumes.get_mut(&volume) else { return };
        let Some(entry) = held.chunks.get_mut(&chunk) else { return };
        let base_goes = entry.base <= horizon;
        for id in &mut entry.pages {
            let Some(page) = self.slab.get_mut(*id) else { continue };
            for slot in page.iter_mut() {
                if slot.location == Slot::TRIMMED && slot.version <= horizon {
                    self.slots -= 1;
                    *slot = Slot::default();
                }
            }
            if page.iter().all(|slot| slot.location == Slot::HOLE) {
                self.slab.give_back(id);
            }
        }
        // A slot forgotten above a base that stays would read as trimmed with the base: still zeros.
        if base_goes {
            entry.base = Version::ZERO;
        }
        if entry.is_empty() {
            held.chunks.remove(&chunk);
            self.chunks -= 1;
        }
    }

    /// Takes a volume's chunks away, to be counted out by [`Index::drop_chunk`].
    pub fn delete_volume(&mut self, volume: VolumeId) -> BTreeMap<u32, Box<Chunk>> {
        let held = self.volume_mut(volume);
        held.deleted = true;
        held.horizon_dirty = false;
        held.live_blocks = 0;
        held.live_chunks = 0;
        std::mem::take(&mut held.chunks)
    }

    /// Takes the chunks of one of the pool's `groups` away, to be counted out by [`Index::drop_chunk`].
    /// Looks at every chunk there is: milliseconds on a full disk, and rare.
    pub fn clear_group(&mut self, group: GroupId, groups: u32) -> Vec<BTreeMap<u32, Box<Chunk>>> {
        let mut cleared = Vec::new();
        for (&volume, held) in &mut self.volumes {
            let is_in = |&index: &u32, _: &mut Box<Chunk>| {
                group_of(ChunkId { volume, index: ChunkIndex(index) }, groups) == group
            };
            let chunks: BTreeMap<u32, Box<Chunk>> = held.chunks.extract_if(.., is_in).collect();
            for chunk in chunks.values() {
                held.live_blocks -= u64::from(chunk.live);
                held.live_chunks -= u64::from(chunk.live > 0);
            }
            if !chunks.is_empty() {
                cleared.push(chunks);
            }
        }
        cleared
    }

    /// Ends a chunk of a deleted volume or a cleared group.
    pub fn drop_chunk(&mut self, mut chunk: Chunk, mut change: impl FnMut(SlotChange)) {
        self.chunks -= 1;
        self.live_blocks -= u64::from(chunk.live);
        for (_, old) in (ChunkRef { chunk: &chunk, slab: &self.slab }).slots() {
            self.slots -= 1;
            change(SlotChange { old, new: Slot::default() });
        }
        for page in &mut chunk.pages {
            self.slab.give_back(page);
        }
    }

    /// Memory the index takes, in bytes, about.
    pub fn memory_bytes(&self) -> u64 {
        let chunk = size_of::<Chunk>() as u64 + 40;
        let volumes = self.volumes.len() * (size_of::<Volume>() + 16);
        self.slab.bytes() + self.chunks * chunk + volumes as u64
    }

    /// Bytes a checkpoint of the index takes, at most.
    pub fn checkpoint_bytes(&self) -> u64 {
        use proto::disk::checkpoint::{CHUNK_BYTES, RECORD_BYTES, RUN_BYTES, SLOT_BYTES};
        let slots = self.slots * (SLOT_BYTES + RUN_BYTES) as u64;
        slots + self.chunks * CHUNK_BYTES as u64 + (self.volumes.len() * RECORD_BYTES) as u64
    }

    /// A page of [`list`](super::Store) entries: blocks above `above`, from `cursor`, until `max_entries`
    /// or `max_chunks` are passed. Returns the next cursor, if there is more.
    pub fn list(
        &self,
        volume: VolumeId,
        above: Version,
        cursor: u64,
        (max_entries, max_chunks): (usize, usize),
        out: &mut Vec<ListEntry>,
    ) -> Option<u64> {
        let held = self.volumes.get(&volume)?;
        let (first_chunk, mut from) = (u32::try_from(cursor >> 16).ok()?, cursor & 0xffff);
        for (seen, (chunk, entry)) in self.chunks_of(held, first_chunk).enumerate() {
            if chunk != first_chunk {
                from = 0;
            }
            // A chunk has at most this many runs: a page never ends inside one unless the cursor says.
            if seen >= max_chunks || out.len() + BLOCKS_PER_CHUNK as usize > max_entries {
                return Some(u64::from(chunk) << 16 | from);
            }
            if entry.chunk.highest <= above {
                continue;
            }
            for block in 0..u16::try_from(BLOCKS_PER_CHUNK).expect("1024") {
                let slot = entry.slot(block);
                if u64::from(block) < from || slot.location == Slot::HOLE || slot.version <= above {
                    continue;
                }
                let kind = if slot.location == Slot::TRIMMED { ListKind::Trimmed } else { ListKind::Data };
                match out.last_mut() {
                    Some(last)
                        if last.chunk.0 == chunk
                            && last.first + last.count == block
                            && last.version == slot.version
                            && last.kind == kind =>
                    {
                        last.count += 1;
                    }
                    _ => out.push(ListEntry {
                        chunk: ChunkIndex(chunk),
                        first: block,
                        count: 1,
                        version: slot.version,
                        kind,
                    }),
                }
            }
        }
        None
    }
}

/// A slot that gave way to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotChange {
    pub old: Slot,
    pub new: Slot,
}
