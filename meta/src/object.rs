//! What the control plane keeps about objects: buckets, index entries, multipart uploads and their parts.

use crate::acl::{Grants, ObjectAcl};
use crate::sealing::Sealing;
use bytes::Bytes;
use proto::ids::VolumeId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The four switches of S3 Block Public Access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockPublicAccess {
    pub block_public_acls: bool,
    pub ignore_public_acls: bool,
    pub block_public_policy: bool,
    pub restrict_public_buckets: bool,
}

impl BlockPublicAccess {
    /// What every new bucket has.
    pub const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
    /// What a setting that names nothing is.
    pub const NONE: Self = Self {
        block_public_acls: false,
        ignore_public_acls: false,
        block_public_policy: false,
        restrict_public_buckets: false,
    };
}

/// S3's object ownership setting; ACLs are off under the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectOwnership {
    BucketOwnerEnforced,
    BucketOwnerPreferred,
    ObjectWriter,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRecord {
    /// Never used again, so that a bucket made anew under a name sees nothing of the former one.
    pub id: u64,
    pub name: String,
    pub owner: String,
    pub created_ms: u64,
    /// What it was made with. What holds now is in its [`AccessRecord`].
    pub block_public_access: BlockPublicAccess,
    pub ownership: ObjectOwnership,
}

/// What says who may use a bucket, all in one, so that nobody sees a policy of one time with a block of another.
/// A bucket whose settings were never changed has none kept: it is as [`AccessRecord::of_new`] says. How it is encoded:
/// [`acl`](crate::acl).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRecord {
    /// The bucket policy's text, byte for byte as it was put.
    pub policy: Option<String>,
    /// `None` once it was deleted: nothing is blocked then.
    pub block: Option<BlockPublicAccess>,
    /// `None` once it was deleted: then objects are their writers'.
    pub ownership: Option<ObjectOwnership>,
    /// What the bucket itself grants.
    pub acl: Grants,
}

impl AccessRecord {
    /// Of a bucket on which nobody has put anything.
    pub fn of_new(bucket: &BucketRecord) -> Self {
        let (block, ownership) = (Some(bucket.block_public_access), Some(bucket.ownership));
        Self { policy: None, block, ownership, acl: None }
    }
}

/// What a bucket holds; parts of unfinished uploads are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BucketUsage {
    pub objects: u64,
    pub bytes: u64,
    pub uploads: u64,
    pub upload_bytes: u64,
}

impl BucketUsage {
    /// All that a quota counts.
    pub fn total_bytes(&self) -> u64 {
        self.bytes.saturating_add(self.upload_bytes)
    }
}

/// A range of an object log, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Extent {
    pub volume: VolumeId,
    pub offset: u64,
    pub len: u64,
}

/// Where an object's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// In the index: up to [`MAX_INLINE_BYTES`](crate::limits::MAX_INLINE_BYTES).
    Inline(Bytes),
    /// In object logs, in order. Their lengths sum to at least the size.
    Extents(Vec<Extent>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

/// Whether a checksum is of the whole object or of its parts' checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumType {
    FullObject,
    Composite,
}

/// A checksum as S3 shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    pub algorithm: ChecksumAlgorithm,
    pub kind: ChecksumType,
    /// Base64, as in the `x-amz-checksum-*` header (with `-N` if composite).
    pub value: String,
}

/// The request headers that are kept and given back with the object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoredHeaders {
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub expires: Option<String>,
}

/// An object: its index entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    pub size: u64,
    /// Without quotes: the MD5 in hexadecimal, or `md5-of-md5s-N`.
    pub etag: String,
    pub last_modified_ms: u64,
    pub headers: StoredHeaders,
    /// Names without `x-amz-meta-`, in lower case, in the order given.
    pub user_metadata: Vec<(String, String)>,
    pub checksums: Vec<Checksum>,
    /// The size of each part of a multipart object, in order; empty for others.
    pub part_sizes: Vec<u64>,
    pub body: Body,
}

/// What a write or delete asks of the object that is there now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Precondition {
    #[default]
    None,
    /// `If-None-Match: *`: there is no such object.
    IfNoneMatchAny,
    /// `If-Match`: the object is there with this ETag (without quotes), or with any if it is `*`.
    IfMatch(String),
}

/// A multipart upload's id: 32 hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UploadId(pub [u8; 16]);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadId({self})")
    }
}

impl FromStr for UploadId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id)?;
        Ok(Self(id))
    }
}

/// An unfinished multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRecord {
    pub id: UploadId,
    pub key: String,
    pub owner: String,
    pub initiated_ms: u64,
    /// What the finished object will have.
    pub headers: StoredHeaders,
    pub user_metadata: Vec<(String, String)>,
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
}

