use super::*;

const LOST: &dyn Fn(u64, u64) -> bool = &|_, _| false;
const KEPT: &dyn Fn(u64, u64) -> bool = &|_, _| true;

/// Writes 1 and 2 to sector 0, one after the other, both acked.
fn two_writes() -> Oracle {
    let mut oracle = Oracle::default();
    oracle.submitted((1, 0), (0, 1), false, 10);
    oracle.acked(1, 20);
    oracle.submitted((2, 0), (0, 1), false, 30);
    oracle.acked(2, 40);
    oracle
}

#[test]
fn a_flush_that_succeeds_after_one_that_failed_promises_nothing_of_before() {
    let mut oracle = Oracle::default();
    oracle.submitted((1, 0), (0, 1), false, 1);
    oracle.acked(1, 2);
    oracle.flush_failed(0);
    oracle.flushed(0, 4, u64::MAX);
    let zeros = [0; SECTOR];
    assert!(oracle.check_read((0, &zeros), (5, 6), &|_, _| true).is_err(), "a copy was spared");
    assert!(oracle.check_read((0, &zeros), (7, 8), &|_, _| false).is_ok(), "all copies lost it");
}

#[test]
fn the_newest_acked_write_is_read() {
    let mut oracle = two_writes();
    assert!(oracle.check_read((0, &stamp(2, 0, 1)), (50, 51), KEPT).is_ok());
    assert!(oracle.check_read((0, &stamp(1, 0, 1)), (50, 52), KEPT).is_err());
    assert!(
        oracle.check_read((0, &stamp(1, 0, 1)), (35, 53), KEPT).is_ok(),
        "it began before the second ack"
    );
    assert!(oracle.check_read((0, &[0; 512]), (50, 54), KEPT).is_err());
    assert!(oracle.check_read((0, &stamp(2, 1, 1)), (50, 55), KEPT).is_err(), "another sector's");
}

#[test]
fn what_was_lost_with_power_may_be_old_but_not_once_it_was_flushed() {
    let mut oracle = two_writes();
    assert!(oracle.check_read((0, &stamp(1, 0, 1)), (50, 51), LOST).is_ok());
    let mut oracle = two_writes();
    oracle.flushed(0, 35, NEVER);
    assert!(oracle.check_read((0, &[0; 512]), (50, 51), LOST).is_err());
    assert!(
        oracle.check_read((0, &stamp(1, 0, 1)), (52, 53), LOST).is_ok(),
        "the flush did not cover the second"
    );
    oracle.flushed(0, 45, NEVER);
    assert!(oracle.check_read((0, &stamp(1, 0, 1)), (54, 55), LOST).is_err());
}

#[test]
fn after_an_open_reads_agree() {
    let mut oracle = two_writes();
    oracle.submitted((3, 0), (0, 1), false, 50);
    oracle.opened(1, 60);
    assert!(oracle.check_read((0, &stamp(2, 0, 1)), (70, 71), KEPT).is_ok());
    assert!(oracle.check_read((0, &stamp(3, 0, 1)), (72, 73), KEPT).is_err(), "the first read decided");
    assert!(oracle.check_read((0, &stamp(2, 0, 1)), (74, 75), KEPT).is_ok());
}

#[test]
fn two_whole_writes_are_not_mixed_in_a_block() {
    let mut oracle = Oracle::default();
    oracle.submitted((1, 0), (0, 8), false, 10);
    oracle.submitted((2, 0), (0, 8), false, 11);
    let mut mixed = stamp(1, 0, 4).to_vec();
    mixed.extend_from_slice(&stamp(2, 4, 4));
    assert!(oracle.check_read((0, &mixed), (20, 21), KEPT).is_err());
}

#[test]
fn what_was_lost_when_it_was_acked_may_be_gone() {
    // All copies lost power at 3, between taking the write and its ack.
    let kept = |_: u64, held: u64| held > 3;
    for was_lost in [false, true] {
        let mut oracle = Oracle::default();
        oracle.submitted((1, 0), (0, 8), false, 2);
        oracle.acked(1, 5);
        if was_lost {
            oracle.was_lost_when_acked(1);
        }
        let read = oracle.check_read((0, &[0; 512]), (6, 7), &kept);
        assert_eq!(read.is_ok(), was_lost, "{read:?}");
    }
}
