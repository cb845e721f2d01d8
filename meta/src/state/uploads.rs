//! Multipart uploads: parts pile up under an id, and become one object or garbage.

use super::extents::{self, Owner};
use super::kv::Read;
use super::objects::{bucket, check_digests, check_extents, check_metadata};
use super::pool::all;
use super::sealing::{self, Use};
use super::txn::{Txn, load};
use super::versions::{self, NewObject, Stamp};
use super::{Outcome, acl, keys, locks, names, quotas};
use crate::error::{Entity, ErrorKind, MetaError, PartFault, Refusal};
use crate::limits::{MAX_EXTENTS, MAX_OBJECT_BYTES, MAX_PARTS, MIN_PART_BYTES};
use crate::object::{
    Annotations, Body, Checksum, CompletedPart, Extent, ObjectRecord, PartRecord, Precondition, UploadId,
    UploadRecord, VersionRef,
};
use crate::sealing::{PartSalt, Sealing};
use std::collections::{BTreeMap, BTreeSet};

/// Names an upload: bucket, key, id.
pub type At<'a> = (&'a str, &'a str, UploadId);

/// Begins an upload. What its object is annotated with is checked now, once: a retention that is over when the
/// object is made does no harm.
pub fn create(
    txn: &mut Txn<'_>,
    bucket_name: &str,
    (upload, sealing): (&UploadRecord, Option<Sealing>),
    annotations: &Annotations,
) -> Outcome<()> {
    let bucket = bucket(txn, bucket_name)?;
    names::key(&upload.key)?;
    names::label("an upload's owner", &upload.owner)?;
    check_metadata(&upload.headers, &upload.user_metadata)?;
    locks::check_new(&versions::of(txn, bucket.id)?, annotations, upload.initiated_ms)?;
    acl::check_of_object(txn, &bucket, annotations.acl.as_ref())?;
    let key = keys::upload(bucket.id, &upload.key, upload.id);
    if txn.get(&key)?.is_some() {
        return Err(Refusal::new(ErrorKind::Exists(Entity::Upload), "the upload's id is taken").into());
    }
    if let Some(sealing) = &sealing {
        sealing::check(sealing)?;
    }
    sealing::count(txn, sealing.as_ref(), Use::Begins)?;
    // Uploads of earlier builds, and those without annotations, have none behind them; so with how it is sealed.
    match annotations == &Annotations::default() {
        _ if sealing.is_some() => txn.put(key, &(upload, annotations, sealing))?,
        true => txn.put(key, upload)?,
        false => txn.put(key, &(upload, annotations))?,
    }
    quotas::change(txn, bucket.id, |usage| usage.uploads += 1)
}

/// The upload and its bucket's id.
pub fn find(view: &dyn Read, at: At<'_>) -> Outcome<(u64, UploadRecord)> {
    let (bucket, upload, _) = find_whole(view, at)?;
    Ok((bucket, upload))
}

/// The upload, and how what it will make is encrypted.
pub fn open(view: &dyn Read, at: At<'_>) -> Outcome<(UploadRecord, Option<Sealing>)> {
    let (_, upload, of_object) = find_whole(view, at)?;
    Ok((upload, of_object.sealing))
}

/// What an upload says of the object that it will make.
#[derive(Default)]
struct OfObject {
    annotations: Annotations,
    sealing: Option<Sealing>,
}

fn find_whole(view: &dyn Read, (bucket_name, key, id): At<'_>) -> Outcome<(u64, UploadRecord, OfObject)> {
    let bucket = bucket(view, bucket_name)?;
    let missing = || {
        let message = "the upload does not exist; it may have been aborted or completed";
        Refusal::not_found(Entity::Upload, message)
    };
    let value = view.get(&keys::upload(bucket.id, key, id))?.ok_or_else(missing)?;
    let corrupt = |error| MetaError::new(ErrorKind::Corrupt, "an upload can't be read").with_source(error);
    let (upload, mut rest) = postcard::take_from_bytes(&value).map_err(corrupt)?;
    let mut of_object = OfObject::default();
    if !rest.is_empty() {
        (of_object.annotations, rest) = postcard::take_from_bytes(rest).map_err(corrupt)?;
    }
    if !rest.is_empty() {
        (of_object.sealing, _) = postcard::take_from_bytes(rest).map_err(corrupt)?;
    }
    Ok((bucket.id, upload, of_object))
}

