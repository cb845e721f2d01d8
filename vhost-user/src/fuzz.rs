//! Feeds anything into a device that has no threads and no socket file: what a fuzz target calls with its bytes,
//! and what the tests call with mutated sessions. Everything a front end or a guest may do must end in an error
//! of its session, an error of a request, or a request that lies within the disk.

use crate::config_space::MemorySlots;
use crate::control::{Line, take_message};
use crate::data::{Command, DataLink};
use crate::engine::{Disk, Enabled, Engine, Logging, Submission};
use crate::error::{Error, ErrorKind};
use crate::inflight::{Record, Shape};
use crate::limits::{MAX_BYTES_IN_FLIGHT, MAX_PIECE_BYTES, MAX_REQUESTS_IN_FLIGHT};
use crate::mem::{GuestRam, RegionPlace};
use crate::session::{Offer, Session};
use crate::vring::{RingPlace, VringSetup};
use blockd::client::VolumeOp;
use bytes::Bytes;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use vhost::vhost_user::BackendReqHandler;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

/// Bytes of the guest's memory, of its disk, and of what one run may bring.
pub const RAM_BYTES: u64 = 1 << 20;
const DISK_BYTES: u64 = 64 << 20;
const MAX_INPUT_BYTES: usize = 64 << 10;
/// Messages of one session: as many as a socket holds unread, with their answers.
const MAX_MESSAGES: usize = 64;
const NUM_QUEUES: u16 = 2;
const MAX_QUEUE_SIZE: u16 = 64;
/// Where the front end says that guest memory lies in its own.
pub const USER_BASE: u64 = 0x7f00_0000_0000;

/// [`chains`] copies its input to this guest address: the descriptor table, then the available ring, then what
/// descriptors may point at.
pub const TABLE: u64 = 0x1000;
pub const AVAILABLE: u64 = TABLE + 16 * QUEUE_SIZE as u64;
const USED: u64 = 0x800;
/// Entries of the queue that [`chains`] runs.
pub const QUEUE_SIZE: u16 = 16;
/// Bytes that [`chains`] copies before each time it looks at the ring.
pub const IMAGE_BYTES: usize = 2048;

/// What a run came to, so that a test knows that it does not test refusals only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Messages that were taken.
    pub messages: usize,
    /// Requests that the volume was asked for, in pieces.
    pub operations: usize,
}

/// One message of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub code: u8,
    /// Of the header; bit 7 has the header claim another size than the body has.
    pub flags: u8,
    /// Up to 7 files in the low bits; the others say which: see [`Files`].
    pub files: u8,
    pub body: Vec<u8>,
}

/// The files a message may come with.
struct Files {
    /// Guest memory, an in-flight record and a dirty log; `short` ends before any of them.
    ram: File,
    record: File,
    short: File,
    event: EventFd,
    socket: UnixStream,
}

/// An engine and a volume that answers at once.
pub struct Rig {
    engine: Engine,
    out: Vec<Submission>,
    operations: usize,
    failure: Option<Error>,
}

impl Rig {
    fn new() -> Self {
        let mut engine =
            Engine::new(Disk { size_bytes: DISK_BYTES, serial: [7; 20] }, NUM_QUEUES, Arc::default());
        engine.open();
        Self { engine, out: Vec::new(), operations: 0, failure: None }
    }

    /// As the data task does.
    pub fn obey(&mut self, command: Command) {
        match command {
            Command::SetRam(ram, reply) => {
                let outcome = self.check().and_then(|()| self.engine.set_ram(ram));
                let _ = reply.send(outcome);
            }
            Command::Engine(ask) => ask.obey(&mut self.engine),
            Command::Start { queue, setup, kick: _, enabled, reply } => {
                let outcome = self.check().and_then(|()| self.engine.start(queue, setup, enabled));
                let _ = reply.send(outcome);
            }
            Command::SetCall { queue, call } => {
                let outcome = self.engine.set_call(queue, call);
                self.fail(outcome);
            }
            Command::Stop { queue, reply } => {
                self.engine.begin_stop(queue);
                self.turn();
                let stopped =
                    self.engine.stopped(queue).map_or_else(|| self.engine.abandon(queue), |at| Ok(Some(at)));
                let lost = || Error::new(ErrorKind::System, "requests would be lost");
                let _ = reply.send(stopped.and_then(|at| at.ok_or_else(lost)));
            }
            Command::EndSession(reply) => {
                self.engine.end_session();
                let _ = reply.send(Ok(()));
            }
            Command::Open(reply) => {
                self.engine.open();
                let _ = reply.send(Ok(()));
            }
            Command::Resize { size_bytes, reply } => {
                self.engine.set_size(size_bytes);
                let _ = reply.send(Ok(()));
            }
            Command::Shutdown => {}
        }
    }

