//! How an index entry is stored: what a listing shows first, so that it reads no more than that, and an
//! inline body under a key of its own, so that it does not stand between the entries a listing walks.

use super::kv::{Read, Step};
use super::txn::{Txn, load};
use super::{Outcome, keys};
use crate::error::{ErrorKind, MetaError};
use crate::object::{
    Annotations, Body, Checksum, ChecksumAlgorithm, ChecksumType, Extent, ObjectRecord, StoredHeaders,
    VersionId, VersionRef,
};
use crate::query::ObjectPart;
use crate::sealing::Sealing;
use bytes::Bytes;
use proto::checksum::crc32;
use serde::{Deserialize, Serialize};

/// How often a body is read again when a concurrent write changed it between the two reads.
const BODY_ATTEMPTS: usize = 64;

/// What kind of entry it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// The null version: what was put while the bucket kept none.
    Object,
    Version {
        nonce: u64,
    },
    DeleteMarker {
        nonce: u64,
    },
    NullDeleteMarker,
}

impl EntryKind {
    pub fn is_null(self) -> bool {
        matches!(self, Self::Object | Self::NullDeleteMarker)
    }

    pub fn is_marker(self) -> bool {
        matches!(self, Self::DeleteMarker { .. } | Self::NullDeleteMarker)
    }

    /// The id that places a version in this slot; of the null version too.
    pub fn id(self, slot: u64) -> VersionId {
        let (Self::Version { nonce } | Self::DeleteMarker { nonce }) = self else {
            return VersionId { slot, nonce: 0 };
        };
        VersionId { slot, nonce }
    }

    /// How a version of this kind in this slot is named.
    pub fn named(self, slot: u64) -> VersionRef {
        if self.is_null() { VersionRef::Null } else { VersionRef::Id(self.id(slot)) }
    }
}

/// The first part of an entry: nearly all that a listing shows, and all there is of a delete marker.
#[derive(Debug, Serialize, Deserialize)]
pub struct Head<'a> {
    pub kind: EntryKind,
    pub size: u64,
    pub last_modified_ms: u64,
    #[serde(borrow)]
    pub etag: &'a str,
}

/// How a [`Rest`] begins, as a listing reads it: nothing is copied.
#[derive(Debug, Deserialize)]
struct RestBegun<'a> {
    #[serde(borrow)]
    _headers: [Option<&'a str>; 6],
    #[serde(borrow)]
    _user_metadata: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    checksums: Vec<(ChecksumAlgorithm, ChecksumType, &'a str)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Rest {
    headers: StoredHeaders,
    user_metadata: Vec<(String, String)>,
    checksums: Vec<Checksum>,
    part_sizes: Vec<u64>,
    body: StoredBody,
}

#[derive(Debug, Serialize, Deserialize)]
enum StoredBody {
    /// Under the entry's key in the inline table. The CRC ties the two reads together, and to what was put.
    Inline {
        len: u64,
        crc: u32,
    },
    Extents(Vec<Extent>),
}

/// An entry as it is stored, without its inline body.
pub struct Stored {
    pub slot: u64,
    pub kind: EntryKind,
    pub size: u64,
    pub etag: String,
    pub last_modified_ms: u64,
    /// Of an object.
    rest: Option<Rest>,
    pub annotations: Annotations,
    /// As in a [`VersionedObject`](crate::object::VersionedObject).
    part_checksums: Vec<String>,
    pub sealing: Option<Sealing>,
}

impl Stored {
    /// The extents the entry owns.
    pub fn extents(&self) -> &[Extent] {
        match self.rest.as_ref().map(|rest| &rest.body) {
            None | Some(StoredBody::Inline { .. }) => &[],
            Some(StoredBody::Extents(extents)) => extents,
        }
    }

    pub fn is_inline(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| matches!(rest.body, StoredBody::Inline { .. }))
    }

    pub fn named(&self) -> VersionRef {
        self.kind.named(self.slot)
    }

    pub fn decode(slot: u64, value: &[u8]) -> Result<Self, MetaError> {
        let (head, rest) = postcard::take_from_bytes::<Head<'_>>(value).map_err(corrupt)?;
        let (mut object, mut annotations, mut part_checksums) = (None, Annotations::default(), Vec::new());
        let mut sealing = None;
        if !head.kind.is_marker() {
            let (found, mut more) = postcard::take_from_bytes(rest).map_err(corrupt)?;
            object = Some(found);
            // Those that have none end here, as all entries of earlier builds do; and so once more.
            if !more.is_empty() {
                (annotations, more) = postcard::take_from_bytes(more).map_err(corrupt)?;
            }
            if !more.is_empty() {
                (part_checksums, more) = postcard::take_from_bytes(more).map_err(corrupt)?;
            }
            if !more.is_empty() {
                (sealing, _) = postcard::take_from_bytes(more).map_err(corrupt)?;
            }
        }
        Ok(Self {
            slot,
            kind: head.kind,
            size: head.size,
            etag: head.etag.to_owned(),
            last_modified_ms: head.last_modified_ms,
            rest: object,
            annotations,
            part_checksums,
            sealing,
        })
    }

    /// The object's record with this body; `None` of a delete marker.
    fn into_record(self, body: Body) -> Option<Kept> {
        let rest = self.rest?;
        let record = ObjectRecord {
            size: self.size,
            etag: self.etag,
            last_modified_ms: self.last_modified_ms,
            headers: rest.headers,
            user_metadata: rest.user_metadata,
            checksums: rest.checksums,
            part_sizes: rest.part_sizes,
            body,
        };
        let Self { annotations, part_checksums, sealing, .. } = self;
        Some(Kept { record, annotations, part_checksums, sealing })
    }
}