/// An uploaded part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// 1 to 10,000.
    pub number: u16,
    pub size: u64,
    pub etag: String,
    pub last_modified_ms: u64,
    pub checksums: Vec<Checksum>,
    /// Always in an object log, however small; empty for an empty part.
    pub extents: Vec<Extent>,
}

/// A part named by the completion of its upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedPart {
    pub number: u16,
    /// Without quotes.
    pub etag: String,
}

/// Whether a bucket keeps what is overwritten and deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Versioning {
    /// It never did.
    #[default]
    Off,
    Enabled,
    /// Earlier versions are kept; what is put now is the null version, in the place of any other.
    Suspended,
}

/// Names a version other than the null one; 32 hexadecimal digits in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionId {
    /// Its place among its key's versions: the lower, the newer.
    pub slot: u64,
    /// Random, and kept with the version: nobody comes upon an id by guessing.
    pub nonce: u64,
}

impl fmt::Display for VersionId {
    /// The place is masked, so that nobody is led to read an order out of ids, which S3 doesn't promise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.nonce, self.slot ^ self.nonce)
    }
}

/// What a request names a version by, and what an answer shows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VersionRef {
    /// The version that was put while versions were not kept: "null".
    Null,
    Id(VersionId),
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Id(id) => id.fmt(f),
        }
    }
}

/// A text that is no version's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAVersion;

impl FromStr for VersionRef {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "null" {
            return Ok(Self::Null);
        }
        let mut bytes = [0; 16];
        let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        hex::decode_to_slice(text, &mut bytes).ok().filter(|()| lower).ok_or(NotAVersion)?;
        let id = u128::from_be_bytes(bytes);
        let nonce = u64::try_from(id >> 64).map_err(|_| NotAVersion)?;
        let masked = u64::try_from(id & u128::from(u64::MAX)).map_err(|_| NotAVersion)?;
        Ok(Self::Id(VersionId { slot: masked ^ nonce, nonce }))
    }
}

/// How a version's retention can be ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionMode {
    /// By who may bypass it.
    Governance,
    /// By nobody.
    Compliance,
}

/// A version can't be deleted before this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    pub mode: RetentionMode,
    pub until_ms: u64,
}

/// What can be changed of a version after it was put. How it is encoded: [`acl`](crate::acl).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotations {
    /// In the order given; no name twice.
    pub tags: Vec<(String, String)>,
    pub retention: Option<Retention>,
    /// `None` if it was never said.
    pub legal_hold: Option<bool>,
    /// `None` of an object of the bucket's owner that grants nobody else anything.
    pub acl: Option<ObjectAcl>,
}

impl Annotations {
    /// Whether anything of them is about Object Lock.
    pub fn locks(&self) -> bool {
        self.retention.is_some() || self.legal_hold.is_some()
    }
}

/// How long what is put is retained, if its own request doesn't say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    pub mode: RetentionMode,
    pub period: RetentionPeriod,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionPeriod {
    Days(u32),
    /// Of 365 days each.
    Years(u32),
}

/// A bucket's object lock. A bucket that has one never loses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectLock {
    pub default: Option<DefaultRetention>,
}

/// What a bucket does with versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BucketVersioning {
    pub versioning: Versioning,
    pub lock: Option<ObjectLock>,
}

/// A version that is an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionedObject {
    pub record: ObjectRecord,
    /// `None` in a bucket that never kept versions.
    pub version: Option<VersionRef>,
    pub annotations: Annotations,
    /// Of each part, in order, the value of the checksum that its upload made of it, in base64; by the algorithm of the
    /// object's own. Empty where there are no parts, or where one has none of that algorithm.
    pub part_checksums: Vec<String>,
    /// How its data is encrypted, if it is.
    pub sealing: Option<Sealing>,
}

/// What a name, or a name and a version, leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FoundVersion {
    Object(Box<VersionedObject>),
    DeleteMarker { version: VersionRef, last_modified_ms: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_ids_are_read_as_they_are_written() {
        let id = VersionId { slot: 0x0123_4567_89ab_cdef, nonce: 0xfff0_0000_0000_0001 };
        assert_eq!(id.to_string(), "fff0000000000001fed3456789abcdee");
        assert_eq!(id.to_string().parse(), Ok(VersionRef::Id(id)));
        assert_eq!("null".parse(), Ok(VersionRef::Null));
        assert_eq!(VersionRef::Null.to_string(), "null");
        for bad in ["", "Null", "x", "FFF0000000000001fed3456789abcdee", "fff0000000000001fed3456789abcde"] {
            assert_eq!(bad.parse::<VersionRef>(), Err(NotAVersion), "{bad}");
        }
    }
}
