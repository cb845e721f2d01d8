//! Random histories of memberships against a slow, obvious model, and what must hold whatever happens.

use super::tests::{CatchingUp, InSync, Out, Pool, WHY, disk};
use super::*;
use crate::command::Command;
use proptest::prelude::*;
use std::collections::BTreeSet;

const DISKS: u8 = 6;
const GROUPS: u32 = 4;

#[derive(Debug, Clone)]
enum Op {
    Evict { disk: u8, groups: Vec<(u32, i8)> },
    Begin { disk: u8, groups: Vec<(u32, i8)> },
    Join { disk: u8, group: u32, off: i8 },
    ReplaceDisk { old: u8, new: u8 },
    ReplaceMember { group: u32, off: i8, old: u8, new: u8 },
    Cancel { group: u32, off: i8, disk: u8 },
    Admin { disk: u8, state: DiskAdmin },
}

/// Operations that name an epoch are off by so much from the present one: mostly by nothing.
fn ops() -> impl Strategy<Value = Vec<Op>> {
    let disk = || 1..=DISKS;
    let group = || 0..GROUPS;
    let off = || prop_oneof![6 => Just(0i8), 1 => Just(-1), 1 => Just(1)];
    let groups = move || prop::collection::vec((group(), off()), 1..4);
    let state = prop::sample::select(vec![DiskAdmin::Active, DiskAdmin::Draining, DiskAdmin::Removed]);
    let op = prop_oneof![
        6 => (disk(), groups()).prop_map(|(disk, groups)| Op::Evict { disk, groups }),
        5 => (disk(), groups()).prop_map(|(disk, groups)| Op::Begin { disk, groups }),
        10 => (disk(), group(), off()).prop_map(|(disk, group, off)| Op::Join { disk, group, off }),
        2 => (disk(), disk()).prop_map(|(old, new)| Op::ReplaceDisk { old, new }),
        4 => (group(), off(), disk(), disk())
            .prop_map(|(group, off, old, new)| Op::ReplaceMember { group, off, old, new }),
        1 => (group(), off(), disk()).prop_map(|(group, off, disk)| Op::Cancel { group, off, disk }),
        1 => (disk(), state).prop_map(|(disk, state)| Op::Admin { disk, state }),
    ];
    prop::collection::vec(op, 0..80)
}

#[derive(Debug, Clone, Default, PartialEq)]
struct ModelGroup {
    epoch: i64,
    /// State, and whom it is to replace.
    members: BTreeMap<u8, (Option<MemberState>, Option<u8>)>,
    left: BTreeSet<u8>,
}

impl ModelGroup {
    fn state(&self, disk: u8) -> Option<MemberState> {
        self.members.get(&disk).and_then(|member| member.0)
    }

    fn in_sync(&self) -> BTreeSet<u8> {
        self.members.iter().filter(|(_, member)| member.0 == Some(InSync)).map(|(disk, _)| *disk).collect()
    }

    fn set(&mut self, disk: u8, state: MemberState) {
        self.members.get_mut(&disk).unwrap().0 = Some(state);
        self.epoch += 1;
    }

    fn drop(&mut self, disk: u8) {
        if self.members.remove(&disk).is_some() {
            self.left.insert(disk);
        }
    }

    fn replace(&mut self, old: u8, new: u8) -> bool {
        let pending = self.members.iter().find(|(_, member)| member.1.is_some()).map(|(disk, _)| *disk);
        let free = !self.members.contains_key(&new) && !self.left.contains(&new);
        if !free || !self.members.contains_key(&old) || pending.is_some_and(|pending| pending != old) {
            return false;
        }
        let place = self.members[&old].1.unwrap_or(old);
        if place != old {
            self.drop(old);
        }
        self.members.insert(new, (Some(CatchingUp), Some(place)));
        self.epoch += 1;
        true
    }
}

struct Model {
    groups: Vec<ModelGroup>,
    admin: BTreeMap<u8, DiskAdmin>,
}

