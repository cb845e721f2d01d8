use super::rig::{DISKS, GROUPS, Rig, disk, kind};
use super::*;
use crate::client::{Holes, VolumeOp};
use crate::limits::CORE_GRACE;
use bytes::Bytes;
use proto::control::MemberState;
use proto::units::CHUNK_BYTES;
use std::time::Duration;

pub(super) const SHORT: Duration = Duration::from_millis(100);

pub(super) fn data(fill: u8) -> VolumeOp {
    VolumeOp::Write { offset: 0, data: Bytes::from(vec![fill; 4096]) }
}

/// Submits a write of `fill` to each of sixteen chunks, so to every group. Their ids start at `id`.
pub(super) fn submit_everywhere(rig: &mut Rig, id: u64, fill: u8) {
    for chunk in 0..16 {
        let data = Bytes::from(vec![fill; 4096]);
        rig.submit(id + chunk, VolumeOp::Write { offset: chunk * CHUNK_BYTES, data });
    }
}

pub(super) fn all_done(rig: &mut Rig, id: u64) -> bool {
    let done = |id: u64| rig.done.iter().any(|(done, result)| *done == id && result.is_ok());
    assert!(rig.done.iter().all(|(_, result)| result.is_ok()), "{:?}", rig.done);
    (id..id + 16).all(done)
}

pub(super) fn check_everywhere(rig: &mut Rig, fill: u8) {
    for chunk in 0..16 {
        assert_eq!(rig.read(chunk * CHUNK_BYTES, 4096), vec![fill; 4096], "chunk {chunk}");
    }
}

#[test]
fn a_member_that_stays_away_is_evicted_and_what_waited_goes_on() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.write(0, 1, 4096);
    rig.kill(2);
    submit_everywhere(&mut rig, 1, 2);
    rig.submit(90, VolumeOp::Flush);
    rig.pass(CORE_GRACE - SHORT);
    assert!(rig.control.reports.is_empty() && !all_done(&mut rig, 1));
    rig.pass(SHORT * 2);
    assert!(all_done(&mut rig, 1));
    rig.take(90).unwrap().unwrap();
    assert_eq!(rig.control.reports, [(2, GROUPS as usize)]);
    assert_eq!(rig.core.stats().evicted_members, 1);
    check_everywhere(&mut rig, 2);
    let stalls = rig.now;
    rig.write(0, 3, 4096);
    rig.run(VolumeOp::Flush).unwrap();
    assert_eq!(rig.now, stalls, "nothing waits for it any more");
    // It is not even connected to, though it is back.
    rig.reachable[2] = true;
    let before = rig.members[2].sequence;
    rig.pass(Duration::from_secs(20));
    assert_eq!(rig.members[2].sequence, before);
    assert!(!rig.members[0].whole, "its groups are not whole, so tombstones stay");
}

#[test]
fn a_member_that_forgot_is_evicted_at_once_though_it_is_there() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.write(0, 1, 4096);
    rig.members[2].power_cut();
    submit_everywhere(&mut rig, 1, 2);
    rig.submit(90, VolumeOp::Flush);
    rig.cut(2);
    rig.pass(SHORT);
    assert!(all_done(&mut rig, 1));
    rig.take(90).unwrap().unwrap();
    assert_eq!(rig.control.reports, [(2, GROUPS as usize)]);
    check_everywhere(&mut rig, 2);
}

#[test]
fn a_member_that_forgot_serves_no_reads_and_no_acks_until_it_is_out() {
    let mut rig = Rig::new(OnFull::Fail).open();
    submit_everywhere(&mut rig, 1, 1);
    rig.settle();
    assert!(all_done(&mut rig, 1));
    rig.control.is_up = false;
    rig.members[0].power_cut();
    rig.cut(0);
    rig.pass(Duration::from_secs(5));
    check_everywhere(&mut rig, 1);
    let acked = rig.members[0].sequence;
    submit_everywhere(&mut rig, 20, 2);
    rig.submit(90, VolumeOp::Flush);
    rig.pass(Duration::from_secs(5));
    assert!(!all_done(&mut rig, 20) && rig.take(90).is_none());
    assert_eq!(rig.members[0].sequence, acked);
    rig.control.is_up = true;
    rig.pass(Duration::from_secs(1));
    assert!(all_done(&mut rig, 20));
    rig.take(90).unwrap().unwrap();
    check_everywhere(&mut rig, 2);
}

