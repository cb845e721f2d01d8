//! Listings: a page of names in order, with those that share a prefix up to a delimiter rolled up. A rolled
//! up prefix costs one seek, however many names are under it.

use super::kv::{Read, Step};
use super::objects::bucket;
use super::stored;
use super::txn::{decode, load};
use super::uploads::{At, find};
use super::{Outcome, keys};
use crate::error::{ErrorKind, MetaError, Refusal};
use crate::limits::{MAX_DELIMITER_BYTES, MAX_KEY_BYTES, MAX_PAGE};
use crate::object::{BucketRecord, PartRecord, UploadId, UploadRecord};
use crate::query::{BucketPage, ListObjects, ListUploads, ListedObject, ObjectPage, PartPage, UploadPage};
use keys::Named;

pub fn objects(view: &dyn Read, list: &ListObjects) -> Outcome<ObjectPage> {
    let bucket = bucket(view, &list.bucket)?;
    let walk = Walk::new(Named::Objects, bucket.id, &list.prefix, list.delimiter.as_deref(), list.limit)?;
    let mut page = ObjectPage::default();
    let start = walk.start(list.after.as_deref());
    let more = walk.run(view, start, &mut |found| {
        match found {
            Found::Prefix(prefix) => page.common_prefixes.push(prefix),
            Found::Name(key, value) => {
                let head = stored::head(value)?;
                let (size, etag) = (head.size, head.etag.to_owned());
                let last_modified_ms = head.last_modified_ms;
                page.objects.push(ListedObject { key, size, etag, last_modified_ms });
            }
        }
        Ok(())
    })?;
    if more {
        let key = page.objects.last().map(|object| &object.key);
        page.next = key.max(page.common_prefixes.last()).cloned();
    }
    Ok(page)
}

pub fn uploads(view: &dyn Read, list: &ListUploads) -> Outcome<UploadPage> {
    let bucket = bucket(view, &list.bucket)?;
    let walk = Walk::new(Named::Uploads, bucket.id, &list.prefix, list.delimiter.as_deref(), list.limit)?;
    let start = match (&list.after_key, list.after_upload) {
        (Some(key), Some(id)) if key.starts_with(&list.prefix) => {
            keys::successor(keys::upload(bucket.id, key, id))
        }
        (after, _) => walk.start(after.as_deref()),
    };
    let mut page = UploadPage::default();
    let more = walk.run(view, start, &mut |found| {
        match found {
            Found::Prefix(prefix) => page.common_prefixes.push(prefix),
            Found::Name(_, value) => page.uploads.push(decode(value)?),
        }
        Ok(())
    })?;
    if more {
        let upload = page.uploads.last().map(|upload: &UploadRecord| (&upload.key, Some(upload.id)));
        let prefix = page.common_prefixes.last().map(|prefix| (prefix, None::<UploadId>));
        page.next = upload.max(prefix).map(|(key, id)| (key.clone(), id));
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
    /// A name and its record.
    Name(String, &'a [u8]),
}

/// A walk over a bucket's objects or uploads.
struct Walk<'a> {
    table: Named,
    bucket: u64,
    prefix: &'a str,
    delimiter: Option<&'a str>,
    limit: usize,
}

impl<'a> Walk<'a> {
    fn new(
        table: Named,
        bucket: u64,
        prefix: &'a str,
        delimiter: Option<&'a str>,
        limit: u32,
    ) -> Result<Self, Refusal> {
        let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty());
        if prefix.len() > MAX_KEY_BYTES || delimiter.is_some_and(|d| d.len() > MAX_DELIMITER_BYTES) {
            return Err(Refusal::invalid("the prefix or the delimiter is too long"));
        }
        Ok(Self { table, bucket, prefix, delimiter, limit: limit.min(MAX_PAGE) as usize })
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

    /// Walks up to `limit` names and common prefixes; says whether more follow.
    fn run(
        &self,
        view: &dyn Read,
        start: Vec<u8>,
        take: &mut dyn FnMut(Found<'_>) -> Result<(), MetaError>,
    ) -> Outcome<bool> {
        let within = self.table.prefix(self.bucket, self.prefix);
        let (mut taken, mut more, mut failed) = (0, false, None);
        if self.limit == 0 {
            return Ok(false);
        }
        view.scan(&start, &mut |key, value| {
            if !key.starts_with(&within) {
                return Step::Stop;
            }
            if taken == self.limit {
                more = true;
                return Step::Stop;
            }
            taken += 1;
            let Some(name) = Named::name(key) else {
                failed = Some(MetaError::new(ErrorKind::Corrupt, "a key of the index can't be read"));
                return Step::Stop;
            };
            let (found, step) = match self.rolled_up(&name) {
                Some(prefix) => {
                    let past = keys::successor(self.table.prefix(self.bucket, prefix));
                    (Found::Prefix(prefix.to_owned()), Step::Seek(past))
                }
                None => (Found::Name(name, value), Step::Next),
            };
            match take(found) {
                Ok(()) => step,
                Err(error) => {
                    failed = Some(error);
                    Step::Stop
                }
            }
        })?;
        failed.map_or(Ok(more), |error| Err(error.into()))
    }
}

/// A bucket's usage.
pub fn usage(view: &dyn Read, name: &str) -> Outcome<crate::object::BucketUsage> {
    let bucket = bucket(view, name)?;
    Ok(load(view, &keys::usage(bucket.id))?.unwrap_or_default())
}
