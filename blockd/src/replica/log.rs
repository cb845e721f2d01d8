//! What a replica needs of its store. A trait, so that the protocol's rules are tested without a disk.

use crate::store::{Action, ChunkRun, Event, Store, VolumeEntry, VolumeInfo};
use proto::message::{DiskStat, VolumeStat};
use proto::{ChunkIndex, ClientId, DiskId, GroupEpoch, GroupId, VolumeId};
use rt::clock::Instant;

/// A store, as [`crate::store`] describes each of these.
pub trait Log {
    fn submit(&mut self, now: Instant, event: Event, out: &mut Vec<Action>);
    fn pump(&mut self, now: Instant, out: &mut Vec<Action>);
    fn disk_id(&self) -> DiskId;
    fn incarnation(&self) -> u64;
    fn volume_info(&self, volume: VolumeId) -> VolumeInfo;
    fn held_sequence(&self, client: ClientId) -> u64;
    fn stat(&self) -> DiskStat;
    fn volume_stat(&self, volume: VolumeId) -> VolumeStat;
    fn group_epoch(&self, group: GroupId) -> GroupEpoch;
    fn volumes(&self, cursor: VolumeId, max: usize) -> (Vec<VolumeEntry>, Option<VolumeId>);
    fn digests(
        &self,
        volume: VolumeId,
        cursor: ChunkIndex,
        max: usize,
        wanted: &dyn Fn(ChunkIndex) -> bool,
    ) -> (Vec<(ChunkIndex, u64)>, Option<ChunkIndex>);
    fn chunk_runs(&self, volume: VolumeId, chunk: ChunkIndex) -> Vec<ChunkRun>;
}

impl Log for Store {
    fn submit(&mut self, now: Instant, event: Event, out: &mut Vec<Action>) {
        Store::submit(self, now, event, out);
    }

    fn pump(&mut self, now: Instant, out: &mut Vec<Action>) {
        Store::pump(self, now, out);
    }

    fn disk_id(&self) -> DiskId {
        Store::disk_id(self)
    }

    fn incarnation(&self) -> u64 {
        Store::incarnation(self)
    }

    fn volume_info(&self, volume: VolumeId) -> VolumeInfo {
        Store::volume_info(self, volume)
    }

    fn held_sequence(&self, client: ClientId) -> u64 {
        Store::held_sequence(self, client)
    }

    fn stat(&self) -> DiskStat {
        Store::stat(self)
    }

    fn volume_stat(&self, volume: VolumeId) -> VolumeStat {
        Store::volume_stat(self, volume)
    }

    fn group_epoch(&self, group: GroupId) -> GroupEpoch {
        Store::group_epoch(self, group)
    }

    fn volumes(&self, cursor: VolumeId, max: usize) -> (Vec<VolumeEntry>, Option<VolumeId>) {
        Store::volumes(self, cursor, max)
    }

    fn digests(
        &self,
        volume: VolumeId,
        cursor: ChunkIndex,
        max: usize,
        wanted: &dyn Fn(ChunkIndex) -> bool,
    ) -> (Vec<(ChunkIndex, u64)>, Option<ChunkIndex>) {
        Store::digests(self, volume, cursor, max, wanted)
    }

    fn chunk_runs(&self, volume: VolumeId, chunk: ChunkIndex) -> Vec<ChunkRun> {
        Store::chunk_runs(self, volume, chunk)
    }
}