impl Model {
    fn new() -> Self {
        let members: BTreeMap<_, _> = (1..=3).map(|disk| (disk, (Some(InSync), None))).collect();
        let group = ModelGroup { epoch: 1, members, left: BTreeSet::new() };
        Self {
            groups: vec![group; GROUPS as usize],
            admin: (1..=DISKS).map(|disk| (disk, DiskAdmin::Active)).collect(),
        }
    }

    /// What the operation should do, and whether it is to be answered with success.
    fn step(&mut self, op: &Op, named: &[(u32, i64)]) -> bool {
        let usable = |disk: &u8| self.admin[disk] == DiskAdmin::Active;
        match op {
            Op::Evict { disk, .. } => {
                for (id, epoch) in named {
                    let group = &mut self.groups[*id as usize];
                    let last = group.in_sync() == BTreeSet::from([*disk]);
                    let there = matches!(group.state(*disk), Some(InSync | CatchingUp));
                    if group.epoch == *epoch && there && !last {
                        group.set(*disk, Out);
                    }
                }
                true
            }
            Op::Begin { disk, .. } => {
                for (id, epoch) in named {
                    let group = &mut self.groups[*id as usize];
                    if group.epoch == *epoch && group.state(*disk) == Some(Out) {
                        group.set(*disk, CatchingUp);
                    }
                }
                true
            }
            Op::Join { disk, group, .. } => {
                let group = &mut self.groups[*group as usize];
                match group.state(*disk) {
                    Some(InSync) => true,
                    Some(CatchingUp) if named[0].1 == group.epoch => {
                        let replaced = group.members[disk].1;
                        group.members.insert(*disk, (Some(InSync), None));
                        replaced.into_iter().for_each(|replaced| group.drop(replaced));
                        group.epoch += 1;
                        true
                    }
                    _ => false,
                }
            }
            Op::ReplaceDisk { old, new } => {
                if old == new || !usable(new) {
                    return false;
                }
                let (mut good, mut bad) = (false, false);
                for group in &mut self.groups {
                    let so_already = group.members.get(new).is_some_and(|member| member.1 == Some(*old));
                    if group.members.contains_key(old) {
                        let done = so_already || group.replace(*old, *new);
                        good |= done;
                        bad |= !done;
                    }
                }
                good || !bad
            }
            Op::ReplaceMember { group, old, new, .. } => {
                let fits = old != new && usable(new);
                let group = &mut self.groups[*group as usize];
                fits && group.epoch == named[0].1 && group.replace(*old, *new)
            }
            Op::Cancel { group, disk, .. } => {
                let group = &mut self.groups[*group as usize];
                let pending = group.members.get(disk).is_some_and(|member| member.1.is_some());
                if pending && group.epoch == named[0].1 {
                    group.drop(*disk);
                    group.epoch += 1;
                    return true;
                }
                false
            }
            Op::Admin { disk, state } => {
                let member = self.groups.iter().any(|group| group.members.contains_key(disk));
                let allowed = *state != DiskAdmin::Removed || !member;
                if allowed {
                    self.admin.insert(*disk, *state);
                }
                allowed
            }
        }
    }

    /// The groups that an operation names, with epochs.
    fn named(&self, op: &Op) -> Vec<(u32, i64)> {
        let epoch = |group: u32, off: i8| (group, self.groups[group as usize].epoch + i64::from(off));
        match op {
            Op::Evict { groups, .. } | Op::Begin { groups, .. } => {
                groups.iter().map(|(group, off)| epoch(*group, *off)).collect()
            }
            Op::Join { group, off, .. }
            | Op::ReplaceMember { group, off, .. }
            | Op::Cancel { group, off, .. } => vec![epoch(*group, *off)],
            Op::ReplaceDisk { .. } | Op::Admin { .. } => Vec::new(),
        }
    }
}

