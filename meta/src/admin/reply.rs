//! Answers of the admin API.

use crate::error::{ErrorKind, MetaError};
use crate::wire::ErrorBody;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;

/// What a handler returns.
pub type ApiResult<T> = Result<T, ApiError>;

/// An error with the HTTP status that fits it.
#[derive(Debug)]
pub struct ApiError {
    error: MetaError,
    status: StatusCode,
}

impl ApiError {
    pub fn new(error: MetaError, status: StatusCode) -> Self {
        Self { error, status }
    }

    /// An error about the request itself.
    pub fn with_status(status: StatusCode, message: &str) -> Self {
        Self::new(MetaError::new(ErrorKind::Invalid, message), status)
    }
}

impl From<MetaError> for ApiError {
    fn from(error: MetaError) -> Self {
        let status = match error.kind() {
            ErrorKind::Invalid | ErrorKind::Parts(_) => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound(_) => StatusCode::NOT_FOUND,
            ErrorKind::Exists(_) | ErrorKind::InUse(_) | ErrorKind::Fenced => StatusCode::CONFLICT,
            ErrorKind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorKind::QuotaExceeded => StatusCode::FORBIDDEN,
            ErrorKind::Storage | ErrorKind::Corrupt | ErrorKind::NewerFormat => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self { error, status }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status.is_server_error() && self.status != StatusCode::SERVICE_UNAVAILABLE {
            tracing::error!(error = %self.error, "an admin request failed");
        }
        let mut response = Json(ErrorBody::from(&self.error)).into_response();
        *response.status_mut() = self.status;
        response
    }
}

/// A JSON body.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(mut body) => {
                body.push(b'\n');
                ([(CONTENT_TYPE, "application/json")], body).into_response()
            }
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
