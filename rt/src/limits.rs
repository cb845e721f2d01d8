//! Bounds of the reactor and of framed connections (STYLE 7).

use crate::ring::ReactorLimits;
use proto::frame::HEADER_BYTES;
use proto::limits::MAX_PAYLOAD_BYTES;

/// What a reactor is made with unless its owner says otherwise.
pub const REACTOR: ReactorLimits = ReactorLimits { submissions: 256, completions: 1024, backlog: 8192 };
/// What the reactor of an event loop is made with. Its tasks share it: see `EventLoops::spawn`.
pub const LOOP_REACTOR: ReactorLimits =
    ReactorLimits { submissions: 1024, completions: 65_536, backlog: 65_536 };
/// Threads of the kernel that a reactor's disk operations may block at one time: flushes, and writes into holes. A disk has
/// a handful of them under way.
pub const MAX_IO_WORKERS: u32 = 64;
/// Tasks that share an event loop's thread before another one is started: some disks, and a device or two.
pub const TASKS_TOGETHER: usize = 8;
/// How often the tasks of an event loop are heard about what they did to each other before the kernel is. A write
/// goes from a device to three disks and back in three rounds.
pub const LOOP_ROUNDS: usize = 4;
/// Times that one disk operation may come back short, interrupted or "again" before it is an error.
pub const MAX_RESUMES: u8 = 16;
/// How long a dropped reactor waits for the kernel to give its buffers back, in milliseconds.
pub const DROP_WAIT_MS: u64 = 10_000;
/// Buffers of one vectored send: the kernel's IOV_MAX.
pub const MAX_IOVECS: usize = 1024;

/// How long a process that keeps little memory has what it freed, in milliseconds. With 1,000, which is mimalloc's own,
/// a gateway with 64 connections at work has a fifth more; with 0 a request of 8 MiB takes a tenth more CPU.
pub const FREE_MEMORY_KEPT_MS: i64 = 20;

/// Bytes of disk buffers that a thread keeps to use again, and the process besides them.
pub const MAX_POOLED_BYTES: usize = 8 << 20;
/// Disk buffers that move at once between a thread's pool and the process's: a lock for so many operations.
pub const MAX_MOVED_BUFFERS: usize = 32;

/// Bytes a connection's receive buffer starts with; it holds some sixty 4 KiB writes.
pub const RECEIVE_BUFFER_BYTES: usize = 256 << 10;
/// Below this much room in the receive buffer, in bytes, a new one is taken.
pub const MIN_RECEIVE_ROOM_BYTES: usize = 32 << 10;
/// Frames that may wait to be sent on one connection.
pub const MAX_QUEUED_FRAMES: usize = 4096;
/// Bytes that may wait to be sent on one connection.
pub const MAX_QUEUED_BYTES: usize = 160 << 20;
/// Above this many queued bytes, a polite owner takes no more requests from the connection.
pub const BUSY_QUEUED_BYTES: usize = 8 << 20;

const _: () = assert!(REACTOR.submissions <= REACTOR.completions);
const _: () = assert!(MIN_RECEIVE_ROOM_BYTES < RECEIVE_BUFFER_BYTES);
const _: () = assert!(BUSY_QUEUED_BYTES + 2 * (MAX_PAYLOAD_BYTES as usize + HEADER_BYTES) < MAX_QUEUED_BYTES);
