//! The device between its queues and its volume: takes requests from the rings, asks the volume, answers.
//!
//! No socket, no ring, no clock: kicks and the volume's answers come in, volume operations go out, so tests
//! run it against a volume in memory. What it can't take (too much in flight) stays in the guest's ring.

use crate::error::Error;
use crate::limits::{
    ID_BYTES, ID_WRITTEN_BYTES, MAX_BYTES_IN_FLIGHT, MAX_PIECE_BYTES, MAX_REQUESTS_IN_FLIGHT,
    MAX_REQUESTS_PER_TURN,
};
use crate::mem::GuestRam;
use crate::request::{Ask, Parsed, Range, Status, parse};
use crate::vring::{Vring, VringSetup};
use blockd::ClientError;
use blockd::client::{Holes, VolumeOp};
use bytes::Bytes;
use slab::Slab;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vm_memory::GuestAddress;

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

/// The device's queues and everything in flight.
pub struct Engine {
    disk: Disk,
    counters: Arc<Counters>,
    ram: Arc<GuestRam>,
    queues: Vec<Option<Running>>,
    cache: WriteCache,
    /// Counts sessions: answers for a former one have nobody to go to.
    session: u64,
    requests: Slab<InFlight>,
    bytes_in_flight: u64,
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

struct InFlight {
    session: u64,
    queue: usize,
    head: u16,
    status: GuestAddress,
    ram: Arc<GuestRam>,
    ask: Ask,
    charge: u64,
    /// Bytes, or ranges, that the volume has done.
    done: u64,
    /// Bytes, or ranges, that it is doing.
    piece: u64,
    flush: FlushAfter,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FlushAfter {
    No,
    Due,
    Asked,
}

impl Engine {
    pub fn new(disk: Disk, num_queues: u16, counters: Arc<Counters>) -> Self {
        Self {
            disk,
            counters,
            ram: Arc::new(GuestRam::empty()),
            queues: (0..num_queues).map(|_| None).collect(),
            cache: WriteCache::Back,
            session: 0,
            requests: Slab::with_capacity(64),
            bytes_in_flight: 0,
            first: 0,
            last_failure: None,
        }
    }

    /// Replaces guest memory. Requests in flight keep theirs; running queues must lie in the new one.
    pub fn set_ram(&mut self, ram: Arc<GuestRam>) -> Result<(), Error> {
        self.ram = ram;
        self.queues.iter().flatten().try_for_each(|running| running.vring.check(&self.ram))
    }

    pub fn set_cache(&mut self, cache: WriteCache) {
        self.cache = cache;
    }

    /// Starts a queue that is not running. What is in its ring already is served without a kick.
    pub fn start(&mut self, index: usize, setup: VringSetup, enabled: Enabled) -> Result<(), Error> {
        let vring = Vring::start(setup, &self.ram)?;
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
        if !running.is_stopping || running.in_flight > 0 {
            return None;
        }
        let next_avail = running.vring.next_avail();
        self.queues[index] = None;
        Some(next_avail)
    }

    /// Drops all queues and guest memory. What is in flight completes into nothing.
    pub fn end_session(&mut self) {
        self.session += 1;
        self.ram = Arc::new(GuestRam::empty());
        self.queues.fill_with(|| None);
        for (_, request) in &mut self.requests {
            // The mapping goes away now, not when a stalled volume answers.
            request.ram = Arc::clone(&self.ram);
        }
    }

