//! A guest moves from one device to another while it reads and writes: the messages that QEMU sends for it, and
//! memory that is copied by the dirty log alone.

#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

use crate::device_tests::{MemoryVolume, until};
use crate::front_end_tests::{FEATURES, FrontEnd, SET_FEATURES, SET_VRING_ADDR, pair};
use crate::opening::Open;
use crate::test_guest::{DATA, RAM_BYTES, readable, writable};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use virtio_bindings::virtio_blk::VIRTIO_BLK_T_IN;
use vmm_sys_util::eventfd::EventFd;

const SET_LOG_BASE: u32 = 6;
const SET_LOG_FD: u32 = 7;
const LOG_ALL: u64 = 1 << 26;
const PAGE: u64 = 4096;
/// A page behind the guest's memory stands for the used ring.
const LOG_BYTES: u64 = RAM_BYTES / PAGE / 8 + 8;
const LOG_OFFSET: u64 = 8192;

impl FrontEnd {
    fn set_log(&mut self, log: &File) {
        let body = [LOG_BYTES.to_le_bytes(), LOG_OFFSET.to_le_bytes()].concat();
        assert!(self.tell(SET_LOG_BASE, &body, &[log.as_raw_fd()]));
        let mut reply = [0; 28];
        std::io::Read::read_exact(&mut self.stream, &mut reply).unwrap();
        assert_eq!((&reply[..4], &reply[12..]), (&SET_LOG_BASE.to_le_bytes()[..], &body[..]));
    }

    /// Begins or ends logging while queue 0 runs, its used ring at `addr` of the log.
    fn log(&mut self, addr: Option<u64>) {
        let features = FEATURES | addr.map_or(0, |_| LOG_ALL);
        assert!(self.ask(SET_FEATURES, &features.to_le_bytes(), &[]));
        let mut body = self.addresses();
        body[4] = u8::from(addr.is_some());
        body[32..40].copy_from_slice(&addr.unwrap_or(0).to_le_bytes());
        assert!(self.ask(SET_VRING_ADDR, &body, &[]));
    }

    /// Offers a read of block `number` into page `page`.
    fn offer_read(&mut self, number: u64, page: u64) {
        let header = 0x2_0000 + number * 16;
        self.guest.put_header(header, VIRTIO_BLK_T_IN, number * 8);
        let data = writable(DATA + 0x10_0000 + page * PAGE, 4096);
        self.guest.offer(&[readable(header, 16), data, writable(0xe000 + number, 1)]);
    }
}

/// Copies the pages that the log names, and clears it. The used ring is where the guest has it.
fn copy_dirty(log: &File, from: &File, to: &File, used_ring: u64) -> usize {
    let mut bits = vec![0; LOG_BYTES as usize];
    log.read_exact_at(&mut bits, LOG_OFFSET).unwrap();
    log.write_all_at(&vec![0; bits.len()], LOG_OFFSET).unwrap();
    let pages = (0..LOG_BYTES * 8).filter(|page| bits[(page / 8) as usize] >> (page % 8) & 1 == 1);
    let mut copied = 0;
    for page in pages {
        let at = if page >= RAM_BYTES / PAGE { used_ring + page * PAGE - RAM_BYTES } else { page * PAGE };
        let mut bytes = vec![0; PAGE as usize];
        from.read_exact_at(&mut bytes, at).unwrap();
        to.write_all_at(&bytes, at).unwrap();
        copied += 1;
    }
    copied
}