#[test]
fn a_silent_member_is_evicted_within_five_seconds() {
    for silent in 0..3 {
        let mut rig = Rig::new(OnFull::Fail).open();
        rig.write(0, 1, 4096);
        rig.silent[silent] = true;
        submit_everywhere(&mut rig, 1, 2);
        rig.submit(40, VolumeOp::Read { offset: 0, len: 4096, holes: Holes::Zeros });
        rig.submit(90, VolumeOp::Flush);
        rig.pass(Duration::from_millis(4500));
        assert!(all_done(&mut rig, 1), "{silent}");
        assert!(rig.take(90).unwrap().is_ok() && rig.take(40).unwrap().is_ok());
        assert_eq!(rig.control.reports, [(silent, GROUPS as usize)]);
        check_everywhere(&mut rig, 2);
    }
}

#[test]
fn members_that_are_all_silent_are_waited_for() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.silent = [true; DISKS];
    submit_everywhere(&mut rig, 1, 2);
    rig.pass(Duration::from_secs(20));
    assert!(rig.control.reports.is_empty());
    rig.silent = [false; DISKS];
    rig.pass(Duration::from_secs(2));
    assert!(all_done(&mut rig, 1) && rig.control.reports.is_empty());
}

#[test]
fn a_writer_that_was_itself_stopped_blames_nobody() {
    let mut rig = Rig::new(OnFull::Fail).open();
    submit_everywhere(&mut rig, 1, 2);
    assert!(rig.deliver(0));
    rig.now = rig.now + Duration::from_secs(60);
    while rig.deliver(0) {}
    rig.input(CoreInput::Tick);
    assert_eq!(rig.core.stats().members_away, 0);
    rig.settle();
    rig.pass(SHORT);
    assert!(all_done(&mut rig, 1) && rig.control.reports.is_empty());
}

#[test]
fn without_the_control_plane_a_volume_waits_and_reads() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.write(0, 1, 4096);
    rig.control.is_up = false;
    rig.kill(1);
    submit_everywhere(&mut rig, 1, 2);
    rig.pass(Duration::from_secs(60));
    assert!(!all_done(&mut rig, 1) && rig.done.is_empty());
    assert_eq!(rig.read(0, 512).len(), 512);
    rig.control.is_up = true;
    rig.pass(Duration::from_secs(1));
    assert!(all_done(&mut rig, 1));
    // And one that comes back in the meantime, with all it had, ends the wait as well.
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.control.is_up = false;
    rig.kill(1);
    submit_everywhere(&mut rig, 1, 2);
    rig.pass(Duration::from_secs(60));
    rig.members[1].restart();
    rig.reachable[1] = true;
    rig.pass(Duration::from_secs(1));
    assert!(all_done(&mut rig, 1));
}

#[test]
fn with_two_gone_writes_wait_reads_go_on_and_one_is_enough_to_resume() {
    let mut rig = Rig::new(OnFull::Fail).open();
    submit_everywhere(&mut rig, 1, 1);
    rig.settle();
    rig.kill(0);
    rig.kill(1);
    submit_everywhere(&mut rig, 20, 2);
    rig.pass(Duration::from_secs(60));
    assert!(!all_done(&mut rig, 20));
    // Its leaving would help nobody, and coming back would cost it a catch-up.
    assert_eq!(rig.control.reports, [(0, GROUPS as usize)]);
    rig.read(0, 4096);
    rig.members[1].restart();
    rig.reachable[1] = true;
    rig.pass(Duration::from_secs(1));
    assert!(all_done(&mut rig, 20));
    check_everywhere(&mut rig, 2);
}

#[test]
fn with_all_gone_nobody_is_reported_and_what_was_acked_is_still_there() {
    let mut rig = Rig::new(OnFull::Fail).open();
    submit_everywhere(&mut rig, 1, 1);
    rig.settle();
    (0..3).for_each(|number| rig.kill(number));
    submit_everywhere(&mut rig, 20, 2);
    rig.submit(40, VolumeOp::Read { offset: 0, len: 4096, holes: Holes::Zeros });
    rig.pass(Duration::from_secs(60));
    assert!(rig.control.reports.is_empty() && rig.take(40).is_none());
    for number in 0..3 {
        rig.members[number].restart();
        rig.reachable[number] = true;
    }
    rig.pass(Duration::from_secs(1));
    assert!(all_done(&mut rig, 20) && rig.control.reports.is_empty());
    rig.run(VolumeOp::Flush).unwrap();
    check_everywhere(&mut rig, 2);
}

