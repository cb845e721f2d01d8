//! Bounds of everything the control plane keeps, queues or accepts.

use proto::limits::{MAX_SYSTEM_VOLUME_BYTES, MAX_VOLUME_BYTES};
use proto::units::BLOCK_BYTES;

/// Smallest volume, in bytes: 1 MiB.
pub const MIN_VOLUME_BYTES: u64 = 1 << 20;
/// Longest volume name, in bytes.
pub const MAX_VOLUME_NAME_BYTES: usize = 63;
/// Longest name of a node, a zone, a gateway, an owner or an access key, in bytes.
pub const MAX_LABEL_BYTES: usize = 128;
/// Longest path of an attachment's socket: what a `sockaddr_un` holds.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;
/// Replica groups a pool may be made with.
pub const MAX_GROUPS: u32 = 4096;
/// Disks one pool may have.
pub const MAX_DISKS: usize = 4096;

/// Largest object body kept in the index itself.
pub const MAX_INLINE_BYTES: usize = 3 * 1024;
/// Longest object key, in bytes of UTF-8 (S3).
pub const MAX_KEY_BYTES: usize = 1024;
/// Longest delimiter of a listing, in bytes.
pub const MAX_DELIMITER_BYTES: usize = 1024;
/// Bytes of user metadata and kept headers of one object; S3's 2 KiB of user metadata and room for headers.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;
/// Extents of one object or part.
pub const MAX_EXTENTS: usize = 65_536;
/// Largest object, in bytes (S3): 5 TiB.
pub const MAX_OBJECT_BYTES: u64 = 5 << 40;
/// Smallest part of a multipart upload but its last, in bytes (S3).
pub const MIN_PART_BYTES: u64 = 5 << 20;
/// Highest part number (S3).
pub const MAX_PARTS: u16 = 10_000;
/// Entries of one page of a listing, and keys of one multi-object delete (S3).
pub const MAX_PAGE: u32 = 1000;
/// Extents of one page of garbage or references, and of one `GarbageDone`.
pub const MAX_EXTENT_PAGE: u32 = 4096;
/// Index keys one step of background reclaiming may touch inside one command.
pub const MAX_SWEEP_KEYS: usize = 1024;

/// Largest encoded command, in bytes: a completed upload of 10,000 parts with their extents is well below.
pub const MAX_COMMAND_BYTES: usize = 4 << 20;
/// Largest body of an admin request, in bytes: one command or query.
pub const MAX_REQUEST_BYTES: usize = MAX_COMMAND_BYTES;
/// Largest answer a remote client reads, in bytes: a page of full records.
pub const MAX_ANSWER_BYTES: usize = 64 << 20;
/// How long a remote client waits for one answer.
pub const REMOTE_TIMEOUT_MS: u64 = 10_000;

const _: () =
    assert!(MIN_VOLUME_BYTES.is_multiple_of(BLOCK_BYTES) && MAX_VOLUME_BYTES.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(MAX_SYSTEM_VOLUME_BYTES.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(MAX_INLINE_BYTES < MAX_COMMAND_BYTES);
