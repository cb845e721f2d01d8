use super::rig::{FakeMember, Rig, disk, kind};
use super::*;
use crate::client::{Holes, VolumeOp};
use crate::limits::CORE_NO_SPACE_WAIT;
use bytes::Bytes;
use proptest::prelude::*;
use proto::units::BLOCK_LEN;
use std::time::Duration;

#[test]
fn writes_reads_trims_and_zeroes_at_any_sector() {
    let mut rig = Rig::new(OnFull::Fail).open();
    assert_eq!(rig.read(0, 1 << 20), vec![0; 1 << 20]);
    rig.write(512, 1, 9 << 20); // Over several chunks, with both edges inside blocks.
    rig.write(4096, 2, 4096);
    let expected = [vec![0; 512], vec![1; 3584], vec![2; 4096], vec![1; 512]].concat();
    assert_eq!(rig.read(0, 8704), expected);
    rig.run(VolumeOp::WriteZeroes { offset: 1024, len: 8192 }).unwrap();
    assert_eq!(rig.read(512, 9216), [vec![1; 512], vec![0; 8192], vec![1; 512]].concat());
    rig.run(VolumeOp::Trim { offset: 5 << 20, len: 4 << 20 }).unwrap();
    assert_eq!(rig.read(5 << 20, 4 << 20), vec![0; 4 << 20]);
    assert_eq!(rig.read((9 << 20) - 512, 1536), [vec![0; 512], vec![1; 1024 - 512], vec![0; 512]].concat());
    let hole = rig.run(VolumeOp::Read { offset: 4096, len: 4096, holes: Holes::Error });
    assert_eq!(kind(hole), ErrorKind::Corrupt);
    for (offset, len) in [(100, 512), (0, 100), (64 << 20, 512), (u64::MAX - 511, 512)] {
        assert_eq!(kind(rig.run(VolumeOp::Trim { offset, len })), ErrorKind::Invalid);
    }
    let all = |rig: &Rig, member: usize| rig.members[member].blocks.clone();
    assert!(all(&rig, 0) == all(&rig, 1) && all(&rig, 1) == all(&rig, 2));
}

#[test]
fn a_write_is_acked_by_all_and_a_flush_covers_it() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.submit(1, VolumeOp::Write { offset: 0, data: Bytes::from(vec![1; 4096]) });
    assert!(rig.deliver(0) && rig.deliver(1));
    assert!(rig.take(1).is_none());
    assert!(rig.deliver(2));
    rig.take(1).unwrap().unwrap();
    let flushes: Vec<usize> = rig.members[..3].iter().map(|member| member.flushes).collect();
    rig.submit(2, VolumeOp::Flush);
    rig.submit(3, VolumeOp::Flush);
    rig.submit(4, VolumeOp::Flush);
    assert!(rig.deliver(0) && rig.deliver(1));
    assert!(rig.take(2).is_none());
    rig.settle();
    assert!((2..5).all(|id| rig.take(id).unwrap().is_ok()));
    // Those that waited found nothing more to flush.
    assert!(rig.members.iter().zip(flushes).all(|(member, before)| member.flushes == before + 1));
    // And the next flush tells what is stable.
    rig.write(0, 2, 512);
    rig.pass(Duration::from_secs(3));
    rig.write(0, 3, 512);
    rig.run(VolumeOp::Flush).unwrap();
    assert_eq!(rig.members[1].stable.counter(), 2);
}

/// Tombstones are forgotten by what a flush tells: one that nobody is told of stays for good.
#[test]
fn a_writer_that_rests_has_told_what_is_stable() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.write(0, 2, 512);
    rig.run(VolumeOp::Trim { offset: 0, len: 4096 }).unwrap();
    rig.pass(Duration::from_secs(10));
    let stable = rig.core.stable;
    assert_eq!(stable.counter(), 2);
    assert!(rig.members[..3].iter().all(|member| member.told == stable && member.whole));
    let flushes: Vec<usize> = rig.members.iter().map(|member| member.flushes).collect();
    rig.pass(Duration::from_secs(60));
    assert!(rig.members.iter().zip(flushes).all(|(member, before)| member.flushes == before), "it rests");
}

