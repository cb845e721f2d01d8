//! The one checksum of blocks, frames, batches and log records: CRC-32 (IEEE), by `crc32fast`.
//!
//! A block's CRC is made where its data enters (the volume client) and travels with it to the disk and
//! back, so it covers every copy on the way.

use crate::units::BLOCK_LEN;

/// CRC-32 (IEEE) of `bytes`.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The CRC of each 4 KiB block of `data`, in order. `data` must be whole blocks.
pub fn block_crcs(data: &[u8]) -> Vec<u32> {
    assert!(data.len().is_multiple_of(BLOCK_LEN), "block CRCs are of whole blocks");
    data.chunks_exact(BLOCK_LEN).map(crc32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answer() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
