//! The index against a model that knows a slot for each block, whichever way the index keeps it, and what it takes.

use super::chunk::Sum;
use super::index::{Index, OnEqual, SlotChange, Written};
use super::limits::{MAX_CHUNK_RUNS, MIN_RUN_BLOCKS};
use proptest::prelude::*;
use proto::checksum::BlockCrcs;
use proto::disk::checkpoint::{chunk_slots, put_chunk, put_runs, runs_of};
use proto::disk::{Record, Slot, records};
use proto::units::BLOCKS_PER_CHUNK;
use proto::{ChunkId, ChunkIndex, Version, VolumeEpoch, VolumeId};
use std::collections::HashMap;

const AT: ChunkId = ChunkId { volume: VolumeId(1), index: ChunkIndex(3) };
const BLOCKS: u16 = 1024;

#[derive(Debug, Clone)]
enum Change {
    /// Data: first block, blocks, how far behind the newest version it is, and what an equal version does.
    Data(u16, u16, u64, OnEqual),
    Trim(u16, u16, u64),
    Lost(u16),
    TrimAll(u64),
    Forget(u64),
    /// To a checkpoint and back.
    Reload,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let late = || prop_oneof![4 => Just(0u64), 1 => 0..6u64];
    let long = (0..BLOCKS, prop_oneof![1 => 1..8u16, 3 => 8..300u16]);
    let equal = prop_oneof![Just(OnEqual::Keep), Just(OnEqual::Replace)];
    let data = |range| {
        (range, late(), equal.clone())
            .prop_map(|((first, count), late, equal)| Change::Data(first, count, late, equal))
    };
    let change = prop_oneof![
        8 => data(long.boxed()),
        8 => data((0..BLOCKS, Just(1u16)).boxed()),
        // All in one corner, so that a run loses all of its blocks one by one.
        8 => data((0..48u16, 1..12u16).boxed()),
        2 => (0..BLOCKS, 1..60u16, late()).prop_map(|(first, count, late)| Change::Trim(first, count, late)),
        1 => (0..BLOCKS).prop_map(Change::Lost),
        1 => late().prop_map(Change::TrimAll),
        1 => (0..40u64).prop_map(Change::Forget),
        1 => Just(Change::Reload),
    ];
    proptest::collection::vec(change, 1..120)
}

/// Slots, and the version of a trim of everything.
struct Model {
    slots: Vec<Slot>,
    base: Version,
    /// What lies where on the disk.
    disk: HashMap<u32, u32>,
    /// The data of each location that counts, as `change` was told.
    live: HashMap<u32, Version>,
    version: u64,
    end: u32,
}

impl Model {
    fn place(&self, block: u16) -> Slot {
        let slot = self.slots[usize::from(block)];
        if slot.location == Slot::HOLE && self.base > Version::ZERO {
            return Slot { location: Slot::TRIMMED, crc: 0, version: self.base };
        }
        slot
    }

    fn put(&mut self, first: u16, on_equal: OnEqual, slots: impl Iterator<Item = Slot>) {
        for (block, new) in (first..).zip(slots) {
            let old = self.place(block);
            let keeps = match on_equal {
                OnEqual::Keep => true,
                OnEqual::Replace => false,
                OnEqual::ReplaceData => old.location == Slot::TRIMMED,
            };
            if new.version > old.version || new.version == old.version && !keeps {
                self.slots[usize::from(block)] = new;
            }
        }
    }
}

/// The `count`th version: every third one begins an epoch.
fn version_of(count: u64) -> Version {
    let epoch = VolumeEpoch(u32::try_from(count / 3).unwrap());
    Version(Version::first_of(epoch).0 + count)
}

fn note(live: &mut HashMap<u32, Version>, change: SlotChange) {
    if change.old.has_data() {
        assert_eq!(live.remove(&change.old.location), Some(change.old.version), "{change:?}");
    }
    if change.new.has_data() {
        assert_eq!(live.insert(change.new.location, change.new.version), None, "{change:?}");
    }
}

