//! The thread that writes an audit log: many requests' lines in one write, and a new file when one is long or a day old.

use super::chain::{self, Head};
use super::files::{self, LogFile};
use super::{Entry, Outcome};
use crate::error::{ErrorKind, MetaError};
use crate::limits::{AUDIT_FILE_BYTES, AUDIT_SYNC_MS, MAX_AUDIT_BATCH};
use rt::clock::{Clock, Instant};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

const DAY_MS: u64 = 24 * 3_600_000;
const SYNC_EVERY: Duration = Duration::from_millis(AUDIT_SYNC_MS);

/// What the daemon says of itself in its log.
const OPENED: &str = "audit:Open";
const CLOSED: &str = "audit:Close";
/// Lines could not be written for a while, and can again.
const RESUMED: &str = "audit:Resume";
/// With the file's name and its last line's number and hash, which the first line that is left names as the one before it.
pub const REMOVED: &str = "audit:RemoveFile";

/// Where a log is and how much of it is kept. Of the two bounds the first that is reached counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    pub dir: PathBuf,
    pub keep_days: u32,
    pub keep_bytes: u64,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").field("trouble", &self.trouble()).finish_non_exhaustive()
    }
}

/// A log that is open. Dropping it writes what is asked for already and a last line.
pub struct AuditLog {
    asks: Option<Sender<Ask>>,
    trouble: Arc<Mutex<Option<String>>>,
    synced: Arc<Mutex<Head>>,
    thread: Option<JoinHandle<()>>,
}

type Done = oneshot::Sender<Result<(), MetaError>>;

struct Ask {
    entry: Entry,
    done: Done,
}

impl AuditLog {
    /// Opens the log of a folder, made if it is missing, behind the last whole line.
    pub fn open(config: AuditConfig, clock: Arc<dyn Clock>) -> Result<Self, MetaError> {
        let mut writer = Writer::open(config, clock)?;
        let (trouble, synced) = (Arc::clone(&writer.trouble), Arc::clone(&writer.synced));
        let (asks, asked) = channel();
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || writer.run(&asked));
        let thread = thread.map_err(|error| {
            MetaError::new(ErrorKind::Storage, "no thread for the audit log").with_source(error)
        })?;
        Ok(Self { asks: Some(asks), trouble, synced, thread: Some(thread) })
    }

    /// Writes a line; returns when the file has it.
    pub async fn record(&self, entry: Entry) -> Result<(), MetaError> {
        let gone = || MetaError::new(ErrorKind::Storage, "the audit log's thread has ended");
        let (done, written) = oneshot::channel();
        let asks = self.asks.as_ref().ok_or_else(gone)?;
        asks.send(Ask { entry, done }).map_err(|_| gone())?;
        written.await.map_err(|_| gone())?
    }

    /// The same for who can't wait.
    pub fn note(&self, entry: Entry) {
        let (done, _) = oneshot::channel();
        if self.asks.as_ref().is_none_or(|asks| asks.send(Ask { entry, done }).is_err()) {
            tracing::error!("a line is missing in the audit log: its thread has ended");
        }
    }

    /// The number and the hash of the last line that a power cut can't take any more.
    pub fn synced(&self) -> (u64, String) {
        let head = self.synced.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (head.seq, head.hash)
    }

    /// Why the last line could not be written, if it couldn't. It is tried again with the next.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the audit log's thread ended badly");
        }
    }
}

struct Writer {
    config: AuditConfig,
    clock: Arc<dyn Clock>,
    head: Head,
    file: File,
    /// Bytes of the file that are whole lines.
    len: u64,
    /// The day, since 1970, of its first line.
    day: u64,
    /// When the first line was written that a power cut can still take.
    unsynced: Option<Instant>,
    trouble: Arc<Mutex<Option<String>>>,
    synced: Arc<Mutex<Head>>,
    lines: Vec<u8>,
    /// Two writers would each go on behind their own last line.
    _lock: File,
}

impl Writer {
    fn open(config: AuditConfig, clock: Arc<dyn Clock>) -> Result<Self, MetaError> {
        files::make(&config.dir)?;
        let lock = files::lock(&config.dir)?;
        let found = files::list(&config.dir)?;
        let now_ms = clock.wall().0;
        let (mut head, mut len, mut fault) = (Head::default(), 0, None);
        let mut latest = LogFile::at(&config.dir, 1);
        if let Some(last) = found.last() {
            let tail = files::tail(last)?;
            (len, fault) = (tail.len, tail.fault);
            head = match (tail.head, found.len().checked_sub(2)) {
                (Some(head), _) => head,
                // A file that was made and got no line.
                (None, Some(before)) => files::tail(&found[before])?.head.unwrap_or_default(),
                (None, None) => head,
            };
            latest = last.clone();
        }
        let day = latest.first_time().unwrap_or(now_ms) / DAY_MS;
        let mut file = files::open(&latest)?;
        files::cut(&mut file, len).map_err(|error| files::failed("can't cut", &latest.path, error))?;
        let trouble = Arc::default();
        let mut writer = Self {
            config,
            clock,
            head,
            file,
            len,
            day,
            unsynced: None,
            trouble,
            synced: Arc::default(),
            lines: Vec::new(),
            _lock: lock,
        };
        let mut opened = Entry::of_daemon(OPENED, None);
        if let Some(fault) = fault {
            tracing::error!(file = %latest.path.display(), fault, "a line of the audit log is not as it was written");
            opened.outcome = Outcome::Failed;
            opened.error = Some(format!("a line of {} is not as it was written", latest.path.display()));
        }
        writer.append(&[opened])?;
        Ok(writer)
    }

