//! The chunk server: drives one disk's replica on an event loop.

mod conn;
mod disk;
mod prefill;
mod shard;
mod status;

pub use status::ServerStatus;

use crate::limits::SERVER_OPERATIONS;
use crate::{Error, ErrorKind};
use proto::DiskId;
use proto::control::PoolToken;
use rt::clock::{Clock, SystemClock};
use rt::event_loop::{EventLoops, TaskHandle};
use rt::ring::{Reactor, Waker};
use shard::{Mounted, Shard};
use status::Shared;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};

/// What a chunk server is started with.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The disk's file or device.
    pub path: PathBuf,
    /// The disk that must be there.
    pub disk: DiskId,
    /// What to do when there is nothing at `path`.
    pub missing: Missing,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    pub token: PoolToken,
}

/// What a chunk server does without its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It fails: the disk should be there.
    Fail,
    /// It makes a sparse file of this many bytes and formats it. It appears at its path only when whole.
    Create { len_bytes: u64 },
}

/// A running chunk server: one disk, which shares a thread with others.
///
/// Dropping it ends it at once, as a killed process would: nothing promised is lost, the next
/// start replays the log. [`stop`](Self::stop) leaves nothing to replay.
pub struct ChunkServer {
    disk: DiskId,
    addr: SocketAddr,
    shared: Arc<Shared>,
    waker: Waker,
    task: Option<TaskHandle<Result<(), Error>>>,
}

impl ChunkServer {
    /// Mounts the disk and listens. Blocks until clients are served; a mount reads the newest checkpoint
    /// and the log behind it.
    pub fn start(config: ServerConfig) -> Result<Self, Error> {
        Self::start_with(config, Arc::new(SystemClock))
    }

    /// [`start`](Self::start) with a clock of the caller's.
    pub fn start_with(config: ServerConfig, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let mounted = Mounted::new(&config)?;
        let shared = Arc::new(Shared::default());
        let (started, start) = mpsc::sync_channel(1);
        let (disk, addr, company) = (config.disk, mounted.addr(), mounted.company());
        let of_task = Arc::clone(&shared);
        let begin = move |reactor: &mut Reactor| {
            let shard = Shard::begin(&config, mounted, of_task, clock, reactor).map_err(Err)?;
            let _ = started.send(reactor.waker());
            Ok(shard)
        };
        let task = EventLoops::of_process()
            .spawn(format!("disk {disk}"), company, SERVER_OPERATIONS, begin)
            .map_err(|error| Error::io("starting a disk's thread", error))?;
        match start.recv() {
            Ok(waker) => Ok(Self { disk, addr, shared, waker, task: Some(task) }),
            Err(_) => Err(ended(task, disk).err().unwrap_or_else(|| died(disk))),
        }
    }

    pub fn disk(&self) -> DiskId {
        self.disk
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether it serves; one that ended by itself does not.
    pub fn is_running(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// How the disk was doing a fraction of a second ago.
    pub fn status(&self) -> ServerStatus {
        self.shared.status()
    }

    /// Checkpoints, so that the next mount has nothing to replay, and ends. Clients see their connections
    /// close. Blocks; fails if the disk did.
    pub fn stop(mut self) -> Result<(), Error> {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.join()
    }

    fn join(&mut self) -> Result<(), Error> {
        self.waker.wake();
        self.task.take().map_or(Ok(()), |task| ended(task, self.disk))
    }
}

/// How a disk's task ended.
fn ended(task: TaskHandle<Result<(), Error>>, disk: DiskId) -> Result<(), Error> {
    task.join().unwrap_or_else(|_| Err(died(disk)))
}

fn died(disk: DiskId) -> Error {
    Error::new(ErrorKind::Closed, format!("the task of disk {disk} died"))
}

impl Drop for ChunkServer {
    fn drop(&mut self) {
        self.shared.kill.store(true, Ordering::SeqCst);
        if let Err(error) = self.join() {
            tracing::error!(disk = %self.disk, %error, "a chunk server ended badly");
        }
    }
}
