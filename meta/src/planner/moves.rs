//! Moves that nothing forces: replicas further apart, and every disk with its fair share.

use super::{Plan, View};
use crate::limits::{FULL_PERCENT, MAX_BALANCE_TRIES};
use proto::control::Group;
use proto::ids::DiskId;
use proto::limits::REPLICAS;
use std::cmp::Ordering;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, Default)]
struct Load {
    /// Places in groups, those on their way to the disk too and those on their way off not.
    places: i128,
    capacity_bytes: i128,
    /// What is used, and what the places on their way will use.
    used_bytes: i128,
    usable: bool,
}

/// How full each disk is with places.
pub struct Loads {
    disks: BTreeMap<DiskId, Load>,
    /// Over the usable disks.
    places: i128,
    capacity_bytes: i128,
    /// What a place takes: the most of any disk's mean.
    place_bytes: i128,
}

impl Loads {
    pub fn of(view: &View) -> Self {
        let load = |disk: &super::DiskView| Load {
            places: 0,
            capacity_bytes: i128::from(disk.capacity_bytes.max(1)),
            used_bytes: i128::from(disk.used_bytes),
            usable: disk.is_usable(),
        };
        let mut disks: BTreeMap<_, _> = view.disks.iter().map(|(id, disk)| (*id, load(disk))).collect();
        let mut coming = Vec::new();
        for member in view.groups.iter().flat_map(|group| &group.members) {
            if let Some(load) = disks.get_mut(&member.disk) {
                load.places += 1;
            }
            coming.extend(member.replaces.map(|old| (old, member.disk)));
        }
        let mean = |load: &Load| load.used_bytes / load.places.max(1);
        let place_bytes = disks.values().map(mean).max().unwrap_or(0);
        for (old, new) in coming {
            disks.entry(old).or_default().places -= 1;
            disks.entry(new).or_default().used_bytes += place_bytes;
        }
        let usable = || disks.values().filter(|load| load.usable);
        let (places, capacity_bytes) =
            (usable().map(|load| load.places).sum(), usable().map(|load| load.capacity_bytes).sum());
        Self { places, capacity_bytes, place_bytes, disks }
    }

    pub fn moved(&mut self, old: DiskId, new: DiskId) {
        let place_bytes = self.place_bytes;
        let mut add = |disk: DiskId, places: i128, bytes: i128| {
            let Some(load) = self.disks.get_mut(&disk) else { return };
            load.places += places;
            load.used_bytes += bytes;
            if load.usable {
                self.places += places;
            }
        };
        add(old, -1, 0);
        add(new, 1, place_bytes);
    }

    /// Whether one more place leaves the disk with room to live.
    pub fn has_room(&self, disk: DiskId) -> bool {
        let Some(load) = self.disks.get(&disk) else { return false };
        (load.used_bytes + self.place_bytes) * 100 <= load.capacity_bytes * i128::from(FULL_PERCENT)
    }

    /// Which of two disks has more places for its capacity.
    pub fn compare(&self, a: DiskId, b: DiskId) -> Ordering {
        let load = |disk| self.disks.get(&disk).copied().unwrap_or_default();
        let (a, b) = (load(a), load(b));
        (a.places * b.capacity_bytes).cmp(&(b.places * a.capacity_bytes))
    }

    /// Places above the disk's share by capacity, times the capacity of all.
    fn surplus(&self, load: &Load) -> i128 {
        load.places * self.capacity_bytes - self.places * load.capacity_bytes
    }

    /// Usable disks with their surplus, the highest first.
    fn by_surplus(&self) -> Vec<(i128, DiskId)> {
        let usable = self.disks.iter().filter(|(_, load)| load.usable);
        let mut all: Vec<_> = usable.map(|(id, load)| (self.surplus(load), *id)).collect();
        all.sort_by(|a, b| b.cmp(a));
        all
    }
}

impl<'a> Plan<'a> {
    /// Replicas that are closer together than they need to be move apart.
    pub(super) fn spread(&mut self, budget: usize) {
        let view = self.view;
        let usable = || view.disks.values().filter(|disk| disk.is_usable());
        let (zones, nodes) = view.spread(usable().map(|disk| disk.id));
        let best_possible = (zones.min(REPLICAS), nodes.min(REPLICAS));
        let mut left = budget.saturating_sub(self.commands.len());
        for group in self.open_groups() {
            if left == 0 {
                return;
            }
            let now = view.spread_of(group);
            if now >= best_possible || !view.is_settled(group) {
                continue;
            }
            let moves = group.members.iter().filter_map(|member| {
                let new = self.best(group, member.disk)?;
                Some((view.spread_with(group, member.disk, new), member.disk, new))
            });
            // The first of the best: which of two that stand together goes is all the same.
            let best = moves.max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
            if let Some((_, old, new)) = best.filter(|(spread, ..)| *spread > now) {
                self.replace(group, old, new);
                left -= 1;
            }
        }
    }

    /// A few places go from the fullest disks to the emptiest, one by one, each only if that brings both
    /// nearer to their share: so it ends, and does not begin again by itself.
    pub(super) fn balance(&mut self, budget: usize) {
        let mut left = budget.saturating_sub(self.commands.len());
        while left > 0 && self.balance_one() {
            left -= 1;
        }
    }

    fn balance_one(&mut self) -> bool {
        let order = self.loads.by_surplus();
        for (above, from) in order.iter().take(MAX_BALANCE_TRIES) {
            for (below, to) in order.iter().rev().take(MAX_BALANCE_TRIES) {
                if above - below <= self.loads.capacity_bytes {
                    break;
                }
                if let Some(group) = self.movable(*from, *to) {
                    self.replace(group, *from, *to);
                    return true;
                }
            }
        }
        false
    }

    /// A group that can move from one disk to another without bringing its replicas closer together.
    fn movable(&self, from: DiskId, to: DiskId) -> Option<&'a Group> {
        let fits = |group: &&Group| {
            group.member(from).is_some()
                && self.view.may_take(group, to)
                && self.view.is_settled(group)
                && self.view.leaves_a_spare(group, to)
                && self.view.spread_with(group, from, to) >= self.view.spread_of(group)
        };
        if !self.loads.has_room(to) {
            return None;
        }
        self.open_groups().into_iter().find(fits)
    }
}
