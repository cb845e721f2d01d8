use super::*;
use crate::clock::{Clock, SystemClock};
use crate::limits::REACTOR;
use crate::ring::shim::{Fault, Kind, Random, Shim};
use proto::frame::FrameType;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

const OWNER: u8 = 7;

fn tag(id: u64) -> OwnerTag {
    OwnerTag { owner: OWNER, id }
}

fn soon() -> Instant {
    SystemClock.now() + Duration::from_secs(20)
}

fn frame(sequence: u64, payload: &[u8]) -> Encoded {
    let mut header = FrameHeader::new(FrameType::Write, sequence);
    header.payload_len = u32::try_from(payload.len()).unwrap();
    Encoded { head: Bytes::copy_from_slice(&header.encode()), data: vec![Bytes::copy_from_slice(payload)] }
}

fn payload(sequence: u64) -> Vec<u8> {
    let len = [0, 17, 4096, 1 << 20, 300_000][usize::try_from(sequence).unwrap() % 5];
    let mut bytes = vec![sequence.to_le_bytes()[0]; len];
    bytes.iter_mut().step_by(997).zip(0u8..=255).for_each(|(byte, mark)| *byte ^= mark);
    bytes
}

fn step(reactor: &mut Reactor) -> Vec<Completion> {
    let mut out = Vec::new();
    // A ring with faults also returns with nothing.
    let end = soon();
    while out.is_empty() {
        assert!(SystemClock.now() < end, "nothing happened for 20 s");
        reactor.wait(Some(Duration::from_secs(20)), &mut out).unwrap();
    }
    out
}

/// Two connected ends on one reactor: the client has id 1, the server id 2.
fn pair(reactor: &mut Reactor) -> (FrameConn, FrameConn) {
    let listener = FrameListener::bind(tag(0), "127.0.0.1:0".parse().unwrap()).unwrap();
    listener.accept(reactor).unwrap();
    let mut client = FrameConn::connect(reactor, tag(1), listener.addr(), soon()).unwrap();
    client.pump(reactor).unwrap();
    let (mut connected, mut server) = (false, None);
    while !connected || server.is_none() {
        for done in step(reactor) {
            assert_eq!(done.token.owner(), OWNER);
            if FrameListener::is_accept(done.token) {
                let socket = listener.on_completion(done).unwrap();
                server = Some(FrameConn::accepted(tag(2), socket).unwrap());
            } else {
                connected = matches!(client.on_completion(done), Progress::Connected);
            }
        }
    }
    (client, server.unwrap())
}

#[test]
fn frames_of_all_sizes_cross_whole_and_in_order_in_both_directions() {
    let mut reactor = Reactor::new(REACTOR).unwrap();
    let (mut client, mut server) = pair(&mut reactor);
    echo(&mut reactor, &mut client, &mut server, 100);
}

#[test]
fn a_ring_that_cuts_and_interrupts_transfers_changes_no_frame() {
    for seed in 0..4 {
        let mut reactor = Reactor::new(REACTOR).unwrap();
        let (mut client, mut server) = pair(&mut reactor);
        let mut random = Random(seed);
        *reactor.shim() = Some(Shim::new(seed, 4, move |kind| match (kind, random.below(8)) {
            // Few bytes now and then, so that headers are cut too; else some thousand.
            (Kind::Recv(_) | Kind::Send, 0) => Fault::Short(1 + random.short(70)),
            (Kind::Recv(_) | Kind::Send, 1..3) => Fault::Short(1 + random.short(50_000)),
            (Kind::Recv(_) | Kind::Send, 3) => Fault::Errno(libc::EAGAIN),
            (Kind::Recv(_) | Kind::Send, 4) => Fault::Errno(libc::EINTR),
            _ => Fault::None,
        }));
        echo(&mut reactor, &mut client, &mut server, 30);
        let fired = reactor.shim().as_ref().unwrap().fired;
        assert!(fired.short > 5 && fired.errno > 5 && fired.late > 5, "seed {seed}: {fired:?}");
    }
}

