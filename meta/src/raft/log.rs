//! The durable log: openraft's storage over segment files. The index of records is in memory; all writes
//! go through one thread, in order.

use super::files::{Folder, remove_file, sync_parent};
use super::hard_state::HardState;
use super::log_thread::{Job, LogThread};
use super::record::Marks;
use super::segment::{self, Place, SegmentIndex, SegmentWriter};
use super::{Entry, LogId, RaftStorageError, TypeConfig, Vote, cant_read, cant_write, io_failed, record};
use crate::error::{ErrorKind, MetaError};
use crate::limits::{LOG_CACHE_BYTES, SEGMENT_BYTES};
use crate::metrics::MetaMetrics;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use rt::rng::{Rng, SystemRng};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::fs::{self, File};
use std::ops::{Bound, RangeBounds};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The log. Clones share it.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
    thread: Arc<LogThread>,
}

struct Shared {
    dir: PathBuf,
    index: Mutex<Index>,
    /// One above the last flushed index.
    durable: Arc<AtomicU64>,
    /// Bytes appended since the last snapshot.
    fresh_bytes: AtomicU64,
}

struct Index {
    segments: VecDeque<SegmentIndex>,
    /// The newest entries and their records' bytes; at least all that are not flushed yet.
    cache: VecDeque<(Entry, usize)>,
    cache_bytes: usize,
    last: Option<LogId>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    vote: Option<Vote>,
    rng: SystemRng,
}

/// What opening the log found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFacts {
    pub last: Option<LogId>,
    pub purged: Option<LogId>,
    /// One above the last index that is known to be committed.
    pub committed: u64,
    /// Whether an unfinished write was cut off.
    pub was_torn: bool,
    pub vote: Option<Vote>,
}

/// A log whose files were read and verified, but not changed.
pub struct LogFiles {
    folder: Folder,
    hard_state: HardState,
    segments: VecDeque<SegmentIndex>,
    /// Files that were being made when the process died.
    unfinished: Vec<PathBuf>,
    facts: LogFacts,
}

impl LogFiles {
    /// Reads and verifies the log of a data folder, with nothing changed.
    pub fn read(folder: &Folder) -> Result<Self, MetaError> {
        let hard_state = HardState::open(folder.hard_state())?;
        let found = list(&folder.log())?;
        for (_, path) in &found {
            segment::check_format(path)?;
        }
        let mut files = Self {
            folder: folder.clone(),
            facts: LogFacts {
                last: hard_state.purged(),
                purged: hard_state.purged(),
                committed: 0,
                was_torn: false,
                vote: hard_state.vote(),
            },
            hard_state,
            segments: VecDeque::new(),
            unfinished: Vec::new(),
        };
        for (position, (first_index, path)) in found.iter().enumerate() {
            let place = if position + 1 == found.len() { Place::Last } else { Place::Middle };
            files.add(*first_index, path, place)?;
        }
        Ok(files)
    }

    fn add(&mut self, first_index: u64, path: &Path, place: Place) -> Result<(), MetaError> {
        let purged = self.facts.purged.map_or(0, |purged| purged.index + 1);
        let Some(scan) = segment::scan(path, first_index, place)? else {
            self.unfinished.push(path.to_owned());
            return Ok(());
        };
        let expected = self.segments.back().map(SegmentIndex::next_index);
        let continues = expected.map_or(first_index <= purged, |expected| expected == first_index);
        if !continues {
            let message = format!(
                "the log has no entry {} (the next file is {}): restore the data folder from a backup",
                expected.unwrap_or(purged),
                path.display()
            );
            return Err(MetaError::new(ErrorKind::Corrupt, message));
        }
        self.facts.was_torn |= scan.torn;
        self.facts.committed = self.facts.committed.max(scan.committed);
        self.facts.last = scan.last.max(self.facts.last);
        self.segments.push_back(scan.index);
        Ok(())
    }

