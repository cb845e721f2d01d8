//! Queues that end while the volume owes them answers, and dirty pages: the engine with a record and a log.

use super::*;
use crate::inflight::{Record, Shape};
use crate::test_guest::{DATA, Part, QUEUE_SIZE, RAM_BYTES, TestGuest, readable, writable};
use std::os::unix::fs::FileExt;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};

const SHAPE: Shape = Shape { num_queues: 1, queue_size: QUEUE_SIZE };
const STATUS: u64 = 0xf000;
/// Bits of the log for the guest's memory and a page behind it, where the used ring is marked.
const LOG_BYTES: u64 = RAM_BYTES / 4096 / 8 + 1;

struct Bed {
    guest: TestGuest,
    record: Option<File>,
    engine: Engine,
    out: Vec<Submission>,
}

impl Bed {
    fn new(record: Option<File>) -> Self {
        let mut engine = Engine::new(Disk { size_bytes: 1 << 30, serial: [7; 20] }, 1, Arc::default());
        engine.open();
        let mut bed = Self { guest: TestGuest::new(), record, engine, out: Vec::new() };
        bed.start(0);
        bed
    }

    fn with_record() -> Self {
        Self::new(Some(Record::create(SHAPE).unwrap()))
    }

    /// Starts the queue as a new session would.
    fn start(&mut self, next_avail: u16) {
        let adopt = |file: &File| Arc::new(Record::adopt(file.try_clone().unwrap(), 0, SHAPE).unwrap());
        let record = self.record.as_ref().map(|file| (adopt(file), 0));
        self.engine.set_ram(Arc::clone(&self.guest.ram)).unwrap();
        let setup = VringSetup { next_avail, record, ..self.guest.setup() };
        self.engine.start(0, setup, Enabled::Yes).unwrap();
    }

    fn run(&mut self) {
        self.engine.kick(0);
        while self.engine.run(&mut self.out).unwrap() {}
        self.engine.announce().unwrap();
    }

    /// Offers a request about block `number`; its head.
    fn offer(&mut self, kind: u32, number: u64, part: Part) -> u32 {
        let header = 0x1_0000 + number * 16;
        self.guest.put_header(header, kind, number * 8);
        u32::from(self.guest.offer(&[readable(header, 16), part, writable(STATUS + number, 1)]))
    }

    fn write(&mut self, number: u64) -> u32 {
        self.offer(VIRTIO_BLK_T_OUT, number, readable(DATA, 4096))
    }

    /// The ids and blocks of what was submitted since the last call.
    fn submitted(&mut self) -> Vec<(u64, u64)> {
        let block = |(id, op)| match op {
            VolumeOp::Write { offset, .. } | VolumeOp::Read { offset, .. } => (id, offset / 4096),
            _ => panic!("{op:?}"),
        };
        self.out.drain(..).map(block).collect()
    }

    fn complete(&mut self, id: u64) {
        self.engine.complete(id, Ok(None), &mut self.out).unwrap();
        self.engine.announce().unwrap();
    }

    fn heads(&mut self) -> Vec<u32> {
        self.guest.used().into_iter().map(|(head, _)| head).collect()
    }
}

fn blocks(submitted: &[(u64, u64)]) -> Vec<u64> {
    submitted.iter().map(|(_, block)| *block).collect()
}

/// Three writes, of which the second is answered: what is left is not the last taken.
fn passed_by(bed: &mut Bed) -> (Vec<u32>, Vec<(u64, u64)>) {
    let heads: Vec<u32> = (1..4).map(|number| bed.write(number)).collect();
    bed.run();
    let submitted = bed.submitted();
    assert_eq!(blocks(&submitted), [1, 2, 3]);
    bed.complete(submitted[1].0);
    assert_eq!(bed.heads(), [heads[1]]);
    bed.engine.begin_stop(0);
    assert_eq!(bed.engine.stopped(0), None);
    (heads, submitted)
}