pub fn put_part(txn: &mut Txn<'_>, at: At<'_>, (part, salt): (&PartRecord, Option<PartSalt>)) -> Outcome<()> {
    let (bucket, upload, of_object) = find_whole(txn, at)?;
    if of_object.sealing.is_some() != salt.is_some() {
        let message = "an upload's parts are encrypted if what it will make is, and only then";
        return Err(Refusal::invalid(message).into());
    }
    if !(1..=MAX_PARTS).contains(&part.number) {
        return Err(Refusal::invalid(format!("a part's number is 1 to {MAX_PARTS}")).into());
    }
    check_digests(&part.etag, &part.checksums)?;
    check_extents(&part.extents, part.size)?;
    let key = keys::part(bucket, upload.id, part.number);
    let displaced = load::<PartRecord>(txn, &key)?;
    extents::claim(txn, &part.extents, &Owner::Part { bucket, upload: upload.id, number: part.number })?;
    if let Some(displaced) = &displaced {
        extents::release(txn, &displaced.extents)?;
    }
    match salt {
        None => txn.put(key, part)?,
        Some(salt) => txn.put(key, &(part, salt))?,
    }
    let freed = displaced.map_or(0, |displaced| displaced.size);
    let held = quotas::held(txn, bucket)?;
    quotas::change(txn, bucket, |usage| {
        usage.upload_bytes = usage.upload_bytes.saturating_sub(freed) + part.size;
    })?;
    held.check(txn, (at.0, bucket))
}

pub fn complete(
    txn: &mut Txn<'_>,
    at: At<'_>,
    list: &[CompletedPart],
    record: ObjectRecord,
    precondition: &Precondition,
    stamp: Stamp,
) -> Outcome<(ObjectRecord, Option<VersionRef>)> {
    let (bucket, upload, OfObject { annotations, sealing }) = find_whole(txn, at)?;
    check_digests(&record.etag, &record.checksums)?;
    let there = parts_of(txn, bucket, upload.id)?;
    let chosen = choose(list, &there)?;
    let part_checksums = checksums_of(record.checksums.first(), &chosen);
    let part_sizes: Vec<u64> = chosen.iter().map(|part| part.size).collect();
    let extents: Vec<Extent> = chosen.iter().flat_map(|part| &part.extents).copied().collect();
    let size = part_sizes.iter().sum::<u64>();
    if size > MAX_OBJECT_BYTES || extents.len() > MAX_EXTENTS {
        return Err(Refusal::invalid("the object would be too large").into());
    }
    let whole = ObjectRecord {
        size,
        etag: record.etag,
        last_modified_ms: record.last_modified_ms,
        headers: upload.headers,
        user_metadata: upload.user_metadata,
        checksums: record.checksums,
        part_sizes,
        body: Body::Extents(extents.clone()),
    };
    let sealing = sealing.map(|sealing| salted(txn, (bucket, upload.id), sealing, list)).transpose()?;
    let used: BTreeSet<u16> = list.iter().map(|part| part.number).collect();
    let held = quotas::held(txn, bucket)?;
    forget(txn, (bucket, at.1, upload.id), sealing.as_ref(), (there.values(), &used))?;
    let handed_over = extents.into_iter().collect();
    let record = whole.clone();
    let new = NewObject { record, annotations, precondition, handed_over, part_checksums, sealing };
    let version = versions::insert(txn, bucket, at.1, new, stamp)?;
    held.check(txn, (at.0, bucket))?;
    Ok((whole, version))
}

