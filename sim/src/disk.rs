//! A disk with a volatile cache, and with everything that disks do wrong.
//!
//! A power cut keeps any subset of what was not flushed, torn at sectors. Pages may rot or become unreadable;
//! a write may fail, be lost or land somewhere else; a flush may fail, and then forgets what it was to keep.

use crate::rng::SimRng;
use rt::device::BlockDevice;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

const PAGE: usize = 4096;
const SECTOR: usize = 512;
/// Superblocks lie below; what is misdirected goes above, or no disk would be left to look at.
const FIRST_DATA_PAGE: u64 = 256;

type Page = Rc<[u8]>;
type Pages = BTreeMap<u64, Page>;

/// What the next write or flush will come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// The device says that it wrote, and did not.
    LostWrite,
    /// The device writes somewhere else.
    Misdirected,
    WriteError,
    /// No room is left under a thinly provisioned device.
    NoRoom,
    FlushError,
}

#[derive(Debug)]
struct Cached {
    sequence: u64,
    first: u64,
    pages: Vec<Page>,
}

#[derive(Debug, Default)]
struct State {
    /// What a power cut leaves for sure.
    durable: Pages,
    /// What reads see.
    current: Pages,
    cache: Vec<Cached>,
    sequence: u64,
    unreadable: BTreeSet<u64>,
    next: Option<Mishap>,
}

/// One simulated disk.
#[derive(Debug)]
pub struct SimDisk {
    len_bytes: u64,
    state: RefCell<State>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    Well,
    /// As it should not, and nobody was told.
    Amiss(Mishap),
}

fn put(pages: &mut Pages, first: u64, data: &[Page]) {
    pages.extend((first..).zip(data.iter().cloned()));
}

fn broken(what: &'static str) -> io::Error {
    io::Error::other(what)
}

impl State {
    fn write(&mut self, first: u64, pages: Vec<Page>) {
        for at in first..first + pages.len() as u64 {
            self.unreadable.remove(&at);
        }
        put(&mut self.current, first, &pages);
        self.sequence += 1;
        self.cache.push(Cached { sequence: self.sequence, first, pages });
    }

    /// Of what is not flushed, any part survives.
    fn forget_some(&mut self, rng: &mut SimRng) {
        let keep = rng.pick(&[0, 20, 50, 80, 95]);
        for cached in std::mem::take(&mut self.cache) {
            if rng.chance(keep) {
                put(&mut self.durable, cached.first, &cached.pages);
            } else if rng.chance(30) {
                self.tear(rng, &cached);
            }
        }
        self.current.clone_from(&self.durable);
    }

    /// Some sectors only were written.
    fn tear(&mut self, rng: &mut SimRng, cached: &Cached) {
        for (at, new) in (cached.first..).zip(&cached.pages) {
            let mut page = self.durable.get(&at).map_or_else(|| vec![0; PAGE], |page| page.to_vec());
            for (to, from) in page.chunks_exact_mut(SECTOR).zip(new.chunks_exact(SECTOR)) {
                if rng.chance(50) {
                    to.copy_from_slice(from);
                }
            }
            self.durable.insert(at, page.into());
        }
    }
}

impl SimDisk {
    pub fn new(len_bytes: u64) -> Self {
        Self { len_bytes, state: RefCell::new(State::default()) }
    }

    fn pages_of(&self, data: &[u8], offset: u64) -> (u64, Vec<Page>) {
        assert!(offset + data.len() as u64 <= self.len_bytes, "writes stay within the disk");
        assert!(offset.is_multiple_of(PAGE as u64) && data.len().is_multiple_of(PAGE), "whole pages");
        (offset / PAGE as u64, data.chunks_exact(PAGE).map(Page::from).collect())
    }

    /// A write that the device has completed, into its cache, or what it made of it.
    pub fn write(&self, rng: &mut SimRng, data: &[u8], offset: u64) -> io::Result<Wrote> {
        let (first, pages) = self.pages_of(data, offset);
        let mut state = self.state.borrow_mut();
        let mishap = state.next.take_if(|next| *next != Mishap::FlushError);
        match mishap {
            Some(Mishap::WriteError) => return Err(broken("the device can't write")),
            Some(Mishap::NoRoom) => return Err(io::Error::from(io::ErrorKind::StorageFull)),
            Some(Mishap::Misdirected) => {
                let room = self.len_bytes / PAGE as u64 - FIRST_DATA_PAGE - pages.len() as u64;
                let used: Vec<u64> =
                    state.current.keys().copied().filter(|at| *at > FIRST_DATA_PAGE).collect();
                let elsewhere = if used.is_empty() { FIRST_DATA_PAGE } else { rng.pick(&used) };
                state.write(elsewhere.min(FIRST_DATA_PAGE + room), pages);
            }
            Some(Mishap::LostWrite) => {}
            Some(Mishap::FlushError) | None => state.write(first, pages),
        }
        Ok(mishap.map_or(Wrote::Well, Wrote::Amiss))
    }

