//! The chunk server: drives one disk's replica on a reactor of its own thread.

mod conn;
mod disk;
mod prefill;
mod shard;
mod status;

pub use status::ServerStatus;

use crate::{Error, ErrorKind};
use proto::DiskId;
use proto::control::PoolToken;
use rt::clock::{Clock, SystemClock};
use rt::ring::Waker;
use shard::Shard;
use status::Shared;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

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

/// A running chunk server: one disk, one thread, one reactor.
///
/// Dropping it ends the thread at once, as a killed process would: nothing promised is lost, the next
/// start replays the log. [`stop`](Self::stop) leaves nothing to replay.
pub struct ChunkServer {
    disk: DiskId,
    addr: SocketAddr,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl ChunkServer {
    /// Mounts the disk and listens. Blocks until clients are served; a mount reads the newest checkpoint
    /// and the log behind it.
    pub fn start(config: ServerConfig) -> Result<Self, Error> {
        Self::start_with(config, Arc::new(SystemClock))
    }

    /// [`start`](Self::start) with a clock of the caller's.
    pub fn start_with(config: ServerConfig, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let (started, start) = mpsc::sync_channel(1);
        let name = config.disk.to_string();
        let disk = config.disk;
        let for_thread = Arc::clone(&shared);
        let run = move || match Shard::start(&config, for_thread, clock) {
            Ok(shard) => {
                let _ = started.send(Ok((shard.addr(), shard.waker())));
                shard.run()
            }
            Err(error) => {
                let _ = started.send(Err(error));
                Ok(())
            }
        };
        // Linux shows fifteen bytes of a thread's name.
        let thread = std::thread::Builder::new()
            .name(format!("disk-{}", &name[..8]))
            .spawn(run)
            .map_err(|error| Error::io("starting a disk's thread", error))?;
        let died = |_| Error::new(ErrorKind::Closed, format!("the thread of disk {name} died at its start"));
        let (addr, waker) = start.recv().map_err(died)??;
        Ok(Self { disk, addr, shared, waker, thread: Some(thread) })
    }

    pub fn disk(&self) -> DiskId {
        self.disk
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether its thread is alive; one that died by itself serves nobody.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
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
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let died = |_| Error::new(ErrorKind::Closed, format!("the thread of disk {} panicked", self.disk));
        thread.join().map_err(died)?
    }
}

impl Drop for ChunkServer {
    fn drop(&mut self) {
        self.shared.kill.store(true, Ordering::SeqCst);
        if let Err(error) = self.join() {
            tracing::error!(disk = %self.disk, %error, "a chunk server ended badly");
        }
    }
}
