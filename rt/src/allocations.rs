//! An allocator that counts what it is asked for.
//!
//! Allocations of an operation depend on the code and hardly on the clock, so tests bound them. Only builds with
//! debug assertions use it: the count is one cache line that every thread of a process writes to.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the allocations that `A` makes.
#[derive(Debug)]
pub struct Counting<A> {
    inner: A,
    allocations: AtomicU64,
    bytes: AtomicU64,
}

/// What was asked for since the process began. Memory given back is not taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocated {
    /// Allocations, and reallocations, which may copy.
    pub allocations: u64,
    pub bytes: u64,
}

impl<A> Counting<A> {
    pub const fn new(inner: A) -> Self {
        Self { inner, allocations: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    pub fn allocated(&self) -> Allocated {
        Allocated {
            allocations: self.allocations.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    fn count(&self, bytes: usize) {
        self.allocations.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to `A` with the caller's own arguments, so what callers keep to and what `A` promises
// hold as without it; counting touches two integers, allocates nothing and can't unwind.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count(layout.size());
        // SAFETY: the caller's promises, passed on.
        unsafe { self.inner.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.count(layout.size());
        // SAFETY: the caller's promises, passed on.
        unsafe { self.inner.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        self.count(new_size);
        // SAFETY: the caller's promises, passed on; `ptr` came from `A`, as all do.
        unsafe { self.inner.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises, passed on; `ptr` came from `A`, as all do.
        unsafe { self.inner.dealloc(ptr, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[test]
    fn each_way_to_ask_for_memory_counts_once() {
        let counting = Counting::new(System);
        let layout = Layout::array::<u8>(100).unwrap();
        // SAFETY: the layouts are those that the memory was asked for with, and no null is written to.
        unsafe {
            let plain = counting.alloc(layout);
            assert!(!plain.is_null());
            plain.write_bytes(7, 100);
            let longer = counting.realloc(plain, layout, 300);
            assert!(!longer.is_null());
            assert_eq!(std::slice::from_raw_parts(longer, 100), [7; 100]);
            let zeroed = counting.alloc_zeroed(layout);
            assert!(!zeroed.is_null());
            assert_eq!(std::slice::from_raw_parts(zeroed, 100), [0; 100]);
            counting.dealloc(zeroed, layout);
            counting.dealloc(longer, Layout::array::<u8>(300).unwrap());
        }
        assert_eq!(counting.allocated(), Allocated { allocations: 3, bytes: 500 });
    }
}
