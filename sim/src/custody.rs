//! Which disks must still hold what was acked and never flushed.
//!
//! A disk that lost power may have forgotten anything that was not flushed; one whose medium was tampered
//! with is trusted with nothing. As long as one in-sync member of a group was spared since a write was acked,
//! that write must survive.

use proto::control::{MemberState, PoolMap};
use proto::{DiskId, GroupEpoch};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub struct Custody {
    disks: Vec<DiskId>,
    /// Per group: its in-sync members, and when each last lost something.
    groups: Vec<BTreeMap<DiskId, u64>>,
    /// Per group: members whose shards stopped since they joined. They hold what they acked, but to a writer all of
    /// them at once are nobody to go on with.
    stopped: Vec<BTreeSet<DiskId>>,
    /// Disks that nothing is left to.
    tampered: Vec<DiskId>,
    /// Of each group, now.
    epochs: Vec<GroupEpoch>,
}

impl Custody {
    pub fn new(map: &PoolMap, disks: &[DiskId]) -> Self {
        let mut custody = Self {
            disks: disks.to_vec(),
            groups: vec![BTreeMap::new(); map.groups.len()],
            stopped: vec![BTreeSet::new(); map.groups.len()],
            tampered: Vec::new(),
            epochs: Vec::new(),
        };
        custody.learn(map);
        custody
    }

    /// The map has changed: who joins holds what the others hold.
    pub fn learn(&mut self, map: &PoolMap) {
        self.epochs = map.groups.iter().map(|group| group.epoch).collect();
        for ((held, stopped), group) in self.groups.iter_mut().zip(&mut self.stopped).zip(&map.groups) {
            let in_sync = group.members.iter().filter(|member| member.state == MemberState::InSync);
            let worst = held.values().copied().max().unwrap_or(0);
            let since = |disk: DiskId| {
                let lost = held.get(&disk).copied().unwrap_or(worst);
                if self.tampered.contains(&disk) { u64::MAX } else { lost }
            };
            let was: Vec<DiskId> = held.keys().copied().collect();
            let all = !was.is_empty() && was.iter().all(|disk| stopped.contains(disk));
            *held = in_sync.map(|member| (member.disk, since(member.disk))).collect();
            let came = |disk: &&DiskId| !was.contains(disk);
            stopped.retain(|disk| was.contains(disk) && held.contains_key(disk));
            if all {
                stopped.extend(held.keys().filter(came).copied());
            }
        }
    }

    /// A disk may have forgotten what was not flushed.
    pub fn lost(&mut self, server: usize, moment: u64) {
        let disk = self.disks[server];
        for held in &mut self.groups {
            held.entry(disk).and_modify(|lost| *lost = (*lost).max(moment));
        }
    }

    /// A disk gave errors, and its shard stopped.
    pub fn stopped(&mut self, server: usize) {
        let disk = self.disks[server];
        for (held, stopped) in self.groups.iter().zip(&mut self.stopped) {
            if held.contains_key(&disk) {
                stopped.insert(disk);
            }
        }
    }

    /// A disk's medium is not what it was.
    pub fn tampered(&mut self, server: usize) {
        self.lost(server, u64::MAX);
        self.tampered.push(self.disks[server]);
    }

    /// A disk is gone with all it held.
    pub fn destroyed(&mut self, server: usize) {
        self.lost(server, u64::MAX);
    }

    /// A server has another disk.
    pub fn renamed(&mut self, server: usize, disk: DiskId) {
        self.tampered.retain(|tampered| *tampered != self.disks[server]);
        self.disks[server] = disk;
    }

    /// Whether every in-sync member of some group lost something since it joined, or stopped.
    pub fn lost_something(&self) -> bool {
        let mut groups = self.groups.iter().zip(&self.stopped);
        groups.any(|(held, stopped)| held.iter().all(|(disk, &lost)| lost > 0 || stopped.contains(disk)))
    }

    /// Whether a member in sync of the group forgot something after a moment.
    pub fn lost_since(&self, group: u32, moment: u64) -> bool {
        self.groups[group as usize].values().any(|&lost| lost > moment)
    }

    /// Whether a group has changed so often since `epoch` that a member may have left it and come back: what it
    /// acked then counts for nothing, and its writer asks it again.
    pub fn may_have_been_out(&self, group: u32, epoch: GroupEpoch) -> bool {
        self.epochs[group as usize].0.saturating_sub(epoch.0) >= 2
    }

    pub fn is_tampered(&self, server: usize) -> bool {
        self.tampered.contains(&self.disks[server])
    }

    pub fn any_tampered(&self) -> bool {
        !self.tampered.is_empty()
    }

    /// Whether what was acked then, and not flushed, must be there.
    pub fn keeps(&self, group: u32, acked: u64) -> bool {
        self.groups[group as usize].values().any(|&lost| lost < acked)
    }

    pub fn in_sync(&self, group: u32) -> impl Iterator<Item = usize> {
        let held = &self.groups[group as usize];
        self.disks.iter().enumerate().filter(|(_, disk)| held.contains_key(*disk)).map(|(server, _)| server)
    }
}
