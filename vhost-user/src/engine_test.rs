use super::*;
use crate::limits::{MAX_CHAIN_DESCRIPTORS, MAX_PIECE_BYTES, MAX_RANGE_SECTORS};
use crate::test_guest::{
    DATA, INDIRECT, NEXT, Part, QUEUE_SIZE, RAM_BYTES, TestGuest, WRITE, readable, writable,
};
use blockd::ErrorKind;
use blockd::client::Holes;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
    VIRTIO_BLK_T_WRITE_ZEROES,
};

const DISK_BYTES: u64 = 1 << 30;
const HEADER: u64 = 0xf000;
const STATUS: u64 = 0xf100;
/// What no device writes, so that an unanswered status shows.
const UNANSWERED: u8 = 0xee;
const OK: u8 = 0;
const IOERR: u8 = 1;
const UNSUPP: u8 = 2;

struct Bed {
    guest: TestGuest,
    engine: Engine,
    out: Vec<Submission>,
}

impl Bed {
    fn new() -> Self {
        let guest = TestGuest::new();
        let disk = Disk { size_bytes: DISK_BYTES, serial: *b"a-volume\0\0\0\0\0\0\0\0\0\0\0\0" };
        let mut engine = Engine::new(disk, 2, Arc::default());
        engine.open();
        engine.set_ram(Arc::clone(&guest.ram)).unwrap();
        engine.start(0, guest.setup(), Enabled::Yes).unwrap();
        guest.put(STATUS, &[UNANSWERED]);
        Self { guest, engine, out: Vec::new() }
    }

    /// Kicks, and runs until the queues are quiet.
    fn run(&mut self) {
        self.engine.kick(0);
        while self.engine.run(&mut self.out).unwrap() {}
        self.engine.announce().unwrap();
    }

    fn offer(&mut self, kind: u32, sector: u64, parts: &[Part]) -> u32 {
        self.guest.put_header(HEADER, kind, sector);
        let mut chain = vec![readable(HEADER, 16)];
        chain.extend_from_slice(parts);
        chain.push(writable(STATUS, 1));
        let head = self.guest.offer(&chain);
        self.run();
        u32::from(head)
    }

    fn status(&self) -> u8 {
        self.guest.get(STATUS, 1)[0]
    }

    fn complete(&mut self, id: u64, data: Option<Bytes>) {
        self.engine.complete(id, Ok(data), &mut self.out).unwrap();
        self.engine.announce().unwrap();
    }

    /// Offers, expects an answer without the volume being asked, and returns it.
    fn refused(&mut self, kind: u32, sector: u64, parts: &[Part]) -> u8 {
        self.guest.put(STATUS, &[UNANSWERED]);
        let head = self.offer(kind, sector, parts);
        assert_eq!(self.guest.used(), [(head, 1)]);
        assert!(self.out.is_empty(), "{:?}", self.out);
        self.status()
    }
}

#[test]
fn a_write_is_copied_once_and_answered() {
    let mut bed = Bed::new();
    bed.guest.put(DATA, &[7; 1024]);
    let head = bed.offer(VIRTIO_BLK_T_OUT, 3, &[readable(DATA, 1000), readable(DATA + 1000, 24)]);
    // What the guest changes afterwards is not sent.
    bed.guest.put(DATA, &[9; 1024]);
    let (id, op) = bed.out.pop().unwrap();
    assert_eq!(op, VolumeOp::Write { offset: 1536, data: Bytes::from(vec![7; 1024]) });
    assert_eq!((bed.guest.used(), bed.status()), (vec![], UNANSWERED));
    bed.complete(id, None);
    assert_eq!((bed.guest.used(), bed.status()), (vec![(head, 1)], OK));
}