    pub fn facts(&self) -> LogFacts {
        self.facts
    }

    /// The log id of an entry, if the log has it.
    pub fn log_id(&self, index: u64) -> Result<Option<LogId>, MetaError> {
        if let Some(purged) = self.facts.purged.filter(|purged| purged.index == index) {
            return Ok(Some(purged));
        }
        Ok(read_entries(&self.segments, index, index + 1)?.first().map(|entry| entry.log_id))
    }

    /// Cuts what was never finished and starts the writing thread.
    pub fn open(self, metrics: &MetaMetrics) -> Result<LogStore, MetaError> {
        for path in &self.unfinished {
            tracing::warn!(path = %path.display(), "removing a log file that was still being made");
            remove_file(path)?;
        }
        let mut segments = self.segments;
        // Segments behind the purged mark: a purge that did not finish. The last one may stay if the log goes
        // on right behind it.
        let next = self.facts.purged.map_or(0, |purged| purged.index + 1);
        while let Some(first) = segments.front()
            && first.next_index() <= next
            && (segments.len() > 1 || first.next_index() < next)
        {
            remove_file(&first.path)?;
            sync_parent(&first.path)?;
            segments.pop_front();
        }
        let mut writer = None;
        if let Some(last) = segments.back() {
            let mut open = SegmentWriter::open(&last.path)?;
            if self.facts.was_torn {
                tracing::warn!(path = %last.path.display(), end = last.end, "cutting an unfinished write off the log");
                open.cut(last.end.into())?;
            }
            writer = Some(open);
        }
        let durable = Arc::new(AtomicU64::new(self.facts.last.map_or(0, |last| last.index + 1)));
        let fresh: u64 = segments.iter().map(|segment| u64::from(segment.end)).sum();
        let committed = match self.facts.committed.checked_sub(1) {
            Some(last) => read_entries(&segments, last, last + 1)?.first().map(|entry| entry.log_id),
            None => None,
        };
        let index = Index {
            segments,
            cache: VecDeque::new(),
            cache_bytes: 0,
            last: self.facts.last,
            purged: self.facts.purged,
            committed: committed.max(self.facts.purged),
            vote: self.hard_state.vote(),
            rng: SystemRng,
        };
        let shared = Shared {
            dir: self.folder.log(),
            index: Mutex::new(index),
            durable: Arc::clone(&durable),
            fresh_bytes: AtomicU64::new(fresh),
        };
        let thread = LogThread::start(self.hard_state, writer, durable, metrics.clone())?;
        Ok(LogStore { shared: Arc::new(shared), thread: Arc::new(thread) })
    }
}

