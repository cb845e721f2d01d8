//! A disk with a volatile cache. A power cut keeps any subset of what was not flushed, torn at sectors.

use crate::rng::SimRng;
use rt::device::BlockDevice;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

const PAGE: usize = 4096;
const SECTOR: usize = 512;

type Pages = BTreeMap<u64, Box<[u8]>>;

#[derive(Debug)]
struct Cached {
    sequence: u64,
    offset: u64,
    data: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    /// What a power cut leaves for sure.
    durable: Pages,
    /// What reads see.
    current: Pages,
    cache: Vec<Cached>,
    sequence: u64,
}

/// One simulated disk.
#[derive(Debug)]
pub struct SimDisk {
    len_bytes: u64,
    state: RefCell<State>,
}

fn put(pages: &mut Pages, offset: u64, data: &[u8]) {
    assert!(offset.is_multiple_of(PAGE as u64) && data.len().is_multiple_of(PAGE), "whole pages are written");
    for (at, page) in data.chunks_exact(PAGE).enumerate() {
        pages.insert(offset / PAGE as u64 + at as u64, page.into());
    }
}

impl SimDisk {
    pub fn new(len_bytes: u64) -> Self {
        Self { len_bytes, state: RefCell::new(State::default()) }
    }

    /// A write that the device has completed, into its cache.
    pub fn write(&self, data: &[u8], offset: u64) {
        assert!(offset + data.len() as u64 <= self.len_bytes, "writes stay within the disk");
        let mut state = self.state.borrow_mut();
        put(&mut state.current, offset, data);
        state.sequence += 1;
        let sequence = state.sequence;
        state.cache.push(Cached { sequence, offset, data: data.to_vec() });
    }

    pub fn read(&self, buf: &mut [u8], offset: u64) {
        assert!(offset + buf.len() as u64 <= self.len_bytes, "reads stay within the disk");
        let state = self.state.borrow();
        for (at, page) in buf.chunks_exact_mut(PAGE).enumerate() {
            match state.current.get(&(offset / PAGE as u64 + at as u64)) {
                Some(held) => page.copy_from_slice(held),
                None => page.fill(0),
            }
        }
    }

    /// The number of the newest completed write: what a flush that begins now will cover.
    pub fn mark(&self) -> u64 {
        self.state.borrow().sequence
    }

    /// A flush that began at `mark` has completed.
    pub fn flushed(&self, mark: u64) {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let (flushed, kept) =
            std::mem::take(&mut state.cache).into_iter().partition(|cached| cached.sequence <= mark);
        let flushed: Vec<Cached> = flushed;
        state.cache = kept;
        flushed.iter().for_each(|cached| put(&mut state.durable, cached.offset, &cached.data));
    }

    /// A write was in flight when its process died: any of its pages may have got there.
    pub fn write_some(&self, rng: &mut SimRng, data: &[u8], offset: u64) {
        match rng.below(4) {
            0 => {}
            1 => self.write(data, offset),
            _ => {
                for (at, page) in data.chunks_exact(PAGE).enumerate() {
                    if rng.chance(50) {
                        self.write(page, offset + (at * PAGE) as u64);
                    }
                }
            }
        }
    }

    /// Power is lost: of what was not flushed, any part survives.
    pub fn power_cut(&self, rng: &mut SimRng) {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let keep = [0, 20, 50, 80, 95][rng.index(5)];
        let mut pages = std::mem::take(&mut state.durable);
        for cached in std::mem::take(&mut state.cache) {
            if rng.chance(keep) {
                put(&mut pages, cached.offset, &cached.data);
            } else if rng.chance(30) {
                // Torn: some sectors only.
                for (at, data) in cached.data.chunks_exact(PAGE).enumerate() {
                    let page = pages
                        .entry(cached.offset / PAGE as u64 + at as u64)
                        .or_insert_with(|| vec![0; PAGE].into());
                    for (to, from) in page.chunks_exact_mut(SECTOR).zip(data.chunks_exact(SECTOR)) {
                        if rng.chance(50) {
                            to.copy_from_slice(from);
                        }
                    }
                }
            }
        }
        state.current.clone_from(&pages);
        state.durable = pages;
    }

    /// Flips one bit of a page that `wanted` picks, if there is one.
    pub fn flip(&self, rng: &mut SimRng, wanted: impl Fn(&[u8]) -> bool) -> bool {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let candidates: Vec<u64> =
            state.current.iter().filter(|(_, page)| wanted(page)).map(|(&at, _)| at).collect();
        if candidates.is_empty() {
            return false;
        }
        let at = candidates[rng.index(candidates.len())];
        let (byte, bit) = (rng.index(PAGE), rng.below(8));
        for pages in [&mut state.current, &mut state.durable] {
            if let Some(page) = pages.get_mut(&at) {
                page[byte] ^= 1 << bit;
            }
        }
        true
    }
}

impl BlockDevice for SimDisk {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read(buf, offset);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.write(buf, offset);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.flushed(self.mark());
        Ok(())
    }
}
