//! What can go wrong in the block layer.

use proto::error::{ErrorCode, WireError};
use std::fmt;
use std::sync::Arc;

/// The kinds of error, by what the caller does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A newer writer opened the volume; this one must stop.
    Fenced,
    /// No room on the pool; deleting or trimming makes some.
    NoSpace,
    /// A device failed.
    Io,
    /// Too few replicas can be reached.
    Unavailable,
    /// Every copy of a block, or a disk's own structure, fails its checksum.
    Corrupt,
    /// The request can't be served as it was put: out of range, unaligned, too long.
    Invalid,
    /// The volume, the server or the disk has stopped or was deleted.
    Closed,
    /// The token or disk named is not the server's.
    Unauthorized,
    /// A queue is full; again later.
    Busy,
    /// The file or device is no Ashlar disk.
    NotADisk,
    /// The disk was written by a newer version of this program.
    NewerFormat,
}

/// The one error type of this crate.
#[derive(Debug, Clone)]
pub struct Error {
    pub kind: ErrorKind,
    /// What failed, why, and what to do next.
    pub message: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The error of every volume operation.
pub type ClientError = Error;

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// An error with what caused it.
    pub fn caused(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self { kind, message: message.into(), source: Some(Arc::new(source)) }
    }

    /// A device's failure while doing `what`.
    pub fn io(what: impl fmt::Display, source: std::io::Error) -> Self {
        Self::caused(ErrorKind::Io, format!("{what}: {source}"), source)
    }

    /// Whether the same call may succeed later with nothing else changed by the caller.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::NoSpace | ErrorKind::Unavailable | ErrorKind::Busy)
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        let kind = match error.code {
            ErrorCode::Fenced => ErrorKind::Fenced,
            ErrorCode::NoSpace => ErrorKind::NoSpace,
            ErrorCode::Corrupt | ErrorCode::BadChecksum => ErrorKind::Corrupt,
            ErrorCode::Io => ErrorKind::Io,
            ErrorCode::StaleGroupEpoch => ErrorKind::Unavailable,
            ErrorCode::Busy | ErrorCode::Changed => ErrorKind::Busy,
            ErrorCode::BadRequest => ErrorKind::Invalid,
            ErrorCode::Unauthorized => ErrorKind::Unauthorized,
            ErrorCode::Deleted => ErrorKind::Closed,
        };
        Self::new(kind, error.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
