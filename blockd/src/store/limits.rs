//! Bounds of the store, each with its reason.

use proto::limits::MAX_BLOCKS_PER_IO;
use std::time::Duration;

/// How often the driver should give the store an `Event::Tick`.
pub const TICK_INTERVAL: Duration = Duration::from_millis(200);
/// Data blocks of one batch: 1 MiB, past which a larger device write gains nothing.
pub const MAX_BATCH_DATA_BLOCKS: u32 = 256;
/// Batches written at one moment. Acks are in order whatever this is.
pub const MAX_BATCHES_IN_FLIGHT: usize = 1;
/// Bytes of writes accepted and not yet in a batch; more are answered `Busy`.
pub const MAX_QUEUED_BYTES: usize = 256 << 20;

const _: () = assert!(MAX_BATCH_DATA_BLOCKS <= MAX_BLOCKS_PER_IO);
