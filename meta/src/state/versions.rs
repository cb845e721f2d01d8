//! The versions of objects: which a put or a delete makes, keeps and takes away. What a bucket does with versions
//! is read in the step that asks, so no gateway has to know it.

use super::extents::{self, Owner};
use super::kv::Read;
use super::locks;
use super::objects::{bucket, check_record};
use super::quotas;
use super::sealing::{self, Use};
use super::stored::{self, EntryKind, Kept, Stored, Whole};
use super::txn::{Txn, load};
use super::{Fail, Outcome, acl, keys, names};
use crate::command::{DeleteVersion, Deletion};
use crate::error::{Entity, ErrorKind, Refusal};
use crate::limits::MAX_PAGE;
use crate::object::{
    Annotations, Body, BucketRecord, BucketVersioning, Extent, FoundVersion, ObjectLock, ObjectRecord,
    Precondition, VersionRef, VersionedObject, Versioning,
};
use crate::query::ObjectPart;
use crate::sealing::Sealing;
use std::collections::BTreeSet;

/// Bits of a slot below its millisecond: so many versions of one key fit between two.
const SLOT_BITS: u32 = 20;
/// The latest time that moves slots: the year 2248. Later ones only count down.
const MAX_SLOT_MS: u64 = (1 << 43) - 1;

pub fn of_bucket(view: &dyn Read, name: &str) -> Outcome<BucketVersioning> {
    let bucket = bucket(view, name)?;
    of(view, bucket.id)
}

/// What a bucket does with versions; nothing, unless somebody changed that.
pub fn of(view: &dyn Read, bucket: u64) -> Outcome<BucketVersioning> {
    Ok(load(view, &keys::versioning(bucket))?.unwrap_or_default())
}

pub fn configure(txn: &mut Txn<'_>, (name, id): (&str, u64), versioning: Versioning) -> Outcome<()> {
    let bucket = same_bucket(txn, name, id)?;
    let now = of(txn, bucket.id)?;
    let refuse = |message: &str| Err(Refusal::new(ErrorKind::PreconditionFailed, message).into());
    match versioning {
        Versioning::Off if now.versioning == Versioning::Off => return Ok(()),
        Versioning::Off => return refuse("a bucket that kept versions can't be one that never did"),
        Versioning::Suspended if now.lock.is_some() => {
            return refuse("the bucket has an object lock, so its versioning can't be suspended");
        }
        Versioning::Suspended | Versioning::Enabled => {}
    }
    Ok(txn.put(keys::versioning(bucket.id), &BucketVersioning { versioning, ..now })?)
}

/// Gives a new bucket an object lock.
pub fn lock_new(txn: &mut Txn<'_>, bucket: &BucketRecord) -> Outcome<()> {
    let locked =
        BucketVersioning { versioning: Versioning::Enabled, lock: Some(ObjectLock { default: None }) };
    Ok(txn.put(keys::versioning(bucket.id), &locked)?)
}

/// The bucket of this name, if it is still the one with this id.
pub fn same_bucket(view: &dyn Read, name: &str, id: u64) -> Outcome<BucketRecord> {
    let bucket = bucket(view, name)?;
    if bucket.id != id {
        let message = "the bucket that was meant is gone, and another has its name";
        return Err(Refusal::not_found(Entity::Bucket, message).into());
    }
    Ok(bucket)
}

/// When a command was made, and its random number.
pub type Stamp = (u64, u64);

/// An object on its way into a bucket.
pub struct NewObject<'a> {
    pub record: ObjectRecord,
    pub annotations: Annotations,
    pub precondition: &'a Precondition,
    /// Extents of the record that somebody else owned until now: the parts of an upload.
    pub handed_over: BTreeSet<Extent>,
    /// As in a [`VersionedObject`].
    pub part_checksums: Vec<String>,
    pub sealing: Option<Sealing>,
}

impl<'a> NewObject<'a> {
    /// Of one that is put as a whole.
    pub fn whole(
        (record, sealing): (ObjectRecord, Option<Sealing>),
        annotations: Annotations,
        precondition: &'a Precondition,
    ) -> Self {
        let (handed_over, part_checksums) = (BTreeSet::new(), Vec::new());
        Self { record, annotations, precondition, handed_over, part_checksums, sealing }
    }
}

pub fn put(
    txn: &mut Txn<'_>,
    (bucket_name, key): (&str, &str),
    new: NewObject<'_>,
    stamp: Stamp,
) -> Outcome<Option<VersionRef>> {
    let bucket = bucket(txn, bucket_name)?;
    names::key(key)?;
    check_record(&new.record, new.sealing.as_ref())?;
    locks::check_new(&of(txn, bucket.id)?, &new.annotations, stamp.0)?;
    acl::check_of_object(txn, &bucket, new.annotations.acl.as_ref())?;
    let held = quotas::held(txn, bucket.id)?;
    let version = insert(txn, bucket.id, key, new, stamp)?;
    held.check(txn, (bucket_name, bucket.id))?;
    Ok(version)
}

