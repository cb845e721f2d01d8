//! The index checked against itself: everything that names extents against the table of who owns them, and back. It is
//! read while it changes, a record at a time. So what seems wrong is looked at again: where the record that led there is
//! still the same after the other was read, the two did disagree in between, for addresses are never used twice.

use super::extents::{self, Owner, Reference};
use super::kv::{Read, Step};
use super::stored::Stored;
use super::txn::{decode, load};
use super::{Outcome, keys, pool};
use crate::check::{IndexFault, IndexFaultKind, NamingPage, NamingTable, OwnedPage, Place};
use crate::error::{ErrorKind, MetaError};
use crate::limits::{MAX_CHECK_PAGE, MAX_EXTENT_PAGE, MAX_INDEX_FAULTS};
use crate::object::{BucketRecord, Extent, PartRecord, UploadId};
use crate::record::LogRecord;
use proto::ids::VolumeId;

/// A record that names extents.
struct Naming {
    owner: Owner,
    size: u64,
    extents: Vec<Extent>,
}

/// A page of everything that names extents, from after a place.
pub fn naming(view: &dyn Read, table: NamingTable, after: Option<&Place>) -> Outcome<NamingPage> {
    let prefix = keys::naming(table);
    let from = match after {
        Some(Place(after)) => keys::successor_of(after),
        None => prefix.clone(),
    };
    let mut records = Vec::new();
    let mut extents = 0;
    let mut page = NamingPage::default();
    view.scan(&from.max(prefix.clone()), &mut |key, value| {
        if !key.starts_with(&prefix) {
            return Step::Stop;
        }
        if extents >= MAX_CHECK_PAGE as usize || records.len() >= MAX_CHECK_PAGE as usize {
            page.next = records.last().map(|(key, _): &(Vec<u8>, Vec<u8>)| Place(key.clone()));
            return Step::Stop;
        }
        // What can't be read is told of below.
        extents += read(table, key, value).map_or(1, |naming| naming.extents.len());
        records.push((key.to_vec(), value.to_vec()));
        Step::Next
    })?;
    for (key, value) in records {
        let naming = read(table, &key, &value)?;
        page.entries += 1;
        page.extents += naming.extents.len() as u64;
        page.bytes = page.bytes.saturating_add(naming.size);
        for extent in &naming.extents {
            let Some(kind) = named_fault(view, extent, &naming.owner)? else { continue };
            if view.get(&key)?.as_ref() == Some(&value) && page.faults.len() < MAX_INDEX_FAULTS {
                let owner = said(view, &naming.owner)?;
                page.faults.push(IndexFault { kind, extent: *extent, owner });
            }
        }
    }
    Ok(page)
}

fn read(table: NamingTable, key: &[u8], value: &[u8]) -> Result<Naming, MetaError> {
    let corrupt = || MetaError::new(ErrorKind::Corrupt, "a key of the index can't be read");
    let bucket = keys::bucket_of(key).ok_or_else(corrupt)?;
    match table {
        NamingTable::Objects => {
            let name = keys::Named::name(key).ok_or_else(corrupt)?;
            let slot = keys::slot_of(key).ok_or_else(corrupt)?;
            let stored = Stored::decode(slot, value)?;
            let owner = Owner::of_object(bucket, &name, slot);
            Ok(Naming { owner, size: stored.size, extents: stored.extents().to_vec() })
        }
        NamingTable::Parts => {
            let (upload, number) = keys::part_of(key).ok_or_else(corrupt)?;
            let part: PartRecord = decode(value)?;
            let owner = Owner::Part { bucket, upload, number };
            Ok(Naming { owner, size: part.size, extents: part.extents })
        }
    }
}

fn named_fault(view: &dyn Read, extent: &Extent, owner: &Owner) -> Result<Option<IndexFaultKind>, MetaError> {
    let log: Option<LogRecord> = load(view, &keys::log(extent.volume))?;
    let reserved = log.map_or(0, |log| log.reserved_bytes);
    if extent.offset.checked_add(extent.len).is_none_or(|end| end > reserved) {
        return Ok(Some(IndexFaultKind::Outside));
    }
    let known: Option<Reference> = load(view, &keys::reference(extent.volume, extent.offset))?;
    let is_owned = known.is_some_and(|known| known.len == extent.len && known.owner == *owner);
    Ok((!is_owned).then_some(IndexFaultKind::NotOwned))
}

