//! What a disk and a volume on it take, as numbers on the wire.

/// What a volume takes on one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VolumeStat {
    pub live_blocks: u64,
    pub chunks: u64,
}

/// How one disk is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskStat {
    /// What data may use: the slices' segments without the held-back over-provision.
    pub capacity_bytes: u64,
    /// Blocks that an index entry points to.
    pub live_bytes: u64,
    /// What can be written before `NoSpace`, once the cleaner has done its work.
    pub free_bytes: u64,
    pub segments: u64,
    pub free_segments: u64,
    pub batches: u64,
    pub corrupt_blocks: u64,
    pub repaired_blocks: u64,
    /// Memory of the index, in bytes.
    pub index_bytes: u64,
}

impl DiskStat {
    pub(crate) const NUMBERS: usize = 9;

    pub(crate) fn to_numbers(self) -> [u64; Self::NUMBERS] {
        [
            self.capacity_bytes,
            self.live_bytes,
            self.free_bytes,
            self.segments,
            self.free_segments,
            self.batches,
            self.corrupt_blocks,
            self.repaired_blocks,
            self.index_bytes,
        ]
    }

    pub(crate) fn from_numbers(numbers: [u64; Self::NUMBERS]) -> Self {
        let [
            capacity_bytes,
            live_bytes,
            free_bytes,
            segments,
            free_segments,
            batches,
            corrupt_blocks,
            repaired_blocks,
            index_bytes,
        ] = numbers;
        Self {
            capacity_bytes,
            live_bytes,
            free_bytes,
            segments,
            free_segments,
            batches,
            corrupt_blocks,
            repaired_blocks,
            index_bytes,
        }
    }
}
