//! How an index entry is stored: what a listing shows first, so that it reads no more than that, and an
//! inline body under a key of its own, so that it does not stand between the entries a listing walks.

use super::kv::Read;
use super::txn::Txn;
use super::{Outcome, keys};
use crate::error::{ErrorKind, MetaError};
use crate::object::{Body, Checksum, Extent, ObjectRecord, StoredHeaders};
use crate::query::ObjectPart;
use bytes::Bytes;
use proto::checksum::crc32;
use serde::{Deserialize, Serialize};

/// How often a body is read again when a concurrent write changed it between the two reads.
const BODY_ATTEMPTS: usize = 64;

/// What kind of entry it is; delete markers come with versioning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum EntryKind {
    Object,
}

/// The first part of an entry: all that a listing shows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Head<'a> {
    kind: EntryKind,
    pub size: u64,
    pub last_modified_ms: u64,
    #[serde(borrow)]
    pub etag: &'a str,
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
    pub size: u64,
    pub etag: String,
    last_modified_ms: u64,
    rest: Rest,
}

impl Stored {
    /// The extents the entry owns.
    pub fn extents(&self) -> &[Extent] {
        match &self.rest.body {
            StoredBody::Inline { .. } => &[],
            StoredBody::Extents(extents) => extents,
        }
    }

    pub fn is_inline(&self) -> bool {
        matches!(self.rest.body, StoredBody::Inline { .. })
    }

    fn into_record(self, body: Body) -> ObjectRecord {
        ObjectRecord {
            size: self.size,
            etag: self.etag,
            last_modified_ms: self.last_modified_ms,
            headers: self.rest.headers,
            user_metadata: self.rest.user_metadata,
            checksums: self.rest.checksums,
            part_sizes: self.rest.part_sizes,
            body,
        }
    }
}

/// The head of an entry's value.
pub fn head(value: &[u8]) -> Result<Head<'_>, MetaError> {
    postcard::take_from_bytes(value).map(|(head, _)| head).map_err(corrupt)
}

/// The entry of an object, if it is there.
pub fn load(view: &dyn Read, bucket: u64, key: &str) -> Result<Option<Stored>, MetaError> {
    let Some(value) = view.get(&keys::object(bucket, key))? else { return Ok(None) };
    let (head, rest) = postcard::take_from_bytes::<Head<'_>>(&value).map_err(corrupt)?;
    let rest = postcard::from_bytes(rest).map_err(corrupt)?;
    Ok(Some(Stored {
        size: head.size,
        etag: head.etag.to_owned(),
        last_modified_ms: head.last_modified_ms,
        rest,
    }))
}

/// The whole record of an object, if it is there.
pub fn load_record(
    view: &dyn Read,
    bucket: u64,
    key: &str,
    part: ObjectPart,
) -> Result<Option<ObjectRecord>, MetaError> {
    for _ in 0..BODY_ATTEMPTS {
        let Some(mut stored) = load(view, bucket, key)? else { return Ok(None) };
        let (len, crc) = match &mut stored.rest.body {
            StoredBody::Extents(extents) => {
                let extents = std::mem::take(extents);
                return Ok(Some(stored.into_record(Body::Extents(extents))));
            }
            StoredBody::Inline { len, crc } => (*len, *crc),
        };
        if part == ObjectPart::Head {
            return Ok(Some(stored.into_record(Body::Inline(Bytes::new()))));
        }
        let body = if len == 0 { Some(Vec::new()) } else { view.get(&keys::inline(bucket, key))? };
        if let Some(body) = body.filter(|body| body.len() as u64 == len && crc32(body) == crc) {
            return Ok(Some(stored.into_record(Body::Inline(Bytes::from(body)))));
        }
        // The object was replaced or deleted between the two reads: read both again.
    }
    Err(MetaError::new(ErrorKind::Corrupt, "an object's inline body is not the one its entry names"))
}

/// Stores an entry and its inline body; `was_inline` says whether a body of the former entry is there.
pub fn store(
    txn: &mut Txn<'_>,
    bucket: u64,
    key: &str,
    record: ObjectRecord,
    was_inline: bool,
) -> Outcome<()> {
    let body = match record.body {
        Body::Inline(body) => {
            let stored = StoredBody::Inline { len: body.len() as u64, crc: crc32(&body) };
            if !body.is_empty() {
                txn.put_bytes(keys::inline(bucket, key), body.to_vec());
            } else if was_inline {
                txn.delete(keys::inline(bucket, key));
            }
            stored
        }
        Body::Extents(extents) => {
            if was_inline {
                txn.delete(keys::inline(bucket, key));
            }
            StoredBody::Extents(extents)
        }
    };
    let head = Head {
        kind: EntryKind::Object,
        size: record.size,
        last_modified_ms: record.last_modified_ms,
        etag: &record.etag,
    };
    let rest = Rest {
        headers: record.headers,
        user_metadata: record.user_metadata,
        checksums: record.checksums,
        part_sizes: record.part_sizes,
        body,
    };
    // A pair encodes as one after the other.
    Ok(txn.put(keys::object(bucket, key), &(head, rest))?)
}

/// Removes an entry and its inline body.
pub fn remove(txn: &mut Txn<'_>, bucket: u64, key: &str, stored: &Stored) {
    txn.delete(keys::object(bucket, key));
    if stored.is_inline() {
        txn.delete(keys::inline(bucket, key));
    }
}

fn corrupt(error: postcard::Error) -> MetaError {
    MetaError::new(ErrorKind::Corrupt, "an index entry can't be read").with_source(error)
}
