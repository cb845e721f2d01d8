//! Buckets, what may be put into them, and their usage.

use super::kv::{Read, Step};
use super::pool::next_number;
use super::txn::{Txn, load};
use super::versions::{self, NewObject};
use super::{Outcome, keys, names, quotas, sealing};
use crate::command::{DeleteObject, DeleteVersion};
use crate::error::{Entity, ErrorKind, MetaError, Refusal};
use crate::limits::{
    MAX_EXTENTS, MAX_INLINE_BYTES, MAX_METADATA_BYTES, MAX_OBJECT_BYTES, MAX_PARTS, MAX_SEAL_OVERHEAD_BYTES,
};
use crate::object::{
    Annotations, BlockPublicAccess, Body, BucketRecord, Checksum, Extent, ObjectOwnership, ObjectRecord,
    Precondition, StoredHeaders, Versioning,
};
use crate::sealing::Sealing;

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
    quotas::begin(txn, &record)?;
    Ok(record)
}

pub fn delete_bucket(txn: &mut Txn<'_>, name: &str) -> Outcome<()> {
    let bucket = bucket(txn, name)?;
    for (table, what) in
        [(keys::Named::Objects, "objects or versions of them"), (keys::Named::Uploads, "unfinished uploads")]
    {
        if has_any(txn, &table.prefix(bucket.id, ""))? {
            let message = format!("bucket '{name}' has {what}; delete them first");
            return Err(Refusal::new(ErrorKind::InUse(Entity::Bucket), message).into());
        }
    }
    quotas::end(txn, bucket.id)?;
    txn.delete(keys::bucket(name));
    for settings in [keys::access(bucket.id), keys::bound(bucket.id), keys::versioning(bucket.id)] {
        if txn.get(&settings)?.is_some() {
            txn.delete(settings);
        }
    }
    super::settings::delete_all(txn, &bucket)
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

/// A put as logs of earlier builds have it. Whoever proposes it today doesn't know of versions, and would take
/// one away.
pub fn put(
    txn: &mut Txn<'_>,
    (bucket_name, key): (&str, &str),
    record: ObjectRecord,
    precondition: &Precondition,
) -> Outcome<()> {
    refuse_versions(txn, bucket_name)?;
    let new = NewObject::whole((record, None), Annotations::default(), precondition);
    versions::put(txn, (bucket_name, key), new, (0, 0)).map(|_| ())
}

pub fn delete_many(
    txn: &mut Txn<'_>,
    bucket_name: &str,
    objects: &[DeleteObject],
) -> Outcome<Vec<Result<bool, Refusal>>> {
    refuse_versions(txn, bucket_name)?;
    let plain = |object: &DeleteObject| {
        let (key, precondition) = (object.key.clone(), object.precondition.clone());
        DeleteVersion { key, version: None, precondition, bypass_governance: false, nonce: 0 }
    };
    let objects: Vec<DeleteVersion> = objects.iter().map(plain).collect();
    let deleted = versions::delete_many(txn, bucket_name, &objects, 0)?;
    Ok(deleted.into_iter().map(|result| result.map(|deletion| deletion.existed)).collect())
}

pub fn refuse_versions(view: &dyn Read, bucket_name: &str) -> Outcome<()> {
    match versions::of_bucket(view, bucket_name)?.versioning {
        Versioning::Off => Ok(()),
        Versioning::Enabled | Versioning::Suspended => {
            Err(Refusal::invalid("the bucket keeps versions, which this command does not know").into())
        }
    }
}

/// What is sealed is a little longer than the object, and nothing else is.
pub fn check_record(record: &ObjectRecord, sealing: Option<&Sealing>) -> Result<(), Refusal> {
    if record.size > MAX_OBJECT_BYTES {
        return Err(Refusal::invalid("the object is larger than 5 TiB"));
    }
    if record.part_sizes.len() > usize::from(MAX_PARTS) {
        return Err(Refusal::invalid("the object has too many parts"));
    }
    check_metadata(&record.headers, &record.user_metadata)?;
    check_digests(&record.etag, &record.checksums)?;
    if let Some(sealing) = sealing {
        sealing::check(sealing)?;
    }
    let over = if sealing.is_some() { MAX_SEAL_OVERHEAD_BYTES } else { 0 };
    match &record.body {
        Body::Inline(body) if body.len() > MAX_INLINE_BYTES + over => {
            Err(Refusal::invalid(format!("an inline body is at most {MAX_INLINE_BYTES} bytes")))
        }
        Body::Inline(body) if (record.size..=record.size + over as u64).contains(&(body.len() as u64)) => {
            Ok(())
        }
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
