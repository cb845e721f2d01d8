//! The pool's health, in numbers and in sentences. O(nodes + disks + groups + volumes + buckets).

use super::kv::Read;
use super::txn::load;
use super::{Outcome, keys, loss, membership, pool};
use crate::limits::{MAX_SENTENCES, UNSEEN_MS};
use crate::object::{BucketRecord, BucketUsage};
use crate::query::{FailureDomain, Status};
use crate::record::{
    DiskAdmin, DiskRecord, NodeRecord, PoolRecord, SlowRecord, VolumeKind, VolumeRecord, VolumeState,
};
use proto::control::{Group, MemberState};
use proto::ids::DiskId;
use proto::limits::REPLICAS;
use std::collections::{BTreeMap, BTreeSet};

/// The status at a moment of the wall clock, by which disks that were not heard of are judged.
pub fn status(view: &dyn Read, now_ms: Option<u64>) -> Outcome<Status> {
    let pool: Option<PoolRecord> = load(view, &keys::pool())?;
    let nodes: Vec<NodeRecord> = pool::all(view, keys::nodes())?;
    let mut disks: Vec<DiskRecord> = pool::all(view, keys::disks())?;
    let is_removed = |disk: &&DiskRecord| disk.admin == DiskAdmin::Removed;
    let removed: BTreeSet<DiskId> = disks.iter().filter(is_removed).map(|disk| disk.id).collect();
    disks.retain(|disk| disk.admin != DiskAdmin::Removed);
    let groups = pool::groups(view)?;
    let volumes: Vec<VolumeRecord> = pool::all(view, keys::volumes())?;
    let buckets: Vec<BucketRecord> = pool::all(view, keys::buckets())?;
    let usages: Vec<BucketUsage> = pool::all(view, keys::usages())?;
    let in_sync = |group: &Group| group.in_sync().count();
    let min_in_sync = pool.as_ref().map_or(0, |pool| pool.min_in_sync as usize);
    let users =
        |volume: &&VolumeRecord| volume.kind == VolumeKind::User && volume.state == VolumeState::Ready;
    let catching_up = groups.iter().flat_map(|group| &group.members);
    let mut status = Status {
        nodes: nodes.len() as u64,
        disks: disks.len() as u64,
        capacity_bytes: disks.iter().map(|disk| disk.capacity_bytes).sum(),
        used_bytes: disks.iter().map(|disk| disk.health.used_bytes).sum(),
        failure_domain: failure_domain(&groups, &disks),
        groups: groups.len() as u64,
        groups_whole: groups.iter().filter(|group| in_sync(group) >= REPLICAS).count() as u64,
        groups_stalled: groups.iter().filter(|group| in_sync(group) < min_in_sync).count() as u64,
        replicas_left: membership::replicas_left(&groups),
        replicas_done: membership::replicas_done(view)?,
        replicas_catching_up: catching_up.filter(|m| m.state == MemberState::CatchingUp).count() as u64,
        volumes: volumes.iter().filter(users).count() as u64,
        volumes_deleting: volumes.iter().filter(|v| v.state == VolumeState::Deleting).count() as u64,
        provisioned_bytes: volumes.iter().filter(users).map(|volume| volume.size_bytes).sum(),
        buckets: buckets.len() as u64,
        objects: usages.iter().map(|usage| usage.objects).sum(),
        object_bytes: usages.iter().map(|usage| usage.bytes).sum(),
        losses: pool::all(view, keys::losses())?,
        problems: Vec::new(),
        pool,
    };
    status.problems = group_problems(&status);
    let open = loss::places_open(&groups, &removed);
    if open > 0 {
        status.problems.push(format!(
            "{open} groups wait for a disk to take the place of a removed one; add one, if this does not pass: \
             ashlar disk add"
        ));
    }
    status.problems.extend(disk_problems(&disks, &nodes, now_ms));
    let slow: Vec<SlowRecord> = pool::all(view, keys::slows())?;
    status.problems.extend(slow_problems(&slow, &disks, &nodes));
    Ok(status)
}

