//! Whole devices over their sockets, in front of a volume in memory: a driver nobody here wrote (libblkio's)
//! and front ends that break every rule.

#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

use crate::config_space::MemorySlots;
use crate::data::{Backend, Done};
use crate::device::{Device, DeviceHandle, DeviceStatus, Front};
use crate::error::ErrorKind;
use crate::opening::Open;
use crate::test_client::{Client, Io};
use blockd::ClientError;
use blockd::client::VolumeOp;
use bytes::Bytes;
use rt::clock::{Clock, Instant, SystemClock};
use rt::ring::{Completion, Reactor};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SIZE: u64 = 8 << 20;

/// A volume in memory, which outlives sessions and devices. It answers nothing while it stalls.
#[derive(Clone)]
pub(crate) struct MemoryVolume {
    shared: Arc<Shared>,
    /// What this device asked and was not told.
    held: VecDeque<(u64, VolumeOp)>,
    done: VecDeque<Done>,
}

struct Shared {
    bytes: Mutex<Vec<u8>>,
    is_stalled: AtomicBool,
    /// Where each operation began, in the order they came.
    asked: Mutex<Vec<u64>>,
    /// Devices that opened it.
    opened: AtomicUsize,
    /// The next pump brings about that something is due soon; and whether it was heard that it is.
    is_news: AtomicBool,
    due: Mutex<Option<Instant>>,
    was_told: AtomicBool,
}

impl MemoryVolume {
    pub(crate) fn new() -> Self {
        let shared = Shared {
            bytes: Mutex::new(vec![0; SIZE as usize]),
            is_stalled: AtomicBool::new(false),
            asked: Mutex::default(),
            opened: AtomicUsize::new(0),
            is_news: AtomicBool::new(false),
            due: Mutex::default(),
            was_told: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), held: VecDeque::new(), done: VecDeque::new() }
    }

    pub(crate) fn stall(&self, is_stalled: bool) {
        self.shared.is_stalled.store(is_stalled, Ordering::SeqCst);
    }

    /// The offsets of what was asked since the last call.
    pub(crate) fn take_asked(&self) -> Vec<u64> {
        std::mem::take(&mut *self.shared.asked.lock().unwrap())
    }

    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.lock().unwrap().len()
    }

    pub(crate) fn opened(&self) -> usize {
        self.shared.opened.load(Ordering::SeqCst)
    }

    pub(crate) fn get(&self, range: Range<usize>) -> Vec<u8> {
        self.shared.bytes.lock().unwrap()[range].to_vec()
    }

    fn perform(&mut self, id: u64, op: VolumeOp) {
        let mut bytes = self.shared.bytes.lock().unwrap();
        let at = |offset: u64, len: u64| offset as usize..(offset + len) as usize;
        let data = match op {
            VolumeOp::Read { offset, len, .. } => {
                Some(Bytes::copy_from_slice(&bytes[at(offset, len as u64)]))
            }
            VolumeOp::Write { offset, data } => {
                bytes[at(offset, data.len() as u64)].copy_from_slice(&data);
                None
            }
            VolumeOp::Trim { offset, len } | VolumeOp::WriteZeroes { offset, len } => {
                bytes[at(offset, len)].fill(0);
                None
            }
            VolumeOp::Flush => None,
        };
        self.done.push_back((id, Ok(data)));
    }
}

impl Backend for MemoryVolume {
    fn start(&mut self, _reactor: &mut Reactor) {
        self.shared.opened.fetch_add(1, Ordering::SeqCst);
    }

    fn take_opened(&mut self) -> Option<Result<(), ClientError>> {
        Some(Ok(()))
    }

    fn pump(&mut self, _reactor: &mut Reactor) {
        if self.shared.is_news.swap(false, Ordering::SeqCst) {
            *self.shared.due.lock().unwrap() = Some(SystemClock.now() + Duration::from_millis(2));
        }
        while !self.shared.is_stalled.load(Ordering::SeqCst) {
            let Some((id, op)) = self.held.pop_front() else { break };
            self.perform(id, op);
        }
    }

