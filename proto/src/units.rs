//! The units of address and transfer. All of them are fixed by the formats.

/// What guests address, in bytes.
pub const SECTOR_BYTES: u64 = 512;
/// What the store checksums, versions and moves, in bytes.
pub const BLOCK_BYTES: u64 = 4096;
/// [`BLOCK_BYTES`] as a buffer length.
pub const BLOCK_LEN: usize = 4096;
/// Blocks of one chunk.
pub const BLOCKS_PER_CHUNK: u32 = 1024;
/// What placement moves between groups, in bytes.
pub const CHUNK_BYTES: u64 = BLOCK_BYTES * BLOCKS_PER_CHUNK as u64;

const _: () = assert!(BLOCK_BYTES.is_multiple_of(SECTOR_BYTES) && BLOCK_LEN as u64 == BLOCK_BYTES);
