//! Volumes: made, opened under ever higher epochs, attached, deleted.

use super::kv::Read;
use super::pool::{all, map, next_number};
use super::txn::{Txn, load};
use super::{Outcome, keys, names};
use crate::error::{Entity, ErrorKind, Refusal};
use crate::limits::{MAX_SOCKET_PATH_BYTES, MIN_VOLUME_BYTES};
use crate::query::Leases;
use crate::record::{Attachment, LogRecord, VolumeKind, VolumeRecord, VolumeState};
use proto::control::Lease;
use proto::ids::{VolumeEpoch, VolumeId};
use proto::limits::{MAX_SYSTEM_VOLUME_BYTES, MAX_VOLUME_BYTES};
use proto::units::BLOCK_BYTES;

/// Versions keep an epoch in 24 bits.
const MAX_EPOCH: u32 = (1 << 24) - 1;

pub fn create(txn: &mut Txn<'_>, name: String, size_bytes: u64, now_ms: u64) -> Outcome<VolumeRecord> {
    names::volume(&name)?;
    check_size(size_bytes)?;
    if txn.get(&keys::volume_name(&name))?.is_some() {
        return Err(Refusal::new(ErrorKind::Exists(Entity::Volume), format!("volume '{name}' exists")).into());
    }
    make(txn, name, size_bytes, VolumeKind::User, now_ms)
}

pub fn ensure_object_log(txn: &mut Txn<'_>, gateway: String, now_ms: u64) -> Outcome<VolumeRecord> {
    names::label("a gateway's name", &gateway)?;
    // The leading dot keeps system volumes out of the users' names.
    let name = format!(".objectlog-{gateway}");
    if let Some(id) = load(txn, &keys::volume_name(&name))? {
        return by_id(txn, id);
    }
    let log = make(txn, name, MAX_SYSTEM_VOLUME_BYTES, VolumeKind::ObjectLog { gateway }, now_ms)?;
    txn.put(keys::log(log.id), &LogRecord::default())?;
    Ok(log)
}

fn make(
    txn: &mut Txn<'_>,
    name: String,
    size_bytes: u64,
    kind: VolumeKind,
    now_ms: u64,
) -> Outcome<VolumeRecord> {
    let id = VolumeId(next_number(txn, keys::Counter::Volume)?);
    let record = VolumeRecord {
        id,
        name,
        size_bytes,
        created_ms: now_ms,
        state: VolumeState::Ready,
        kind,
        epoch: VolumeEpoch(0),
        attachment: None,
    };
    txn.put(keys::volume_name(&record.name), &id)?;
    txn.put(keys::volume(id), &record)?;
    Ok(record)
}

fn check_size(size_bytes: u64) -> Result<(), Refusal> {
    if !size_bytes.is_multiple_of(BLOCK_BYTES) {
        return Err(Refusal::invalid(format!("a volume's size is a multiple of {BLOCK_BYTES} bytes")));
    }
    if !(MIN_VOLUME_BYTES..=MAX_VOLUME_BYTES).contains(&size_bytes) {
        let range = (proto::size::show(MIN_VOLUME_BYTES), proto::size::show(MAX_VOLUME_BYTES));
        return Err(Refusal::invalid(format!("a volume's size is {} to {}", range.0, range.1)));
    }
    Ok(())
}

pub fn delete(txn: &mut Txn<'_>, name: &str) -> Outcome<VolumeRecord> {
    let mut volume = users(txn, name)?;
    if let Some(attachment) = &volume.attachment {
        let message = format!("volume '{name}' is attached at {}; detach it first", attachment.socket);
        return Err(Refusal::new(ErrorKind::InUse(Entity::Volume), message).into());
    }
    volume.state = VolumeState::Deleting;
    volume.epoch = next_epoch(&volume)?;
    txn.delete(keys::volume_name(name));
    txn.put(keys::volume(volume.id), &volume)?;
    next_number(txn, keys::Counter::Lease)?;
    Ok(volume)
}

/// The epochs of all volumes that were ever opened and are not being deleted, and which state of them it is.
pub fn leases(view: &dyn Read) -> Outcome<Leases> {
    let mut volumes: Vec<VolumeRecord> = all(view, keys::volumes())?;
    volumes.retain(|volume| volume.state == VolumeState::Ready && volume.epoch > VolumeEpoch(0));
    let epochs = volumes.iter().map(|volume| (volume.id, volume.epoch)).collect();
    Ok(Leases { revision: lease_revision(view)?, epochs })
}

/// Grows with every lease.
pub fn lease_revision(view: &dyn Read) -> Outcome<u64> {
    Ok(load(view, &keys::counter(keys::Counter::Lease))?.unwrap_or(0))
}

pub fn finish_delete(txn: &mut Txn<'_>, id: VolumeId) -> Outcome<()> {
    let volume = by_id(txn, id)?;
    if volume.state != VolumeState::Deleting {
        return Err(Refusal::invalid(format!("volume {id} is not being deleted")).into());
    }
    txn.delete(keys::volume(id));
    Ok(())
}

