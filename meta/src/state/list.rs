//! Listings: a page of names in order, with those that share a prefix up to a delimiter rolled up. A rolled
//! up prefix costs one seek, however many names are under it.

use super::kv::{Read, Step};
use super::objects::bucket;
use super::stored;
use super::txn::{decode, load};
use super::uploads::{At, find};
use super::{Outcome, keys};
use crate::error::{ErrorKind, MetaError, Refusal};
use crate::limits::{MAX_DELIMITER_BYTES, MAX_KEY_BYTES, MAX_PAGE, MAX_SKIPPED_NAMES};
use crate::object::{BucketRecord, PartRecord, UploadId, UploadRecord, VersionId, VersionRef};
use crate::query::{
    BucketPage, ListObjects, ListUploads, ListVersions, ListedObject, ListedVersion, ObjectPage, PartPage,
    UploadPage, VersionPage,
};
use keys::Named;

pub fn objects(view: &dyn Read, list: &ListObjects) -> Outcome<ObjectPage> {
    let bucket = bucket(view, &list.bucket)?;
    let walk = Walk::new(Walked::Objects, bucket.id, &list.prefix, list.delimiter.as_deref(), list.limit)?;
    let mut page = ObjectPage::default();
    let start = walk.start(list.after.as_deref());
    let end = walk.run(view, start, &mut |found| {
        match found {
            Found::Prefix(prefix) => page.common_prefixes.push(prefix),
            Found::Name(key, _, value) => {
                let (head, checksum) = stored::listed(value)?;
                let (size, etag) = (head.size, head.etag.to_owned());
                let last_modified_ms = head.last_modified_ms;
                page.objects.push(ListedObject { key, size, etag, last_modified_ms, checksum });
            }
        }
        Ok(())
    })?;
    page.next = match end {
        End::All => None,
        End::Full => {
            let key = page.objects.last().map(|object| &object.key);
            key.max(page.common_prefixes.last()).cloned()
        }
        End::At(name) => Some(name),
    };
    Ok(page)
}

pub fn uploads(view: &dyn Read, list: &ListUploads) -> Outcome<UploadPage> {
    let bucket = bucket(view, &list.bucket)?;
    let walk = Walk::new(Walked::Uploads, bucket.id, &list.prefix, list.delimiter.as_deref(), list.limit)?;
    let start = match (&list.after_key, list.after_upload) {
        (Some(key), Some(id)) if key.starts_with(&list.prefix) => {
            keys::successor(keys::upload(bucket.id, key, id))
        }
        (after, _) => walk.start(after.as_deref()),
    };
    let mut page = UploadPage::default();
    let end = walk.run(view, start, &mut |found| {
        match found {
            Found::Prefix(prefix) => page.common_prefixes.push(prefix),
            Found::Name(_, _, value) => page.uploads.push(decode(value)?),
        }
        Ok(())
    })?;
    if end != End::All {
        let upload = page.uploads.last().map(|upload: &UploadRecord| (&upload.key, Some(upload.id)));
        let prefix = page.common_prefixes.last().map(|prefix| (prefix, None::<UploadId>));
        page.next = upload.max(prefix).map(|(key, id)| (key.clone(), id));
    }
    Ok(page)
}

pub fn versions(view: &dyn Read, list: &ListVersions) -> Outcome<VersionPage> {
    let bucket = bucket(view, &list.bucket)?;
    let walk = Walk::new(Walked::Versions, bucket.id, &list.prefix, list.delimiter.as_deref(), list.limit)?;
    let mut page = VersionPage::default();
    let (start, mut newest) = match (list.after_key.as_deref(), list.after_version) {
        (Some(key), Some(version)) if key.starts_with(&list.prefix) => {
            let newest = stored::newest(view, bucket.id, key)?.map(|newest| (key.to_owned(), newest.slot));
            (walk.start_within(view, key, version)?, newest)
        }
        (after, _) => (walk.start(after), None),
    };
    let mut last = None;
    let end = walk.run(view, start, &mut |found| {
        let (key, slot, value) = match found {
            Found::Prefix(prefix) => {
                page.common_prefixes.push(prefix);
                return Ok(());
            }
            Found::Name(key, slot, value) => (key, slot, value),
        };
        let (head, checksum) = stored::listed(value)?;
        if newest.as_ref().is_none_or(|(name, _)| *name != key) {
            newest = Some((key.clone(), slot));
        }
        let latest = newest.as_ref().is_some_and(|(_, first)| *first == slot);
        last = Some(head.kind.id(slot));
        page.versions.push(ListedVersion {
            key,
            version: head.kind.named(slot),
            latest,
            marker: head.kind.is_marker(),
            size: head.size,
            etag: head.etag.to_owned(),
            last_modified_ms: head.last_modified_ms,
            checksum,
        });
        Ok(())
    })?;
    if end != End::All {
        let version = page.versions.last().map(|version| (&version.key, last));
        let prefix = page.common_prefixes.last().map(|prefix| (prefix, None::<VersionId>));
        page.next = version.max(prefix).map(|(key, id)| (key.clone(), id));
    }
    Ok(page)
}