#[test]
fn a_read_goes_to_the_guests_segments() {
    let mut bed = Bed::new();
    let parts = [writable(DATA, 100), writable(DATA + 0x1000, 412)];
    let head = bed.offer(VIRTIO_BLK_T_IN, 0, &parts);
    let (id, op) = bed.out.pop().unwrap();
    assert_eq!(op, VolumeOp::Read { offset: 0, len: 512, holes: Holes::Zeros });
    bed.complete(id, Some(Bytes::from((0..512).map(|at: u32| at.to_le_bytes()[0]).collect::<Vec<_>>())));
    assert_eq!((bed.guest.used(), bed.status()), (vec![(head, 513)], OK));
    assert_eq!((bed.guest.get(DATA + 99, 2), bed.guest.get(DATA + 0x1000, 2)), (vec![99, 0], vec![100, 101]));
}

#[test]
fn header_data_and_status_may_be_split_anyhow() {
    let mut bed = Bed::new();
    bed.guest.put_header(HEADER, VIRTIO_BLK_T_OUT, 1);
    bed.guest.put(HEADER + 16, &[5; 512]);
    let chain = [readable(HEADER, 3), readable(HEADER + 3, 20), readable(HEADER + 23, 505)];
    let chain = [&chain[..], &[writable(STATUS, 1)]].concat();
    bed.guest.offer(&chain);
    bed.run();
    let (id, op) = bed.out.pop().unwrap();
    assert_eq!(op, VolumeOp::Write { offset: 512, data: Bytes::from(vec![5; 512]) });
    bed.complete(id, None);
    assert_eq!(bed.status(), OK);

    // A read whose status byte ends the last data descriptor.
    bed.guest.put_header(HEADER, VIRTIO_BLK_T_IN, 0);
    bed.guest.offer(&[readable(HEADER, 16), writable(DATA, 513)]);
    bed.guest.put(DATA + 512, &[UNANSWERED]);
    bed.run();
    let (id, _) = bed.out.pop().unwrap();
    bed.complete(id, Some(Bytes::from(vec![1; 512])));
    assert_eq!(bed.guest.get(DATA + 511, 2), [1, OK]);
}

#[test]
fn indirect_tables_work_and_nested_ones_do_not() {
    let mut bed = Bed::new();
    let table = DATA + 0x8000;
    bed.guest.put_header(HEADER, VIRTIO_BLK_T_IN, 8);
    bed.guest.put_descriptor(table, 0, Part { flags: NEXT, ..readable(HEADER, 16) }, 1);
    bed.guest.put_descriptor(table, 1, Part { flags: NEXT | WRITE, ..writable(DATA, 4096) }, 2);
    bed.guest.put_descriptor(table, 2, writable(STATUS, 1), 0);
    bed.guest.offer(&[Part { addr: table, len: 48, flags: INDIRECT }]);
    bed.run();
    let (_, op) = bed.out.pop().unwrap();
    assert_eq!(op, VolumeOp::Read { offset: 4096, len: 4096, holes: Holes::Zeros });

    bed.guest.put_descriptor(table, 1, Part { addr: table, len: 48, flags: INDIRECT }, 0);
    let head = bed.guest.offer(&[Part { addr: table, len: 48, flags: INDIRECT }]);
    bed.run();
    assert_eq!((bed.guest.used(), bed.out.len()), (vec![(u32::from(head), 0)], 0));
    for len in [0, 8, 17, u32::MAX - 15] {
        let head = bed.guest.offer(&[Part { addr: table, len, flags: INDIRECT }]);
        bed.run();
        assert_eq!((bed.guest.used(), bed.out.len()), (vec![(u32::from(head), 0)], 0), "{len}");
    }
}

