//! What goes wrong, in IAM's and STS's words.

use crate::error::{S3Code, S3Error};
use meta::MetaError;
use meta::error::{Entity, ErrorKind};

/// An error of the control plane.
pub fn meta(error: MetaError) -> S3Error {
    let message = error.message().to_owned();
    let code = match error.kind() {
        ErrorKind::NotFound(Entity::Account) => {
            return crate::fault::no_account(S3Code::AccessDenied, error);
        }
        ErrorKind::NotFound(Entity::Identity | Entity::AccessKey | Entity::Policy) => S3Code::NoSuchEntity,
        ErrorKind::Exists(Entity::Identity | Entity::AccessKey | Entity::Policy) => {
            S3Code::EntityAlreadyExists
        }
        ErrorKind::InUse(Entity::Identity | Entity::Policy) => S3Code::DeleteConflict,
        ErrorKind::PreconditionFailed => S3Code::LimitExceeded,
        ErrorKind::Invalid => S3Code::ValidationError,
        _ => return crate::fault::meta(error),
    };
    S3Error::with(code, message).source(error)
}

/// What the authenticator and the readers of bodies say, which is S3's.
pub fn translated(error: S3Error) -> S3Error {
    let with = |code, why: &'static str| S3Error::with(code, why);
    match error.code() {
        S3Code::InvalidAccessKeyId | S3Code::InvalidToken => {
            with(S3Code::InvalidClientTokenId, "The security token included in the request is invalid.")
        }
        S3Code::ExpiredToken => {
            with(S3Code::ExpiredToken, "The security token included in the request is expired")
                .status_code(http::StatusCode::FORBIDDEN)
        }
        S3Code::AuthorizationHeaderMalformed if error.status() == http::StatusCode::FORBIDDEN => {
            let why = error.message().to_owned();
            S3Error::with(S3Code::SignatureDoesNotMatch, why)
        }
        S3Code::AuthorizationHeaderMalformed | S3Code::AuthorizationQueryParametersError => {
            let why = error.message().to_owned();
            S3Error::with(S3Code::IncompleteSignature, why)
        }
        S3Code::RequestTimeTooSkewed => {
            with(S3Code::SignatureDoesNotMatch, "Signature not yet current or expired")
        }
        // Without what S3 adds to it: the canonical request holds the call's secrets' neighbours.
        S3Code::SignatureDoesNotMatch => S3Error::new(S3Code::SignatureDoesNotMatch),
        S3Code::InvalidURI => with(S3Code::MalformedQueryString, "The query string contains a syntax error."),
        _ => error,
    }
}
