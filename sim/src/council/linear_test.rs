use super::super::register::{Answer, Object, Op};
use super::*;

fn monitor() -> Monitor<Object> {
    Monitor::new(Object::Key(None))
}

fn put(etag: u64) -> Op {
    Op::Put { etag, only: None }
}

#[test]
fn while_a_write_is_under_way_both_answers_are_right_but_not_the_old_one_after_the_new() {
    let mut look = monitor();
    look.called(1, put(7));
    look.called(2, Op::Look);
    assert!(look.returned(2, &Answer::Etag(None)).is_ok());
    look.called(3, Op::Look);
    assert!(look.returned(3, &Answer::Etag(Some(7))).is_ok());
    look.called(4, Op::Look);
    assert!(look.returned(4, &Answer::Etag(None)).is_err());
}

#[test]
fn a_read_that_began_after_a_write_was_acked_sees_it() {
    let mut look = monitor();
    look.called(1, put(7));
    look.called(2, Op::Look);
    look.returned(1, &Answer::Done).unwrap();
    look.called(3, Op::Look);
    assert!(look.returned(2, &Answer::Etag(None)).is_ok(), "it began before the ack");
    assert!(look.returned(3, &Answer::Etag(None)).is_err());
}

#[test]
fn of_two_that_create_one_wins() {
    let create = |etag| Op::Put { etag, only: Some(None) };
    let both = |first: Answer, second: Answer| {
        let mut look = monitor();
        look.called(1, create(1));
        look.called(2, create(2));
        look.returned(1, &first).and_then(|()| look.returned(2, &second)).is_ok()
    };
    assert!(both(Answer::Refused, Answer::Done));
    assert!(both(Answer::Done, Answer::Refused));
    assert!(!both(Answer::Done, Answer::Done), "two winners");
    assert!(!both(Answer::Refused, Answer::Refused), "no winner");
}

#[test]
fn what_nobody_heard_of_may_be_done_late_or_never_but_not_twice() {
    let mut look = monitor();
    look.called(1, put(7));
    for seen in [None, None, Some(7)] {
        look.called(2, Op::Look);
        assert!(look.returned(2, &Answer::Etag(seen)).is_ok(), "{seen:?}");
    }
    look.called(3, put(8));
    look.returned(3, &Answer::Done).unwrap();
    look.called(4, Op::Look);
    assert!(look.returned(4, &Answer::Etag(Some(7))).is_err(), "it was seen before, and is not done again");
}

#[test]
fn what_was_refused_or_settled_is_never_seen_afterwards() {
    let mut look = monitor();
    look.called(1, put(7));
    look.not_done(1);
    look.called(2, put(8));
    look.called(3, Op::Look);
    look.returned(3, &Answer::Etag(None)).unwrap();
    look.settled(2);
    look.called(4, Op::Look);
    let mut other = monitor();
    std::mem::swap(&mut look, &mut other);
    assert!(other.returned(4, &Answer::Etag(Some(7))).is_err());
}

#[test]
fn a_lease_is_given_once() {
    let mut look = Monitor::new(Object::Volume { epoch: 0, attached: None });
    look.called(1, Op::Open);
    look.called(2, Op::Open);
    look.returned(1, &Answer::Epoch(2)).unwrap();
    assert!(look.returned(2, &Answer::Epoch(2)).is_err());
}

#[test]
fn a_change_at_a_former_epoch_changes_nothing() {
    let mut look = Monitor::new(Object::Standing { epoch: 1, state: 0 });
    look.called(1, Op::Evict(1));
    look.returned(1, &Answer::Standing(2, 2)).unwrap();
    look.called(2, Op::Evict(1));
    assert!(look.returned(2, &Answer::Standing(3, 2)).is_err());
}
