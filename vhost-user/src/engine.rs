//! The device between its queues and its volume: takes requests from the rings, asks the volume, answers.
//!
//! No socket, no ring, no clock: kicks and the volume's answers come in, volume operations go out, so tests
//! run it against a volume in memory. What it can't take (too much in flight) stays in the guest's ring.

use crate::dirty::DirtyLog;
use crate::error::{Error, ErrorKind};
use crate::limits::{
    ID_BYTES, ID_WRITTEN_BYTES, MAX_BYTES_IN_FLIGHT, MAX_REQUESTS_IN_FLIGHT, MAX_REQUESTS_PER_TURN,
};
use crate::mem::GuestRam;
use crate::pending::Pending;
use crate::request::{Ask, Parsed, SegmentPool, Status, parse};
use crate::vring::{Taken, Vring, VringSetup, notify};
use blockd::ClientError;
use blockd::client::VolumeOp;
use bytes::Bytes;
use slab::Slab;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a device has done since it started.
#[derive(Debug, Default)]
pub struct Counters {
    pub reads: AtomicU64,
    pub read_bytes: AtomicU64,
    pub writes: AtomicU64,
    pub written_bytes: AtomicU64,
    pub flushes: AtomicU64,
    /// Discards and write-zeroes.
    pub trims: AtomicU64,
    /// Requests that a former device had taken and that this one asked again.
    pub recovered: AtomicU64,
    pub queue_starts: AtomicU64,
    /// Requests answered with an error, and chains that were none.
    pub errors: AtomicU64,
}

/// What a disk is to its guest, whatever the session.
#[derive(Debug, Clone, Copy)]
pub struct Disk {
    pub size_bytes: u64,
    pub serial: [u8; ID_BYTES],
}

/// An operation for the volume, under the id its answer must carry.
pub type Submission = (u64, VolumeOp);

/// Whether a queue may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enabled {
    Yes,
    No,
}

/// Whether writes must be durable before they complete: so for drivers that never flush (5.2.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteCache {
    Back,
    Through,
}

/// Whether guest memory that is written is marked in the dirty log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logging {
    On,
    Off,
}

/// The device's queues and everything in flight.
pub struct Engine {
    disk: Disk,
    /// The volume takes requests.
    is_open: bool,
    counters: Arc<Counters>,
    ram: Arc<GuestRam>,
    queues: Vec<Option<Running>>,
    cache: WriteCache,
    log: Option<Arc<DirtyLog>>,
    logging: Logging,
    /// Where to say that the log has changed.
    log_call: Option<File>,
    requests: Slab<Pending>,
    segments: SegmentPool,
    bytes_in_flight: u64,
    /// Requests of queues that ended that change the volume. While there are any, nothing is taken: the same
    /// requests may come again from a record, and then the guest may write what the old ones still may change.
    orphan_changes: usize,
    /// The queue that is served first next time.
    first: usize,
    last_failure: Option<ClientError>,
}

struct Running {
    vring: Vring,
    enabled: Enabled,
    is_stopping: bool,
    /// The ring may hold chains that nobody looked at.
    is_pending: bool,
    /// Chains were handed back that the driver may not know of.
    is_used: bool,
    in_flight: usize,
}

impl Engine {
    pub fn new(disk: Disk, num_queues: u16, counters: Arc<Counters>) -> Self {
        Self {
            disk,
            is_open: false,
            counters,
            ram: Arc::new(GuestRam::empty()),
            queues: (0..num_queues).map(|_| None).collect(),
            cache: WriteCache::Back,
            log: None,
            logging: Logging::Off,
            log_call: None,
            requests: Slab::with_capacity(64),
            segments: SegmentPool::default(),
            bytes_in_flight: 0,
            orphan_changes: 0,
            first: 0,
            last_failure: None,
        }
    }

    /// Begins to take requests: the volume is open.
    pub fn open(&mut self) {
        self.is_open = true;
    }

    /// Replaces guest memory. Requests in flight keep theirs; running queues must lie in the new one.
    pub fn set_ram(&mut self, ram: Arc<GuestRam>) -> Result<(), Error> {
        self.ram = ram;
        self.queues.iter().flatten().try_for_each(|running| running.vring.check(&self.ram))
    }

    pub fn set_cache(&mut self, cache: WriteCache) {
        self.cache = cache;
    }

