use super::*;
use crate::buf::{AlignedBuf, Gather};
use crate::limits::MAX_RESUMES;
use crate::ring::alarm::Alarm;
use crate::ring::{Completion, Fd, Op, Reactor, ReactorLimits, Token};
use std::collections::HashSet;
use std::io::Write;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

const SMALL: ReactorLimits = ReactorLimits { submissions: 8, completions: 16, backlog: 256 };
const FLYING: usize = 4 * SMALL.completions as usize;
const SEEDS: u64 = 12;
const BLOCK: usize = 4096;
const BLOCKS: u64 = 512;
const LATE: u64 = 6;

/// A plain file, which takes transfers of any length: with O_DIRECT only those of whole sectors are cut.
fn file() -> (std::fs::File, Fd) {
    // In memory: a flush of a real one waits for everybody else on the machine.
    // SAFETY: the name is a C string; the descriptor is new, and only this owns it.
    let file = unsafe {
        let fd = libc::memfd_create(c"shim".as_ptr(), libc::MFD_CLOEXEC);
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        std::fs::File::from_raw_fd(fd)
    };
    for block in 0..BLOCKS {
        file.write_all_at(&content(block, 0), block * BLOCK as u64).unwrap();
    }
    let fd = Arc::new(file.try_clone().unwrap().into());
    (file, fd)
}

fn content(block: u64, version: u64) -> Vec<u8> {
    let mut random = Random(block << 8 | version);
    (0..BLOCK / 8).flat_map(|_| random.below(u64::MAX).to_le_bytes()).collect()
}

/// What a ring may do without saying so to anybody: every transfer may be cut anywhere, interrupted or put off.
fn rough(seed: u64) -> impl FnMut(Kind) -> Fault {
    let mut random = Random(!seed);
    // In three of four times nothing, so that no operation ever runs out of attempts.
    move |kind| match (kind, random.below(16)) {
        (Kind::Disk(len), 0..2) => Fault::Short(1 + random.short(len)),
        (Kind::Disk(_) | Kind::Event, 2) => Fault::Errno(libc::EAGAIN),
        (Kind::Disk(_), 3) => Fault::Errno(libc::EINTR),
        _ => Fault::None,
    }
}

fn reactor(seed: u64, late: u64, plan: impl FnMut(Kind) -> Fault + 'static) -> Reactor {
    let mut reactor = Reactor::new(SMALL).unwrap();
    *reactor.shim() = Some(Shim::new(seed, late, plan));
    reactor
}

fn fired(reactor: &mut Reactor) -> Fired {
    reactor.shim().as_ref().unwrap().fired
}

fn wait(reactor: &mut Reactor) -> Vec<Completion> {
    let mut out = Vec::new();
    for _ in 0..10_000 {
        reactor.wait(Some(Duration::from_millis(100)), &mut out).unwrap();
        assert!(reactor.owed <= reactor.capacity, "more is with the kernel than its completion queue holds");
        if !out.is_empty() {
            return out;
        }
    }
    panic!("nothing completed, and {} are pending", reactor.pending());
}

fn one(reactor: &mut Reactor, op: Op) -> Completion {
    reactor.push(Token::new(1, 2, 3), op).unwrap();
    wait(reactor).remove(0)
}

/// Operations of a mix, and what is known of them.
struct Mix {
    reactor: Reactor,
    file: std::fs::File,
    fd: Fd,
    random: Random,
    /// Numbers of operations that have not completed.
    flying: HashSet<u64>,
    cancelled: HashSet<u64>,
    next: u64,
    ends: [u64; 2],
}

impl Mix {
    fn new(seed: u64, plan: impl FnMut(Kind) -> Fault + 'static) -> Self {
        let (file, fd) = file();
        let (flying, cancelled) = Default::default();
        let reactor = reactor(seed, LATE, plan);
        Self { reactor, file, fd, random: Random(seed), flying, cancelled, next: 0, ends: [0; 2] }
    }

