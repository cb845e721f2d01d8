//! Bounds of everything a guest or a front end can ask of one device.

use blockd::client::VOLUME_REACTOR_OPERATIONS;
use proto::units::{CHUNK_BYTES, SECTOR_BYTES};

/// Queues of one device.
pub const MAX_QUEUES: u16 = 64;
/// Operations that a device may have with the kernel: its queues' kicks, and what its volume's driver may.
pub const DATA_OPERATIONS: usize = MAX_QUEUES as usize + VOLUME_REACTOR_OPERATIONS;
/// Queues of a device whose owner did not say otherwise: one for each of a usual guest's processors.
pub const DEFAULT_QUEUES: u16 = 16;
/// Entries of one queue.
pub const MAX_QUEUE_SIZE: u16 = 1024;
/// Memory regions of one session: as many as descriptors fit one message.
pub const MAX_MEMORY_REGIONS: usize = 32;
/// Memory regions of all sessions of this process.
pub const MAX_GUARDED_REGIONS: usize = 1024;
/// Descriptors of one request, header and status included.
pub const MAX_CHAIN_DESCRIPTORS: usize = 1024;
/// Requests of one device that are with the volume; the others wait in the guest's ring. Disks are no faster with
/// more of them, and chunk servers serve what they have in the order it came: with 1024, a guest that floods
/// took a tenth of its neighbour's share.
pub const MAX_REQUESTS_IN_FLIGHT: usize = 256;
/// Bytes of one device that are with the volume. The last request admitted may pass it by one piece.
pub const MAX_BYTES_IN_FLIGHT: u64 = 64 << 20;
/// The largest operation given to the volume; longer requests go piece by piece.
pub const MAX_PIECE_BYTES: u64 = 4 << 20;
/// Lists of segments kept for the next requests: as many as requests in flight hold.
pub const MAX_POOLED_LISTS: usize = MAX_REQUESTS_IN_FLIGHT;
/// Segments that a list may have room for and still be kept.
pub const MAX_POOLED_SEGMENTS: usize = 256;
/// Requests taken from one queue before the others get their turn, and the disks what was taken. All at once, the
/// guest, its device and the disks would wait for each other in turn: with a depth of 32, a fourth less.
pub const MAX_REQUESTS_PER_TURN: usize = 16;
/// Data segments of one request, as the config space tells the driver.
pub const SEG_MAX: u32 = 126;
/// Sectors of one discard or write-zeroes range: 256 chunks.
pub const MAX_RANGE_SECTORS: u32 = 2 << 20;
/// Ranges of one discard or write-zeroes request.
pub const MAX_RANGES: u32 = 16;
/// Bytes of the answer to GET_ID (virtio 1.2, 5.2.6).
pub const ID_BYTES: usize = 20;
/// What GET_ID writes: the id and the status byte.
pub const ID_WRITTEN_BYTES: u32 = 21;
/// Bytes of config space that the protocol can carry.
pub const CONFIG_SPACE_BYTES: usize = 256;
/// Bytes of a dirty log: a bit for each page of 64 TiB of guest memory.
pub const MAX_DIRTY_LOG_BYTES: u64 = 2 << 30;
/// Commands that may wait for the data task; the control thread waits for room beyond them.
pub const MAX_COMMANDS: usize = 64;
/// How long a queue that is being stopped waits for its requests before they are left to the next session.
/// Tests wait for it.
pub const STOP_QUEUE_TIMEOUT_MS: u64 = if cfg!(test) { 300 } else { 10_000 };

const _: () = assert!(MAX_QUEUE_SIZE.is_power_of_two() && MAX_QUEUES as usize <= 256);
const _: () = assert!(MAX_RANGE_SECTORS as u64 * SECTOR_BYTES == 256 * CHUNK_BYTES);
const _: () = assert!(MAX_PIECE_BYTES.is_multiple_of(proto::units::BLOCK_BYTES));
const _: () = assert!(MAX_PIECE_BYTES <= MAX_BYTES_IN_FLIGHT);
const _: () = assert!(MAX_CHAIN_DESCRIPTORS >= SEG_MAX as usize + 2);