    /// The driver says that a queue has work.
    pub fn kick(&mut self, index: usize) {
        if let Some(running) = &mut self.queues[index] {
            running.is_pending = true;
        }
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
        for running in self.queues.iter_mut().flatten().filter(|running| running.is_used) {
            running.is_used = false;
            running.vring.announce(&self.ram)?;
        }
        if self.ram.is_lost() {
            let kind = crate::error::ErrorKind::Protocol;
            return Err(Error::new(kind, "the front end truncated the file behind guest memory"));
        }
        Ok(())
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
        if request.session != self.session {
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
            let Some(running) = &mut self.queues[index] else { return Ok(false) };
            if !running.is_pending || running.is_stopping || running.enabled == Enabled::No {
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
            let Some(chain) = running.vring.pop(&ram)? else {
                running.is_pending = running.vring.listen(&ram)?;
                continue;
            };
            let head = chain.head_index();
            let parsed = parse(chain, &ram, self.disk.size_bytes);
            self.admit(index, head, parsed, &ram, out)?;
        }
    }

    fn admit(
        &mut self,
        index: usize,
        head: u16,
        parsed: Parsed,
        ram: &Arc<GuestRam>,
        out: &mut Vec<Submission>,
    ) -> Result<(), Error> {
        let (answer, status) = match parsed {
            Parsed::Broken => {
                count(&self.counters.errors, 1);
                return self.give_back(index, head, 0);
            }
            Parsed::Refused { answer, status } => (answer, status),
            Parsed::Request { ask: Ask::GetId(segments), status } => {
                ram.write(&segments, 0, &self.disk.serial)?;
                ram.write_byte(status, Status::Ok.byte())?;
                return self.give_back(index, head, ID_WRITTEN_BYTES);
            }
            Parsed::Request { ask, status } => {
                let mut request =
                    InFlight::new(self.session, index, head, status, Arc::clone(ram), ask, self.cache);
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
        self.give_back(index, head, 1)
    }

    /// Answers a request of this session.
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
        self.give_back(request.queue, request.head, written)
    }

    fn release(&mut self, key: usize) -> InFlight {
        let request = self.requests.remove(key);
        self.bytes_in_flight -= request.charge;
        request
    }

    fn give_back(&mut self, index: usize, head: u16, written: u32) -> Result<(), Error> {
        let Some(running) = &mut self.queues[index] else { return Ok(()) };
        running.is_used = true;
        running.vring.give_back(&self.ram, head, written)
    }
}

impl InFlight {
    fn new(
        session: u64,
        queue: usize,
        head: u16,
        status: GuestAddress,
        ram: Arc<GuestRam>,
        ask: Ask,
        cache: WriteCache,
    ) -> Self {
        let charge = match &ask {
            Ask::Read(range, _) | Ask::Write { range, .. } => range.len.min(MAX_PIECE_BYTES),
            _ => 0,
        };
        let changes = matches!(ask, Ask::Write { .. } | Ask::Discard(_) | Ask::WriteZeroes(_));
        let flush = if changes && cache == WriteCache::Through { FlushAfter::Due } else { FlushAfter::No };
        Self { session, queue, head, status, ram, ask, charge, done: 0, piece: 0, flush }
    }

    /// Takes in what the volume did.
    fn advance(&mut self, data: Option<Bytes>) -> Result<(), Error> {
        if self.flush == FlushAfter::Asked {
            return Ok(());
        }
        if let Ask::Read(_, segments) = &self.ask {
            let data = data.unwrap_or_default();
            assert_eq!(data.len() as u64, self.piece, "the volume read another length than it was asked for");
            self.ram.write(segments, self.done, &data)?;
        }
        self.done += self.piece;
        Ok(())
    }

    /// What to ask the volume next; `None` when all is done.
    fn next_op(&mut self) -> Result<Option<VolumeOp>, Error> {
        let op = match &self.ask {
            Ask::Read(range, _) => {
                self.piece = piece(range, self.done);
                let len = usize::try_from(self.piece).expect("a piece fits memory");
                let read = VolumeOp::Read { offset: range.offset + self.done, len, holes: Holes::Zeros };
                (self.piece > 0).then_some(read)
            }
            Ask::Write { range, segments, skip } => {
                self.piece = piece(range, self.done);
                let len = usize::try_from(self.piece).expect("a piece fits memory");
                match len {
                    0 => None,
                    _ => Some(VolumeOp::Write {
                        offset: range.offset + self.done,
                        data: self.ram.read(segments, skip + self.done, len)?,
                    }),
                }
            }
            Ask::Flush => {
                self.piece = 1;
                (self.done == 0).then_some(VolumeOp::Flush)
            }
            Ask::Discard(ranges) => {
                self.piece = 1;
                nth(ranges, self.done).map(|Range { offset, len }| VolumeOp::Trim { offset, len })
            }
            Ask::WriteZeroes(ranges) => {
                self.piece = 1;
                nth(ranges, self.done).map(|Range { offset, len }| VolumeOp::WriteZeroes { offset, len })
            }
            Ask::GetId(_) => None,
        };
        if op.is_none() && self.flush == FlushAfter::Due {
            self.flush = FlushAfter::Asked;
            return Ok(Some(VolumeOp::Flush));
        }
        Ok(op)
    }

    fn count(&self, counters: &Counters, status: Status) {
        if status != Status::Ok {
            return count(&counters.errors, 1);
        }
        match &self.ask {
            Ask::Read(range, _) => {
                count(&counters.reads, 1);
                count(&counters.read_bytes, range.len);
            }
            Ask::Write { range, .. } => {
                count(&counters.writes, 1);
                count(&counters.written_bytes, range.len);
            }
            Ask::Flush => count(&counters.flushes, 1),
            Ask::Discard(_) | Ask::WriteZeroes(_) => count(&counters.trims, 1),
            Ask::GetId(_) => {}
        }
    }
}

fn piece(range: &Range, done: u64) -> u64 {
    (range.len - done).min(MAX_PIECE_BYTES)
}

fn nth(ranges: &[Range], index: u64) -> Option<Range> {
    ranges.get(usize::try_from(index).ok()?).copied()
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

#[cfg(test)]
#[path = "engine_test.rs"]
mod tests;
