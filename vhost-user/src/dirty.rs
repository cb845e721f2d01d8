//! The dirty log: which pages of guest memory the device wrote, for a front end that migrates the guest
//! (vhost-user, "Migration"). A bit a page of 4096 bytes, from guest address 0 on.
//!
//! A page is marked after it was written and before the driver or the front end can learn that it was. Marked
//! earlier, the front end could take the mark, send the page, and never look at it again.

use crate::error::{Error, ErrorKind};
use crate::limits::MAX_DIRTY_LOG_BYTES;
use crate::mem::Segment;
use crate::shared::SharedMap;
use std::fs::File;

const PAGE_BYTES: u64 = 4096;

/// A mapped log.
pub struct DirtyLog {
    map: SharedMap,
}

impl DirtyLog {
    /// Maps `len` bytes of a file from byte `offset` on.
    pub fn new(file: File, offset: u64, len: u64) -> Result<Self, Error> {
        if len > MAX_DIRTY_LOG_BYTES {
            return Err(bad(format!("a dirty log of {len} bytes: the most is {MAX_DIRTY_LOG_BYTES}")));
        }
        Ok(Self { map: SharedMap::new(file, offset, len)? })
    }

    /// Marks the pages of `len` bytes that were written from guest address `addr` on.
    pub fn mark(&self, addr: u64, len: u64) -> Result<(), Error> {
        let Some(last) = len.checked_sub(1) else { return Ok(()) };
        let end = addr.checked_add(last).ok_or_else(|| bad("a write past the end of addresses".into()))?;
        let (first, last) = (addr / PAGE_BYTES, end / PAGE_BYTES);
        if last / 8 >= self.map.len() {
            // A page that is not marked would be lost by the migration, and nobody would know.
            return Err(bad(format!("guest address {end:#x} is outside of the dirty log")));
        }
        for page in first..=last {
            let byte = usize::try_from(page / 8).expect("a mapping's offsets fit");
            self.map.set_bits(byte, 1 << (page % 8))?;
        }
        Ok(())
    }

    /// Marks all of a request's segments.
    pub fn mark_segments(&self, segments: &[Segment]) -> Result<(), Error> {
        segments.iter().try_for_each(|segment| self.mark(segment.addr.0, u64::from(segment.len)))
    }

    /// Whether the front end truncated the file.
    pub fn is_lost(&self) -> bool {
        self.map.is_lost()
    }
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::Protocol, message)
}
