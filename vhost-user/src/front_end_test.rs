//! A front end that sends every byte itself, so that it can break one rule at a time.

use crate::config_space::{MemorySlots, protocol_features};
use crate::device::{Device, DeviceHandle, Front};
use crate::device_tests::{MemoryVolume, config, until};
use crate::opening::Open;
use crate::test_guest::{DATA, RAM_BYTES, TestGuest, USER_BASE, readable, writable};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use virtio_bindings::virtio_blk::VIRTIO_BLK_T_GET_ID;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

const VERSION: u32 = 1;
const NEED_REPLY: u32 = 8;
const GET_FEATURES: u32 = 1;
pub(crate) const SET_FEATURES: u32 = 2;
const SET_MEM_TABLE: u32 = 5;
const SET_VRING_NUM: u32 = 8;
pub(crate) const SET_VRING_ADDR: u32 = 9;
const SET_VRING_BASE: u32 = 10;
const GET_VRING_BASE: u32 = 11;
const SET_VRING_KICK: u32 = 12;
const SET_VRING_CALL: u32 = 13;
const SET_PROTOCOL_FEATURES: u32 = 16;
const SET_VRING_ENABLE: u32 = 18;
/// VERSION_1, PROTOCOL_FEATURES and FLUSH.
pub(crate) const FEATURES: u64 = 1 << 32 | 1 << 30 | 1 << 9;
const HEADER: u64 = 0xf000;
const STATUS: u64 = 0xf100;

pub(crate) struct FrontEnd {
    pub guest: TestGuest,
    pub stream: UnixStream,
    pub kick: EventFd,
    pub call: EventFd,
    pub device: DeviceHandle,
    pub folder: tempfile::TempDir,
}

impl FrontEnd {
    /// A session with its features negotiated and its memory shared.
    fn new() -> Self {
        Self::of(&MemoryVolume::new())
    }

    /// A session of a device in front of `volume`.
    pub fn of(volume: &MemoryVolume) -> Self {
        Self::with(volume, Open::AtOnce)
    }

