//! A guest for tests: memory in a file, one split queue in it, written byte by byte as a driver would.

use crate::mem::{GuestRam, RegionPlace};
use crate::vring::{RingPlace, VringSetup};
use std::fs::File;
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress};

pub const RAM_BYTES: u64 = 64 << 20;
/// Where the front end's process says the memory lies.
pub const USER_BASE: u64 = 0x7f00_0000_0000;
pub const QUEUE_SIZE: u16 = 256;
pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;
const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x8000;
const USED: u64 = 0xa000;
/// Free for buffers from here on.
pub const DATA: u64 = 0x10_0000;

pub struct TestGuest {
    pub ram: Arc<GuestRam>,
    pub file: File,
    next_descriptor: u16,
    available: u16,
    seen: u16,
}

/// One part of a chain.
#[derive(Clone, Copy)]
pub struct Part {
    pub addr: u64,
    pub len: u32,
    pub flags: u16,
}

pub fn readable(addr: u64, len: u32) -> Part {
    Part { addr, len, flags: 0 }
}

pub fn writable(addr: u64, len: u32) -> Part {
    Part { addr, len, flags: WRITE }
}

impl TestGuest {
    pub fn new() -> Self {
        let file = tempfile::tempfile().unwrap();
        file.set_len(RAM_BYTES).unwrap();
        let place = RegionPlace { guest_addr: 0, user_addr: USER_BASE, len: RAM_BYTES, file_offset: 0 };
        let ram = GuestRam::empty().with_region(place, file.try_clone().unwrap()).unwrap();
        Self { ram: Arc::new(ram), file, next_descriptor: 0, available: 0, seen: 0 }
    }

    pub fn setup(&self) -> VringSetup {
        VringSetup {
            size: QUEUE_SIZE,
            place: RingPlace { descriptors: DESCRIPTORS, available: AVAILABLE, used: USED },
            next_avail: 0,
            has_event_idx: false,
            call: None,
            record: None,
            log_addr: None,
        }
    }

    pub fn put(&self, addr: u64, bytes: &[u8]) {
        self.ram.map().write_slice(bytes, GuestAddress(addr)).unwrap();
    }

    pub fn get(&self, addr: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.ram.map().read_slice(&mut bytes, GuestAddress(addr)).unwrap();
        bytes
    }

    /// A request's header at `addr`.
    pub fn put_header(&self, addr: u64, kind: u32, sector: u64) {
        self.put(addr, &kind.to_le_bytes());
        self.put(addr + 4, &[0; 4]);
        self.put(addr + 8, &sector.to_le_bytes());
    }

    /// One range of a discard or write-zeroes request.
    pub fn put_range(&self, addr: u64, sector: u64, sectors: u32, flags: u32) {
        self.put(addr, &sector.to_le_bytes());
        self.put(addr + 8, &sectors.to_le_bytes());
        self.put(addr + 12, &flags.to_le_bytes());
    }

    /// A descriptor of the table at `table`.
    pub fn put_descriptor(&self, table: u64, index: u16, part: Part, next: u16) {
        let at = table + u64::from(index) * 16;
        self.put(at, &part.addr.to_le_bytes());
        self.put(at + 8, &part.len.to_le_bytes());
        self.put(at + 12, &part.flags.to_le_bytes());
        self.put(at + 14, &next.to_le_bytes());
    }

    /// A descriptor of the queue's own table.
    pub fn put_own_descriptor(&self, index: u16, part: Part, next: u16) {
        self.put_descriptor(DESCRIPTORS, index, part, next);
    }

    /// Makes a well-linked chain of `parts` available; its head.
    pub fn offer(&mut self, parts: &[Part]) -> u16 {
        let head = self.next_descriptor;
        for (step, part) in parts.iter().enumerate() {
            let index = self.next_descriptor;
            self.next_descriptor = (self.next_descriptor + 1) % QUEUE_SIZE;
            let more = if step + 1 < parts.len() { NEXT } else { 0 };
            let part = Part { flags: part.flags | more, ..*part };
            self.put_own_descriptor(index, part, self.next_descriptor);
        }
        self.offer_head(head);
        head
    }

    /// Makes whatever lies at descriptor `head` available.
    pub fn offer_head(&mut self, head: u16) {
        let slot = u64::from(self.available % QUEUE_SIZE);
        self.put(AVAILABLE + 4 + 2 * slot, &head.to_le_bytes());
        self.available = self.available.wrapping_add(1);
        self.set_available(self.available);
    }

    pub fn set_available(&mut self, index: u16) {
        self.available = index;
        self.put(AVAILABLE + 2, &index.to_le_bytes());
    }

    /// Has both rings begin at `index`, before anything is offered.
    pub fn begin_at(&mut self, index: u16) {
        self.set_available(index);
        self.put(USED + 2, &index.to_le_bytes());
        self.seen = index;
    }

    /// Takes up where another guest, whose memory this one has, was left.
    pub fn goes_on_as(&mut self, other: &Self) {
        self.next_descriptor = other.next_descriptor;
        (self.available, self.seen) = (other.available, other.seen);
    }

    /// Chains handed back since the last call: heads and written bytes.
    pub fn used(&mut self) -> Vec<(u32, u32)> {
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        let end = u16::from_le_bytes(self.get(USED + 2, 2).try_into().unwrap());
        let mut used = Vec::new();
        while self.seen != end {
            let entry = self.get(USED + 4 + 8 * u64::from(self.seen % QUEUE_SIZE), 8);
            used.push((word(&entry[..4]), word(&entry[4..])));
            self.seen = self.seen.wrapping_add(1);
        }
        used
    }
}
