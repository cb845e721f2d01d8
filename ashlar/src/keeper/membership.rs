//! What a disk's standing in its groups asks of its keeper: to leave them when the disk fails, and to catch up
//! and join again when it serves.

use super::rebuild::{self, Rebuilding};
use super::slowness::Slowness;
use crate::fleet::Rebuild;
use crate::limits::{CLEAR_AT_ONCE, HEARTBEAT, REBUILD_PAUSE, REBUILD_PAUSE_MOST};
use crate::shelf::Slot;
use blockd::client::admin::clear_groups;
use blockd::server::ServerStatus;
use meta::MetaError;
use meta::client::Client;
use proto::control::{DiskPlace, Group, MemberState, PoolMap, PoolToken};
use proto::ids::{DiskId, GroupEpoch, GroupId};
use rt::clock::{Clock, Instant, SystemClock};
use std::sync::Arc;
use std::time::Duration;

/// A keeper's view of the groups that its disk belongs to.
pub struct Membership {
    meta: Client,
    token: PoolToken,
    map: Option<PoolMap>,
    /// When the disk's state is told again.
    next_heartbeat: Instant,
    last_told: Option<(bool, String)>,
    rebuilding: Option<Rebuilding>,
    next_rebuild: Instant,
    rebuild_pause: Duration,
    slowness: Slowness,
    /// The version of the map at which the disk held nothing of groups that it left.
    cleared_at: Option<u64>,
}

/// Groups with the epochs they have.
pub type Groups = Vec<(GroupId, GroupEpoch)>;

impl Membership {
    pub fn new(meta: Client, token: PoolToken) -> Self {
        Self {
            meta,
            token,
            map: None,
            next_heartbeat: Instant::default(),
            last_told: None,
            rebuilding: None,
            next_rebuild: Instant::default(),
            rebuild_pause: REBUILD_PAUSE,
            slowness: Slowness::default(),
            cleared_at: None,
        }
    }

    /// The disk does not serve: it leaves its groups, so that nobody waits for it.
    pub async fn failed(&mut self, disk: DiskId, why: &str) -> Result<(), MetaError> {
        self.rebuilding = None;
        self.refresh().await?;
        self.tell(disk, None, why).await?;
        let Some(map) = &self.map else { return Ok(()) };
        let groups = standing(map, disk, |state| state != MemberState::Out);
        if !groups.is_empty() {
            tracing::warn!(%disk, groups = groups.len(), why, "a disk that does not serve leaves its groups");
            self.map = Some(self.meta.evict_disk(disk, groups, why).await?);
        }
        Ok(())
    }

    /// The disk serves: it catches up where it is out, and joins where it has caught up.
    pub async fn serves(
        &mut self,
        slot: &Arc<Slot>,
        disk: DiskId,
        status: &ServerStatus,
    ) -> Result<(), MetaError> {
        self.refresh().await?;
        self.tell(disk, Some(status), "").await?;
        self.clear_what_was_left(slot, disk).await?;
        let Some(map) = self.map.clone() else { return Ok(()) };
        let now = SystemClock.now();
        if now < self.next_rebuild {
            return Ok(());
        }
        if let Some(rebuilding) = &mut self.rebuilding {
            slot.set_rebuild(Some(rebuilding.view(disk)));
            let Some(outcome) = rebuilding.ended().await else { return Ok(()) };
            self.rebuilding = None;
            match outcome {
                Ok(()) => {
                    self.rebuild_pause = REBUILD_PAUSE;
                    slot.set_rebuild(None);
                }
                Err(why) => {
                    tracing::warn!(%disk, why, "a disk has not caught up; it tries again");
                    self.trouble(slot, now, why);
                }
            }
            return Ok(());
        }
        let mut out = standing(&map, disk, |state| state == MemberState::Out);
        if self.slowness.is_held(&self.meta, disk, now, !out.is_empty()).await? {
            // Slow, it is still better than writes that wait for too few members.
            let short = |group: &Group| group.in_sync().count() < map.min_in_sync as usize;
            out.retain(|(id, _)| map.groups.iter().any(|group| group.id == *id && short(group)));
        }
        let map = if out.is_empty() {
            map
        } else {
            tracing::info!(%disk, groups = out.len(), "a disk begins to catch up");
            let map = self.meta.begin_catch_up(disk, out).await?;
            self.map = Some(map.clone());
            map
        };
        let behind = standing(&map, disk, |state| state == MemberState::CatchingUp);
        if behind.is_empty() {
            slot.set_rebuild(None);
        } else {
            let run = rebuild::Run { meta: self.meta.clone(), token: self.token, disk };
            let rebuilding = run.start(behind.len());
            slot.set_rebuild(Some(rebuilding.view(disk)));
            self.rebuilding = Some(rebuilding);
        }
        Ok(())
    }