fn command(op: &Op, named: &[(u32, i64)]) -> Command {
    let named: Vec<(GroupId, GroupEpoch)> = named
        .iter()
        .map(|(group, epoch)| (GroupId(*group), GroupEpoch(u32::try_from(*epoch).unwrap())))
        .collect();
    match *op {
        Op::Evict { disk: number, .. } => {
            Command::EvictDisk { disk: disk(number), groups: named, why: WHY.into() }
        }
        Op::Begin { disk: number, .. } => Command::BeginCatchUp { disk: disk(number), groups: named },
        Op::Join { disk: number, .. } => {
            Command::Join { disk: disk(number), group: named[0].0, epoch: named[0].1 }
        }
        Op::ReplaceDisk { old, new } => Command::ReplaceDisk { old: disk(old), new: disk(new) },
        Op::ReplaceMember { old, new, .. } => {
            let (group, epoch) = named[0];
            Command::ReplaceMember { group, epoch, old: disk(old), new: disk(new) }
        }
        Op::Cancel { disk: number, .. } => {
            Command::CancelReplace { group: named[0].0, epoch: named[0].1, disk: disk(number) }
        }
        Op::Admin { disk: number, state } => Command::SetDiskState { disk: disk(number), state },
    }
}

/// What holds from one map to the next, whatever was asked for.
fn check_change(before: &PoolMap, after: &PoolMap, op: &Op) {
    let mut changed = false;
    for (old, new) in before.groups.iter().zip(&after.groups) {
        let set = |group: &Group| group.in_sync().map(|member| member.disk).collect::<BTreeSet<_>>();
        let (was, is) = (set(old), set(new));
        assert!(!is.is_empty(), "no member in sync: {new:?}");
        let rises = u32::from(old.members != new.members);
        // One command may name a group twice, but then the second epoch is the next one.
        assert!(new.epoch.0 >= old.epoch.0 + rises, "the epoch does not tell that the group changed");
        if old.members == new.members {
            assert!(new.epoch == old.epoch || matches!(op, Op::Evict { .. } | Op::Begin { .. }));
        }
        let (gone, come): (Vec<_>, Vec<_>) = (was.difference(&is).collect(), is.difference(&was).collect());
        match (gone.as_slice(), come.as_slice(), op) {
            ([], [], _) => {}
            ([gone], [], Op::Evict { disk: evicted, .. }) => assert_eq!(**gone, disk(*evicted)),
            ([], [come], Op::Join { disk: joined, .. }) => assert_eq!(**come, disk(*joined)),
            ([gone], [come], Op::Join { disk: joined, .. }) => {
                assert_eq!(**come, disk(*joined));
                assert_eq!(old.member(**come).unwrap().replaces, Some(**gone));
            }
            other => panic!("more than one member came or went: {other:?}"),
        }
        let own = new.members.iter().filter(|member| member.replaces.is_none()).count();
        assert_eq!(own, proto::limits::REPLICAS, "places are neither lost nor made: {new:?}");
        let distinct: BTreeSet<_> = new.members.iter().map(|member| member.disk).collect();
        assert!(distinct.len() == new.members.len() && distinct.len() <= MAX_MEMBERS);
        changed |= old != new;
    }
    assert!(after.version >= before.version);
    let changed = changed || before.disks != after.disks;
    assert_eq!(after.version > before.version, changed, "the version tells whether the map changed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn every_history_of_a_group_is_safe(ops in ops()) {
        let pool = Pool::with_disks(DISKS);
        let mut model = Model::new();
        for op in ops {
            let before = pool.map();
            let named = model.named(&op);
            let expected = model.step(&op, &named);
            let result = pool.0.run(command(&op, &named));
            prop_assert_eq!(result.is_ok(), expected, "{:?}: {:?}", op, result);
            let after = pool.map();
            check_change(&before, &after, &op);
            for (id, group) in model.groups.iter().enumerate() {
                let members: BTreeMap<_, _> = after.groups[id]
                    .members
                    .iter()
                    .map(|m| (m.disk.0[0], (Some(m.state), m.replaces.map(|disk| disk.0[0]))))
                    .collect();
                prop_assert_eq!(&members, &group.members);
                prop_assert_eq!(i64::from(after.groups[id].epoch.0), group.epoch);
            }
            let status = pool.status(None);
            prop_assert_eq!(status.replicas_left == 0, after.groups.iter().all(Group::is_whole));
            prop_assert!(status.replicas_left > 0 || status.replicas_done == 0);
        }
    }
}