/// What is kept of an object.
pub struct Kept {
    pub record: ObjectRecord,
    pub annotations: Annotations,
    pub part_checksums: Vec<String>,
    pub sealing: Option<Sealing>,
}

/// The head of an entry's value.
pub fn head(value: &[u8]) -> Result<Head<'_>, MetaError> {
    postcard::take_from_bytes(value).map(|(head, _)| head).map_err(corrupt)
}

/// What a listing shows of an entry: its head, and which checksum the object has.
pub fn listed(value: &[u8]) -> Result<(Head<'_>, Option<(ChecksumAlgorithm, ChecksumType)>), MetaError> {
    let (head, rest) = postcard::take_from_bytes::<Head<'_>>(value).map_err(corrupt)?;
    if head.kind.is_marker() {
        return Ok((head, None));
    }
    let (begun, _) = postcard::take_from_bytes::<RestBegun<'_>>(rest).map_err(corrupt)?;
    Ok((head, begun.checksums.first().map(|(algorithm, kind, _)| (*algorithm, *kind))))
}

/// The entry in a slot, if there is one.
pub fn at(view: &dyn Read, bucket: u64, key: &str, slot: u64) -> Result<Option<Stored>, MetaError> {
    view.get(&keys::object(bucket, key, slot))?.map(|value| Stored::decode(slot, &value)).transpose()
}

/// The newest entry of a name, delete markers included.
pub fn newest(view: &dyn Read, bucket: u64, key: &str) -> Result<Option<Stored>, MetaError> {
    let within = keys::versions(bucket, key);
    let mut found = None;
    view.scan(&within, &mut |key, value| {
        if key.starts_with(&within) {
            found = Some((keys::slot_of(key).unwrap_or(keys::PLAIN_SLOT), value.to_vec()));
        }
        Step::Stop
    })?;
    found.map(|(slot, value)| Stored::decode(slot, &value)).transpose()
}

/// The only entry that a name can have in a bucket that never kept versions.
pub fn only(view: &dyn Read, bucket: u64, key: &str) -> Result<Option<Stored>, MetaError> {
    at(view, bucket, key, keys::PLAIN_SLOT)
}

/// The null version of a name. Its place and what is there are two reads, between which it may move.
pub fn null(view: &dyn Read, bucket: u64, key: &str) -> Result<Option<Stored>, MetaError> {
    let place = || -> Result<u64, MetaError> {
        Ok(load(view, &keys::null(bucket, key))?.unwrap_or(keys::PLAIN_SLOT))
    };
    let mut slot = place()?;
    for _ in 0..BODY_ATTEMPTS {
        let found = at(view, bucket, key, slot)?.filter(|found| found.kind.is_null());
        if found.is_some() {
            return Ok(found);
        }
        let now = place()?;
        if now == slot {
            return Ok(None);
        }
        slot = now;
    }
    Err(MetaError::new(ErrorKind::Corrupt, "a key's null version is not where the index says"))
}

/// The entry that a request means: the newest, or the one it names.
pub fn find(
    view: &dyn Read,
    bucket: u64,
    key: &str,
    version: Option<VersionRef>,
) -> Result<Option<Stored>, MetaError> {
    match version {
        None => newest(view, bucket, key),
        Some(VersionRef::Null) => null(view, bucket, key),
        Some(named @ VersionRef::Id(id)) => {
            Ok(at(view, bucket, key, id.slot)?.filter(|found| found.named() == named))
        }
    }
}

/// An entry with its body: what is kept of an object, or what is known of a delete marker.
pub enum Whole {
    Object(VersionRef, Box<Kept>),
    DeleteMarker(VersionRef, u64),
}

