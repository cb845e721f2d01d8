//! Taking away what a bucket's rules say has expired, and who is at work on that.
//!
//! Whether something has expired is judged by a gateway, which looked at it some time before. So each step here names
//! what was looked at, and what is not so any more is left alone: nothing is lost that was put, tagged or locked since.

use super::kv::{Read, Step};
use super::stored::{self, Stored};
use super::txn::{Txn, load};
use super::versions::{self, delete_one, same_bucket};
use super::{Fail, Outcome, events, keys, objects, uploads};
use crate::command::DeleteVersion;
use crate::error::{Entity, ErrorKind, MetaError, Refusal};
use crate::lifecycle::{
    Cover, ExpirablePage, ExpirableVersion, Expiring, Expiry, LifecycleProgress, LifecycleRecord,
    LifecycleStage, ListExpirable, SeenVersion,
};
use crate::limits::{LIFECYCLE_LEASE_MS, MAX_KEY_BYTES, MAX_LABEL_BYTES, MAX_NEWER_VERSIONS, MAX_PAGE};
use crate::object::{BucketRecord, BucketVersioning, Precondition, VersionRef};
use crate::setting::SettingKind;
use keys::Named;
use proto::checksum::crc32;

pub fn read(view: &dyn Read) -> Outcome<LifecycleRecord> {
    Ok(load(view, &keys::lifecycle())?.unwrap_or_default())
}

/// Gives the work to who asks, unless another holds it; keeps the progress of who held it already.
pub fn keep(
    txn: &mut Txn<'_>,
    worker: u64,
    progress: Option<LifecycleProgress>,
    now_ms: u64,
) -> Outcome<LifecycleRecord> {
    if let Some(mark) = progress.as_ref().and_then(|progress| progress.mark.as_ref()) {
        let key_bytes = match &mark.stage {
            LifecycleStage::Versions { after_key: Some(key) } => key.len(),
            LifecycleStage::Versions { after_key: None } | LifecycleStage::Uploads => 0,
        };
        if mark.bucket.len() > MAX_LABEL_BYTES || key_bytes > MAX_KEY_BYTES {
            return Err(Refusal::invalid("no bucket or key has so long a name").into());
        }
    }
    let kept = read(txn)?;
    // A time further ahead than any is set to was set before the clock was put back.
    let holds = kept.until_ms > now_ms && kept.until_ms <= now_ms.saturating_add(LIFECYCLE_LEASE_MS);
    if kept.worker != worker && holds {
        return Ok(kept);
    }
    let progress = match progress {
        Some(progress) if kept.worker == worker => progress,
        _ => kept.progress,
    };
    let record = LifecycleRecord { worker, until_ms: now_ms.saturating_add(LIFECYCLE_LEASE_MS), progress };
    txn.put(keys::lifecycle(), &record)?;
    Ok(record)
}

/// A page of all versions of all keys with a prefix.
pub fn list(view: &dyn Read, list: &ListExpirable) -> Outcome<ExpirablePage> {
    let bucket = objects::bucket(view, &list.bucket)?;
    if list.prefix.len() > MAX_KEY_BYTES {
        return Err(Refusal::invalid("the prefix is too long").into());
    }
    let within = Named::Objects.prefix(bucket.id, &list.prefix);
    let start = match &list.after {
        Some((key, Some(slot))) => keys::successor(keys::object(bucket.id, key, *slot)),
        Some((key, None)) => Named::Objects.past(bucket.id, key),
        None => within.clone(),
    };
    let limit = list.limit.clamp(1, MAX_PAGE) as usize;
    let (mut page, mut failed) = (ExpirablePage::default(), None);
    view.scan(&start.max(within.clone()), &mut |key, value| {
        if !key.starts_with(&within) {
            return Step::Stop;
        }
        if page.versions.len() == limit {
            page.more = true;
            return Step::Stop;
        }
        match expirable(key, value) {
            Ok(version) => page.versions.push(version),
            Err(error) => {
                failed = Some(error);
                return Step::Stop;
            }
        }
        Step::Next
    })?;
    failed.map_or(Ok(page), |error| Err(error.into()))
}

fn expirable(key: &[u8], value: &[u8]) -> Result<ExpirableVersion, MetaError> {
    let corrupt = || MetaError::new(ErrorKind::Corrupt, "a key of the index can't be read");
    let name = Named::name(key).ok_or_else(corrupt)?;
    let slot = keys::slot_of(key).ok_or_else(corrupt)?;
    let stored = Stored::decode(slot, value)?;
    let held = (stored.annotations.legal_hold == Some(true)).then_some(u64::MAX);
    let retained = stored.annotations.retention.map(|retention| retention.until_ms);
    Ok(ExpirableVersion { key: name, slot, locked_until_ms: held.max(retained), seen: seen(stored) })
}

fn seen(stored: Stored) -> SeenVersion {
    SeenVersion {
        version: stored.named(),
        marker: stored.kind.is_marker(),
        size: stored.size,
        etag: stored.etag,
        last_modified_ms: stored.last_modified_ms,
        tags: stored.annotations.tags,
    }
}

