//! Guest memory: mapped from the front end's files, and the only place that touches it.
//!
//! The guest changes its memory while we look, so everything is copied out once before it is checked.
//! The front end can also truncate a file that is mapped here; touching what is gone raises SIGBUS, which
//! would end every volume of this process. So each mapping is guarded: the handler puts zero pages in the
//! place of a mapping that lost its file and marks it lost, and only that session ends.

#![allow(unsafe_code)]

use crate::error::{Error, ErrorKind};
use crate::limits::{MAX_GUARDED_REGIONS, MAX_MEMORY_REGIONS};
use bytes::Bytes;
use rt::buf::{ALIGN, AlignedBuf};
use std::fs::File;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion, VolatileMemory, VolatileSlice,
};

/// Part of guest memory, named by a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub addr: GuestAddress,
    pub len: u32,
}

/// Where the front end says a region lies. Lengths and addresses in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionPlace {
    pub guest_addr: u64,
    pub user_addr: u64,
    pub len: u64,
    pub file_offset: u64,
}

#[derive(Clone)]
struct Region {
    // Declared, so dropped, before the mapping it guards.
    guard: Arc<Guard>,
    place: RegionPlace,
    map: Arc<GuestRegionMmap>,
}

/// All of a session's guest memory at one moment. A change of the memory table makes a new one; requests
/// in flight keep the one they were read with.
#[derive(Clone)]
pub struct GuestRam {
    regions: Vec<Region>,
    map: GuestMemoryMmap,
}

impl GuestRam {
    /// No memory at all: a session before its first memory table.
    pub fn empty() -> Self {
        Self { regions: Vec::new(), map: GuestMemoryMmap::new() }
    }

    /// This memory and one more region, which must not overlap the others.
    pub fn with_region(&self, place: RegionPlace, file: File) -> Result<Self, Error> {
        if self.regions.len() >= MAX_MEMORY_REGIONS {
            return Err(bad(format!("more than {MAX_MEMORY_REGIONS} memory regions")));
        }
        let mut regions = self.regions.clone();
        regions.push(Region::map(place, file)?);
        Self::from_regions(regions)
    }

    /// This memory without the region at `place` (whose file offset is not compared).
    pub fn without_region(&self, place: RegionPlace) -> Result<Self, Error> {
        let same = |region: &Region| {
            let of = &region.place;
            (of.guest_addr, of.user_addr, of.len) == (place.guest_addr, place.user_addr, place.len)
        };
        let mut regions = self.regions.clone();
        regions.retain(|region| !same(region));
        if regions.len() == self.regions.len() {
            return Err(bad("the memory region to remove was never added"));
        }
        Self::from_regions(regions)
    }

    fn from_regions(mut regions: Vec<Region>) -> Result<Self, Error> {
        regions.sort_by_key(|region| region.place.guest_addr);
        let maps = regions.iter().map(|region| Arc::clone(&region.map)).collect::<Vec<_>>();
        if maps.is_empty() {
            return Ok(Self::empty());
        }
        let map = GuestMemoryMmap::from_arc_regions(maps)
            .map_err(|error| bad(format!("the memory regions don't make a memory: {error}")))?;
        Ok(Self { regions, map })
    }

    /// The map, for the rings.
    pub fn map(&self) -> &GuestMemoryMmap {
        &self.map
    }

    /// The guest address of an address in the front end's process, as ring addresses are sent.
    pub fn guest_addr(&self, user_addr: u64) -> Option<u64> {
        self.regions.iter().find_map(|Region { place, .. }| {
            let offset = user_addr.checked_sub(place.user_addr)?;
            (offset < place.len).then_some(place.guest_addr + offset)
        })
    }

    /// Whether all of a segment is mapped.
    pub fn contains(&self, segment: Segment) -> bool {
        let (mut addr, mut left) = (segment.addr.0, segment.len as usize);
        while left > 0 {
            let Some(slice) = self.run_at(addr, left) else { return false };
            left -= slice.len();
            // It may wrap only behind the last byte there can be, which the next look does not find.
            addr = addr.wrapping_add(slice.len() as u64);
        }
        true
    }

    /// `N` bytes from `addr` on, fetched once; `None` if they are not all mapped.
    pub fn read_array<const N: usize>(&self, addr: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let mut at = 0;
        while at < N {
            let slice = self.run_at(addr.checked_add(at as u64)?, N - at)?;
            slice.copy_to(&mut bytes[at..at + slice.len()]);
            at += slice.len();
        }
        Some(bytes)
    }

    /// Whether a mapping lost its file: what was read since may be zeros that the guest never wrote.
    pub fn is_lost(&self) -> bool {
        self.regions.iter().any(|region| region.guard.is_lost())
    }

