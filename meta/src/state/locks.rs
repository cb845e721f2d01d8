//! Tags, retention and legal holds. Whether a version may be deleted is decided here, in the step that deletes it
//! and by that step's time: no gateway's memory, and no clock of its own, has a say.

use super::kv::Read;
use super::stored::{self, Stored};
use super::txn::Txn;
use super::versions::{missing, of, same_bucket};
use super::{Outcome, acl, keys, objects};
use crate::command::Annotate;
use crate::error::{Entity, ErrorKind, Refusal};
use crate::limits::{MAX_RETENTION_DAYS, MAX_TAG_NAME_CHARS, MAX_TAG_VALUE_CHARS, MAX_TAGS};
use crate::object::{
    Annotations, BucketVersioning, DefaultRetention, ObjectLock, Retention, RetentionMode, RetentionPeriod,
    VersionRef, Versioning,
};
use std::collections::BTreeSet;

const DAY_MS: u64 = 24 * 3_600_000;
const DAYS_A_YEAR: u32 = 365;

/// What a request may get past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bypass {
    No,
    Governance,
}

/// Refuses to take away a version that is locked.
pub fn check_deletion(stored: &Stored, now_ms: u64, bypass: Bypass) -> Result<(), Refusal> {
    if stored.annotations.legal_hold == Some(true) {
        return Err(locked("the version is under a legal hold"));
    }
    match stored.annotations.retention.filter(|retention| retention.until_ms > now_ms) {
        Some(Retention { mode: RetentionMode::Compliance, .. }) => Err(locked("the version is retained")),
        Some(_) if bypass == Bypass::No => Err(locked("the version is retained by governance")),
        _ => Ok(()),
    }
}

fn locked(message: &str) -> Refusal {
    Refusal::new(ErrorKind::InUse(Entity::Version), message)
}

/// Checks what a request wants of a new object.
pub fn check_new(config: &BucketVersioning, asked: &Annotations, now_ms: u64) -> Result<(), Refusal> {
    check_tags(&asked.tags)?;
    if config.lock.is_none() && (asked.retention.is_some() || asked.legal_hold.is_some()) {
        return Err(unlocked_bucket());
    }
    asked.retention.map_or(Ok(()), |retention| check_future(retention, now_ms))
}

/// The annotations of a new object, with the bucket's default retention unless it has its own.
pub fn of_new(config: &BucketVersioning, asked: Annotations, now_ms: u64) -> Annotations {
    let default = config.lock.and_then(|lock| lock.default);
    let retention = asked.retention.or_else(|| default.map(|default| from_default(default, now_ms)));
    Annotations { retention, ..asked }
}

fn unlocked_bucket() -> Refusal {
    Refusal::invalid("Bucket is missing Object Lock Configuration")
}

fn check_future(retention: Retention, now_ms: u64) -> Result<(), Refusal> {
    if retention.until_ms > now_ms {
        return Ok(());
    }
    Err(Refusal::invalid("The retain until date must be in the future!"))
}

fn from_default(default: DefaultRetention, now_ms: u64) -> Retention {
    let until_ms = now_ms.saturating_add(u64::from(days_of(default.period)) * DAY_MS);
    Retention { mode: default.mode, until_ms }
}

fn days_of(period: RetentionPeriod) -> u32 {
    match period {
        RetentionPeriod::Days(days) => days,
        RetentionPeriod::Years(years) => years.saturating_mul(DAYS_A_YEAR),
    }
}

/// At most ten tags, no name twice.
pub fn check_tags(tags: &[(String, String)]) -> Result<(), Refusal> {
    let names: BTreeSet<&str> = tags.iter().map(|(name, _)| name.as_str()).collect();
    let fits = |(name, value): &(String, String)| {
        (1..=MAX_TAG_NAME_CHARS).contains(&name.chars().count())
            && value.chars().count() <= MAX_TAG_VALUE_CHARS
    };
    if tags.len() > MAX_TAGS || names.len() != tags.len() || !tags.iter().all(fits) {
        return Err(Refusal::invalid(format!(
            "an object has at most {MAX_TAGS} tags, of 1 to {MAX_TAG_NAME_CHARS} and at most \
             {MAX_TAG_VALUE_CHARS} characters, and no name twice"
        )));
    }
    Ok(())
}

