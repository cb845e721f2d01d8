//! A front end's whole session: messages with any content and any descriptors, to a device that lives on.

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{IoSlice, PipeReader, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;
use vhost_user::DeviceHandle;

/// A device that has not closed a session this long after its front end hung up is stuck.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_MESSAGES: usize = 64;
const MAX_FILES: usize = 8;
const RAM_BYTES: u64 = 64 << 10;
const GET_FEATURES: u8 = 1;

/// The device, its socket's folder, and a front end's files.
struct Device {
    socket: PathBuf,
    ram: OwnedFd,
    event: OwnedFd,
    short: OwnedFd,
    /// What is neither memory nor an eventfd.
    pipe: PipeReader,
    handle: DeviceHandle,
    _folder: tempfile::TempDir,
}

fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder for a socket");
        let socket = folder.path().join("fuzz.sock");
        let handle = vhost_user::fuzz::device(socket.clone()).expect("a device");
        let memory = |len: u64| {
            let file = memfd_create("guest", MemfdFlags::CLOEXEC).expect("memory for a guest");
            ftruncate(&file, len).expect("memory for a guest");
            file
        };
        let event = eventfd(1, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).expect("an eventfd");
        let (pipe, _) = std::io::pipe().expect("a pipe");
        Device { socket, ram: memory(RAM_BYTES), event, short: memory(100), pipe, handle, _folder: folder }
    })
}

/// Sends the messages of an input: code, flags, files, body's length (2), body's first bytes (the rest zero).
pub fn run(input: &[u8]) {
    let device = device();
    let stream = connect(device);
    let mut rest = input;
    for _ in 0..MAX_MESSAGES {
        let Some((head, after)) = rest.split_at_checked(6) else { break };
        let stated = u16::from_le_bytes([head[3], head[4]]);
        let body = &after[..after.len().min(usize::from(head[5]))];
        rest = &after[body.len()..];
        // Flags: the protocol's version and whether a reply is asked for, or whatever the input says.
        let flags = if head[1] & 0x80 == 0 { 1 | u32::from(head[1] & 8) } else { u32::from(head[1]) };
        let header = [u32::from(head[0]), flags, u32::from(stated)].map(u32::to_le_bytes).concat();
        let mut message = body.to_vec();
        if head[1] & 0x40 == 0 {
            message.resize(usize::from(stated).min(4096), 0);
        }
        if !send(&stream, &header, &message, &files(device, head[2])) {
            break;
        }
    }
    end(stream);
    check_alive(device);
}

/// Descriptors as a byte asks for them: two bits of kind, three of count.
fn files(device: &Device, ask: u8) -> Vec<BorrowedFd<'_>> {
    let file = match ask & 3 {
        0 => device.ram.as_fd(),
        1 => device.event.as_fd(),
        2 => device.short.as_fd(),
        _ => device.pipe.as_fd(),
    };
    vec![file; usize::from(ask >> 2 & 7).min(MAX_FILES)]
}

fn connect(device: &Device) -> UnixStream {
    let stream = UnixStream::connect(&device.socket).expect("the device listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn send(stream: &UnixStream, header: &[u8], body: &[u8], files: &[BorrowedFd<'_>]) -> bool {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(files)), "there is room for {MAX_FILES}");
    }
    let parts = [IoSlice::new(header), IoSlice::new(body)];
    // A session that the device has ended takes no more.
    sendmsg(stream, &parts, &mut control, SendFlags::NOSIGNAL).is_ok()
}

/// Hangs up and waits until the device has let go.
fn end(mut stream: UnixStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let mut sink = [0; 4096];
    loop {
        match stream.read(&mut sink) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {
                panic!("the device holds a session whose front end hung up")
            }
            Err(_) => return,
        }
    }
}

/// Another front end gets its answer.
fn check_alive(device: &Device) {
    let mut stream = connect(device);
    let header = [u32::from(GET_FEATURES), 1, 0].map(u32::to_le_bytes).concat();
    stream.write_all(&header).expect("the device takes a message");
    let mut answer = [0; 20];
    let read = stream.read_exact(&mut answer);
    let status = device.handle.status();
    assert!(read.is_ok(), "the device does not answer a new session: {read:?}, {:?}", status.last_error);
    end(stream);
}

/// A session as front ends make it, cut after each message, and some oddities.
pub fn seeds() -> Vec<Vec<u8>> {
    let word = |number: u64| number.to_le_bytes().to_vec();
    let pair = |first: u32, second: u32| [first.to_le_bytes(), second.to_le_bytes()].concat();
    let region = |len: u64| [0, len, 0x7f00_0000_0000, 0].map(u64::to_le_bytes).concat();
    let table = [pair(1, 0), region(RAM_BYTES)].concat();
    let base = 0x7f00_0000_0000u64;
    let addresses =
        [pair(0, 0), [base + 0x1000, base + 0x8000, base + 0x1400, 0].map(u64::to_le_bytes).concat()]
            .concat();
    let (one_ram, one_event) = (1 << 2, 1 << 2 | 1);
    let steps: Vec<Vec<u8>> = vec![
        message(1, 0, &[]),
        message(2, 0, &word(1 << 32 | 1 << 30)),
        message(15, 0, &[]),
        message(16, 0, &word(0b1010_1001)),
        message(17, 0, &[]),
        message(3, 0, &[]),
        message(5, one_ram, &table),
        message(8, 0, &pair(0, 64)),
        message(10, 0, &pair(0, 0)),
        message(9, 0, &addresses),
        message(13, one_event, &word(0)),
        message(12, one_event, &word(0)),
        message(18, 0, &pair(0, 1)),
        message(24, 0, &[pair(0, 60), 0u32.to_le_bytes().to_vec(), vec![0; 60]].concat()),
        message(36, 0, &[]),
        message(37, one_ram, &[word(0), region(RAM_BYTES)].concat()),
        message(31, 0, &[word(0), word(0), pair(2 | 64 << 16, 0)].concat()),
        message(6, one_ram, &[word(4096), word(0)].concat()),
        message(11, 0, &pair(0, 0)),
    ];
    let mut seeds: Vec<Vec<u8>> = (1..=steps.len()).map(|count| steps[..count].concat()).collect();
    seeds.extend(steps);
    seeds
}

/// A message that asks for a reply, with its files.
fn message(code: u8, files: u8, body: &[u8]) -> Vec<u8> {
    let len = u8::try_from(body.len()).expect("a short message");
    [&[code, 8, files, len, 0, len], body].concat()
}
