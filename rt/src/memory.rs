//! How much memory there is, and advice to the kernel on it.

#![allow(unsafe_code)]

use crate::limits::FREE_MEMORY_KEPT_MS;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;

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

/// Bytes of memory that this process may use at most: the machine's, or what its control group allows if that is
/// less. `None` where the kernel does not tell.
pub fn available_bytes() -> Option<u64> {
    let machine = machine_bytes(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
    let of_groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = of_groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    // Each group is held to the bounds of those that it is in.
    let groups = Path::new(group).ancestors().map(|group| Path::new("/sys/fs/cgroup").join(group));
    let bounds = groups.filter_map(|group| std::fs::read_to_string(group.join("memory.max")).ok());
    Some(bounds.filter_map(|bound| bound.trim().parse().ok()).fold(machine, u64::min))
}

/// What `/proc/meminfo` says that the machine has.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// mimalloc's number for it, which the crate leaves out: milliseconds that free memory stays with the process.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// From now on this process has little memory that it does not use: no huge pages, of which a few bytes take 2 MiB,
/// and what the allocator has free goes back to the kernel soon. For page faults that costs a few per cent of the time
/// of who moves bodies of megabytes through fresh memory; who works on one table all the time loses more by it.
///
/// Errors: those of the kernel, which knows of this since Linux 3.15; all is as before then.
pub fn keep_little() -> io::Result<()> {
    // SAFETY: this changes how pages are made from now on, and nothing that a program can read of them.
    if unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: mimalloc's options are atomic, and this one is looked up each time that it counts.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, FREE_MEMORY_KEPT_MS) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_tells_its_memory() {
        let meminfo = "MemTotal:       24601148 kB\nMemFree:         1234 kB\n";
        assert_eq!(machine_bytes(meminfo), Some(24_601_148 << 10));
        assert_eq!(machine_bytes("MemFree: 12 kB\n"), None);
        assert_eq!(machine_bytes("MemTotal: much\n"), None);
        assert!(available_bytes().is_some_and(|bytes| bytes > 64 << 20));
    }

    #[test]
    fn who_keeps_little_has_no_huge_pages_and_gives_back_soon() {
        let purge_delay = || {
            // SAFETY: it only reads an option.
            unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }
        };
        let default = purge_delay();
        assert!(default > FREE_MEMORY_KEPT_MS, "the number is another option's: {default}");
        keep_little().unwrap();
        assert_eq!(purge_delay(), FREE_MEMORY_KEPT_MS);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(status.lines().any(|line| line.replace('\t', " ") == "THP_enabled: 0"), "{status}");
    }

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
