//! What can be wrong with what is put.

use std::fmt;

/// The kinds of error, by what the caller answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The policy isn't one: S3's `MalformedPolicy`, IAM's `MalformedPolicyDocument`.
    MalformedPolicy,
    /// The policy is longer than it may be: S3's `MalformedPolicy` too, IAM's `LimitExceeded`.
    TooLarge,
    /// An access control list that isn't one: S3's `InvalidArgument` and `MalformedACLError`.
    MalformedAcl,
    /// A request tried to set a condition key that only the server may set.
    UntrustedKey,
}

impl ErrorKind {
    /// S3's error code for it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::MalformedPolicy | Self::TooLarge => "MalformedPolicy",
            Self::MalformedAcl => "InvalidArgument",
            Self::UntrustedKey => "InvalidRequest",
        }
    }
}

/// The one error type of this crate. Nothing here can be retried: the same input fails again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    /// Where in the document, as a path: `Statement[2].Condition.StringLike`. Empty means the whole.
    pub at: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(kind: ErrorKind, at: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, at: at.into(), message: message.into() }
    }

    pub(crate) fn malformed(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::MalformedPolicy, at, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "{}: {}", self.at, self.message),
        }
    }
}

impl std::error::Error for Error {}
