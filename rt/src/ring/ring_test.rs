use super::*;
use crate::buf::AlignedBuf;
use crate::device::FileDevice;
use crate::limits::REACTOR;
use bytes::{Bytes, BytesMut};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

const SMALL: ReactorLimits = ReactorLimits { submissions: 8, completions: 16, backlog: 256 };

fn token(id: u64) -> Token {
    Token::new(1, 2, id)
}

/// Waits until `count` operations have completed.
fn collect(reactor: &mut Reactor, count: usize) -> Vec<Completion> {
    let mut out = Vec::new();
    for _ in 0..10_000 {
        if out.len() >= count {
            return out;
        }
        reactor.wait(Some(Duration::from_millis(100)), &mut out).unwrap();
    }
    panic!("only {} of {count} operations completed", out.len());
}

fn one(reactor: &mut Reactor, op: Op) -> Completion {
    reactor.push(token(9), op).unwrap();
    collect(reactor, 1).remove(0)
}

fn disk(len: u64) -> (tempfile::TempDir, Fd) {
    let dir = tempfile::tempdir().unwrap();
    let file = FileDevice::create(&dir.path().join("disk"), len).unwrap().into_file();
    (dir, Arc::new(file.into()))
}

fn filled(byte: u8, len: usize) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(len);
    buf.fill(byte);
    buf
}

fn tcp_pair() -> (Fd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Arc::new(ours.into()), listener.accept().unwrap().0)
}

fn eventfd() -> Fd {
    Alarm::new().unwrap().event()
}

fn signal(event: &Fd) {
    std::fs::File::from(event.try_clone().unwrap()).write_all(&1u64.to_ne_bytes()).unwrap();
}

#[test]
fn tokens_keep_their_parts() {
    let token = Token::new(0xab, 0xcd, 0x1234_5678_9abc);
    assert_eq!((token.owner(), token.kind(), token.id()), (0xab, 0xcd, 0x1234_5678_9abc));
}

#[test]
fn a_disk_keeps_four_times_more_writes_than_the_completion_queue_holds() {
    let (_dir, fd) = disk(4 << 20);
    let mut reactor = Reactor::new(SMALL).unwrap();
    let count = 4 * SMALL.completions as usize;
    for block in 0..count {
        let buf = filled(u8::try_from(block).unwrap(), 4096);
        reactor
            .push(
                token(block as u64),
                Op::Write { fd: fd.clone(), buf: buf.into(), offset: block as u64 * 4096 },
            )
            .unwrap();
        assert!(reactor.owed <= reactor.capacity);
    }
    assert_eq!(reactor.pending(), count);
    let done = collect(&mut reactor, count);
    assert!(done.iter().all(|done| *done.result.as_ref().unwrap() == 4096));
    assert_eq!(*one(&mut reactor, Op::Fsync { fd: fd.clone() }).result.as_ref().unwrap(), 0);
    for block in 0..count {
        let buf = AlignedBuf::zeroed(4096);
        reactor
            .push(token(block as u64), Op::Read { fd: fd.clone(), buf, offset: block as u64 * 4096 })
            .unwrap();
    }
    for done in collect(&mut reactor, count) {
        let Op::Read { buf, .. } = done.op else { panic!("a read comes back as a read") };
        assert!(buf.iter().all(|&byte| u64::from(byte) == done.token.id()));
    }
    assert_eq!(reactor.pending(), 0);
}

#[test]
fn a_full_backlog_hands_the_operation_back() {
    let mut reactor = Reactor::new(ReactorLimits { submissions: 4, completions: 8, backlog: 5 }).unwrap();
    let event = eventfd();
    let mut taken = 0;
    let rejected = loop {
        match reactor.push(token(taken), Op::WaitEvent { fd: event.clone() }) {
            Ok(_) => taken += 1,
            Err(Rejected(op)) => break op,
        }
    };
    // One of the eight completions is the alarm's.
    assert_eq!(taken, 7 + 5);
    assert!(matches!(rejected, Op::WaitEvent { .. }));
}

#[test]
fn a_read_past_the_end_is_an_error_never_short() {
    let (_dir, fd) = disk(8192);
    let mut reactor = Reactor::new(SMALL).unwrap();
    let read = |offset| Op::Read { fd: fd.clone(), buf: AlignedBuf::zeroed(8192), offset };
    assert_eq!(one(&mut reactor, read(0)).result.unwrap(), 8192);
    let error = one(&mut reactor, read(4096)).result.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn errno_survives() {
    let (dir, _fd) = disk(8192);
    let read_only = Arc::new(std::fs::File::open(dir.path().join("disk")).unwrap().into());
    let mut reactor = Reactor::new(SMALL).unwrap();
    let done = one(&mut reactor, Op::Write { fd: read_only, buf: filled(1, 4096).into(), offset: 0 });
    assert_eq!(done.result.unwrap_err().raw_os_error(), Some(libc::EBADF));
}

#[test]
fn a_connection_is_made_accepted_and_carries_bytes_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut reactor = Reactor::new(SMALL).unwrap();
    let listener: Fd = Arc::new(listener.into());
    reactor.push(token(1), Op::Accept { listener, accepted: None }).unwrap();
    let client: Fd = Arc::new(crate::net::tcp_socket(&addr).unwrap());
    reactor.push(token(2), Op::Connect { fd: client.clone(), addr }).unwrap();
    let mut server = None;
    for done in collect(&mut reactor, 2) {
        done.result.unwrap();
        if let Op::Accept { accepted, .. } = done.op {
            server = Some(TcpStream::from(accepted.unwrap()));
        }
    }
    let mut server = server.unwrap();
    let bufs = vec![Bytes::from_static(b"one "), Bytes::from_static(b"two")];
    assert_eq!(one(&mut reactor, Op::Send { fd: client.clone(), bufs }).result.unwrap(), 7);
    let mut seen = [0; 7];
    server.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"one two");
    for order in [RecvOrder::Now, RecvOrder::AfterPoll] {
        let recv = Op::Recv { fd: client.clone(), buf: BytesMut::with_capacity(64), order };
        reactor.push(token(3), recv).unwrap();
        reactor.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        server.write_all(b"back").unwrap();
        let done = collect(&mut reactor, 1).remove(0);
        let Op::Recv { buf, .. } = done.op else { panic!("a receive comes back as one") };
        assert_eq!((done.result.unwrap(), &buf[..]), (4, &b"back"[..]));
    }
    drop(server);
    let recv = Op::Recv { fd: client, buf: BytesMut::with_capacity(64), order: RecvOrder::Now };
    assert_eq!(one(&mut reactor, recv).result.unwrap(), 0);
}