/// What versions make of a change to a name.
struct Place {
    /// What was the newest so far, if it isn't known to be what gives way: where there never were versions.
    newest: Option<Stored>,
    /// What gives way.
    displaced: Option<Stored>,
    versioning: Versioning,
}

impl Place {
    fn find(txn: &Txn<'_>, bucket: u64, key: &str, versioning: Versioning) -> Outcome<Self> {
        let (newest, displaced) = match versioning {
            Versioning::Off => (None, stored::only(txn, bucket, key)?),
            Versioning::Suspended => (stored::newest(txn, bucket, key)?, stored::null(txn, bucket, key)?),
            Versioning::Enabled => (stored::newest(txn, bucket, key)?, None),
        };
        Ok(Self { newest, displaced, versioning })
    }

    fn current(&self) -> Option<&Stored> {
        let newest = match self.versioning {
            Versioning::Off => &self.displaced,
            Versioning::Suspended | Versioning::Enabled => &self.newest,
        };
        newest.as_ref().filter(|newest| !newest.kind.is_marker())
    }

    /// The slot of what takes the place. A name that has nothing else is as in a bucket without versioning.
    fn slot(&self, txn: &Txn<'_>, bucket: u64, key: &str, now_ms: u64) -> Outcome<u64> {
        let last = match self.versioning {
            Versioning::Off => return Ok(keys::PLAIN_SLOT),
            Versioning::Suspended => match stored::newest(txn, bucket, key)? {
                None => return Ok(keys::PLAIN_SLOT),
                Some(newest) => Some(newest.slot),
            },
            Versioning::Enabled => self.newest.as_ref().map(|newest| newest.slot),
        };
        let by_time = (keys::PLAIN_SLOT - 1) - (now_ms.min(MAX_SLOT_MS) << SLOT_BITS);
        match last {
            Some(last) if by_time >= last => {
                let full = || Refusal::invalid("the key has had too many versions");
                Ok(last.checked_sub(1).ok_or_else(full)?)
            }
            _ => Ok(by_time),
        }
    }
}

/// Puts an object under a name. Its extents are new, or of the entry it displaces, or handed over.
pub fn insert(
    txn: &mut Txn<'_>,
    bucket: u64,
    key: &str,
    new: NewObject<'_>,
    (now_ms, nonce): Stamp,
) -> Outcome<Option<VersionRef>> {
    let config = of(txn, bucket)?;
    let place = Place::find(txn, bucket, key, config.versioning)?;
    check_precondition(place.current(), new.precondition)?;
    let annotations = locks::of_new(&config, new.annotations, now_ms);
    let displaced = place.displaced.as_ref().map_or(&[][..], Stored::extents);
    let kept = match &new.record.body {
        Body::Extents(extents) => check_extents(displaced, extents)?,
        Body::Inline(_) => BTreeSet::new(),
    };
    if let Some(old) = &place.displaced {
        locks::check_deletion(old, now_ms, locks::Bypass::No)?;
        let gone: Vec<Extent> =
            old.extents().iter().filter(|extent| !kept.contains(extent)).copied().collect();
        extents::release(txn, &gone)?;
        sealing::count(txn, old.sealing.as_ref(), Use::Ends)?;
        stored::remove(txn, bucket, key, old);
    }
    let slot = place.slot(txn, bucket, key, now_ms)?;
    let kind = match config.versioning {
        Versioning::Enabled => EntryKind::Version { nonce },
        Versioning::Off | Versioning::Suspended => EntryKind::Object,
    };
    if let Body::Extents(extents) = &new.record.body {
        let owner = Owner::of_object(bucket, key, slot);
        let moves = place.displaced.as_ref().is_some_and(|old| old.slot != slot);
        for extent in extents {
            if new.handed_over.contains(extent) || (kept.contains(extent) && moves) {
                extents::own(txn, extent, &owner)?;
            } else if !kept.contains(extent) {
                extents::claim(txn, std::slice::from_ref(extent), &owner)?;
            }
        }
    }
    let (size, freed) = (new.record.size, place.displaced);
    sealing::count(txn, new.sealing.as_ref(), Use::Begins)?;
    let NewObject { record, part_checksums, sealing, .. } = new;
    let kept = Kept { record, annotations, part_checksums, sealing };
    stored::store(txn, bucket, key, (slot, kind), kept)?;
    quotas::change(txn, bucket, |usage| {
        count_removed(usage, freed.as_ref());
        usage.objects += 1;
        usage.bytes += size;
    })?;
    Ok(shown(&config, kind.named(slot)))
}

/// Those of a new body's extents that the displaced entry owns.
fn check_extents(displaced: &[Extent], new: &[Extent]) -> Result<BTreeSet<Extent>, Refusal> {
    let mut used = BTreeSet::new();
    for extent in new {
        if !used.insert(*extent) {
            return Err(Refusal::invalid(format!("{extent:?} is named twice")));
        }
    }
    Ok(displaced.iter().filter(|extent| used.contains(extent)).copied().collect())
}

