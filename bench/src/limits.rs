//! Bounds of a benchmark run.

use crate::room::DiskSize;
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
pub const START_TIMEOUT_S: u64 = 300;
/// How long a server may take to stop after SIGTERM before it is killed, in seconds.
pub const STOP_TIMEOUT_S: u64 = 20;
/// How long a server may answer no request before the run is given up, in seconds.
pub const REQUEST_TIMEOUT_S: u64 = 60;
/// Beside the disks' files: logs, the control plane's state, and whatever else grows on the machine meanwhile.
pub const ROOM_MARGIN_BYTES: u64 = 512 << 20;
/// Of a workload's time, this part is run before anything is counted.
pub const WARM_UP_PART: u32 = 10;
/// Latencies kept of one workload; later ones are counted but not ranked.
pub const MAX_LATENCIES: usize = 32 << 20;

/// How long perf may take to answer a command.
pub const PERF_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a command line tool of a peer may take, in seconds.
pub const PEER_TOOL_TIMEOUT_S: u64 = 120;

/// How long a server of ours may take to tell its metrics.
pub const METRICS_TIMEOUT: Duration = Duration::from_secs(10);
/// After this the metrics of disks tell of what was before it.
pub const METRICS_AGE: Duration = Duration::from_secs(2);
/// What a busy connection PUTs and GETs.
pub const GATEWAY_OBJECT_BYTES: usize = 8 << 20;
/// Threads of the client that keeps a gateway's connections busy.
pub const GATEWAY_CLIENT_THREADS: usize = 1;
/// Between two looks at a gateway's memory.
pub const GATEWAY_LOOK: Duration = Duration::from_millis(20);
/// Between two lines about how far the ageing of a log is.
pub const AGE_STEP: Duration = Duration::from_secs(2);

/// How long servers may take to end when the run is interrupted, before they are killed.
pub const INTERRUPT_PATIENCE: Duration = Duration::from_secs(10);

/// How long system calls are counted, in a pass of its own.
pub const CENSUS_TIME: Duration = Duration::from_secs(1);

/// After its turn, a side that writes less than this within a step has nothing left to do by itself.
pub const SETTLED_BELOW_BYTES: u64 = 1 << 20;
pub const SETTLE_STEP: Duration = Duration::from_millis(500);
pub const SETTLE_STEPS: u32 = 120;

const _: () = assert!(MAX_DEPTH * 3 <= QUEUE_SIZE as usize);

/// Size of a soak's disks: small enough that its rewrites turn the logs over many times, and that filling them is quick.
pub const SOAK_DISK_GIB: u64 = 1;
/// Blocks of the volume that a soak writes to: 256 MiB.
pub const SOAK_BLOCKS: u64 = 1 << 16;
/// How long a load may take to go on after a fault. As long as the guest's own patience (`trial::w1`), so that a
/// machine busy with other things does not fail a run by being slow.
pub const SOAK_PROGRESS: Duration = Duration::from_secs(120);
/// How soon all groups are whole after a fault, on a machine that does nothing else; later is told.
pub const SOAK_WHOLE: Duration = Duration::from_secs(60);
/// The same on the busiest machine; later fails.
pub const SOAK_LATE: Duration = Duration::from_secs(300);
/// Operations and PUTs that show that the loads go on.
pub const SOAK_OPERATIONS: u64 = 200;
pub const SOAK_PUTS: u64 = 10;
/// Rounds between two looks at everything.
pub const SOAK_LOOK_EVERY: u64 = 8;
/// Blocks that a row of spoiled copies spoils.
pub const SOAK_SPOILED: usize = 50;
/// Blocks that are made bad everywhere.
pub const SOAK_LOST: usize = 5;
/// Connections of a crowd at one chunk server.
pub const SOAK_CROWD: usize = 2048;
/// Requests that each of them has in flight: together four times what the server's ring holds of completions.
pub const SOAK_CROWD_REQUESTS: usize = 32;
/// How long a device may hold back a write until it counts as full.
pub const SOAK_FULL: Duration = Duration::from_secs(6);

const _: () = assert!(SOAK_WHOLE.as_secs() < SOAK_LATE.as_secs());

/// The largest object of a row.
pub const S3_MAX_BODY_BYTES: usize = 8 << 20;
/// Objects up to this size are a window of few, whose hash is known but for the end; larger ones have one of their own.
pub const S3_SHARED_WINDOW_BYTES: usize = 128 << 10;
/// Hashes of large objects that are made ahead for each second of a row; more are made while the time runs.
pub const S3_PREPARED_PER_S: u64 = 64;
/// What is received at once.
pub const S3_BUFFER_BYTES: usize = 256 << 10;
/// The head of an answer, and a line between two chunks.
pub const S3_MAX_HEAD_BYTES: usize = 8 << 10;
pub const S3_MAX_LINE_BYTES: usize = 1 << 10;
/// Answers that are kept whole: pages of keys, and errors.
pub const S3_MAX_TEXT_BYTES: usize = 4 << 20;
pub const S3_MAX_CONNECTIONS: usize = 64;
pub const S3_MAX_THREADS: usize = 16;
/// Sockets that one look tells of.
pub const S3_EVENTS: usize = S3_MAX_CONNECTIONS;
/// How long a client waits after a 503.
pub const S3_REFUSED_PAUSE: Duration = Duration::from_millis(1);
/// Connections that put what is there before the rounds.
pub const S3_FILL_CONNECTIONS: usize = 32;
/// Keys of the largest bucket that pages are read of.
pub const S3_MAX_LISTED_KEYS: u64 = 100_000_000;
/// The volume that is written to while objects are worked on.
pub const S3_MIXED_VOLUME_BYTES: u64 = 1 << 30;
/// How long an answer may take, in seconds: to fold 1,000 folders Garage asks its nodes as often.
pub const S3_REQUEST_TIMEOUT_S: u64 = 600;
/// The same for pages, of which thousands a second are usual: who takes longer has not answered.
pub const S3_PAGE_TIMEOUT_S: u64 = 30;
/// Each of our disks under objects, large enough for what is put and deleted in a run; the files are sparse.
pub const OBJECT_DISK: DiskSize = DiskSize::of_mib(16 << 10);
/// The same where there is no room for that.
pub const LEAST_OBJECT_DISK: DiskSize = DiskSize::of_mib(8 << 10);
/// Of all objects that Ceph's gateway has to hold at once.
pub const RGW_DATA_MIB: u64 = 8 << 10;
/// What Garage's nodes say they can hold; a weight, not a limit.
pub const GARAGE_CAPACITY: &str = "100G";

const _: () = assert!(S3_FILL_CONNECTIONS <= S3_MAX_CONNECTIONS);
