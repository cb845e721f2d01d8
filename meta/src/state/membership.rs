//! Who is a member of which group (rfd/0002): eviction, catch-up, joining, replacing.
//!
//! What every command here keeps: a group always has a member in sync; every change of a group raises its
//! epoch by one and the map's version with it; a change that names another epoch than the present one changes
//! nothing; at most one member of a group is on its way to take another's place; and a disk that left a group
//! never becomes a member of it again, since nothing would take away at it what was trimmed meanwhile.

use super::kv::Read;
use super::pool::{all, disk, groups, map, next_number};
use super::txn::{Txn, decode, load};
use super::volumes::lease_revision;
use super::{Outcome, keys, slow};
use crate::error::{Entity, ErrorKind, Refusal};
use crate::limits::{MAX_GROUPS, MAX_WHY_BYTES};
use crate::record::{DiskAdmin, DiskHealth, DiskMembership, DiskRecord};
use proto::control::{Copied, Group, Member, MemberState, PoolMap};
use proto::ids::{DiskId, GroupEpoch, GroupId};
use proto::limits::MAX_MEMBERS;
use std::collections::BTreeMap;

/// A disk that left a group, and the group's epoch since.
type Left = (GroupId, DiskId, GroupEpoch);

/// The groups that a command means, each with the epoch that the one who asks knows.
pub type Named = [(GroupId, GroupEpoch)];

pub fn evict(txn: &mut Txn<'_>, disk_id: DiskId, named: &Named, why: &str) -> Outcome<PoolMap> {
    take_out(txn, disk_id, named, (1, why))?;
    map(txn)
}

/// Takes a disk out of groups in which at least so many others are in sync, and notes why. Whether it left any.
pub fn take_out(
    txn: &mut Txn<'_>,
    disk_id: DiskId,
    named: &Named,
    (least, why): (usize, &str),
) -> Outcome<bool> {
    let mut record = disk(txn, disk_id)?;
    let evicted = change_each(txn, named, |group| {
        let others = group.in_sync().filter(|member| member.disk != disk_id).count();
        set_state(group, disk_id, |state| match state {
            MemberState::InSync if others >= least => Some(MemberState::Out),
            // It counts for nothing yet, but is waited for.
            MemberState::CatchingUp => Some(MemberState::Out),
            MemberState::InSync | MemberState::Out => None,
        })
    })?;
    if evicted {
        record.evicted_why = cut(why);
        txn.put(keys::disk(disk_id), &record)?;
    }
    Ok(evicted)
}

pub fn begin_catch_up(txn: &mut Txn<'_>, disk_id: DiskId, named: &Named) -> Outcome<PoolMap> {
    let named_member =
        |group: &Group| group.member(disk_id).is_some() && named.iter().any(|(id, _)| *id == group.id);
    // Only one that was removed as lost is still a member somewhere.
    if disk(txn, disk_id)?.admin == DiskAdmin::Removed && groups(txn)?.iter().any(named_member) {
        let message = format!(
            "disk {disk_id} was removed; ashlar disk drain --undo {disk_id} lets it be a member again"
        );
        return Err(Refusal::new(ErrorKind::InUse(Entity::Disk), message).into());
    }
    let least = slow::least_without(txn, disk_id)?;
    change_each(txn, named, |group| {
        let is_wanted = group.in_sync().count() < least;
        set_state(group, disk_id, |state| {
            (state == MemberState::Out && is_wanted).then_some(MemberState::CatchingUp)
        })
    })?;
    map(txn)
}

pub fn join(txn: &mut Txn<'_>, disk_id: DiskId, id: GroupId, epoch: GroupEpoch) -> Outcome<PoolMap> {
    let mut group = group(txn, id)?;
    let not_member = || {
        let message = format!("disk {disk_id} is not a member of group {id}");
        Refusal::not_found(Entity::Disk, message)
    };
    let member = *group.member(disk_id).ok_or_else(not_member)?;
    if member.state == MemberState::InSync {
        // The answer to an earlier join was lost: it has what it wants.
        return map(txn);
    }
    check_epoch(&group, epoch)?;
    if member.state == MemberState::Out {
        let message = format!("disk {disk_id} is out of group {id}: it has to catch up first");
        return Err(Refusal::new(ErrorKind::PreconditionFailed, message).into());
    }
    for other in &mut group.members {
        if other.disk == disk_id {
            *other = Member::in_sync(disk_id);
        }
    }
    if let Some(replaced) = member.replaces {
        drop_member(txn, &mut group, replaced)?;
    }
    change(txn, group)?;
    touch_map(txn)?;
    count_joined(txn)?;
    map(txn)
}

