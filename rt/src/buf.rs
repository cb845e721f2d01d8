//! Memory aligned for O_DIRECT, owned by whoever holds it.

#![allow(unsafe_code)]

use bytes::Bytes;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// What every buffer's address is a multiple of, in bytes: the largest logical block that devices have.
pub const ALIGN: usize = 4096;

/// A fixed-size buffer whose address is a multiple of [`ALIGN`].
pub struct AlignedBuf {
    start: NonNull<u8>,
    len: usize,
}

impl AlignedBuf {
    /// `len` zeroed bytes; `len` must be a positive multiple of [`ALIGN`].
    pub fn zeroed(len: usize) -> Self {
        let layout = Self::layout(len);
        // SAFETY: the layout's size is not zero, `layout` checks it.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, len }
    }

    /// Hands the buffer over as shared, immutable bytes; it is freed with the last of them.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }

    fn layout(len: usize) -> Layout {
        assert!(
            len > 0 && len.is_multiple_of(ALIGN),
            "an aligned buffer is whole, positive multiples of {ALIGN}"
        );
        Layout::from_size_align(len, ALIGN)
            .expect("the alignment is a power of two and the length is bounded")
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is valid for `len` initialised bytes from `zeroed` until `drop`.
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
        // SAFETY: `start` came from `alloc_zeroed` with this very layout and is freed once.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.len)) }
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
}
