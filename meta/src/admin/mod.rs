//! The admin API: HTTP on axum, JSON for people, postcard for daemons. One bearer token opens all of it and
//! without it nothing is, not even the question whether a path exists.

mod auth;
mod daemons;
mod reply;
mod volumes;

use crate::client::Client;
use crate::error::{Entity, ErrorKind, MetaError};
use crate::limits::{MAX_JSON_BYTES, MAX_REQUEST_BYTES};
use crate::metrics::MetaMetrics;
pub use auth::AdminToken;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware;
use axum::routing::{get, post};
use reply::Json;
pub use reply::{ApiError, ApiResult};
use serde::Serialize;
pub use volumes::CreateVolume;

/// The whole admin API of the control plane, authenticated.
pub fn router(client: Client, token: AdminToken, metrics: MetaMetrics) -> Router {
    guard(routes(client), token, metrics)
}

/// The operations without their guard, to be merged with others behind the same one.
pub fn routes(client: Client) -> Router {
    let people = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/nodes", get(nodes))
        .route("/v1/disks", get(disks))
        .route("/v1/volumes", get(volumes::list).post(volumes::create))
        .route("/v1/volumes/{name}", get(volumes::show).delete(volumes::delete))
        .layer(DefaultBodyLimit::max(MAX_JSON_BYTES));
    people.with_state(client.clone()).merge(daemon_routes(client))
}

/// The operations of other daemons only: an agent that has its own for people puts these beside them.
pub fn daemon_routes(client: Client) -> Router {
    Router::new()
        .route("/v1/propose", post(daemons::propose))
        .route("/v1/query", post(daemons::query))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(client)
}

/// Puts the authenticator in front of every path and method of `routes`, known or not: it runs before any
/// operation is chosen and before a body is read.
pub fn guard(routes: Router, token: AdminToken, metrics: MetaMetrics) -> Router {
    let routes = routes.fallback(unknown_path).method_not_allowed_fallback(unknown_method);
    let guard = auth::Guard { token, metrics };
    Router::new().fallback_service(routes).layer(middleware::from_fn_with_state(guard, auth::check))
}

async fn unknown_path() -> ApiError {
    ApiError::with_status(http::StatusCode::NOT_FOUND, "there is no such path")
}

async fn unknown_method() -> ApiError {
    ApiError::with_status(http::StatusCode::METHOD_NOT_ALLOWED, "the path does not take this method")
}

async fn status(State(client): State<Client>) -> ApiResult<Json<crate::query::Status>> {
    Ok(Json(client.status().await?))
}

async fn nodes(State(client): State<Client>) -> ApiResult<Json<impl Serialize>> {
    Ok(Json(serde_json::json!({ "nodes": client.nodes().await? })))
}

async fn disks(State(client): State<Client>) -> ApiResult<Json<impl Serialize>> {
    Ok(Json(serde_json::json!({ "disks": client.disks().await? })))
}

fn no_such_volume(name: &str) -> MetaError {
    MetaError::new(ErrorKind::NotFound(Entity::Volume), format!("there is no volume '{name}'"))
}

#[cfg(test)]
#[path = "../admin_test.rs"]
mod tests;
