//! The control plane's one error type: what failed, why, and whether the same request may succeed later.

use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A kind of thing the control plane keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entity {
    Pool,
    Node,
    Disk,
    Volume,
    AccessKey,
    Bucket,
    Key,
    Upload,
    /// A range of an object log.
    Extent,
    Account,
    /// A user, group or role.
    Identity,
    Policy,
    /// A version of an object. "In use": it is locked against deletion.
    Version,
    /// What stands for a deleted object. "Exists": what was asked for is one.
    DeleteMarker,
    /// Where notifications go.
    Webhook,
    /// An access control list. "In use": it changed since it was looked at. "Exists": it is public, which is blocked.
    /// "Not found": the bucket has none.
    Acl,
}

/// What is wrong with the list of parts of a multipart upload's completion; named as S3 names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartFault {
    /// A part of the list was never uploaded, or its ETag differs.
    InvalidPart,
    /// The list is not in ascending order.
    InvalidPartOrder,
    /// A part that is not the last is smaller than 5 MiB.
    EntityTooSmall,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request itself can't be right: a bad name, size or argument.
    Invalid,
    /// It does not exist.
    NotFound(Entity),
    /// It exists already.
    Exists(Entity),
    /// It can't be removed or changed now: a bucket that is not empty, a volume that is attached.
    InUse(Entity),
    /// The object is not what the precondition asks for, or the group is at another epoch.
    PreconditionFailed,
    /// A multipart upload can't be completed with this list of parts.
    Parts(PartFault),
    /// A newer writer opened the volume; this one must stop.
    Fenced,
    /// The control plane can't answer now (starting, stopping, no leader, unreachable). Retry later; a
    /// proposal may or may not have been applied.
    Unavailable,
    /// The token is missing or wrong.
    Unauthorized,
    /// A disk operation of the control plane failed.
    Storage,
    /// Bytes on disk or on the wire are not what was written.
    Corrupt,
    /// The data was written by a newer version, or by one before the first release; nothing was changed.
    NewerFormat,
    /// A bucket or a project would hold more than its quota.
    QuotaExceeded,
}

/// Why the state machine refused a command: deterministic, so every replica answers the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub kind: ErrorKind,
    pub message: String,
}

impl Refusal {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn not_found(entity: Entity, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound(entity), message)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Refusal {}

/// An error of the control plane.
#[derive(Debug, Clone)]
pub struct MetaError {
    kind: ErrorKind,
    message: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl MetaError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same error with the one that caused it.
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What failed and why, without the causes below it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same request may succeed later with nothing changed by the caller.
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }
}

impl From<Refusal> for MetaError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind, refusal.message)
    }
}

impl fmt::Display for MetaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for MetaError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