/// Joins if no lease was given since the catch-up asked for them, before its last look.
pub fn join_since(
    txn: &mut Txn<'_>,
    disk_id: DiskId,
    (id, epoch): (GroupId, GroupEpoch),
    leases: u64,
) -> Outcome<PoolMap> {
    let revision = lease_revision(txn)?;
    let joined = group(txn, id)?.member(disk_id).is_some_and(|member| member.state == MemberState::InSync);
    if revision != leases && !joined {
        let message = format!(
            "a volume was opened since the catch-up of disk {disk_id} looked (leases are at revision {revision}, \
             not {leases}); it has to look again"
        );
        return Err(Refusal::new(ErrorKind::PreconditionFailed, message).into());
    }
    join(txn, disk_id, id, epoch)
}

/// Joins, and notes what the copy was made from: a writer may learn only later that its source had lost writes.
pub fn join_copied(txn: &mut Txn<'_>, copied: Copied, epoch: GroupEpoch, leases: u64) -> Outcome<PoolMap> {
    let Copied { group: id, disk, .. } = copied;
    let joined = group(txn, id)?.member(disk).is_some_and(|member| member.state == MemberState::InSync);
    if !joined {
        txn.put(keys::copied(id, disk), &copied)?;
    }
    join_since(txn, disk, (id, epoch), leases)
}

pub fn replace_disk(txn: &mut Txn<'_>, old: DiskId, new: DiskId) -> Outcome<PoolMap> {
    check_replacement(txn, old, new)?;
    let (mut changed, mut done_before, mut refusal) = (false, false, None);
    for mut group in groups(txn)? {
        let on_its_way = group.members.iter().any(|m| m.disk == new && m.replaces == Some(old));
        if group.member(old).is_none() || on_its_way {
            done_before |= on_its_way;
            continue;
        }
        match replace_in(txn, &mut group, old, new)? {
            Ok(()) => {
                change(txn, group)?;
                changed = true;
            }
            Err(why) => refusal = Some(why),
        }
    }
    match refusal {
        Some(why) if !changed && !done_before => Err(why.into()),
        _ => {
            if changed {
                touch_map(txn)?;
            }
            map(txn)
        }
    }
}

pub fn replace_member(
    txn: &mut Txn<'_>,
    (id, epoch): (GroupId, GroupEpoch),
    old: DiskId,
    new: DiskId,
) -> Outcome<PoolMap> {
    check_replacement(txn, old, new)?;
    let mut group = group(txn, id)?;
    check_epoch(&group, epoch)?;
    if group.member(old).is_none() {
        let message = format!("disk {old} is not a member of group {id}");
        return Err(Refusal::not_found(Entity::Disk, message).into());
    }
    replace_in(txn, &mut group, old, new)??;
    change(txn, group)?;
    touch_map(txn)?;
    map(txn)
}

pub fn cancel_replace(
    txn: &mut Txn<'_>,
    (id, epoch): (GroupId, GroupEpoch),
    disk_id: DiskId,
) -> Outcome<PoolMap> {
    let mut group = group(txn, id)?;
    check_epoch(&group, epoch)?;
    if group.member(disk_id).is_none_or(|member| member.replaces.is_none()) {
        let message = format!("disk {disk_id} is not on its way to take a place in group {id}");
        return Err(Refusal::not_found(Entity::Disk, message).into());
    }
    drop_member(txn, &mut group, disk_id)?;
    change(txn, group)?;
    touch_map(txn)?;
    forget_rebuild_if_whole(txn)?;
    map(txn)
}

/// Each counts only if the disk cleared it at the epoch at which it left, or later: word of an earlier time may
/// come when the disk has been a member again, and left again.
pub fn groups_cleared(txn: &mut Txn<'_>, disk_id: DiskId, cleared: &Named) -> Outcome<()> {
    disk(txn, disk_id)?;
    for (id, epoch) in cleared.iter().take(MAX_GROUPS as usize) {
        let key = keys::left(*id, disk_id);
        let Some(value) = txn.get(&key)? else { continue };
        // Earlier builds did not note the epoch.
        let left: Option<Left> = decode(&value).ok();
        if left.is_none_or(|(.., left_at)| *epoch >= left_at) {
            txn.delete(key);
        }
    }
    Ok(())
}

