//! What the admin API and its clients say to each other about errors.

use crate::error::{Entity, ErrorKind, MetaError, PartFault};
use serde::{Deserialize, Serialize};

/// The content type of commands, queries and their answers.
pub const POSTCARD: &str = "application/vnd.ashlar.postcard";

/// An error as the admin API shows it: `{"error": {"kind": "not-found", "what": "volume", "message": "..."}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

/// The inside of an [`ErrorBody`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// The [`ErrorKind`]'s name.
    pub kind: String,
    /// What does not exist, exists or is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<Entity>,
    /// What is wrong with a list of parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<PartFault>,
    pub message: String,
}

impl From<&MetaError> for ErrorBody {
    fn from(error: &MetaError) -> Self {
        let (kind, what, fault) = match error.kind() {
            ErrorKind::Invalid => ("invalid", None, None),
            ErrorKind::NotFound(what) => ("not-found", Some(what), None),
            ErrorKind::Exists(what) => ("exists", Some(what), None),
            ErrorKind::InUse(what) => ("in-use", Some(what), None),
            ErrorKind::PreconditionFailed => ("precondition-failed", None, None),
            ErrorKind::Parts(fault) => ("parts", None, Some(fault)),
            ErrorKind::Fenced => ("fenced", None, None),
            ErrorKind::Unavailable => ("unavailable", None, None),
            ErrorKind::Unauthorized => ("unauthorized", None, None),
            ErrorKind::Storage => ("storage", None, None),
            ErrorKind::Corrupt => ("corrupt", None, None),
            ErrorKind::NewerFormat => ("newer-format", None, None),
            ErrorKind::QuotaExceeded => ("quota-exceeded", None, None),
        };
        let message = error.message().to_owned();
        Self { error: ErrorDetail { kind: kind.to_owned(), what, fault, message } }
    }
}

impl From<ErrorBody> for MetaError {
    fn from(body: ErrorBody) -> Self {
        let ErrorDetail { kind, what, fault, message } = body.error;
        let kind = match (kind.as_str(), what, fault) {
            ("invalid", _, _) => ErrorKind::Invalid,
            ("not-found", Some(what), _) => ErrorKind::NotFound(what),
            ("exists", Some(what), _) => ErrorKind::Exists(what),
            ("in-use", Some(what), _) => ErrorKind::InUse(what),
            ("precondition-failed", _, _) => ErrorKind::PreconditionFailed,
            ("parts", _, Some(fault)) => ErrorKind::Parts(fault),
            ("fenced", _, _) => ErrorKind::Fenced,
            ("unauthorized", _, _) => ErrorKind::Unauthorized,
            ("storage", _, _) => ErrorKind::Storage,
            ("corrupt", _, _) => ErrorKind::Corrupt,
            ("newer-format", _, _) => ErrorKind::NewerFormat,
            ("quota-exceeded", _, _) => ErrorKind::QuotaExceeded,
            _ => ErrorKind::Unavailable,
        };
        MetaError::new(kind, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_as_it_went() {
        for kind in [
            ErrorKind::Invalid,
            ErrorKind::NotFound(Entity::Volume),
            ErrorKind::Exists(Entity::Bucket),
            ErrorKind::InUse(Entity::Extent),
            ErrorKind::PreconditionFailed,
            ErrorKind::Parts(PartFault::EntityTooSmall),
            ErrorKind::Fenced,
            ErrorKind::Unavailable,
            ErrorKind::Unauthorized,
            ErrorKind::Storage,
            ErrorKind::Corrupt,
            ErrorKind::NewerFormat,
            ErrorKind::QuotaExceeded,
        ] {
            let body = ErrorBody::from(&MetaError::new(kind, "why"));
            let text = serde_json::to_string(&body).unwrap();
            let back = MetaError::from(serde_json::from_str::<ErrorBody>(&text).unwrap());
            assert_eq!((back.kind(), back.message()), (kind, "why"));
        }
    }
}
