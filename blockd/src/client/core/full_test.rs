//! Members without room: what their writer left in flight when it died is taken to all, or opens say why not.

use super::rig::{FakeMember, Rig, disk};
use super::*;
use crate::client::VolumeOp;
use crate::limits::CORE_OPEN_TIMEOUT;
use bytes::Bytes;
use proto::units::{BLOCK_LEN, CHUNK_BYTES};
use std::time::Duration;

const BLOCKS: u64 = 8;
/// One in each chunk, so that all groups take part.
const RANDOM_BLOCKS: u64 = 12;

fn write(block: u64, fill: u8) -> VolumeOp {
    let data = Bytes::from(vec![fill; BLOCK_LEN]);
    VolumeOp::Write { offset: block * BLOCK_LEN as u64, data }
}

/// The members that a writer leaves behind which died while one of them refused what it wrote.
fn left_by_a_stalled_writer(full: usize) -> Vec<FakeMember> {
    let mut rig = Rig::new(OnFull::Wait).open();
    rig.run(write(0, 1)).unwrap();
    rig.members[full].full = true;
    (0..BLOCKS).for_each(|block| rig.submit(block, write(block, 2)));
    rig.pass(Duration::from_secs(5));
    // Only what the full member has room for was acked.
    assert!(rig.take(0).is_some() && rig.take(1).is_none());
    let held = |rig: &Rig, number: usize| rig.members[number].blocks.len() as u64;
    assert_eq!((held(&rig, full), held(&rig, (full + 1) % 3)), (1, BLOCKS));
    rig.members
}

#[test]
fn what_a_full_member_refused_is_taken_to_it_by_the_next_open() {
    for full in 0..3 {
        let mut members = left_by_a_stalled_writer(full);
        members[full].reserve_blocks = usize::try_from(BLOCKS).unwrap() - 1;
        let mut rig = Rig::over(members, 2, OnFull::Wait).open();
        assert_eq!(rig.members[full].reserve_blocks, 0, "the reserve was not needed");
        for block in 0..BLOCKS {
            assert_eq!(rig.read(block * BLOCK_LEN as u64, BLOCK_LEN), vec![2; BLOCK_LEN]);
        }
        assert!(rig.members[..3].windows(2).all(|pair| pair[0].blocks == pair[1].blocks));
        // Only opens may take of the reserve; what has room of its own goes on, and trims make more.
        rig.members[full].reserve_blocks = 1;
        rig.run(write(3, 4)).unwrap();
        rig.submit(90, write(BLOCKS, 5));
        rig.pass(Duration::from_secs(3));
        assert!(rig.take(90).is_none());
        rig.run(VolumeOp::Trim { offset: 0, len: BLOCK_LEN as u64 }).unwrap();
        rig.members[full].full = false;
        rig.pass(Duration::from_secs(3));
        rig.take(90).unwrap().unwrap();
    }
}

#[test]
fn members_made_to_agree_in_the_middle_take_of_the_reserve_too() {
    let mut rig = Rig::new(OnFull::Wait).open();
    rig.run(write(0, 1)).unwrap();
    rig.run(VolumeOp::Flush).unwrap();
    rig.run(write(1, 2)).unwrap();
    // All lose power at once. One of them kept what was acked, and another has no room for it any more.
    (rig.members[1].full, rig.members[1].reserve_blocks) = (true, 1);
    rig.members[0].restart();
    rig.members[0].held_sequence = 0;
    for number in [1, 2] {
        rig.members[number].power_cut();
    }
    (0..3).for_each(|number| rig.cut(number));
    rig.pass(Duration::from_secs(20));
    assert_eq!(rig.members[1].reserve_blocks, 0, "the reserve was not needed");
    assert_eq!(rig.read(BLOCK_LEN as u64, BLOCK_LEN), vec![2; BLOCK_LEN]);
    assert!(rig.members[..3].windows(2).all(|pair| pair[0].blocks == pair[1].blocks));
}