#[test]
fn broken_chains_are_handed_back_untouched() {
    let head = 200;
    let link = |part: Part| Part { flags: part.flags | NEXT, ..part };
    let header = link(readable(HEADER, 16));
    let data = link(writable(DATA, 512));
    let table: &[(&str, &[(Part, u16)])] = &[
        ("a cycle of one", &[(header, 200)]),
        ("a cycle of two", &[(header, 201), (data, 200)]),
        ("a status byte in a cycle", &[(header, 201), (link(writable(STATUS, 1)), 200)]),
        ("a next outside of the table", &[(header, QUEUE_SIZE)]),
        (
            "more than 2^32 bytes",
            &[
                (header, 201),
                (link(writable(DATA, u32::MAX)), 202),
                (link(writable(DATA, 16)), 203),
                (writable(STATUS, 1), 0),
            ],
        ),
        ("no status byte", &[(header, 201), (readable(DATA, 512), 0)]),
        ("nothing writable but an empty descriptor", &[(header, 201), (writable(DATA, 0), 0)]),
        ("a status byte that is unmapped", &[(header, 201), (writable(RAM_BYTES, 1), 0)]),
        ("a status byte that wraps", &[(header, 201), (writable(u64::MAX, 2), 0)]),
    ];
    for (what, chain) in table {
        let mut bed = Bed::new();
        bed.guest.put_header(HEADER, VIRTIO_BLK_T_IN, 0);
        for (index, (part, next)) in (head..).zip(chain.iter()) {
            bed.guest.put_own_descriptor(index, *part, *next);
        }
        bed.guest.offer_head(head);
        bed.run();
        assert_eq!(bed.guest.used(), [(u32::from(head), 0)], "{what}");
        assert!(bed.out.is_empty(), "{what}");
        assert_eq!(bed.status(), UNANSWERED, "{what}");
    }
}

#[test]
fn an_over_long_chain_is_handed_back() {
    let mut bed = Bed::new();
    let table = DATA + 0x10_0000;
    let count = u16::try_from(MAX_CHAIN_DESCRIPTORS + 1).unwrap();
    bed.guest.put_header(HEADER, VIRTIO_BLK_T_OUT, 0);
    bed.guest.put_descriptor(table, 0, Part { flags: NEXT, ..readable(HEADER, 16) }, 1);
    for index in 1..count - 1 {
        bed.guest.put_descriptor(table, index, Part { flags: NEXT, ..readable(DATA, 512) }, index + 1);
    }
    bed.guest.put_descriptor(table, count - 1, writable(STATUS, 1), 0);
    let head = bed.guest.offer(&[Part { addr: table, len: u32::from(count) * 16, flags: INDIRECT }]);
    bed.run();
    assert_eq!((bed.guest.used(), bed.out.len()), (vec![(u32::from(head), 0)], 0));
}

#[test]
fn hostile_requests_get_errors() {
    let mut bed = Bed::new();
    let sectors = DISK_BYTES / 512;
    let (read, write) = (VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT);
    // Past capacity, at the border, overflowing.
    assert_eq!(bed.refused(read, sectors, &[writable(DATA, 512)]), IOERR);
    assert_eq!(bed.refused(write, sectors - 1, &[readable(DATA, 1024)]), IOERR);
    assert_eq!(bed.refused(write, u64::MAX, &[readable(DATA, 512)]), IOERR);
    assert_eq!(bed.refused(read, u64::MAX / 512, &[writable(DATA, 512)]), IOERR);
    // No whole sectors, or none.
    assert_eq!(bed.refused(read, 0, &[writable(DATA, 511)]), IOERR);
    assert_eq!(bed.refused(read, 0, &[]), IOERR);
    assert_eq!(bed.refused(write, 0, &[]), IOERR);
    // Wrong direction.
    assert_eq!(bed.refused(read, 0, &[readable(DATA, 512)]), IOERR);
    assert_eq!(bed.refused(write, 0, &[writable(DATA, 512)]), IOERR);
    assert_eq!(bed.refused(read, 0, &[readable(DATA, 512), writable(DATA, 512)]), IOERR);
    assert_eq!(bed.refused(read, 0, &[writable(DATA, 512), readable(DATA, 512)]), IOERR);
    // Unmapped and wrapping.
    assert_eq!(bed.refused(read, 0, &[writable(RAM_BYTES, 512)]), IOERR);
    assert_eq!(bed.refused(write, 0, &[readable(RAM_BYTES - 256, 512)]), IOERR);
    assert_eq!(bed.refused(write, 0, &[readable(u64::MAX - 255, 512)]), IOERR);
    // Nearly 4 GiB: more than the memory has.
    assert_eq!(bed.refused(write, 0, &[readable(DATA, 0xffff_fe00)]), IOERR);
    // Types nobody defined, and one that is not offered.
    for kind in [2, 3, 5, 9, 14, 24, 0x8000_0000, u32::MAX] {
        assert_eq!(bed.refused(kind, 0, &[writable(DATA, 512)]), UNSUPP);
    }
    assert_eq!(bed.refused(VIRTIO_BLK_T_GET_ID, 0, &[writable(DATA, 19)]), IOERR);
    assert_eq!(bed.engine.requests.len(), 0);
    assert!(bed.engine.counters.errors.load(Ordering::Relaxed) > 20);
}

