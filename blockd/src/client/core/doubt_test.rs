//! Copies that may have been made from a member that lost writes, and what is said when nobody kept all.

use super::members_tests::{SHORT, all_done, check_everywhere, data, submit_everywhere, written_by_two};
use super::rig::{DISKS, GROUPS, Rig, disk};
use super::*;
use crate::client::{Holes, VolumeOp};
use crate::limits::CORE_GRACE;
use proto::GroupId;
use proto::control::{Copied, MemberState};
use proto::units::CHUNK_BYTES;
use std::time::Duration;

/// What a catch-up does that reads from a member as it is.
fn join_from(rig: &mut Rig, source: usize) {
    join_in(rig, source, 0..GROUPS);
}

fn join_in(rig: &mut Rig, source: usize, groups: std::ops::Range<u32>) {
    let blocks = rig.members[source].blocks.clone();
    for group in groups {
        rig.control.set_in(group, 2, MemberState::CatchingUp);
        rig.members[2].copy_in(&blocks, group);
        let (source, incarnation) = (disk(source), rig.members[source].incarnation);
        rig.control.map.copies.push(Copied { group: GroupId(group), disk: disk(2), source, incarnation });
        rig.control.set_in(group, 2, MemberState::InSync);
    }
    let map = rig.control.map.clone();
    rig.input(CoreInput::Map(map));
}

#[test]
fn a_copy_of_a_member_that_forgot_does_not_count() {
    for source_is_seen_again in [true, false] {
        let mut rig = written_by_two();
        rig.reachable[0] = false;
        rig.members[0].power_cut();
        rig.cut(0);
        join_from(&mut rig, 0);
        rig.submit(60, VolumeOp::Read { offset: 0, len: 4096, holes: Holes::Zeros });
        rig.settle();
        assert_eq!(rig.members[2].reads, 0, "its copy is in doubt");
        rig.take(60).unwrap().unwrap();
        rig.reachable[0] = source_is_seen_again;
        rig.pass(CORE_GRACE * 2);
        let mut reported: Vec<usize> = rig.control.reports.iter().map(|(disk, _)| *disk).collect();
        reported.sort_unstable();
        reported.dedup();
        assert_eq!(reported, [0, 2]);
        check_everywhere(&mut rig, 1);
        assert!(rig.core.lost_acks.is_none(), "the third has kept all");
    }
}

#[test]
fn what_is_being_read_from_a_copy_that_does_not_count_is_read_elsewhere() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.control.set_in(0, 2, MemberState::Out);
    let map = rig.control.map.clone();
    rig.input(CoreInput::Map(map));
    submit_everywhere(&mut rig, 1, 1);
    rig.settle();
    assert!(all_done(&mut rig, 1));
    rig.reachable[0] = false;
    rig.members[0].power_cut();
    rig.cut(0);
    join_in(&mut rig, 0, 0..1);
    rig.pass(SHORT);
    // In its other groups it was all the time, and is asked.
    rig.silent[2] = true;
    for chunk in 0..16 {
        rig.submit(
            40 + chunk,
            VolumeOp::Read { offset: chunk * CHUNK_BYTES, len: 4096, holes: Holes::Zeros },
        );
    }
    assert!(!rig.queues[2].is_empty());
    rig.reachable[0] = true;
    rig.pass(CORE_GRACE / 2);
    assert!(rig.control.reports.iter().any(|(disk, _)| *disk == 2));
    assert!((40..56).all(|id| rig.take(id).unwrap().unwrap().unwrap() == vec![1; 4096]));
}

#[test]
fn a_copy_that_was_made_between_two_maps_is_doubted_as_well() {
    let mut rig = Rig::new(OnFull::Fail).open();
    submit_everywhere(&mut rig, 1, 1);
    rig.settle();
    rig.reachable[0] = false;
    rig.members[0].power_cut();
    rig.cut(0);
    rig.control.set(2, MemberState::Out);
    rig.members[2].blocks.clear();
    rig.members[2].reads = 0;
    join_from(&mut rig, 0);
    check_everywhere(&mut rig, 1);
    assert_eq!(rig.members[2].reads, 0);
    rig.pass(CORE_GRACE * 2);
    assert!(rig.control.reports.iter().any(|(disk, _)| *disk == 2));
    check_everywhere(&mut rig, 1);
}

