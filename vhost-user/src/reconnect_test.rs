//! A guest that outlives its devices: in-flight records over the socket, stalls, and what garbage does.

#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

use crate::device_tests::{MemoryVolume, until};
use crate::front_end_tests::{FEATURES, FrontEnd, SET_FEATURES, pair};
use crate::inflight::{Record, Shape};
use crate::test_guest::{DATA, QUEUE_SIZE, readable, writable};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use virtio_bindings::virtio_blk::VIRTIO_BLK_T_OUT;
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

const GET_INFLIGHT_FD: u32 = 31;
const SET_INFLIGHT_FD: u32 = 32;
const SHAPE: Shape = Shape { num_queues: 1, queue_size: QUEUE_SIZE };

fn description(len: u64, offset: u64, num_queues: u16, queue_size: u16) -> Vec<u8> {
    let mut body = [len.to_le_bytes(), offset.to_le_bytes()].concat();
    body.extend_from_slice(&num_queues.to_le_bytes());
    body.extend_from_slice(&queue_size.to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    body
}

impl FrontEnd {
    /// Asks the device for a record.
    fn get_record(&mut self) -> File {
        assert!(self.tell(GET_INFLIGHT_FD, &description(0, 0, 1, QUEUE_SIZE), &[]));
        let mut reply = [0; 36];
        let (len, file) = self.stream.recv_with_fd(&mut reply).unwrap();
        assert_eq!((len, &reply[..4]), (36, &GET_INFLIGHT_FD.to_le_bytes()[..]));
        assert_eq!(reply[12..], description(SHAPE.len(), 0, 1, QUEUE_SIZE));
        file.unwrap()
    }

    fn set_record(&mut self, record: &File) -> bool {
        let body = description(SHAPE.len(), 0, 1, QUEUE_SIZE);
        self.ask(SET_INFLIGHT_FD, &body, &[record.as_raw_fd()])
    }

    /// Shares memory and a record, and starts queue 0.
    fn start(&mut self, record: &File, base: u32) {
        self.share_memory();
        assert!(self.set_record(record));
        self.start_queue(base);
    }

    /// Offers a write of `number` to block `number`.
    pub fn offer(&mut self, number: u64) -> u32 {
        let (header, data, status) =
            (DATA + number * 0x2000, DATA + number * 0x2000 + 0x1000, 0xf000 + number);
        self.guest.put_header(header, VIRTIO_BLK_T_OUT, number * 8);
        self.guest.put(data, &[number as u8; 4096]);
        self.guest.put(status, &[0xee]);
        u32::from(self.guest.offer(&[readable(header, 16), readable(data, 4096), writable(status, 1)]))
    }

    pub fn kick(&self) {
        self.kick.write(1).unwrap();
    }

    /// Waits for `count` answers: their heads, in the order they came.
    pub fn reap(&mut self, count: usize) -> Vec<u32> {
        let mut heads = Vec::new();
        until("answers", || {
            heads.extend(self.guest.used().iter().map(|(head, _)| *head));
            heads.len() >= count
        });
        assert_eq!(heads.len(), count);
        heads
    }

    pub fn statuses(&self, numbers: std::ops::Range<u64>) -> Vec<u8> {
        numbers.map(|number| self.guest.get(0xf000 + number, 1)[0]).collect()
    }
}

fn blocks(numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    numbers.into_iter().map(|number| number * 4096).collect()
}

#[test]
fn a_device_that_dies_is_followed_by_one_that_knows() {
    let volume = MemoryVolume::new();
    let mut front = FrontEnd::of(&volume);
    let record = front.get_record();
    front.start(&record, 0);
    let first: Vec<u32> = (1..4).map(|number| front.offer(number)).collect();
    front.kick();
    assert_eq!(front.reap(3), first);
    volume.take_asked();

    // Three more come, the volume has them and does not answer; that is when the device goes.
    volume.stall(true);
    let lost: Vec<u32> = (4..7).map(|number| front.offer(number)).collect();
    front.kick();
    until("the volume's work", || volume.asked() == 3);
    front.device.halt();
    assert!(front.guest.used().is_empty());
    volume.take_asked();

    // Two come while nobody is there. The front end counts from what the guest was given.
    let later: Vec<u32> = (7..9).map(|number| front.offer(number)).collect();
    volume.stall(false);
    front.reconnect(&volume);
    front.start(&record, 3);
    assert_eq!(front.reap(5), [lost, later].concat());
    assert_eq!(front.device.status().recovered, 3);
    assert_eq!(volume.take_asked(), blocks(4..9), "each once, in the order they were taken");
    assert_eq!(front.statuses(1..9), [0; 8]);
    assert!((4..9).all(|block| volume.get(block * 4096..(block + 1) * 4096) == [block as u8; 4096]));
    assert!(front.call.read().is_ok(), "the guest hears of it");
    assert_eq!(front.stop_queue(), Some(8));
    assert!(front.guest.used().is_empty());
}

#[test]
fn a_front_end_that_asks_for_nothing_again_goes_on() {
    let volume = MemoryVolume::new();
    let mut front = FrontEnd::of(&volume);
    let record = front.get_record();
    front.start(&record, 0);
    let first = front.offer(1);
    front.kick();
    assert_eq!(front.reap(1), [first]);
    assert_eq!(front.stop_queue(), Some(1));
    // Its guest is paused when the device goes, and goes on when another has come.
    front.device.halt();
    front.reconnect_silently(&volume);
    until("a silent connection", || front.device.status().is_silent);
    let second = front.offer(2);
    assert!(front.ask(SET_FEATURES, &FEATURES.to_le_bytes(), &[]), "replies are agreed on");
    assert!(!front.device.status().is_silent);
    front.start(&record, 1);
    assert_eq!(front.reap(1), [second]);
    assert_eq!((front.statuses(1..3), front.device.status().errors), (vec![0; 2], 0));
    assert_eq!(front.stop_queue(), Some(2));
    front.device.stop();
}

#[test]
fn a_stall_ends_no_session_and_no_request() {
    let volume = MemoryVolume::new();
    let mut front = FrontEnd::of(&volume);
    let record = front.get_record();
    front.start(&record, 0);
    volume.stall(true);
    let heads: Vec<u32> = (1..4).map(|number| front.offer(number)).collect();
    front.kick();
    until("the volume's work", || volume.asked() == 3);
    // The front end stops the queue, and is answered though the volume is not.
    assert_eq!(front.stop_queue(), Some(0), "what was taken last goes back to the ring");
    assert!(front.device.status().is_connected);
    assert!(front.guest.used().is_empty());
    assert!(front.set_record(&record));
    front.start_queue(0);
    assert_eq!(volume.asked(), 3, "the old requests may still change the volume, so the new ones wait");
    volume.stall(false);
    assert_eq!(front.reap(3), heads);
    assert_eq!(volume.take_asked(), blocks([1, 2, 3, 1, 2, 3]));
    assert_eq!((front.statuses(1..4), front.device.status().errors), (vec![0; 3], 0));
    assert_eq!(front.stop_queue(), Some(3));
    assert!(front.guest.used().is_empty());
}

#[test]
fn records_that_do_not_fit_end_only_their_session() {
    let new = || {
        let mut front = FrontEnd::of(&MemoryVolume::new());
        front.share_memory();
        front
    };
    let file = Record::create(SHAPE).unwrap();
    let fd = file.as_raw_fd();
    let (len, short) = (SHAPE.len(), tempfile::tempfile().unwrap());
    short.set_len(len - 1).unwrap();
    for (num_queues, queue_size) in [(0, 256), (1, 0), (5, 256), (1, 257), (u16::MAX, u16::MAX)] {
        let body = description(len, 0, num_queues, queue_size);
        new().must_end(GET_INFLIGHT_FD, &body, &[]);
        new().must_end(SET_INFLIGHT_FD, &body, &[fd]);
    }
    let good = description(len, 0, 1, QUEUE_SIZE);
    new().must_end(SET_INFLIGHT_FD, &good, &[]);
    new().must_end(SET_INFLIGHT_FD, &good, &[fd, fd]);
    new().must_end(SET_INFLIGHT_FD, &good, &[short.as_raw_fd()]);
    new().must_end(SET_INFLIGHT_FD, &good, &[File::open("/dev/null").unwrap().as_raw_fd()]);
    new().must_end(SET_INFLIGHT_FD, &description(len - 1, 0, 1, QUEUE_SIZE), &[fd]);
    new().must_end(SET_INFLIGHT_FD, &description(len, 4096, 1, QUEUE_SIZE), &[fd]);
    new().must_end(SET_INFLIGHT_FD, &description(len, u64::MAX - 10, 1, QUEUE_SIZE), &[fd]);
    let mut front = new();
    front.start(&file, 0);
    front.must_end(SET_INFLIGHT_FD, &good, &[fd]);
    // A version from the future, and a queue size that is another's.
    for garbage in [[2, 0, 0, 1], [1, 0, 1, 0]] {
        let file = Record::create(SHAPE).unwrap();
        file.write_all_at(&garbage, 8).unwrap();
        let mut front = new();
        assert!(front.set_record(&file));
        let setup = front.guest.setup().place;
        let at = crate::front_end_tests::addresses(setup.descriptors, setup.used, setup.available);
        assert!(front.ask(crate::front_end_tests::SET_VRING_ADDR, &at, &[]));
        let kick = front.kick.as_raw_fd();
        front.must_end(12, &0u64.to_le_bytes(), &[kick]);
    }
    // A record cut off while it is used.
    let cut = tempfile::tempfile().unwrap();
    cut.set_len(len).unwrap();
    let mut front = new();
    front.start(&cut, 0);
    cut.set_len(0).unwrap();
    front.offer(1);
    front.must_end(11, &pair(9, 0), &[]);
}

#[test]
fn a_record_that_lies_costs_only_its_guest() {
    let volume = MemoryVolume::new();
    let mut front = FrontEnd::of(&volume);
    let record = Record::create(SHAPE).unwrap();
    record.write_all_at(&[1, 0, 0, 1], 8).unwrap();
    // Every entry in flight: chains that nobody made, on top of a ring that offers none.
    for entry in 0..u64::from(QUEUE_SIZE) {
        record.write_all_at(&[1], 16 + 16 * entry).unwrap();
    }
    front.start(&record, 0);
    front.kick();
    until("an end of it", || {
        !front.device.status().is_connected || front.guest.used().len() == usize::from(QUEUE_SIZE)
    });
    assert!(volume.take_asked().is_empty());
    let socket = front.device.status().socket;
    drop(front.stream);
    drop(std::os::unix::net::UnixStream::connect(socket).unwrap());
    until("the next session", || front.device.status().sessions == 2);
}