#[test]
fn a_refused_connection_says_so() {
    let addr: SocketAddr = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let mut reactor = Reactor::new(SMALL).unwrap();
    let fd = Arc::new(crate::net::tcp_socket(&addr).unwrap());
    let error = one(&mut reactor, Op::Connect { fd, addr }).result.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn events_arrive_and_are_reset() {
    let mut reactor = Reactor::new(SMALL).unwrap();
    let event = eventfd();
    signal(&event);
    signal(&event);
    assert_eq!(one(&mut reactor, Op::WaitEvent { fd: event.clone() }).result.unwrap(), 8);
    reactor.push(token(1), Op::WaitEvent { fd: event.clone() }).unwrap();
    let mut out = Vec::new();
    reactor.wait(Some(Duration::from_millis(20)), &mut out).unwrap();
    assert!(out.is_empty(), "the two signals were one event");
    signal(&event);
    assert_eq!(collect(&mut reactor, 1).len(), 1);
}

#[test]
fn two_waiters_of_one_event_lose_nothing() {
    let mut reactor = Reactor::new(SMALL).unwrap();
    let event = eventfd();
    reactor.push(token(1), Op::WaitEvent { fd: event.clone() }).unwrap();
    reactor.push(token(2), Op::WaitEvent { fd: event.clone() }).unwrap();
    reactor.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    signal(&event);
    assert_eq!(collect(&mut reactor, 1).len(), 1);
    signal(&event);
    assert_eq!(collect(&mut reactor, 1).len(), 1);
}

#[test]
fn a_poll_reports_readiness() {
    let (fd, mut peer) = tcp_pair();
    let mut reactor = Reactor::new(SMALL).unwrap();
    peer.write_all(b"x").unwrap();
    let events = u32::from(libc::POLLIN.cast_unsigned());
    assert_eq!(one(&mut reactor, Op::Poll { fd, events }).result.unwrap() & events, events);
}

#[test]
fn cancelled_operations_complete_as_cancelled_with_their_buffers() {
    let (fd, _peer) = tcp_pair();
    let mut reactor = Reactor::new(SMALL).unwrap();
    let recv = Op::Recv { fd, buf: BytesMut::with_capacity(64), order: RecvOrder::Now };
    let ids = [
        reactor.push(token(1), recv).unwrap(),
        reactor.push(token(2), Op::WaitEvent { fd: eventfd() }).unwrap(),
    ];
    reactor.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    ids.into_iter().for_each(|id| reactor.cancel(id));
    for done in collect(&mut reactor, 2) {
        assert_eq!(done.result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    }
    assert_eq!((reactor.pending(), reactor.owed), (0, 1), "only the alarm's own operation is left");
    reactor.cancel(ids[0]);
}

#[test]
fn an_operation_in_the_backlog_can_be_cancelled() {
    let mut reactor = Reactor::new(SMALL).unwrap();
    let event = eventfd();
    let ids: Vec<_> =
        (0..40).map(|id| reactor.push(token(id), Op::WaitEvent { fd: event.clone() }).unwrap()).collect();
    reactor.cancel(ids[39]);
    let done = collect(&mut reactor, 1).remove(0);
    assert_eq!((done.token, done.result.unwrap_err().raw_os_error()), (token(39), Some(libc::ECANCELED)));
    assert_eq!(reactor.pending(), 39);
}

#[test]
fn another_thread_wakes_the_reactor_again_and_again() {
    let mut reactor = Reactor::new(REACTOR).unwrap();
    let waker = reactor.waker();
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::spawn(move || {
        for number in 0..100 {
            sender.send(number).unwrap();
            waker.wake();
        }
    });
    let mut next = 0;
    while next < 100 {
        reactor.wait(Some(Duration::from_secs(20)), &mut Vec::new()).unwrap();
        while let Ok(number) = receiver.try_recv() {
            assert_eq!(number, next);
            next += 1;
        }
    }
    thread.join().unwrap();
}

#[test]
fn dropping_the_reactor_gives_back_what_the_kernel_had() {
    let (fd, _peer) = tcp_pair();
    let event = eventfd();
    {
        let mut reactor = Reactor::new(SMALL).unwrap();
        let recv = Op::Recv { fd: fd.clone(), buf: BytesMut::with_capacity(64), order: RecvOrder::Now };
        reactor.push(token(1), recv).unwrap();
        for id in 0..40 {
            reactor.push(token(id), Op::WaitEvent { fd: event.clone() }).unwrap();
        }
        reactor.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        assert!(Arc::strong_count(&fd) > 1);
    }
    assert_eq!((Arc::strong_count(&fd), Arc::strong_count(&event)), (1, 1));
}
