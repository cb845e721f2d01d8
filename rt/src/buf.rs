//! Memory aligned for O_DIRECT, owned by whoever holds it.

#![allow(unsafe_code)]

use crate::limits::{MAX_MOVED_BUFFERS, MAX_POOLED_BYTES};
use bytes::Bytes;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

/// What every buffer's address is a multiple of, in bytes: the largest logical block that devices have.
pub const ALIGN: usize = 4096;

/// A fixed-size buffer whose address is a multiple of [`ALIGN`].
///
/// Its memory comes from, and goes back to, a small pool of the thread: disk buffers come and go with every
/// operation, and fresh ones cost page faults besides the allocator's work. What is read on one thread and let go
/// of on another comes back through a pool of the process.
pub struct AlignedBuf {
    start: NonNull<u8>,
    len: usize,
    class: u32,
}

impl AlignedBuf {
    /// `len` zeroed bytes; `len` must be a positive multiple of [`ALIGN`].
    pub fn zeroed(len: usize) -> Self {
        match Self::pooled(len) {
            Some(mut buf) => {
                buf.fill(0);
                buf
            }
            None => Self::fresh(len),
        }
    }

    /// `len` bytes with whatever an earlier buffer of this thread left in them: for one who overwrites all
    /// of it before anybody reads it, such as a disk read.
    pub fn recycled(len: usize) -> Self {
        Self::pooled(len).unwrap_or_else(|| Self::fresh(len))
    }

    fn pooled(len: usize) -> Option<Self> {
        let class = class_of(len);
        let take = |pool: &RefCell<Pool>| {
            let mut pool = pool.borrow_mut();
            pool.take(class).or_else(|| {
                SHARED.lock().unwrap_or_else(PoisonError::into_inner).give(class, &mut pool);
                pool.take(class)
            })
        };
        let start = POOL.try_with(take).ok().flatten()?;
        Some(Self { start, len, class })
    }

    fn fresh(len: usize) -> Self {
        let class = class_of(len);
        let layout = layout_of(class);
        // SAFETY: the layout's size is not zero: a class has one block at least.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, len, class }
    }

    /// Hands the buffer over as shared, immutable bytes; it is freed with the last of them.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

/// What one disk write is made of: a buffer, and shared ones that follow it. What is shared need not be copied to lie
/// behind the first.
#[derive(Debug)]
pub struct Gather {
    head: AlignedBuf,
    tail: Vec<Bytes>,
    len: usize,
}

impl Gather {
    /// `head`, and then `tail`. Each piece [is aligned](is_aligned), since the device reads it where it is.
    pub fn new(head: AlignedBuf, tail: Vec<Bytes>) -> Self {
        assert!(tail.iter().all(|piece| is_aligned(piece)), "a piece of a write is aligned");
        let len = head.len() + tail.iter().map(Bytes::len).sum::<usize>();
        Self { head, tail, len }
    }

    /// Bytes of all of it.
    #[expect(clippy::len_without_is_empty, reason = "an aligned buffer is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What it is made of, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.head[..]).chain(self.tail.iter().map(|piece| &piece[..]))
    }

    /// All of it in one piece, for a disk in memory.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces().collect::<Vec<_>>().concat()
    }

    /// The buffer it begins with, to use again.
    pub fn into_head(self) -> AlignedBuf {
        self.head
    }
}

impl From<AlignedBuf> for Gather {
    fn from(head: AlignedBuf) -> Self {
        Self::new(head, Vec::new())
    }
}

/// Whether a device can read a buffer where it is: whole blocks of [`ALIGN`] that begin at a multiple of it.
pub fn is_aligned(piece: &[u8]) -> bool {
    !piece.is_empty() && piece.as_ptr().addr().is_multiple_of(ALIGN) && piece.len().is_multiple_of(ALIGN)
}

/// Memory is handed out in powers of two of [`ALIGN`]: the exponent for a buffer of `len` bytes.
fn class_of(len: usize) -> u32 {
    assert!(
        len > 0 && len.is_multiple_of(ALIGN),
        "an aligned buffer is whole, positive multiples of {ALIGN}"
    );
    (len / ALIGN).next_power_of_two().trailing_zeros()
}

fn bytes_of(class: u32) -> usize {
    ALIGN << class
}

fn layout_of(class: u32) -> Layout {
    Layout::from_size_align(bytes_of(class), ALIGN)
        .expect("the alignment is a power of two and the length is bounded")
}

/// Memory of buffers that are gone: of one thread, or what threads had too much of.
#[derive(Default)]
struct Pool {
    /// By class. Everything in it was allocated with its class's layout and is initialised.
    free: Vec<Vec<NonNull<u8>>>,
    bytes: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// What threads had too much of.
static SHARED: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), bytes: 0 });