    fn run(&mut self, asked: &Receiver<Ask>) {
        loop {
            let first = if self.unsynced.is_none() && !self.is_troubled() {
                asked.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                asked.recv_timeout(SYNC_EVERY)
            };
            match first {
                Ok(first) => {
                    self.serve(first, asked);
                    // Requests that never pause must not keep it off.
                    if self.unsynced.is_some_and(|since| self.clock.now().since(since) >= SYNC_EVERY) {
                        self.sync();
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.tend(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let closed = self.append(&[Entry::of_daemon(CLOSED, None)]);
        self.note(closed.err());
        self.sync();
    }

    /// Finds out whether lines can be written again, which those who wait for it don't, and flushes them.
    fn tend(&mut self) {
        if self.is_troubled() {
            let resumed = self.append(&[Entry::of_daemon(RESUMED, None)]);
            self.note(resumed.err());
        }
        self.sync();
    }

    /// Writes a line and those that wait behind it.
    fn serve(&mut self, first: Ask, asked: &Receiver<Ask>) {
        let (mut entries, mut waiting) = (vec![first.entry], vec![first.done]);
        while entries.len() < MAX_AUDIT_BATCH
            && let Ok(next) = asked.try_recv()
        {
            entries.push(next.entry);
            waiting.push(next.done);
        }
        let outcome = self.begin_file_if_due().and_then(|()| self.append(&entries));
        self.note(outcome.as_ref().err().cloned());
        for done in waiting {
            // Who hung up meanwhile is no loss: the line is there.
            let _ = done.send(outcome.clone());
        }
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), MetaError> {
        let now_ms = self.clock.wall().0;
        let mut head = self.head.clone();
        self.lines.clear();
        for entry in entries {
            chain::append(&mut head, now_ms, entry, &mut self.lines)?;
        }
        self.unsynced.get_or_insert_with(|| self.clock.now());
        if let Err(error) = self.file.write_all(&self.lines) {
            // Half a line must not be in front of the next.
            let cut = files::cut(&mut self.file, self.len);
            let failed = files::failed("can't write to", &self.config.dir, error);
            return Err(
                cut.map_or_else(|error| files::failed("can't cut", &self.config.dir, error), |()| failed)
            );
        }
        self.len += self.lines.len() as u64;
        self.head = head;
        Ok(())
    }

    fn sync(&mut self) {
        let outcome = self.file.sync_data();
        self.unsynced = None;
        match outcome {
            Ok(()) => *self.synced.lock().unwrap_or_else(PoisonError::into_inner) = self.head.clone(),
            Err(error) => self.note(Some(files::failed("can't flush", &self.config.dir, error))),
        }
    }

    /// Begins the next file when this one is long enough or of another day, and removes what is not to be kept.
    fn begin_file_if_due(&mut self) -> Result<(), MetaError> {
        let day = self.clock.wall().0 / DAY_MS;
        if self.len == 0 || (self.len < AUDIT_FILE_BYTES && day == self.day) {
            return Ok(());
        }
        self.sync();
        let next = LogFile::at(&self.config.dir, self.head.seq + 1);
        self.file = files::open(&next)?;
        (self.len, self.day) = (0, day);
        let synced = File::open(&self.config.dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| files::failed("can't flush", &self.config.dir, error))?;
        self.remove_old(day)
    }

    fn remove_old(&mut self, today: u64) -> Result<(), MetaError> {
        let found = files::list(&self.config.dir)?;
        let len = |file: &LogFile| std::fs::metadata(&file.path).map_or(0, |about| about.len());
        let mut kept: u64 = found.iter().map(len).sum();
        for pair in found.windows(2) {
            let [old, next] = pair else { continue };
            // Everything in it was written before the next one's first line; the newest has none yet.
            let ended = next.first_time().unwrap_or(today * DAY_MS) / DAY_MS;
            let is_old = today.saturating_sub(ended) >= u64::from(self.config.keep_days).max(1);
            if !is_old && kept <= self.config.keep_bytes {
                break;
            }
            kept -= len(old).min(kept);
            let last = files::tail(old)?.head.unwrap_or_default();
            let name = old.path.file_name().unwrap_or_default().to_string_lossy();
            let told = format!("{name}, up to line {} {}", last.seq, last.hash);
            // First the line: a file that is told to be gone and is there is removed next time.
            self.append(&[Entry::of_daemon(REMOVED, Some(told))])?;
            std::fs::remove_file(&old.path)
                .map_err(|error| files::failed("can't remove", &old.path, error))?;
        }
        Ok(())
    }

    fn is_troubled(&self) -> bool {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn note(&self, trouble: Option<MetaError>) {
        let mut noted = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = trouble.map(|error| error.to_string());
        if *noted != trouble {
            match &trouble {
                Some(why) => tracing::error!(why, "the audit log can't be written"),
                None => tracing::info!("the audit log is written again"),
            }
        }
        *noted = trouble;
    }
}

#[cfg(test)]
#[path = "audit_test.rs"]
mod tests;
