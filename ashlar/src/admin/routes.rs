//! The paths of the admin API. Everything needs the token.

use super::{Shared, metrics};
use crate::api::{
    AddDisk, AttachVolume, CopyVolume, CreateVolume, DetachVolume, DiskDetail, ErrorBody, ErrorDetail,
    NodeView, ReplaceDisk, ResizeVolume, RunVm, ScrubView, SetDiskState, StatusReport, StopVm, VmList,
    VolumeDetail, VolumeView,
};
use crate::error::{Error, Exit};
use crate::fleet::{DaemonId, DaemonKind, Order, Poll, Task};
use crate::limits::{MAX_BODY_BYTES, MAX_POLL_BYTES};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use compute::VmInfo;
use meta::admin::AdminToken;
use meta::metrics::MetaMetrics;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

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

/// The whole admin API: one part for people, one for daemons, behind one guard.
pub fn router(shared: Shared, guard: Guard) -> Router {
    let metrics = Router::new().route("/metrics", get(metrics::serve)).with_state(shared.clone());
    let daemons = meta::admin::daemon_routes(shared.meta.clone()).merge(
        Router::new()
            .route("/v1/daemons/poll", post(poll))
            .layer(DefaultBodyLimit::max(MAX_POLL_BYTES))
            .with_state(shared.clone()),
    );
    let people = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/volumes", get(list_volumes).post(create_volume))
        .route("/v1/volumes/{name}", get(show_volume).delete(delete_volume))
        .route("/v1/volumes/{name}/resize", post(resize_volume))
        .route("/v1/volumes/{name}/attach", post(attach_volume))
        .route("/v1/volumes/{name}/detach", post(detach_volume))
        .route("/v1/volumes/{name}/export", post(export_volume))
        .route("/v1/volumes/{name}/import", post(import_volume))
        .route("/v1/scrub", get(show_scrub).post(start_scrub))
        .route("/v1/nodes", get(list_nodes))
        .route("/v1/disks", get(list_disks).post(add_disk))
        .route("/v1/disks/{disk}/replace", post(replace_disk))
        .route("/v1/disks/{disk}/state", post(set_disk_state))
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

async fn poll(State(shared): State<Shared>, bytes: Bytes) -> Result<Json<Vec<Order>>, Error> {
    let poll: Poll = body(&bytes)?;
    Ok(Json(shared.fleet.poll(poll).await?))
}

async fn status(State(shared): State<Shared>) -> Json<StatusReport> {
    Json(shared.status().await)
}

async fn list_volumes(State(shared): State<Shared>) -> Result<Json<Vec<VolumeView>>, Error> {
    Ok(Json(shared.volumes().await?))
}

async fn create_volume(State(shared): State<Shared>, bytes: Bytes) -> Result<Json<VolumeView>, Error> {
    let asked: CreateVolume = body(&bytes)?;
    Ok(Json(shared.create(&asked.name, asked.size_bytes).await?))
}

async fn show_volume(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<VolumeDetail>, Error> {
    Ok(Json(shared.volume(&name).await?))
}

async fn delete_volume(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>, Error> {
    whole(async move { shared.delete(&name).await.map(|()| json!({ "deleted": name })) }).await
}

async fn resize_volume(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<VolumeView>, Error> {
    let asked: ResizeVolume = body(&bytes)?;
    whole(async move { shared.resize(&name, asked.size_bytes).await }).await
}

async fn show_scrub(State(shared): State<Shared>) -> Json<ScrubView> {
    Json(shared.scrubber.view())
}

async fn start_scrub(State(shared): State<Shared>) -> Json<ScrubView> {
    Json(shared.scrubber.start())
}

async fn list_nodes(State(shared): State<Shared>) -> Result<Json<Vec<NodeView>>, Error> {
    Ok(Json(shared.nodes().await?))
}

async fn list_disks(State(shared): State<Shared>) -> Result<Json<Vec<DiskDetail>>, Error> {
    Ok(Json(shared.disks().await?))
}

async fn add_disk(State(shared): State<Shared>, bytes: Bytes) -> Result<Json<Value>, Error> {
    let asked: AddDisk = body(&bytes)?;
    whole(async move { shared.add_disk(asked).await }).await
}

async fn replace_disk(
    State(shared): State<Shared>,
    Path(disk): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Error> {
    let asked: ReplaceDisk = body(&bytes)?;
    Ok(Json(shared.replace_disk(&disk, &asked).await?))
}

async fn set_disk_state(
    State(shared): State<Shared>,
    Path(disk): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Error> {
    let asked: SetDiskState = body(&bytes)?;
    Ok(Json(shared.set_disk_state(&disk, asked.state).await?))
}

async fn attach_volume(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<VolumeView>, Error> {
    let asked: AttachVolume = body(&bytes)?;
    whole(async move { shared.attach(&name, &asked.socket, asked.node.as_deref()).await }).await
}

async fn detach_volume(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<VolumeView>, Error> {
    let asked: DetachVolume = body(&bytes)?;
    whole(async move { shared.detach(&name, asked.force).await }).await
}

async fn export_volume(
    State(shared): State<Shared>,
    Path(volume): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Error> {
    let asked: CopyVolume = body(&bytes)?;
    let agent = shared.fleet.find(DaemonKind::Agent, asked.node.as_deref())?;
    whole(async move { shared.fleet.ask(&agent, Task::Export { volume, file: asked.file }).await }).await
}

async fn import_volume(
    State(shared): State<Shared>,
    Path(volume): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Error> {
    let asked: CopyVolume = body(&bytes)?;
    let agent = shared.fleet.find(DaemonKind::Agent, asked.node.as_deref())?;
    whole(async move { shared.fleet.ask(&agent, Task::Import { volume, file: asked.file }).await }).await
}

/// Every VM, with the agent that runs it.
fn vms(shared: &Shared) -> Vec<(DaemonId, VmInfo)> {
    let seen = shared.fleet.seen().into_iter().filter(|seen| seen.silent.is_none());
    seen.flat_map(|seen| seen.report.vms.into_iter().map(move |vm| (seen.daemon.clone(), vm))).collect()
}

fn find_vm(shared: &Shared, name: &str) -> Result<(DaemonId, VmInfo), Error> {
    vms(shared).into_iter().find(|(_, vm)| vm.name == name).ok_or_else(|| {
        Error::new(
            Exit::NotFound,
            format!("there is no VM named '{name}'; ashlar vm list shows those there are"),
        )
    })
}

async fn list_vms(State(shared): State<Shared>) -> Json<VmList> {
    Json(vms(&shared).into_iter().map(|(_, vm)| vm).collect())
}

async fn show_vm(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<VmInfo>, Error> {
    find_vm(&shared, &name).map(|(_, vm)| Json(vm))
}

async fn run_vm(State(shared): State<Shared>, bytes: Bytes) -> Result<Json<Value>, Error> {
    let RunVm { node, spec } = body(&bytes)?;
    let agent = shared.fleet.find(DaemonKind::Agent, node.as_deref())?;
    whole(async move { shared.fleet.ask(&agent, Task::RunVm { spec }).await }).await
}

async fn stop_vm(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Error> {
    let asked: StopVm = body(&bytes)?;
    let (agent, _) = find_vm(&shared, &name)?;
    let task = Task::StopVm { name, deadline_ms: asked.deadline_ms };
    whole(async move { shared.fleet.ask(&agent, task).await }).await
}

/// Runs a change to its end even if the client hangs up: half of an attach would be worse than all of it.
async fn whole<T: Send + 'static>(
    change: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<Json<T>, Error> {
    let outcome = tokio::spawn(change).await;
    Ok(Json(outcome.map_err(|error| Error::failed(format!("the daemon failed inside: {error}")))??))
}