#[test]
fn a_bad_copy_is_read_elsewhere_and_repaired() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.write(0, 5, 3 * 4096);
    // A different block is bad on each member, and all are readable.
    for member in 0..3 {
        rig.members[member].corrupt.push((0, u16::try_from(member).unwrap()));
    }
    assert_eq!(rig.read(0, 3 * 4096), vec![5; 3 * 4096]);
    for _ in 0..3 {
        rig.read(0, 3 * 4096);
    }
    // Reads stick to one member, so only its copy was met and repaired.
    assert_eq!(rig.members.iter().map(|member| member.corrupt.len()).sum::<usize>(), 2);
    assert_eq!(rig.core.stats().repaired_blocks, 1);
    for member in 0..3 {
        rig.members[member].corrupt.push((0, 2));
    }
    assert_eq!(
        kind(rig.run(VolumeOp::Read { offset: 8192, len: 512, holes: Holes::Zeros })),
        ErrorKind::Corrupt
    );
    let part = rig.run(VolumeOp::Write { offset: 8192, data: Bytes::from(vec![1; 512]) });
    assert_eq!(kind(part), ErrorKind::Corrupt);
    rig.write(8192, 6, 4096);
    assert_eq!(rig.read(8192, 4096), vec![6; 4096]);
}

#[test]
fn a_member_that_comes_back_whole_is_resent_what_it_missed() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.write(0, 1, 4096);
    rig.submit(1, VolumeOp::Write { offset: 4096, data: Bytes::from(vec![2; 4096]) });
    rig.submit(2, VolumeOp::Flush);
    rig.cut(1);
    rig.settle();
    assert!(rig.take(1).is_none() && rig.take(2).is_none());
    rig.pass(Duration::from_millis(50));
    rig.take(1).unwrap().unwrap();
    rig.take(2).unwrap().unwrap();
    assert_eq!(rig.members[1].blocks, rig.members[0].blocks);
    assert_eq!(rig.core.stats().reconnects, 1);
    rig.write(0, 3, 4096);
}

#[test]
fn a_restarted_member_that_held_all_goes_on() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.write(0, 1, 4096);
    rig.members[0].incarnation += 1;
    rig.members[0].held_sequence = 1000;
    rig.cut(0);
    rig.pass(Duration::from_millis(100));
    rig.write(0, 2, 4096);
    // It may have lost its cache once more: the next flush must ask it.
    let before = rig.members[0].flushes;
    rig.run(VolumeOp::Flush).unwrap();
    assert_eq!(rig.members[0].flushes, before + 1);
}

#[test]
fn a_full_member_fails_or_stalls_writes_until_there_is_room() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.members[1].full = true;
    let data = Bytes::from(vec![7; 4096]);
    assert_eq!(kind(rig.run(VolumeOp::Write { offset: 0, data: data.clone() })), ErrorKind::NoSpace);
    rig.run(VolumeOp::Trim { offset: 4096, len: 4096 }).unwrap();
    rig.members[1].full = false;
    rig.pass(CORE_NO_SPACE_WAIT * 2);
    assert_eq!(rig.members[0].blocks, rig.members[1].blocks, "the failed write went everywhere in the end");
    let mut rig = Rig::new(OnFull::Wait).open();
    rig.members[1].full = true;
    rig.submit(1, VolumeOp::Write { offset: 0, data });
    rig.pass(Duration::from_secs(5));
    assert!(rig.take(1).is_none());
    rig.members[1].full = false;
    rig.pass(CORE_NO_SPACE_WAIT * 2);
    rig.take(1).unwrap().unwrap();
}

