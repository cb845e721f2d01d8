//! Where every block is: volume -> chunk -> slot or run.
//!
//! A chunk with one block costs little, one written at random costs 14 KiB, and one written in long runs some
//! hundred bytes: see [`Chunk`]. A trim of a whole chunk is one number, its `base`: a discarded terabyte must
//! not cost gigabytes of tombstones. A random write finds its slot with two cache misses, one in the chunk and
//! one in the page: see [`Slab`].

use super::chunk::{Chunk, ChunkRef, Extra, Place};
use super::limits::MIN_RUN_BLOCKS;
use super::slab::Slab;
use crate::fast_map::FastMap;
use proto::disk::checkpoint::BlockBits;
use proto::disk::{DataKind, Run, Slot};
use proto::message::{ListEntry, ListKind};
use proto::placement::group_of;
use proto::units::BLOCKS_PER_CHUNK;
use proto::{ChunkId, ChunkIndex, GroupId, Version, VolumeEpoch, VolumeId};
use std::collections::BTreeMap;
use std::ops::Range;

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
    fn keeps(self, old: Place) -> bool {
        match self {
            Self::Keep => true,
            Self::Replace => false,
            Self::ReplaceData => old.location == Slot::TRIMMED,
        }
    }

    /// Whether data or a trim of `version` takes the place of `old`.
    fn wins(self, version: Version, old: Place) -> bool {
        version > old.version || version == old.version && !self.keeps(old)
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
    /// Blocks that are known by themselves, in slots or in runs.
    known: u64,
    /// Of all chunks.
    extra: Extra,
}

/// Blocks in a row of one batch's data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    /// Where the batch starts, and where its first block lies.
    pub batch: u32,
    pub location: u32,
    pub version: Version,
    /// Four little-endian bytes a block.
    pub crcs: &'a [u8],
}

impl<'a> Written<'a> {
    fn count(&self) -> u16 {
        u16::try_from(self.crcs.len() / 4).expect("within a chunk")
    }

    fn part(&self, blocks: Range<u16>) -> Self {
        let crcs = &self.crcs[usize::from(blocks.start) * 4..usize::from(blocks.end) * 4];
        Self { location: self.location + u32::from(blocks.start), crcs, ..*self }
    }