/// A page of a log's owned extents, from an offset.
pub fn owned(view: &dyn Read, volume: VolumeId, from: u64, limit: u32) -> Outcome<OwnedPage> {
    let log = extents::log(view, volume)?;
    let limit = limit.clamp(1, MAX_EXTENT_PAGE) as usize;
    let prefix = keys::references(volume);
    let mut page = OwnedPage::default();
    let mut records = Vec::new();
    view.scan(&keys::reference(volume, from), &mut |key, value| {
        let Some((_, offset)) = keys::range_of(key).filter(|_| key.starts_with(&prefix)) else {
            return Step::Stop;
        };
        if records.len() == limit {
            page.next_bytes = Some(offset);
            return Step::Stop;
        }
        records.push((offset, key.to_vec(), value.to_vec()));
        Step::Next
    })?;
    let mut before = match view.last_below(&keys::reference(volume, from))? {
        Some((key, value)) if key.starts_with(&prefix) => {
            let reference: Reference = decode(&value)?;
            keys::range_of(&key).map_or(0, |(_, offset)| offset.saturating_add(reference.len))
        }
        _ => 0,
    };
    for (offset, key, value) in records {
        let Reference { len, owner } = decode(&value)?;
        let extent = Extent { volume, offset, len };
        page.extents.push(extent);
        let end = offset.saturating_add(len);
        let kind = if end > log.reserved_bytes && end > extents::log(view, volume)?.reserved_bytes {
            Some(IndexFaultKind::Outside)
        } else if before > offset || is_garbage(view, &extent)? {
            Some(IndexFaultKind::Overlaps)
        } else if !names(view, &owner, &extent)? {
            Some(IndexFaultKind::NotNamed)
        } else {
            None
        };
        before = before.max(end);
        let Some(kind) = kind else { continue };
        if view.get(&key)?.as_ref() == Some(&value) && page.faults.len() < MAX_INDEX_FAULTS {
            page.faults.push(IndexFault { kind, extent, owner: said(view, &owner)? });
        }
    }
    Ok(page)
}

fn is_garbage(view: &dyn Read, extent: &Extent) -> Result<bool, MetaError> {
    let end = extent.offset.saturating_add(extent.len);
    let Some((key, value)) = view.last_below(&keys::garbage(extent.volume, end))? else { return Ok(false) };
    let len: u64 = if key.starts_with(&keys::garbages(extent.volume)) { decode(&value)? } else { 0 };
    Ok(keys::range_of(&key).is_some_and(|(_, offset)| offset.saturating_add(len) > extent.offset && len > 0))
}

/// Whether an owner names an extent.
fn names(view: &dyn Read, owner: &Owner, extent: &Extent) -> Result<bool, MetaError> {
    let (table, key) = match owner {
        Owner::Object { bucket, key } => (NamingTable::Objects, keys::object(*bucket, key, keys::PLAIN_SLOT)),
        Owner::Version { bucket, key, slot } => (NamingTable::Objects, keys::object(*bucket, key, *slot)),
        Owner::Part { bucket, upload, number } => (NamingTable::Parts, keys::part(*bucket, *upload, *number)),
    };
    let Some(value) = view.get(&key)? else { return Ok(false) };
    Ok(read(table, &key, &value)?.extents.contains(extent))
}

/// What names the extent that starts at an offset, in words.
pub fn owner_at(view: &dyn Read, volume: VolumeId, offset: u64) -> Outcome<Option<String>> {
    match extents::owner_at(view, volume, offset)? {
        Some(owner) => Ok(Some(said(view, &owner)?)),
        None => Ok(None),
    }
}

/// An owner in words.
fn said(view: &dyn Read, owner: &Owner) -> Result<String, MetaError> {
    let name = |bucket: u64| -> Result<String, MetaError> {
        let all: Vec<BucketRecord> = pool::all(view, keys::buckets())?;
        let found = all.into_iter().find(|record| record.id == bucket);
        Ok(found.map_or_else(|| format!("number {bucket}, which is gone"), |found| found.name))
    };
    Ok(match owner {
        Owner::Object { bucket, key } => format!("{key:?} of bucket {}", name(*bucket)?),
        Owner::Version { bucket, key, slot } => {
            format!("a version (slot {slot:x}) of {key:?} of bucket {}", name(*bucket)?)
        }
        Owner::Part { bucket, upload: UploadId(id), number } => {
            format!("part {number} of upload {} in bucket {}", hex::encode(id), name(*bucket)?)
        }
    })
}

#[cfg(test)]
#[path = "check_test.rs"]
mod tests;
