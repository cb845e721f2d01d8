//! The crate's one error.

use std::fmt;

/// What kind of failure it is, for exit codes and HTTP statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The spec asks for something impossible.
    Invalid,
    /// No such VM.
    NotFound,
    /// A VM of that name runs already.
    Conflict,
    /// Something this needs is missing: QEMU is not installed.
    Unavailable,
    /// It did not happen in time.
    Timeout,
    /// QEMU refused or ended early.
    Failed,
    /// The machine refused a file or a process.
    Io,
}

/// What failed, why, and what to do next.
#[derive(Debug)]
pub struct ComputeError {
    pub kind: ErrorKind,
    pub context: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ComputeError {
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    pub(crate) fn io(
        context: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind: ErrorKind::Io, context: context.into(), source: Some(source.into()) }
    }

    /// Whether the same call may succeed later with nothing changed.
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Timeout
    }
}

impl fmt::Display for ComputeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.context),
            None => f.write_str(&self.context),
        }
    }
}

impl std::error::Error for ComputeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