    fn slots(self) -> impl Iterator<Item = Slot> + Clone + 'a {
        let crcs = self.crcs.chunks_exact(4).map(|crc| u32::from_le_bytes(crc.try_into().expect("four")));
        (self.location..).zip(crcs).map(move |(location, crc)| Slot { location, crc, version: self.version })
    }
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

    pub fn place(&self, volume: VolumeId, chunk: ChunkIndex, block: u16) -> Place {
        self.chunk(volume, chunk).map_or_else(Place::default, |chunk| chunk.place(block))
    }

    /// Changes a chunk, which is made if there is none, and counts what comes and goes. `change` is told how many
    /// blocks are known by themselves, to be kept right.
    fn update(
        &mut self,
        (volume, chunk, version): (VolumeId, ChunkIndex, Version),
        change: impl FnOnce(&mut Chunk, &mut Slab, &mut u64),
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
        let (live, extra) = (u64::from(entry.live), entry.extra());
        change(entry, &mut self.slab, &mut self.known);
        self.extra.exchange(extra, entry.extra());
        let now = u64::from(entry.live);
        held.live_blocks = held.live_blocks + now - live;
        self.live_blocks = self.live_blocks + now - live;
        held.live_chunks = held.live_chunks + u64::from(now > 0) - u64::from(live > 0);
    }

    /// Puts `slots` (one a block, from `first` on, all of one version) where they are newer; `change` is told of
    /// each block that gave way.
    pub fn apply(
        &mut self,
        (volume, chunk, first): (VolumeId, ChunkIndex, u16),
        on_equal: OnEqual,
        slots: impl Iterator<Item = Slot> + Clone,
        mut change: impl FnMut(SlotChange),
    ) {
        let Some(Slot { version, .. }) = slots.clone().next() else { return };
        self.update((volume, chunk, version), |entry, slab, known| {
            for (block, new) in (first..).zip(slots) {
                let old = entry.place(slab, block);
                if on_equal.wins(new.version, old) {
                    put_slot((entry, slab, known), block, (old, new), &mut change);
                }
            }
        });
    }

    /// The same for data. What is long enough becomes a run.
    pub fn apply_data(
        &mut self,
        (volume, chunk, first): (VolumeId, ChunkIndex, u16),
        on_equal: OnEqual,
        data: &Written<'_>,
        mut change: impl FnMut(SlotChange),
    ) {
        if data.count() < MIN_RUN_BLOCKS {
            return self.apply((volume, chunk, first), on_equal, data.slots(), change);
        }
        self.update((volume, chunk, data.version), |entry, slab, known| {
            let mut at = 0;
            while at < data.count() {
                let wins = |&n: &u16| on_equal.wins(data.version, entry.place(slab, first + n));
                let end = (at..data.count()).find(|n| !wins(n)).unwrap_or(data.count());
                if end > at {
                    put_data((entry, slab, known), first + at, data.part(at..end), &mut change);
                }
                at = end + 1;
            }
        });
    }

    /// Trims all of a chunk at `version`: blocks below it go.
    pub fn trim_chunk(
        &mut self,
        volume: VolumeId,
        chunk: ChunkIndex,
        version: Version,
        mut change: impl FnMut(SlotChange),
    ) {
        self.update((volume, chunk, version), |entry, slab, known| {
            if version <= entry.base {
                return;
            }
            let new = Place { location: Slot::TRIMMED, version };
            let mut gone = 0;
            let mut end = |old: Place| {
                gone += 1;
                change(SlotChange { old, new });
            };
            *known -= entry.retain_slots(slab, |slot| {
                let goes = slot.version < version;
                if goes && slot.has_data() {
                    end(Place::from(*slot));
                }
                goes
            });
            *known -= entry.drop_runs_below(version, &mut end);
            entry.live -= gone;
            entry.base = version;
            entry.highest = entry.highest.max(version);
        });
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

    /// Puts back a runs record of a checkpoint, whose chunk's record came before it. False if that chunk has
    /// runs already.
    pub fn load_runs(
        &mut self,
        (volume, chunk): (VolumeId, ChunkIndex),
        (runs, dead): (Vec<Run>, BlockBits),
        mut change: impl FnMut(SlotChange),
    ) -> bool {
        let highest = runs.iter().map(|run| run.version).max().unwrap_or_default();
        let mut is_first = true;
        self.update((volume, chunk, highest), |entry, slab, known| {
            is_first = entry.extra().rows == 0;
            if !is_first {
                return;
            }
            let unwritten = Place::default();
            let places = entry.load_runs(slab, runs, dead);
            *known += places.len() as u64;
            entry.live += u16::try_from(places.len()).expect("within a chunk");
            entry.highest = entry.highest.max(highest);
            places.into_iter().for_each(|new| change(SlotChange { old: unwritten, new }));
        });
        is_first
    }

    /// Forgets tombstones at or below `horizon`: every member has them for good.
    pub fn forget_tombstones(&mut self, volume: VolumeId, chunk: u32, horizon: Version) {
        let Some(held) = self.volumes.get_mut(&volume) else { return };
        let Some(entry) = held.chunks.get_mut(&chunk) else { return };
        self.known -= entry
            .retain_slots(&mut self.slab, |slot| slot.location == Slot::TRIMMED && slot.version <= horizon);
        // A slot forgotten above a base that stays would read as trimmed with the base: still zeros.
        if entry.base <= horizon {
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
        self.extra.exchange(chunk.extra(), Extra::default());
        for (_, old) in (ChunkRef { chunk: &chunk, slab: &self.slab }).blocks() {
            self.known -= 1;
            change(SlotChange { old, new: Place::default() });
        }
        chunk.give_back(&mut self.slab);
    }

    /// Memory the index takes, in bytes, about.
    pub fn memory_bytes(&self) -> u64 {
        let chunk = size_of::<Chunk>() as u64 + 40;
        let volumes = self.volumes.len() * (size_of::<Volume>() + 16);
        self.slab.bytes() + self.chunks * chunk + self.extra.bytes + volumes as u64
    }

    /// Bytes a checkpoint of the index takes, at most, and whatever becomes of its runs.
    pub fn checkpoint_bytes(&self) -> u64 {
        use proto::disk::checkpoint::{CHUNK_BYTES, RECORD_BYTES, RUN_BYTES, RUNS_BYTES, SLOT_BYTES};
        let blocks = self.known * (SLOT_BYTES + RUN_BYTES) as u64;
        let chunks = self.chunks * CHUNK_BYTES as u64 + self.extra.rows * RUNS_BYTES as u64;
        blocks + chunks + (self.volumes.len() * RECORD_BYTES) as u64
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
                let slot = entry.place(block);
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

type Parts<'a> = (&'a mut Chunk, &'a mut Slab, &'a mut u64);

fn put_slot(
    (entry, slab, known): Parts<'_>,
    block: u16,
    (old, new): (Place, Slot),
    change: &mut impl FnMut(SlotChange),
) {
    entry.highest = entry.highest.max(new.version);
    *known += u64::from(entry.put_slot(slab, block, new));
    entry.live = entry.live + u16::from(new.has_data()) - u16::from(old.has_data());
    change(SlotChange { old, new: new.into() });
}

/// Data that wins all of its blocks.
fn put_data(
    (entry, slab, known): Parts<'_>,
    first: u16,
    data: Written<'_>,
    change: &mut impl FnMut(SlotChange),
) {
    let blocks = first..first + data.count();
    if data.count() < MIN_RUN_BLOCKS || !entry.has_room_for_run() {
        for (block, slot) in blocks.zip(data.slots()) {
            let old = entry.place(slab, block);
            put_slot((entry, slab, known), block, (old, slot), change);
        }
        return;
    }
    let run = Run::new(first, (data.location, data.batch), data.version, data.crcs);
    for block in blocks {
        let old = entry.place(slab, block);
        entry.live += u16::from(!old.has_data());
        change(SlotChange { old, new: Place { location: run.location(block), version: run.version } });
    }
    entry.highest = entry.highest.max(data.version);
    *known += entry.put_run(slab, run);
}

/// A block that gave way to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotChange {
    pub old: Place,
    pub new: Place,
}