#[test]
fn ranges_are_checked_before_any_is_done() {
    let mut bed = Bed::new();
    let (discard, zero) = (VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES);
    bed.guest.put_range(DATA, 8, 8, 0);
    bed.guest.put_range(DATA + 16, DISK_BYTES / 512 - 7, 8, 0);
    assert_eq!(bed.refused(discard, 0, &[readable(DATA, 32)]), IOERR, "the second is past the end");
    assert_eq!(bed.refused(discard, 0, &[readable(DATA, 15)]), IOERR);
    assert_eq!(bed.refused(discard, 0, &[]), IOERR);
    assert_eq!(bed.refused(discard, 0, &[readable(DATA, 16 * 17)]), IOERR);
    bed.guest.put_range(DATA, 8, MAX_RANGE_SECTORS + 1, 0);
    assert_eq!(bed.refused(zero, 0, &[readable(DATA, 16)]), IOERR);
    bed.guest.put_range(DATA, u64::MAX, 8, 0);
    assert_eq!(bed.refused(zero, 0, &[readable(DATA, 16)]), IOERR);
    bed.guest.put_range(DATA, 8, 8, 1);
    assert_eq!(bed.refused(discard, 0, &[readable(DATA, 16)]), UNSUPP, "unmap is for write-zeroes");
    bed.guest.put_range(DATA, 8, 8, 2);
    assert_eq!(bed.refused(zero, 0, &[readable(DATA, 16)]), UNSUPP);

    bed.guest.put_range(DATA, 8, 8, 1);
    bed.guest.put_range(DATA + 16, 64, 1, 0);
    bed.offer(zero, 0, &[readable(DATA, 32)]);
    let (id, op) = bed.out.pop().unwrap();
    assert_eq!(op, VolumeOp::WriteZeroes { offset: 4096, len: 4096 });
    bed.complete(id, None);
    let (id, op) = bed.out.pop().unwrap();
    assert_eq!(op, VolumeOp::WriteZeroes { offset: 32768, len: 512 });
    bed.complete(id, None);
    assert_eq!((bed.status(), bed.guest.used().len()), (OK, 1));
}

#[test]
fn flush_id_and_failures_are_answered() {
    let mut bed = Bed::new();
    bed.offer(VIRTIO_BLK_T_FLUSH, 0, &[]);
    let (id, op) = bed.out.pop().unwrap();
    assert_eq!(op, VolumeOp::Flush);
    let error = ClientError::new(ErrorKind::Unavailable, "a replica is lost");
    bed.engine.complete(id, Err(error), &mut bed.out).unwrap();
    assert_eq!((bed.status(), bed.guest.used().len()), (IOERR, 1));
    assert!(bed.engine.take_failure().is_some());

    let head = bed.offer(VIRTIO_BLK_T_GET_ID, 0, &[writable(DATA, 20)]);
    assert_eq!((bed.status(), bed.guest.used()), (OK, vec![(head, 21)]));
    assert_eq!(&bed.guest.get(DATA, 20), b"a-volume\0\0\0\0\0\0\0\0\0\0\0\0");
}