    /// Fills `buf`, unless one of the pages can't be read.
    pub fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        assert!(offset + buf.len() as u64 <= self.len_bytes, "reads stay within the disk");
        let state = self.state.borrow();
        let (first, end) = (offset / PAGE as u64, (offset + buf.len() as u64) / PAGE as u64);
        if state.unreadable.range(first..end).next().is_some() {
            return Err(broken("a sector can't be read"));
        }
        let mut filled = 0;
        for (at, page) in state.current.range(first..end) {
            let from = usize::try_from(at - first).expect("within the buffer") * PAGE;
            buf[filled..from].fill(0);
            filled = from + PAGE;
            buf[from..filled].copy_from_slice(page);
        }
        buf[filled..].fill(0);
        Ok(())
    }

    /// The number of the newest completed write: what a flush that begins now will cover.
    pub fn mark(&self) -> u64 {
        self.state.borrow().sequence
    }

    /// Every write up to this number is past the cache.
    pub fn durable_mark(&self) -> u64 {
        let state = self.state.borrow();
        state.cache.first().map_or(state.sequence, |cached| cached.sequence - 1)
    }

    /// A flush that began at `mark` has completed; or it failed, and nobody knows what it kept.
    pub fn flush_to(&self, rng: &mut SimRng, mark: u64) -> io::Result<()> {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        if state.next.take_if(|next| *next == Mishap::FlushError).is_some() {
            state.forget_some(rng);
            return Err(broken("the device can't flush"));
        }
        let flushed = state.cache.partition_point(|cached| cached.sequence <= mark);
        for cached in state.cache.drain(..flushed) {
            put(&mut state.durable, cached.first, &cached.pages);
        }
        Ok(())
    }

    /// A write was in flight when its process died: any of its pages may have got there.
    pub fn write_some(&self, rng: &mut SimRng, data: &[u8], offset: u64) {
        let how = rng.below(4);
        let (first, pages) = self.pages_of(data, offset);
        let mut state = self.state.borrow_mut();
        match how {
            0 => {}
            1 => state.write(first, pages),
            _ => {
                for (at, page) in (first..).zip(pages) {
                    if rng.chance(50) {
                        state.write(at, vec![page]);
                    }
                }
            }
        }
    }

    /// Power is lost: of what was not flushed, any part survives.
    pub fn power_cut(&self, rng: &mut SimRng) {
        let mut state = self.state.borrow_mut();
        state.next = None;
        state.forget_some(rng);
    }

    /// Arms what the next write or flush will come to.
    pub fn arm(&self, mishap: Mishap) {
        self.state.borrow_mut().next = Some(mishap);
    }

    pub fn disarm(&self) {
        self.state.borrow_mut().next = None;
    }

    /// A page that `wanted` picks, if there is one.
    fn some_page(&self, rng: &mut SimRng, wanted: impl Fn(&[u8]) -> bool) -> Option<u64> {
        let state = self.state.borrow();
        let pages = state.current.iter().filter(|(_, page)| wanted(page));
        let candidates: Vec<u64> = pages.map(|(&at, _)| at).collect();
        (!candidates.is_empty()).then(|| rng.pick(&candidates))
    }

    /// Flips one bit of a page that `wanted` picks. Says whether there was one.
    pub fn flip(&self, rng: &mut SimRng, wanted: impl Fn(&[u8]) -> bool) -> bool {
        let Some(at) = self.some_page(rng, wanted) else { return false };
        let (byte, bit) = (rng.index(PAGE), rng.below(8));
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        for pages in [&mut state.current, &mut state.durable] {
            if let Some(page) = pages.get_mut(&at) {
                let mut flipped = page.to_vec();
                flipped[byte] ^= 1 << bit;
                *page = flipped.into();
            }
        }
        true
    }

    /// A page that `wanted` picks can't be read until it is written again. Says whether there was one.
    pub fn spoil(&self, rng: &mut SimRng, wanted: impl Fn(&[u8]) -> bool) -> bool {
        let Some(at) = self.some_page(rng, wanted) else { return false };
        self.state.borrow_mut().unreadable.insert(at)
    }
}

impl BlockDevice for SimDisk {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let (first, pages) = self.pages_of(buf, offset);
        self.state.borrow_mut().write(first, pages);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        for cached in state.cache.drain(..) {
            put(&mut state.durable, cached.first, &cached.pages);
        }
        Ok(())
    }
}
