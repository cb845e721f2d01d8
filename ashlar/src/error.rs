//! The binary's one error: a line for people and an exit code for scripts.

use std::fmt;

/// Exit codes of the CLI; 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Denied = 4,
    Conflict = 5,
    Unavailable = 6,
    Timeout = 7,
    /// Only of `ashlar policy findings`: there are some.
    Findings = 8,
}

impl Exit {
    /// The HTTP status that carries this outcome over the admin API.
    pub fn status(self) -> u16 {
        match self {
            Self::Failed | Self::Findings => 500,
            Self::Usage => 400,
            Self::NotFound => 404,
            Self::Denied => 401,
            Self::Conflict => 409,
            Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The outcome that an HTTP status carries.
    pub fn of_status(status: u16) -> Self {
        match status {
            400 | 405 | 413 | 415 | 422 => Self::Usage,
            404 => Self::NotFound,
            401 | 403 => Self::Denied,
            409 | 412 => Self::Conflict,
            429 | 502 | 503 => Self::Unavailable,
            408 | 504 => Self::Timeout,
            _ => Self::Failed,
        }
    }
}

/// What failed, why, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub exit: Exit,
    pub message: String,
}

impl Error {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl fmt::Display for Error {
    /// One line, whatever the parts held.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.message.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            f.write_str(line)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<compute::ComputeError> for Error {
    fn from(error: compute::ComputeError) -> Self {
        use compute::ErrorKind;
        let exit = match error.kind {
            ErrorKind::Invalid => Exit::Usage,
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Conflict => Exit::Conflict,
            ErrorKind::Unavailable => Exit::Unavailable,
            ErrorKind::Timeout => Exit::Timeout,
            ErrorKind::Failed | ErrorKind::Io => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<meta::MetaError> for Error {
    fn from(error: meta::MetaError) -> Self {
        use meta::ErrorKind;
        let exit = match error.kind() {
            ErrorKind::Invalid | ErrorKind::Parts(_) => Exit::Usage,
            ErrorKind::NotFound(_) => Exit::NotFound,
            ErrorKind::Exists(_) | ErrorKind::InUse(_) | ErrorKind::PreconditionFailed => Exit::Conflict,
            ErrorKind::Fenced => Exit::Conflict,
            ErrorKind::Unavailable => Exit::Unavailable,
            ErrorKind::Unauthorized | ErrorKind::QuotaExceeded => Exit::Denied,
            ErrorKind::Storage | ErrorKind::Corrupt | ErrorKind::NewerFormat => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_http() {
        for exit in [
            Exit::Failed,
            Exit::Usage,
            Exit::NotFound,
            Exit::Denied,
            Exit::Conflict,
            Exit::Unavailable,
            Exit::Timeout,
        ] {
            assert_eq!(Exit::of_status(exit.status()), exit);
        }
    }

    #[test]
    fn is_always_one_line() {
        assert_eq!(Error::failed("a\n  b\n\nc").to_string(), "a; b; c");
    }
}
