//! What a chunk server's disk holds: superblock, batches, checkpoints. `docs/FORMATS.md` describes them.
//!
//! Everything is little-endian and of fixed width. Each structure starts with a magic and the format
//! version, carries a checksum of its header and one of its body, and has its reserved bytes checked to be
//! zero, so that a later version may give them a meaning. Nothing here trusts a length before checking it.

pub mod batch;
pub mod checkpoint;
pub mod run;
pub mod superblock;

pub use batch::{BatchHeader, DataKind, Entry, entries};
pub use checkpoint::{CheckpointCommit, LogHead, PartHeader, PartKind, Record, Slot, records};
pub use run::Run;
pub use superblock::{CheckpointRoot, Life, Superblock};

use std::fmt;

/// The disk format this build reads and writes.
pub const FORMAT_VERSION: u16 = 1;

/// Why bytes are not the structure they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskError {
    /// Something else is here, or nothing yet.
    Magic,
    /// Written by a newer version of Ashlar.
    NewerFormat(u16),
    /// The header's checksum does not match.
    HeaderChecksum,
    /// The body's checksum does not match.
    BodyChecksum,
    /// The checksums match and the content makes no sense.
    Content(&'static str),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("the magic number is missing"),
            Self::NewerFormat(version) => {
                write!(f, "format version {version} is newer than what this build knows")
            }
            Self::HeaderChecksum => f.write_str("the header's checksum does not match"),
            Self::BodyChecksum => f.write_str("the body's checksum does not match"),
            Self::Content(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for DiskError {}

/// Whether all bytes are zero. Most of a batch's header is, and recovery looks at every one: so they are taken
/// in strides that the compiler makes wide, not byte by byte with a way out after each.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(64).all(|stride| stride.iter().fold(0, |all, byte| all | byte) == 0)
}

/// Fails unless `bytes` are all zero.
fn check_zero(bytes: &[u8]) -> Result<(), DiskError> {
    if !is_zero(bytes) {
        return Err(DiskError::Content("reserved bytes are not zero"));
    }
    Ok(())
}

/// Checks the version that every structure has at offset 8: one up to the `newest` of that structure.
fn check_version(bytes: &[u8], newest: u16) -> Result<(), DiskError> {
    match crate::frame::u16_at(bytes, 8) {
        0 => Err(DiskError::Content("format version 0 never existed")),
        version if version <= newest => Ok(()),
        newer => Err(DiskError::NewerFormat(newer)),
    }
}

/// Checks a fixed header: its magic, version, checksum (the four bytes behind `reserved`) and reserved bytes.
fn check_header(
    bytes: &[u8],
    (magic, newest): ([u8; 8], u16),
    reserved: std::ops::Range<usize>,
) -> Result<(), DiskError> {
    let crc_at = reserved.end;
    if bytes.len() < crc_at + 4 || bytes[..8] != magic {
        return Err(DiskError::Magic);
    }
    check_version(bytes, newest)?;
    if crate::frame::u32_at(bytes, crc_at) != crate::checksum::crc32(&bytes[..crc_at]) {
        return Err(DiskError::HeaderChecksum);
    }
    check_zero(&bytes[reserved])
}

/// Counters from a disk are added to; one from here on was never reached by counting.
const COUNTER_END: u64 = 1 << 62;

fn check_counters(counters: &[u64]) -> Result<(), DiskError> {
    if counters.iter().any(|&counter| counter >= COUNTER_END) {
        return Err(DiskError::Content("a counter is beyond any disk's life"));
    }
    Ok(())
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

fn id_at(bytes: &[u8], at: usize) -> [u8; 16] {
    bytes[at..at + 16].try_into().expect("sixteen bytes")
}

#[cfg(test)]
#[path = "disk_test.rs"]
mod tests;