#[test]
fn after_a_power_cut_of_all_one_flush_fails_and_the_members_agree() {
    let mut rig = Rig::new(OnFull::Fail).open();
    submit_everywhere(&mut rig, 1, 1);
    rig.settle();
    rig.run(VolumeOp::Flush).unwrap();
    submit_everywhere(&mut rig, 20, 2);
    rig.settle();
    assert!(all_done(&mut rig, 20));
    submit_everywhere(&mut rig, 40, 3);
    // One of the newest writes is on one member only, and one member kept what was not flushed.
    assert!(rig.deliver(1));
    let (kept, sequence) = (rig.members[1].blocks.clone(), rig.members[1].sequence - 1);
    for number in 0..3 {
        rig.members[number].power_cut();
        rig.cut(number);
    }
    rig.members[1].blocks = kept;
    rig.members[1].sequence = sequence - 1;
    rig.members[1].restart();
    rig.pass(Duration::from_secs(1));
    assert!((40..56).all(|id| rig.take(id).unwrap().is_ok()), "what was in flight is written");
    check_everywhere(&mut rig, 3);
    let error = rig.run(VolumeOp::Flush).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io);
    assert!(error.message.contains("power cut"), "{error}");
    rig.run(VolumeOp::Flush).unwrap();
    rig.write(0, 4, 4096);
    assert_eq!(rig.members[0].blocks, rig.members[1].blocks);
    assert_eq!(rig.members[0].blocks, rig.members[2].blocks);
    assert!(rig.control.reports.is_empty(), "there was nobody to go on with");
    assert_eq!(rig.core.stats().operations, 0);
}

#[test]
fn a_disk_that_fails_is_evicted_without_an_error() {
    for fail_flush in [false, true] {
        let mut rig = Rig::new(OnFull::Fail).open();
        submit_everywhere(&mut rig, 1, 1);
        rig.settle();
        rig.members[1].broken = !fail_flush;
        rig.members[1].fail_flush = fail_flush;
        rig.submit(90, VolumeOp::Flush);
        rig.submit(91, VolumeOp::Flush);
        for chunk in 0..16 {
            rig.submit(
                60 + chunk,
                VolumeOp::Read { offset: chunk * CHUNK_BYTES, len: 512, holes: Holes::Error },
            );
        }
        submit_everywhere(&mut rig, 20, 2);
        rig.settle();
        rig.pass(SHORT);
        assert!(all_done(&mut rig, 20));
        assert!((60..76).chain([90, 91]).all(|id| rig.take(id).unwrap().is_ok()));
        assert_eq!(rig.control.reports[0], (1, GROUPS as usize));
        assert!(rig.control.state(1).iter().all(|state| *state == MemberState::Out));
        check_everywhere(&mut rig, 2);
    }
    // A flush is never a success before the member that failed it has left.
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.write(0, 1, 4096);
    (rig.members[1].fail_flush, rig.control.is_up) = (true, false);
    rig.submit(90, VolumeOp::Flush);
    rig.pass(Duration::from_secs(10));
    rig.members[1].fail_flush = false;
    rig.pass(Duration::from_secs(10));
    assert!(rig.take(90).is_none());
    rig.control.is_up = true;
    rig.pass(Duration::from_secs(1));
    rig.take(90).unwrap().unwrap();
}

/// A disk that begins to catch up: the in-sync members hear of the new epoch before the writer does.
fn begin_catch_up(rig: &mut Rig, number: usize) {
    rig.control.set(number, MemberState::CatchingUp);
    for member in &mut rig.members[..3] {
        for group in &rig.control.map.groups {
            member.adopted.insert(group.id.0, group.epoch);
        }
    }
}

