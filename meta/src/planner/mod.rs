//! What the control plane does about its disks by itself: takes the places of lost ones, empties draining
//! ones, gives new ones a fair share, and puts replicas as far apart as the machines allow.
//!
//! [`plan`] is pure: from what is known now to commands, each conditional on its group's epoch, so that a
//! plan that is late, or made twice, changes nothing. [`run`] asks and proposes every few seconds.

mod moves;
mod run;
mod watch;

use crate::command::Command;
use crate::limits::{
    FRESH_MS, MAX_MOVES_IN_FLIGHT, MAX_REPAIRS_IN_FLIGHT, PLAN_INTERVAL_MS, REPLACE_AFTER_MS, URGENT_AFTER_MS,
};
use crate::record::DiskAdmin;
use moves::Loads;
use proto::control::{Group, Member, MemberState};
use proto::ids::{DiskId, GroupId, NodeId};
pub use run::run;
use std::collections::{BTreeMap, BTreeSet};
pub use watch::Watch;

/// How the planner runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How often it looks.
    pub interval_ms: u64,
    /// How long a disk must have been gone before others take its places: copying it all is dear, and most
    /// machines that go away come back.
    pub replace_after_ms: u64,
    /// Moves for balance leave each group another disk that could take a place of it. For pools whose disks'
    /// keepers don't clear what the disks left: such a disk can't come back to a group, and balancing a small
    /// pool would use up the disks that a later loss needs.
    pub leave_a_spare: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { interval_ms: PLAN_INTERVAL_MS, replace_after_ms: REPLACE_AFTER_MS, leave_a_spare: false }
    }
}

/// What is known of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskView {
    pub id: DiskId,
    pub node: NodeId,
    pub zone: String,
    pub capacity_bytes: u64,
    pub used_bytes: u64,
    pub admin: DiskAdmin,
    /// For how long its keeper did not say that it is healthy, as far as the planner watched.
    pub silent_ms: u64,
    /// Whether its keeper said so at all since the planner began to watch.
    pub heard: bool,
    /// For how long it has been kept out of groups for being slow; `None` if it isn't.
    pub slow_ms: Option<u64>,
}

impl DiskView {
    fn is_fresh(&self) -> bool {
        self.heard && self.silent_ms < FRESH_MS
    }

    /// Whether replicas may be put on it.
    fn is_usable(&self) -> bool {
        self.is_fresh() && self.admin == DiskAdmin::Active && self.slow_ms.is_none()
    }
}

/// What a plan is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub groups: Vec<Group>,
    pub disks: BTreeMap<DiskId, DiskView>,
    /// Disks that must not be members of a group again.
    pub left: BTreeSet<(GroupId, DiskId)>,
    /// Below this many members in sync, a group's writes wait.
    pub min_in_sync: u32,
    pub settings: Settings,
}

/// What is to be done now, at most one command a group. More follows when this is done.
pub fn plan(view: &View) -> Vec<Command> {
    let mut plan = Plan { view, loads: Loads::of(view), commands: Vec::new(), planned: BTreeSet::new() };
    let catching_up = view.groups.iter().flat_map(|group| &group.members);
    let busy = catching_up.filter(|member| member.state == MemberState::CatchingUp).count();
    if !view.hears_too_little() {
        plan.call_off();
        plan.repair(MAX_REPAIRS_IN_FLIGHT.saturating_sub(busy));
        plan.drain(MAX_MOVES_IN_FLIGHT.saturating_sub(busy));
        plan.spread(MAX_MOVES_IN_FLIGHT.saturating_sub(busy));
        plan.balance(MAX_MOVES_IN_FLIGHT.saturating_sub(busy));
    }
    plan.commands
}

impl View {
    /// Whether a member's disk has been gone for so long that another is to take its place: less long if the
    /// group's writes wait for it.
    fn is_lost(&self, group: &Group, disk: DiskId) -> bool {
        let in_sync = group.in_sync().filter(|member| self.is_fresh(member.disk)).count();
        let waits = in_sync < self.min_in_sync as usize;
        let usual_ms = self.settings.replace_after_ms;
        let after_ms = if waits { usual_ms.min(URGENT_AFTER_MS) } else { usual_ms };
        self.disks.get(&disk).is_none_or(|disk| {
            let is_slow = disk.slow_ms.is_some_and(|slow_ms| slow_ms >= usual_ms);
            disk.silent_ms >= after_ms || is_slow || disk.admin == DiskAdmin::Removed
        })
    }

    fn is_fresh(&self, disk: DiskId) -> bool {
        self.disks.get(&disk).is_some_and(DiskView::is_fresh)
    }

    /// Whether more than half of the disks are silent: then the fault is likelier between them and the control
    /// plane than in so many disks, and moving data would make it worse.
    fn hears_too_little(&self) -> bool {
        let counted = || self.disks.values().filter(|disk| disk.admin != DiskAdmin::Removed);
        counted().filter(|disk| !disk.is_fresh()).count() * 2 > counted().count()
    }

    /// In how many zones, and on how many nodes, these disks are: more is better, zones first.
    fn spread(&self, disks: impl Iterator<Item = DiskId>) -> (usize, usize) {
        let (mut zones, mut nodes) = (BTreeSet::new(), BTreeSet::new());
        for disk in disks.filter_map(|disk| self.disks.get(&disk)) {
            zones.insert(disk.zone.as_str());
            nodes.insert(disk.node);
        }
        (zones.len(), nodes.len())
    }

