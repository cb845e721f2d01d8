//! Errors that cross the wire between a client and a chunk server.

use std::fmt;

/// What went wrong, as a number that both sides know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum ErrorCode {
    /// A newer writer opened the volume; this one must stop.
    Fenced = 1,
    /// The group's membership changed; fetch the map and send again.
    StaleGroupEpoch = 2,
    /// No room; deleting, trimming or waiting for the cleaner helps.
    NoSpace = 3,
    /// This replica's copy of a block fails its checksum; another replica's may be good.
    Corrupt = 4,
    /// The device failed; the shard has stopped.
    Io = 5,
    /// A queue is full; send again later.
    Busy = 6,
    /// The frame is well-formed but asks for something impossible.
    BadRequest = 7,
    /// The token or the disk named in `Hello` is not this server's.
    Unauthorized = 8,
    /// The volume is being deleted, or was.
    Deleted = 9,
    /// The data of a write does not match its checksums: it changed on the way.
    BadChecksum = 10,
    /// What is held is not what the request was to take the place of; look again.
    Changed = 11,
}

impl ErrorCode {
    /// The code of a number from the wire.
    pub fn from_u16(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::Fenced,
            2 => Self::StaleGroupEpoch,
            3 => Self::NoSpace,
            4 => Self::Corrupt,
            5 => Self::Io,
            6 => Self::Busy,
            7 => Self::BadRequest,
            8 => Self::Unauthorized,
            9 => Self::Deleted,
            10 => Self::BadChecksum,
            11 => Self::Changed,
            _ => return None,
        })
    }

    /// Whether the same request may succeed later with nothing else changed by the sender.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::NoSpace | Self::Busy | Self::BadChecksum)
    }
}

/// An error with what failed, why, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError {
    pub code: ErrorCode,
    pub message: String,
}

impl WireError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.message, self.code)
    }
}

impl std::error::Error for WireError {}
