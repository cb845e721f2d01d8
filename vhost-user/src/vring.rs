//! One queue while it runs: its rings in guest memory, the record of what it took from them, and the two
//! descriptors that announce work.

use crate::chain::Table;
use crate::dirty::DirtyLog;
use crate::error::{Error, ErrorKind};
use crate::inflight::{Found, Record, Tracker};
use crate::mem::GuestRam;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress};

/// Bytes of a used ring before its entries, and of one entry (virtio 1.2, 2.7.8).
const USED_HEADER_BYTES: u64 = 4;
const USED_ENTRY_BYTES: u64 = 8;

/// Where a queue's three parts lie in guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingPlace {
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
}

/// What a queue is started with.
pub struct VringSetup {
    pub size: u16,
    pub place: RingPlace,
    /// The next entry of the available ring to look at, unless `record` knows better.
    pub next_avail: u16,
    pub has_event_idx: bool,
    /// What to write to when requests are done; `None` when the front end polls.
    pub call: Option<File>,
    /// The record of requests in flight, and which of its queues this is.
    pub record: Option<(Arc<Record>, usize)>,
    /// The guest address at which the dirty log wants the used ring's pages marked, if it wants them.
    pub log_addr: Option<u64>,
}

/// A chain taken from a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub head: u16,
    /// Counts the chains taken from the available ring, from 1 on; 0 for one that was in flight already when
    /// the queue started.
    pub order: u64,
}

/// A running queue.
pub struct Vring {
    queue: Queue,
    table: Table,
    available: GuestAddress,
    call: Option<File>,
    tracker: Option<Tracker>,
    log: Option<Arc<DirtyLog>>,
    log_addr: Option<u64>,
    /// What was in flight when the queue started and is still to be asked again.
    again: VecDeque<u16>,
    taken: u64,
    /// The back end before us may have answered without saying so.
    owes_call: bool,
}

impl Vring {
    /// Checks that the rings lie in `ram` and takes up where the used ring and the record say that the last
    /// device stopped.
    pub fn start(setup: VringSetup, ram: &GuestRam) -> Result<Self, Error> {
        let mut queue = Queue::new(setup.size).map_err(unusable)?;
        let RingPlace { descriptors, available, used } = setup.place;
        queue.try_set_desc_table_address(GuestAddress(descriptors)).map_err(unusable)?;
        queue.try_set_avail_ring_address(GuestAddress(available)).map_err(unusable)?;
        queue.try_set_used_ring_address(GuestAddress(used)).map_err(unusable)?;
        queue.set_event_idx(setup.has_event_idx);
        queue.set_next_avail(setup.next_avail);
        queue.set_ready(true);
        let mut vring = Self {
            queue,
            table: Table { addr: descriptors, entries: setup.size },
            available: GuestAddress(available),
            call: None,
            tracker: None,
            log: None,
            log_addr: setup.log_addr,
            again: VecDeque::new(),
            taken: 0,
            owes_call: false,
        };
        vring.check(ram)?;
        let next_used = vring.queue.used_idx(ram.map(), Ordering::Acquire).map_err(unusable)?;
        vring.queue.set_next_used(next_used.0);
        if let Some((record, index)) = setup.record {
            let (tracker, found) = Tracker::start(record, index, setup.size, next_used.0)?;
            vring.tracker = Some(tracker);
            if let Found::Taken(heads) = found {
                // The front end knows only what was answered: after a crash it counts from there.
                let ahead = u16::try_from(heads.len()).expect("a record has at most 1024 entries");
                vring.queue.set_next_avail(next_used.0.wrapping_add(ahead));
                vring.again = heads.into();
                vring.owes_call = true;
            }
        }
        vring.set_call(setup.call)?;
        Ok(vring)
    }