    /// Has the queues served and the volume answer until nothing moves, or for as long as a hostile ring may
    /// keep a device busy in one go.
    fn turn(&mut self) {
        for queue in 0..usize::from(NUM_QUEUES) {
            self.engine.kick(queue);
        }
        for _ in 0..8 {
            let outcome = self.step();
            let is_quiet = matches!(outcome, Ok(false));
            self.fail(outcome.map(|_| ()));
            if is_quiet || self.failure.is_some() {
                return;
            }
        }
    }

    fn step(&mut self) -> Result<bool, Error> {
        let more = self.engine.run(&mut self.out);
        let submissions = std::mem::take(&mut self.out);
        let is_quiet = submissions.is_empty();
        let (requests, bytes) = self.engine.in_flight();
        assert!(requests <= MAX_REQUESTS_IN_FLIGHT && bytes < MAX_BYTES_IN_FLIGHT + MAX_PIECE_BYTES);
        let mut outcome = more.map(|more| more || !is_quiet);
        for (id, op) in submissions {
            self.operations += 1;
            let taken = self.engine.complete(id, Ok(perform(op)), &mut self.out);
            outcome = outcome.and_then(|more| taken.map(|()| more));
        }
        self.engine.announce()?;
        outcome
    }

    fn check(&self) -> Result<(), Error> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, outcome: Result<(), Error>) {
        if let Err(error) = outcome {
            self.engine.end_session();
            self.failure = Some(error);
        }
    }
}

/// What the volume answers. It is asked for nothing that it does not have.
fn perform(op: VolumeOp) -> Option<Bytes> {
    let (offset, len, data) = match op {
        VolumeOp::Read { offset, len, .. } => (offset, len as u64, Some(Bytes::from(vec![0x5a; len]))),
        VolumeOp::Write { offset, data } => (offset, data.len() as u64, None),
        VolumeOp::Trim { offset, len } | VolumeOp::WriteZeroes { offset, len } => (offset, len, None),
        VolumeOp::Flush => return None,
    };
    assert!(offset.checked_add(len).is_some_and(|end| end <= DISK_BYTES));
    assert!(offset.is_multiple_of(512) && len.is_multiple_of(512) && len > 0);
    data
}

/// A session: the bytes up to the length in the first two are put into guest memory at [`TABLE`], the rest are
/// messages as [`encode`] writes them.
pub fn session(input: &[u8]) -> Outcome {
    let input = &input[..input.len().min(MAX_INPUT_BYTES)];
    let Some((len, rest)) = input.split_first_chunk::<2>() else { return Outcome::default() };
    let (image, messages) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
    run_session(image, &decode(messages))
}

/// A session of `messages` whose guest memory has `image` at [`TABLE`].
pub fn run_session(image: &[u8], messages: &[Message]) -> Outcome {
    let Ok((files, front, back)) = Files::new(image) else { return Outcome::default() };
    for message in messages.iter().take(MAX_MESSAGES) {
        let size = u32::try_from(message.body.len()).expect("a body is shorter than 64 KiB");
        let size = if message.flags & 0x80 != 0 { size.wrapping_add(0xfff1).rotate_left(9) } else { size };
        let header = [u32::from(message.code), u32::from(message.flags & 0x7f), size].map(u32::to_le_bytes);
        if front.send_with_fds(&[&header.concat()[..], &message.body], &files.pick(message.files)).is_err() {
            break;
        }
    }
    // What comes behind the last message is the connection's end.
    let _ = front.shutdown(Shutdown::Write);
    let rig = Arc::new(Mutex::new(Rig::new()));
    let offer = Offer {
        size_bytes: Arc::new(DISK_BYTES.into()),
        num_queues: NUM_QUEUES,
        max_queue_size: MAX_QUEUE_SIZE,
        memory_slots: MemorySlots::Offered,
    };
    let session = Arc::new(Mutex::new(Session::new(offer, DataLink::Inline(Arc::clone(&rig)))));
    let line = Line::default();
    let Ok(own) = back.try_clone() else { return Outcome::default() };
    let mut handler = BackendReqHandler::from_stream(back, Arc::clone(&session));
    let mut outcome = Outcome::default();
    while take_message(&own, &mut handler, &session, &line).is_ok() {
        outcome.messages += 1;
        let mut rig = rig.lock().unwrap_or_else(PoisonError::into_inner);
        rig.turn();
        outcome.operations = rig.operations;
        if rig.failure.is_some() {
            break;
        }
    }
    outcome
}

