//! Bounds of the store, each with its reason.

use proto::disk::{batch, superblock};
use proto::units::BLOCK_LEN;
use std::time::Duration;

/// How often the driver should give the store an `Event::Tick`.
pub const TICK_INTERVAL: Duration = Duration::from_millis(200);
/// Data blocks of one batch: 1 MiB, past which a larger device write gains nothing.
pub const MAX_BATCH_DATA_BLOCKS: u32 = 256;
/// Batches written at one moment. Acks are in order whatever this is.
pub const MAX_BATCHES_IN_FLIGHT: usize = 2;
/// Operations that must wait before a batch is written beside another one: fewer gain more by waiting for
/// company than by overlapping.
pub const MIN_OVERLAPPING_OPS: usize = 8;
/// Bytes of writes accepted and not yet in a batch; more are answered `Busy`.
pub const MAX_QUEUED_BYTES: usize = 256 << 20;

/// Entries of one batch that are not data: trims, fences, sessions and the like.
pub const MAX_BATCH_ENTRIES: usize = 1024;
/// Bytes of one batch's entries: what its header blocks hold.
pub const MAX_BATCH_ENTRY_BYTES: usize = batch::MAX_HEADER_BLOCKS as usize * BLOCK_LEN - batch::HEADER_BYTES;
/// Horizons logged with one batch.
pub const MAX_BATCH_HORIZONS: usize = 32;
/// Sessions remembered; the one quiet for longest goes first.
pub const MAX_SESSIONS: usize = 4096;
/// Chunks of deleted volumes dropped in one pump: half a millisecond's worth.
pub const DROPPED_CHUNKS_PER_PUMP: usize = 256;
/// Chunks one page of a listing passes by: a millisecond's worth.
pub const MAX_LIST_CHUNKS: usize = 512;
/// Blocks of one batch of moves while there are writers: it costs about what two small batches do.
pub const MOVES_PER_BATCH: u32 = 64;
/// Moves owed, in blocks, from which on writers wait while the cleaner reads.
pub const MAX_CLEAN_DEBT: u32 = 128;
/// Moves that writers may owe the cleaner, in eighths of a block.
pub const MAX_CLEAN_CREDIT: u32 = 8 * 1024;
/// Blocks the cleaner reads at once while there are writers, and while there are none or they are stuck.
pub const CLEAN_WINDOW_BLOCKS: u32 = 64;
pub const MAX_CLEAN_WINDOW_BLOCKS: u32 = 256;
/// Without a write for this long, the cleaner need not be paced.
pub const CLEAN_IDLE: Duration = Duration::from_millis(20);
/// Free segments, as a share of all, above what is held back, below which the cleaner works.
pub const CLEAN_MARGIN_DIVISOR: u32 = 32;
pub const MIN_CLEAN_MARGIN: u32 = 4;
pub const MAX_CLEAN_MARGIN: u32 = 256;
/// Blocks moved for each eight written, when the cleaner begins to work and when nothing is free.
pub const MIN_CLEAN_SHARE: u32 = 4;
pub const MAX_CLEAN_SHARE: u32 = 72;
/// Dead segments, as a share of all, that are worth a flush of the device.
pub const RELEASE_DIVISOR: u32 = 128;
pub const MIN_RELEASE: u32 = 2;
pub const MAX_RELEASE: u32 = 16;
/// Dead segments, as a share of all, that are worth a checkpoint; fewer than the margin.
pub const CHECKPOINT_DEAD_DIVISOR: u32 = 64;
pub const MIN_CHECKPOINT_DEAD: u32 = 2;
pub const MAX_CHECKPOINT_DEAD: u32 = 128;
/// Log written between two checkpoints, in bytes, whatever their size: bounds the replay.
pub const MIN_CHECKPOINT_INTERVAL: u64 = 256 << 20;
/// The same, at most.
pub const MAX_CHECKPOINT_INTERVAL: u64 = 1 << 30;
/// A checkpoint is due after the log grew by this many times its size: bounds write amplification to 1/8.
pub const CHECKPOINT_INTERVAL_FACTOR: u64 = 8;
/// Segments of a disk are about this many, within their own bounds.
pub const SEGMENTS_PER_DISK: u64 = 256;
pub const MIN_SEGMENT_BYTES: u64 = 1 << 20;
pub const MAX_SEGMENT_BYTES: u64 = 64 << 20;
/// The smallest disk.
pub const MIN_DISK_BYTES: u64 = 64 << 20;
/// Where the first segment starts, in bytes: behind the superblocks, and aligned for any device.
pub const FIRST_SEGMENT_BYTES: u64 = 1 << 20;
/// Of the data capacity, the share held back for the cleaner, in percent.
pub const OVER_PROVISION_PERCENT: u64 = 7;
/// Of that, in percent of the data capacity too, what an open's writes may take when nothing else is left
/// (rfd/0005). The cleaner does with the rest, slowly: while it is taken, foreground writes to blocks without
/// data are refused, so it can only be given back.
pub const RECONCILE_RESERVE_PERCENT: u64 = 3;
/// Entries that the index has room for, in percent of the disk's blocks. What is not needed for data remembers
/// trims while a replica is away, about a third of the blocks; once that is full, new data is refused. Each
/// percent costs 0.018 % of the disk, since checkpoints need room for three copies.
pub const INDEX_PERCENT: u64 = 125;
/// Mounts without a checkpoint after which a mount makes one itself, before the superblock's list is full.
pub const MAX_LIVES_WITHOUT_CHECKPOINT: usize = 48;
/// Bytes recovery reads at once.
pub const RECOVERY_WINDOW_BYTES: usize = 2 << 20;
/// Findings a check reports in full; the rest are counted.
pub const MAX_FINDINGS: usize = 100;