#[test]
fn a_stale_epoch_brings_the_new_map_and_a_member_that_catches_up_gets_all_writes() {
    let mut rig = Rig::new(OnFull::Fail).open();
    submit_everywhere(&mut rig, 1, 1);
    rig.settle();
    begin_catch_up(&mut rig, 3);
    submit_everywhere(&mut rig, 20, 2);
    rig.submit(40, VolumeOp::Read { offset: 0, len: 4096, holes: Holes::Zeros });
    rig.silent[3] = true;
    rig.pass(SHORT);
    assert!(!all_done(&mut rig, 20), "acks wait for it too");
    rig.silent[3] = false;
    rig.pass(SHORT);
    assert!(all_done(&mut rig, 20));
    rig.take(40).unwrap().unwrap();
    check_everywhere(&mut rig, 2);
    assert_eq!(rig.members[3].blocks.len(), 16);
    // It is told no horizon, and serves no read, until the map says that it is in sync.
    rig.run(VolumeOp::Flush).unwrap();
    assert!(rig.members[3].flushes > 0 && !rig.members[0].whole && rig.members[0].told > Version::ZERO);
    assert_eq!((rig.members[3].told, rig.members[3].reads), (Version::ZERO, 0));
    rig.control.set(2, MemberState::Out);
    rig.control.set(3, MemberState::InSync);
    rig.pass(Duration::from_secs(6));
    rig.members[3].reads = 0;
    check_everywhere(&mut rig, 2);
    assert!(rig.members[3].reads > 0);
    // Groups are whole when nobody is out of them.
    let groups = &mut rig.control.map.groups;
    groups.iter_mut().for_each(|group| group.members.retain(|member| member.disk != disk(2)));
    rig.control.map.version += 1;
    rig.pass(Duration::from_secs(6));
    rig.write(0, 3, 4096);
    rig.run(VolumeOp::Flush).unwrap();
    rig.write(0, 3, 4096);
    rig.run(VolumeOp::Flush).unwrap();
    assert!(rig.members[3].whole && rig.members[3].told > Version::ZERO);
}

#[test]
fn what_is_in_flight_goes_to_who_comes_and_waits_for_nobody_who_left() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.silent[2] = true;
    submit_everywhere(&mut rig, 1, 1);
    rig.settle();
    rig.control.set(2, MemberState::Out);
    rig.control.set(3, MemberState::CatchingUp);
    let map = rig.control.map.clone();
    rig.input(CoreInput::Map(map.clone()));
    assert!(!all_done(&mut rig, 1));
    rig.pass(Duration::from_millis(1));
    assert!(all_done(&mut rig, 1));
    assert_eq!(rig.members[3].blocks, rig.members[0].blocks);
    // An older map, and one that says nothing, change nothing.
    let before = rig.core.stats().map_version;
    rig.input(CoreInput::Map(proto::control::PoolMap { version: map.version - 1, ..map.clone() }));
    rig.input(CoreInput::Map(proto::control::PoolMap { version: 99, groups: Vec::new(), ..map }));
    assert_eq!(rig.core.stats().map_version, before);
    rig.write(0, 2, 4096);
}

#[test]
fn below_the_least_number_in_sync_writes_wait_and_reads_go_on() {
    let mut rig = Rig::new(OnFull::Fail).open();
    submit_everywhere(&mut rig, 1, 1);
    rig.settle();
    rig.run(VolumeOp::Flush).unwrap();
    rig.control.set(1, MemberState::Out);
    rig.control.set(2, MemberState::Out);
    let map = rig.control.map.clone();
    rig.input(CoreInput::Map(map));
    check_everywhere(&mut rig, 1);
    rig.run(VolumeOp::Flush).unwrap();
    submit_everywhere(&mut rig, 20, 2);
    rig.submit(80, VolumeOp::Trim { offset: 1 << 20, len: 4096 });
    rig.pass(Duration::from_secs(20));
    assert!(!all_done(&mut rig, 20) && rig.take(80).is_none());
    rig.control.set(1, MemberState::CatchingUp);
    rig.pass(Duration::from_secs(2));
    assert!(!all_done(&mut rig, 20), "who catches up does not count");
    rig.control.set(1, MemberState::InSync);
    rig.pass(Duration::from_secs(2));
    assert!(all_done(&mut rig, 20));
    rig.take(80).unwrap().unwrap();
    assert_eq!(rig.members[1].blocks, rig.members[0].blocks);
}