    /// Whether what is written from now on is marked, and what is in flight when it is done. When it ends, the
    /// log's memory is let go.
    pub fn set_logging(&mut self, logging: Logging) {
        if (self.logging, logging) == (Logging::On, Logging::Off) {
            (self.log, self.log_call) = (None, None);
            self.queues.iter_mut().flatten().for_each(|running| running.vring.set_log(None));
        }
        self.logging = logging;
    }

    /// Replaces the dirty log.
    pub fn set_log(&mut self, log: Arc<DirtyLog>) {
        for running in self.queues.iter_mut().flatten() {
            running.vring.set_log(Some(Arc::clone(&log)));
        }
        self.log = Some(log);
    }

    /// Changes where the front end hears of changes of the log.
    pub fn set_log_call(&mut self, call: File) {
        self.log_call = Some(call);
    }

    /// Changes at which guest address, if at any, writes to a queue's used ring are marked.
    pub fn set_log_addr(&mut self, index: usize, addr: Option<u64>) {
        if let Some(running) = &mut self.queues[index] {
            running.vring.set_log_addr(addr);
        }
    }

    /// Changes how large the disk is for requests that come from now on.
    pub fn set_size(&mut self, size_bytes: u64) {
        self.disk.size_bytes = size_bytes;
    }

    /// Starts a queue that is not running. What is in its ring already is served without a kick.
    pub fn start(&mut self, index: usize, setup: VringSetup, enabled: Enabled) -> Result<(), Error> {
        let mut vring = Vring::start(setup, &self.ram)?;
        vring.set_log(self.log.clone());
        count(&self.counters.queue_starts, 1);
        self.queues[index] = Some(Running {
            vring,
            enabled,
            is_stopping: false,
            is_pending: true,
            is_used: false,
            in_flight: 0,
        });
        Ok(())
    }

    pub fn set_call(&mut self, index: usize, call: Option<File>) -> Result<(), Error> {
        self.queues[index].as_mut().map_or(Ok(()), |running| running.vring.set_call(call))
    }

    pub fn enable(&mut self, index: usize, enabled: Enabled) {
        if let Some(running) = &mut self.queues[index] {
            running.enabled = enabled;
            running.is_pending = true;
        }
    }

    /// Takes nothing more from a queue. When [`stopped`](Self::stopped) says so, it has ended.
    pub fn begin_stop(&mut self, index: usize) {
        if let Some(running) = &mut self.queues[index] {
            running.is_stopping = true;
        }
    }

    /// Ends a queue that [`begin_stop`](Self::begin_stop) was called for and that has nothing left in flight:
    /// where its next device goes on. `None` while it waits; 0 for a queue that never ran.
    pub fn stopped(&mut self, index: usize) -> Option<u16> {
        let Some(running) = &self.queues[index] else { return Some(0) };
        if !running.is_stopping || running.in_flight > 0 || running.vring.has_again() {
            return None;
        }
        let next_avail = running.vring.next_avail();
        self.queues[index] = None;
        Some(next_avail)
    }

    /// Ends a queue whose requests the volume does not answer: where its next device goes on. What is in
    /// flight goes back to the available ring if it was taken last, so that any device finds it there, and
    /// else stays in the record, if there is one and the next device will have it: a guest that moves leaves
    /// it behind. `None` if the requests would be lost.
    pub fn abandon(&mut self, index: usize) -> Result<Option<u16>, Error> {
        let Some(running) = &mut self.queues[index] else { return Ok(Some(0)) };
        let of_queue = |(_, request): (usize, &Pending)| {
            (request.queue == index && !request.is_orphan).then_some(request.taken)
        };
        let unanswered: Vec<Taken> = self.requests.iter().filter_map(of_queue).collect();
        let first = running.vring.taken() + 1 - (unanswered.len() as u64).min(running.vring.taken());
        if !running.vring.has_again() && unanswered.iter().all(|taken| taken.order >= first) {
            let heads: Vec<u16> = unanswered.iter().map(|taken| taken.head).collect();
            running.vring.put_back(&heads)?;
        } else if !running.vring.is_recorded() || self.logging == Logging::On {
            return Ok(None);
        }
        let next_avail = running.vring.next_avail();
        self.queues[index] = None;
        self.orphan(|request| request.queue == index);
        Ok(Some(next_avail))
    }

