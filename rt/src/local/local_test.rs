use super::*;
use crate::limits::REACTOR;
use std::time::Duration;

const OWNER: u8 = 3;
const ACCEPT: u8 = 1;

#[derive(Debug, PartialEq, Eq)]
struct Parcel(u64, usize);

impl Message for Parcel {
    fn len_bytes(&self) -> usize {
        self.1
    }
}

type Conn = LocalConn<Parcel, Parcel>;

fn tag(id: u64) -> OwnerTag {
    OwnerTag { owner: OWNER, id }
}

fn step(reactor: &mut Reactor) -> Vec<Completion> {
    let mut out = Vec::new();
    reactor.wait(Some(Duration::from_secs(20)), &mut out).unwrap();
    out
}

/// The first completion of a kind, of the connection with number 1.
fn until(reactor: &mut Reactor, conn: &mut Conn, wanted: impl Fn(&Progress) -> bool) {
    loop {
        let done = step(reactor);
        assert!(!done.is_empty(), "nothing happened for 20 s");
        for completion in done.iter().filter(|done| done.token.kind() != ACCEPT) {
            if wanted(&conn.on_completion(completion)) {
                return;
            }
        }
    }
}

fn listener(reactor: &Reactor) -> LocalListener<Parcel, Parcel> {
    LocalListener::new(reactor, Token::new(OWNER, ACCEPT, 0))
}

/// Answers each parcel with the same until its client ends the connection; how many there were.
fn echo(mut reactor: Reactor, listener: &LocalListener<Parcel, Parcel>) -> u64 {
    let mut conn = loop {
        step(&mut reactor);
        if let Some(conn) = listener.accept(tag(1)) {
            break conn;
        }
    };
    let mut echoed = 0;
    loop {
        while !conn.is_busy()
            && let Some(parcel) = conn.next_message()
        {
            echoed += 1;
            conn.queue(parcel).unwrap();
        }
        conn.pump();
        for completion in step(&mut reactor) {
            if matches!(conn.on_completion(&completion), Progress::Closed(_)) {
                return echoed;
            }
        }
    }
}

#[test]
fn messages_cross_threads_in_order_whatever_waits_for_room() {
    const COUNT: u64 = 20_000;
    let (send_door, door) = std::sync::mpsc::sync_channel(1);
    let server = std::thread::spawn(move || {
        let reactor = Reactor::new(REACTOR).unwrap();
        let listener = listener(&reactor);
        send_door.send(listener.door()).unwrap();
        echo(reactor, &listener)
    });
    let mut reactor = Reactor::new(REACTOR).unwrap();
    let mut conn = door.recv().unwrap().connect(&reactor, tag(1)).unwrap();
    until(&mut reactor, &mut conn, |progress| matches!(progress, Progress::Connected));
    let (mut sent, mut back, mut was_busy) = (0, 0, false);
    while back < COUNT {
        // Large ones now and then, so that both ends have to wait for room.
        while sent < COUNT && !conn.is_busy() {
            let len = if sent % 1000 < 50 { 1 << 20 } else { 100 };
            conn.queue(Parcel(sent, len)).unwrap();
            sent += 1;
        }
        was_busy |= conn.is_busy();
        conn.pump();
        for completion in step(&mut reactor) {
            assert!(matches!(conn.on_completion(&completion), Progress::Received | Progress::Sent));
        }
        while let Some(parcel) = conn.next_message() {
            assert_eq!(parcel.0, back);
            back += 1;
        }
    }
    assert!(was_busy);
    drop(conn);
    assert_eq!(server.join().unwrap(), COUNT);
}

#[test]
fn what_was_sent_before_the_end_arrives() {
    let mut reactor = Reactor::new(REACTOR).unwrap();
    let listener = listener(&reactor);
    let mut client = listener.door().connect(&reactor, tag(1)).unwrap();
    client.queue(Parcel(7, 10)).unwrap();
    client.pump();
    client.queue(Parcel(8, 10)).unwrap();
    drop(client);
    let mut server = listener.accept(tag(1)).unwrap();
    until(&mut reactor, &mut server, |progress| matches!(progress, Progress::Received));
    // The second one was never pumped.
    assert_eq!((server.next_message(), server.next_message()), (Some(Parcel(7, 10)), None));
    until(&mut reactor, &mut server, |progress| matches!(progress, Progress::Closed(_)));
    // Nobody is there to take it, and nothing piles up.
    server.queue(Parcel(9, 10)).unwrap();
    server.pump();
    assert!(!server.has_queued());
}

#[test]
fn a_listener_that_goes_closes_its_door_and_who_waits_before_it() {
    let mut reactor = Reactor::new(REACTOR).unwrap();
    let listener = listener(&reactor);
    let door = listener.door();
    let mut early = door.connect(&reactor, tag(1)).unwrap();
    drop(listener);
    until(&mut reactor, &mut early, |progress| matches!(progress, Progress::Closed(_)));
    assert!(door.connect(&reactor, tag(2)).is_none());
}

#[test]
fn a_queue_is_bounded_in_messages_and_bytes() {
    let reactor = Reactor::new(REACTOR).unwrap();
    let listener = listener(&reactor);
    let mut client = listener.door().connect(&reactor, tag(1)).unwrap();
    (0..MAX_QUEUED_FRAMES).for_each(|_| client.queue(Parcel(0, 1)).unwrap());
    assert_eq!(client.queue(Parcel(0, 1)), Err(QueueFull));
    let mut client = listener.door().connect(&reactor, tag(2)).unwrap();
    (0..MAX_QUEUED_BYTES >> 20).for_each(|_| client.queue(Parcel(0, 1 << 20)).unwrap());
    assert_eq!(client.queue(Parcel(0, 1)), Err(QueueFull));
    client.pump();
    // Handed over is not taken.
    assert_eq!(client.queue(Parcel(0, 1)), Err(QueueFull));
}
