//! Commands and queries of other daemons, in postcard.

use super::reply::{ApiError, ApiResult};
use crate::client::Client;
use crate::error::{ErrorKind, MetaError};
use crate::wire::POSTCARD;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde::de::DeserializeOwned;

type Body = Result<Bytes, BytesRejection>;

pub async fn propose(State(client): State<Client>, headers: HeaderMap, body: Body) -> ApiResult<Response> {
    answer(&client.propose(decode(&headers, body)?).await?)
}

pub async fn query(State(client): State<Client>, headers: HeaderMap, body: Body) -> ApiResult<Response> {
    answer(&client.query(decode(&headers, body)?).await?)
}

fn decode<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> ApiResult<T> {
    let body = body.map_err(|rejection| ApiError::with_status(rejection.status(), &rejection.body_text()))?;
    if headers.get(CONTENT_TYPE).is_none_or(|kind| kind != POSTCARD) {
        let message = format!("the body's content type must be {POSTCARD}");
        return Err(ApiError::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, &message));
    }
    let unreadable = |_| MetaError::new(ErrorKind::Invalid, "the body is not a request of this version");
    let (request, rest) = postcard::take_from_bytes(&body).map_err(unreadable)?;
    if !rest.is_empty() {
        return Err(MetaError::new(ErrorKind::Invalid, "the body goes on after the request").into());
    }
    Ok(request)
}

fn answer<T: Serialize>(value: &T) -> ApiResult<Response> {
    let body = postcard::to_stdvec(value)
        .map_err(|e| MetaError::new(ErrorKind::Corrupt, "can't encode the answer").with_source(e))?;
    Ok(([(CONTENT_TYPE, POSTCARD)], body).into_response())
}
