//! Who may use the admin API: whoever shows the token.

use super::reply::ApiError;
use crate::error::{ErrorKind, MetaError};
use crate::metrics::MetaMetrics;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use std::fmt;
use subtle::ConstantTimeEq;

/// Shorter tokens can be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// The admin API's secret. `Debug` does not show it.
#[derive(Clone)]
pub struct AdminToken(String);

impl AdminToken {
    /// A token of at least 16 bytes of visible ASCII.
    pub fn new(token: impl Into<String>) -> Result<Self, MetaError> {
        let token = token.into();
        if token.len() < MIN_TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("an admin token is at least {MIN_TOKEN_BYTES} bytes of visible ASCII");
            return Err(MetaError::new(ErrorKind::Invalid, message));
        }
        Ok(Self(token))
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(redacted)")
    }
}

/// What the check needs.
#[derive(Clone)]
pub(super) struct Guard {
    pub token: AdminToken,
    pub metrics: MetaMetrics,
}

/// Lets a request through if it shows the token, in exactly one header.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut shown = request.headers().get_all(AUTHORIZATION).iter();
    let refusal = match (shown.next().and_then(bearer), shown.next()) {
        (Some(token), None) if bool::from(token.ct_eq(guard.token.0.as_bytes())) => None,
        (Some(_), None) => Some((StatusCode::FORBIDDEN, "the admin token is wrong")),
        _ => Some((StatusCode::UNAUTHORIZED, "the admin API needs 'Authorization: Bearer TOKEN'")),
    };
    let response = match refusal {
        None => next.run(request).await,
        Some((status, message)) => {
            MetaMetrics::count(&guard.metrics.admin_requests, "refused");
            let mut response =
                ApiError::new(MetaError::new(ErrorKind::Unauthorized, message), status).into_response();
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
    };
    let outcome = if response.status().is_success() { "ok" } else { "failed" };
    MetaMetrics::count(&guard.metrics.admin_requests, outcome);
    response
}

fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}