pub fn set_disk_state(txn: &mut Txn<'_>, id: DiskId, state: DiskAdmin) -> Outcome<()> {
    let mut record = disk(txn, id)?;
    if state != DiskAdmin::Draining {
        // Whoever wants it used knows that it was slow; and one that is gone is not.
        slow::forget(txn, id)?;
    }
    if record.admin == state {
        return Ok(());
    }
    if state == DiskAdmin::Removed {
        let there = groups(txn)?.iter().filter(|group| group.member(id).is_some()).count();
        if there > 0 {
            let message =
                format!("disk {id} is a member of {there} groups; drain or replace it before it is removed");
            return Err(Refusal::new(ErrorKind::InUse(Entity::Disk), message).into());
        }
    }
    let in_map = |admin| admin != DiskAdmin::Removed;
    if in_map(record.admin) != in_map(state) {
        touch_map(txn)?;
    }
    record.admin = state;
    Ok(txn.put(keys::disk(id), &record)?)
}

/// `seen` has no `healthy_ms`: that is found here.
pub fn disk_seen(txn: &mut Txn<'_>, id: DiskId, seen: DiskHealth) -> Outcome<()> {
    let mut record = disk(txn, id)?;
    let healthy_ms = if seen.healthy { seen.seen_ms } else { record.health.healthy_ms };
    record.health = DiskHealth { healthy_ms, why: cut(&seen.why), ..seen };
    Ok(txn.put(keys::disk(id), &record)?)
}

/// Per disk, removed ones too, in order of id.
pub fn membership(view: &dyn Read) -> Outcome<Vec<DiskMembership>> {
    let none = |disk| DiskMembership { disk, in_sync: 0, catching_up: 0, out: 0 };
    let disks: Vec<DiskRecord> = all(view, keys::disks())?;
    let mut counts: BTreeMap<DiskId, DiskMembership> =
        disks.into_iter().map(|disk| (disk.id, none(disk.id))).collect();
    for member in groups(view)?.iter().flat_map(|group| &group.members) {
        let count = counts.entry(member.disk).or_insert_with(|| none(member.disk));
        match member.state {
            MemberState::InSync => count.in_sync += 1,
            MemberState::CatchingUp => count.catching_up += 1,
            MemberState::Out => count.out += 1,
        }
    }
    Ok(counts.into_values().collect())
}

/// What each group lost and is to get back, now.
pub fn replicas_left(groups: &[Group]) -> u64 {
    groups.iter().map(|group| members_left(group).count() as u64).sum()
}

/// Members that are to become in sync: all that are not, but those whose place another is to take.
fn members_left(group: &Group) -> impl Iterator<Item = &Member> {
    let leaves = |disk| group.members.iter().any(|other| other.replaces == Some(disk));
    group.members.iter().filter(move |member| member.state != MemberState::InSync && !leaves(member.disk))
}

/// Replicas that joined since all groups were last whole.
pub fn replicas_done(view: &dyn Read) -> Outcome<u64> {
    Ok(load(view, &keys::rebuild())?.unwrap_or(0))
}

/// The map is another one now.
pub fn touch_map(txn: &mut Txn<'_>) -> Outcome<()> {
    next_number(txn, keys::Counter::Map).map(|_| ())
}

/// Applies `edit` to those of the named groups that are at the named epoch. Whether it changed any.
fn change_each(txn: &mut Txn<'_>, named: &Named, mut edit: impl FnMut(&mut Group) -> bool) -> Outcome<bool> {
    if named.len() > MAX_GROUPS as usize {
        return Err(Refusal::invalid(format!("a command names at most {MAX_GROUPS} groups")).into());
    }
    let mut changed = false;
    for (id, epoch) in named {
        let Some(mut group) = load::<Group>(txn, &keys::group(*id))? else { continue };
        if group.epoch == *epoch && edit(&mut group) {
            change(txn, group)?;
            changed = true;
        }
    }
    if changed {
        touch_map(txn)?;
    }
    Ok(changed)
}

fn set_state(group: &mut Group, disk: DiskId, next: impl Fn(MemberState) -> Option<MemberState>) -> bool {
    let member = group.members.iter_mut().find(|member| member.disk == disk);
    let Some((member, state)) = member.and_then(|member| next(member.state).map(|state| (member, state)))
    else {
        return false;
    };
    member.state = state;
    true
}