/// Takes away what is still as it was seen. Refused as a whole if the rules are others.
pub fn expire(
    txn: &mut Txn<'_>,
    (name, id): (&str, u64),
    rules_crc: u32,
    things: Vec<Expiry>,
    now_ms: u64,
) -> Outcome<Vec<Result<bool, Refusal>>> {
    let bucket = same_bucket(txn, name, id)?;
    if things.len() > MAX_PAGE as usize {
        return Err(Refusal::invalid(format!("at most {MAX_PAGE} things can expire at once")).into());
    }
    let rules: Option<String> = load(txn, &keys::setting(id, SettingKind::Lifecycle))?;
    if rules.map(|rules| crc32(rules.as_bytes())) != Some(rules_crc) {
        let message = "the bucket's lifecycle rules have changed";
        return Err(Refusal::new(ErrorKind::PreconditionFailed, message).into());
    }
    let config = versions::of(txn, id)?;
    let mut results = Vec::with_capacity(things.len());
    for thing in things {
        // One that is refused has changed nothing: its checks come before its changes.
        match expire_one(txn, &bucket, &config, thing, now_ms) {
            Ok(gone) => results.push(Ok(gone)),
            Err(Fail::Refused(refusal)) => results.push(Err(refusal)),
            Err(broken) => return Err(broken),
        }
    }
    Ok(results)
}

fn expire_one(
    txn: &mut Txn<'_>,
    in_bucket: &BucketRecord,
    config: &BucketVersioning,
    thing: Expiry,
    now_ms: u64,
) -> Outcome<bool> {
    let (name, bucket) = (in_bucket.name.as_str(), in_bucket.id);
    let key = thing.key;
    let (version, nonce) = match thing.what {
        Expiring::Upload { upload } => {
            return match uploads::abort(txn, (name, &key, upload)) {
                Ok(()) => Ok(true),
                Err(Fail::Refused(refusal)) if refusal.kind == ErrorKind::NotFound(Entity::Upload) => {
                    Ok(false)
                }
                Err(other) => Err(other),
            };
        }
        Expiring::Current { seen, nonce } => {
            let Some(slot) = unchanged(txn, bucket, &key, &seen)? else { return Ok(false) };
            if seen.marker || has_newer(txn, bucket, (&key, slot), 0)? {
                return Ok(false);
            }
            (None, nonce)
        }
        Expiring::Noncurrent { seen, under, newer: least } => {
            let Some(slot) = unchanged(txn, bucket, &key, &seen)? else { return Ok(false) };
            let at = (key.as_str(), slot);
            if !is_under(txn, bucket, at, under)? || !has_newer(txn, bucket, at, least)? {
                return Ok(false);
            }
            (Some(seen.version), 0)
        }
        Expiring::LoneMarker { seen } => {
            let there = unchanged(txn, bucket, &key, &seen)?;
            if there.is_none() || !seen.marker || !is_alone(txn, bucket, &key)? {
                return Ok(false);
            }
            (Some(seen.version), 0)
        }
    };
    let doomed = delete(key, version, nonce);
    let deletion = delete_one(txn, bucket, config, &doomed, now_ms)?;
    events::expired(txn, in_bucket, &doomed, deletion, now_ms)?;
    Ok(deletion.existed)
}

/// Nobody's permission to bypass a lock is used.
fn delete(key: String, version: Option<VersionRef>, nonce: u64) -> DeleteVersion {
    DeleteVersion { key, version, precondition: Precondition::None, bypass_governance: false, nonce }
}

/// The slot of what was seen, if it is there and all that rules look at is as it was.
fn unchanged(view: &dyn Read, bucket: u64, key: &str, was: &SeenVersion) -> Outcome<Option<u64>> {
    let there = stored::find(view, bucket, key, Some(was.version))?;
    Ok(there.map(|there| (there.slot, seen(there))).filter(|(_, now)| now == was).map(|(slot, _)| slot))
}

/// Whether what covered a slot still does.
fn is_under(view: &dyn Read, bucket: u64, (key, slot): (&str, u64), under: Cover) -> Outcome<bool> {
    let cover = stored::find(view, bucket, key, Some(under.version))?;
    Ok(cover.is_some_and(|cover| cover.slot < slot && cover.last_modified_ms == under.last_modified_ms))
}

/// Whether there are at least `least` versions above this slot but the newest.
fn has_newer(view: &dyn Read, bucket: u64, (key, slot): (&str, u64), least: u32) -> Outcome<bool> {
    if least > MAX_NEWER_VERSIONS {
        return Err(Refusal::invalid(format!("at most {MAX_NEWER_VERSIONS} versions are kept")).into());
    }
    let within = keys::versions(bucket, key);
    let mut above = 0;
    view.scan(&within, &mut |found, _| {
        let is_above = found.starts_with(&within) && keys::slot_of(found).is_some_and(|found| found < slot);
        above += u32::from(is_above);
        if is_above && above <= least { Step::Next } else { Step::Stop }
    })?;
    // The newest is one of them.
    Ok(above > least)
}

fn is_alone(view: &dyn Read, bucket: u64, key: &str) -> Outcome<bool> {
    let within = keys::versions(bucket, key);
    let mut count = 0;
    view.scan(&within, &mut |found, _| {
        count += u32::from(found.starts_with(&within));
        if found.starts_with(&within) && count < 2 { Step::Next } else { Step::Stop }
    })?;
    Ok(count == 1)
}

#[cfg(test)]
#[path = "lifecycle_test.rs"]
mod tests;
