//! Disks that are gone for good. Their places are left to others; what they alone held is given up only when
//! somebody says so, and that is remembered.

use super::kv::Read;
use super::membership::{change, drop_member, touch_map};
use super::pool::{all, disk, groups, next_number};
use super::txn::{Txn, load};
use super::{Outcome, keys};
use crate::command::LostDisk;
use crate::error::{Entity, ErrorKind, Refusal};
use crate::limits::{MAX_LOSS_NAMES, UNSEEN_MS};
use crate::record::{DiskAdmin, DiskRecord, LogRecord, LossRecord, VolumeKind, VolumeRecord, VolumeState};
use proto::control::{Group, Member, MemberState};
use proto::ids::{ChunkId, ChunkIndex, DiskId, GroupId, VolumeEpoch};
use proto::placement::group_of;
use proto::units::CHUNK_BYTES;
use std::collections::BTreeSet;

/// What may be done about groups that no other disk holds a copy in sync of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLastCopy {
    Refuse,
    GiveUp,
}

pub fn lose(txn: &mut Txn<'_>, disk_id: DiskId, on_last: OnLastCopy, now_ms: u64) -> Outcome<LostDisk> {
    let mut record = disk(txn, disk_id)?;
    check_silent(&record, now_ms)?;
    let all_groups = groups(txn)?;
    let is_last = |group: &&Group| group.in_sync().all(|member| member.disk == disk_id);
    let last: BTreeSet<GroupId> = all_groups.iter().filter(is_last).map(|group| group.id).collect();
    let volumes = volumes_in(txn, &last, all_groups.len())?;
    if !last.is_empty() && on_last == OnLastCopy::Refuse {
        let message = format!(
            "disk {disk_id} holds the only copy in sync of {} groups, with data of {}; bring it back, or give \
             that data up for good with --accept-data-loss",
            last.len(),
            name_some(&volumes)
        );
        return Err(Refusal::new(ErrorKind::InUse(Entity::Disk), message).into());
    }
    let mut left = 0;
    for mut group in all_groups {
        let Some(member) = group.member(disk_id).copied() else { continue };
        left += 1;
        if last.contains(&group.id) {
            put_another_in_sync(txn, &mut group, disk_id, now_ms)?;
        } else if member.replaces.is_some() {
            drop_member(txn, &mut group, disk_id)?;
        } else if member.state != MemberState::Out {
            set_out(&mut group, disk_id);
        } else {
            continue;
        }
        change(txn, group)?;
    }
    if !last.is_empty() {
        let number = next_number(txn, keys::Counter::Loss)?;
        let groups = u32::try_from(last.len()).unwrap_or(u32::MAX);
        let named = volumes.iter().take(MAX_LOSS_NAMES).cloned().collect();
        let loss = LossRecord { disk: disk_id, at_ms: now_ms, groups, volumes: named };
        txn.put(keys::loss(number), &loss)?;
    }
    record.admin = DiskAdmin::Removed;
    record.evicted_why = "it was removed as lost".to_owned();
    txn.put(keys::disk(disk_id), &record)?;
    touch_map(txn)?;
    Ok(LostDisk { groups: left, given_up: last.into_iter().collect(), volumes })
}

/// A disk that serves is drained, not given up.
fn check_silent(record: &DiskRecord, now_ms: u64) -> Result<(), Refusal> {
    let health = &record.health;
    let silent_ms = now_ms.saturating_sub(health.healthy_ms);
    if !health.healthy || silent_ms >= UNSEEN_MS {
        return Ok(());
    }
    let message = format!(
        "disk {} said {} s ago that it is well; empty it with ashlar disk drain, or stop its chunk server \
         before it is removed as lost",
        record.id,
        silent_ms / 1000
    );
    Err(Refusal::new(ErrorKind::InUse(Entity::Disk), message))
}