pub fn open(txn: &mut Txn<'_>, id: VolumeId) -> Outcome<Lease> {
    let mut volume = by_id(txn, id)?;
    if volume.state == VolumeState::Deleting {
        let message = format!("volume '{}' is being deleted", volume.name);
        return Err(Refusal::not_found(Entity::Volume, message).into());
    }
    let map = map(txn)?;
    volume.epoch = next_epoch(&volume)?;
    txn.put(keys::volume(id), &volume)?;
    next_number(txn, keys::Counter::Lease)?;
    if let Some(mut log) = load::<LogRecord>(txn, &keys::log(id))? {
        // What earlier writers reserved and did not commit is theirs no more: a late commit of theirs could
        // otherwise name what the sweep has already trimmed.
        log.sealed_bytes = log.reserved_bytes;
        txn.put(keys::log(id), &log)?;
    }
    Ok(Lease { volume: id, epoch: volume.epoch, size_bytes: volume.size_bytes, map })
}

/// Grows a user's volume; what was given back could not be got again, so nothing shrinks one.
pub fn resize(txn: &mut Txn<'_>, name: &str, size_bytes: u64) -> Outcome<VolumeRecord> {
    let mut volume = users(txn, name)?;
    check_size(size_bytes)?;
    if size_bytes < volume.size_bytes {
        let size = proto::size::show(volume.size_bytes);
        let message = format!("volume '{name}' has {size}, and volumes don't shrink");
        return Err(Refusal::invalid(message).into());
    }
    volume.size_bytes = size_bytes;
    txn.put(keys::volume(volume.id), &volume)?;
    Ok(volume)
}

fn next_epoch(volume: &VolumeRecord) -> Result<VolumeEpoch, Refusal> {
    match volume.epoch.0 {
        epoch if epoch < MAX_EPOCH => Ok(VolumeEpoch(epoch + 1)),
        _ => Err(Refusal::invalid(format!(
            "volume '{}' was opened too often; copy it to a new one",
            volume.name
        ))),
    }
}

pub fn set_attachment(
    txn: &mut Txn<'_>,
    name: &str,
    attachment: Option<Attachment>,
) -> Outcome<VolumeRecord> {
    let mut volume = users(txn, name)?;
    if let (Some(there), Some(new)) = (&volume.attachment, &attachment)
        && there != new
    {
        let message = format!("volume '{name}' is attached at {}", there.socket);
        return Err(Refusal::new(ErrorKind::InUse(Entity::Volume), message).into());
    }
    if let Some(new) = &attachment {
        check_socket(&new.socket)?;
    }
    volume.attachment = attachment;
    txn.put(keys::volume(volume.id), &volume)?;
    Ok(volume)
}

/// The moment at which a guest that moves is no longer the old host's: it goes by the epoch, so that of a host that
/// takes the volume back (with a newer epoch) and one that takes it over only one can win.
pub fn move_attachment(
    txn: &mut Txn<'_>,
    name: &str,
    to: Attachment,
    epoch: VolumeEpoch,
) -> Outcome<VolumeRecord> {
    let mut volume = users(txn, name)?;
    // Asked again because the answer was lost.
    if volume.attachment.as_ref() == Some(&to) {
        return Ok(volume);
    }
    if volume.attachment.is_none() {
        let message = format!("volume '{name}' is not attached, so there is nothing to take over");
        return Err(Refusal::invalid(message).into());
    }
    if volume.epoch != epoch {
        let message = format!("volume '{name}' was opened by another writer meanwhile");
        return Err(Refusal::new(ErrorKind::Fenced, message).into());
    }
    check_socket(&to.socket)?;
    // The lease is an old one, but only now is it used: a disk that catches up has to look again.
    next_number(txn, keys::Counter::Lease)?;
    volume.attachment = Some(to);
    txn.put(keys::volume(volume.id), &volume)?;
    Ok(volume)
}

fn check_socket(path: &str) -> Result<(), Refusal> {
    if path.starts_with('/') && path.len() <= MAX_SOCKET_PATH_BYTES && !path.contains('\0') {
        return Ok(());
    }
    let message = format!("a socket's path is absolute and at most {MAX_SOCKET_PATH_BYTES} bytes");
    Err(Refusal::invalid(message))
}

/// A volume by its name, which nobody but the users' volumes and the logs have.
pub fn by_name(view: &dyn Read, name: &str) -> Outcome<VolumeRecord> {
    let missing = || Refusal::not_found(Entity::Volume, format!("there is no volume '{name}'"));
    names::volume(name.strip_prefix('.').unwrap_or(name)).map_err(|_| missing())?;
    let id = load(view, &keys::volume_name(name))?.ok_or_else(missing)?;
    by_id(view, id)
}

/// A volume of a user: system volumes can't be changed by name.
fn users(view: &dyn Read, name: &str) -> Outcome<VolumeRecord> {
    let volume = by_name(view, name)?;
    match volume.kind {
        VolumeKind::User => Ok(volume),
        VolumeKind::ObjectLog { .. } => {
            let message = format!("'{name}' is a gateway's object log, which only that gateway uses");
            Err(Refusal::new(ErrorKind::InUse(Entity::Volume), message).into())
        }
    }
}

pub fn by_id(view: &dyn Read, id: VolumeId) -> Outcome<VolumeRecord> {
    let missing = || Refusal::not_found(Entity::Volume, format!("there is no volume {id}"));
    load(view, &keys::volume(id))?.ok_or_else(|| missing().into())
}
