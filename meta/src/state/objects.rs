//! Buckets and the object index: put, delete, preconditions, usage.

use super::extents::{self, Owner};
use super::kv::{Read, Step};
use super::pool::next_number;
use super::stored::{self, Stored};
use super::txn::{Txn, load};
use super::{Fail, Outcome, keys, names};
use crate::command::DeleteObject;
use crate::error::{Entity, ErrorKind, MetaError, Refusal};
use crate::limits::{
    MAX_EXTENTS, MAX_INLINE_BYTES, MAX_METADATA_BYTES, MAX_OBJECT_BYTES, MAX_PAGE, MAX_PARTS,
};
use crate::object::{
    BlockPublicAccess, Body, BucketRecord, BucketUsage, Checksum, Extent, ObjectOwnership, ObjectRecord,
    Precondition, StoredHeaders,
};
use std::collections::BTreeSet;

pub fn create_bucket(txn: &mut Txn<'_>, name: String, owner: String, now_ms: u64) -> Outcome<BucketRecord> {
    names::bucket(&name)?;
    names::label("a bucket's owner", &owner)?;
    if txn.get(&keys::bucket(&name))?.is_some() {
        return Err(Refusal::new(ErrorKind::Exists(Entity::Bucket), format!("bucket '{name}' exists")).into());
    }
    let record = BucketRecord {
        id: next_number(txn, keys::Counter::Bucket)?,
        name,
        owner,
        created_ms: now_ms,
        block_public_access: BlockPublicAccess::ALL,
        ownership: ObjectOwnership::BucketOwnerEnforced,
    };
    txn.put(keys::bucket(&record.name), &record)?;
    txn.put(keys::usage(record.id), &BucketUsage::default())?;
    Ok(record)
}

pub fn delete_bucket(txn: &mut Txn<'_>, name: &str) -> Outcome<()> {
    let bucket = bucket(txn, name)?;
    for (table, what) in [(keys::Named::Objects, "objects"), (keys::Named::Uploads, "unfinished uploads")] {
        if has_any(txn, &table.prefix(bucket.id, ""))? {
            let message = format!("bucket '{name}' has {what}; delete them first");
            return Err(Refusal::new(ErrorKind::InUse(Entity::Bucket), message).into());
        }
    }
    txn.delete(keys::bucket(name));
    txn.delete(keys::usage(bucket.id));
    if txn.get(&keys::access(bucket.id))?.is_some() {
        txn.delete(keys::access(bucket.id));
    }
    Ok(())
}

fn has_any(view: &dyn Read, prefix: &[u8]) -> Result<bool, MetaError> {
    let mut any = false;
    view.scan(prefix, &mut |key, _| {
        any = key.starts_with(prefix);
        Step::Stop
    })?;
    Ok(any)
}

pub fn bucket(view: &dyn Read, name: &str) -> Outcome<BucketRecord> {
    let missing = || Refusal::not_found(Entity::Bucket, "the bucket does not exist");
    load(view, &keys::bucket(name))?.ok_or_else(|| missing().into())
}

pub fn put(
    txn: &mut Txn<'_>,
    bucket_name: &str,
    key: &str,
    record: ObjectRecord,
    precondition: &Precondition,
) -> Outcome<()> {
    let bucket = bucket(txn, bucket_name)?;
    names::key(key)?;
    check_record(&record)?;
    replace(txn, bucket.id, key, record, precondition, &BTreeSet::new())
}

/// Puts an entry in place of the one that is there. Its extents are new, or of the entry it displaces, or
/// in `handed_over` (offsets that somebody else owned until now: the parts of an upload).
pub fn replace(
    txn: &mut Txn<'_>,
    bucket: u64,
    key: &str,
    record: ObjectRecord,
    precondition: &Precondition,
    handed_over: &BTreeSet<Extent>,
) -> Outcome<()> {
    let there = stored::load(txn, bucket, key)?;
    check_precondition(there.as_ref(), precondition)?;
    let displaced = there.as_ref().map_or(&[][..], Stored::extents);
    if let Body::Extents(new) = &record.body {
        let owner = Owner::Object { bucket, key: key.to_owned() };
        let kept: BTreeSet<&Extent> = displaced.iter().collect();
        let mut used = BTreeSet::new();
        for extent in new {
            if !used.insert(extent) {
                return Err(Refusal::invalid(format!("{extent:?} is named twice")).into());
            }
            if handed_over.contains(extent) {
                extents::own(txn, extent, &owner)?;
            } else if !kept.contains(extent) {
                extents::claim(txn, std::slice::from_ref(extent), &owner)?;
            }
        }
        let gone: Vec<Extent> = displaced.iter().filter(|extent| !used.contains(extent)).copied().collect();
        extents::release(txn, &gone)?;
    } else {
        extents::release(txn, displaced)?;
    }
    let size = record.size;
    stored::store(txn, bucket, key, record, there.as_ref().is_some_and(Stored::is_inline))?;
    change_usage(txn, bucket, |usage| {
        match &there {
            Some(there) => usage.bytes = usage.bytes.saturating_sub(there.size),
            None => usage.objects += 1,
        }
        usage.bytes += size;
    })
}