// SAFETY: what is in a pool belongs to nobody else, and plain memory may be used and freed on any thread.
unsafe impl Send for Pool {}

impl Pool {
    /// Moves some buffers of a class to another pool, as far as that has room.
    fn give(&mut self, class: u32, to: &mut Self) {
        for _ in 0..MAX_MOVED_BUFFERS {
            let Some(start) = self.take(class) else { return };
            if !to.keep(start, class) {
                let back = self.keep(start, class);
                assert!(back, "there is room where it was taken from");
                return;
            }
        }
    }

    fn take(&mut self, class: u32) -> Option<NonNull<u8>> {
        let start = self.free.get_mut(class as usize)?.pop()?;
        self.bytes -= bytes_of(class);
        Some(start)
    }

    /// `false` if there is no room for it.
    fn keep(&mut self, start: NonNull<u8>, class: u32) -> bool {
        if self.bytes + bytes_of(class) > MAX_POOLED_BYTES {
            return false;
        }
        if self.free.len() <= class as usize {
            self.free.resize_with(class as usize + 1, Vec::new);
        }
        self.free[class as usize].push(start);
        self.bytes += bytes_of(class);
        true
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for (class, free) in (0..).zip(&mut self.free) {
            for start in free.drain(..) {
                // SAFETY: `start` was allocated with its class's layout, and only the pool has it.
                unsafe { dealloc(start.as_ptr(), layout_of(class)) };
            }
        }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is valid for its class's bytes, `len` at least, all of them initialised (zeroed when
        // allocated, only written to since), from `fresh` or `pooled` until `drop`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.len)
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        let keep = |pool: &RefCell<Pool>| {
            let mut pool = pool.borrow_mut();
            pool.keep(self.start, self.class) || {
                let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
                pool.give(self.class, &mut shared);
                drop(shared);
                pool.keep(self.start, self.class)
            }
        };
        let kept = POOL.try_with(keep);
        if !kept.unwrap_or(false) {
            // SAFETY: `start` was allocated with its class's layout, and the pool did not take it.
            unsafe { dealloc(self.start.as_ptr(), layout_of(self.class)) }
        }
    }
}

// SAFETY: the buffer is plain memory with one owner; nothing in it is tied to a thread.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared references only read.
unsafe impl Sync for AlignedBuf {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_aligned_zeroed_and_freezes_in_place() {
        let mut buf = AlignedBuf::zeroed(8192);
        assert!(buf.iter().all(|&byte| byte == 0));
        buf[4096] = 7;
        let at = buf.as_ptr();
        let bytes = buf.freeze();
        assert_eq!((bytes.as_ptr(), bytes[4096]), (at, 7));
        assert_eq!(at as usize % ALIGN, 0);
    }

    #[test]
    fn memory_comes_back_zeroed_or_as_it_was_left() {
        let mut buf = AlignedBuf::zeroed(3 * ALIGN);
        buf.fill(9);
        let at = buf.as_ptr();
        drop(buf);
        let again = AlignedBuf::recycled(4 * ALIGN);
        assert_eq!((again.as_ptr(), again[0], again[3 * ALIGN]), (at, 9, 0));
        drop(again);
        let zeroed = AlignedBuf::zeroed(4 * ALIGN);
        assert!(zeroed.as_ptr() == at && zeroed.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn what_one_thread_has_too_much_of_another_uses_again() {
        // All that this thread's pool holds, and as much again, which goes to the process's.
        let count = 2 * MAX_POOLED_BYTES / ALIGN;
        let read: Vec<_> = (0..count)
            .map(|_| {
                let mut buf = AlignedBuf::zeroed(ALIGN);
                buf[0] = 9;
                buf
            })
            .collect();
        drop(read);
        let again = std::thread::spawn(|| AlignedBuf::recycled(ALIGN)[0]).join().unwrap();
        assert_eq!(again, 9);
    }

    #[test]
    fn the_pool_is_bounded_and_buffers_may_end_on_other_threads() {
        let many: Vec<_> =
            (0..2 * MAX_POOLED_BYTES / (1 << 20)).map(|_| AlignedBuf::zeroed(1 << 20)).collect();
        std::thread::spawn(move || drop(many)).join().unwrap();
        let many: Vec<_> =
            (0..2 * MAX_POOLED_BYTES / (1 << 20)).map(|_| AlignedBuf::zeroed(1 << 20)).collect();
        drop(many);
        assert!(POOL.with(|pool| pool.borrow().bytes) <= MAX_POOLED_BYTES);
    }
}
