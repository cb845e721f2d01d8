//! Who owns which bytes of the object logs. Every byte that was ever committed is either referenced by
//! exactly one version or part, or on the garbage queue until it is trimmed: each change of an index entry
//! moves extents between the two in the same batch.

use super::kv::{Read, Step};
use super::txn::{Txn, load};
use super::{Fail, Outcome, keys};
use crate::error::{Entity, ErrorKind, MetaError, Refusal};
use crate::limits::{MAX_EXTENT_PAGE, MAX_EXTENTS};
use crate::object::{Extent, UploadId};
use crate::query::ExtentPage;
use crate::record::LogRecord;
use proto::ids::{VolumeEpoch, VolumeId};
use proto::limits::MAX_SYSTEM_VOLUME_BYTES;
use proto::units::BLOCK_BYTES;
use serde::{Deserialize, Serialize};

/// Who names an extent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// What is in the plain slot.
    Object {
        bucket: u64,
        key: String,
    },
    Part {
        bucket: u64,
        upload: UploadId,
        number: u16,
    },
    Version {
        bucket: u64,
        key: String,
        slot: u64,
    },
}

impl Owner {
    /// Of the version in a slot.
    pub fn of_object(bucket: u64, key: &str, slot: u64) -> Self {
        let key = key.to_owned();
        match slot {
            keys::PLAIN_SLOT => Self::Object { bucket, key },
            slot => Self::Version { bucket, key, slot },
        }
    }
}

/// The value of the reference table. The length comes first: a range scan needs no more.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reference {
    pub len: u64,
    pub owner: Owner,
}

pub fn log(view: &dyn Read, volume: VolumeId) -> Outcome<LogRecord> {
    let missing = || Refusal::not_found(Entity::Volume, format!("volume {volume} is not an object log"));
    load(view, &keys::log(volume))?.ok_or_else(|| missing().into())
}

pub fn reserve(txn: &mut Txn<'_>, volume: VolumeId, epoch: VolumeEpoch, bytes: u64) -> Outcome<Extent> {
    let mut log = log(txn, volume)?;
    let current = super::volumes::by_id(txn, volume)?.epoch;
    if epoch != current {
        let message = format!("epoch {epoch} of object log {volume} is over; the newest is {current}");
        return Err(Refusal::new(ErrorKind::Fenced, message).into());
    }
    let len = bytes.checked_next_multiple_of(BLOCK_BYTES).filter(|&len| len > 0);
    let end = len.and_then(|len| log.reserved_bytes.checked_add(len));
    let (Some(len), Some(end)) = (len, end.filter(|&end| end <= MAX_SYSTEM_VOLUME_BYTES)) else {
        return Err(Refusal::invalid(format!("can't reserve {bytes} bytes of object log {volume}")).into());
    };
    let extent = Extent { volume, offset: log.reserved_bytes, len };
    log.reserved_bytes = end;
    txn.put(keys::log(volume), &log)?;
    Ok(extent)
}

/// Checks that nobody owns the extents, and makes `owner` own them.
pub fn claim(txn: &mut Txn<'_>, extents: &[Extent], owner: &Owner) -> Outcome<()> {
    check_count(extents)?;
    for extent in extents {
        check_unowned(txn, extent)?;
        own(txn, extent, owner)?;
    }
    Ok(())
}

/// Makes `owner` own extents that somebody else owned until now.
pub fn own(txn: &mut Txn<'_>, extent: &Extent, owner: &Owner) -> Outcome<()> {
    let reference = Reference { len: extent.len, owner: owner.clone() };
    Ok(txn.put(keys::reference(extent.volume, extent.offset), &reference)?)
}

/// Moves owned extents to the garbage queue.
pub fn release(txn: &mut Txn<'_>, extents: &[Extent]) -> Outcome<()> {
    for extent in extents {
        let key = keys::reference(extent.volume, extent.offset);
        match load::<Reference>(txn, &key)? {
            Some(reference) if reference.len == extent.len => txn.delete(key),
            _ => {
                let message = format!("{extent:?} is named by the index but not by the reference table");
                return Err(MetaError::new(ErrorKind::Corrupt, message).into());
            }
        }
        txn.put(keys::garbage(extent.volume, extent.offset), &extent.len)?;
    }
    Ok(())
}

/// Queues as garbage what was written but will not be committed.
pub fn discard(txn: &mut Txn<'_>, extents: &[Extent]) -> Outcome<()> {
    check_count(extents)?;
    for extent in extents {
        check_unowned(txn, extent)?;
        txn.put(keys::garbage(extent.volume, extent.offset), &extent.len)?;
    }
    Ok(())
}