#[test]
fn open_takes_each_blocks_highest_version_to_all() {
    let (v1, v2) = (Version::first_of(VolumeEpoch(1)), Version(Version::first_of(VolumeEpoch(1)).0 + 9));
    let data = |fill| Some(Bytes::from(vec![fill; BLOCK_LEN]));
    let mut members: Vec<FakeMember> = (0..3).map(|_| FakeMember::default()).collect();
    for member in &mut members {
        member.blocks.insert((3, 9), (v1, data(1))); // Newer on one.
        member.blocks.insert((3, 10), (v1, data(1))); // The same on all.
        member.blocks.insert((3, 11), (v1, data(1))); // Trimmed on one.
        member.blocks.insert((3, 12), (v1, data(1))); // Newer on one, and bad there.
    }
    members[2].blocks.insert((3, 9), (v2, data(2)));
    members[1].blocks.insert((3, 11), (v2, None));
    members[0].blocks.insert((3, 12), (v2, data(2)));
    members[0].corrupt.push((3, 12));
    members[1].blocks.insert((4, 0), (v2, data(3))); // On one only.
    let mut rig = Rig::over(members, 2, OnFull::Fail).open();
    let chunk = 4 << 20;
    assert_eq!(rig.read(3 * chunk + 9 * 4096, 4096), vec![2; 4096]);
    assert_eq!(rig.read(3 * chunk + 10 * 4096, 4096), vec![1; 4096]);
    assert_eq!(rig.read(3 * chunk + 11 * 4096, 4096), vec![0; 4096]);
    assert_eq!(rig.read(3 * chunk + 12 * 4096, 4096), vec![1; 4096]);
    assert_eq!(rig.read(4 * chunk, 4096), vec![3; 4096]);
    assert_eq!(rig.members[0].blocks, rig.members[1].blocks);
    assert_eq!(rig.members[0].blocks, rig.members[2].blocks);
    assert_eq!(rig.core.stats().reconciled_blocks, 4);
    assert!(rig.members[..3].iter().all(|member| member.flushes == 1));
}

#[test]
fn open_waits_queues_and_gives_up_with_the_disks_named() {
    let mut rig = Rig::new(OnFull::Fail);
    rig.control.is_up = false;
    rig.reachable[1] = false;
    rig.submit(1, VolumeOp::Write { offset: 0, data: Bytes::from(vec![1; 512]) });
    rig.submit(2, VolumeOp::Flush);
    rig.pass(Duration::from_secs(5));
    assert!(rig.opened.is_none() && rig.done.is_empty());
    rig.reachable[1] = true;
    rig.pass(Duration::from_secs(1));
    assert!(rig.opened.clone().unwrap().is_ok());
    assert!(rig.take(1).unwrap().is_ok() && rig.take(2).unwrap().is_ok());
    let mut rig = Rig::new(OnFull::Fail);
    rig.control.is_up = false;
    rig.reachable[1] = false;
    rig.submit(1, VolumeOp::Flush);
    rig.pass(Duration::from_secs(30));
    let error = rig.opened.clone().unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains(&disk(1).to_string()), "{error}");
    assert!(rig.take(1).unwrap().is_err());
}

#[test]
fn a_fenced_writer_stops_for_good() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.members[1].fence = VolumeEpoch(9);
    rig.cut(1);
    rig.pass(Duration::from_millis(100));
    assert_eq!(kind(rig.run(VolumeOp::Read { offset: 0, len: 512, holes: Holes::Zeros })), ErrorKind::Fenced);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Writes that never share a sector but often a block, all at once and answered in any order: each is
    /// kept, beside whole-block trims of blocks that nobody else writes.
    #[test]
    fn concurrent_neighbours_are_all_kept(
        starts in proptest::collection::vec((0u64..200, 1u64..24), 1..40),
        order in proptest::collection::vec(0usize..3, 0..400),
    ) {
        let mut rig = Rig::new(OnFull::Fail).open();
        let mut model = vec![0u8; 256 * 512];
        for (id, (start, len)) in starts.into_iter().enumerate() {
            let fill = u8::try_from(id).unwrap() + 1;
            let range = usize::try_from(start).unwrap() * 512..usize::try_from(start + len).unwrap() * 512;
            if model[range.clone()].iter().any(|&byte| byte != 0) {
                continue;
            }
            model[range.clone()].fill(fill);
            let data = Bytes::from(vec![fill; range.len()]);
            // Across the boundary of two chunks.
            rig.submit(id as u64, VolumeOp::Write { offset: (4 << 20) - 64 * 512 + start * 512, data });
        }
        for member in order {
            rig.deliver(member);
        }
        rig.settle();
        prop_assert!(rig.done.iter().all(|(_, result)| result.is_ok()));
        prop_assert_eq!(rig.core.stats().operations, 0);
        prop_assert_eq!(rig.read((4 << 20) - 64 * 512, model.len()), model);
    }
}