/// Rings and chains of a running queue: before each look at the ring, the next [`IMAGE_BYTES`] are put into guest
/// memory at [`TABLE`]. The first byte says how the queue was started.
pub fn chains(input: &[u8]) -> Outcome {
    let input = &input[..input.len().min(MAX_INPUT_BYTES)];
    let Some((how, images)) = input.split_first() else { return Outcome::default() };
    let Ok(file) = memory(RAM_BYTES) else { return Outcome::default() };
    let mut rig = Rig::new();
    let started = start_queue(&mut rig, &file, *how);
    rig.fail(started);
    for image in images.chunks(IMAGE_BYTES) {
        if rig.failure.is_some() || file.write_all_at(image, TABLE).is_err() {
            break;
        }
        rig.turn();
    }
    Outcome { messages: 0, operations: rig.operations }
}

fn start_queue(rig: &mut Rig, file: &File, how: u8) -> Result<(), Error> {
    let again = |file: &File| file.try_clone().map_err(|error| Error::system("a file", error));
    let place = RegionPlace { guest_addr: 0, user_addr: USER_BASE, len: RAM_BYTES, file_offset: 0 };
    rig.engine.set_ram(Arc::new(GuestRam::empty().with_region(place, again(file)?)?))?;
    let shape = Shape { num_queues: 1, queue_size: QUEUE_SIZE };
    let record = match how & 1 {
        0 => None,
        // The record lies in guest memory, so that the input writes it too.
        _ => Some((Arc::new(Record::adopt(again(file)?, TABLE, shape)?), 0)),
    };
    if how & 2 != 0 {
        rig.engine.set_log(Arc::new(crate::dirty::DirtyLog::new(again(file)?, 0, 4096)?));
        rig.engine.set_logging(Logging::On);
    }
    let setup = VringSetup {
        size: QUEUE_SIZE,
        place: RingPlace { descriptors: TABLE, available: AVAILABLE, used: USED },
        next_avail: 0,
        has_event_idx: how & 4 != 0,
        call: None,
        record,
        log_addr: (how & 8 != 0).then_some(u64::from(how) << 16),
    };
    rig.engine.start(0, setup, Enabled::Yes)
}

impl Files {
    fn new(image: &[u8]) -> std::io::Result<(Self, UnixStream, UnixStream)> {
        let ram = memory(RAM_BYTES)?;
        ram.write_all_at(image, TABLE)?;
        let record = memory(1 << 16)?;
        let short = memory(100)?;
        let (front, back) = UnixStream::pair()?;
        let (socket, _) = UnixStream::pair()?;
        // A device that asks for more must not wait for ever.
        let event = EventFd::new(0)?;
        Ok((Self { ram, record, short, event, socket }, front, back))
    }

    /// The files that a message's byte names: the low three bits count them, the next three name the first, and
    /// the others follow in their order.
    fn pick(&self, files: u8) -> Vec<RawFd> {
        let fds = [
            self.ram.as_raw_fd(),
            self.event.as_raw_fd(),
            self.record.as_raw_fd(),
            self.socket.as_raw_fd(),
            self.short.as_raw_fd(),
        ];
        let first = usize::from(files >> 3 & 7);
        (0..usize::from(files & 7)).map(|at| fds[(first + at) % fds.len()]).collect()
    }
}

fn memory(len: u64) -> std::io::Result<File> {
    let file = File::from(memfd_create("ashlar-fuzz", MemfdFlags::CLOEXEC)?);
    file.set_len(len)?;
    Ok(file)
}

/// Messages as [`session`] reads them: code, flags, files, the body's length, the body.
pub fn encode(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Message { code, flags, files, body } in messages {
        let len = u8::try_from(body.len()).unwrap_or(u8::MAX);
        bytes.extend_from_slice(&[*code, *flags, *files, len]);
        bytes.extend_from_slice(&body[..usize::from(len)]);
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some((&[code, flags, files, len], rest)) = bytes.split_first_chunk::<4>() {
        let (body, rest) = rest.split_at(usize::from(len).min(rest.len()));
        messages.push(Message { code, flags, files, body: body.to_vec() });
        bytes = rest;
    }
    messages
}

#[cfg(test)]
#[path = "fuzz_test.rs"]
mod tests;