pub fn parts(view: &dyn Read, at: At<'_>, after: u16, limit: u32) -> Outcome<PartPage> {
    let (bucket, upload) = find(view, at)?;
    let mut page = PartPage { upload, parts: Vec::new(), next: None };
    let prefix = keys::parts(bucket, at.2);
    let from = keys::successor(keys::part(bucket, at.2, after));
    let limit = limit.min(MAX_PAGE) as usize;
    page_of(view, (&prefix, &from), limit, &mut |part: PartRecord| page.parts.push(part))?
        .then(|| page.next = page.parts.last().map(|part| part.number));
    Ok(page)
}

pub fn buckets(view: &dyn Read, prefix: &str, after: Option<&str>, limit: u32) -> Outcome<BucketPage> {
    let mut page = BucketPage::default();
    let prefix = keys::bucket(prefix);
    // A zero byte makes the lowest key above the name's.
    let from = after.map(|after| [&keys::bucket(after)[..], &[0]].concat()).unwrap_or_default();
    let limit = limit.min(MAX_PAGE) as usize;
    let from = from.max(prefix.clone());
    page_of(view, (&prefix, &from), limit, &mut |bucket: BucketRecord| page.buckets.push(bucket))?
        .then(|| page.next = page.buckets.last().map(|bucket| bucket.name.clone()));
    Ok(page)
}

/// Up to `limit` records from a key on, within a prefix; says whether more follow.
fn page_of<T: serde::de::DeserializeOwned>(
    view: &dyn Read,
    (prefix, from): (&[u8], &[u8]),
    limit: usize,
    take: &mut dyn FnMut(T),
) -> Outcome<bool> {
    let (mut taken, mut more, mut failed) = (0, false, None);
    if limit == 0 {
        return Ok(false);
    }
    view.scan(from, &mut |key, value| {
        if !key.starts_with(prefix) {
            return Step::Stop;
        }
        if taken == limit {
            more = true;
            return Step::Stop;
        }
        match decode(value) {
            Ok(record) => take(record),
            Err(error) => {
                failed = Some(error);
                return Step::Stop;
            }
        }
        taken += 1;
        Step::Next
    })?;
    failed.map_or(Ok(more), |error: MetaError| Err(error.into()))
}

/// What a walk comes to.
enum Found<'a> {
    /// A common prefix.
    Prefix(String),
    /// A name, its slot if it is of an object, and its record.
    Name(String, u64, &'a [u8]),
}

/// What of a bucket is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walked {
    /// The newest version of each name, unless it is a delete marker.
    Objects,
    /// All versions.
    Versions,
    Uploads,
}

/// Where a walk ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Nothing follows.
    All,
    /// The page is full, and more follows.
    Full,
    /// It passed over as many deleted names as one walk may; this is the last. Only a walk of objects ends so.
    At(String),
}

/// A walk over a bucket's objects or uploads.
struct Walk<'a> {
    what: Walked,
    table: Named,
    bucket: u64,
    prefix: &'a str,
    delimiter: Option<&'a str>,
    limit: usize,
}