pub fn count_removed(usage: &mut crate::object::BucketUsage, removed: Option<&Stored>) {
    if let Some(removed) = removed.filter(|removed| !removed.kind.is_marker()) {
        usage.objects = usage.objects.saturating_sub(1);
        usage.bytes = usage.bytes.saturating_sub(removed.size);
    }
}

/// Versions are not spoken of where there never were any.
fn shown(config: &BucketVersioning, version: VersionRef) -> Option<VersionRef> {
    (config.versioning != Versioning::Off).then_some(version)
}

pub fn delete_many(
    txn: &mut Txn<'_>,
    bucket_name: &str,
    objects: &[DeleteVersion],
    now_ms: u64,
) -> Outcome<Vec<Result<Deletion, Refusal>>> {
    let bucket = bucket(txn, bucket_name)?;
    if objects.len() > MAX_PAGE as usize {
        return Err(Refusal::invalid(format!("at most {MAX_PAGE} objects can be deleted at once")).into());
    }
    let config = of(txn, bucket.id)?;
    let mut results = Vec::with_capacity(objects.len());
    for object in objects {
        // One that is refused has changed nothing: its checks come before its changes.
        match delete_one(txn, bucket.id, &config, object, now_ms) {
            Ok(deletion) => results.push(Ok(deletion)),
            Err(Fail::Refused(refusal)) => results.push(Err(refusal)),
            Err(broken) => return Err(broken),
        }
    }
    Ok(results)
}

pub fn delete_one(
    txn: &mut Txn<'_>,
    bucket: u64,
    config: &BucketVersioning,
    object: &DeleteVersion,
    now_ms: u64,
) -> Outcome<Deletion> {
    let key = object.key.as_str();
    names::key(key)?;
    let bypass = if object.bypass_governance { locks::Bypass::Governance } else { locks::Bypass::No };
    if let Some(version) = object.version {
        let there = stored::find(txn, bucket, key, Some(version))?;
        check_precondition(there.as_ref().filter(|there| !there.kind.is_marker()), &object.precondition)?;
        let Some(there) = there else {
            return Ok(Deletion { existed: false, version: Some(version), marker: false });
        };
        locks::check_deletion(&there, now_ms, bypass)?;
        take_away(txn, bucket, key, &there)?;
        return Ok(Deletion { existed: true, version: Some(version), marker: there.kind.is_marker() });
    }
    let place = Place::find(txn, bucket, key, config.versioning)?;
    check_precondition(place.current(), &object.precondition)?;
    let existed = place.current().is_some();
    if let Some(old) = &place.displaced {
        locks::check_deletion(old, now_ms, bypass)?;
    }
    let kind = match config.versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some(EntryKind::DeleteMarker { nonce: object.nonce }),
        Versioning::Suspended => Some(EntryKind::NullDeleteMarker),
    };
    if let Some(old) = &place.displaced {
        take_away(txn, bucket, key, old)?;
    }
    let Some(kind) = kind else { return Ok(Deletion { existed, version: None, marker: false }) };
    let slot = place.slot(txn, bucket, key, now_ms)?;
    stored::store_marker(txn, bucket, key, (slot, kind), now_ms)?;
    Ok(Deletion { existed, version: Some(kind.named(slot)), marker: true })
}

fn take_away(txn: &mut Txn<'_>, bucket: u64, key: &str, stored: &Stored) -> Outcome<()> {
    extents::release(txn, stored.extents())?;
    sealing::count(txn, stored.sealing.as_ref(), Use::Ends)?;
    stored::remove(txn, bucket, key, stored);
    if stored.kind.is_marker() {
        return Ok(());
    }
    quotas::change(txn, bucket, |usage| count_removed(usage, Some(stored)))
}

/// What a request for an object, or for one of its versions, leads to.
pub fn read(
    view: &dyn Read,
    bucket_name: &str,
    (key, version): (&str, Option<VersionRef>),
    part: ObjectPart,
) -> Outcome<FoundVersion> {
    let bucket = bucket(view, bucket_name)?;
    let config = of(view, bucket.id)?;
    let find = || match (version, config.versioning) {
        (None, Versioning::Off) => stored::only(view, bucket.id, key),
        _ => stored::find(view, bucket.id, key, version),
    };
    match stored::load_whole(view, (bucket.id, key), find, part)? {
        Some(Whole::Object(named, kept)) => {
            let version = shown(&config, named);
            let Kept { record, annotations, part_checksums, sealing } = *kept;
            let found = VersionedObject { record, version, annotations, part_checksums, sealing };
            Ok(FoundVersion::Object(Box::new(found)))
        }
        Some(Whole::DeleteMarker(version, last_modified_ms)) => {
            Ok(FoundVersion::DeleteMarker { version, last_modified_ms })
        }
        None => Err(missing(version).into()),
    }
}

pub fn missing(version: Option<VersionRef>) -> Refusal {
    match version {
        None => no_such_key(),
        Some(_) => Refusal::not_found(Entity::Version, "the version does not exist"),
    }
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

#[cfg(test)]
#[path = "versions_test.rs"]
mod tests;