// A segment of average fullness is worth cleaning even then: what its batches' headers take is counted apart.
const _: () = assert!(RECONCILE_RESERVE_PERCENT + 4 <= OVER_PROVISION_PERCENT);
const _: () = assert!(MAX_BATCH_DATA_BLOCKS <= batch::MAX_DATA_BLOCKS);
// A window that starts at a batch holds its whole header.
const _: () = assert!(batch::MAX_HEADER_BLOCKS as u32 <= CLEAN_WINDOW_BLOCKS);
const _: () =
    assert!(CLEAN_WINDOW_BLOCKS <= MAX_CLEAN_WINDOW_BLOCKS && MOVES_PER_BATCH <= MAX_BATCH_DATA_BLOCKS);
const _: () = assert!(MAX_LIVES_WITHOUT_CHECKPOINT < superblock::MAX_LIVES);
// A batch of single-block writes never runs out of entry bytes before data blocks.
const _: () = assert!(
    MAX_BATCH_DATA_BLOCKS as usize * (batch::ENTRY_BYTES * 2 + 4) + MAX_BATCH_HORIZONS * batch::ENTRY_BYTES
        <= MAX_BATCH_ENTRY_BYTES
);

/// Pages of slots in the first piece of the index's memory: 56 KiB, all that a disk with little on it takes.
pub const SLAB_FIRST_PAGES: usize = 128;
/// Pages of slots in every further piece: 14 MiB, of which six sevenths at least lie on huge pages.
pub const SLAB_PIECE_PAGES: usize = 32 << 10;

/// Blocks in a row that are kept as a run, at least: as slots they take five times as much memory, and fewer
/// would make reads of small writes look for CRCs.
pub const MIN_RUN_BLOCKS: u16 = 8;
/// Runs of one chunk, at most: as many of the shortest as it holds, and what a cut adds. What is more is kept in
/// slots.
pub const MAX_CHUNK_RUNS: usize = 130;
/// Of the capacity, the share of memory for CRCs that were read or written lately: a 32nd of what all would take,
/// since a CRC is a 1024th of its block.
pub const SUMS_DIVISOR: u64 = 32 << 10;
/// The same at least, in bytes: the CRCs of 8 GiB.
pub const MIN_SUMS_BYTES: usize = 8 << 20;
