//! Puts what a disk says back into memory: a checkpoint's records, and the batches after it.

use super::index::{OnEqual, Written};
use super::recover::{Found, Recovered};
use proto::disk::checkpoint::{BlockBits, chunk_slots, runs_of};
use proto::disk::{DiskError, Entry, Record, Run, Slot, entries, records};
use proto::units::BLOCKS_PER_CHUNK;
use proto::{ChunkId, GroupEpoch, GroupId, VolumeId};
use std::collections::BTreeMap;

fn adopt(groups: &mut BTreeMap<GroupId, GroupEpoch>, group: GroupId, epoch: GroupEpoch) {
    let held = groups.entry(group).or_default();
    *held = epoch.max(*held);
}

impl Recovered {
    /// Puts the records of one part of a checkpoint back.
    pub(super) fn load_records(&mut self, payload: &[u8]) -> Result<(), DiskError> {
        for record in records(payload) {
            match record? {
                Record::Chunk { chunk, base, runs } => {
                    let geometry = self.segments.geometry;
                    let lies = |slot: &Slot| !slot.has_data() || geometry.segment_of(slot.location).is_some();
                    if !chunk_slots(runs).all(|(_, slot)| lies(&slot)) {
                        return Err(DiskError::Content("a block lies outside the segments"));
                    }
                    let segments = &mut self.segments;
                    let place = (chunk.volume, chunk.index, base);
                    self.index.load(place, chunk_slots(runs), |change| segments.note(change));
                }
                Record::Runs { chunk, dead, runs } => self.load_runs(chunk, runs_of(runs).collect(), dead)?,
                Record::Volume { volume, deleted, fence, settled, stable, highest, whole } => {
                    let held = self.index.volume_mut(volume);
                    held.fence = held.fence.max(fence);
                    held.raise_horizon(settled, stable, whole);
                    held.highest = held.highest.max(highest);
                    if deleted {
                        self.delete(volume);
                    }
                }
                Record::Session { client, sequence, batch } => self.sessions.note(client, sequence, batch),
                Record::Group { group, epoch } => adopt(&mut self.groups, group, epoch),
            }
        }
        Ok(())
    }

    fn load_runs(&mut self, chunk: ChunkId, runs: Vec<Run>, dead: BlockBits) -> Result<(), DiskError> {
        let geometry = self.segments.geometry;
        let lies = |run: &Run| {
            let segment = geometry.segment_of(run.batch());
            segment.is_some() && segment == geometry.segment_of(run.piece().end - 1)
        };
        if !runs.iter().all(lies) {
            return Err(DiskError::Content("a run lies outside the segments"));
        }
        let segments = &mut self.segments;
        let place = (chunk.volume, chunk.index);
        if !self.index.load_runs(place, (runs, dead), |change| segments.note(change)) {
            return Err(DiskError::Content("a chunk's runs come twice"));
        }
        Ok(())
    }

    fn delete(&mut self, volume: VolumeId) {
        let segments = &mut self.segments;
        for chunk in self.index.delete_volume(volume).into_values() {
            self.index.drop_chunk(*chunk, |change| segments.note(change));
        }
    }

    /// Does again what a batch did.
    pub(super) fn replay(&mut self, batch: &Found) {
        let header = &batch.header;
        let geometry = self.segments.geometry;
        let start = geometry.start(header.segment) + header.block;
        let mut location = start + u32::from(header.header_blocks);
        for entry in entries(&batch.entries).flatten() {
            let segments = &mut self.segments;
            match entry {
                Entry::Data { kind, range, version, crcs } => {
                    let data = Written { batch: start, location, version, crcs };
                    let place = (range.volume, range.chunk, range.first);
                    self.index.apply_data(place, OnEqual::from(kind), &data, |change| segments.note(change));
                    location += u32::from(range.count);
                }
                Entry::Trim { range, version } if u32::from(range.count) == BLOCKS_PER_CHUNK => {
                    let note = |change| segments.note(change);
                    self.index.trim_chunk(range.volume, range.chunk, version, note);
                }
                Entry::Trim { range, version } | Entry::Lost { range, version } => {
                    let lost = matches!(entry, Entry::Lost { .. });
                    let (location, on_equal) = match lost {
                        true => (Slot::LOST, OnEqual::Replace),
                        false => (Slot::TRIMMED, OnEqual::ReplaceData),
                    };
                    let slot = Slot { location, crc: 0, version };
                    let slots = std::iter::repeat_n(slot, usize::from(range.count));
                    let place = (range.volume, range.chunk, range.first);
                    self.index.apply(place, on_equal, slots, |change| segments.note(change));
                }
                Entry::Fence { volume, epoch } => {
                    let held = self.index.volume_mut(volume);
                    held.fence = held.fence.max(epoch);
                }
                Entry::Delete { volume } => self.delete(volume),
                Entry::Horizon { volume, settled, stable, whole } => {
                    self.index.volume_mut(volume).raise_horizon(settled, stable, whole);
                }
                Entry::Clear { group, groups, epoch } => {
                    for chunk in
                        self.index.clear_group(group, groups).into_iter().flat_map(BTreeMap::into_values)
                    {
                        self.index.drop_chunk(*chunk, |change| segments.note(change));
                    }
                    adopt(&mut self.groups, group, epoch);
                }
                Entry::Session { client, sequence } => self.sessions.note(client, sequence, header.sequence),
                Entry::Group { group, epoch } => adopt(&mut self.groups, group, epoch),
            }
        }
    }
}
