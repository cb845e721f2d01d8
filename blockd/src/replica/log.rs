//! What a replica needs of its store. A trait, so that the protocol's rules are tested without a disk.

use crate::store::{Action, Event};
use proto::message::{DiskStat, VolumeStat};
use proto::{ClientId, DiskId, Version, VolumeEpoch, VolumeId};
use rt::clock::Instant;

/// What a store knows of a volume besides its blocks. Zeros for one it never heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VolumeInfo {
    pub fence: VolumeEpoch,
    pub settled: Version,
    pub stable: Version,
    /// The highest version ever held.
    pub highest: Version,
    pub deleted: bool,
}

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