fn apply(index: &mut Index, model: &mut Model, change: &Change) {
    let place = |first| (AT.volume, AT.index, first);
    let tell = |live: &mut HashMap<u32, Version>, change| note(live, change);
    match *change {
        Change::Data(first, count, late, on_equal) => {
            let count = count.min(BLOCKS - first);
            model.version += u64::from(late == 0);
            let version = version_of(model.version.saturating_sub(late).max(1));
            let (batch, location) = (model.end, model.end + 1 + u32::from(first % 3));
            model.end = location + u32::from(count);
            let crcs: BlockCrcs = (location..model.end).map(|at| at.wrapping_mul(0x9e37_79b1)).collect();
            model.disk.extend((location..model.end).zip(crcs.iter()));
            let slots = (location..).zip(crcs.iter()).map(|(location, crc)| Slot { location, crc, version });
            model.put(first, on_equal, slots);
            let data = Written { batch, location, version, crcs: crcs.as_bytes() };
            index.apply_data(place(first), on_equal, &data, |change| tell(&mut model.live, change));
        }
        Change::Trim(first, count, late) => {
            let count = count.min(BLOCKS - first);
            model.version += u64::from(late == 0);
            let version = version_of(model.version.saturating_sub(late).max(1));
            let slots =
                std::iter::repeat_n(Slot { location: Slot::TRIMMED, crc: 0, version }, usize::from(count));
            model.put(first, OnEqual::ReplaceData, slots.clone());
            index.apply(place(first), OnEqual::ReplaceData, slots, |change| tell(&mut model.live, change));
        }
        Change::Lost(block) => {
            let version = model.place(block).version;
            if version > Version::ZERO {
                let slots = std::iter::once(Slot { location: Slot::LOST, crc: 0, version });
                model.put(block, OnEqual::Replace, slots.clone());
                index.apply(place(block), OnEqual::Replace, slots, |change| tell(&mut model.live, change));
            }
        }
        Change::TrimAll(late) => {
            model.version += 1;
            let version = version_of(model.version.saturating_sub(late));
            if version > model.base {
                model.base = version;
                model
                    .slots
                    .iter_mut()
                    .filter(|slot| slot.version < version)
                    .for_each(|s| *s = Slot::default());
            }
            index.trim_chunk(AT.volume, AT.index, version, |change| tell(&mut model.live, change));
        }
        Change::Forget(below) => {
            let horizon = version_of(model.version.saturating_sub(below));
            let old = |slot: &&mut Slot| slot.location == Slot::TRIMMED && slot.version <= horizon;
            model.slots.iter_mut().filter(old).for_each(|slot| *slot = Slot::default());
            model.base = if model.base <= horizon { Version::ZERO } else { model.base };
            index.forget_tombstones(AT.volume, AT.index.0, horizon);
        }
        Change::Reload => *index = reloaded(index, model),
    }
}

/// What a checkpoint keeps of it.
fn reloaded(index: &Index, model: &mut Model) -> Index {
    let Some(chunk) = index.chunk(AT.volume, AT.index) else { return Index::default() };
    let mut payload = Vec::new();
    put_chunk(&mut payload, AT, chunk.base(), chunk.slots());
    let (runs, dead) = chunk.runs();
    put_runs(&mut payload, AT, &dead, runs.iter().copied());
    assert!(payload.len() as u64 <= index.checkpoint_bytes() + 200, "a checkpoint takes more than was said");
    let mut loaded = Index::default();
    model.live.clear();
    for record in records(&payload) {
        match record.unwrap() {
            Record::Chunk { chunk, base, runs } => {
                let place = (chunk.volume, chunk.index, base);
                loaded.load(place, chunk_slots(runs), |change| note(&mut model.live, change));
            }
            Record::Runs { chunk, dead, runs } => {
                let row = (runs_of(runs).collect(), dead);
                let place = (chunk.volume, chunk.index);
                assert!(loaded.load_runs(place, row, |change| note(&mut model.live, change)));
            }
            other => panic!("{other:?}"),
        }
    }
    loaded
}

