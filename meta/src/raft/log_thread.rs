//! The one thread that changes the log's files, in the order it is told to. After its first failure it does
//! nothing more: a failed flush may have lost writes, so nothing after it may be called durable.

use super::files::{remove_file, sync_parent};
use super::hard_state::HardState;
use super::segment::SegmentWriter;
use super::{LogId, TypeConfig, Vote};
use crate::error::{ErrorKind, MetaError};
use crate::metrics::MetaMetrics;
use openraft::storage::LogFlushed;
use rt::clock::{Clock, SystemClock};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Jobs that may wait; openraft gives one at a time.
const MAX_JOBS: usize = 64;

/// Whom to tell when a job is done.
pub type Done = Option<oneshot::Sender<Result<(), MetaError>>>;

/// What the thread does.
pub enum Job {
    Write {
        path: PathBuf,
        /// First index and salt, if the segment is new.
        create: Option<(u64, u64)>,
        at: u64,
        bytes: Vec<u8>,
        /// The last index among the records.
        last: u64,
        flushed: LogFlushed<TypeConfig>,
    },
    Vote {
        vote: Vote,
        done: Done,
    },
    Truncate {
        /// Whole segments, newest first.
        remove: Vec<PathBuf>,
        /// The segment that stays, and its new end.
        cut: Option<(PathBuf, u64)>,
        done: Done,
    },
    Purge {
        upto: LogId,
        /// Whole segments, oldest first.
        remove: Vec<PathBuf>,
        done: Done,
    },
}

/// A handle to the thread. Closing joins it.
pub struct LogThread {
    jobs: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl LogThread {
    pub fn start(
        hard_state: HardState,
        writer: Option<SegmentWriter>,
        durable: Arc<AtomicU64>,
        metrics: MetaMetrics,
    ) -> Result<Self, MetaError> {
        let (jobs, queue) = sync_channel(MAX_JOBS);
        let worker = Worker { hard_state, writer, durable, metrics, broken: None };
        let thread = std::thread::Builder::new()
            .name("meta-log".to_owned())
            .spawn(move || worker.run(&queue))
            .map_err(|e| MetaError::new(ErrorKind::Storage, "can't start the log's thread").with_source(e))?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Hands a job over.
    pub fn send(&self, job: Job) -> Result<(), MetaError> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match jobs.as_ref() {
            Some(jobs) => jobs.send(job).map_err(|_| stopped()),
            None => Err(stopped()),
        }
    }

    /// Hands a job over and waits for it.
    pub async fn run(&self, mut job: Job) -> Result<(), MetaError> {
        let (tell, told) = oneshot::channel();
        match &mut job {
            Job::Vote { done, .. } | Job::Truncate { done, .. } | Job::Purge { done, .. } => {
                *done = Some(tell)
            }
            Job::Write { .. } => {}
        }
        self.send(job)?;
        told.await.map_err(|_| stopped())?
    }

    pub fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the log's thread panicked");
        }
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.close();
    }
}

fn stopped() -> MetaError {
    MetaError::new(ErrorKind::Unavailable, "the control plane is stopping")
}

struct Worker {
    hard_state: HardState,
    writer: Option<SegmentWriter>,
    durable: Arc<AtomicU64>,
    metrics: MetaMetrics,
    broken: Option<MetaError>,
}

impl Worker {
    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            match job {
                Job::Write { path, create, at, bytes, last, flushed } => {
                    let result = self.guarded(|worker| worker.write(&path, create, at, &bytes));
                    if result.is_ok() {
                        self.durable.fetch_max(last + 1, Ordering::AcqRel);
                    }
                    flushed.log_io_completed(result.map_err(io::Error::other));
                }
                Job::Vote { vote, done } => {
                    let result = self.guarded(|worker| worker.hard_state.set_vote(vote));
                    tell(done, result);
                }
                Job::Truncate { remove, cut, done } => {
                    let result = self.guarded(|worker| worker.truncate(&remove, cut));
                    tell(done, result);
                }
                Job::Purge { upto, remove, done } => {
                    let result = self.guarded(|worker| worker.purge(upto, &remove));
                    tell(done, result);
                }
            }
        }
    }

    /// Does a job unless an earlier one failed; remembers if it fails.
    fn guarded(&mut self, job: impl FnOnce(&mut Self) -> Result<(), MetaError>) -> Result<(), MetaError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        job(self).inspect_err(|error| {
            tracing::error!(%error, "the control plane's log failed; it stops");
            self.broken = Some(error.clone());
        })
    }

    fn write(
        &mut self,
        path: &std::path::Path,
        create: Option<(u64, u64)>,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), MetaError> {
        if let Some((first_index, salt)) = create {
            self.writer = Some(SegmentWriter::create(path, first_index, salt)?);
        }
        let writer = match &mut self.writer {
            Some(writer) if writer.path() == path => writer,
            writer => writer.insert(SegmentWriter::open(path)?),
        };
        let start = SystemClock.now();
        writer.write(at, bytes)?;
        self.metrics.log_flushed(bytes.len(), SystemClock.now().since(start));
        Ok(())
    }

    fn truncate(&mut self, remove: &[PathBuf], cut: Option<(PathBuf, u64)>) -> Result<(), MetaError> {
        self.writer = None;
        // Newest first, each durably: what is left after a crash is a prefix of the log.
        for path in remove {
            remove_file(path)?;
            sync_parent(path)?;
        }
        if let Some((path, end)) = cut {
            SegmentWriter::open(&path)?.cut(end)?;
        }
        Ok(())
    }

    fn purge(&mut self, upto: LogId, remove: &[PathBuf]) -> Result<(), MetaError> {
        // The mark first: files that are gone without it would be a hole.
        self.hard_state.set_purged(upto)?;
        if self.writer.as_ref().is_some_and(|writer| remove.iter().any(|path| path == writer.path())) {
            self.writer = None;
        }
        for path in remove {
            remove_file(path)?;
            sync_parent(path)?;
        }
        Ok(())
    }
}

fn tell(done: Done, result: Result<(), MetaError>) {
    if let Some(done) = done {
        // Whoever asked may be gone.
        let _ = done.send(result);
    }
}