#[test]
fn who_may_have_been_out_and_has_the_copy_it_had_was_not() {
    let mut rig = written_by_two();
    let (source, incarnation) = (disk(4), 1);
    for id in 0..GROUPS {
        // All are copies of a disk that is long gone.
        for number in [0, 1] {
            let copied = Copied { group: GroupId(id), disk: disk(number), source, incarnation };
            rig.control.map.copies.push(copied);
        }
    }
    let mut rig = rig.next_writer(2).open();
    submit_everywhere(&mut rig, 30, 2);
    rig.settle();
    for state in [MemberState::CatchingUp, MemberState::Out, MemberState::CatchingUp, MemberState::Out] {
        rig.control.set(2, state);
    }
    let map = rig.control.map.clone();
    rig.input(CoreInput::Map(map));
    assert!(!rig.core.map.doubtful);
    check_everywhere(&mut rig, 2);
    rig.run(VolumeOp::Flush).unwrap();
}

#[test]
fn if_only_copies_of_who_forgot_are_left_one_flush_fails() {
    let mut rig = written_by_two();
    for number in [0, 1] {
        rig.reachable[number] = false;
        rig.members[number].power_cut();
        rig.cut(number);
    }
    join_from(&mut rig, 0);
    rig.reachable = [true; DISKS];
    rig.pass(CORE_GRACE * 2);
    assert_eq!(rig.run(VolumeOp::Flush).unwrap_err().kind, ErrorKind::Io);
    rig.run(VolumeOp::Flush).unwrap();
}

#[test]
fn a_copy_of_a_restarted_member_counts_once_that_one_is_known_to_be_whole() {
    let mut rig = written_by_two();
    rig.reachable[0] = false;
    rig.members[0].restart();
    rig.cut(0);
    join_from(&mut rig, 0);
    check_everywhere(&mut rig, 1);
    assert_eq!(rig.members[2].reads, 0);
    rig.reachable[0] = true;
    rig.pass(CORE_GRACE / 2);
    // It loses nothing by what its source loses later.
    rig.members[0].power_cut();
    rig.cut(0);
    rig.kill(1);
    rig.pass(CORE_GRACE / 2);
    check_everywhere(&mut rig, 1);
    assert!(rig.members[2].reads > 0);
}

#[test]
fn a_copy_of_a_member_that_never_restarted_is_as_good_whatever_becomes_of_that_one() {
    for leaves in [true, false] {
        let mut rig = written_by_two();
        join_from(&mut rig, 0);
        if leaves {
            rig.control.set(0, MemberState::Out);
            let map = rig.control.map.clone();
            rig.input(CoreInput::Map(map));
        } else {
            rig.members[0].power_cut();
            rig.cut(0);
        }
        rig.kill(1);
        rig.pass(SHORT);
        check_everywhere(&mut rig, 1);
        rig.pass(CORE_GRACE * 2);
        assert!(rig.control.reports.iter().all(|(disk, _)| *disk != 2));
        check_everywhere(&mut rig, 1);
        assert!(rig.core.lost_acks.is_none());
    }
}

#[test]
fn with_nothing_acked_and_not_flushed_there_is_nothing_to_doubt() {
    let mut rig = written_by_two();
    rig.run(VolumeOp::Flush).unwrap();
    rig.reachable[0] = false;
    rig.members[0].restart();
    rig.cut(0);
    rig.kill(1);
    join_from(&mut rig, 0);
    rig.pass(SHORT);
    check_everywhere(&mut rig, 1);
    assert!(rig.members[2].reads > 0);
}

#[test]
fn who_kept_all_may_be_taken_out_by_another_volumes_writer_and_the_flush_says_so() {
    let mut rig = Rig::new(OnFull::Fail).open();
    submit_everywhere(&mut rig, 1, 1);
    rig.settle();
    rig.kill(2);
    for number in [0, 1] {
        rig.members[number].power_cut();
        rig.cut(number);
    }
    rig.pass(SHORT);
    assert!(rig.control.reports.is_empty(), "the third is waited for: it has all");
    rig.control.set(2, MemberState::Out);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.run(VolumeOp::Flush).unwrap_err().kind, ErrorKind::Io);
    rig.run(VolumeOp::Flush).unwrap();
    assert_eq!(rig.members[0].blocks, rig.members[1].blocks);
}

#[test]
fn members_that_failed_and_kept_all_lose_nothing() {
    let mut rig = Rig::new(OnFull::Fail).open();
    submit_everywhere(&mut rig, 1, 1);
    rig.settle();
    (0..3).for_each(|number| rig.members[number].broken = true);
    rig.control.is_up = false;
    rig.submit(40, data(2));
    rig.settle();
    rig.control.is_up = true;
    for number in 0..3 {
        rig.members[number].broken = false;
        rig.members[number].restart();
    }
    rig.pass(Duration::from_secs(2));
    rig.take(40).unwrap().unwrap();
    rig.run(VolumeOp::Flush).unwrap();
    assert_eq!(rig.read(0, 4096), vec![2; 4096]);
    assert_eq!(rig.read(CHUNK_BYTES, 4096), vec![1; 4096]);
}