#[test]
fn a_member_that_catches_up_and_fails_is_evicted_and_may_begin_again() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.control.set(2, MemberState::Out);
    rig.control.set(2, MemberState::CatchingUp);
    let map = rig.control.map.clone();
    rig.input(CoreInput::Map(map));
    rig.settle();
    rig.write(0, 1, 4096);
    rig.kill(2);
    rig.submit(1, data(2));
    rig.pass(CORE_GRACE + SHORT);
    rig.take(1).unwrap().unwrap();
    assert_eq!(rig.control.reports, [(2, GROUPS as usize)]);
    // It lost what it had acked, which its next catch-up brings back: it is taken as it is.
    rig.members[2].power_cut();
    rig.reachable[2] = true;
    begin_catch_up(&mut rig, 2);
    rig.submit(2, data(3));
    rig.pass(Duration::from_secs(1));
    rig.take(2).unwrap().unwrap();
    assert_eq!(rig.control.reports.len(), 1);
    assert_eq!(rig.members[2].blocks.get(&(0, 0)), rig.members[0].blocks.get(&(0, 0)));
}

#[test]
fn a_volume_opens_without_a_disk_that_is_dead_and_serves_reads_of_one() {
    let mut rig = Rig::new(OnFull::Fail);
    rig.reachable[1] = false;
    rig.submit(1, data(1));
    rig.input(CoreInput::Tick);
    rig.pass(CORE_GRACE + SHORT);
    rig.opened.clone().unwrap().unwrap();
    rig.take(1).unwrap().unwrap();
    assert_eq!(rig.control.reports, [(1, GROUPS as usize)]);
    // The next writer's map has one in-sync member left, and one that catches up.
    rig.control.set(0, MemberState::Out);
    rig.control.set(1, MemberState::CatchingUp);
    rig.reachable[1] = true;
    let mut rig = rig.next_writer(2).open();
    assert_eq!(rig.read(0, 4096), vec![1; 4096]);
    rig.submit(2, data(2));
    rig.pass(Duration::from_secs(5));
    assert!(rig.take(2).is_none());
    rig.control.set(1, MemberState::InSync);
    rig.pass(Duration::from_secs(1));
    rig.take(2).unwrap().unwrap();
}

#[test]
fn an_open_waits_out_a_member_that_fails_in_the_middle_of_it() {
    let mut rig = Rig::new(OnFull::Fail).open();
    submit_everywhere(&mut rig, 1, 1);
    rig.deliver(0);
    let mut rig = rig.next_writer(2);
    rig.members[2].fail_flush = true;
    rig.input(CoreInput::Tick);
    rig.settle();
    rig.pass(Duration::from_secs(1));
    rig.opened.clone().unwrap().unwrap();
    assert_eq!(rig.control.reports, [(2, GROUPS as usize)]);
    assert_eq!(rig.read(0, 4096).len(), 4096);
    assert_eq!(rig.members[0].blocks, rig.members[1].blocks);
}

#[test]
fn a_fenced_writer_is_told_so_whatever_waits() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.control.is_up = false;
    rig.kill(2);
    rig.submit(1, data(1));
    rig.pass(Duration::from_secs(3));
    rig.members[2].fence = VolumeEpoch(9);
    rig.reachable[2] = true;
    rig.pass(Duration::from_secs(1));
    assert_eq!(kind(rig.take(1).unwrap()), ErrorKind::Fenced);
}

#[test]
fn after_an_outage_of_all_the_last_to_come_back_has_its_time() {
    let mut rig = Rig::new(OnFull::Fail).open();
    (0..3).for_each(|number| rig.kill(number));
    submit_everywhere(&mut rig, 1, 2);
    rig.pass(Duration::from_secs(4));
    for number in 0..3 {
        rig.members[number].restart();
        rig.reachable[number] = true;
        rig.pass(CORE_GRACE / 3);
    }
    rig.pass(Duration::from_secs(1));
    assert!(all_done(&mut rig, 1) && rig.control.reports.is_empty());
}

#[test]
fn a_server_with_another_disk_is_one_that_is_away_and_a_wrong_token_is_told_at_once() {
    let mut rig = Rig::new(OnFull::Fail);
    rig.members[1].replaced = true;
    rig.input(CoreInput::Tick);
    rig.pass(CORE_GRACE + SHORT * 6);
    rig.opened.clone().unwrap().unwrap();
    assert_eq!(rig.control.reports, [(1, GROUPS as usize)]);
    let mut rig = Rig::new(OnFull::Fail);
    (0..3).for_each(|number| rig.members[number].replaced = true);
    rig.input(CoreInput::Tick);
    rig.pass(SHORT);
    assert_eq!(rig.opened.clone().unwrap().unwrap_err().kind, ErrorKind::Unauthorized);
}

