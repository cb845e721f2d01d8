//! Which group a chunk belongs to: a fixed hash, so that the control plane keeps nothing per chunk.

use crate::ids::{ChunkId, GroupId};

/// The group of `chunk` in a pool of `groups` groups.
///
/// The hash is splitmix64's finalizer over the volume, then the index: fixed for ever, since it says where
/// data lies. Neighbouring chunks spread over groups, so that a large object or a sequential guest uses
/// every disk.
pub fn group_of(chunk: ChunkId, groups: u32) -> GroupId {
    assert!(groups > 0, "a pool has at least one group");
    let hash = mix(mix(chunk.volume.0).wrapping_add(u64::from(chunk.index.0)));
    GroupId(u32::try_from(hash % u64::from(groups)).expect("a remainder below a u32 is one"))
}

fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChunkIndex, VolumeId};

    #[test]
    fn golden_placement_never_changes() {
        let group =
            |volume, index| group_of(ChunkId { volume: VolumeId(volume), index: ChunkIndex(index) }, 128).0;
        let golden = [group(1, 0), group(1, 1), group(2, 0), group(u64::MAX, u32::MAX)];
        assert_eq!(golden, GOLDEN);
    }

    const GOLDEN: [u32; 4] = [30, 3, 52, 58];

    #[test]
    fn chunks_spread_evenly() {
        let mut counts = [0u32; 128];
        for index in 0..12_800 {
            let chunk = ChunkId { volume: VolumeId(3), index: ChunkIndex(index) };
            counts[group_of(chunk, 128).0 as usize] += 1;
        }
        assert!(counts.iter().all(|&count| (50..=170).contains(&count)), "{counts:?}");
    }
}
