//! Members that are slow leave, and only they.

use super::rig::{Rig, disk};
use super::*;
use crate::client::VolumeOp;
use crate::limits::{CORE_SLOW_FACTOR, CORE_SLOW_FLOOR, CORE_SLOW_WINDOW, CORE_SLOW_WINDOWS};
use bytes::Bytes;
use proto::control::MemberState;
use std::time::Duration;

const MEMBERS: usize = 3;
const SLOW: Duration = CORE_SLOW_FLOOR.saturating_mul(2);
/// What a verdict takes, and a window more, since it may begin within one.
const VERDICT: Duration = CORE_SLOW_WINDOW.saturating_mul(CORE_SLOW_WINDOWS + 1);
const NONE: Duration = Duration::ZERO;

/// A load at depth 1 under which each member takes its time.
struct Trial {
    rig: Rig,
    id: u64,
}

impl Trial {
    fn new() -> Self {
        Self { rig: Rig::new(OnFull::Wait).open(), id: 0 }
    }

    /// Writes one after the other for so long.
    fn load(&mut self, takes: [Duration; MEMBERS], lasts: Duration) {
        let rig = &mut self.rig;
        let end = rig.now + lasts;
        let mut order: Vec<usize> = (0..MEMBERS).collect();
        order.sort_by_key(|&number| takes[number]);
        while rig.now < end {
            self.id += 1;
            let begun = rig.now;
            let offset = self.id % 64 * 4096;
            rig.submit(self.id, VolumeOp::Write { offset, data: Bytes::from(vec![1; 4096]) });
            for &number in &order {
                rig.now = rig.now.max(begun + takes[number]);
                rig.input(CoreInput::Tick);
                while rig.deliver(number) {}
            }
            assert!(rig.take(self.id).is_some_and(|result| result.is_ok()));
            rig.now = rig.now + Duration::from_millis(10);
            rig.input(CoreInput::Tick);
        }
    }

    fn is_out(&self, number: usize) -> bool {
        self.rig.control.state(number).contains(&MemberState::Out)
    }

    fn complaints(&self) -> &[Complaint] {
        &self.rig.control.complaints
    }
}

#[test]
fn a_slow_member_is_reported_after_some_windows_and_writes_go_on_without_it() {
    for number in 0..MEMBERS {
        let mut trial = Trial::new();
        let mut takes = [Duration::from_millis(1); MEMBERS];
        takes[number] = SLOW;
        trial.load(takes, CORE_SLOW_WINDOW * (CORE_SLOW_WINDOWS - 1));
        assert_eq!(trial.complaints(), [], "not before its time");
        trial.load(takes, CORE_SLOW_WINDOW * 2);
        assert_eq!(trial.complaints(), [Complaint::Slow]);
        assert!(trial.is_out(number) && trial.rig.core.stats().slow_reports == 1);
        // And nobody else is, now that the others carry it.
        trial.load([Duration::from_millis(1); MEMBERS], VERDICT);
        trial.load([SLOW; MEMBERS], VERDICT);
        assert_eq!(trial.complaints(), [Complaint::Slow]);
        assert_eq!(trial.rig.control.reports[0].0, number);
        assert!(trial.rig.control.map.groups.iter().all(|group| {
            group.in_sync().count() == 2 && group.in_sync().all(|member| member.disk != disk(number))
        }));
    }
}

#[test]
fn who_is_slow_like_the_others_or_fast_enough_stays() {
    let just_below = CORE_SLOW_FLOOR - Duration::from_millis(1);
    let not_so_far = SLOW * (CORE_SLOW_FACTOR - 1);
    let cases = [
        ("all alike", [SLOW, SLOW, SLOW]),
        ("two of three", [NONE, SLOW, SLOW]),
        ("below the floor", [NONE, NONE, just_below]),
        ("not so many times", [SLOW, SLOW, not_so_far]),
    ];
    for (what, takes) in cases {
        let mut trial = Trial::new();
        trial.load(takes, 2 * VERDICT);
        assert_eq!(trial.complaints(), [], "{what}");
    }
}

#[test]
fn a_bad_time_that_passes_is_forgiven() {
    let mut trial = Trial::new();
    for _ in 0..4 {
        trial.load([NONE, SLOW, NONE], CORE_SLOW_WINDOW * (CORE_SLOW_WINDOWS - 1));
        trial.load([NONE; MEMBERS], CORE_SLOW_WINDOW * 2);
    }
    assert_eq!(trial.complaints(), []);
}

/// Better slow than waiting for good: it stays as long as the rest would be too few.
#[test]
fn a_slow_member_stays_where_it_is_needed() {
    let mut trial = Trial::new();
    trial.rig.kill(0);
    trial.rig.pass(Duration::from_secs(10));
    assert!(trial.is_out(0));
    let before = trial.rig.control.reports.len();
    trial.load([NONE, NONE, SLOW], 2 * VERDICT);
    assert_eq!(trial.rig.control.reports.len(), before);
    assert!(!trial.is_out(2));
    // As soon as the rest is enough, it goes.
    trial.rig.reachable[0] = true;
    trial.rig.members[0].restart();
    trial.rig.control.set(0, MemberState::CatchingUp);
    trial.rig.members[0].blocks = trial.rig.members[1].blocks.clone();
    trial.rig.control.set(0, MemberState::InSync);
    trial.rig.pass(Duration::from_secs(6));
    trial.load([NONE, NONE, SLOW], VERDICT);
    assert_eq!(trial.complaints().last(), Some(&Complaint::Slow));
    assert!(trial.is_out(2));
}

#[test]
fn a_writer_that_was_stopped_blames_nobody() {
    let mut trial = Trial::new();
    for _ in 0..10 {
        trial.load([NONE, SLOW, NONE], CORE_SLOW_WINDOW * (CORE_SLOW_WINDOWS - 1));
        trial.rig.now = trial.rig.now + Duration::from_secs(60);
        trial.rig.input(CoreInput::Tick);
    }
    assert_eq!(trial.complaints(), []);
}

/// More is in flight than it writes within the time that a request may take: it is not gone, it is slow.
#[test]
fn a_queue_that_grows_too_long_is_no_absence() {
    for answers in [true, false] {
        let mut rig = Rig::new(OnFull::Wait).open();
        for id in 0..64 {
            rig.submit(id, VolumeOp::Write { offset: id * 4096, data: Bytes::from(vec![1; 4096]) });
        }
        for _ in 0..40 {
            while rig.deliver(0) || rig.deliver(1) {}
            if answers {
                rig.deliver(2);
            }
            rig.now = rig.now + Duration::from_millis(200);
            rig.input(CoreInput::Tick);
            if rig.control.complaints.is_empty() {
                assert!(rig.take(63).is_none());
            }
        }
        assert_eq!(rig.control.complaints, [if answers { Complaint::Slow } else { Complaint::Failed }]);
        assert!((0..64).all(|id| rig.take(id).is_some_and(|result| result.is_ok())));
    }
}
