//! What a disk's thread tells the rest of the process.

use proto::message::DiskStat;
use proto::{DiskId, WireError};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

/// How one chunk server is doing. Counts are since it started.
#[derive(Debug, Clone, Default)]
pub struct ServerStatus {
    pub disk: DiskId,
    /// Grows with each mount.
    pub incarnation: u64,
    pub stat: DiskStat,
    /// Why the shard has stopped serving, if it has.
    pub failure: Option<WireError>,
    pub connections: usize,
    pub requests: u64,
    pub disk_reads: u64,
    pub disk_writes: u64,
    pub disk_flushes: u64,
    pub disk_read_bytes: u64,
    pub disk_written_bytes: u64,
}

/// What the handle and the thread share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    status: Mutex<ServerStatus>,
    /// Checkpoint and end.
    pub stop: AtomicBool,
    /// End at once.
    pub kill: AtomicBool,
}

impl Shared {
    pub fn status(&self) -> ServerStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn publish(&self, status: &ServerStatus) {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone_from(status);
    }
}
