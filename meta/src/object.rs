//! What the control plane keeps about objects: buckets, index entries, multipart uploads and their parts.

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
/// A bucket whose settings were never changed has none kept: it is as [`AccessRecord::of_new`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRecord {
    /// The bucket policy's text, byte for byte as it was put.
    pub policy: Option<String>,
    /// `None` once it was deleted: nothing is blocked then.
    pub block: Option<BlockPublicAccess>,
}

impl AccessRecord {
    /// Of a bucket on which nobody has put anything.
    pub fn of_new(bucket: &BucketRecord) -> Self {
        Self { policy: None, block: Some(bucket.block_public_access) }
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
