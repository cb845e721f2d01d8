//! The agent's part of the admin API. Everything under it needs the token.

use crate::api::{
    AttachVolume, Copied, CopyVolume, CreateVolume, ErrorBody, ErrorDetail, StatusReport, StopVm, VmList,
    VolumeDetail, VolumeView,
};
use crate::error::Error;
use crate::limits::MAX_BODY_BYTES;
use crate::up::report::Reporter;
use crate::up::{SharedAgent, copy, metrics};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRef, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use compute::{VmInfo, VmSpec};
use meta::admin::AdminToken;
use meta::metrics::MetaMetrics;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What the handlers share.
#[derive(Clone)]
pub struct Shared {
    pub agent: SharedAgent,
    pub reporter: Arc<Reporter>,
    /// The gateway's metrics.
    pub registry: Arc<Registry>,
}

impl FromRef<Shared> for SharedAgent {
    fn from_ref(shared: &Shared) -> Self {
        Arc::clone(&shared.agent)
    }
}

/// Who may read `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsAccess {
    /// The admin API is on loopback only.
    Open,
    Token,
}

/// What the admin API is guarded with.
pub struct Guard {
    pub token: AdminToken,
    pub meta_metrics: MetaMetrics,
    pub metrics: MetricsAccess,
}

/// The whole admin API: the agent's part for people, the control plane's for daemons, behind one guard.
pub fn router(shared: Shared, guard: Guard) -> Router {
    let metrics = Router::new().route("/metrics", get(metrics::serve)).with_state(shared.clone());
    let daemons = meta::admin::daemon_routes(shared.agent.meta.clone());
    let people = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/volumes", get(list_volumes).post(create_volume))
        .route("/v1/volumes/{name}", get(show_volume).delete(delete_volume))
        .route("/v1/volumes/{name}/attach", post(attach_volume))
        .route("/v1/volumes/{name}/detach", post(detach_volume))
        .route("/v1/volumes/{name}/export", post(export_volume))
        .route("/v1/volumes/{name}/import", post(import_volume))
        .route("/v1/vms", get(list_vms).post(run_vm))
        .route("/v1/vms/{name}", get(show_vm))
        .route("/v1/vms/{name}/stop", post(stop_vm))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(shared);
    let routes = people.merge(daemons);
    match guard.metrics {
        MetricsAccess::Open => {
            metrics.fallback_service(meta::admin::guard(routes, guard.token, guard.meta_metrics))
        }
        MetricsAccess::Token => meta::admin::guard(routes.merge(metrics), guard.token, guard.meta_metrics),
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.exit.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = Value::String(format!("{:?}", self.exit).to_lowercase());
        (status, Json(ErrorBody { error: ErrorDetail { kind, message: self.to_string() } })).into_response()
    }
}

fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::usage(format!("the request's body is not right: {error}")))
}

async fn status(State(shared): State<Shared>) -> Json<StatusReport> {
    Json(shared.reporter.report(&shared.agent).await)
}

async fn list_volumes(State(agent): State<SharedAgent>) -> Result<Json<Vec<VolumeView>>, Error> {
    Ok(Json(agent.list().await?))
}

async fn create_volume(State(agent): State<SharedAgent>, bytes: Bytes) -> Result<Json<VolumeView>, Error> {
    let asked: CreateVolume = body(&bytes)?;
    Ok(Json(agent.create(&asked.name, asked.size_bytes).await?))
}

async fn show_volume(
    State(agent): State<SharedAgent>,
    Path(name): Path<String>,
) -> Result<Json<VolumeDetail>, Error> {
    Ok(Json(agent.show(&name).await?))
}

async fn delete_volume(
    State(agent): State<SharedAgent>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Error> {
    whole(async move { agent.delete(&name).await.map(|()| json!({ "deleted": name })) }).await
}

async fn attach_volume(
    State(agent): State<SharedAgent>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<VolumeView>, Error> {
    let asked: AttachVolume = body(&bytes)?;
    whole(async move { agent.attach(&name, &asked.socket).await }).await
}

async fn detach_volume(
    State(agent): State<SharedAgent>,
    Path(name): Path<String>,
) -> Result<Json<VolumeView>, Error> {
    whole(async move { agent.detach(&name).await }).await
}

async fn export_volume(
    State(agent): State<SharedAgent>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<Copied>, Error> {
    let asked: CopyVolume = body(&bytes)?;
    whole(async move { copy::export(&agent, &name, &asked.file).await }).await
}

async fn import_volume(
    State(agent): State<SharedAgent>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<Copied>, Error> {
    let asked: CopyVolume = body(&bytes)?;
    whole(async move { copy::import(&agent, &name, &asked.file).await }).await
}

async fn list_vms(State(agent): State<SharedAgent>) -> Json<VmList> {
    Json(agent.compute.list())
}

async fn show_vm(State(agent): State<SharedAgent>, Path(name): Path<String>) -> Result<Json<VmInfo>, Error> {
    Ok(Json(agent.compute.get(&name)?))
}

async fn run_vm(State(agent): State<SharedAgent>, bytes: Bytes) -> Result<Json<VmInfo>, Error> {
    let spec: VmSpec = body(&bytes)?;
    whole(async move { agent.run_vm(spec).await }).await
}

async fn stop_vm(
    State(agent): State<SharedAgent>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<VmInfo>, Error> {
    let asked: StopVm = body(&bytes)?;
    let deadline = Duration::from_millis(asked.deadline_ms);
    Ok(Json(agent.compute.stop(&name, deadline).await?))
}

/// Runs a change to its end even if the client hangs up: half of an attach would be worse than all of it.
async fn whole<T: Send + 'static>(
    change: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<Json<T>, Error> {
    let outcome = tokio::spawn(change).await;
    Ok(Json(outcome.map_err(|error| Error::failed(format!("the daemon failed inside: {error}")))??))
}
