//! What can go wrong when a device is served.

use std::fmt;
use std::sync::Arc;

/// The kinds of error, by what the caller does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The configuration can't be served.
    Invalid,
    /// The socket's path is used by a live device or is no socket.
    InUse,
    /// The machine refused a socket, a thread, a ring or a mapping.
    System,
    /// The front end broke the protocol or handed over something unusable; its session has ended.
    Protocol,
    /// The volume can't be opened: the source says why.
    Volume,
    /// The device has stopped.
    Closed,
}

/// The one error type of this crate.
#[derive(Debug, Clone)]
pub struct Error {
    pub kind: ErrorKind,
    /// What failed, why, and what to do next.
    pub message: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// An error of `kind` with what caused it.
    pub fn caused(
        kind: ErrorKind,
        what: impl fmt::Display,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self { kind, message: format!("{what}: {source}"), source: Some(Arc::new(source)) }
    }

    /// A call to the machine that failed while doing `what`.
    pub fn system(what: impl fmt::Display, source: std::io::Error) -> Self {
        Self::caused(ErrorKind::System, what, source)
    }

    /// Whether the same call may succeed later with nothing else changed by the caller.
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::System
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
