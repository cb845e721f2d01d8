//! The pool, its nodes, disks and groups, and the access keys.

use super::kv::{Read, Step};
use super::layout::lay_out;
use super::membership::touch_map;
use super::txn::{Txn, decode, load};
use super::{Fail, Outcome, keys, names};
use crate::error::{Entity, ErrorKind, MetaError, Refusal};
use crate::limits::{MAX_DISKS, MAX_GROUPS, MAX_LABEL_BYTES};
use crate::record::{AccessKey, DiskAdmin, DiskRecord, NodeRecord, PoolRecord};
use proto::control::{DiskPlace, Group, Member, PoolMap};
use proto::ids::{DiskId, GroupEpoch, GroupId};
use proto::limits::REPLICAS;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

pub fn init(txn: &mut Txn<'_>, record: PoolRecord) -> Outcome<PoolRecord> {
    if let Some(there) = load(txn, &keys::pool())? {
        return Ok(there);
    }
    names::label("a pool's id", &record.id)?;
    if record.groups == 0 || record.groups > MAX_GROUPS {
        return Err(Refusal::invalid(format!("a pool has 1 to {MAX_GROUPS} groups")).into());
    }
    if !(1..=REPLICAS).contains(&(record.min_in_sync as usize)) {
        return Err(Refusal::invalid(format!("min_in_sync is 1 to {REPLICAS}")).into());
    }
    txn.put(keys::pool(), &record)?;
    Ok(record)
}

pub fn register_node(txn: &mut Txn<'_>, node: &NodeRecord) -> Outcome<()> {
    names::label("a node's name", &node.name)?;
    names::label("a zone", &node.zone)?;
    Ok(txn.put(keys::node(node.id), node)?)
}

pub fn register_disk(txn: &mut Txn<'_>, disk: &DiskRecord) -> Outcome<()> {
    let Some(pool) = load::<PoolRecord>(txn, &keys::pool())? else {
        return Err(Refusal::not_found(Entity::Pool, "there is no pool yet; start it first").into());
    };
    names::label("a zone", &disk.zone)?;
    if txn.get(&keys::node(disk.node))?.is_none() {
        let message = format!("node {} of disk {} is not registered", disk.node, disk.id);
        return Err(Refusal::not_found(Entity::Node, message).into());
    }
    if disk.label.len() > MAX_LABEL_BYTES || disk.label.chars().any(char::is_control) {
        let message = format!("a disk's label is at most {MAX_LABEL_BYTES} bytes without control characters");
        return Err(Refusal::invalid(message).into());
    }
    let there: Option<DiskRecord> = load(txn, &keys::disk(disk.id))?;
    let record = match &there {
        Some(there) => DiskRecord {
            admin: there.admin,
            health: there.health.clone(),
            evicted_why: there.evicted_why.clone(),
            ..disk.clone()
        },
        None => DiskRecord {
            label: disk.label.clone(),
            ..DiskRecord::new(disk.id, disk.node, disk.addr, disk.zone.clone(), disk.capacity_bytes)
        },
    };
    txn.put(keys::disk(disk.id), &record)?;
    let mut disks = all::<DiskRecord>(txn, keys::disks())?;
    if disks.len() > MAX_DISKS {
        return Err(Refusal::invalid(format!("a pool has at most {MAX_DISKS} disks")).into());
    }
    if there.map(place) != Some(place(record)) {
        touch_map(txn)?;
    }
    disks.retain(|disk| disk.admin == DiskAdmin::Active);
    // While nothing was ever written, groups are laid out anew with each disk, at no cost.
    let volumes: u64 = load(txn, &keys::counter(keys::Counter::Volume))?.unwrap_or(0);
    if disks.len() >= REPLICAS && (volumes == 0 || groups(txn)?.is_empty()) {
        make_groups(txn, &pool, &disks)?;
    }
    Ok(())
}

fn make_groups(txn: &mut Txn<'_>, pool: &PoolRecord, disks: &[DiskRecord]) -> Outcome<()> {
    let mut there = groups(txn)?.into_iter().map(|group| (group.id, group)).collect::<BTreeMap<_, _>>();
    let mut changed = false;
    for (id, members) in (0..).map(GroupId).zip(lay_out(disks, pool.groups)) {
        let members: Vec<_> = members.into_iter().map(Member::in_sync).collect();
        let before = there.remove(&id);
        if before.as_ref().is_some_and(|before| before.members == members) {
            continue;
        }
        let epoch = GroupEpoch(before.map_or(0, |before| before.epoch.0) + 1);
        txn.put(keys::group(id), &Group { id, epoch, members })?;
        changed = true;
    }
    if changed { touch_map(txn) } else { Ok(()) }
}