fn whole(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; RAM_BYTES as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_guest_moves_with_what_the_log_names() {
    let volume = MemoryVolume::new();
    let mut source = FrontEnd::of(&volume);
    let mut target = FrontEnd::with(&volume, Open::WithFirstQueue);
    source.share_memory();
    source.start_queue(0);
    for number in 1..9 {
        source.offer(number);
    }
    source.kick();
    source.reap(8);

    let log = tempfile::tempfile().unwrap();
    log.set_len(LOG_OFFSET + LOG_BYTES).unwrap();
    source.set_log(&log);
    let told = EventFd::new(libc::EFD_NONBLOCK).unwrap();
    assert!(source.ask(SET_LOG_FD, &[], &[told.as_raw_fd()]));
    // A read is with the volume when logging begins.
    volume.stall(true);
    source.offer_read(1, 0);
    source.kick();
    until("the volume's work", || volume.asked() == 9);
    source.log(Some(RAM_BYTES));
    // Everything is copied once; from here on the guest's own writes are made before, and the device's follow.
    (2..9).for_each(|number| source.offer_read(number, number * 3));
    source.kick();
    target.guest.file.write_all_at(&whole(&source.guest.file), 0).unwrap();
    volume.stall(false);
    source.reap(8);
    assert!(told.read().is_ok(), "the front end hears of a changed log");
    assert_eq!(source.stop_queue(), Some(16));
    let used_ring = source.guest.setup().place.used;
    assert!(copy_dirty(&log, &source.guest.file, &target.guest.file, used_ring) >= 8 + 2);
    assert!(whole(&source.guest.file) == whole(&target.guest.file), "a written page was not marked");
    assert!((1..9).all(|number| {
        let page = if number == 1 { 0 } else { number * 3 };
        target.guest.get(DATA + 0x10_0000 + page * PAGE, 4096) == [number as u8; 4096]
    }));

    // The source is still the volume's only writer; the target takes it over when its guest runs.
    assert_eq!(volume.opened(), 1);
    target.guest.goes_on_as(&source.guest);
    target.share_memory();
    assert_eq!(volume.opened(), 1);
    target.start_queue(16);
    let head = target.offer(9);
    target.kick();
    assert_eq!((target.reap(1), volume.opened()), (vec![head], 2));
    assert_eq!((target.statuses(9..10), volume.get(9 * 4096..9 * 4096 + 1)), (vec![0], vec![9]));
    assert!(source.guest.used().is_empty());
    assert_eq!(target.stop_queue(), Some(17));
}

#[test]
fn a_device_that_is_to_be_told_holds_its_queues_until_then() {
    let volume = MemoryVolume::new();
    let mut front = FrontEnd::with(&volume, Open::WhenTold);
    front.share_memory();
    front.start_queue(0);
    let head = front.offer(1);
    front.kick();
    assert_eq!((front.device.status().queue_starts, front.device.status().writes), (1, 0));
    assert_eq!(volume.opened(), 0, "its former writer writes until then");
    for _ in 0..2 {
        front.device.open().unwrap();
    }
    assert_eq!((front.reap(1), volume.opened()), (vec![head], 1));
}

#[test]
fn logging_ends_when_it_is_told() {
    let mut front = FrontEnd::of(&MemoryVolume::new());
    front.share_memory();
    let log = tempfile::tempfile().unwrap();
    log.set_len(LOG_OFFSET + LOG_BYTES).unwrap();
    front.set_log(&log);
    front.start_queue(0);
    front.log(Some(RAM_BYTES));
    front.log(None);
    front.offer(1);
    front.kick();
    front.reap(1);
    let mut bits = vec![0; LOG_BYTES as usize];
    log.read_exact_at(&mut bits, LOG_OFFSET).unwrap();
    // Starting the queue may have marked its ring, nothing else.
    assert!(bits[..(RAM_BYTES / PAGE / 8) as usize].iter().all(|&byte| byte == 0));
    // Only logging may change while a queue runs.
    front.must_end(SET_FEATURES, &(FEATURES | 1 << 29).to_le_bytes(), &[]);
}

#[test]
fn logs_that_make_no_sense_end_only_their_session() {
    let log = tempfile::tempfile().unwrap();
    log.set_len(4096).unwrap();
    let (event, zero) = (EventFd::new(0).unwrap(), File::open("/dev/zero").unwrap());
    let base = |len: u64, offset: u64| [len.to_le_bytes(), offset.to_le_bytes()].concat();
    let new = || FrontEnd::of(&MemoryVolume::new());
    let fd = log.as_raw_fd();
    for (body, files) in [
        (base(4097, 0), vec![fd]),
        (base(0, 0), vec![fd]),
        (base(4096, 4096), vec![fd]),
        (base(u64::MAX, 1), vec![fd]),
        (base(4096, 0), vec![]),
        (base(4096, 0), vec![fd, fd]),
        (base(4096, 0), vec![zero.as_raw_fd()]),
        (pair(1, 1), vec![fd]),
    ] {
        new().must_end(SET_LOG_BASE, &body, &files);
    }
    new().must_end(SET_LOG_FD, &[], &[]);
    new().must_end(SET_LOG_FD, &[], &[fd]);
    new().must_end(SET_LOG_FD, &[], &[event.as_raw_fd(); 2]);
    new().must_end(SET_LOG_FD, &[0; 8], &[event.as_raw_fd()]);
}
