//! Bounds of a benchmark run.

use std::time::Duration;

/// Requests in flight at once.
pub const MAX_DEPTH: usize = 64;
/// Bytes of one request.
pub const MAX_REQUEST_BYTES: usize = 1 << 20;
/// Bytes of memory shared with the device: a buffer for each request in flight.
pub const REGION_BYTES: usize = MAX_DEPTH * MAX_REQUEST_BYTES;
/// Entries of the client's queue; every request takes three descriptors.
pub const QUEUE_SIZE: i32 = 256;
/// How long a server may take until it serves, in seconds.
pub const START_TIMEOUT_S: u64 = 60;
/// How long a server may take to stop after SIGTERM before it is killed, in seconds.
pub const STOP_TIMEOUT_S: u64 = 20;
/// How long one request may take before the run is given up, in seconds.
pub const REQUEST_TIMEOUT_S: u64 = 60;
/// Of a workload's time, this part is run before anything is counted.
pub const WARM_UP_PART: u32 = 10;
/// Latencies kept of one workload; later ones are counted but not ranked.
pub const MAX_LATENCIES: usize = 32 << 20;

/// After its turn, a side that writes less than this within a step has nothing left to do by itself.
pub const SETTLED_BELOW_BYTES: u64 = 1 << 20;
pub const SETTLE_STEP: Duration = Duration::from_millis(500);
pub const SETTLE_STEPS: u32 = 120;

const _: () = assert!(MAX_DEPTH * 3 <= QUEUE_SIZE as usize);
