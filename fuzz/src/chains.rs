//! Descriptor chains in guest memory: an input is the memory's content from the descriptor table on.

use crate::{mode, put};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::fs::File;
use std::os::unix::fs::FileExt;
use vhost_user::fuzz::{AVAILABLE, DESCRIPTORS, USED};

const RAM_BYTES: u64 = 64 << 10;
/// Where the seeds put headers, buffers and status bytes.
const HEADERS: u64 = 0x1800;
const BUFFERS: u64 = 0x4000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// Reads all that the memory makes available. The first byte says whether the queue has EVENT_IDX.
pub fn run(input: &[u8]) {
    let Some((event_idx, image)) = mode(input) else { return };
    let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).expect("memory for a guest"));
    ftruncate(&file, RAM_BYTES).expect("memory for a guest");
    let room = usize::try_from(USED - DESCRIPTORS).expect("a few KiB");
    file.write_all_at(&image[..image.len().min(room)], DESCRIPTORS).expect("memory for a guest");
    let _ = vhost_user::fuzz::chains(file, RAM_BYTES, event_idx);
}

/// One image a request's kind, and some with indirect tables, loops and many heads.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (kind, device_writes) in [(0u32, true), (1, false), (4, false), (8, true), (11, false), (13, false)] {
        let mut image = Image::new();
        image.header(0, kind, 8);
        let buffer = if device_writes { WRITE } else { 0 };
        image.descriptor(DESCRIPTORS, 0, HEADERS, 16, NEXT, 1);
        image.descriptor(DESCRIPTORS, 1, BUFFERS, 512, NEXT | buffer, 2);
        image.descriptor(DESCRIPTORS, 2, HEADERS + 16, 1, WRITE, 0);
        image.offer(&[0]);
        seeds.push(image.0.clone());
        // The same in one indirect table, with the header cut in two.
        image.descriptor(DESCRIPTORS, 3, HEADERS + 0x100, 64, INDIRECT, 0);
        image.descriptor(HEADERS + 0x100, 0, HEADERS, 7, NEXT, 1);
        image.descriptor(HEADERS + 0x100, 1, HEADERS + 7, 9, NEXT, 2);
        image.descriptor(HEADERS + 0x100, 2, BUFFERS, 4096, NEXT | buffer, 3);
        image.descriptor(HEADERS + 0x100, 3, HEADERS + 16, 1, WRITE, 0);
        image.offer(&[3, 0, 3]);
        seeds.push(image.0);
    }
    let mut ranges = Image::new();
    ranges.header(0, 11, 0);
    ranges.put(BUFFERS, &[8u64.to_le_bytes(), (64u64).to_le_bytes()].concat());
    ranges.put(BUFFERS + 16, &[0u64.to_le_bytes(), (1u64 << 32 | 2048).to_le_bytes()].concat());
    ranges.descriptor(DESCRIPTORS, 0, HEADERS, 16, NEXT, 1);
    ranges.descriptor(DESCRIPTORS, 1, BUFFERS, 32, NEXT, 2);
    ranges.descriptor(DESCRIPTORS, 2, HEADERS + 16, 1, WRITE, 0);
    ranges.offer(&[0]);
    seeds.push(ranges.0);
    let mut ring = Image::new();
    (0..64).for_each(|index| ring.descriptor(DESCRIPTORS, index, HEADERS, 16, NEXT, (index + 1) % 64));
    ring.offer(&(0..64).collect::<Vec<_>>());
    seeds.push(ring.0);
    seeds
}

/// An input being made.
struct Image(Vec<u8>);

impl Image {
    fn new() -> Self {
        Self(vec![0])
    }

    fn put(&mut self, addr: u64, bytes: &[u8]) {
        let at = usize::try_from(addr - DESCRIPTORS).expect("a few KiB") + 1;
        if self.0.len() < at + bytes.len() {
            self.0.resize(at + bytes.len(), 0);
        }
        put(&mut self.0, at, bytes);
    }

    fn header(&mut self, at: u64, kind: u32, sector: u64) {
        self.put(HEADERS + at, &kind.to_le_bytes());
        self.put(HEADERS + at + 8, &sector.to_le_bytes());
        // The status byte, so that the image reaches it.
        self.put(HEADERS + at + 16, &[0]);
    }

    fn descriptor(&mut self, table: u64, index: u16, addr: u64, len: u32, flags: u16, next: u16) {
        let at = table + u64::from(index) * 16;
        self.put(at, &addr.to_le_bytes());
        self.put(at + 8, &len.to_le_bytes());
        self.put(at + 12, &flags.to_le_bytes());
        self.put(at + 14, &next.to_le_bytes());
    }

    fn offer(&mut self, heads: &[u16]) {
        let count = u16::try_from(heads.len()).expect("at most a queue's entries");
        self.put(AVAILABLE + 2, &count.to_le_bytes());
        for (slot, head) in heads.iter().enumerate() {
            self.put(AVAILABLE + 4 + 2 * slot as u64, &head.to_le_bytes());
        }
    }
}
