//! What a replica needs of its store. A trait, so that the protocol's rules are tested without a disk.

use crate::store::{Action, Event, Store, VolumeInfo};
use proto::message::{DiskStat, VolumeStat};
use proto::{ClientId, DiskId, VolumeId};
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
}