#[test]
fn what_was_passed_by_stays_in_the_record() {
    let mut bed = Bed::with_record();
    let (heads, submitted) = passed_by(&mut bed);
    assert_eq!(bed.engine.abandon(0).unwrap(), Some(3));
    bed.start(3);
    bed.write(4);
    bed.run();
    assert!(bed.out.is_empty(), "the old writes may still come");
    bed.complete(submitted[0].0);
    bed.run();
    assert!(bed.out.is_empty() && bed.heads().is_empty());
    bed.complete(submitted[2].0);
    bed.run();
    let again = bed.submitted();
    assert_eq!((blocks(&again), bed.heads()), (vec![1, 3, 4], vec![]));
    again.iter().for_each(|(id, _)| bed.complete(*id));
    assert_eq!(bed.heads(), [heads[0], heads[2], 9]);
    bed.engine.begin_stop(0);
    assert_eq!(bed.engine.stopped(0), Some(4));
    assert_eq!((bed.engine.requests.len(), bed.engine.orphan_changes, bed.engine.bytes_in_flight), (0, 0, 0));
}

#[test]
fn what_was_passed_by_is_not_lost_without_a_record() {
    let mut bed = Bed::new(None);
    let (heads, submitted) = passed_by(&mut bed);
    assert_eq!(bed.engine.abandon(0).unwrap(), None, "there is nothing to keep it in");
    // The record stays with the host that a migrated guest leaves.
    let mut bed_with = Bed::with_record();
    passed_by(&mut bed_with);
    bed_with.engine.set_logging(Logging::On);
    assert_eq!(bed_with.engine.abandon(0).unwrap(), None);
    // Answered in time after all.
    bed.complete(submitted[0].0);
    bed.complete(submitted[2].0);
    assert_eq!((bed.heads(), bed.engine.stopped(0)), (vec![heads[0], heads[2]], Some(3)));
}

#[test]
fn what_was_taken_last_goes_back_to_the_ring() {
    for mut bed in [Bed::new(None), Bed::with_record()] {
        bed.engine.set_logging(Logging::On);
        let heads: Vec<u32> = (1..5).map(|number| bed.write(number)).collect();
        bed.run();
        let submitted = bed.submitted();
        bed.complete(submitted[1].0);
        bed.complete(submitted[0].0);
        bed.engine.begin_stop(0);
        assert_eq!(bed.engine.abandon(0).unwrap(), Some(2));
        (2..4).for_each(|at| bed.complete(submitted[at].0));
        assert_eq!(bed.heads(), [heads[1], heads[0]], "late answers go nowhere");
        // Another host's device, which has another record or none.
        bed.record = bed.record.map(|_| Record::create(SHAPE).unwrap());
        bed.engine.end_session();
        bed.start(2);
        bed.run();
        let again = bed.submitted();
        assert_eq!(blocks(&again), [3, 4]);
        again.iter().for_each(|(id, _)| bed.complete(*id));
        assert_eq!(bed.heads(), [heads[2], heads[3]]);
    }
}

#[test]
fn a_stopping_queue_still_asks_what_only_it_knows_of() {
    let mut bed = Bed::with_record();
    let (heads, submitted) = passed_by(&mut bed);
    bed.engine.abandon(0).unwrap();
    bed.start(3);
    bed.write(4);
    bed.engine.begin_stop(0);
    assert_eq!(bed.engine.stopped(0), None);
    bed.complete(submitted[0].0);
    bed.complete(submitted[2].0);
    bed.run();
    let again = bed.submitted();
    assert_eq!(blocks(&again), [1, 3], "but nothing new");
    again.iter().for_each(|(id, _)| bed.complete(*id));
    assert_eq!((bed.heads(), bed.engine.stopped(0)), (vec![heads[0], heads[2]], Some(3)));
}

fn log() -> (File, Arc<DirtyLog>) {
    let file = tempfile::tempfile().unwrap();
    file.set_len(LOG_BYTES).unwrap();
    let log = DirtyLog::new(file.try_clone().unwrap(), 0, LOG_BYTES).unwrap();
    (file, Arc::new(log))
}