fn check_replacement(txn: &Txn<'_>, old: DiskId, new: DiskId) -> Outcome<()> {
    disk(txn, old)?;
    let record = disk(txn, new)?;
    if old == new {
        return Err(Refusal::invalid("a disk can't take its own place").into());
    }
    if record.admin != DiskAdmin::Active {
        let message = format!("disk {new} is draining or removed, so it can't take another's place");
        return Err(Refusal::new(ErrorKind::InUse(Entity::Disk), message).into());
    }
    Ok(())
}

/// Puts `new` into the group to take the place of `old`, or says why it can't be now.
fn replace_in(
    txn: &mut Txn<'_>,
    group: &mut Group,
    old: DiskId,
    new: DiskId,
) -> Outcome<Result<(), Refusal>> {
    let in_use = |message: String| Ok(Err(Refusal::new(ErrorKind::InUse(Entity::Disk), message)));
    let id = group.id;
    if group.member(new).is_some() {
        return in_use(format!("disk {new} is a member of group {id} already"));
    }
    if txn.get(&keys::left(id, new))?.is_some() {
        return in_use(format!(
            "disk {new} was a member of group {id} before and holds an old copy of it; format it anew, which \
             gives it a new id, to use it there again"
        ));
    }
    // Who is on its way itself goes, and the new one takes over what it was to do.
    let mut replaces = old;
    if let Some(instead) = group.member(old).and_then(|member| member.replaces) {
        drop_member(txn, group, old)?;
        replaces = instead;
    }
    if group.members.len() >= MAX_MEMBERS || group.members.iter().any(|member| member.replaces.is_some()) {
        return in_use(format!("a member of group {id} is being replaced already; wait until that is done"));
    }
    group.members.push(Member { disk: new, state: MemberState::CatchingUp, replaces: Some(replaces) });
    Ok(Ok(()))
}

/// Takes a member out of the group, and remembers that its copy grows old from now on.
pub fn drop_member(txn: &mut Txn<'_>, group: &mut Group, disk: DiskId) -> Outcome<()> {
    let before = group.members.len();
    group.members.retain(|member| member.disk != disk);
    if group.members.len() < before {
        let left: Left = (group.id, disk, next_epoch(group)?);
        txn.put(keys::left(group.id, disk), &left)?;
        txn.delete(keys::copied(group.id, disk));
    }
    Ok(())
}

fn group(view: &dyn Read, id: GroupId) -> Outcome<Group> {
    let missing = || Refusal::invalid(format!("there is no group {id}"));
    load(view, &keys::group(id))?.ok_or_else(|| missing().into())
}

fn check_epoch(group: &Group, epoch: GroupEpoch) -> Result<(), Refusal> {
    if group.epoch == epoch {
        return Ok(());
    }
    let message = format!("group {} is at epoch {}, not {epoch}; get the map anew", group.id, group.epoch);
    Err(Refusal::new(ErrorKind::PreconditionFailed, message))
}

/// Stores a group that was changed, under its next epoch.
pub fn change(txn: &mut Txn<'_>, mut group: Group) -> Outcome<()> {
    assert!(group.in_sync().next().is_some(), "a group keeps a member in sync");
    assert!(group.members.len() <= MAX_MEMBERS, "a group has at most {MAX_MEMBERS} members");
    group.epoch = next_epoch(&group)?;
    Ok(txn.put(keys::group(group.id), &group)?)
}

fn next_epoch(group: &Group) -> Result<GroupEpoch, Refusal> {
    let used_up = || Refusal::invalid(format!("the epochs of group {} are used up", group.id));
    group.epoch.0.checked_add(1).map(GroupEpoch).ok_or_else(used_up)
}

fn count_joined(txn: &mut Txn<'_>) -> Outcome<()> {
    let done = replicas_done(txn)?;
    txn.put(keys::rebuild(), &(done + 1))?;
    forget_rebuild_if_whole(txn)
}

fn forget_rebuild_if_whole(txn: &mut Txn<'_>) -> Outcome<()> {
    if replicas_left(&groups(txn)?) == 0 {
        txn.delete(keys::rebuild());
    }
    Ok(())
}

/// The start of a text, as much of it as is kept.
pub fn cut(why: &str) -> String {
    why[..why.floor_char_boundary(MAX_WHY_BYTES)].to_owned()
}

#[cfg(test)]
#[path = "membership_test.rs"]
pub mod tests;

#[cfg(test)]
#[path = "membership_model_test.rs"]
mod model_tests;
