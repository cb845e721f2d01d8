//! Newtypes for every id and ordering that crosses a boundary, so that two of them can't be swapped.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

macro_rules! uuid_like {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let text = text.as_bytes();
                if text.len() != 32 {
                    return Err(BadId);
                }
                let mut id = [0u8; 16];
                for (byte, pair) in id.iter_mut().zip(text.chunks_exact(2)) {
                    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
                    *byte = digit(pair[0]).ok_or(BadId)? << 4 | digit(pair[1]).ok_or(BadId)?;
                }
                Ok(Self(id))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// An id in text that is not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadId;

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id is 32 hexadecimal digits")
    }
}

impl std::error::Error for BadId {}

number!(
    /// A volume, numbered by the control plane, never reused.
    VolumeId, u64
);
number!(
    /// A machine in the pool.
    NodeId, u64
);
number!(
    /// One of the pool's fixed number of replica groups.
    GroupId, u32
);
number!(
    /// Counts the changes of a group's membership.
    GroupEpoch, u32
);
number!(
    /// Counts the writers of a volume; a higher one fences all lower ones. 24 bits are used.
    VolumeEpoch, u32
);
number!(
    /// The position of a 4 MiB chunk within its volume.
    ChunkIndex, u32
);
uuid_like!(
    /// One raw device or file given to blockd, named in its superblock.
    DiskId
);
uuid_like!(
    /// One writer process's life: new at each start, so that a server can tell a reconnect from a restart.
    ClientId
);

/// A chunk of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId {
    pub volume: VolumeId,
    pub index: ChunkIndex,
}

/// `volume epoch << 40 | counter`: the writer gives one to every write, and per block the highest wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// Below every write: a block never written.
    pub const ZERO: Version = Version(0);
    const COUNTER_BITS: u32 = 40;
    const COUNTER_MASK: u64 = (1 << Self::COUNTER_BITS) - 1;

    /// The version before the first write of `epoch`.
    pub fn first_of(epoch: VolumeEpoch) -> Self {
        Self(u64::from(epoch.0) << Self::COUNTER_BITS)
    }

    /// The highest version of `epoch`, that no writer lives to give. Catch-up uses it to close an epoch: see
    /// `blockd::client::catchup`.
    pub fn last_of(epoch: VolumeEpoch) -> Self {
        Self(Self::first_of(epoch).0 | Self::COUNTER_MASK)
    }

    /// Whether it is the [last](Self::last_of) of its epoch.
    pub fn is_last(self) -> bool {
        self.counter() == Self::COUNTER_MASK
    }

    /// The writer's epoch in this version.
    pub fn epoch(self) -> VolumeEpoch {
        VolumeEpoch(u32::try_from(self.0 >> Self::COUNTER_BITS).expect("a u64 shifted by 40 has 24 bits"))
    }

    /// The writer's count in this version.
    pub fn counter(self) -> u64 {
        self.0 & Self::COUNTER_MASK
    }

    /// The next version of the same epoch, or `None` when 2^40 writes used it up (a new epoch goes on).
    pub fn next(self) -> Option<Self> {
        (self.counter() < Self::COUNTER_MASK).then_some(Self(self.0 + 1))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}", self.epoch(), self.counter())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch(), self.counter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_keeps_epoch_above_counter() {
        let first = Version::first_of(VolumeEpoch(7));
        let next = first.next().unwrap();
        assert_eq!((next.epoch(), next.counter()), (VolumeEpoch(7), 1));
        assert!(Version::first_of(VolumeEpoch(8)) > next);
        let last = Version(first.0 | ((1 << 40) - 1));
        assert_eq!(last.next(), None);
    }

    #[test]
    fn ids_round_trip_as_text() {
        let id = DiskId([0xab; 16]);
        assert_eq!(id.to_string().parse::<DiskId>(), Ok(id));
        assert_eq!("zz".parse::<DiskId>(), Err(BadId));
        assert_eq!("é".repeat(16).parse::<DiskId>(), Err(BadId));
    }
}