    /// Checks again that the rings are mapped, after the memory table changed.
    pub fn check(&self, ram: &GuestRam) -> Result<(), Error> {
        // A front end may share memory whose first page is at 0, but no ring lies there: the queue takes an
        // available ring at 0 for one that was never set.
        if self.queue.is_valid(ram.map()) && self.available.0 != 0 {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Protocol, "a queue's rings are not in guest memory"))
        }
    }

    /// Changes what is written to when requests are done.
    pub fn set_call(&mut self, call: Option<File>) -> Result<(), Error> {
        self.call = call.map(nonblocking).transpose()?;
        Ok(())
    }

    /// Changes the dirty log.
    pub fn set_log(&mut self, log: Option<Arc<DirtyLog>>) {
        self.log = log;
    }

    /// Changes at which guest address, if at any, writes to the used ring are marked.
    pub fn set_log_addr(&mut self, addr: Option<u64>) {
        self.log_addr = addr;
    }

    /// Whether chains of the record are still to be asked again.
    pub fn has_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// The queue's descriptor table.
    pub fn table(&self) -> Table {
        self.table
    }

    /// The next chain: first those of the record, then what the driver made available. It is in the record
    /// before the caller knows of it.
    pub fn pop(&mut self, ram: &GuestRam) -> Result<Option<Taken>, Error> {
        if let Some(head) = self.again.pop_front() {
            return Ok(Some(Taken { head, order: 0 }));
        }
        let Some(chain) = self.queue.iter(ram.map()).map_err(unusable)?.next() else { return Ok(None) };
        let head = chain.head_index();
        if let Some(tracker) = &mut self.tracker {
            tracker.take(head)?;
        }
        self.taken += 1;
        Ok(Some(Taken { head, order: self.taken }))
    }

    /// Asks the driver not to announce new chains.
    pub fn silence(&mut self, ram: &GuestRam) -> Result<(), Error> {
        self.queue.disable_notification(ram.map()).map_err(unusable)?;
        self.mark_notification()
    }

    /// Asks the driver to announce the next chain. True if one came meanwhile, which nobody will announce.
    pub fn listen(&mut self, ram: &GuestRam) -> Result<bool, Error> {
        let more = self.queue.enable_notification(ram.map()).map_err(unusable)?;
        self.mark_notification()?;
        Ok(more)
    }

    /// Hands a chain back, with how many bytes were written to it.
    pub fn give_back(&mut self, ram: &GuestRam, head: u16, len: u32) -> Result<(), Error> {
        self.begin_use(head)?;
        self.publish(ram, head, len)?;
        self.end_use(head)
    }

    /// Announces what was handed back since the last call, if the driver wants to know.
    pub fn announce(&mut self, ram: &GuestRam) -> Result<(), Error> {
        let wanted = self.queue.needs_notification(ram.map()).map_err(unusable)?
            && (self.queue.event_idx_enabled() || !self.is_muted(ram)?);
        if !wanted && !self.owes_call {
            return Ok(());
        }
        let Some(call) = &mut self.call else { return Ok(()) };
        self.owes_call = false;
        notify(call)
    }

    /// Whether the driver must be told something even though nothing was handed back.
    pub fn owes_call(&self) -> bool {
        self.owes_call
    }

    /// Whether what is taken and not answered is on record for the next device.
    pub fn is_recorded(&self) -> bool {
        self.tracker.is_some()
    }

    /// Whether the record's memory was truncated.
    pub fn is_lost(&self) -> bool {
        self.tracker.as_ref().is_some_and(Tracker::is_lost)
    }

    /// Chains taken from the available ring so far: the order of the last one.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Puts the chains back that were taken last, all of them unanswered: the next device finds them in the
    /// available ring, which the driver has not written over since.
    pub fn put_back(&mut self, heads: &[u16]) -> Result<(), Error> {
        if let Some(tracker) = &mut self.tracker {
            heads.iter().try_for_each(|&head| tracker.put_back(head))?;
        }
        let count = u16::try_from(heads.len()).expect("a queue has at most 1024 chains");
        self.queue.set_next_avail(self.queue.next_avail().wrapping_sub(count));
        Ok(())
    }

    /// Where a next device goes on in the available ring.
    pub fn next_avail(&self) -> u16 {
        self.queue.next_avail()
    }

    fn begin_use(&mut self, head: u16) -> Result<(), Error> {
        self.tracker.as_mut().map_or(Ok(()), |tracker| tracker.begin_use(head))
    }

    fn publish(&mut self, ram: &GuestRam, head: u16, len: u32) -> Result<(), Error> {
        let slot = u64::from(self.queue.next_used() % self.table.entries);
        self.queue.add_used(ram.map(), head, len).map_err(unusable)?;
        self.mark(USED_HEADER_BYTES + slot * USED_ENTRY_BYTES, USED_ENTRY_BYTES)?;
        self.mark(0, USED_HEADER_BYTES)
    }

    fn end_use(&mut self, head: u16) -> Result<(), Error> {
        let used_idx = self.queue.next_used();
        self.tracker.as_mut().map_or(Ok(()), |tracker| tracker.end_use(head, used_idx))
    }

    /// Marks where the wish for announcements was written.
    fn mark_notification(&self) -> Result<(), Error> {
        if self.queue.event_idx_enabled() {
            let event = USED_HEADER_BYTES + u64::from(self.table.entries) * USED_ENTRY_BYTES;
            return self.mark(event, 2);
        }
        self.mark(0, 2)
    }

    /// Marks bytes of the used ring that were written.
    fn mark(&self, offset: u64, len: u64) -> Result<(), Error> {
        let (Some(log), Some(addr)) = (&self.log, self.log_addr) else { return Ok(()) };
        let end = || Error::new(ErrorKind::Protocol, "a used ring's log address wraps around");
        log.mark(addr.checked_add(offset).ok_or_else(end)?, len)
    }

    fn is_muted(&self, ram: &GuestRam) -> Result<bool, Error> {
        let flags: u16 = ram.map().load(self.available, Ordering::Relaxed).map_err(|error| {
            Error::caused(ErrorKind::Protocol, "an available ring is not in guest memory", error)
        })?;
        Ok(u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT != 0)
    }
}

/// Makes a front end's descriptor one whose full counter, or full pipe in its place, stops nobody.
pub fn nonblocking(file: File) -> Result<File, Error> {
    // The stream is only the standard library's safe way to set a descriptor non-blocking.
    let stream = UnixStream::from(OwnedFd::from(file));
    stream.set_nonblocking(true).map_err(|error| Error::system("a front end's eventfd", error))?;
    Ok(File::from(OwnedFd::from(stream)))
}

/// Counts an eventfd up.
pub fn notify(call: &mut File) -> Result<(), Error> {
    match call.write_all(&1u64.to_ne_bytes()) {
        // A counter that is full already says that there is something.
        Err(error) if error.kind() == IoErrorKind::WouldBlock => Ok(()),
        outcome => outcome.map_err(|error| Error::system("announcing to the front end", error)),
    }
}

fn unusable(error: virtio_queue::Error) -> Error {
    Error::caused(ErrorKind::Protocol, "a queue is unusable", error)
}

#[cfg(test)]
#[path = "vring_test.rs"]
mod tests;