fn group_problems(status: &Status) -> Vec<String> {
    let mut problems = Vec::new();
    if status.pool.is_none() {
        problems.push("the pool has not been made yet".to_owned());
    }
    if status.groups == 0 {
        problems.push(format!(
            "{} of the {REPLICAS} disks that the first data needs are registered",
            status.disks
        ));
    }
    let coming = match status.replicas_catching_up {
        0 => String::new(),
        1 => "; 1 replica is being copied".to_owned(),
        many => format!("; {many} replicas are being copied"),
    };
    if status.groups_stalled > 0 {
        problems.push(format!(
            "{} of {} groups have too few replicas in sync: their writes wait{coming}",
            status.groups_stalled, status.groups
        ));
    }
    let degraded = status.groups - status.groups_whole - status.groups_stalled;
    if degraded > 0 {
        problems.push(format!("{degraded} of {} groups have lost a replica{coming}", status.groups));
    }
    problems
}

fn disk_problems(disks: &[DiskRecord], nodes: &[NodeRecord], now_ms: Option<u64>) -> Vec<String> {
    let name = |disk: &DiskRecord| name_of(disk, nodes);
    let mut problems = Vec::new();
    for disk in disks {
        let health = &disk.health;
        // A disk that was never heard of was only just registered.
        let silent_ms =
            now_ms.filter(|_| health.seen_ms > 0).map_or(0, |now| now.saturating_sub(health.seen_ms));
        if silent_ms >= UNSEEN_MS {
            problems.push(format!("{} was last heard of {} s ago", name(disk), silent_ms / 1000));
        } else if health.seen_ms > 0 && !health.healthy {
            let why = if health.why.is_empty() { "no reason given" } else { &health.why };
            problems.push(format!("{} is not healthy: {why}", name(disk)));
        }
    }
    if problems.len() > MAX_SENTENCES {
        let more = problems.len() - MAX_SENTENCES;
        problems.truncate(MAX_SENTENCES);
        problems.push(format!("{more} more disks are not healthy or not heard of"));
    }
    problems
}

/// A disk as people know it.
fn name_of(disk: &DiskRecord, nodes: &[NodeRecord]) -> String {
    let label = if disk.label.is_empty() { String::new() } else { format!(" ({})", disk.label) };
    let node = nodes.iter().find(|node| node.id == disk.node);
    format!("disk {}{label} of node {}", disk.id, node.map_or("?", |node| &node.name))
}

fn slow_problems(slow: &[SlowRecord], disks: &[DiskRecord], nodes: &[NodeRecord]) -> Vec<String> {
    let held = slow.iter().filter(|slow| slow.held);
    let known = held.filter_map(|slow| Some((slow, disks.iter().find(|disk| disk.id == slow.disk)?)));
    let sentence = |(slow, disk): (&SlowRecord, &DiskRecord)| {
        format!(
            "{} is slow and kept out of its groups ({}); it is tried again after {} min. Replace it (ashlar disk \
             replace), or have it tried at once: ashlar disk drain --undo {}",
            name_of(disk, nodes),
            slow.why,
            slow.pause_ms() / 60_000,
            disk.id
        )
    };
    known.map(sentence).take(MAX_SENTENCES).collect()
}

/// The widest domain that no group has two members in.
fn failure_domain(groups: &[Group], disks: &[DiskRecord]) -> FailureDomain {
    let disks: BTreeMap<DiskId, &DiskRecord> = disks.iter().map(|disk| (disk.id, disk)).collect();
    let apart = |domain: &dyn Fn(&DiskRecord) -> String| {
        groups.iter().all(|group| {
            let stays = group.members.iter().filter(|member| member.replaces.is_none());
            let mut domains = BTreeSet::new();
            let mut known = stays.filter_map(|member| disks.get(&member.disk));
            known.all(|disk| domains.insert(domain(disk)))
        })
    };
    if apart(&|disk| disk.zone.clone()) {
        FailureDomain::Zone
    } else if apart(&|disk| disk.node.to_string()) {
        FailureDomain::Node
    } else {
        FailureDomain::Disk
    }
}
