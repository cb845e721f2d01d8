//! Damage done to chosen copies of blocks, and an account of what is bad that asks nobody but the disks.

use crate::world::{Violation, World, violation};
use blockd::store::Store;
use proto::checksum::crc32;
use proto::units::BLOCK_LEN;
use proto::{ChunkIndex, VolumeId};
use rt::device::BlockDevice;

/// Where a block's data is on one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    pub server: usize,
    pub volume: VolumeId,
    pub chunk: ChunkIndex,
    pub block: u16,
    offset: u64,
    /// `None`: the disk has lost that too.
    crc: Option<u32>,
}

/// What a disk made of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    Flipped,
    Unreadable,
    /// Its write never came to the medium.
    Lost,
    /// Another block's write came to its place.
    Misdirected,
}

impl Damage {
    pub const ALL: [Self; 4] = [Self::Flipped, Self::Unreadable, Self::Lost, Self::Misdirected];
}

impl Copy {
    /// The same block, whoever's copy it is.
    pub fn is_of(&self, other: &Self) -> bool {
        (self.volume, self.chunk, self.block) == (other.volume, other.chunk, other.block)
    }
}

impl World {
    fn store(&self, server: usize) -> Option<&Store> {
        self.servers[server].replica.as_ref().map(|replica| replica.store())
    }

    /// The copies with data that members in sync hold of a chunk.
    pub fn copies(&self, volume: VolumeId, chunk: ChunkIndex, group: u32) -> Vec<Copy> {
        let mut copies = Vec::new();
        for server in self.custody.in_sync(group) {
            let disk = &self.servers[server].disk;
            let places = self.store(server).map(|store| store.data_places(disk, volume, chunk));
            let places = places.unwrap_or_default();
            let copy = |(block, offset, crc)| Copy { server, volume, chunk, block, offset, crc };
            copies.extend(places.into_iter().map(copy));
        }
        copies
    }

    fn page(&self, copy: &Copy) -> Option<[u8; BLOCK_LEN]> {
        let mut page = [0; BLOCK_LEN];
        self.servers[copy.server].disk.read(&mut page, copy.offset).ok().map(|()| page)
    }

    /// Whether the medium does not hold what the store thinks it does.
    pub fn is_bad(&self, copy: &Copy) -> bool {
        self.page(copy).is_none_or(|page| Some(crc32(&page)) != copy.crc)
    }

    /// Does it to a copy, for good. `other` is what a misdirected write was meant for.
    pub fn damage(&mut self, copy: &Copy, damage: Damage, other: &Copy) -> Result<(), Violation> {
        let mut page = match damage {
            Damage::Flipped | Damage::Unreadable => self.page(copy).unwrap_or([0; BLOCK_LEN]),
            Damage::Lost => [0; BLOCK_LEN],
            Damage::Misdirected => self.page(other).unwrap_or([0; BLOCK_LEN]),
        };
        // Zeros over zeros, or a block over its like, are no damage.
        if Some(crc32(&page)) == copy.crc {
            let bit = self.rng.index(BLOCK_LEN * 8);
            page[bit / 8] ^= 1 << (bit % 8);
        }
        let disk = &self.servers[copy.server].disk;
        let wrote = disk.write_at(&page, copy.offset).and_then(|()| disk.flush());
        wrote.expect("a simulated disk that is well writes");
        if damage == Damage::Unreadable {
            // With its flipped bit, it is like no other page.
            disk.spoil(&mut self.rng, |held| *held == page);
        }
        self.trace.say(self.now, || format!("{damage:?}: {copy:?}"));
        if self.is_bad(copy) {
            Ok(())
        } else {
            violation("damage", format!("{damage:?} did nothing to {copy:?}"))
        }
    }
}
