//! Words every part of Ashlar shares: ids, units, limits, checksums, the wire frames and the disk structs.
//!
//! Nothing here does I/O, reads a clock or draws a random number; everything here can be decoded from
//! hostile bytes without a panic and without allocating more than a named limit.

pub mod checksum;
pub mod control;
pub mod disk;
pub mod error;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod message;
pub mod placement;
pub mod reply;
pub mod size;
pub mod stat;
pub mod units;
mod write_kind;

pub use error::{ErrorCode, WireError};
pub use ids::{
    ChunkId, ChunkIndex, ClientId, DiskId, GroupEpoch, GroupId, NodeId, Version, VolumeEpoch, VolumeId,
};