    fn submit(&mut self, id: u64, op: VolumeOp, _reactor: &mut Reactor) {
        self.shared.asked.lock().unwrap().push(match &op {
            VolumeOp::Read { offset, .. }
            | VolumeOp::Write { offset, .. }
            | VolumeOp::Trim { offset, .. }
            | VolumeOp::WriteZeroes { offset, .. } => *offset,
            VolumeOp::Flush => u64::MAX,
        });
        if self.shared.is_stalled.load(Ordering::SeqCst) {
            self.held.push_back((id, op));
        } else {
            self.perform(id, op);
        }
    }

    fn on_completion(&mut self, _completion: Completion, _reactor: &mut Reactor) {
        panic!("it has nothing on the ring");
    }

    fn next_deadline(&self) -> Option<Instant> {
        let soon = SystemClock.now() + Duration::from_millis(2);
        if !self.done.is_empty() {
            // As the real one: a pump brought it about.
            return Some(SystemClock.now());
        }
        let due = *self.shared.due.lock().unwrap();
        due.or((!self.held.is_empty()).then_some(soon))
    }

    fn on_deadline(&mut self, _reactor: &mut Reactor) {
        if self.shared.due.lock().unwrap().take().is_some() {
            self.shared.was_told.store(true, Ordering::SeqCst);
        }
    }

    fn take_done(&mut self) -> Option<Done> {
        self.done.pop_front()
    }

    fn set_size(&mut self, size_bytes: u64) {
        self.shared.bytes.lock().unwrap().resize(size_bytes as usize, 0);
    }
}

pub(crate) fn config(folder: &Path) -> Front {
    Front {
        socket: folder.join("disk.sock"),
        serial: "a-volume".into(),
        size_bytes: SIZE,
        num_queues: 4,
        max_queue_size: 256,
        open: Open::AtOnce,
        memory_slots: MemorySlots::Offered,
    }
}

fn serve(folder: &Path, volume: &MemoryVolume) -> DeviceHandle {
    Device::serve_backend(config(folder), volume.clone()).unwrap()
}

pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("{what} did not come");
}

/// A volume whose writes all wait for what it asks the control plane next has nothing else that wakes it.
#[test]
fn what_a_pump_makes_due_is_waited_for() {
    let (folder, volume) = (tempfile::tempdir().unwrap(), MemoryVolume::new());
    let device = serve(folder.path(), &volume);
    volume.shared.is_news.store(true, Ordering::SeqCst);
    // One wake-up, as by an answer of the control plane.
    device.resize(2 * SIZE).unwrap();
    until("what was due", || volume.shared.was_told.load(Ordering::SeqCst));
}

/// A generator of numbers that need not be good, only the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % below
    }
}

#[test]
fn a_foreign_driver_reads_what_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let volume = MemoryVolume::new();
    let device = serve(folder.path(), &volume);
    let mut model = vec![0; SIZE as usize];
    let mut dice = Dice(7);
    for session in 0..3 {
        let mut client = Client::connect(&config(folder.path()).socket, 4);
        assert_eq!(client.capacity(), SIZE);
        for step in 0..300 {
            let queue = dice.roll(4) as usize;
            let len = 512 * (1 + dice.roll(300));
            let offset = 512 * dice.roll((SIZE - len) / 512 + 1);
            let range = offset as usize..(offset + len) as usize;
            match dice.roll(7) {
                0 | 1 => {
                    let fill = dice.roll(256) as u8;
                    let data: Vec<u8> = (0..len).map(|at| fill.wrapping_add(at as u8)).collect();
                    client.put(0, &data);
                    assert_eq!(client.io(queue, Io::Write { offset, len }), 0);
                    model[range].copy_from_slice(&data);
                }
                2 | 3 => {
                    assert_eq!(client.io(queue, Io::Read { offset, len }), 0);
                    assert!(client.get(0, len as usize) == model[range], "session {session} step {step}");
                }
                4 => {
                    assert_eq!(client.io(queue, Io::WriteZeroes { offset, len }), 0);
                    model[range].fill(0);
                }
                5 => {
                    assert_eq!(client.io(queue, Io::Discard { offset, len }), 0);
                    model[range].fill(0);
                }
                _ => assert_eq!(client.io(queue, Io::Flush), 0),
            }
        }
        assert!(volume.get(0..SIZE as usize) == model);
    }
    until("the last disconnect", || !device.status().is_connected);
    let DeviceStatus { sessions, errors, last_error, writes, flushes, .. } = device.status();
    assert_eq!((sessions, errors, last_error), (3, 0, None));
    assert!(writes > 100 && flushes > 40);
    device.stop();
    assert!(!config(folder.path()).socket.exists());
}