/// Queues as garbage what nobody owns of these, whoever wrote it and when. Who comes to name it later is refused, so a
/// body that was on its way after all fails, and harms nothing. Says how many bytes that were.
pub fn reclaim(txn: &mut Txn<'_>, extents: &[Extent]) -> Outcome<u64> {
    check_count(extents)?;
    let mut bytes = 0u64;
    for extent in extents {
        match check_free(txn, extent) {
            Ok(()) => {
                txn.put(keys::garbage(extent.volume, extent.offset), &extent.len)?;
                bytes = bytes.saturating_add(extent.len);
            }
            Err(Fail::Refused(refusal)) if refusal.kind == ErrorKind::InUse(Entity::Extent) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(bytes)
}

pub fn garbage_done(txn: &mut Txn<'_>, volume: VolumeId, extents: &[Extent]) -> Outcome<()> {
    if extents.len() > MAX_EXTENT_PAGE as usize || extents.iter().any(|extent| extent.volume != volume) {
        let message = format!("one step takes off at most {MAX_EXTENT_PAGE} extents, all of one volume");
        return Err(Refusal::invalid(message).into());
    }
    for extent in extents {
        let key = keys::garbage(volume, extent.offset);
        if load::<u64>(txn, &key)? == Some(extent.len) {
            txn.delete(key);
        }
    }
    Ok(())
}

pub fn mark_swept(txn: &mut Txn<'_>, volume: VolumeId, upto_bytes: u64) -> Outcome<()> {
    let mut log = log(txn, volume)?;
    if upto_bytes > log.sealed_bytes {
        return Err(Refusal::invalid("a log is swept up to its sealed mark at most").into());
    }
    log.swept_bytes = log.swept_bytes.max(upto_bytes);
    Ok(txn.put(keys::log(volume), &log)?)
}

fn check_count(extents: &[Extent]) -> Result<(), Refusal> {
    match extents.len() {
        0..=MAX_EXTENTS => Ok(()),
        many => Err(Refusal::invalid(format!("{many} extents are more than {MAX_EXTENTS}"))),
    }
}

/// A new extent was reserved by the log's present writer and overlaps nothing committed.
fn check_unowned(txn: &Txn<'_>, extent: &Extent) -> Outcome<()> {
    if extent.offset < log(txn, extent.volume)?.sealed_bytes {
        let message = format!("{extent:?} was reserved by an earlier writer of the log, which is fenced");
        return Err(Refusal::new(ErrorKind::Fenced, message).into());
    }
    check_free(txn, extent)
}

/// An extent is within what was reserved of its log, and overlaps nothing committed.
fn check_free(txn: &Txn<'_>, extent: &Extent) -> Outcome<()> {
    let log = log(txn, extent.volume)?;
    let end = extent.offset.checked_add(extent.len).filter(|&end| end <= log.reserved_bytes);
    let Some(end) = end.filter(|_| extent.len > 0) else {
        return Err(Refusal::invalid(format!("{extent:?} is not within what was reserved")).into());
    };
    // Committed extents never overlap, so only the last one that starts before the end can reach in.
    for table in [keys::reference, keys::garbage] {
        let Some((key, value)) = txn.last_below(&table(extent.volume, end))? else { continue };
        if !key.starts_with(&table(extent.volume, 0)[..11]) {
            continue;
        }
        if let Some((_, offset)) = keys::range_of(&key)
            && offset.saturating_add(len_of(&value)?) > extent.offset
        {
            let message = format!("{extent:?} is in use already");
            return Err(Refusal::new(ErrorKind::InUse(Entity::Extent), message).into());
        }
    }
    Ok(())
}

/// Both tables' values start with the length.
fn len_of(value: &[u8]) -> Result<u64, MetaError> {
    postcard::take_from_bytes(value).map(|(len, _)| len).map_err(|_| corrupt())
}

fn corrupt() -> MetaError {
    MetaError::new(ErrorKind::Corrupt, "a record of the extent tables can't be read")
}

/// A page of the garbage queue from an offset.
pub fn garbage_page(view: &dyn Read, volume: VolumeId, from: u64, limit: u32) -> Outcome<ExtentPage> {
    page(view, keys::garbage, (volume, from, u64::MAX), limit)
}

/// A page of what is referenced within `[from, to)`.
pub fn referenced_page(
    view: &dyn Read,
    (volume, from, to): (VolumeId, u64, u64),
    limit: u32,
) -> Outcome<ExtentPage> {
    page(view, keys::reference, (volume, from, to), limit)
}

/// What names the extent at an offset.
pub fn owner_at(view: &dyn Read, volume: VolumeId, offset: u64) -> Outcome<Option<Owner>> {
    let found: Option<Reference> = load(view, &keys::reference(volume, offset))?;
    Ok(found.map(|reference| reference.owner))
}

/// Where the extent of a table starts that begins before `from` and reaches over it; else `from`.
fn reaching_in(
    view: &dyn Read,
    table: fn(VolumeId, u64) -> Vec<u8>,
    (volume, from): (VolumeId, u64),
) -> Outcome<u64> {
    if let Some((key, value)) = view.last_below(&table(volume, from))?
        && let Some((_, offset)) = keys::range_of(&key)
        && key.starts_with(&table(volume, 0)[..11])
        && offset.saturating_add(len_of(&value)?) > from
    {
        return Ok(offset);
    }
    Ok(from)
}

fn page(
    view: &dyn Read,
    table: fn(VolumeId, u64) -> Vec<u8>,
    (volume, from, to): (VolumeId, u64, u64),
    limit: u32,
) -> Outcome<ExtentPage> {
    log(view, volume)?;
    let limit = limit.clamp(1, MAX_EXTENT_PAGE) as usize;
    let prefix = table(volume, 0)[..11].to_vec();
    let mut found = ExtentPage::default();
    let mut failed = None;
    let from = reaching_in(view, table, (volume, from))?;
    view.scan(&table(volume, from), &mut |key, value| {
        let at = keys::range_of(key).filter(|&(_, offset)| key.starts_with(&prefix) && offset < to);
        let Some((_, offset)) = at else { return Step::Stop };
        if found.extents.len() == limit {
            found.next_bytes = Some(offset);
            return Step::Stop;
        }
        match len_of(value) {
            Ok(len) => found.extents.push(Extent { volume, offset, len }),
            Err(error) => {
                failed = Some(error);
                return Step::Stop;
            }
        }
        Step::Next
    })?;
    failed.map_or(Ok(found), |error| Err(error.into()))
}
