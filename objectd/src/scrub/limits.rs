//! Bounds of a check.

/// Extents asked for at a time.
pub const CHECK_PAGE: u32 = 4096;
/// Chunks of a log that are looked at together: 256 MiB of addresses.
pub const WINDOW_CHUNKS: u32 = 64;
/// Findings of each kind that a report lists.
pub const MAX_LISTED: usize = 100;
/// Orphans that one check gives back; the next goes on.
pub const MAX_ORPHANS: usize = 65_536;
/// Orphans that are handed to the control plane at a time.
pub const RECLAIM_BATCH: usize = 1024;
/// Reasons for which something could not be looked at, that a report lists.
pub const MAX_TROUBLES: usize = 20;

const _: () = assert!(CHECK_PAGE <= meta::limits::MAX_EXTENT_PAGE);
const _: () = assert!(RECLAIM_BATCH <= meta::limits::MAX_EXTENTS);
