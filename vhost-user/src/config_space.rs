//! What the device offers: feature bits and the virtio-blk config space (virtio 1.2, 5.2.3 and 5.2.4).

use crate::limits::{CONFIG_SPACE_BYTES, MAX_RANGE_SECTORS, MAX_RANGES, SEG_MAX};
use proto::limits::MAX_BLOCKS_PER_IO;
use proto::units::{BLOCK_BYTES, SECTOR_BYTES};
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_WRITE_ZEROES,
};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

/// The event index, as a bit of the acked features.
pub const EVENT_IDX: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;
/// The driver may send flushes; without it every write must be durable before it completes.
pub const FLUSH: u64 = 1 << VIRTIO_BLK_F_FLUSH;
/// The front end wants to know which pages are written.
pub const LOG_ALL: u64 = VhostUserVirtioFeatures::LOG_ALL.bits();
/// Protocol features were negotiated, so queues start disabled.
pub const PROTOCOL_FEATURES: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();

/// Whether front ends may add and remove memory regions one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemorySlots {
    /// Some front ends can't do without (libblkio).
    Offered,
    /// For QEMU: with them it sends only what has changed since its last message, so that one that continues on a new
    /// connection (`continuing.rs`) would send no memory at all. Without them it has at most 8 regions.
    Withheld,
}

/// Logical sectors in a physical block, as a power of two.
const PHYSICAL_BLOCK_EXP: u8 = 3;
const SECTORS_PER_BLOCK: u16 = 1 << PHYSICAL_BLOCK_EXP;
const LOGICAL_BLOCK_BYTES: u32 = 512;
/// The largest frame to a chunk server, in sectors: what a sequential stream does best with.
const OPTIMAL_IO_SECTORS: u32 = MAX_BLOCKS_PER_IO * SECTORS_PER_BLOCK as u32;

const _: () = assert!(LOGICAL_BLOCK_BYTES as u64 == SECTOR_BYTES);
const _: () = assert!(SECTORS_PER_BLOCK as u64 * SECTOR_BYTES == BLOCK_BYTES);

/// Every virtio feature offered.
pub fn features() -> u64 {
    let bits = [
        VIRTIO_F_VERSION_1,
        VIRTIO_RING_F_INDIRECT_DESC,
        VIRTIO_BLK_F_SEG_MAX,
        VIRTIO_BLK_F_BLK_SIZE,
        VIRTIO_BLK_F_TOPOLOGY,
        VIRTIO_BLK_F_MQ,
        VIRTIO_BLK_F_DISCARD,
        VIRTIO_BLK_F_WRITE_ZEROES,
    ];
    bits.iter().fold(EVENT_IDX | FLUSH | PROTOCOL_FEATURES | LOG_ALL, |all, bit| all | 1 << bit)
}

/// Every vhost-user protocol feature offered, or all but memory slots.
pub fn protocol_features(slots: MemorySlots) -> VhostUserProtocolFeatures {
    let slots = match slots {
        MemorySlots::Offered => VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS,
        MemorySlots::Withheld => VhostUserProtocolFeatures::empty(),
    };
    VhostUserProtocolFeatures::MQ
        | VhostUserProtocolFeatures::CONFIG
        | VhostUserProtocolFeatures::REPLY_ACK
        | VhostUserProtocolFeatures::BACKEND_REQ
        | VhostUserProtocolFeatures::INFLIGHT_SHMFD
        | VhostUserProtocolFeatures::LOG_SHMFD
        | slots
}

/// `struct virtio_blk_config` of a volume, zero-padded to what the protocol can carry.
pub fn config_space(size_bytes: u64, num_queues: u16) -> [u8; CONFIG_SPACE_BYTES] {
    let mut space = [0; CONFIG_SPACE_BYTES];
    let mut put = |at: usize, field: &[u8]| space[at..at + field.len()].copy_from_slice(field);
    put(0, &(size_bytes / SECTOR_BYTES).to_le_bytes());
    put(12, &SEG_MAX.to_le_bytes());
    put(20, &LOGICAL_BLOCK_BYTES.to_le_bytes());
    put(24, &[PHYSICAL_BLOCK_EXP]);
    put(26, &SECTORS_PER_BLOCK.to_le_bytes());
    put(28, &OPTIMAL_IO_SECTORS.to_le_bytes());
    put(34, &num_queues.to_le_bytes());
    put(36, &MAX_RANGE_SECTORS.to_le_bytes());
    put(40, &MAX_RANGES.to_le_bytes());
    put(44, &u32::from(SECTORS_PER_BLOCK).to_le_bytes());
    put(48, &MAX_RANGE_SECTORS.to_le_bytes());
    put(52, &MAX_RANGES.to_le_bytes());
    // Zeroed ranges take no room: `write_zeroes_may_unmap`.
    put(56, &[1]);
    space
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_space_is_the_structure_of_the_standard() {
        let space = config_space(3 << 30, 4);
        let u32_at = |at: usize| u32::from_le_bytes(space[at..at + 4].try_into().unwrap());
        assert_eq!(u64::from_le_bytes(space[..8].try_into().unwrap()), 3 << 21);
        assert_eq!((u32_at(12), u32_at(20), space[24], space[25]), (126, 512, 3, 0));
        assert_eq!((&space[26..28], u32_at(28)), (&[8, 0][..], 2048));
        assert_eq!((space[32], &space[34..36]), (0, &[4, 0][..]));
        assert_eq!((u32_at(36), u32_at(40), u32_at(44)), (2 << 20, 16, 8));
        assert_eq!((u32_at(48), u32_at(52), u32_at(56)), (2 << 20, 16, 1));
        assert!(space[60..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn features_are_the_documented_bits() {
        assert_eq!(features(), 1 << 32 | 1 << 30 | 1 << 29 | 1 << 28 | 1 << 26 | 0b111_0110_0100_0100);
    }
}
