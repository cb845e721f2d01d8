//! A disk that grows under its guest.

#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

use crate::device_tests::MemoryVolume;
use crate::error::ErrorKind;
use crate::front_end_tests::FrontEnd;
use std::io::{ErrorKind as IoErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const SET_BACKEND_REQ_FD: u32 = 21;
const GET_CONFIG: u32 = 24;
const OLD: u64 = 8 << 20;
const NEW: u64 = 12 << 20;

impl FrontEnd {
    /// Gives the device a socket for its own requests; the front end's side.
    fn give_socket(&mut self) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert!(self.ask(SET_BACKEND_REQ_FD, &[], &[theirs.as_raw_fd()]));
        ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        ours
    }

    /// The disk's size as the config space has it.
    fn capacity(&mut self) -> u64 {
        let body = [[0, 8, 0].map(u32::to_le_bytes).concat(), vec![0; 8]].concat();
        assert!(self.tell(GET_CONFIG, &body, &[]));
        let mut reply = [0; 12 + 12 + 8];
        self.stream.read_exact(&mut reply).unwrap();
        u64::from_le_bytes(reply[24..].try_into().unwrap()) * 512
    }
}

#[test]
fn a_disk_grows_under_its_guest() {
    let mut front = FrontEnd::of(&MemoryVolume::new());
    let mut requests = front.give_socket();
    front.share_memory();
    front.start_queue(0);
    assert_eq!(front.capacity(), OLD);
    let past_the_end = OLD / 4096 + 5;
    front.offer(past_the_end);
    front.kick();
    front.reap(1);
    assert_eq!(front.statuses(past_the_end..past_the_end + 1), [1], "that is an error still");

    front.device.resize(NEW).unwrap();
    let mut message = [0; 12];
    requests.read_exact(&mut message).unwrap();
    assert_eq!(message[..], [2u32, 1, 0].map(u32::to_le_bytes).concat(), "CONFIG_CHANGE, no reply wanted");
    assert_eq!((front.capacity(), front.device.status().size_bytes), (NEW, NEW));
    front.offer(past_the_end);
    front.kick();
    front.reap(1);
    assert_eq!(front.statuses(past_the_end..past_the_end + 1), [0]);

    for bad in [OLD, NEW - 512, NEW + 1, 0] {
        assert_eq!(front.device.resize(bad).unwrap_err().kind, ErrorKind::Invalid);
    }
    requests.set_nonblocking(true).unwrap();
    assert_eq!(requests.read(&mut message).unwrap_err().kind(), IoErrorKind::WouldBlock);
}

#[test]
fn a_front_end_that_does_not_listen_is_no_hindrance() {
    // None at all, one that is gone, one that never reads.
    let mut front = FrontEnd::of(&MemoryVolume::new());
    front.device.resize(NEW).unwrap();
    drop(front.give_socket());
    front.device.resize(NEW + 512).unwrap();
    front.device.resize(NEW + 512).unwrap();
    let full = front.give_socket();
    (0..20_000).for_each(|_| front.device.resize(NEW + 1024).unwrap());
    assert_eq!(front.capacity(), NEW + 1024);
    drop(full);
}

#[test]
fn only_a_socket_is_a_socket() {
    let file = tempfile::tempfile().unwrap();
    let (mut pair, other) = UnixStream::pair().unwrap();
    pair.write_all(b"x").unwrap();
    FrontEnd::of(&MemoryVolume::new()).must_end(SET_BACKEND_REQ_FD, &[], &[]);
    FrontEnd::of(&MemoryVolume::new()).must_end(SET_BACKEND_REQ_FD, &[], &[file.as_raw_fd()]);
    FrontEnd::of(&MemoryVolume::new()).must_end(SET_BACKEND_REQ_FD, &[], &[other.as_raw_fd(); 2]);
}