/// The marked pages, which are cleared as a front end would.
fn take_pages(file: &File) -> Vec<u64> {
    let mut bytes = vec![0; usize::try_from(LOG_BYTES).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    file.write_all_at(&vec![0; bytes.len()], 0).unwrap();
    let bits =
        (0..LOG_BYTES * 8).filter(|page| bytes[usize::try_from(page / 8).unwrap()] >> (page % 8) & 1 == 1);
    bits.collect()
}

#[test]
fn every_page_that_is_written_is_marked() {
    let mut bed = Bed::new(None);
    let (file, log) = log();
    let used_page = RAM_BYTES / 4096;
    bed.engine.set_log(Arc::clone(&log));
    bed.engine.set_log_addr(0, Some(RAM_BYTES));
    // A read that begins before logging and ends behind it, over two pages.
    let part = writable(DATA + 0x1800, 4096);
    bed.offer(VIRTIO_BLK_T_IN, 1, part);
    bed.run();
    let (id, _) = bed.out.pop().unwrap();
    take_pages(&file);
    bed.engine.set_logging(Logging::On);
    bed.engine.complete(id, Ok(Some(Bytes::from(vec![5; 4096]))), &mut bed.out).unwrap();
    assert_eq!(take_pages(&file), [STATUS / 4096, DATA / 4096 + 1, DATA / 4096 + 2, used_page]);
    // A write changes its status only, and the used ring when it is announced that kicks are wanted.
    bed.write(2);
    bed.run();
    let (id, _) = bed.submitted()[0];
    take_pages(&file);
    bed.complete(id);
    assert_eq!(take_pages(&file), [STATUS / 4096, used_page]);
    // Answers that the volume is not asked for.
    bed.offer(VIRTIO_BLK_T_GET_ID, 3, writable(DATA + 0x5ff0, 20));
    bed.run();
    assert_eq!(take_pages(&file), [STATUS / 4096, DATA / 4096 + 5, DATA / 4096 + 6, used_page]);
    bed.offer(77, 3, writable(DATA, 512));
    bed.run();
    assert_eq!(take_pages(&file), [STATUS / 4096, used_page]);
    // A failed read may have written some of it.
    bed.offer(VIRTIO_BLK_T_IN, 1, writable(DATA, 512));
    bed.run();
    let (id, _) = bed.out.pop().unwrap();
    let error = ClientError::new(blockd::ErrorKind::Unavailable, "it failed");
    bed.engine.complete(id, Err(error), &mut bed.out).unwrap();
    assert_eq!(take_pages(&file), [STATUS / 4096, DATA / 4096, used_page]);
    // And nothing any more; the front end gets its memory back.
    bed.engine.set_logging(Logging::Off);
    assert_eq!(Arc::strong_count(&log), 1);
    bed.engine.set_log_addr(0, None);
    bed.offer(VIRTIO_BLK_T_FLUSH, 1, readable(DATA, 1));
    bed.run();
    let (id, _) = bed.out.pop().unwrap();
    bed.complete(id);
    assert!(take_pages(&file).is_empty());
}

#[test]
fn what_the_log_can_t_hold_ends_the_session() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(16).unwrap();
    assert!(DirtyLog::new(file.try_clone().unwrap(), 0, 17).is_err());
    assert!(DirtyLog::new(file.try_clone().unwrap(), 0, 0).is_err());
    assert!(DirtyLog::new(file.try_clone().unwrap(), u64::MAX, 2).is_err());
    assert!(DirtyLog::new(file.try_clone().unwrap(), 0, u64::MAX).is_err());
    let log = DirtyLog::new(file, 0, 16).unwrap();
    let end = 16 * 8 * 4096;
    log.mark(end - 1, 1).unwrap();
    log.mark(u64::MAX, 0).unwrap();
    for (addr, len) in [(end - 1, 2), (end, 1), (u64::MAX, 1), (u64::MAX, 2), (0, u64::MAX)] {
        assert!(log.mark(addr, len).is_err(), "{addr:#x} {len}");
    }
    let mut bed = Bed::new(None);
    bed.engine.set_log(Arc::new(log));
    bed.engine.set_logging(Logging::On);
    bed.offer(VIRTIO_BLK_T_GET_ID, 3, writable(DATA, 20));
    bed.engine.kick(0);
    assert!(bed.engine.run(&mut bed.out).is_err(), "DATA is behind what the log covers");
}

#[test]
fn a_truncated_log_ends_the_session() {
    let mut bed = Bed::new(None);
    let (file, log) = log();
    bed.engine.set_log(log);
    bed.engine.set_logging(Logging::On);
    file.set_len(0).unwrap();
    bed.offer(VIRTIO_BLK_T_GET_ID, 3, writable(DATA, 20));
    bed.engine.kick(0);
    assert!(bed.engine.run(&mut bed.out).and_then(|_| bed.engine.announce()).is_err());
}
