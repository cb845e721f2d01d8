//! Memory that the front end shares with us for state that outlives either side: the in-flight record and the
//! dirty log. Mapped and guarded as guest memory is, and as hostile: every access is checked against its end.

use crate::error::{Error, ErrorKind};
use crate::mem::{Guard, map_file};
use std::fs::File;
use std::sync::atomic::{AtomicU8, Ordering};
use vm_memory::{AtomicAccess, Bytes, MmapRegion, VolatileMemory};

/// A shared mapping. Offsets and lengths in bytes.
pub struct SharedMap {
    // Declared, so dropped, before the mapping it guards.
    guard: Guard,
    map: MmapRegion,
}

impl SharedMap {
    /// Maps `len` bytes of a file, which must have them.
    pub fn new(file: File, offset: u64, len: u64) -> Result<Self, Error> {
        let (guard, map) = map_file(file, offset, len)?;
        Ok(Self { guard, map })
    }

    pub fn len(&self) -> u64 {
        self.map.size() as u64
    }

    /// Whether the file behind it was truncated: what is read since may be zeros that nobody wrote.
    pub fn is_lost(&self) -> bool {
        self.guard.is_lost()
    }

    /// Fetches a value once. Later accesses don't move before it.
    pub fn load<T: AtomicAccess>(&self, at: usize) -> Result<T, Error> {
        self.map.as_volatile_slice().load(at, Ordering::Acquire).map_err(outside)
    }

    /// Stores a value behind everything stored before it, which is the order a crash leaves it in.
    pub fn store<T: AtomicAccess>(&self, at: usize, value: T) -> Result<(), Error> {
        #[cfg(test)]
        crash::before_store()?;
        self.map.as_volatile_slice().store(value, at, Ordering::Release).map_err(outside)
    }

    /// Sets bits of a byte that the other side may change at the same time.
    pub fn set_bits(&self, at: usize, bits: u8) -> Result<(), Error> {
        let byte = self.map.get_atomic_ref::<AtomicU8>(at).map_err(outside)?;
        byte.fetch_or(bits, Ordering::SeqCst);
        Ok(())
    }
}

fn outside(error: vm_memory::VolatileMemoryError) -> Error {
    Error::caused(ErrorKind::Protocol, "an access outside of shared memory", error)
}

/// Lets tests end a device between any two stores: those after the last one fail.
#[cfg(test)]
pub mod crash {
    use super::{Error, ErrorKind};
    use std::cell::Cell;

    thread_local! {
        static STORES_LEFT: Cell<u32> = const { Cell::new(u32::MAX) };
    }

    /// This thread's stores fail after `stores` more.
    pub fn after(stores: u32) {
        STORES_LEFT.set(stores);
    }

    /// This thread's stores work again.
    pub fn never() {
        STORES_LEFT.set(u32::MAX);
    }

    pub fn before_store() -> Result<(), Error> {
        match STORES_LEFT.get() {
            u32::MAX => Ok(()),
            0 => Err(Error::new(ErrorKind::Closed, "crashed")),
            left => {
                STORES_LEFT.set(left - 1);
                Ok(())
            }
        }
    }
}
