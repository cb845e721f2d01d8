//! What the store costs by itself: nanoseconds of `step` for a 4 KiB write and read, on a device that
//! takes no time. `cargo run --release -p blockd --example store_cost`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use blockd::store::{Action, Event, Session, Store, Ticket, WriteKind};
use bytes::Bytes;
use proto::checksum::BlockCrcs;
use proto::message::BlockRange;
use proto::{ChunkIndex, ClientId, DiskId, Version, VolumeId};
use rt::clock::{Clock, Instant, SystemClock};
use rt::device::BlockDevice;
use std::cell::RefCell;
use std::io;

const DISK_BYTES: usize = 1 << 30;
const BLOCKS: u64 = 100_000;

struct Memory(RefCell<Vec<u8>>);

impl BlockDevice for Memory {
    fn len_bytes(&self) -> u64 {
        self.0.borrow().len() as u64
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&self.0.borrow()[at..at + buf.len()]);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        self.0.borrow_mut()[at..at + buf.len()].copy_from_slice(buf);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

struct Run {
    store: Store,
    memory: Memory,
    /// Time spent inside the store.
    inside_ns: u64,
}

impl Run {
    /// Submits everything, then pumps, then completes every disk operation, until all is quiet.
    fn go(&mut self, events: Vec<Event>) {
        let mut out = Vec::new();
        let mut events = events;
        while !events.is_empty() {
            let start = SystemClock.now();
            for event in events.drain(..) {
                self.store.submit(Instant::default(), event, &mut out);
            }
            self.store.pump(Instant::default(), &mut out);
            self.inside_ns += SystemClock.now().0 - start.0;
            for action in out.drain(..) {
                let (io, buf, result) = match action {
                    Action::DiskRead { io, offset, mut buf } => {
                        let result = self.memory.read_at(&mut buf, offset);
                        (io, Some(buf), result)
                    }
                    Action::DiskWrite { io, offset, buf } => {
                        let result = self.memory.write_at(&buf.to_vec(), offset);
                        (io, Some(buf.into_head()), result)
                    }
                    Action::DiskFlush { io } => (io, None, Ok(())),
                    Action::Answer { result, .. } => {
                        result.unwrap();
                        continue;
                    }
                };
                events.push(Event::DiskDone { io, buf, result });
            }
        }
    }
}

fn place(n: u64) -> BlockRange {
    // A fixed shuffle of the blocks.
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % BLOCKS;
    BlockRange {
        volume: VolumeId(1),
        chunk: ChunkIndex(u32::try_from(n / 1024).unwrap()),
        first: u16::try_from(n % 1024).unwrap(),
        count: 1,
    }
}

fn main() {
    let memory = Memory(RefCell::new(vec![1; DISK_BYTES]));
    memory.0.borrow_mut()[..1 << 20].fill(0);
    Store::format(&memory, DiskId([1; 16])).unwrap();
    let (store, _) = Store::mount(&memory).unwrap();
    let mut run = Run { store, memory, inside_ns: 0 };
    let data = Bytes::from(vec![7u8; 4096]);
    let crcs = BlockCrcs::of(&data);
    let mut version = 0;
    for depth in [1u64, 8, 32, 128] {
        for round in 0..2 {
            run.inside_ns = 0;
            for from in (0..BLOCKS).step_by(usize::try_from(depth).unwrap()) {
                let write = |n| {
                    version += 1;
                    Event::Write {
                        ticket: Ticket(n),
                        session: Session { client: ClientId([1; 16]), sequence: version },
                        range: place(n),
                        version: Version(version),
                        crcs: crcs.clone(),
                        data: data.clone(),
                        kind: WriteKind::Normal,
                    }
                };
                let events = (from..from + depth).map(write).collect();
                run.go(events);
            }
            println!("write depth {depth:3} round {round}: {} ns", run.inside_ns / BLOCKS);
        }
        run.inside_ns = 0;
        for from in (0..BLOCKS).step_by(usize::try_from(depth).unwrap()) {
            let read = |n| Event::Read { ticket: Ticket(n), range: place(n) };
            run.go((from..from + depth).map(read).collect());
        }
        println!("read  depth {depth:3}: {} ns", run.inside_ns / BLOCKS);
    }
    println!("{:?}", run.store.counters());
    let start = SystemClock.now();
    let (_, report) = Store::mount(&run.memory).unwrap();
    println!("mount: {} us, {report:?}", (SystemClock.now().0 - start.0) / 1000);
}