/// Gives a bucket an object lock, or changes its default.
pub fn configure(
    txn: &mut Txn<'_>,
    (name, id): (&str, u64),
    default: Option<DefaultRetention>,
) -> Outcome<()> {
    let bucket = same_bucket(txn, name, id)?;
    let now = of(txn, bucket.id)?;
    if now.versioning != Versioning::Enabled {
        let message = "versioning must be enabled on the bucket before it can have an object lock";
        return Err(Refusal::new(ErrorKind::PreconditionFailed, message).into());
    }
    if default.is_some_and(|default| !(1..=MAX_RETENTION_DAYS).contains(&days_of(default.period))) {
        let message = format!("a default retention is 1 to {MAX_RETENTION_DAYS} days");
        return Err(Refusal::invalid(message).into());
    }
    Ok(txn
        .put(keys::versioning(bucket.id), &BucketVersioning { lock: Some(ObjectLock { default }), ..now })?)
}

/// Changes what can be changed of a version; says which that was.
pub fn annotate(
    txn: &mut Txn<'_>,
    bucket_name: &str,
    (key, version): (&str, Option<VersionRef>),
    change: Annotate,
    now_ms: u64,
) -> Outcome<Option<VersionRef>> {
    let bucket = objects::bucket(txn, bucket_name)?;
    let config = of(txn, bucket.id)?;
    let mut stored = existing(txn, bucket.id, (key, version))?;
    match change {
        Annotate::Tags(tags) => {
            check_tags(&tags)?;
            stored.annotations.tags = tags;
        }
        Annotate::Retention { .. } | Annotate::LegalHold(_) if config.lock.is_none() => {
            return Err(unlocked_bucket().into());
        }
        Annotate::Retention { retention, bypass_governance } => {
            let bypass = if bypass_governance { Bypass::Governance } else { Bypass::No };
            check_change(stored.annotations.retention, retention, now_ms, bypass)?;
            stored.annotations.retention = retention;
        }
        Annotate::LegalHold(held) => stored.annotations.legal_hold = Some(held),
        Annotate::Acl { seen, grants } => {
            let acl = acl::changed(stored.annotations.acl.take(), seen.as_ref(), grants)?;
            acl::check_of_object(txn, &bucket, acl.as_ref())?;
            stored.annotations.acl = acl;
        }
    }
    stored::put(txn, bucket.id, key, &stored)?;
    Ok((config.versioning != Versioning::Off).then(|| stored.named()))
}

/// The object that is to be changed.
fn existing(view: &dyn Read, bucket: u64, (key, version): (&str, Option<VersionRef>)) -> Outcome<Stored> {
    let stored = stored::find(view, bucket, key, version)?.ok_or_else(|| missing(version))?;
    match (stored.kind.is_marker(), version) {
        (false, _) => Ok(stored),
        (true, None) => Err(missing(None).into()),
        (true, Some(_)) => {
            let message = "the version is a delete marker";
            Err(Refusal::new(ErrorKind::Exists(Entity::DeleteMarker), message).into())
        }
    }
}

/// A retention that holds can be made longer; anything else is loosening it, even what sounds stricter, since
/// that is what the permission to bypass is for.
fn check_change(
    old: Option<Retention>,
    new: Option<Retention>,
    now_ms: u64,
    bypass: Bypass,
) -> Result<(), Refusal> {
    if let Some(new) = new {
        check_future(new, now_ms)?;
    }
    let Some(old) = old.filter(|old| old.until_ms > now_ms) else { return Ok(()) };
    if new.is_some_and(|new| new.mode == old.mode && new.until_ms >= old.until_ms) {
        return Ok(());
    }
    match (old.mode, bypass) {
        (RetentionMode::Governance, Bypass::Governance) => Ok(()),
        (RetentionMode::Governance, Bypass::No) => Err(locked("the version is retained by governance")),
        (RetentionMode::Compliance, _) => Err(locked("the version is retained")),
    }
}

#[cfg(test)]
#[path = "locks_test.rs"]
mod tests;
