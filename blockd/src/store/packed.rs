//! A slot as the index keeps it: 14 bytes for [`Slot`]'s 16, which are what DESIGN allows a block with all that
//! leads to it.
//!
//! The upper half of a version is its writer's epoch and a part of its count that moves every four billion writes,
//! so the slots of a chunk have few different ones: each is kept once, and a slot has its number.

use proto::Version;
use proto::disk::Slot;
use smallvec::SmallVec;

/// A slot without the upper half of its version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, packed(2))]
pub(super) struct PackedSlot {
    location: u32,
    crc: u32,
    lower: u32,
    /// Which one of the chunk's upper halves.
    upper: u16,
}

const _: () = assert!(size_of::<PackedSlot>() == 14);

impl PackedSlot {
    pub fn is_hole(self) -> bool {
        self.location == Slot::HOLE
    }
}

/// The upper halves of the versions in a chunk's slots, and maybe some that no slot has any more. A few lie in the
/// chunk itself: a look at a slot would miss the caches once more for them.
#[derive(Debug, Default)]
pub(super) struct Uppers(SmallVec<[u32; 4]>);

impl Uppers {
    /// `None` if the version's upper half is not among them.
    pub fn pack(&self, slot: Slot) -> Option<PackedSlot> {
        let upper = upper_of(slot.version);
        let at = self.0.iter().position(|&held| held == upper)?;
        Some(packed(slot, at))
    }

    /// The same; what is not among them comes in.
    pub fn take_in(&mut self, slot: Slot) -> PackedSlot {
        self.pack(slot).unwrap_or_else(|| {
            self.0.push(upper_of(slot.version));
            packed(slot, self.0.len() - 1)
        })
    }

    /// A slot, which is no hole, that was packed with these.
    pub fn unpack(&self, slot: PackedSlot) -> Slot {
        let upper = u64::from(self.0[usize::from(slot.upper)]);
        let version = Version(upper << 32 | u64::from(slot.lower));
        Slot { location: slot.location, crc: slot.crc, version }
    }

    /// One more would have to have room made for it.
    pub fn is_full(&self) -> bool {
        self.0.len() == self.0.capacity()
    }

    /// Makes room for as many again.
    pub fn reserve(&mut self) {
        self.0.reserve_exact(self.0.len().max(1));
    }

    /// Memory they take besides the chunk's, in bytes.
    pub fn bytes(&self) -> usize {
        if self.0.spilled() { self.0.capacity() * size_of::<u32>() } else { 0 }
    }
}

fn upper_of(version: Version) -> u32 {
    u32::try_from(version.0 >> 32).expect("a u64 shifted by 32 is a u32")
}

fn packed(slot: Slot, at: usize) -> PackedSlot {
    let Slot { location, crc, version } = slot;
    let lower = u32::try_from(version.0 & u64::from(u32::MAX)).expect("32 bits are a u32");
    let upper = u16::try_from(at).expect("at most twice as many as a chunk has blocks");
    PackedSlot { location, crc, lower, upper }
}