    /// What the disk holds of groups that it left is removed, and then it may be a member of them again.
    ///
    /// While the control plane says that it left a group it is no member, and won't be one before it is told
    /// here that the copy is gone. So the map's epoch, which was there before, is above all at which it was one.
    async fn clear_what_was_left(&mut self, slot: &Slot, disk: DiskId) -> Result<(), MetaError> {
        let Some(map) = self.map.as_ref().filter(|map| self.cleared_at != Some(map.version)) else {
            return Ok(());
        };
        let left = self.meta.left_groups().await?.into_iter().filter(|(_, of)| *of == disk);
        let left: Groups = left
            .filter_map(|(id, _)| map.groups.iter().find(|group| group.id == id))
            .filter(|group| group.member(disk).is_none())
            .map(|group| (group.id, group.epoch))
            .collect();
        let (version, groups) = (map.version, map.groups.len());
        let place = map.place(disk).cloned().zip(slot.addr());
        if left.is_empty() {
            self.cleared_at = Some(version);
            return Ok(());
        }
        let (Some((place, addr)), Ok(groups)) = (place, u32::try_from(groups)) else { return Ok(()) };
        // A few at a time: the rest has its turn with the keeper's next look.
        let some = &left[..left.len().min(CLEAR_AT_ONCE)];
        match clear_groups(&DiskPlace { addr, ..place }, self.token, groups, some).await {
            Ok(cleared) => {
                tracing::info!(%disk, groups = cleared.len(), "a disk's copy of groups that it left is removed");
                let cleared = some.iter().filter(|(id, _)| cleared.contains(id)).copied().collect();
                self.meta.groups_cleared(disk, cleared).await?;
            }
            Err(error) => {
                tracing::warn!(%disk, %error, "what a disk left is not removed yet; it is tried again")
            }
        }
        Ok(())
    }

    fn trouble(&mut self, slot: &Slot, now: Instant, why: String) {
        self.next_rebuild = now + self.rebuild_pause;
        self.rebuild_pause = (self.rebuild_pause * 2).min(REBUILD_PAUSE_MOST);
        slot.change_rebuild(|rebuild: &mut Rebuild| rebuild.trouble = Some(why));
    }

    async fn refresh(&mut self) -> Result<(), MetaError> {
        let version = self.map.as_ref().map_or(0, |map| map.version);
        match self.meta.pool_map_since(version).await {
            Ok(Some(map)) => self.map = Some(map),
            Ok(None) => {}
            // Too few disks for a map yet.
            Err(error) if self.map.is_none() && error.kind() == meta::ErrorKind::Unavailable => {
                tracing::trace!(%error, "there is no map yet");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A change is told at once, and everything every few seconds.
    async fn tell(
        &mut self,
        disk: DiskId,
        status: Option<&ServerStatus>,
        why: &str,
    ) -> Result<(), MetaError> {
        let now = SystemClock.now();
        let told = (status.is_some(), why.to_owned());
        if now < self.next_heartbeat && self.last_told.as_ref() == Some(&told) {
            return Ok(());
        }
        let used_bytes = status.map_or(0, |status| status.stat.live_bytes);
        self.meta.disk_seen(disk, status.is_some(), used_bytes, why).await?;
        self.next_heartbeat = now + HEARTBEAT;
        self.last_told = Some(told);
        Ok(())
    }
}

/// The groups where a disk's state is as wanted.
pub fn standing(map: &PoolMap, disk: DiskId, wanted: impl Fn(MemberState) -> bool) -> Groups {
    map.groups
        .iter()
        .filter(|group| group.member(disk).is_some_and(|member| wanted(member.state)))
        .map(|group| (group.id, group.epoch))
        .collect()
}