/// The whole of the entry of this name that `find` comes to, if it is there.
pub fn load_whole(
    view: &dyn Read,
    (bucket, key): (u64, &str),
    find: impl Fn() -> Result<Option<Stored>, MetaError>,
    part: ObjectPart,
) -> Result<Option<Whole>, MetaError> {
    for _ in 0..BODY_ATTEMPTS {
        let Some(mut stored) = find()? else { return Ok(None) };
        let (named, slot) = (stored.named(), stored.slot);
        let body = match stored.rest.as_mut().map(|rest| &mut rest.body) {
            None => return Ok(Some(Whole::DeleteMarker(named, stored.last_modified_ms))),
            Some(StoredBody::Extents(extents)) => Some(Body::Extents(std::mem::take(extents))),
            Some(StoredBody::Inline { .. }) if part == ObjectPart::Head => Some(Body::Inline(Bytes::new())),
            Some(StoredBody::Inline { len, crc }) => {
                let body =
                    if *len == 0 { Some(Vec::new()) } else { view.get(&keys::inline(bucket, key, slot))? };
                body.filter(|body| body.len() as u64 == *len && crc32(body) == *crc)
                    .map(|body| Body::Inline(Bytes::from(body)))
            }
        };
        if let Some(kept) = body.and_then(|body| stored.into_record(body)) {
            return Ok(Some(Whole::Object(named, Box::new(kept))));
        }
        // The object was replaced or deleted between the two reads: read both again.
    }
    Err(MetaError::new(ErrorKind::Corrupt, "an object's inline body is not the one its entry names"))
}

/// Stores an object's entry and its inline body in an empty slot.
pub fn store(
    txn: &mut Txn<'_>,
    bucket: u64,
    key: &str,
    (slot, kind): (u64, EntryKind),
    Kept { record, annotations, part_checksums, sealing }: Kept,
) -> Outcome<()> {
    let body = match record.body {
        Body::Inline(body) => {
            let stored = StoredBody::Inline { len: body.len() as u64, crc: crc32(&body) };
            if !body.is_empty() {
                txn.put_bytes(keys::inline(bucket, key, slot), body.to_vec());
            }
            stored
        }
        Body::Extents(extents) => StoredBody::Extents(extents),
    };
    let rest = Rest {
        headers: record.headers,
        user_metadata: record.user_metadata,
        checksums: record.checksums,
        part_sizes: record.part_sizes,
        body,
    };
    let (size, etag, last_modified_ms) = (record.size, record.etag, record.last_modified_ms);
    let rest = Some(rest);
    let stored =
        Stored { slot, kind, size, etag, last_modified_ms, rest, annotations, part_checksums, sealing };
    put(txn, bucket, key, &stored)
}

/// Stores a delete marker in an empty slot.
pub fn store_marker(
    txn: &mut Txn<'_>,
    bucket: u64,
    key: &str,
    (slot, kind): (u64, EntryKind),
    last_modified_ms: u64,
) -> Outcome<()> {
    let (size, etag, annotations, part_checksums) = (0, String::new(), Annotations::default(), Vec::new());
    let (rest, sealing) = (None, None);
    let stored =
        Stored { slot, kind, size, etag, last_modified_ms, rest, annotations, part_checksums, sealing };
    put(txn, bucket, key, &stored)
}

/// Stores an entry in its slot, without touching its inline body.
pub fn put(txn: &mut Txn<'_>, bucket: u64, key: &str, stored: &Stored) -> Outcome<()> {
    let head = Head {
        kind: stored.kind,
        size: stored.size,
        last_modified_ms: stored.last_modified_ms,
        etag: &stored.etag,
    };
    if stored.kind.is_null() && stored.slot != keys::PLAIN_SLOT {
        txn.put(keys::null(bucket, key), &stored.slot)?;
    }
    let place = keys::object(bucket, key, stored.slot);
    // A tuple encodes as one after the other.
    let (annotations, part_checksums) = (&stored.annotations, &stored.part_checksums);
    match &stored.rest {
        None => txn.put(place, &head)?,
        Some(rest) if stored.sealing.is_some() => {
            txn.put(place, &(head, rest, annotations, part_checksums, &stored.sealing))?;
        }
        Some(rest) if !part_checksums.is_empty() => {
            txn.put(place, &(head, rest, annotations, part_checksums))?;
        }
        Some(rest) if *annotations == Annotations::default() => txn.put(place, &(head, rest))?,
        Some(rest) => txn.put(place, &(head, rest, annotations))?,
    }
    Ok(())
}

/// Removes an entry and its inline body.
pub fn remove(txn: &mut Txn<'_>, bucket: u64, key: &str, stored: &Stored) {
    txn.delete(keys::object(bucket, key, stored.slot));
    if stored.is_inline() {
        txn.delete(keys::inline(bucket, key, stored.slot));
    }
    if stored.kind.is_null() && stored.slot != keys::PLAIN_SLOT {
        txn.delete(keys::null(bucket, key));
    }
}

fn corrupt(error: postcard::Error) -> MetaError {
    MetaError::new(ErrorKind::Corrupt, "an index entry can't be read").with_source(error)
}

#[cfg(test)]
#[path = "stored_test.rs"]
mod tests;