    /// Drops all queues, guest memory and logs. What is in flight completes into nothing.
    pub fn end_session(&mut self) {
        self.ram = Arc::new(GuestRam::empty());
        self.queues.fill_with(|| None);
        (self.log, self.logging, self.log_call) = (None, Logging::Off, None);
        self.orphan(|_| true);
    }

    fn orphan(&mut self, mut is_meant: impl FnMut(&Pending) -> bool) {
        let nothing = Arc::new(GuestRam::empty());
        for (_, request) in &mut self.requests {
            if !request.is_orphan && is_meant(request) {
                request.is_orphan = true;
                // The mapping goes away now, not when a stalled volume answers.
                request.ram = Arc::clone(&nothing);
                self.orphan_changes += usize::from(request.changes());
            }
        }
    }

    /// The driver says that a queue has work.
    pub fn kick(&mut self, index: usize) {
        if let Some(running) = &mut self.queues[index] {
            running.is_pending = true;
        }
    }

    /// Requests, and bytes of them, that the volume has.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn in_flight(&self) -> (usize, u64) {
        (self.requests.len(), self.bytes_in_flight)
    }

    /// Why the volume failed a request, since this was last asked.
    pub fn take_failure(&mut self) -> Option<ClientError> {
        self.last_failure.take()
    }

    /// Serves the queues that may have work. True if there is more right now, which another call finds.
    pub fn run(&mut self, out: &mut Vec<Submission>) -> Result<bool, Error> {
        let count = self.queues.len();
        let mut more = false;
        for step in 0..count {
            let index = (self.first + step) % count;
            more |= self.serve(index, out)?;
        }
        self.first = (self.first + 1) % count;
        Ok(more)
    }

    /// Announces what was handed back, once a queue. Fails if guest memory was lost meanwhile.
    pub fn announce(&mut self) -> Result<(), Error> {
        let mut is_used = false;
        for running in self.queues.iter_mut().flatten() {
            if running.vring.is_lost() {
                return Err(lost());
            }
            if running.is_used || running.vring.owes_call() {
                is_used |= running.is_used;
                running.is_used = false;
                running.vring.announce(&self.ram)?;
            }
        }
        if self.ram.is_lost() || self.log.as_ref().is_some_and(|log| log.is_lost()) {
            return Err(lost());
        }
        match &mut self.log_call {
            Some(call) if is_used && self.logging == Logging::On => notify(call),
            _ => Ok(()),
        }
    }

    /// Takes the volume's answer to a submission.
    pub fn complete(
        &mut self,
        id: u64,
        result: Result<Option<Bytes>, ClientError>,
        out: &mut Vec<Submission>,
    ) -> Result<(), Error> {
        let key = usize::try_from(id).expect("ids are keys of the slab");
        let request = &mut self.requests[key];
        if request.is_orphan {
            self.release(key);
            return Ok(());
        }
        let next = match result {
            Ok(data) => request.advance(data).and_then(|()| request.next_op()),
            Err(error) => {
                tracing::trace!(queue = request.queue, %error, "the volume failed a request");
                self.last_failure = Some(error);
                return self.finish(key, Status::IoError);
            }
        };
        match next {
            Ok(Some(op)) => out.push((id, op)),
            Ok(None) => self.finish(key, Status::Ok)?,
            Err(error) => {
                // The session ends, and no answer of the volume will free the place.
                self.release(key);
                return Err(error);
            }
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.requests.len() < MAX_REQUESTS_IN_FLIGHT && self.bytes_in_flight < MAX_BYTES_IN_FLIGHT
    }

    /// Serves one queue's turn. True if it has more and there is room for it.
    fn serve(&mut self, index: usize, out: &mut Vec<Submission>) -> Result<bool, Error> {
        let mut left = MAX_REQUESTS_PER_TURN;
        let ram = Arc::clone(&self.ram);
        loop {
            let has_room = self.has_room();
            let is_held = !self.is_open || self.orphan_changes > 0;
            let Some(running) = &mut self.queues[index] else { return Ok(false) };
            if !running.may_take() || is_held {
                return Ok(false);
            }
            // Without room it stays pending and silent: completions make room, and the next run looks again.
            if !has_room || left == 0 {
                return Ok(has_room);
            }
            if left == MAX_REQUESTS_PER_TURN {
                running.vring.silence(&ram)?;
            }
            left -= 1;
            let Some(taken) = running.vring.pop(&ram)? else {
                running.is_pending = running.vring.listen(&ram)?;
                continue;
            };
            if taken.order == 0 {
                count(&self.counters.recovered, 1);
            }
            let table = running.vring.table();
            let parsed = parse(&ram, table, taken.head, self.disk.size_bytes, &mut self.segments);
            self.admit(index, taken, parsed, &ram, out)?;
        }
    }

    fn admit(
        &mut self,
        index: usize,
        taken: Taken,
        parsed: Parsed,
        ram: &Arc<GuestRam>,
        out: &mut Vec<Submission>,
    ) -> Result<(), Error> {
        let (answer, status) = match parsed {
            Parsed::Broken => {
                count(&self.counters.errors, 1);
                return self.give_back(index, taken.head, 0);
            }
            Parsed::Refused { answer, status } => (answer, status),
            Parsed::Request { ask: Ask::GetId(segments), status } => {
                ram.write(&segments, 0, &self.disk.serial)?;
                ram.write_byte(status, Status::Ok.byte())?;
                self.mark(|log| log.mark_segments(&segments).and_then(|()| log.mark(status.0, 1)))?;
                return self.give_back(index, taken.head, ID_WRITTEN_BYTES);
            }
            Parsed::Request { ask, status } => {
                let mut request = Pending::new(index, taken, status, Arc::clone(ram), ask, self.cache);
                let op = request.next_op()?.expect("a new request has something to ask");
                self.bytes_in_flight += request.charge;
                if let Some(running) = &mut self.queues[index] {
                    running.in_flight += 1;
                }
                out.push((self.requests.insert(request) as u64, op));
                return Ok(());
            }
        };
        count(&self.counters.errors, 1);
        ram.write_byte(status, answer.byte())?;
        self.mark(|log| log.mark(status.0, 1))?;
        self.give_back(index, taken.head, 1)
    }

    /// Answers a request of a running queue.
    fn finish(&mut self, key: usize, status: Status) -> Result<(), Error> {
        let request = self.release(key);
        request.count(&self.counters, status);
        let written = match (&request.ask, status) {
            (Ask::Read(range, _), Status::Ok) => u32::try_from(range.len + 1).unwrap_or(u32::MAX),
            _ => 1,
        };
        if let Some(running) = &mut self.queues[request.queue] {
            running.in_flight -= 1;
        }
        request.ram.write_byte(request.status, status.byte())?;
        self.mark(|log| {
            // All of it, whatever was written before logging began or before the volume failed.
            if let Ask::Read(_, segments) = &request.ask {
                log.mark_segments(segments)?;
            }
            log.mark(request.status.0, 1)
        })?;
        self.segments.put_ask(request.ask);
        self.give_back(request.queue, request.taken.head, written)
    }

    fn mark(&self, mark: impl FnOnce(&DirtyLog) -> Result<(), Error>) -> Result<(), Error> {
        match &self.log {
            Some(log) if self.logging == Logging::On => mark(log),
            _ => Ok(()),
        }
    }

    fn release(&mut self, key: usize) -> Pending {
        let request = self.requests.remove(key);
        self.bytes_in_flight -= request.charge;
        self.orphan_changes -= usize::from(request.is_orphan && request.changes());
        request
    }

    fn give_back(&mut self, index: usize, head: u16, written: u32) -> Result<(), Error> {
        let Some(running) = &mut self.queues[index] else { return Ok(()) };
        running.is_used = true;
        running.vring.give_back(&self.ram, head, written)
    }
}

impl Running {
    /// Whether chains may be taken: also those of the record while the queue is being stopped, since only
    /// this device knows of them.
    fn may_take(&self) -> bool {
        let wanted = if self.is_stopping { self.vring.has_again() } else { self.enabled == Enabled::Yes };
        self.is_pending && wanted
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Protocol, "the front end truncated the file behind guest memory")
}

/// Adds to a counter of operations.
pub fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

#[cfg(test)]
#[path = "engine_test.rs"]
mod tests;

#[cfg(test)]
#[path = "recovery_test.rs"]
mod recovery_tests;