#[test]
fn many_requests_on_many_queues_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let volume = MemoryVolume::new();
    let device = serve(folder.path(), &volume);
    let mut client = Client::connect(&config(folder.path()).socket, 4);
    for round in 0..50u8 {
        client.put(0, &[round; 4096]);
        for queue in 0..4 {
            for slot in 0..64u64 {
                let offset = (queue as u64 * 64 + slot) * 4096;
                client.submit(queue, Io::Write { offset, len: 4096 }, 0);
            }
        }
        for queue in 0..4 {
            assert!(client.wait(queue, 64).iter().all(|&result| result == 0));
        }
        assert!(volume.get(0..1 << 20).iter().all(|&byte| byte == round));
    }
    assert_eq!(device.status().writes, 50 * 256);
    // Errors are the request's, not the session's.
    assert_ne!(client.io(0, Io::Read { offset: SIZE, len: 512 }), 0);
    assert_eq!(client.io(0, Io::Read { offset: 0, len: 512 }), 0);
    // It stops with the session still there, and lets go of it.
    device.stop();
}

#[test]
fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let volume = MemoryVolume::new();
    drop(UnixListener::bind(config(folder.path()).socket).unwrap());
    let device = serve(folder.path(), &volume);
    let second = || Device::serve_backend(config(folder.path()), MemoryVolume::new()).map(drop);
    assert_eq!(second().unwrap_err().kind, ErrorKind::InUse);
    // The probe must not have hurt the live one.
    let mut client = Client::connect(&config(folder.path()).socket, 1);
    assert_eq!(client.io(0, Io::Flush), 0);
    drop(client);
    device.stop();
    std::fs::write(config(folder.path()).socket, "a file").unwrap();
    assert_eq!(second().unwrap_err().kind, ErrorKind::InUse);
    assert_eq!(std::fs::read(config(folder.path()).socket).unwrap(), b"a file");
}

#[test]
fn a_device_that_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = config(folder.path());
    for bad in [
        Front { size_bytes: 0, ..good.clone() },
        Front { size_bytes: 4097, ..good.clone() },
        Front { num_queues: 0, ..good.clone() },
        Front { num_queues: 65, ..good.clone() },
        Front { max_queue_size: 0, ..good.clone() },
        Front { max_queue_size: 100, ..good.clone() },
        Front { max_queue_size: 2048, ..good.clone() },
    ] {
        let outcome = Device::serve_backend(bad, MemoryVolume::new()).map(drop);
        assert_eq!(outcome.unwrap_err().kind, ErrorKind::Invalid);
        assert!(!good.socket.exists());
    }
}

