//! Bounds of catch-up and scrub.

use std::time::Duration;

/// Members that one run talks to: a group's, one that replaces another among them, and some.
pub const MAX_PEERS: usize = 8;
/// Requests that one server may have unanswered; more wait here.
pub const MAX_UNANSWERED: usize = 512;
/// How often a request is sent to a server that says `Busy` or got it damaged.
pub const MAX_TRIES: u16 = 200;
/// How long such a server is left alone.
pub const BUSY_WAIT: Duration = Duration::from_millis(10);
/// How long a request may be unanswered before its connection is thought dead.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often that is looked at.
pub const TIMEOUT_CHECK: Duration = Duration::from_secs(1);
/// Chunks whose lists are compared at one moment.
pub const CHUNKS_AT_ONCE: usize = 4;
/// Blocks of one read: long enough that the request costs little, short enough to be paced well.
pub const READ_BLOCKS: u16 = 64;
/// Bytes being read, copied or verified at one moment.
pub const WINDOW_BYTES: u64 = 4 << 20;
/// Requests of one run above which no new reading is begun.
pub const WINDOW_REQUESTS: usize = 256;
/// A paced run may send what it has saved in this time.
pub const PACE_BURST: Duration = Duration::from_millis(100);
/// How long a catch-up that is ready waits for a writer that has its lease and has not opened the source, and
/// how often it looks. Then it takes the writer for dead, or for one that waits for something else.
pub const LEASE_PATIENCE: Duration = Duration::from_secs(5);
pub const LEASE_WAIT: Duration = Duration::from_millis(200);
/// Replies a connection's reader keeps for the core; more than can be owed.
pub const REPLY_QUEUE: usize = 1024;

const _: () = assert!(READ_BLOCKS as u32 <= proto::limits::MAX_BLOCKS_PER_IO);
const _: () = assert!(MAX_UNANSWERED < proto::limits::MAX_REQUESTS_PER_CONNECTION);
const _: () = assert!(REPLY_QUEUE > MAX_UNANSWERED);