    /// Reads keep to the lower half of the file and writes to the upper, each to its own place.
    fn push(&mut self) {
        let (number, fd) = (self.next, self.fd.clone());
        self.next += 1;
        let half = BLOCKS / 2;
        let op = match number % 8 {
            0..3 => {
                let blocks = 1 + usize::try_from(self.random.below(8)).unwrap();
                let first = self.random.below(half - 8);
                let buf = AlignedBuf::zeroed(blocks * BLOCK);
                Op::Read { fd, buf, offset: first * BLOCK as u64 }
            }
            3..6 => {
                let mut buf = AlignedBuf::zeroed(BLOCK);
                buf.copy_from_slice(&content(half + number % half, number));
                Op::Write { fd, buf: buf.into(), offset: (half + number % half) * BLOCK as u64 }
            }
            6 => Op::Fsync { fd },
            _ => {
                let event = Alarm::new().unwrap().event();
                std::fs::File::from(event.try_clone().unwrap()).write_all(&1u64.to_ne_bytes()).unwrap();
                Op::WaitEvent { fd: event }
            }
        };
        let id = self.reactor.push(Token::new(1, 2, number), op).unwrap();
        assert!(self.flying.insert(number));
        if self.random.below(10) == 0 {
            self.reactor.cancel(id);
            self.cancelled.insert(number);
        }
    }

    fn hear(&mut self) {
        for done in wait(&mut self.reactor) {
            let number = done.token.id();
            assert!(self.flying.remove(&number), "operation {number} completed twice, or was never pushed");
            match done.result {
                Ok(count) => {
                    self.ends[0] += 1;
                    self.check(number, count, done.op);
                }
                Err(error) => {
                    self.ends[1] += 1;
                    let asked = self.cancelled.contains(&number);
                    assert!(asked && error.raw_os_error() == Some(libc::ECANCELED), "{number}: {error}");
                }
            }
        }
    }

    fn check(&self, number: u64, count: u32, op: Op) {
        match op {
            Op::Read { buf, offset, .. } => {
                assert_eq!(count as usize, buf.len());
                for (block, bytes) in (offset / BLOCK as u64..).zip(buf.chunks(BLOCK)) {
                    assert!(bytes == content(block, 0), "operation {number} read wrong bytes");
                }
            }
            Op::Write { buf, offset, .. } => {
                assert_eq!(count as usize, BLOCK);
                let mut seen = vec![0; BLOCK];
                self.file.read_exact_at(&mut seen, offset).unwrap();
                assert!(seen == buf.to_vec(), "operation {number} left other bytes than it was given");
            }
            Op::WaitEvent { .. } => assert_eq!(count, 8),
            _ => {}
        }
    }
}

#[test]
fn at_four_times_the_completion_queue_nothing_is_lost_doubled_or_wrong() {
    let mut all = Fired::default();
    for seed in 0..SEEDS {
        let mut mix = Mix::new(seed, rough(seed));
        // Fewer than the places of writes, so that each has its own.
        while mix.next < BLOCKS / 2 {
            while mix.flying.len() < FLYING && mix.next < BLOCKS / 2 {
                mix.push();
            }
            assert!(mix.reactor.pending() <= mix.flying.len(), "seed {seed}");
            mix.hear();
        }
        while !mix.flying.is_empty() {
            mix.hear();
        }
        assert_eq!(mix.reactor.pending(), 0, "seed {seed}");
        assert!(mix.ends.iter().all(|count| *count > 0), "seed {seed}: {:?}", mix.ends);
        let fired = fired(&mut mix.reactor);
        all.short += fired.short;
        all.errno += fired.errno;
        all.late += fired.late;
        all.interrupted += fired.interrupted;
        all.refused += fired.refused;
    }
    let counts = [all.short, all.errno, all.late, all.interrupted, all.refused];
    assert!(counts.iter().all(|count| *count > SEEDS), "a fault that never fires is no test: {all:?}");
}

#[test]
fn a_transfer_that_is_cut_every_time_is_whole_or_an_error() {
    let (file, fd) = file();
    let cut = |most| {
        reactor(
            1,
            0,
            move |kind| if matches!(kind, Kind::Disk(_)) { Fault::Short(most) } else { Fault::None },
        )
    };
    let most = u32::try_from(BLOCK).unwrap() / u32::from(MAX_RESUMES);
    let mut ring = cut(most);
    let mut buf = AlignedBuf::zeroed(BLOCK);
    buf.copy_from_slice(&content(3, 9));
    let done = one(&mut ring, Op::Write { fd: fd.clone(), buf: buf.into(), offset: 3 * BLOCK as u64 });
    assert_eq!(done.result.unwrap() as usize, BLOCK);
    let done =
        one(&mut ring, Op::Read { fd: fd.clone(), buf: AlignedBuf::zeroed(BLOCK), offset: 3 * BLOCK as u64 });
    let Op::Read { buf, .. } = done.op else { panic!("a read comes back as a read") };
    assert!(buf[..] == content(3, 9)[..], "the parts were not put where they belong");
    assert!(fired(&mut ring).short >= 2 * (u64::from(MAX_RESUMES) - 1));

    // With one piece more than it may take, it fails: it never counts as done.
    let mut ring = cut(most - 20);
    for write in [true, false] {
        let (fd, buf, offset) = (fd.clone(), AlignedBuf::zeroed(BLOCK), 4 * BLOCK as u64);
        let op = if write { Op::Write { fd, buf: buf.into(), offset } } else { Op::Read { fd, buf, offset } };
        let error = one(&mut ring, op).result.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted, "{error}");
    }
    assert_eq!(file.metadata().unwrap().len(), BLOCKS * BLOCK as u64);
}