    /// The spread of a group with `new` in the place of `old`.
    fn spread_with(&self, group: &Group, old: DiskId, new: DiskId) -> (usize, usize) {
        self.spread(group.members.iter().map(|member| if member.disk == old { new } else { member.disk }))
    }

    fn spread_of(&self, group: &Group) -> (usize, usize) {
        self.spread(group.members.iter().map(|member| member.disk))
    }

    /// Whether a disk may take a place in a group.
    fn may_take(&self, group: &Group, new: DiskId) -> bool {
        self.disks.get(&new).is_some_and(DiskView::is_usable)
            && group.member(new).is_none()
            && !self.left.contains(&(group.id, new))
    }

    /// Whether a disk is left that could take a place in the group after `new` did.
    fn leaves_a_spare(&self, group: &Group, new: DiskId) -> bool {
        !self.settings.leave_a_spare
            || self.disks.keys().any(|disk| *disk != new && self.may_take(group, *disk))
    }

    /// Whether a group may be moved for no need of its own: all in sync and reachable.
    fn is_settled(&self, group: &Group) -> bool {
        group.is_whole() && group.members.iter().all(|member| self.is_fresh(member.disk))
    }
}

/// A plan in the making.
struct Plan<'a> {
    view: &'a View,
    loads: Loads,
    commands: Vec<Command>,
    /// Groups that a command of this plan changes already.
    planned: BTreeSet<GroupId>,
}

fn pending(group: &Group) -> Option<&Member> {
    group.members.iter().find(|member| member.replaces.is_some())
}

impl<'a> Plan<'a> {
    /// A member that was to take another's place and is lost, or not wanted there any more, is called off; the
    /// next plan finds another.
    fn call_off(&mut self) {
        for group in &self.view.groups {
            let Some(member) = pending(group) else { continue };
            let admin = self.view.disks.get(&member.disk).map(|disk| disk.admin);
            if self.view.is_lost(group, member.disk) || admin != Some(DiskAdmin::Active) {
                let (group, epoch) = (group.id, group.epoch);
                self.commands.push(Command::CancelReplace { group, epoch, disk: member.disk });
                self.planned.insert(group);
            }
        }
    }

    /// Groups whose places can be changed now.
    fn open_groups(&self) -> Vec<&'a Group> {
        let open = |group: &&Group| pending(group).is_none() && !self.planned.contains(&group.id);
        self.view.groups.iter().filter(open).collect()
    }

    /// Others take the places of lost disks, as long as somebody in sync is there to copy from. Groups with
    /// the fewest members in sync come first.
    fn repair(&mut self, budget: usize) {
        let view = self.view;
        let mut hurt: Vec<_> = self
            .open_groups()
            .into_iter()
            .filter_map(|group| {
                let lost = group.members.iter().filter(|member| view.is_lost(group, member.disk));
                // One that is out already goes before one that still counts.
                let lost = lost.max_by_key(|member| member.state != MemberState::InSync)?.disk;
                let sources = group.in_sync().filter(|m| m.disk != lost && view.is_fresh(m.disk)).count();
                (sources > 0).then_some((sources, group, lost))
            })
            .collect();
        hurt.sort_by_key(|(sources, group, _)| (*sources, group.id));
        self.move_all(hurt.into_iter().map(|(_, group, lost)| (group, lost)), budget);
    }

    /// Draining disks' places go to others.
    fn drain(&mut self, budget: usize) {
        let drains = |disk| self.view.disks.get(&disk).is_some_and(|disk| disk.admin == DiskAdmin::Draining);
        let leaving = self.open_groups().into_iter().filter_map(|group| {
            let sources = group.in_sync().any(|member| self.view.is_fresh(member.disk));
            let member = group.members.iter().find(|member| drains(member.disk)).filter(|_| sources)?;
            Some((group, member.disk))
        });
        let leaving: Vec<_> = leaving.collect();
        self.move_all(leaving.into_iter(), budget);
    }

    fn move_all(&mut self, places: impl Iterator<Item = (&'a Group, DiskId)>, budget: usize) {
        let mut left = budget;
        for (group, old) in places {
            if left == 0 {
                return;
            }
            if let Some(new) = self.best(group, old) {
                self.replace(group, old, new);
                left -= 1;
            }
        }
    }

    /// The best disk for a place: the one that leaves the replicas furthest apart, then the emptiest.
    fn best(&self, group: &Group, old: DiskId) -> Option<DiskId> {
        let candidates = self.view.disks.keys().copied();
        let fit = candidates.filter(|disk| self.view.may_take(group, *disk) && self.loads.has_room(*disk));
        fit.max_by(|a, b| {
            let spread = |disk| self.view.spread_with(group, old, disk);
            spread(*a).cmp(&spread(*b)).then_with(|| self.loads.compare(*b, *a)).then_with(|| b.cmp(a))
        })
    }

    fn replace(&mut self, group: &Group, old: DiskId, new: DiskId) {
        self.commands.push(Command::ReplaceMember { group: group.id, epoch: group.epoch, old, new });
        self.planned.insert(group.id);
        self.loads.moved(old, new);
    }
}

#[cfg(test)]
#[path = "planner_test.rs"]
mod tests;
