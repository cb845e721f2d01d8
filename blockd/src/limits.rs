//! Bounds of every queue, batch, retry and count in this crate (STYLE 7). One section a module.

use proto::limits::{MAX_PAYLOAD_BYTES, MAX_REQUESTS_PER_CONNECTION};
use proto::units::BLOCK_LEN;
use rt::limits::MAX_QUEUED_BYTES;
use std::time::Duration;

// ---- server ----

/// Connections of one disk; more are closed at once.
pub const MAX_CONNECTIONS: usize = 4096;
/// Operations that a chunk server may have with the kernel. An idle connection has a receive there for as long as it
/// lasts, and one whose client takes nothing a send: all of them together must leave room for the disk.
pub const SERVER_OPERATIONS: usize = 2 * MAX_CONNECTIONS + MAX_DISK_OPERATIONS + 8;
/// Operations of the disk that are in the reactor at one time. More would only wait there, and fill the backlog that
/// connections need as well.
pub const MAX_DISK_OPERATIONS: usize = 1024;
/// Bytes of reads that one connection may have unanswered before it is heard no further.
pub const MAX_OWED_READ_BYTES: usize = 32 << 20;
/// Ticks of the store that a connection being closed has to take its last answers.
pub const MAX_CLOSING_TICKS: u32 = 10;
/// Bytes of a hole in a disk's file that are filled with one write. Short, since batches wait behind it in
/// the device's queue: with 1 MiB the p99 of small writes was twice as long.
pub const PREFILL_BYTES: u64 = 128 << 10;
/// Only writes shorter than this have holes filled ahead of them, in bytes.
pub const PREFILL_FOR_BELOW: usize = 256 << 10;
/// How many of these ahead of the log are filled while it writes.
pub const PREFILL_AHEAD: usize = 64;
/// A disk that has written nothing for so long is idle, and holes further ahead are filled.
pub const PREFILL_IDLE_AFTER: Duration = Duration::from_millis(50);
/// How far ahead of the log an idle disk is filled at most, in bytes: 20 seconds of small writes. Never further
/// than the log has come itself, so that a disk that is hardly used stays sparse.
pub const PREFILL_IDLE_AHEAD: u64 = 4 << 30;
/// Units of one write to an idle disk: 1 MiB, so that who comes next waits a fraction of a millisecond.
pub const PREFILL_IDLE_UNITS: usize = 8;

// ---- client drivers ----

/// Operations that a volume's driver may have with the kernel: a send and a receive a member of its groups.
pub const VOLUME_REACTOR_OPERATIONS: usize = 1024;

/// Operations that a `Volume` handle's users may have queued in front of it; more wait.
pub const VOLUME_QUEUE: usize = 1024;
/// Operations that a `Volume` has in progress; more stay in the queue.
pub const VOLUME_OPERATIONS: usize = 1024;
/// Bytes of data of the operations that a `Volume` has in progress; one more may pass it.
pub const VOLUME_DATA_BYTES: usize = 128 << 20;
/// How long a connection to a chunk server may take to stand.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a one-shot request may take; deleting a volume waits for the disk.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the control plane has to answer a writer; then it is asked again.
pub const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a volume's thread waits when it has nothing to do.
pub const IDLE_WAIT: Duration = Duration::from_secs(60);

// ---- client core ----

