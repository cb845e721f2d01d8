//! What users of a volume ask, and what a volume is opened with.

use super::ControlHandle;
use bytes::Bytes;
use proto::ClientId;
use proto::control::{Lease, PoolToken};

/// What a read gives for blocks that were never written or are trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holes {
    /// Zeros, as disks do.
    Zeros,
    /// An error: the reader knows that data must be there.
    Error,
}

/// What a write does while the pool has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// Waits and tries again: a guest's disk stalls rather than breaks.
    Wait,
    /// Fails with `NoSpace`.
    Fail,
}

/// One operation on a volume. Offsets and lengths are in bytes, multiples of 512.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeOp {
    Read {
        offset: u64,
        len: usize,
        holes: Holes,
    },
    Write {
        offset: u64,
        data: Bytes,
    },
    /// Makes every write acked before it was submitted durable.
    Flush,
    Trim {
        offset: u64,
        len: u64,
    },
    WriteZeroes {
        offset: u64,
        len: u64,
    },
}

/// What a volume is opened with.
#[derive(Debug, Clone)]
pub struct VolumeConfig {
    pub lease: Lease,
    pub token: PoolToken,
    pub client: ClientId,
    pub on_full: OnFull,
    /// Without one, a member that fails is waited for until it is back.
    pub control: Option<ControlHandle>,
}

impl VolumeOp {
    /// Bytes of data that it carries or brings back.
    pub(crate) fn data_len(&self) -> usize {
        match self {
            Self::Read { len, .. } => (*len).min(crate::limits::CORE_OPERATION_BYTES),
            Self::Write { data, .. } => data.len(),
            Self::Flush | Self::Trim { .. } | Self::WriteZeroes { .. } => 0,
        }
    }
}