/// The segments of a folder, by first index.
fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, MetaError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| io_failed("list", dir, e))? {
        let path = entry.map_err(|e| io_failed("list", dir, e))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".log"));
        if let Some(first_index) = name.and_then(|name| name.parse().ok()) {
            found.push((first_index, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The entries of `[start, end)` that the segments have, read from their files.
fn read_entries(segments: &VecDeque<SegmentIndex>, start: u64, end: u64) -> Result<Vec<Entry>, MetaError> {
    let mut entries = Vec::new();
    for segment in segments {
        let (from, to) = (start.max(segment.first_index), end.min(segment.next_index()));
        let (Some((first, _)), Some((_, last))) = (segment.span(from), segment.span(to.wrapping_sub(1)))
        else {
            continue;
        };
        if from >= to {
            continue;
        }
        let mut bytes = vec![0; (last - first) as usize];
        let read = File::open(&segment.path).and_then(|file| file.read_exact_at(&mut bytes, first.into()));
        read.map_err(|e| io_failed("read", &segment.path, e))?;
        for index in from..to {
            let span =
                segment.span(index).and_then(|(a, b)| bytes.get((a - first) as usize..(b - first) as usize));
            let entry = span.and_then(|record| record::decode(record, segment.salt));
            let Some(entry) = entry.filter(|entry| entry.log_id.index == index) else {
                let message = format!("entry {index} in {} can't be read any more", segment.path.display());
                return Err(MetaError::new(ErrorKind::Corrupt, message));
            };
            entries.push(entry);
        }
    }
    Ok(entries)
}

impl LogStore {
    /// Bytes appended since the last snapshot, or since the log's start.
    pub fn fresh_bytes(&self) -> u64 {
        self.shared.fresh_bytes.load(Ordering::Relaxed)
    }

    /// The last index in the log, if there ever was one.
    pub fn last_index(&self) -> Option<u64> {
        self.index().last.map(|last| last.index)
    }

    /// Stops the writing thread after all it was given.
    pub fn close(&self) {
        self.thread.close();
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.shared.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds entries to the index and makes the job that writes them.
    fn prepare(
        &self,
        entries: Vec<Entry>,
        flushed: LogFlushed<TypeConfig>,
    ) -> Result<Option<Job>, MetaError> {
        let durable = self.shared.durable.load(Ordering::Acquire);
        let mut index = self.index();
        let Some(first) = entries.first().map(|entry| entry.log_id.index) else {
            flushed.log_io_completed(Ok(()));
            return Ok(None);
        };
        let expected = index.last.map_or(0, |last| last.index + 1);
        if first != expected {
            let message = format!("entry {first} does not follow the log's end, {expected}");
            return Err(MetaError::new(ErrorKind::Invalid, message));
        }
        let create = index.segments.back().is_none_or(|segment| segment.end >= SEGMENT_BYTES);
        if create {
            let salt = index.rng.u64();
            index.segments.push_back(SegmentIndex {
                path: segment::path_of(&self.shared.dir, first),
                first_index: first,
                salt,
                offsets: Vec::new(),
                end: u32::try_from(segment::HEADER_BYTES).expect("a small header"),
            });
        }
        let index = &mut *index;
        let segment = index.segments.back_mut().expect("a segment was just made if there was none");
        let at = u64::from(segment.end);
        let marks = Marks { durable, committed: index.committed.map_or(0, |committed| committed.index + 1) };
        let mut bytes = Vec::new();
        for entry in entries {
            let len = record::encode(&entry, marks, segment.salt, &mut bytes)?;
            segment.offsets.push(segment.end);
            segment.end += u32::try_from(len).expect("a record's length is bounded");
            index.last = Some(entry.log_id);
            index.cache.push_back((entry, len));
            index.cache_bytes += len;
        }
        while index.cache_bytes > LOG_CACHE_BYTES
            && index.cache.front().is_some_and(|(entry, _)| entry.log_id.index < durable)
        {
            index.cache_bytes -= index.cache.pop_front().map_or(0, |(_, len)| len);
        }
        self.shared.fresh_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let create = create.then_some((segment.first_index, segment.salt));
        let last = index.last.map_or(0, |last| last.index);
        Ok(Some(Job::Write { path: segment.path.clone(), create, at, bytes, last, flushed }))
    }

    fn entries(&self, start: u64, end: u64) -> Result<Vec<Entry>, MetaError> {
        let index = self.index();
        let start = start.max(index.purged.map_or(0, |purged| purged.index + 1));
        let end = end.min(index.last.map_or(0, |last| last.index + 1));
        if start >= end {
            return Ok(Vec::new());
        }
        let cached_from = index.cache.front().map_or(u64::MAX, |(entry, _)| entry.log_id.index);
        let mut entries = read_entries(&index.segments, start, end.min(cached_from))?;
        let skip = usize::try_from(start.saturating_sub(cached_from)).unwrap_or(usize::MAX);
        let take = usize::try_from(end.saturating_sub(start.max(cached_from))).unwrap_or(0);
        entries.extend(index.cache.iter().skip(skip).take(take).map(|(entry, _)| entry.clone()));
        Ok(entries)
    }

    /// Drops entries from `from` on out of the index and makes the job that drops them on disk.
    fn prepare_truncate(&self, from: u64) -> Result<Job, MetaError> {
        let mut index = self.index();
        let mut remove = Vec::new();
        while index.segments.back().is_some_and(|segment| segment.first_index >= from) {
            remove.extend(index.segments.pop_back().map(|segment| segment.path));
        }
        let mut cut = None;
        if let Some(segment) = index.segments.back_mut()
            && let Some((start, _)) = segment.span(from)
        {
            let keep =
                usize::try_from(from - segment.first_index).expect("a segment's entries fit in memory");
            segment.offsets.truncate(keep);
            segment.end = start;
            cut = Some((segment.path.clone(), u64::from(start)));
        }
        while index.cache.back().is_some_and(|(entry, _)| entry.log_id.index >= from) {
            let gone = index.cache.pop_back().map_or(0, |(_, len)| len);
            index.cache_bytes -= gone;
        }
        index.last = match from.checked_sub(1) {
            Some(last) if index.purged.is_none_or(|purged| last > purged.index) => {
                let cached = index.cache.back().map(|(entry, _)| entry.log_id);
                match cached {
                    Some(log_id) => Some(log_id),
                    None => read_entries(&index.segments, last, from)?.first().map(|entry| entry.log_id),
                }
            }
            _ => index.purged,
        };
        self.shared.durable.fetch_min(from, Ordering::AcqRel);
        Ok(Job::Truncate { remove, cut, done: None })
    }

    /// Drops entries up to `upto` out of the index and makes the job that drops whole files of them.
    fn prepare_purge(&self, upto: LogId) -> Job {
        let mut index = self.index();
        let mut remove = Vec::new();
        let beyond = index.last.is_none_or(|last| last.index <= upto.index);
        while index.segments.front().is_some_and(|segment| {
            // The last segment stays open for writing, unless everything in the log is behind the mark.
            segment.next_index() <= upto.index + 1 && (beyond || segment.next_index() > segment.first_index)
        }) {
            remove.extend(index.segments.pop_front().map(|segment| segment.path));
        }
        while index.cache.front().is_some_and(|(entry, _)| entry.log_id.index <= upto.index) {
            let gone = index.cache.pop_front().map_or(0, |(_, len)| len);
            index.cache_bytes -= gone;
        }
        index.purged = index.purged.max(Some(upto));
        index.committed = index.committed.max(Some(upto));
        index.last = index.last.max(Some(upto));
        self.shared.durable.fetch_max(upto.index + 1, Ordering::AcqRel);
        self.shared.fresh_bytes.store(0, Ordering::Relaxed);
        Job::Purge { upto, remove, done: None }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, RaftStorageError> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(start, end).map_err(|e| cant_read(&e))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, RaftStorageError> {
        let index = self.index();
        Ok(LogState { last_purged_log_id: index.purged, last_log_id: index.last })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), RaftStorageError> {
        self.thread.run(Job::Vote { vote: *vote, done: None }).await.map_err(|e| cant_write(&e))?;
        self.index().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, RaftStorageError> {
        Ok(self.index().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), RaftStorageError> {
        // Not a write of its own: it goes with the next record.
        self.index().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, RaftStorageError> {
        Ok(self.index().committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), RaftStorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let job = self.prepare(entries.into_iter().collect(), callback).map_err(|e| cant_write(&e))?;
        if let Some(job) = job {
            self.thread.send(job).map_err(|e| cant_write(&e))?;
        }
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), RaftStorageError> {
        let job = self.prepare_truncate(log_id.index).map_err(|e| cant_write(&e))?;
        self.thread.run(job).await.map_err(|e| cant_write(&e))
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), RaftStorageError> {
        let job = self.prepare_purge(log_id);
        self.thread.run(job).await.map_err(|e| cant_write(&e))
    }
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;