/// How the object of these parts is encrypted.
fn salted(
    view: &dyn Read,
    (bucket, id): (u64, UploadId),
    sealing: Sealing,
    list: &[CompletedPart],
) -> Outcome<Sealing> {
    let corrupt = || MetaError::new(ErrorKind::Corrupt, "a part of an encrypted upload has no salt");
    let mut salts = Vec::with_capacity(list.len());
    for part in list {
        let (_, salt): (PartRecord, PartSalt) =
            load(view, &keys::part(bucket, id, part.number))?.ok_or_else(corrupt)?;
        salts.push(salt);
    }
    Ok(Sealing { salts, ..sealing })
}

/// The parts' checksums of the algorithm of the whole's, if all have one.
fn checksums_of(whole: Option<&Checksum>, parts: &[&PartRecord]) -> Vec<String> {
    let Some(algorithm) = whole.map(|whole| whole.algorithm) else { return Vec::new() };
    let of_part = |part: &&PartRecord| {
        let found = part.checksums.iter().find(|known| known.algorithm == algorithm)?;
        Some(found.value.clone())
    };
    parts.iter().map(of_part).collect::<Option<_>>().unwrap_or_default()
}

/// The listed parts, if the list is one that S3 allows.
fn choose<'a>(
    list: &[CompletedPart],
    there: &'a BTreeMap<u16, PartRecord>,
) -> Result<Vec<&'a PartRecord>, Refusal> {
    let fault = |fault, message: String| Err(Refusal::new(ErrorKind::Parts(fault), message));
    if list.is_empty() || list.len() > usize::from(MAX_PARTS) {
        return Err(Refusal::invalid(format!("a completed upload has 1 to {MAX_PARTS} parts")));
    }
    if list.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        return fault(PartFault::InvalidPartOrder, "the list of parts is not in ascending order".to_owned());
    }
    let mut chosen = Vec::with_capacity(list.len());
    for named in list {
        match there.get(&named.number) {
            Some(part) if part.etag == named.etag => chosen.push(part),
            Some(_) => {
                return fault(PartFault::InvalidPart, format!("part {} has another ETag", named.number));
            }
            None => return fault(PartFault::InvalidPart, format!("part {} was not uploaded", named.number)),
        }
    }
    let all_but_last = &chosen[..chosen.len() - 1];
    if let Some(small) = all_but_last.iter().find(|part| part.size < MIN_PART_BYTES) {
        let message = format!("part {} is smaller than 5 MiB and is not the last", small.number);
        return fault(PartFault::EntityTooSmall, message);
    }
    Ok(chosen)
}

pub fn abort(txn: &mut Txn<'_>, at: At<'_>) -> Outcome<()> {
    let (bucket, upload, of_object) = find_whole(txn, at)?;
    let there = parts_of(txn, bucket, upload.id)?;
    forget(txn, (bucket, at.1, upload.id), of_object.sealing.as_ref(), (there.values(), &BTreeSet::new()))
}

/// Removes an upload and its parts; the extents of those not in `used` become garbage.
fn forget<'a>(
    txn: &mut Txn<'_>,
    (bucket, key, id): (u64, &str, UploadId),
    sealing: Option<&Sealing>,
    (parts, used): (impl Iterator<Item = &'a PartRecord>, &BTreeSet<u16>),
) -> Outcome<()> {
    let mut bytes = 0u64;
    for part in parts {
        if !used.contains(&part.number) {
            extents::release(txn, &part.extents)?;
        }
        txn.delete(keys::part(bucket, id, part.number));
        bytes = bytes.saturating_add(part.size);
    }
    sealing::count(txn, sealing, Use::Ends)?;
    txn.delete(keys::upload(bucket, key, id));
    quotas::change(txn, bucket, |usage| {
        usage.uploads = usage.uploads.saturating_sub(1);
        usage.upload_bytes = usage.upload_bytes.saturating_sub(bytes);
    })
}

fn parts_of(view: &dyn Read, bucket: u64, id: UploadId) -> Outcome<BTreeMap<u16, PartRecord>> {
    let parts: Vec<PartRecord> = all(view, keys::parts(bucket, id))?;
    Ok(parts.into_iter().map(|part| (part.number, part)).collect())
}
