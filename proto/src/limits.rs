//! Bounds of everything that crosses the wire. Each is checked before a byte is allocated.

use crate::units::{BLOCK_LEN, BLOCKS_PER_CHUNK};

/// Blocks that one write, read or trim frame may name: 1 MiB.
pub const MAX_BLOCKS_PER_IO: u32 = 256;
/// Blocks that one trim may name: a whole chunk (it carries no data).
pub const MAX_BLOCKS_PER_TRIM: u32 = BLOCKS_PER_CHUNK;
/// Entries of one page of a `List` reply.
pub const MAX_LIST_ENTRIES: u32 = 16_384;
/// Entries of one page of a `Volumes` reply.
pub const MAX_VOLUME_ENTRIES: u32 = 4096;
/// Entries of one page of a `Digests` reply.
pub const MAX_DIGEST_ENTRIES: u32 = 4096;
/// Bytes an entry of either takes.
pub const PAGE_ENTRY_BYTES: usize = 16;
/// Bytes of an error's message.
pub const MAX_ERROR_MESSAGE: usize = 512;
/// Bytes a block in a read reply's table takes.
pub const READ_ENTRY_BYTES: usize = 16;
/// Bytes an entry of a list reply takes.
pub const LIST_ENTRY_BYTES: usize = 24;
/// The longest payload of any frame: a full read reply (table and data).
pub const MAX_PAYLOAD_BYTES: u32 = MAX_BLOCKS_PER_IO * (4096 + 16);
/// Bytes of the pool's token, which a client shows in `Hello`.
pub const TOKEN_BYTES: usize = 32;
/// Frames a client may have unanswered on one connection; the server closes a connection that passes it.
pub const MAX_REQUESTS_PER_CONNECTION: usize = 1024;
/// Replica groups of a pool, unless it was made with another number.
pub const DEFAULT_GROUPS: u32 = 128;
/// The most groups a pool may have.
pub const MAX_GROUPS: u32 = 65_536;
/// Replicas of every group.
pub const REPLICAS: usize = 3;
/// Members a group may have: its replicas, and one that is to take another's place.
pub const MAX_MEMBERS: usize = REPLICAS + 1;
/// Largest size of a volume, in bytes: 64 TiB.
pub const MAX_VOLUME_BYTES: u64 = 64 << 40;
/// Largest size of a system volume (an object log's address space, of which nearly all is holes): 8 PiB.
pub const MAX_SYSTEM_VOLUME_BYTES: u64 = 8 << 50;

const _: () = assert!(MAX_BLOCKS_PER_IO <= BLOCKS_PER_CHUNK);
const _: () =
    assert!(MAX_PAYLOAD_BYTES as usize == MAX_BLOCKS_PER_IO as usize * (BLOCK_LEN + READ_ENTRY_BYTES));
const _: () = assert!(MAX_LIST_ENTRIES as usize * LIST_ENTRY_BYTES + 16 <= MAX_PAYLOAD_BYTES as usize);
const _: () = assert!(MAX_VOLUME_ENTRIES as usize * PAGE_ENTRY_BYTES + 8 <= MAX_PAYLOAD_BYTES as usize);
const _: () = assert!(MAX_DIGEST_ENTRIES as usize * PAGE_ENTRY_BYTES + 8 <= MAX_PAYLOAD_BYTES as usize);
const _: () = assert!(MAX_SYSTEM_VOLUME_BYTES / crate::units::CHUNK_BYTES <= u32::MAX as u64);