pub fn put_access_key(txn: &mut Txn<'_>, key: &AccessKey) -> Outcome<()> {
    names::label("an access key's id", &key.id)?;
    names::label("an access key's owner", &key.owner)?;
    if key.secret.0.is_empty() || key.secret.0.len() > MAX_LABEL_BYTES {
        return Err(Refusal::invalid("an access key's secret is empty or too long").into());
    }
    Ok(txn.put(keys::access_key(&key.id), key)?)
}

pub fn delete_access_key(txn: &mut Txn<'_>, id: &str) -> Outcome<()> {
    access_key(txn, id)?;
    txn.delete(keys::access_key(id));
    super::key_use::forget(txn, id);
    Ok(())
}

pub fn access_key(view: &dyn Read, id: &str) -> Outcome<AccessKey> {
    let missing = || Refusal::not_found(Entity::AccessKey, "there is no such access key");
    load(view, &keys::access_key(id))?.ok_or_else(|| missing().into())
}

pub fn groups(view: &dyn Read) -> Result<Vec<Group>, MetaError> {
    all(view, keys::groups())
}

/// The pool's layout; unavailable while there are too few disks for the groups.
pub fn map(view: &dyn Read) -> Outcome<PoolMap> {
    let groups = groups(view)?;
    let pool = load::<PoolRecord>(view, &keys::pool())?;
    let (Some(pool), false) = (pool, groups.is_empty()) else {
        let message = format!("the pool has fewer than {REPLICAS} disks, so it can't hold data yet");
        return Err(Fail::Refused(Refusal::new(ErrorKind::Unavailable, message)));
    };
    let mut disks: Vec<DiskRecord> = all(view, keys::disks())?;
    disks.retain(|disk| disk.admin != DiskAdmin::Removed);
    let disks = disks.into_iter().map(place).collect();
    let copies = all(view, keys::copies())?;
    Ok(PoolMap { groups, disks, copies, min_in_sync: pool.min_in_sync, version: map_version(view)? })
}

/// The map, if it is not the one of this version.
pub fn map_since(view: &dyn Read, version: u64) -> Outcome<Option<PoolMap>> {
    if version != 0 && map_version(view)? == version {
        return Ok(None);
    }
    map(view).map(Some)
}

fn map_version(view: &dyn Read) -> Result<u64, MetaError> {
    Ok(load(view, &keys::counter(keys::Counter::Map))?.unwrap_or(0))
}

fn place(disk: DiskRecord) -> DiskPlace {
    DiskPlace { disk: disk.id, node: disk.node, addr: disk.addr }
}

/// A disk of the pool, removed or not.
pub fn disk(view: &dyn Read, id: DiskId) -> Outcome<DiskRecord> {
    let missing = || Refusal::not_found(Entity::Disk, format!("disk {id} is not registered"));
    load(view, &keys::disk(id))?.ok_or_else(|| missing().into())
}

/// Every record whose key starts with `prefix`, in order.
pub fn all<T: DeserializeOwned>(view: &dyn Read, prefix: Vec<u8>) -> Result<Vec<T>, MetaError> {
    let mut found = Vec::new();
    let mut failed = None;
    view.scan(&prefix, &mut |key, value| {
        if !key.starts_with(&prefix) {
            return Step::Stop;
        }
        match decode(value) {
            Ok(record) => found.push(record),
            Err(error) => {
                failed = Some(error);
                return Step::Stop;
            }
        }
        Step::Next
    })?;
    failed.map_or(Ok(found), Err)
}

/// The next number of a counter; the first is 1.
pub fn next_number(txn: &mut Txn<'_>, counter: keys::Counter) -> Outcome<u64> {
    let last: u64 = load(txn, &keys::counter(counter))?.unwrap_or(0);
    let next = last.checked_add(1).ok_or_else(|| Refusal::invalid("a counter of ids is used up"))?;
    txn.put(keys::counter(counter), &next)?;
    Ok(next)
}