fn compare(index: &Index, model: &Model) {
    let chunk = index.chunk(AT.volume, AT.index);
    let mut known = Vec::new();
    for block in 0..BLOCKS {
        let (held, expected) = (index.place(AT.volume, AT.index, block), model.place(block));
        assert_eq!((held.location, held.version), (expected.location, expected.version), "block {block}");
        if model.slots[usize::from(block)].location != Slot::HOLE {
            known.push((block, held));
        }
        match chunk.and_then(|chunk| chunk.sum(block)) {
            None => assert!(!held.has_data()),
            Some(Sum::Crc(crc)) => assert_eq!(crc, expected.crc),
            Some(Sum::Of(run)) => {
                assert_eq!((run.location(block), run.version), (held.location, held.version));
                let crcs: BlockCrcs = run.piece().map(|at| model.disk[&at]).collect();
                assert!(run.vouches_for(crcs.as_bytes()), "block {block}");
                assert!(run.batch() < run.piece().start);
            }
        }
    }
    assert_eq!(chunk.map(|chunk| chunk.blocks().collect::<Vec<_>>()).unwrap_or_default(), known);
    let live = known.iter().filter(|(_, place)| place.has_data()).count();
    assert_eq!((index.live_blocks, model.live.len()), (live as u64, live));
    let runs = chunk.map_or(0, |chunk| chunk.runs().0.len());
    assert!(runs <= MAX_CHUNK_RUNS);
    // A slot each at worst, with its page and all runs.
    assert!(
        index.memory_bytes() <= 64 * 512 + 4096 + (MAX_CHUNK_RUNS * 24) as u64,
        "{}",
        index.memory_bytes()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_index_says_what_a_slot_for_each_block_would(changes in changes()) {
        let mut index = Index::default();
        let mut model = Model {
            slots: vec![Slot::default(); usize::from(BLOCKS)],
            base: Version::ZERO,
            disk: HashMap::new(),
            live: HashMap::new(),
            version: 0,
            end: 1000,
        };
        for (number, change) in changes.iter().enumerate() {
            apply(&mut index, &mut model, change);
            if number % 16 == 15 {
                compare(&index, &model);
            }
        }
        compare(&index, &model);
        // Nothing of it stays when it goes.
        let chunks = index.delete_volume(AT.volume);
        chunks.into_values().for_each(|chunk| index.drop_chunk(*chunk, |change| note(&mut model.live, change)));
        assert!(model.live.is_empty());
        assert_eq!(index.checkpoint_bytes(), 40, "the volume's record");
    }
}

const GIB: u64 = 1 << 30;

/// Bytes of index a TiB, after `write` wrote each block of 64 chunks.
fn gib_per_tib(write: impl Fn(&mut Index, u32)) -> f64 {
    let mut index = Index::default();
    let chunks = 64;
    (0..chunks).for_each(|chunk| write(&mut index, chunk));
    assert_eq!(index.live_blocks, u64::from(chunks * BLOCKS_PER_CHUNK));
    let per_chunk = index.memory_bytes() as f64 / f64::from(chunks);
    per_chunk * (1u64 << 40) as f64 / (4 << 20) as f64 / GIB as f64
}

fn put(index: &mut Index, (chunk, first, count): (u32, u16, u16), version: u64) {
    let crcs = BlockCrcs::from_bytes(vec![7; usize::from(count) * 4].into());
    let location = 10 + (chunk * 1100 + u32::from(first)) * 2;
    let data = Written { batch: location - 1, location, version: Version(version), crcs: crcs.as_bytes() };
    index.apply_data((AT.volume, ChunkIndex(chunk), first), OnEqual::Replace, &data, |_| {});
}

fn runs_of_len(index: &mut Index, chunk: u32, len: u16, shift: u16) {
    let mut first = 0;
    while first < BLOCKS {
        let end = if first == 0 && shift > 0 { shift } else { first + len };
        put(index, (chunk, first, end.min(BLOCKS) - first), u64::from(first) + 1);
        first = end;
    }
}

/// DESIGN 4's bounds.
#[test]
fn what_a_tebibyte_of_index_takes() {
    let runs = |len: u16, shift: u16| gib_per_tib(|index, chunk| runs_of_len(index, chunk, len, shift));
    for (len, shift, most) in
        [(256, 0, 0.09), (256, 100, 0.11), (64, 0, 0.16), (32, 0, 0.26), (32, 13, 0.30), (8, 0, 0.85)]
    {
        let found = runs(len, shift);
        assert!(found < most, "runs of {len} blocks, {shift} at first: {found:.3} GiB");
    }
    let random = gib_per_tib(|index, chunk| {
        (0..BLOCKS).for_each(|n| put(index, (chunk, n.wrapping_mul(389) % BLOCKS, 1), u64::from(n) + 1));
    });
    assert!(random < 3.65, "{random:.3} GiB");
}

/// Runs give way to slots and slots to runs, and neither costs more for what was there before.
#[test]
fn a_chunk_is_as_small_as_what_it_was_written_with_last() {
    let runs = |index: &mut Index, chunk| runs_of_len(index, chunk, 32, 0);
    let singles = |index: &mut Index, chunk| {
        (0..BLOCKS).for_each(|n| put(index, (chunk, n, 1), u64::from(BLOCKS + n) + 1));
    };
    let random = gib_per_tib(|index, chunk| {
        runs(index, chunk);
        singles(index, chunk);
    });
    assert!(random < 3.65, "{random:.3} GiB: runs without a living block stay");
    let mut index = Index::default();
    singles(&mut index, 0);
    let slots = index.memory_bytes();
    runs_of_len(&mut index, 0, 32, 0);
    assert_eq!(index.memory_bytes(), slots, "older data changes nothing");
    for chunk in 0..32 {
        (0..BLOCKS).step_by(32).for_each(|first| put(&mut index, (chunk, first, 32), 1 << 20));
    }
    // Pages that were given back are kept for others, so what one chunk took is all there is.
    assert!(index.memory_bytes() < slots + 32 * 1100, "{} after {slots}", index.memory_bytes());
}

/// Short runs laid over each other, one block further each time, would leave a run for each block.
#[test]
fn runs_cut_to_single_blocks_end_as_slots() {
    let mut index = Index::default();
    let mut most = 0;
    for first in 0..=BLOCKS - MIN_RUN_BLOCKS {
        put(&mut index, (0, first, MIN_RUN_BLOCKS), u64::from(first) + 1);
        most = most.max(index.chunk(AT.volume, ChunkIndex(0)).unwrap().runs().0.len());
    }
    assert!(most <= MAX_CHUNK_RUNS && most > MAX_CHUNK_RUNS / 2, "{most}");
    assert_eq!(index.live_blocks, u64::from(BLOCKS));
    assert!(index.memory_bytes() < 20 << 10, "{}", index.memory_bytes());
}

/// A volume that is attached again and again: each of its epochs leaves the block it wrote last.
#[test]
fn epochs_cost_no_more_than_what_they_left() {
    let mut index = Index::default();
    for epoch in 1..5000 {
        put(&mut index, (0, u16::try_from(epoch % 5).unwrap(), 1), version_of(epoch * 3).0);
    }
    for block in 0..5 {
        let epoch = (4995..5000).find(|epoch| epoch % 5 == u64::from(block)).unwrap();
        assert_eq!(index.place(AT.volume, ChunkIndex(0), block).version, version_of(epoch * 3));
    }
    assert!(index.memory_bytes() < 1024, "{}", index.memory_bytes());
    for block in 0..BLOCKS {
        put(&mut index, (0, block, 1), version_of(30_000 + u64::from(block) * 3).0);
    }
    for block in 0..BLOCKS {
        let version = version_of(30_000 + u64::from(block) * 3);
        assert_eq!(index.place(AT.volume, ChunkIndex(0), block).version, version);
    }
    // At worst: a slot, and an upper half of its own with room for another, a block.
    assert!(index.memory_bytes() < 24 << 10, "{}", index.memory_bytes());
    index.trim_chunk(AT.volume, ChunkIndex(0), version_of(60_000), |_| {});
    put(&mut index, (0, 7, 1), version_of(60_003).0);
    assert_eq!(index.place(AT.volume, ChunkIndex(0), 7).version, version_of(60_003));
    assert_eq!(index.place(AT.volume, ChunkIndex(0), 8).version, version_of(60_000));
}