/// The best that is left becomes what the group holds: who was catching up, then who is out, then who was new;
/// healthy ones first. If none of them is left, another disk of the pool begins with nothing.
fn put_another_in_sync(txn: &mut Txn<'_>, group: &mut Group, lost: DiskId, now_ms: u64) -> Outcome<()> {
    let mut best: Option<((bool, bool, bool), Member)> = None;
    for member in group.members.iter().filter(|member| member.disk != lost) {
        let record = disk(txn, member.disk)?;
        if record.admin == DiskAdmin::Removed {
            continue;
        }
        let worth = (
            check_silent(&record, now_ms).is_err(),
            member.replaces.is_none(),
            member.state == MemberState::CatchingUp,
        );
        if best.as_ref().is_none_or(|(found, _)| worth > *found) {
            best = Some((worth, *member));
        }
    }
    if let Some((_, member)) = best {
        for other in &mut group.members {
            if other.disk == member.disk {
                *other = Member::in_sync(member.disk);
            }
        }
        if let Some(replaced) = member.replaces {
            drop_member(txn, group, replaced)?;
        }
        set_out(group, lost);
        return Ok(());
    }
    let disks: Vec<DiskRecord> = all(txn, keys::disks())?;
    let mut fit = None;
    for record in disks {
        let free = group.member(record.id).is_none() && txn.get(&keys::left(group.id, record.id))?.is_none();
        if free && record.admin == DiskAdmin::Active && check_silent(&record, now_ms).is_err() {
            fit = Some(record.id);
            break;
        }
    }
    let Some(new) = fit else {
        let message =
            format!("no other disk could take over group {}; add one first: ashlar disk add", group.id);
        return Err(Refusal::new(ErrorKind::InUse(Entity::Disk), message).into());
    };
    drop_member(txn, group, lost)?;
    group.members.push(Member::in_sync(new));
    Ok(())
}

fn set_out(group: &mut Group, disk: DiskId) {
    for member in group.members.iter_mut().filter(|member| member.disk == disk) {
        member.state = MemberState::Out;
    }
}

/// Volumes that were ever opened and may have chunks in one of these groups.
fn volumes_in(view: &dyn Read, lost: &BTreeSet<GroupId>, groups: usize) -> Outcome<Vec<String>> {
    let (mut names, Ok(groups)) = (Vec::new(), u32::try_from(groups)) else { return Ok(Vec::new()) };
    if lost.is_empty() {
        return Ok(names);
    }
    let volumes: Vec<VolumeRecord> = all(view, keys::volumes())?;
    for volume in volumes {
        if volume.state == VolumeState::Deleting || volume.epoch == VolumeEpoch(0) {
            continue;
        }
        let used_bytes = match volume.kind {
            VolumeKind::User => volume.size_bytes,
            VolumeKind::ObjectLog { .. } => {
                load::<LogRecord>(view, &keys::log(volume.id))?.map_or(0, |log| log.reserved_bytes)
            }
        };
        let chunks = used_bytes.div_ceil(CHUNK_BYTES);
        let is_in = |index| lost.contains(&group_of(ChunkId { volume: volume.id, index }, groups));
        // With so many chunks, each group has some.
        let tried = u64::from(groups) * 32;
        let first = u32::try_from(chunks.min(tried)).unwrap_or(u32::MAX);
        if chunks > tried || (0..first).map(ChunkIndex).any(is_in) {
            names.push(volume.name);
        }
    }
    Ok(names)
}

fn name_some(volumes: &[String]) -> String {
    match volumes {
        [] => "no volume that was ever opened".to_owned(),
        _ => {
            let some = volumes[..volumes.len().min(MAX_LOSS_NAMES)].join(", ");
            let more = volumes.len().saturating_sub(MAX_LOSS_NAMES);
            if more > 0 { format!("volumes {some} and {more} more") } else { format!("volumes {some}") }
        }
    }
}

/// Groups with a place of a removed disk that nobody is on the way to take.
pub fn places_open(groups: &[Group], removed: &BTreeSet<DiskId>) -> usize {
    let is_open = |group: &&Group| {
        group.members.iter().any(|member| removed.contains(&member.disk))
            && group.members.iter().all(|member| member.replaces.is_none())
    };
    groups.iter().filter(is_open).count()
}

#[cfg(test)]
#[path = "loss_test.rs"]
mod tests;