    /// The first `N` bytes of the segments; `None` if there are fewer.
    pub fn read_start<const N: usize>(&self, segments: &[Segment]) -> Option<[u8; N]> {
        match segments.first() {
            Some(first) if first.len as usize >= N => self.read_array(first.addr.0),
            _ => self.read(segments, 0, N).ok()?[..].try_into().ok(),
        }
    }

    /// Copies `len` bytes of the segments, from their byte `skip` on, out of the guest's reach. Whole blocks come
    /// [aligned](rt::buf::is_aligned), so that disks need no copy of their own.
    pub fn read(&self, segments: &[Segment], skip: u64, len: usize) -> Result<Bytes, Error> {
        if len > 0 && len.is_multiple_of(ALIGN) {
            let mut data = AlignedBuf::recycled(len);
            self.for_each_slice(segments, skip, len, |slice, at| {
                let out = &mut data[at..at + slice.len()];
                // SAFETY: `out` is as long as the slice, and a byte is a `MaybeUninit<u8>` that nobody makes
                // uninitialised: `copy_out` writes all of it.
                let out = unsafe { std::slice::from_raw_parts_mut(out.as_mut_ptr().cast(), out.len()) };
                copy_out(&slice, out);
                Ok(())
            })?;
            return Ok(data.freeze());
        }
        let mut data = Vec::<u8>::with_capacity(len);
        self.for_each_slice(segments, skip, len, |slice, at| {
            // The vector's length stays 0 until all of it is written, so `at` counts from its start.
            copy_out(&slice, &mut data.spare_capacity_mut()[at..at + slice.len()]);
            Ok(())
        })?;
        // SAFETY: `for_each_slice` succeeds only after it handed out slices of `len` bytes in all, without
        // gaps, each of which the closure copied into the capacity reserved above.
        unsafe { data.set_len(len) };
        Ok(Bytes::from(data))
    }

    /// Copies `data` into the segments, from their byte `skip` on.
    pub fn write(&self, segments: &[Segment], skip: u64, data: &[u8]) -> Result<(), Error> {
        self.for_each_slice(segments, skip, data.len(), |slice, at| {
            slice.copy_from(&data[at..at + slice.len()]);
            Ok(())
        })
    }

    /// Writes one byte: a request's status.
    pub fn write_byte(&self, addr: GuestAddress, byte: u8) -> Result<(), Error> {
        let slice = self.run_at(addr.0, 1).ok_or_else(|| bad("a status byte is unmapped"))?;
        slice.copy_from(&[byte]);
        Ok(())
    }

    fn for_each_slice(
        &self,
        segments: &[Segment],
        mut skip: u64,
        len: usize,
        mut visit: impl FnMut(VolatileSlice<'_>, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut at = 0;
        for segment in segments {
            if at == len {
                break;
            }
            let segment_len = u64::from(segment.len);
            if skip >= segment_len {
                skip -= segment_len;
                continue;
            }
            let here = usize::try_from(segment_len - skip).map_or(len - at, |left| left.min(len - at));
            let mut start = segment.addr.0.checked_add(skip).ok_or_else(|| bad("a segment wraps around"))?;
            let end = at + here;
            skip = 0;
            while at < end {
                let slice = self.run_at(start, end - at).ok_or_else(|| bad("a segment is unmapped"))?;
                let slice_len = slice.len();
                visit(slice, at)?;
                at += slice_len;
                start = start.wrapping_add(slice_len as u64);
            }
        }
        if at == len { Ok(()) } else { Err(bad("the segments are shorter than the request")) }
    }

    /// What is mapped from `addr` on in one piece, `len` bytes at most. A guest has a handful of regions, so
    /// looking at each is cheaper than the map's own iterators, which every 4 KiB write paid for before.
    fn run_at(&self, addr: u64, len: usize) -> Option<VolatileSlice<'_>> {
        let region = self.regions.iter().find(|region| {
            addr >= region.place.guest_addr && addr - region.place.guest_addr < region.place.len
        })?;
        let offset = usize::try_from(addr - region.place.guest_addr).ok()?;
        let left = region.map.size() - offset;
        VolatileMemory::get_slice(&**region.map, offset, len.min(left)).ok()
    }
}

impl Region {
    fn map(place: RegionPlace, file: File) -> Result<Self, Error> {
        let (guard, map) = map_file(file, place.file_offset, place.len)?;
        let guard = Arc::new(guard);
        let map = GuestRegionMmap::new(map, GuestAddress(place.guest_addr))
            .ok_or_else(|| bad("a memory region wraps around"))?;
        Ok(Self { guard, place, map: Arc::new(map) })
    }
}

/// Maps part of a front end's file, guarded. The guard must be dropped before the mapping.
pub fn map_file(file: File, offset: u64, len: u64) -> Result<(Guard, MmapRegion), Error> {
    let file_len = file.metadata().map_err(|error| Error::system("a memory region's file", error))?.len();
    let end = offset.checked_add(len).ok_or_else(|| bad("a memory region wraps"))?;
    if len == 0 || end > file_len {
        return Err(bad(format!("a memory region ends at {end}, its file at {file_len}")));
    }
    let len = usize::try_from(len).map_err(|_| bad("a memory region is too long"))?;
    let map = MmapRegion::from_file(FileOffset::new(file, offset), len)
        .map_err(|error| Error::caused(ErrorKind::System, "mapping a memory region", error))?;
    Ok((Guard::of(&map)?, map))
}

