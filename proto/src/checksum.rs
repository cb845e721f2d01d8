//! The one checksum of blocks, frames, batches and log records: CRC-32 (IEEE), by `crc32fast`.
//!
//! A block's CRC is made where its data enters (the volume client) and travels with it to the disk and
//! back, so it covers every copy on the way.

use crate::units::BLOCK_LEN;
use bytes::Bytes;

/// CRC-32 (IEEE) of `bytes`.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// A run's CRCs, one a block, as they lie on the wire (little-endian): cloned for each replica and taken
/// out of a frame without a copy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockCrcs(Bytes);

impl BlockCrcs {
    /// The CRC of each 4 KiB block of `data`, which must be whole blocks.
    pub fn of(data: &[u8]) -> Self {
        assert!(data.len().is_multiple_of(BLOCK_LEN), "block CRCs are of whole blocks");
        data.chunks_exact(BLOCK_LEN).map(crc32).collect()
    }

    /// Takes them as they came; a tail of fewer than four bytes is not counted.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes for the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.0.len() / 4
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The CRC of block `index`, which must be below `len`.
    pub fn get(&self, index: usize) -> u32 {
        crate::frame::u32_at(&self.0, index * 4)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.0.chunks_exact(4).map(|crc| crate::frame::u32_at(crc, 0))
    }
}

impl FromIterator<u32> for BlockCrcs {
    fn from_iter<I: IntoIterator<Item = u32>>(crcs: I) -> Self {
        let crcs = crcs.into_iter();
        let mut bytes = Vec::with_capacity(crcs.size_hint().0 * 4);
        crcs.for_each(|crc| bytes.extend_from_slice(&crc.to_le_bytes()));
        Self(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answer() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