#[test]
fn without_flush_a_write_is_durable_before_it_is_done() {
    let mut bed = Bed::new();
    bed.engine.set_cache(WriteCache::Through);
    bed.offer(VIRTIO_BLK_T_OUT, 0, &[readable(DATA, 512)]);
    let (id, op) = bed.out.pop().unwrap();
    assert!(matches!(op, VolumeOp::Write { .. }));
    bed.complete(id, None);
    assert_eq!((bed.out.pop(), bed.guest.used().len()), (Some((id, VolumeOp::Flush)), 0));
    bed.complete(id, None);
    assert_eq!((bed.status(), bed.guest.used().len()), (OK, 1));
}

#[test]
fn long_requests_go_piece_by_piece() {
    let mut bed = Bed::new();
    let len = 2 * MAX_PIECE_BYTES + 512;
    bed.offer(VIRTIO_BLK_T_OUT, 0, &[readable(DATA, u32::try_from(len).unwrap())]);
    let mut lens = Vec::new();
    while let Some((id, op)) = bed.out.pop() {
        let VolumeOp::Write { offset, data } = op else { panic!("{op:?}") };
        assert_eq!(offset, lens.iter().sum::<u64>());
        lens.push(data.len() as u64);
        assert_eq!(bed.guest.used().len(), 0);
        bed.complete(id, None);
    }
    assert_eq!((lens, bed.status()), (vec![MAX_PIECE_BYTES, MAX_PIECE_BYTES, 512], OK));
    assert_eq!(bed.engine.bytes_in_flight, 0);
}

#[test]
fn what_is_too_much_waits_in_the_ring() {
    let mut bed = Bed::new();
    bed.guest.put_header(HEADER, VIRTIO_BLK_T_IN, 0);
    let piece = u32::try_from(MAX_PIECE_BYTES).unwrap();
    let fit = usize::try_from(MAX_BYTES_IN_FLIGHT / MAX_PIECE_BYTES).unwrap();
    for _ in 0..fit + 3 {
        bed.guest.offer(&[readable(HEADER, 16), writable(DATA, piece), writable(STATUS, 1)]);
    }
    bed.run();
    assert_eq!((bed.out.len(), bed.engine.bytes_in_flight), (fit, MAX_BYTES_IN_FLIGHT));
    let mut done = 0;
    while let Some((id, _)) = bed.out.pop() {
        bed.complete(id, Some(Bytes::from(vec![0; piece as usize])));
        done += 1;
        // No kick: the driver was told to be silent.
        assert!(!bed.engine.run(&mut bed.out).unwrap());
    }
    assert_eq!((done, bed.guest.used().len()), (fit + 3, fit + 3));
}

#[test]
fn a_stopped_queue_waits_for_what_is_in_flight() {
    let mut bed = Bed::new();
    assert_eq!(bed.engine.stopped(1), Some(0), "it never ran");
    bed.offer(VIRTIO_BLK_T_IN, 0, &[writable(DATA, 512)]);
    bed.engine.begin_stop(0);
    assert_eq!(bed.engine.stopped(0), None);
    bed.offer(VIRTIO_BLK_T_FLUSH, 0, &[]);
    assert_eq!(bed.out.len(), 1, "nothing more is taken");
    let (id, _) = bed.out.pop().unwrap();
    bed.complete(id, Some(Bytes::from(vec![0; 512])));
    assert_eq!(bed.engine.stopped(0), Some(1));
    // The next device goes on there.
    let setup = VringSetup { next_avail: 1, ..bed.guest.setup() };
    bed.engine.start(0, setup, Enabled::No).unwrap();
    bed.run();
    assert!(bed.out.is_empty(), "it is not enabled");
    bed.engine.enable(0, Enabled::Yes);
    bed.run();
    assert_eq!(bed.out.pop().unwrap().1, VolumeOp::Flush);
}

#[test]
fn answers_for_a_former_session_go_nowhere() {
    let mut bed = Bed::new();
    bed.offer(VIRTIO_BLK_T_IN, 0, &[writable(DATA, 512)]);
    let (id, _) = bed.out.pop().unwrap();
    bed.engine.end_session();
    assert!(bed.engine.start(0, bed.guest.setup(), Enabled::Yes).is_err(), "its memory is gone too");
    bed.complete(id, Some(Bytes::from(vec![1; 512])));
    assert_eq!((bed.status(), bed.guest.get(DATA, 1)), (UNANSWERED, vec![0]));
    assert_eq!((bed.engine.requests.len(), bed.engine.bytes_in_flight), (0, 0));
}

