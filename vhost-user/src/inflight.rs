//! The record of requests in flight that outlives this process (vhost-user, "Inflight I/O tracking").
//!
//! The front end holds the memory and gives it to the next back end, which finds there what this one had
//! taken and not answered. Per queue, all fields little-endian:
//!
//! ```text
//!  0 features: u64 = 0      8 version: u16 (0 = never used, 1)   10 desc_num: u16
//! 12 last_batch_head: u16  14 used_idx: u16                      16 desc_num x 16 bytes:
//!       0 inflight: u8      6 next: u16                           8 counter: u64
//! ```
//!
//! A crash may fall between any two stores. Their order makes each state readable: a request counts as taken
//! from the store of its `inflight` on, and as answered from the store of the used ring's index on; a used
//! index that differs from the recorded `used_idx` says that the last batch was answered and not yet cleared.
//! While a queue runs, nothing is read from the record: the front end may write what it likes into it.

use crate::error::{Error, ErrorKind};
use crate::limits::{MAX_QUEUE_SIZE, MAX_QUEUES};
use crate::shared::SharedMap;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::sync::Arc;

const VERSION: u16 = 1;
const HEADER_BYTES: usize = 16;
const ENTRY_BYTES: usize = 16;
/// Each queue's part starts on a cache line of its own.
const ALIGN_BYTES: usize = 64;

const VERSION_AT: usize = 8;
const ENTRIES_AT: usize = 10;
const LAST_HEAD_AT: usize = 12;
const USED_AT: usize = 14;
const NEXT_AT: usize = 6;
const COUNTER_AT: usize = 8;

/// How many queues, and entries of each, a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub num_queues: u16,
    pub queue_size: u16,
}

impl Shape {
    /// Bytes of the record.
    pub fn len(self) -> u64 {
        (self.queue_len() * usize::from(self.num_queues)) as u64
    }

    fn queue_len(self) -> usize {
        (HEADER_BYTES + ENTRY_BYTES * usize::from(self.queue_size)).next_multiple_of(ALIGN_BYTES)
    }

    fn check(self) -> Result<(), Error> {
        let Self { num_queues, queue_size } = self;
        if num_queues == 0 || num_queues > MAX_QUEUES || queue_size == 0 || queue_size > MAX_QUEUE_SIZE {
            return Err(bad(format!("an in-flight record for {num_queues} queues of {queue_size}")));
        }
        Ok(())
    }
}

/// The record of all queues of a device.
pub struct Record {
    map: SharedMap,
    shape: Shape,
}

impl Record {
    /// The memory of a new record, for the front end to hold. It can't be truncated.
    pub fn create(shape: Shape) -> Result<File, Error> {
        shape.check()?;
        let failed = |error: rustix::io::Errno| Error::system("memory for an in-flight record", error.into());
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(memfd_create("ashlar-inflight", flags).map_err(failed)?);
        file.set_len(shape.len()).map_err(|error| Error::system("memory for an in-flight record", error))?;
        fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL).map_err(failed)?;
        Ok(file)
    }

    /// Maps a record that a front end gives back, at byte `offset` of a file.
    pub fn adopt(file: File, offset: u64, shape: Shape) -> Result<Self, Error> {
        shape.check()?;
        Ok(Self { map: SharedMap::new(file, offset, shape.len())?, shape })
    }

    /// Whether the front end truncated the memory.
    pub fn is_lost(&self) -> bool {
        self.map.is_lost()
    }
}

/// What a queue's record says when the queue starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It was never used: the queue starts where the front end says.
    Nothing,
    /// Heads that were taken and not answered, in the order they were taken. The queue goes on in the available
    /// ring as many entries behind the used ring's index.
    Taken(Vec<u16>),
}

/// One running queue's part of a record.
pub struct Tracker {
    record: Arc<Record>,
    base: usize,
    entries: u16,
    counter: u64,
    last_head: u16,
}