/// Operations that a core holds, queued or in progress; it refuses more with `Busy`.
pub const CORE_OPERATIONS: usize = 8192;
/// The longest read or write of one operation, in bytes. Trims and zero-writes may be as long as the volume.
pub const CORE_OPERATION_BYTES: usize = 32 << 20;
/// Bytes of data in a core's operations, queued or in progress; it refuses more with `Busy`.
pub const CORE_DATA_BYTES: usize = 256 << 20;
/// Pieces of data writes in progress: each is one request to each member.
pub const CORE_WRITE_PIECES: usize = 448;
/// Bytes of data in them; one more may pass it. More would not be written sooner, only answered later.
pub const CORE_WRITE_BYTES: usize = 32 << 20;
/// Pieces of reads, trims and zero-writes in progress. Apart from the writes', so that a trim can make room
/// while all the writes wait for it.
pub const CORE_OTHER_PIECES: usize = 448;
/// Blocks being repaired at one moment.
pub const CORE_REPAIRS: usize = 16;
/// Bad blocks waiting for their repair; more are left for the next read that meets them.
pub const CORE_REPAIR_QUEUE: usize = 1024;
/// Runs being rewritten at one moment while a volume opens.
pub const CORE_RECONCILE_RUNS: usize = 32;
/// Failed writes (`NoSpace`) that are still sent until every member has them, so that the members agree.
/// Above this, new writes fail before they are sent.
pub const CORE_PARKED: usize = 64;
/// Versions between the oldest unsettled write and the newest; writes wait above it.
pub const CORE_VERSION_SPAN: usize = 1 << 20;
/// How often a write is sent to a member to which it comes damaged.
pub const CORE_DAMAGED_TRIES: u16 = 8;
/// How long a member that says `Busy` or got a damaged write is left alone.
pub const CORE_BUSY_WAIT: Duration = Duration::from_millis(5);
/// How long a member without room is left alone.
pub const CORE_NO_SPACE_WAIT: Duration = Duration::from_millis(500);
/// How long a member may be gone before the writer reports it.
pub const CORE_GRACE: Duration = Duration::from_secs(2);
/// How long an open goes on trying to reach every member.
pub const CORE_OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// The first wait before a connection is tried again, doubled each time up to the last.
pub const CORE_RECONNECT_FIRST: Duration = Duration::from_millis(10);
pub const CORE_RECONNECT_LAST: Duration = Duration::from_millis(500);
/// How long a request may be unanswered, while other members answer, before its member is taken for gone.
/// With the report this must stay below the 5 s that a guest may see.
pub const CORE_REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// The same while no other member answers either: then it is not the member, and nobody can take over.
pub const CORE_STUCK_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a core looks for such requests.
pub const CORE_TIMEOUT_CHECK: Duration = Duration::from_millis(250);
/// A member that leaves no request unanswered for so long is seen to be alive.
pub const CORE_LIVELY: Duration = Duration::from_secs(1);
/// A core that was not run for so long past its deadline was itself stopped: that is no member's fault.
pub const CORE_PAUSE: Duration = Duration::from_secs(1);
/// How soon a member is reported again that is still in its groups.
pub const CORE_REPORT_RETRY: Duration = Duration::from_millis(500);
/// How soon the map is asked for again when a member knows a newer one.
pub const CORE_MAP_RETRY: Duration = Duration::from_millis(100);
/// How often the map is asked for while a member is away or a group is short of members.
pub const CORE_MAP_TROUBLED: Duration = Duration::from_millis(500);
/// How often the map is asked for while all is well: members join without telling the writer.
pub const CORE_MAP_POLL: Duration = Duration::from_secs(5);
/// Over how long the members' answers are compared, and how often in a row one must be slow to be reported: a
/// guest that waits for a slow disk does so for 15 s.
pub const CORE_SLOW_WINDOW: Duration = Duration::from_secs(5);
pub const CORE_SLOW_WINDOWS: u32 = 3;
/// Answers of a member in a window that are too few to judge it by.
pub const CORE_SLOW_ANSWERS: u32 = 8;
/// A member is slow if its mean is at least this: a disk that spins takes less, unless something is wrong.
pub const CORE_SLOW_FLOOR: Duration = Duration::from_millis(50);
/// And at least this many times the middle one of the others.
pub const CORE_SLOW_FACTOR: u32 = 5;
/// Writers flush by themselves this often, and after this many bytes, so that a new writer has little to
/// reconcile.
pub const CORE_FLUSH_INTERVAL: Duration = Duration::from_secs(1);
pub const CORE_FLUSH_BYTES: u64 = 64 << 20;

const _: () = assert!(SERVER_OPERATIONS < rt::limits::LOOP_REACTOR.completions as usize);

// Each piece and repair is at most one request to one member, beside one flush, one list and the handshake.
const _: () = assert!(
    CORE_WRITE_PIECES + CORE_OTHER_PIECES + CORE_REPAIRS + CORE_RECONCILE_RUNS + 4
        <= MAX_REQUESTS_PER_CONNECTION
);
// All of it may wait to be sent to one member: a full queue would be taken for a member that is gone, which the next
// connection to it would meet again. What is no data write carries a block at most; requests' heads are shorter.
const _: () = assert!(
    CORE_WRITE_BYTES
        + (1 + CORE_PARKED + CORE_RECONCILE_RUNS) * MAX_PAYLOAD_BYTES as usize
        + (CORE_WRITE_PIECES + CORE_OTHER_PIECES + CORE_REPAIRS + 4) * 2 * BLOCK_LEN
        < MAX_QUEUED_BYTES
);
const _: () =
    assert!(CORE_WRITE_PIECES + CORE_OTHER_PIECES < 0x7fff, "sharers of a block are counted in 15 bits");
const _: () = assert!(
    CORE_REQUEST_TIMEOUT.as_millis() > CORE_LIVELY.as_millis(),
    "who answers is told from who doesn't"
);
const _: () = assert!(VOLUME_OPERATIONS < CORE_OPERATIONS);
const _: () = assert!(VOLUME_DATA_BYTES + CORE_OPERATION_BYTES <= CORE_DATA_BYTES);

// ---- replica ----

/// Volumes that one connection may have open.
pub const REPLICA_OPENS_PER_CONNECTION: usize = 64;
/// Volumes that writers may have opened since the server started.
pub const REPLICA_VOLUMES: usize = 1 << 20;
/// How far the settled horizon may move before a write, too, tells the store of it. (Every flush does.)
pub const REPLICA_SETTLED_STEP: u64 = 1024;
