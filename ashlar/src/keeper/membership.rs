//! What a disk's standing in its groups asks of its keeper: to leave them when the disk fails, and to catch up
//! and join again when it serves.

use super::rebuild::{self, Rebuilding};
use crate::fleet::Rebuild;
use crate::limits::{HEARTBEAT, REBUILD_PAUSE, REBUILD_PAUSE_MOST};
use crate::shelf::Slot;
use blockd::server::ServerStatus;
use meta::MetaError;
use meta::client::Client;
use proto::control::{MemberState, PoolMap, PoolToken};
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
        let out = standing(&map, disk, |state| state == MemberState::Out);
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
