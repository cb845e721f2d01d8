//! HOSTILE 32: sessions and rings that were good before some of it was changed. Nothing may crash or hang.

#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

use super::*;
use crate::config_space::{MemorySlots, features, protocol_features};

const VERSION: u8 = 1;
const NEED_REPLY: u8 = 8;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        match self.roll(4) {
            0 => [0, 1, 7, 0x7f, 0x80, 0xfe, 0xff][self.roll(7)],
            _ => self.roll(256) as u8,
        }
    }
}

fn words(fields: &[u64]) -> Vec<u8> {
    fields.iter().flat_map(|field| field.to_le_bytes()).collect()
}

fn message(code: u8, files: u8, body: Vec<u8>) -> Message {
    Message { code, flags: VERSION | NEED_REPLY, files, body }
}

fn pair(a: u32, b: u32) -> Vec<u8> {
    [a.to_le_bytes(), b.to_le_bytes()].concat()
}

/// What QEMU sends: the negotiation, memory, a record, a queue, a migration, the end.
fn recorded() -> Vec<Message> {
    let features = features() & !(1 << 26);
    let inflight = [words(&[4096, 0]), pair(1 | 64 << 16, 0)].concat();
    let ring = |flags: u32| {
        [pair(0, flags), words(&[USER_BASE + TABLE, USER_BASE + USED, USER_BASE + AVAILABLE, 0x7000])]
            .concat()
    };
    let plain = |code: u8, body: Vec<u8>| Message { code, flags: VERSION, files: 0, body };
    vec![
        plain(1, vec![]),
        plain(15, vec![]),
        plain(16, words(&[protocol_features(MemorySlots::Offered).bits()])),
        plain(17, vec![]),
        message(21, 0b011_001, vec![]),
        plain(3, vec![]),
        plain(36, vec![]),
        message(2, 0, words(&[features])),
        plain(24, [&[0, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0][..], &[0; 60]].concat()),
        plain(31, inflight.clone()),
        message(32, 0b010_001, inflight),
        message(5, 1, [pair(1, 0), words(&[0, RAM_BYTES, USER_BASE, 0])].concat()),
        message(8, 0, pair(0, u32::from(QUEUE_SIZE))),
        message(10, 0, pair(0, 0)),
        message(9, 0, ring(0)),
        message(12, 0b001_001, words(&[0])),
        message(13, 0b001_001, words(&[0])),
        message(18, 0, pair(0, 1)),
        message(6, 0b010_001, words(&[4096, 0])),
        message(7, 0b001_001, vec![]),
        message(2, 0, words(&[features | 1 << 26])),
        message(9, 0, ring(1)),
        message(37, 1, words(&[0, RAM_BYTES, 4096, USER_BASE + RAM_BYTES, 0])),
        message(38, 0, words(&[0, RAM_BYTES, 4096, USER_BASE + RAM_BYTES, 0])),
        plain(11, pair(0, 0)),
        message(4, 0, vec![]),
    ]
}

/// A ring that offers a write, a read and a flush, one of them in an indirect table.
fn image() -> Vec<u8> {
    let mut image = vec![0; IMAGE_BYTES];
    let mut put = |addr: u64, bytes: &[u8]| {
        let at = (addr - TABLE) as usize;
        image[at..at + bytes.len()].copy_from_slice(bytes);
    };
    let descriptor = |addr: u64, len: u32, flags: u16, next: u16| {
        [&addr.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat()
    };
    let (headers, table, data) = (TABLE + 0x200, TABLE + 0x300, 0x1_0000);
    for (request, kind) in [(0, 1u64), (1, 0), (2, 4)] {
        put(headers + request * 16, &words(&[kind, request * 8]));
    }
    let chain = |request: u64, flags: u16| {
        [descriptor(headers + request * 16, 16, 1, 1), descriptor(data, 4096, 1 | flags, 2)].concat()
    };
    put(TABLE, &[chain(0, 0), descriptor(0x2_0000, 1, 2, 0)].concat());
    put(table, &[chain(1, 2), descriptor(0x2_0001, 1, 2, 0)].concat());
    put(TABLE + 48, &descriptor(table, 48, 4, 0));
    put(TABLE + 64, &[descriptor(headers + 32, 16, 1, 5), descriptor(0x2_0002, 1, 2, 0)].concat());
    put(AVAILABLE, &[0, 0, 3, 0, 0, 0, 3, 0, 4, 0]);
    image
}

fn mutate(bytes: &mut [u8], dice: &mut Dice) {
    for _ in 0..dice.roll(6) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.roll(bytes.len());
        bytes[at] = dice.byte();
    }
}

#[test]
fn the_recorded_session_is_served() {
    let (messages, image) = (recorded(), image());
    let whole = Outcome { messages: messages.len(), operations: 3 };
    assert_eq!(run_session(&image, &messages), whole);
    let len = (image.len() as u16).to_le_bytes();
    assert_eq!(session(&[&len[..], &image, &encode(&messages)].concat()), whole);
    for how in [0, 2, 4, 8, 14] {
        assert_eq!(chains(&[&[how][..], &image].concat()).operations, 3, "{how}");
    }
}

#[test]
fn mutated_sessions_end_in_order() {
    let mut dice = Dice(0x0dd_ba11);
    let mut total = Outcome::default();
    for _ in 0..2500 {
        let (mut messages, mut image) = (recorded(), image());
        mutate(&mut image, &mut dice);
        for _ in 0..dice.roll(4) {
            let at = dice.roll(messages.len());
            match dice.roll(7) {
                0 => drop(messages.remove(at)),
                1 => messages.insert(dice.roll(messages.len()), messages[at].clone()),
                2 => {
                    let other = dice.roll(messages.len());
                    messages.swap(at, other);
                }
                3 => messages[at].files = dice.byte(),
                4 => messages[at].flags = dice.byte(),
                5 => messages[at].body.resize(dice.roll(80), 0xff),
                _ => mutate(&mut messages[at].body, &mut dice),
            }
            if messages.is_empty() {
                break;
            }
        }
        let outcome = run_session(&image, &messages);
        total.messages += outcome.messages;
        total.operations += outcome.operations;
    }
    // Most get somewhere: what is tested is more than the first check.
    assert!(total.messages > 2500 * 10 && total.operations > 2500, "{total:?}");
}

#[test]
fn mutated_rings_stay_contained() {
    let mut dice = Dice(0x5eed);
    let mut operations = 0;
    for _ in 0..3000 {
        let mut input = vec![dice.byte()];
        for round in 0..=dice.roll(4) {
            let mut next = image();
            // The ring goes on by one to three chains a round.
            next[(AVAILABLE - TABLE) as usize + 2] = (3 * (round + 1)) as u8;
            for slot in 0..usize::from(QUEUE_SIZE) {
                next[(AVAILABLE - TABLE) as usize + 4 + 2 * slot] = [0, 3, 4, 1][slot % 3 + dice.roll(9) / 8];
            }
            mutate(&mut next, &mut dice);
            if dice.roll(3) == 0 {
                // Where a change matters most: the table and the ring.
                mutate(&mut next[..0x180], &mut dice);
            }
            input.extend_from_slice(&next);
        }
        operations += chains(&input).operations;
    }
    assert!(operations > 3000, "{operations}");
}

#[test]
fn noise_is_contained() {
    let mut dice = Dice(77);
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..dice.roll(700)).map(|_| dice.byte()).collect();
        session(&bytes);
        chains(&bytes);
    }
}