#[test]
fn rings_that_make_no_sense_end_the_session() {
    let mut bed = Bed::new();
    bed.guest.set_available(QUEUE_SIZE + 1);
    bed.engine.kick(0);
    assert!(bed.engine.run(&mut bed.out).is_err(), "more chains than the queue has");

    let mut bed = Bed::new();
    bed.guest.offer_head(QUEUE_SIZE);
    bed.engine.kick(0);
    assert!(bed.engine.run(&mut bed.out).is_err(), "a head outside of the table");

    let mut bed = Bed::new();
    for at in [RAM_BYTES, RAM_BYTES - 16, u64::MAX - 15, 0] {
        let mut setup = bed.guest.setup();
        setup.place.available = at;
        assert!(bed.engine.start(1, setup, Enabled::Yes).is_err(), "{at:#x}");
    }
    assert!(bed.engine.set_ram(Arc::new(GuestRam::empty())).is_err(), "the running queue's rings went");
}

#[test]
fn lost_memory_ends_the_session() {
    let mut bed = Bed::new();
    bed.guest.file.set_len(0).unwrap();
    bed.engine.kick(0);
    let outcome = bed.engine.run(&mut bed.out).and_then(|_| bed.engine.announce());
    assert!(outcome.is_err());
}

/// Random tables, rings and headers, changed between kicks as a hostile guest would: whatever happens is an
/// error of the session, an error of the request, or a request within the disk.
#[test]
fn random_rings_never_harm_the_device() {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut roll = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..60 {
        let mut bed = Bed::new();
        let table = DATA + 0x2000;
        for _ in 0..30 {
            for index in 0..16 {
                let addr = match roll(8) {
                    0 => table,
                    1 => roll(u64::MAX),
                    2 => RAM_BYTES - roll(32),
                    3 => HEADER,
                    _ => DATA + roll(1 << 16),
                };
                let len = match roll(6) {
                    0 => u32::try_from(roll(1 << 32)).unwrap(),
                    1 => 16,
                    2 => 1,
                    3 => 16 * u32::try_from(roll(20)).unwrap(),
                    _ => 512 * u32::try_from(roll(16)).unwrap(),
                };
                let flags = u16::try_from(roll(8)).unwrap();
                let part = Part { addr, len, flags };
                let next = u16::try_from(roll(18)).unwrap();
                bed.guest.put_own_descriptor(index, part, next);
                bed.guest.put_descriptor(table, index, Part { flags: flags & 3, ..part }, next);
            }
            bed.guest.put_header(HEADER, u32::try_from(roll(16)).unwrap(), roll(1 << 22));
            for _ in 0..roll(8) {
                bed.guest.offer_head(u16::try_from(roll(17)).unwrap());
            }
            bed.engine.kick(0);
            let Ok(_) = bed.engine.run(&mut bed.out) else { break };
            for (id, op) in std::mem::take(&mut bed.out) {
                let (offset, len, data) = match op {
                    VolumeOp::Read { offset, len, .. } => {
                        (offset, len as u64, Some(Bytes::from(vec![0; len])))
                    }
                    VolumeOp::Write { offset, data } => (offset, data.len() as u64, None),
                    VolumeOp::Trim { offset, len } | VolumeOp::WriteZeroes { offset, len } => {
                        (offset, len, None)
                    }
                    VolumeOp::Flush => (0, 0, None),
                };
                assert!(offset + len <= DISK_BYTES && offset % 512 == 0 && len % 512 == 0);
                if bed.engine.complete(id, Ok(data), &mut bed.out).is_err() {
                    break;
                }
            }
            if bed.engine.announce().is_err() {
                break;
            }
        }
    }
}