/// Copies all of a slice of guest memory out. The guest may write meanwhile: any mix of old and new bytes is a value it
/// could have sent.
fn copy_out(slice: &VolatileSlice<'_>, out: &mut [MaybeUninit<u8>]) {
    assert_eq!(slice.len(), out.len(), "all of it");
    let guard = slice.ptr_guard();
    // SAFETY: `guard` keeps `slice.len()` bytes of a live mapping readable (`map_file` maps them and vm-memory bounds
    // the slice), `out` is exactly as long and is ours, so they don't overlap.
    unsafe { std::ptr::copy_nonoverlapping(guard.as_ptr(), out.as_mut_ptr().cast::<u8>(), out.len()) };
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

/// A mapping that the SIGBUS handler may replace. `start` is 0 while the slot is free.
struct Slot {
    taken: AtomicBool,
    start: AtomicUsize,
    len: AtomicUsize,
    lost: AtomicBool,
}

static SLOTS: [Slot; MAX_GUARDED_REGIONS] = [const {
    Slot {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        lost: AtomicBool::new(false),
    }
}; MAX_GUARDED_REGIONS];

/// The action that stood before ours, for faults that are not in guest memory.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Has the SIGBUS handler watch a mapping as long as it lives.
pub struct Guard {
    slot: &'static Slot,
}

impl Guard {
    fn of(map: &MmapRegion) -> Result<Self, Error> {
        install_handler()?;
        let free = |slot: &&Slot| !slot.taken.swap(true, Ordering::AcqRel);
        let slot = SLOTS
            .iter()
            .find(free)
            .ok_or_else(|| bad(format!("more than {MAX_GUARDED_REGIONS} memory regions in this process")))?;
        slot.lost.store(false, Ordering::Relaxed);
        slot.len.store(map.size(), Ordering::Relaxed);
        slot.start.store(map.as_ptr().expose_provenance(), Ordering::Release);
        Ok(Self { slot })
    }

    /// Whether the mapping lost its file.
    pub fn is_lost(&self) -> bool {
        self.slot.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.slot.start.store(0, Ordering::Release);
        self.slot.taken.store(false, Ordering::Release);
    }
}

fn install_handler() -> Result<(), Error> {
    static ONCE: OnceLock<Result<(), Error>> = OnceLock::new();
    ONCE.get_or_init(|| {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: both are plain C structures for which all zeros are valid values; `on_sigbus` only does
        // what a signal handler may (atomics and system calls), and has the signature SA_SIGINFO asks for.
        let outcome = unsafe {
            let action = action.assume_init_mut();
            action.sa_sigaction = on_sigbus as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(libc::SIGBUS, null_mut(), previous.as_mut_ptr());
            // Known before ours can run, so that the handler always finds it.
            let _ = PREVIOUS.set(previous.assume_init());
            libc::sigaction(libc::SIGBUS, action, null_mut())
        };
        match outcome {
            0 => Ok(()),
            _ => Err(Error::system("guarding guest memory", std::io::Error::last_os_error())),
        }
    })
    .clone()
}

extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to a handler installed with SA_SIGINFO.
    let addr = unsafe { (*info).si_addr() }.addr();
    for slot in &SLOTS {
        let start = slot.start.load(Ordering::Acquire);
        let len = slot.len.load(Ordering::Relaxed);
        if start == 0 || addr < start || addr - start >= len {
            continue;
        }
        slot.lost.store(true, Ordering::Relaxed);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let place = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the slot names a whole mapping of this module, which can't go away meanwhile: the thread
        // that faulted holds it, and `Guard` frees the slot before the mapping. Whoever reads it afterwards
        // sees zeros, which guest memory may be at any time.
        if unsafe { libc::mmap(place, len, protection, flags, -1, 0) } != libc::MAP_FAILED {
            return;
        }
    }
    // Not guest memory: the action before ours gets the same fault again when this returns.
    if let Some(previous) = PREVIOUS.get() {
        // SAFETY: `previous` is what the kernel gave for this signal.
        unsafe { libc::sigaction(signal, previous, null_mut()) };
    }
}

/// For the tests' driver, which is told how many completions were written but not in a type.
#[cfg(test)]
pub fn written(completions: &[MaybeUninit<blkio::Completion>]) -> &[blkio::Completion] {
    // SAFETY: the caller passes those that `do_io` says it filled.
    unsafe { completions.assume_init_ref() }
}

#[cfg(test)]
#[path = "mem_test.rs"]
mod tests;