    pub fn with(volume: &MemoryVolume, open: Open) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = |folder: &Path| Front { open, ..config(folder) };
        let device = Device::serve_backend(config(folder.path()), volume.clone()).unwrap();
        let stream = UnixStream::connect(config(folder.path()).socket).unwrap();
        let event = || EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let (kick, call) = (event(), event());
        let mut front = Self { guest: TestGuest::new(), stream, kick, call, device, folder };
        front.negotiate();
        front
    }

    /// Another device, and a session of it for the same guest.
    pub fn reconnect(&mut self, volume: &MemoryVolume) {
        self.device = Device::serve_backend(config(self.folder.path()), volume.clone()).unwrap();
        self.stream = UnixStream::connect(config(self.folder.path()).socket).unwrap();
        self.negotiate();
    }

    /// The same, without a word on the connection.
    pub fn reconnect_silently(&mut self, volume: &MemoryVolume) {
        self.device = Device::serve_backend(config(self.folder.path()), volume.clone()).unwrap();
        self.stream = UnixStream::connect(config(self.folder.path()).socket).unwrap();
        self.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }

    fn negotiate(&mut self) {
        self.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert!(self.tell(GET_FEATURES, &[], &[]));
        assert_eq!(self.reply(), Some(crate::config_space::features()));
        assert!(self.tell(SET_FEATURES, &FEATURES.to_le_bytes(), &[]));
        let protocol = protocol_features(MemorySlots::Offered).bits();
        assert!(self.tell(SET_PROTOCOL_FEATURES, &protocol.to_le_bytes(), &[]));
    }

    fn with_memory() -> Self {
        let mut front = Self::new();
        front.share_memory();
        front
    }

    pub fn share_memory(&mut self) {
        let file = self.guest.file.as_raw_fd();
        assert!(self.ask(SET_MEM_TABLE, &memory_table(&[(0, RAM_BYTES)]), &[file]));
    }

    /// A session whose queue 0 runs.
    fn running() -> Self {
        let mut front = Self::with_memory();
        front.start_queue(0);
        front
    }

    /// Starts queue 0 at an index of its available ring.
    pub fn start_queue(&mut self, base: u32) {
        let setup = self.guest.setup();
        assert!(self.ask(SET_VRING_NUM, &pair(0, u32::from(setup.size)), &[]));
        assert!(self.ask(SET_VRING_BASE, &pair(0, base), &[]));
        assert!(self.ask(SET_VRING_ADDR, &self.addresses(), &[]));
        let (kick, call) = (self.kick.as_raw_fd(), self.call.as_raw_fd());
        assert!(self.ask(SET_VRING_CALL, &0u64.to_le_bytes(), &[call]));
        assert!(self.ask(SET_VRING_KICK, &0u64.to_le_bytes(), &[kick]));
        assert!(self.ask(SET_VRING_ENABLE, &pair(0, 1), &[]));
    }

    /// Where queue 0 lies.
    pub fn addresses(&self) -> Vec<u8> {
        let place = self.guest.setup().place;
        addresses(place.descriptors, place.used, place.available)
    }

    /// Stops queue 0: where it goes on.
    pub fn stop_queue(&mut self) -> Option<u64> {
        assert!(self.tell(GET_VRING_BASE, &pair(0, 0), &[]));
        Some(self.reply()? >> 32)
    }

    /// Sends a message that is not answered.
    pub fn tell(&mut self, code: u32, body: &[u8], files: &[RawFd]) -> bool {
        self.send(code, VERSION, body, files)
    }

    fn send(&mut self, code: u32, flags: u32, body: &[u8], files: &[RawFd]) -> bool {
        let size = u32::try_from(body.len()).unwrap();
        let header = [code.to_le_bytes(), flags.to_le_bytes(), size.to_le_bytes()].concat();
        self.stream.send_with_fds(&[&header[..], body], files).is_ok()
    }

    /// Sends a message with NEED_REPLY: whether the device says that all is well.
    pub fn ask(&mut self, code: u32, body: &[u8], files: &[RawFd]) -> bool {
        self.send(code, VERSION | NEED_REPLY, body, files) && self.reply().is_some_and(|reply| reply == 0)
    }

    pub fn reply(&mut self) -> Option<u64> {
        let mut reply = [0; 20];
        self.stream.read_exact(&mut reply).ok()?;
        Some(u64::from_le_bytes(reply[12..].try_into().unwrap()))
    }

    /// Sends a message that the session must not survive.
    pub fn must_end(mut self, code: u32, body: &[u8], files: &[RawFd]) {
        assert!(!self.ask(code, body, files), "the device took message {code}");
        until("the session's end", || !self.device.status().is_connected);
        assert!(self.device.status().last_error.is_some());
        // The device lives on.
        let socket = self.device.status().socket;
        drop(UnixStream::connect(socket).unwrap());
        until("the next session", || self.device.status().sessions == 2);
        self.device.stop();
    }

    /// Asks for the disk's name and waits for it.
    fn get_id(&mut self) -> Vec<u8> {
        self.guest.put_header(HEADER, VIRTIO_BLK_T_GET_ID, 0);
        self.guest.offer(&[readable(HEADER, 16), writable(DATA, 20), writable(STATUS, 1)]);
        self.kick.write(1).unwrap();
        until("an announcement", || self.call.read().is_ok());
        assert_eq!((self.guest.used().len(), self.guest.get(STATUS, 1)), (1, vec![0]));
        self.guest.get(DATA, 20)
    }
}

pub(crate) fn pair(a: u32, b: u32) -> Vec<u8> {
    [a.to_le_bytes(), b.to_le_bytes()].concat()
}

/// Regions by guest address and length, each at the start of its file.
fn memory_table(regions: &[(u64, u64)]) -> Vec<u8> {
    let mut table = pair(u32::try_from(regions.len()).unwrap(), 0);
    for (addr, len) in regions {
        for field in [*addr, *len, USER_BASE + addr, 0] {
            table.extend_from_slice(&field.to_le_bytes());
        }
    }
    table
}

pub(crate) fn addresses(descriptors: u64, used: u64, available: u64) -> Vec<u8> {
    let mut body = pair(0, 0);
    for field in [descriptors, used, available] {
        body.extend_from_slice(&(USER_BASE + field).to_le_bytes());
    }
    body.extend_from_slice(&0u64.to_le_bytes());
    body
}