#[test]
fn an_open_that_finds_no_reserve_left_names_the_full_disk() {
    let mut members = left_by_a_stalled_writer(1);
    members[1].reserve_blocks = 2;
    let mut rig = Rig::over(members, 2, OnFull::Wait);
    rig.pass(CORE_OPEN_TIMEOUT + Duration::from_secs(1));
    let error = rig.opened.clone().unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let (full, other) = (disk(1).to_string(), disk(0).to_string());
    assert!(error.message.contains(&full) && !error.message.contains(&other), "{error}");
}

struct Dice(u64);

impl Dice {
    /// A number that looks random, below `below`.
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % below
    }

    fn member(&mut self) -> usize {
        usize::try_from(self.roll(3)).unwrap()
    }
}

/// What one block may hold.
#[derive(Default)]
struct Known {
    /// The newest that was acked; 0 is nothing.
    acked: u8,
    /// Sent and not acked, perhaps by writers that died.
    open: Vec<u8>,
    writing: Option<(u64, u8)>,
}

fn offset(block: usize) -> u64 {
    block as u64 * CHUNK_BYTES
}

/// One writer's life, which ends with writes stalled on whoever is full.
fn live(rig: &mut Rig, dice: &mut Dice, known: &mut [Known], seed: u64) {
    for (block, known) in known.iter_mut().enumerate() {
        let seen = rig.read(offset(block), BLOCK_LEN)[0];
        assert!(seen == known.acked || known.open.contains(&seen), "seed {seed}: block {block} is {seen}");
        // Whatever it is, it stays.
        *known = Known { acked: seen, ..Known::default() };
    }
    let held = &rig.members;
    assert!(held[..3].windows(2).all(|pair| pair[0].blocks == pair[1].blocks), "seed {seed}");
    for turn in 0..60 {
        let block = usize::try_from(dice.roll(RANDOM_BLOCKS)).unwrap();
        let fill = u8::try_from(dice.roll(250)).unwrap() + 1;
        match dice.roll(8) {
            0 => {
                let member = dice.member();
                rig.members[member].full = dice.roll(4) > 0;
            }
            1 => rig.pass(Duration::from_millis(600)),
            2 if known[block].writing.is_none() => {
                rig.submit(turn, VolumeOp::Trim { offset: offset(block), len: BLOCK_LEN as u64 });
                known[block].writing = Some((turn, 0));
                known[block].open.push(0);
            }
            _ if known[block].writing.is_none() => {
                let data = Bytes::from(vec![fill; BLOCK_LEN]);
                rig.submit(turn, VolumeOp::Write { offset: offset(block), data });
                known[block].writing = Some((turn, fill));
                known[block].open.push(fill);
            }
            _ => {}
        }
        for _ in 0..dice.roll(8) {
            let member = dice.member();
            rig.deliver(member);
        }
        for known in known.iter_mut() {
            if let Some((id, fill)) = known.writing
                && let Some(result) = rig.take(id)
            {
                result.unwrap();
                *known = Known { acked: fill, ..Known::default() };
            }
        }
    }
}

/// Writers die one after the other while members are full: each open succeeds, shows all that was acked, and
/// leaves the members the same.
#[test]
fn what_is_acked_survives_writers_that_die_in_a_full_pool() {
    let (mut opened_full, mut reserved) = (0, 0);
    for seed in 1..=40u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut known: Vec<Known> = (0..RANDOM_BLOCKS).map(|_| Known::default()).collect();
        let mut members: Vec<FakeMember> = (0..3).map(|_| FakeMember::default()).collect();
        for epoch in 2..8 {
            for member in &mut members {
                member.reserve_blocks = usize::try_from(RANDOM_BLOCKS).unwrap();
                opened_full += usize::from(member.full);
            }
            let mut rig = Rig::over(std::mem::take(&mut members), epoch, OnFull::Wait).open();
            let all = usize::try_from(RANDOM_BLOCKS).unwrap();
            reserved += rig.members.iter().take(3).map(|member| all - member.reserve_blocks).sum::<usize>();
            live(&mut rig, &mut dice, &mut known, seed);
            members = rig.members;
            known.iter_mut().for_each(|known| known.writing = None);
        }
    }
    assert!(opened_full > 200 && reserved > 40, "{opened_full} full members, {reserved} blocks of reserves");
}