#[test]
fn a_member_that_was_cleared_between_two_maps_is_sent_again_what_is_in_flight() {
    for (first, last) in
        [(MemberState::CatchingUp, MemberState::CatchingUp), (MemberState::InSync, MemberState::InSync)]
    {
        let mut rig = Rig::new(OnFull::Fail).open();
        rig.control.set(2, first);
        let map = rig.control.map.clone();
        rig.input(CoreInput::Map(map));
        rig.silent[1] = true;
        submit_everywhere(&mut rig, 1, 1);
        rig.settle();
        assert!(!rig.members[2].blocks.is_empty(), "it has acked them");
        // It leaves, its copy is cleared, it comes back; and then the writer hears of all that.
        for state in [MemberState::Out, MemberState::CatchingUp, last] {
            rig.control.set(2, state);
        }
        rig.members[2].blocks.clear();
        let map = rig.control.map.clone();
        rig.input(CoreInput::Map(map));
        rig.settle();
        rig.silent[1] = false;
        rig.settle();
        assert!(all_done(&mut rig, 1));
        assert_eq!(rig.members[2].blocks, rig.members[0].blocks);
    }
}

/// Writes that are acked by all there are and not flushed, with one member (number 2) out since before them.
pub(super) fn written_by_two() -> Rig {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.control.set(2, MemberState::Out);
    let map = rig.control.map.clone();
    rig.input(CoreInput::Map(map));
    submit_everywhere(&mut rig, 1, 1);
    rig.settle();
    assert!(all_done(&mut rig, 1));
    rig
}

/// Two members in sync, of which one is dead and nobody has noticed.
fn with_a_dead_one() -> Rig {
    let mut rig = written_by_two();
    rig.pass(Duration::from_secs(3));
    rig.reachable[1] = false;
    rig.silent[1] = true;
    rig
}

#[test]
fn nobody_is_evicted_in_favour_of_one_that_nobody_has_heard_from() {
    let mut rig = with_a_dead_one();
    rig.members[0].broken = true;
    rig.submit(20, VolumeOp::Read { offset: 0, len: 4096, holes: Holes::Zeros });
    rig.submit(21, VolumeOp::Read { offset: CHUNK_BYTES, len: 4096, holes: Holes::Zeros });
    rig.submit(22, data(2));
    rig.pass(Duration::from_secs(10));
    assert!(rig.control.reports.is_empty(), "{:?}", rig.control.reports);
    // It comes back with all it had: reads go on, and writes once a second one is in sync.
    rig.members[0].broken = false;
    rig.members[0].restart();
    rig.pass(Duration::from_secs(2));
    rig.take(20).unwrap().unwrap();
    rig.take(21).unwrap().unwrap();
    assert!(rig.take(22).is_none() && rig.control.reports.is_empty());
    begin_catch_up(&mut rig, 2);
    let blocks = rig.members[0].blocks.clone();
    (0..GROUPS).for_each(|group| rig.members[2].copy_in(&blocks, group));
    rig.control.set(2, MemberState::InSync);
    rig.pass(Duration::from_secs(6));
    rig.take(22).unwrap().unwrap();
    rig.run(VolumeOp::Flush).unwrap();
    assert_eq!(rig.control.reports, [(1, GROUPS as usize)]);
    assert_eq!(rig.read(0, 4096), vec![2; 4096]);
}

#[test]
fn one_that_forgot_is_not_trusted_again() {
    let mut rig = with_a_dead_one();
    submit_everywhere(&mut rig, 30, 2);
    rig.silent[1] = false;
    rig.settle();
    rig.silent[1] = true;
    assert!(all_done(&mut rig, 30));
    rig.members[0].power_cut();
    rig.cut(0);
    rig.submit(50, VolumeOp::Read { offset: 0, len: 4096, holes: Holes::Zeros });
    rig.pass(Duration::from_secs(20));
    assert!(rig.take(50).is_none(), "what it has is old");
    rig.reachable[1] = true;
    rig.silent[1] = false;
    rig.pass(Duration::from_secs(3));
    assert_eq!(rig.take(50).unwrap().unwrap().unwrap(), vec![2; 4096]);
}