pub fn delete_many(
    txn: &mut Txn<'_>,
    bucket_name: &str,
    objects: &[DeleteObject],
) -> Outcome<Vec<Result<bool, Refusal>>> {
    let bucket = bucket(txn, bucket_name)?;
    if objects.len() > MAX_PAGE as usize {
        return Err(Refusal::invalid(format!("at most {MAX_PAGE} objects can be deleted at once")).into());
    }
    let mut results = Vec::with_capacity(objects.len());
    for object in objects {
        // One that is refused has changed nothing: its checks come before its changes.
        match delete_one(txn, bucket.id, object) {
            Ok(was_there) => results.push(Ok(was_there)),
            Err(Fail::Refused(refusal)) => results.push(Err(refusal)),
            Err(broken) => return Err(broken),
        }
    }
    Ok(results)
}

fn delete_one(txn: &mut Txn<'_>, bucket: u64, object: &DeleteObject) -> Outcome<bool> {
    names::key(&object.key)?;
    let there = stored::load(txn, bucket, &object.key)?;
    check_precondition(there.as_ref(), &object.precondition)?;
    let Some(there) = there else { return Ok(false) };
    extents::release(txn, there.extents())?;
    stored::remove(txn, bucket, &object.key, &there);
    change_usage(txn, bucket, |usage| {
        usage.objects = usage.objects.saturating_sub(1);
        usage.bytes = usage.bytes.saturating_sub(there.size);
    })?;
    Ok(true)
}

pub fn no_such_key() -> Refusal {
    Refusal::not_found(Entity::Key, "the object does not exist")
}

fn check_precondition(there: Option<&Stored>, precondition: &Precondition) -> Result<(), Refusal> {
    let failed = |message: &str| Err(Refusal::new(ErrorKind::PreconditionFailed, message));
    match (precondition, there) {
        (Precondition::None, _) | (Precondition::IfNoneMatchAny, None) => Ok(()),
        (Precondition::IfNoneMatchAny, Some(_)) => failed("the object exists"),
        (Precondition::IfMatch(_), None) => Err(no_such_key()),
        (Precondition::IfMatch(etag), Some(there)) if etag == "*" || *etag == there.etag => Ok(()),
        (Precondition::IfMatch(_), Some(_)) => failed("the object has another ETag"),
    }
}

fn check_record(record: &ObjectRecord) -> Result<(), Refusal> {
    if record.size > MAX_OBJECT_BYTES {
        return Err(Refusal::invalid("the object is larger than 5 TiB"));
    }
    if record.part_sizes.len() > usize::from(MAX_PARTS) {
        return Err(Refusal::invalid("the object has too many parts"));
    }
    check_metadata(&record.headers, &record.user_metadata)?;
    check_digests(&record.etag, &record.checksums)?;
    match &record.body {
        Body::Inline(body) if body.len() > MAX_INLINE_BYTES => {
            Err(Refusal::invalid(format!("an inline body is at most {MAX_INLINE_BYTES} bytes")))
        }
        Body::Inline(body) if body.len() as u64 == record.size => Ok(()),
        Body::Inline(_) => Err(Refusal::invalid("the inline body is not as long as the object")),
        Body::Extents(extents) => check_extents(extents, record.size),
    }
}

/// Extents hold at least the object; what is over is padding.
pub fn check_extents(extents: &[Extent], size: u64) -> Result<(), Refusal> {
    if extents.len() > MAX_EXTENTS {
        return Err(Refusal::invalid(format!("more than {MAX_EXTENTS} extents")));
    }
    let total = extents.iter().try_fold(0u64, |sum, extent| sum.checked_add(extent.len));
    match total {
        Some(total) if total >= size => Ok(()),
        _ => Err(Refusal::invalid("the extents are shorter than the object")),
    }
}

pub fn check_metadata(headers: &StoredHeaders, user_metadata: &[(String, String)]) -> Result<(), Refusal> {
    let kept = [
        &headers.content_type,
        &headers.cache_control,
        &headers.content_disposition,
        &headers.content_encoding,
        &headers.content_language,
        &headers.expires,
    ];
    let headers: usize = kept.iter().filter_map(|header| header.as_ref()).map(String::len).sum();
    let user: usize = user_metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers + user > MAX_METADATA_BYTES {
        return Err(Refusal::invalid(format!("headers and metadata are at most {MAX_METADATA_BYTES} bytes")));
    }
    Ok(())
}

pub fn check_digests(etag: &str, checksums: &[Checksum]) -> Result<(), Refusal> {
    const MAX_DIGEST_BYTES: usize = 128;
    const MAX_CHECKSUMS: usize = 8;
    let long = |text: &str| text.is_empty() || text.len() > MAX_DIGEST_BYTES;
    if long(etag) || checksums.len() > MAX_CHECKSUMS || checksums.iter().any(|sum| long(&sum.value)) {
        return Err(Refusal::invalid("an ETag or checksum is empty or too long"));
    }
    Ok(())
}

pub fn change_usage(txn: &mut Txn<'_>, bucket: u64, change: impl FnOnce(&mut BucketUsage)) -> Outcome<()> {
    let mut usage = load(txn, &keys::usage(bucket))?.unwrap_or_default();
    change(&mut usage);
    Ok(txn.put(keys::usage(bucket), &usage)?)
}