impl<'a> Walk<'a> {
    fn new(
        what: Walked,
        bucket: u64,
        prefix: &'a str,
        delimiter: Option<&'a str>,
        limit: u32,
    ) -> Result<Self, Refusal> {
        let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty());
        if prefix.len() > MAX_KEY_BYTES || delimiter.is_some_and(|d| d.len() > MAX_DELIMITER_BYTES) {
            return Err(Refusal::invalid("the prefix or the delimiter is too long"));
        }
        let table = match what {
            Walked::Objects | Walked::Versions => Named::Objects,
            Walked::Uploads => Named::Uploads,
        };
        Ok(Self { what, table, bucket, prefix, delimiter, limit: limit.min(MAX_PAGE) as usize })
    }

    /// The common prefix that a name is rolled up into, if it is.
    fn rolled_up<'n>(&self, name: &'n str) -> Option<&'n str> {
        let (rest, delimiter) = (name.strip_prefix(self.prefix)?, self.delimiter?);
        let end = self.prefix.len() + rest.find(delimiter)? + delimiter.len();
        Some(&name[..end])
    }

    /// Where a page starts that follows `after`. After a common prefix, all that is under it is past.
    fn start(&self, after: Option<&str>) -> Vec<u8> {
        let first = self.table.prefix(self.bucket, self.prefix);
        let after = after.filter(|after| !after.is_empty()).map(|after| match self.rolled_up(after) {
            Some(prefix) if prefix == after => keys::successor(self.table.prefix(self.bucket, after)),
            _ => self.table.past(self.bucket, after),
        });
        after.map_or(first.clone(), |after| after.max(first))
    }

    /// Where a page starts that follows a version, which need not be there any more. Of a null version that is
    /// gone nobody knows where it was: nothing of its name is left out.
    fn start_within(&self, view: &dyn Read, key: &str, version: VersionRef) -> Outcome<Vec<u8>> {
        let slot = match version {
            VersionRef::Id(id) => Some(id.slot),
            VersionRef::Null => stored::null(view, self.bucket, key)?.map(|null| null.slot),
        };
        Ok(match slot {
            Some(slot) => keys::successor(keys::object(self.bucket, key, slot)),
            None => keys::versions(self.bucket, key),
        })
    }

    /// Walks up to `limit` names and common prefixes.
    fn run(
        &self,
        view: &dyn Read,
        start: Vec<u8>,
        take: &mut dyn FnMut(Found<'_>) -> Result<(), MetaError>,
    ) -> Outcome<End> {
        let within = self.table.prefix(self.bucket, self.prefix);
        let (mut taken, mut skipped, mut end, mut failed) = (0, 0, End::All, None);
        if self.limit == 0 {
            return Ok(End::All);
        }
        view.scan(&start, &mut |key, value| {
            if !key.starts_with(&within) {
                return Step::Stop;
            }
            match self.visit(key, value, taken == self.limit, take) {
                Ok(Visited::Skipped(name, step)) => {
                    skipped += 1;
                    if skipped < MAX_SKIPPED_NAMES {
                        return step;
                    }
                    end = End::At(name);
                    Step::Stop
                }
                Ok(Visited::Taken(step)) => {
                    taken += 1;
                    step
                }
                Ok(Visited::Left) => {
                    end = End::Full;
                    Step::Stop
                }
                Err(error) => {
                    failed = Some(error);
                    Step::Stop
                }
            }
        })?;
        failed.map_or(Ok(end), |error| Err(error.into()))
    }

    /// Takes what an entry comes to, unless the page is full.
    fn visit(
        &self,
        key: &[u8],
        value: &[u8],
        is_full: bool,
        take: &mut dyn FnMut(Found<'_>) -> Result<(), MetaError>,
    ) -> Result<Visited, MetaError> {
        let corrupt = || MetaError::new(ErrorKind::Corrupt, "a key of the index can't be read");
        let name = Named::name(key).ok_or_else(corrupt)?;
        let slot = keys::slot_of(key).ok_or_else(corrupt)?;
        // Older versions are passed over by a seek; the plain slot is always a name's last.
        let next_name = match self.what {
            Walked::Objects if slot != keys::PLAIN_SLOT => Step::Seek(self.table.past(self.bucket, &name)),
            Walked::Objects | Walked::Versions | Walked::Uploads => Step::Next,
        };
        if self.what == Walked::Objects && stored::head(value)?.kind.is_marker() {
            return Ok(Visited::Skipped(name, next_name));
        }
        if is_full {
            return Ok(Visited::Left);
        }
        let (found, step) = match self.rolled_up(&name) {
            Some(prefix) => {
                let past = keys::successor(self.table.prefix(self.bucket, prefix));
                (Found::Prefix(prefix.to_owned()), Step::Seek(past))
            }
            None => (Found::Name(name, slot, value), next_name),
        };
        take(found)?;
        Ok(Visited::Taken(step))
    }
}

/// What a walk did with an entry.
enum Visited {
    /// This name is deleted.
    Skipped(String, Step),
    Taken(Step),
    /// The page is full without it.
    Left,
}

/// A bucket's usage.
pub fn usage(view: &dyn Read, name: &str) -> Outcome<crate::object::BucketUsage> {
    let bucket = bucket(view, name)?;
    Ok(load(view, &keys::usage(bucket.id))?.unwrap_or_default())
}

#[cfg(test)]
#[path = "list_test.rs"]
mod tests;