/// Sends frames one way and the same back.
fn echo(reactor: &mut Reactor, client: &mut FrameConn, server: &mut FrameConn, count: u64) {
    let (mut queued, mut echoed) = (0, 0);
    while echoed < count {
        while queued < count && !client.is_busy() {
            client.queue(frame(queued, &payload(queued))).unwrap();
            queued += 1;
        }
        client.pump(reactor).unwrap();
        server.pump(reactor).unwrap();
        for done in step(reactor) {
            assert!(is_connection(done.token));
            let conn = if done.token.id() == 1 { &mut *client } else { &mut *server };
            assert!(matches!(conn.on_completion(done), Progress::Received | Progress::Sent));
        }
        while let Some((header, bytes)) = server.next_frame().unwrap() {
            server.queue(frame(header.sequence, &bytes)).unwrap();
        }
        while let Some((header, bytes)) = client.next_frame().unwrap() {
            assert_eq!(header.sequence, echoed);
            assert!(bytes[..] == payload(echoed)[..]);
            echoed += 1;
        }
    }
}

/// What the server end sees of bytes that a plain socket sends and then closes.
fn served(bytes: &[u8]) -> (usize, String) {
    let mut reactor = Reactor::new(REACTOR).unwrap();
    let listener = FrameListener::bind(tag(0), "127.0.0.1:0".parse().unwrap()).unwrap();
    listener.accept(&mut reactor).unwrap();
    let mut peer = TcpStream::connect(listener.addr()).unwrap();
    peer.write_all(bytes).unwrap();
    drop(peer);
    let socket = listener.on_completion(step(&mut reactor).remove(0)).unwrap();
    let mut server = FrameConn::accepted(tag(2), socket).unwrap();
    let mut frames = 0;
    loop {
        server.pump(&mut reactor).unwrap();
        for done in step(&mut reactor) {
            if let Progress::Closed(error) = server.on_completion(done) {
                return (frames, error.to_string());
            }
        }
        loop {
            match server.next_frame() {
                Ok(Some(_)) => frames += 1,
                Ok(None) => break,
                Err(error) => return (frames, error.to_string()),
            }
        }
    }
}

#[test]
fn hostile_and_broken_streams_end_with_a_reason() {
    let whole = {
        let frame = frame(1, b"payload");
        [&frame.head[..], &frame.data[0][..]].concat()
    };
    let flipped = {
        let mut bytes = whole.clone();
        bytes[30] ^= 1;
        bytes
    };
    let mut long = FrameHeader::new(FrameType::Write, 1);
    long.payload_len = u32::MAX;
    assert_eq!(served(b""), (0, "closed".to_owned()));
    assert_eq!(served(&[&whole[..], &whole[..]].concat()), (2, "closed".to_owned()));
    assert_eq!(served(&whole[..70]), (0, "closed within a frame".to_owned()));
    assert_eq!(served(&[&whole[..], &[0; 64]].concat()).0, 1);
    assert!(served(&flipped).1.contains("checksum"));
    assert!(served(&long.encode()).1.contains("limit"));
    assert!(served(&[b'G'; 4096]).1.contains("magic"));
}

#[test]
fn dropping_one_end_closes_the_other() {
    let mut reactor = Reactor::new(REACTOR).unwrap();
    let (mut client, mut server) = pair(&mut reactor);
    client.pump(&mut reactor).unwrap();
    server.pump(&mut reactor).unwrap();
    drop(server);
    loop {
        for done in step(&mut reactor) {
            if done.token.id() == 1 {
                assert!(matches!(client.on_completion(done), Progress::Closed(_)));
                return;
            }
        }
    }
}

#[test]
fn connecting_ends_at_its_deadline() {
    let mut reactor = Reactor::new(REACTOR).unwrap();
    // A listener whose queue of one is full leaves further connections hanging.
    let listener = crate::net::tcp_socket(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = crate::net::tests_listen(listener, 0);
    let addr = listener.local_addr().unwrap();
    let mut hung = Vec::new();
    let mut closed = 0;
    for id in 0..4 {
        hung.push(FrameConn::connect(&mut reactor, tag(id), addr, SystemClock.now()).unwrap());
    }
    let mut connected = 0;
    while closed + connected < 4 {
        hung.iter_mut().for_each(|conn| conn.on_deadline(SystemClock.now(), &mut reactor));
        for done in step(&mut reactor) {
            let conn = &mut hung[usize::try_from(done.token.id()).unwrap()];
            match conn.on_completion(done) {
                Progress::Connected => connected += 1,
                Progress::Closed(_) => closed += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(closed >= 1);
}