impl Tracker {
    /// Takes over queue `queue` of `queue_size` entries, whose used ring stands at `used_idx`.
    pub fn start(
        record: Arc<Record>,
        queue: usize,
        queue_size: u16,
        used_idx: u16,
    ) -> Result<(Self, Found), Error> {
        let Shape { num_queues, queue_size: entries } = record.shape;
        if queue >= usize::from(num_queues) || queue_size > entries {
            return Err(bad(format!(
                "queue {queue} of {queue_size} entries in an in-flight record for {num_queues} of {entries}"
            )));
        }
        let base = queue * record.shape.queue_len();
        let mut tracker = Self { record, base, entries, counter: 0, last_head: 0 };
        let found = match tracker.load(VERSION_AT)? {
            0 => {
                tracker.store(ENTRIES_AT, entries)?;
                tracker.store(USED_AT, used_idx)?;
                // Last: until now it was never used.
                tracker.store(VERSION_AT, VERSION)?;
                Found::Nothing
            }
            VERSION => Found::Taken(tracker.recover(used_idx)?),
            version => return Err(bad(format!("an in-flight record of version {version}"))),
        };
        Ok((tracker, found))
    }

    /// A head was taken from the available ring. Called before anything is done with it.
    pub fn take(&mut self, head: u16) -> Result<(), Error> {
        self.record.map.store(self.entry(head)? + COUNTER_AT, self.counter)?;
        self.counter = self.counter.wrapping_add(1);
        self.mark(head, true)
    }

    /// A head is about to go into the used ring.
    pub fn begin_use(&mut self, head: u16) -> Result<(), Error> {
        self.record.map.store(self.entry(head)? + NEXT_AT, self.last_head)?;
        self.last_head = head;
        self.store(LAST_HEAD_AT, head)
    }

    /// The used ring's index, which counts the head now, is `used_idx`.
    pub fn end_use(&mut self, head: u16, used_idx: u16) -> Result<(), Error> {
        self.mark(head, false)?;
        self.store(USED_AT, used_idx)
    }

    /// A head goes back to the available ring untouched.
    pub fn put_back(&mut self, head: u16) -> Result<(), Error> {
        self.mark(head, false)
    }

    /// Whether the front end truncated the memory.
    pub fn is_lost(&self) -> bool {
        self.record.is_lost()
    }

    /// Finishes what a crash left half done, and lists what was in flight.
    fn recover(&mut self, used_idx: u16) -> Result<Vec<u16>, Error> {
        let entries: u16 = self.load(ENTRIES_AT)?;
        if entries != self.entries {
            return Err(bad(format!("an in-flight record of {entries} entries for {}", self.entries)));
        }
        let batch = used_idx.wrapping_sub(self.load(USED_AT)?);
        self.last_head = self.load(LAST_HEAD_AT)?;
        let mut head = self.last_head;
        // No batch is longer than the queue: then the rings began anew since, and every entry is cleared.
        for _ in 0..batch.min(self.entries) {
            self.mark(head, false)?;
            head = self.record.map.load(self.entry(head)? + NEXT_AT)?;
        }
        self.store(USED_AT, used_idx)?;
        let mut taken = Vec::new();
        for head in 0..self.entries {
            let at = self.entry(head)?;
            if self.record.map.load::<u8>(at)? == 1 {
                taken.push((self.record.map.load::<u64>(at + COUNTER_AT)?, head));
            }
        }
        taken.sort_unstable();
        self.counter = taken.last().map_or(0, |(counter, _)| counter.wrapping_add(1));
        Ok(taken.into_iter().map(|(_, head)| head).collect())
    }

    fn mark(&mut self, head: u16, is_taken: bool) -> Result<(), Error> {
        self.record.map.store(self.entry(head)?, u8::from(is_taken))
    }

    fn entry(&self, head: u16) -> Result<usize, Error> {
        if head >= self.entries {
            return Err(bad(format!("head {head} of a queue of {}", self.entries)));
        }
        Ok(self.base + HEADER_BYTES + ENTRY_BYTES * usize::from(head))
    }

    fn load(&self, field: usize) -> Result<u16, Error> {
        self.record.map.load(self.base + field)
    }

    fn store(&mut self, field: usize, value: u16) -> Result<(), Error> {
        self.record.map.store(self.base + field, value)
    }
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

#[cfg(test)]
#[path = "inflight_test.rs"]
mod tests;
