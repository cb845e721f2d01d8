//! Advice to the kernel on memory.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Bytes of a huge page on the machines this runs on.
const HUGE_PAGE: usize = 2 << 20;

/// Asks for huge pages where whole ones fit into `memory`: a table larger than the TLB's reach with ordinary
/// pages pays a walk of the page tables for every access. Only advice: where the kernel has none to give, or
/// was told not to, nothing changes.
pub fn prefer_huge_pages<T>(memory: &mut [MaybeUninit<T>]) {
    let start = memory.as_mut_ptr().addr();
    let end = start + size_of_val(memory);
    let first = start.next_multiple_of(HUGE_PAGE);
    let Some(len) = (end / HUGE_PAGE * HUGE_PAGE).checked_sub(first).filter(|&len| len > 0) else { return };
    let first = memory.as_mut_ptr().with_addr(first).cast::<libc::c_void>();
    // SAFETY: the range is part of `memory`, and this advice changes nothing that a program can read.
    unsafe { libc::madvise(first, len, libc::MADV_HUGEPAGE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_any_size_may_be_asked_for() {
        for bytes in [0, 1, 4096, HUGE_PAGE, 3 * HUGE_PAGE + 5] {
            let mut memory: Vec<u8> = Vec::with_capacity(bytes);
            prefer_huge_pages(memory.spare_capacity_mut());
            memory.resize(bytes, 7);
            assert!(memory.iter().all(|&byte| byte == 7));
        }
    }
}
