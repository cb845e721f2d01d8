//! Guests and front ends: the device's own doors, with inputs that reach behind the first check.

use crate::put;
use vhost_user::fuzz::{self, AVAILABLE, IMAGE_BYTES, Message, TABLE, USER_BASE};

/// Where the seeds put headers and status bytes, and buffers.
const HEADERS: u64 = TABLE + 0x200;
const BUFFERS: u64 = 0x4000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// Rings and descriptor chains.
pub fn chains(input: &[u8]) {
    fuzz::chains(input);
}

/// A session's messages.
pub fn session(input: &[u8]) {
    fuzz::session(input);
}

/// One image a request's kind, and some with indirect tables, loops and many heads, on queues started in
/// different ways.
pub fn chain_seeds() -> Vec<Vec<u8>> {
    let mut images = Vec::new();
    for (kind, device_writes) in [(0u32, true), (1, false), (4, false), (8, true), (11, false), (13, false)] {
        let mut image = Image::default();
        image.header(kind, 8);
        let buffer = if device_writes { WRITE } else { 0 };
        image.descriptor(TABLE, 0, (HEADERS, 16), NEXT, 1);
        image.descriptor(TABLE, 1, (BUFFERS, 512), NEXT | buffer, 2);
        image.descriptor(TABLE, 2, (HEADERS + 16, 1), WRITE, 0);
        image.offer(&[0]);
        images.push(image.0.clone());
        // The same in one indirect table, with the header cut in two.
        let table = HEADERS + 0x100;
        image.descriptor(TABLE, 3, (table, 64), INDIRECT, 0);
        image.descriptor(table, 0, (HEADERS, 7), NEXT, 1);
        image.descriptor(table, 1, (HEADERS + 7, 9), NEXT, 2);
        image.descriptor(table, 2, (BUFFERS, 4096), NEXT | buffer, 3);
        image.descriptor(table, 3, (HEADERS + 16, 1), WRITE, 0);
        image.offer(&[3, 0, 3]);
        images.push(image.0);
    }
    let mut ring = Image::default();
    (0..16).for_each(|index| ring.descriptor(TABLE, index, (HEADERS, 16), NEXT, (index + 1) % 16));
    ring.offer(&(0..16).collect::<Vec<_>>());
    images.push(ring.0);
    let ways = [0u8, 1, 2 | 8, 4];
    let seed = |(at, image): (usize, &Vec<u8>)| [&[ways[at % ways.len()]], &image[..]].concat();
    let mut seeds: Vec<Vec<u8>> = images.iter().enumerate().map(seed).collect();
    let mut twice = [&[0], &images[0][..]].concat();
    twice.resize(1 + IMAGE_BYTES, 0);
    twice.extend(&images[3]);
    seeds.push(twice);
    seeds
}

/// Guest memory from [`TABLE`] on.
#[derive(Default)]
struct Image(Vec<u8>);

impl Image {
    fn put(&mut self, addr: u64, bytes: &[u8]) {
        let at = usize::try_from(addr - TABLE).expect("a few KiB");
        if self.0.len() < at + bytes.len() {
            self.0.resize(at + bytes.len(), 0);
        }
        put(&mut self.0, at, bytes);
    }

    fn header(&mut self, kind: u32, sector: u64) {
        self.put(HEADERS, &kind.to_le_bytes());
        self.put(HEADERS + 8, &sector.to_le_bytes());
    }

    fn descriptor(&mut self, table: u64, index: u16, (addr, len): (u64, u32), flags: u16, next: u16) {
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

/// A session as front ends make it, cut after each message; and each message alone.
pub fn session_seeds() -> Vec<Vec<u8>> {
    let word = |number: u64| number.to_le_bytes().to_vec();
    let pair = |first: u32, second: u32| [first.to_le_bytes(), second.to_le_bytes()].concat();
    let region = [0, fuzz::RAM_BYTES, USER_BASE, 0].map(u64::to_le_bytes).concat();
    let table = [pair(1, 0), region.clone()].concat();
    let rings = [TABLE, 0x800, AVAILABLE, 0].map(|at| (USER_BASE + at).to_le_bytes()).concat();
    let config = [pair(0, 60), vec![0; 64]].concat();
    let inflight = [word(2048), word(0), pair(2 | 64 << 16, 0)].concat();
    let (ram, event, record) = (1, 1 | 1 << 3, 1 | 2 << 3);
    let steps = [
        (1, 0, vec![]),
        (2, 0, word(1 << 32 | 1 << 30)),
        (15, 0, vec![]),
        (16, 0, word(0b1_0010_1010_1001)),
        (17, 0, vec![]),
        (3, 0, vec![]),
        (5, ram, table),
        (31, 0, inflight.clone()),
        (32, record, inflight),
        (8, 0, pair(0, 16)),
        (10, 0, pair(0, 0)),
        (9, 0, [pair(0, 0), rings].concat()),
        (13, event, word(0)),
        (12, event, word(0)),
        (18, 0, pair(0, 1)),
        (24, 0, config),
        (36, 0, vec![]),
        (37, ram, [word(0), region].concat()),
        (6, record, [word(4096), word(0)].concat()),
        (11, 0, pair(0, 0)),
    ]
    .map(|(code, files, body)| Message { code, flags: 1 | 8, files, body });
    // A request waits in the ring when it starts.
    let image = chain_seeds()[0][1..].to_vec();
    let len = u16::try_from(image.len()).expect("a few KiB").to_le_bytes();
    let seed = |messages: &[Message]| [&len[..], &image, &fuzz::encode(messages)].concat();
    let prefixes = (1..=steps.len()).map(|count| seed(&steps[..count]));
    prefixes.chain(steps.iter().map(|step| seed(std::slice::from_ref(step)))).collect()
}