#[test]
fn a_queue_runs_stops_and_goes_on() {
    let mut front = FrontEnd::running();
    assert_eq!(&front.get_id()[..8], b"a-volume");
    assert_eq!(&front.get_id()[..8], b"a-volume");
    assert!(front.tell(GET_VRING_BASE, &pair(0, 0), &[]));
    assert_eq!(front.reply(), Some(2 << 32), "queue 0 goes on at 2");
    let kick = front.kick.as_raw_fd();
    let call = front.call.as_raw_fd();
    assert!(front.ask(SET_VRING_CALL, &0u64.to_le_bytes(), &[call]));
    assert!(front.ask(SET_VRING_KICK, &0u64.to_le_bytes(), &[kick]));
    assert_eq!(&front.get_id()[..8], b"a-volume");
    // More memory while the queue runs.
    let files = [front.guest.file.as_raw_fd(); 2];
    assert!(front.ask(SET_MEM_TABLE, &memory_table(&[(0, RAM_BYTES), (RAM_BYTES, 4096)]), &files));
    assert_eq!(&front.get_id()[..8], b"a-volume");
    assert_eq!(front.device.status().errors, 0);
    front.device.stop();
}

#[test]
fn a_running_queue_keeps_its_shape() {
    let place = TestGuest::new().setup().place;
    let at = addresses(place.descriptors, place.used, place.available + 2);
    FrontEnd::running().must_end(SET_VRING_NUM, &pair(0, 128), &[]);
    FrontEnd::running().must_end(SET_VRING_BASE, &pair(0, 0), &[]);
    FrontEnd::running().must_end(SET_VRING_ADDR, &at, &[]);
    FrontEnd::running().must_end(SET_VRING_ENABLE, &pair(0, 2), &[]);
    let event = EventFd::new(0).unwrap();
    FrontEnd::running().must_end(SET_VRING_KICK, &0u64.to_le_bytes(), &[event.as_raw_fd()]);
    FrontEnd::running().must_end(SET_VRING_KICK, &9u64.to_le_bytes(), &[event.as_raw_fd()]);
}

#[test]
fn memory_must_be_what_it_says() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(RAM_BYTES - 1).unwrap();
    let fd = file.as_raw_fd();
    let one = memory_table(&[(0, RAM_BYTES)]);
    FrontEnd::new().must_end(SET_MEM_TABLE, &one, &[fd]);
    FrontEnd::new().must_end(SET_MEM_TABLE, &one, &[]);
    FrontEnd::new().must_end(SET_MEM_TABLE, &one, &[fd, fd]);
    FrontEnd::new().must_end(SET_MEM_TABLE, &memory_table(&[(0, 8192), (4096, 8192)]), &[fd, fd]);
    FrontEnd::new().must_end(SET_MEM_TABLE, &memory_table(&[(0, 8192), (8192, 8192)]), &[fd]);
    FrontEnd::new().must_end(SET_MEM_TABLE, &memory_table(&[(u64::MAX - USER_BASE, 8192)]), &[fd]);
    FrontEnd::new().must_end(SET_MEM_TABLE, &[&one[..], &[0; 8]].concat(), &[fd]);
    FrontEnd::new().must_end(SET_MEM_TABLE, &memory_table(&[(0, 4096); 40]), &[fd; 30]);
    // The rings' memory goes while the queue runs.
    FrontEnd::running().must_end(SET_MEM_TABLE, &memory_table(&[(RAM_BYTES, 4096)]), &[fd]);
}

#[test]
fn queues_need_memory_addresses_and_eventfds() {
    let event = EventFd::new(0).unwrap();
    let zero = File::open("/dev/zero").unwrap();
    let nothing = 0u64.to_le_bytes();
    FrontEnd::with_memory().must_end(SET_VRING_KICK, &nothing, &[event.as_raw_fd()]);
    FrontEnd::with_memory().must_end(SET_VRING_KICK, &nothing, &[zero.as_raw_fd()]);
    FrontEnd::with_memory().must_end(SET_VRING_CALL, &nothing, &[zero.as_raw_fd()]);
    FrontEnd::with_memory().must_end(SET_VRING_CALL, &nothing, &[event.as_raw_fd(); 2]);
    FrontEnd::with_memory().must_end(SET_VRING_ADDR, &addresses(RAM_BYTES, 0x2000, 0x3000), &[]);
    // The descriptors' table starts in memory and ends behind it.
    let mut front = FrontEnd::with_memory();
    assert!(front.ask(SET_VRING_ADDR, &addresses(RAM_BYTES - 16, 0x2000, 0x3000), &[]));
    front.must_end(SET_VRING_KICK, &nothing, &[event.as_raw_fd()]);
}