#[test]
fn a_write_of_many_pieces_is_whole_however_short_the_device_takes_it() {
    let (file, fd) = file();
    let mut ring =
        reactor(1, 0, |kind| if matches!(kind, Kind::Gather(_)) { Fault::Short(2) } else { Fault::None });
    let block = |number: u64| {
        let mut buf = AlignedBuf::zeroed(BLOCK);
        buf.copy_from_slice(&content(number, 1));
        buf
    };
    let tail = (4..12).map(|number| block(number).freeze()).collect();
    let write = Op::Write { fd, buf: Gather::new(block(3), tail), offset: 3 * BLOCK as u64 };
    assert_eq!(one(&mut ring, write).result.unwrap() as usize, 9 * BLOCK);
    for number in 3..12 {
        let mut seen = vec![0; BLOCK];
        file.read_exact_at(&mut seen, number * BLOCK as u64).unwrap();
        assert!(seen == content(number, 1), "block {number} is not where it belongs");
    }
    assert!(fired(&mut ring).short >= 2);
}

#[test]
fn an_error_that_does_not_pass_reaches_the_owner_with_the_buffer() {
    for errno in [libc::EAGAIN, libc::EINTR, libc::ECANCELED, libc::EIO, libc::ENOSPC] {
        let (file, fd) = file();
        let mut ring = reactor(1, 0, move |kind| match kind {
            Kind::Disk(_) | Kind::Fsync => Fault::Errno(errno),
            _ => Fault::None,
        });
        let mut buf = AlignedBuf::zeroed(BLOCK);
        buf.fill(7);
        let done = one(&mut ring, Op::Write { fd: fd.clone(), buf: buf.into(), offset: 0 });
        assert_eq!(done.result.unwrap_err().raw_os_error(), Some(errno));
        let Op::Write { buf, .. } = done.op else { panic!("a write comes back as a write") };
        assert!(buf.to_vec().iter().all(|byte| *byte == 7));
        let passing = [libc::EAGAIN, libc::EINTR].contains(&errno);
        assert_eq!(fired(&mut ring).errno, if passing { 1 + u64::from(MAX_RESUMES) } else { 1 });
        // A flush that failed is never tried again: the next one would succeed and mean nothing.
        assert_eq!(one(&mut ring, Op::Fsync { fd }).result.unwrap_err().raw_os_error(), Some(errno));
        assert_eq!(fired(&mut ring).errno, if passing { 2 + u64::from(MAX_RESUMES) } else { 2 });
        let mut seen = vec![0; BLOCK];
        file.read_exact_at(&mut seen, 0).unwrap();
        assert!(seen == content(0, 0), "a write that failed wrote");
    }
}

#[test]
fn signals_that_come_between_a_failed_look_and_the_next_are_kept() {
    let mut first = true;
    let mut ring = reactor(1, 0, move |kind| {
        let now = kind == Kind::Event && std::mem::take(&mut first);
        if now { Fault::Errno(libc::EAGAIN) } else { Fault::None }
    });
    let event = Alarm::new().unwrap().event();
    ring.push(Token::new(1, 2, 3), Op::WaitEvent { fd: event.clone() }).unwrap();
    ring.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    std::fs::File::from(event.try_clone().unwrap()).write_all(&1u64.to_ne_bytes()).unwrap();
    assert_eq!(wait(&mut ring).remove(0).result.unwrap(), 8);
    assert_eq!(fired(&mut ring).errno, 1);
}

#[test]
fn a_dropped_reactor_gives_everything_back_although_the_kernel_is_slow() {
    for seed in 0..SEEDS {
        let mut mix = Mix::new(seed, rough(seed));
        (0..FLYING).for_each(|_| mix.push());
        mix.reactor.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        let Mix { reactor, fd, .. } = mix;
        assert!(Arc::strong_count(&fd) > 1);
        drop(reactor);
        assert_eq!(Arc::strong_count(&fd), 1, "seed {seed}");
    }
}
