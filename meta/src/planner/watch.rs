//! For how long each disk was silent, by the planner's own clock.

use super::{DiskView, Settings, View};
use crate::limits::MAX_WATCH_STEP_MS;
use crate::record::DiskRecord;
use proto::control::PoolMap;
use proto::ids::{DiskId, GroupId};
use std::collections::{BTreeMap, BTreeSet};

/// Watches the disks' heartbeats. It judges by whether a heartbeat changed since it last looked, and counts
/// only time in which it did look: a clock that jumps, a control plane that was away or a planner that stood
/// still makes no disk look lost.
#[derive(Debug, Default)]
pub struct Watch {
    disks: BTreeMap<DiskId, Heard>,
    slow: BTreeSet<DiskId>,
    looked_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    healthy_ms: u64,
    silent_ms: u64,
    heard: bool,
    slow_ms: u64,
}

impl Watch {
    /// The disks that are kept out for being slow, from now on.
    pub fn note_slow(&mut self, slow: impl IntoIterator<Item = DiskId>) {
        self.slow = slow.into_iter().collect();
    }

    /// What a plan is made from, at a moment of a monotonic clock.
    pub fn look(
        &mut self,
        now_ms: u64,
        map: PoolMap,
        records: Vec<DiskRecord>,
        left: impl IntoIterator<Item = (GroupId, DiskId)>,
        settings: &Settings,
    ) -> View {
        let passed_ms = self.looked_ms.map_or(0, |before| now_ms.saturating_sub(before));
        let passed_ms = passed_ms.min(MAX_WATCH_STEP_MS);
        self.looked_ms = Some(now_ms);
        let before = std::mem::take(&mut self.disks);
        let mut disks = BTreeMap::new();
        for record in records {
            let healthy_ms = record.health.healthy_ms;
            let first = Heard { healthy_ms, silent_ms: 0, heard: false, slow_ms: 0 };
            let mut heard = before.get(&record.id).copied().unwrap_or(first);
            if heard.healthy_ms == healthy_ms {
                heard.silent_ms += passed_ms;
            } else {
                heard = Heard { healthy_ms, silent_ms: 0, heard: true, ..heard };
            }
            let is_slow = self.slow.contains(&record.id);
            heard.slow_ms = if is_slow { heard.slow_ms + passed_ms } else { 0 };
            self.disks.insert(record.id, heard);
            let view = DiskView {
                id: record.id,
                node: record.node,
                zone: record.zone,
                capacity_bytes: record.capacity_bytes,
                used_bytes: record.health.used_bytes,
                admin: record.admin,
                silent_ms: heard.silent_ms,
                heard: heard.heard && record.health.healthy,
                slow_ms: is_slow.then_some(heard.slow_ms),
            };
            disks.insert(record.id, view);
        }
        let left = left.into_iter().collect();
        View { groups: map.groups, min_in_sync: map.min_in_sync, disks, left, settings: *settings }
    }
}