#[test]
fn garbage_ends_only_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let volume = MemoryVolume::new();
    let device = serve(folder.path(), &volume);
    let socket = config(folder.path()).socket;
    let message = |code: u32, flags: u32, size: u32, body: &[u8]| {
        let header = [code.to_le_bytes(), flags.to_le_bytes(), size.to_le_bytes()].concat();
        [&header[..], body].concat()
    };
    let two = |a: u32, b: u32| [a.to_le_bytes(), b.to_le_bytes()].concat();
    let mut sessions = vec![
        message(1, 1, u32::MAX, &[]),
        message(1, 1, 5000, &[0; 5000]),
        message(1, 0, 0, &[]),
        message(1, 0xffff_fff1, 0, &[]),
        message(0, 1, 0, &[]),
        message(9999, 1, 0, &[]),
        // SET_FEATURES: bits that are not offered, and a body that is too short.
        message(2, 1, 8, &u64::MAX.to_le_bytes()),
        message(2, 1, 4, &[0; 4]),
        // SET_MEM_TABLE: no files, no regions, many regions.
        message(5, 1, 40, &[[1, 0, 0, 0, 0, 0, 0, 0].as_slice(), &[0; 32]].concat()),
        message(5, 1, 8, &[0; 8]),
        message(5, 1, 8, &two(u32::MAX, 0)),
        // SET_VRING_NUM: a queue that is not there; sizes that are none.
        message(8, 1, 8, &two(4, 128)),
        message(8, 1, 8, &two(u32::MAX, 128)),
        message(8, 1, 8, &two(0, 0)),
        message(8, 1, 8, &two(0, 100)),
        message(8, 1, 8, &two(0, 512)),
        message(8, 1, 8, &two(0, u32::MAX)),
        // SET_VRING_ADDR outside of the memory, SET_VRING_BASE past 16 bits, GET_VRING_BASE of no queue.
        message(9, 1, 40, &[0; 40]),
        message(10, 1, 8, &two(0, 65536)),
        message(11, 1, 8, &two(64, 0)),
        // SET_VRING_KICK and CALL without their file; with "no file" but no address.
        message(12, 1, 8, &two(0, 0)),
        message(13, 1, 8, &two(0, 0)),
        message(12, 1, 8, &two(0x100, 0)),
        // SET_CONFIG and others that were not negotiated.
        message(25, 1, 12, &[0; 12]),
        message(31, 1, 0, &[]),
        message(36, 1, 0, &[]),
        // A header cut off.
        vec![1, 0, 0],
    ];
    let mut dice = Dice(3);
    for _ in 0..200 {
        let mut bytes: Vec<u8> = (0..dice.roll(200)).map(|_| dice.roll(256) as u8).collect();
        if bytes.len() > 12 && dice.roll(4) > 0 {
            // Headers that get further than their check.
            let size = dice.roll(100) as u32;
            bytes.splice(..12, message(dice.roll(45) as u32, 1 | (8 * dice.roll(2) as u32), size, &[]));
        }
        sessions.push(bytes);
    }
    let count = sessions.len() as u64;
    for bytes in sessions {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // Either side may be the first to close.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    until("the last session's end", || !device.status().is_connected && device.status().sessions == count);
    assert!(device.status().last_error.is_some());
    let mut client = Client::connect(&socket, 2);
    assert_eq!(client.io(1, Io::Write { offset: 0, len: 512 }), 0);
    drop(client);
    device.stop();
}

#[test]
fn truncated_memory_ends_only_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let volume = MemoryVolume::new();
    let device = serve(folder.path(), &volume);
    let socket = config(folder.path()).socket;
    let mut client = Client::connect(&socket, 1);
    assert_eq!(client.io(0, Io::Write { offset: 0, len: 4096 }), 0);
    client.truncate();
    client.submit(0, Io::Write { offset: 0, len: 4096 }, 0);
    client.kick(0);
    until("the session's end", || !device.status().is_connected);
    assert!(device.status().last_error.unwrap().contains("truncated"));
    let mut next = Client::connect(&socket, 1);
    assert_eq!(next.io(0, Io::Write { offset: 0, len: 4096 }), 0);
    drop(next);
    device.stop();
    drop(client);
}
