//! The paths of the admin API. Everything needs the token.

use super::{Shared, metrics};
use crate::api::{
    AddDisk, AddWebhook, BucketPage, BucketView, CreateProject, CreateVolume, DiskDetail, ErrorBody,
    ErrorDetail, NodeView, ObjectScrubView, ProjectKey, ProjectView, RunVm, ScrubView, StatusReport, VmList,
    VmView, VolumeDetail, VolumeView, WebhookView,
};
use crate::audit;
use crate::error::Error;
use crate::fleet::{Order, Poll};
use crate::limits::{MAX_BODY_BYTES, MAX_POLL_BYTES};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router};
use meta::admin::AdminToken;
use meta::audit::AuditLog;
use meta::metrics::MetaMetrics;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// Who may read `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsAccess {
    /// The admin API is on loopback only.
    Open,
    Token,
}

/// From where on buckets are listed.
#[derive(Debug, Deserialize)]
struct AfterBucket {
    after: Option<String>,
}

/// What the admin API is guarded with.
pub struct Guard {
    pub token: AdminToken,
    pub meta_metrics: MetaMetrics,
    pub metrics: MetricsAccess,
    pub audit: Arc<AuditLog>,
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
        .route("/v1/volumes/{name}/resize", change(Shared::resize))
        .route("/v1/volumes/{name}/attach", change(Shared::attach))
        .route("/v1/volumes/{name}/detach", change(Shared::detach))
        .route("/v1/volumes/{name}/export", change(Shared::export))
        .route("/v1/volumes/{name}/import", change(Shared::import))
        .route("/v1/projects", get(list_projects).post(create_project))
        .route("/v1/projects/{name}", get(show_project))
        .route("/v1/projects/{name}/keys", post(create_project_key))
        .route("/v1/projects/{name}/quota", change(Shared::set_project_quota))
        .route("/v1/buckets", get(list_buckets))
        .route("/v1/buckets/{name}", get(show_bucket))
        .route("/v1/buckets/{name}/quota", change(Shared::set_bucket_quota))
        .route("/v1/webhooks", get(list_webhooks).post(add_webhook))
        .route("/v1/webhooks/{name}", delete(remove_webhook))
        .route("/v1/scrub", get(show_scrub).post(start_scrub))
        .route("/v1/scrub/objects", get(show_object_scrub).post(start_object_scrub))
        .route("/v1/nodes", get(list_nodes))
        .route("/v1/disks", get(list_disks).post(add_disk))
        .route("/v1/disks/{disk}/replace", change(Shared::replace_disk))
        .route("/v1/disks/{disk}/state", change(Shared::set_disk_state))
        .route("/v1/disks/{disk}/lose", change(Shared::lose_disk))
        .route("/v1/vms", get(list_vms).post(run_vm))
        .route("/v1/vms/{name}", get(show_vm))
        .route("/v1/vms/{name}/stop", change(Shared::stop_vm))
        .route("/v1/vms/{name}/migrate", change(Shared::migrate_vm))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&guard.audit), audit::changes))
        .with_state(shared);
    let refusals = from_fn_with_state(guard.audit, audit::refusals);
    let routes = people.merge(daemons);
    match guard.metrics {
        MetricsAccess::Open => {
            let guarded = meta::admin::guard(routes, guard.token, guard.meta_metrics);
            metrics.fallback_service(guarded.layer(refusals))
        }
        MetricsAccess::Token => {
            meta::admin::guard(routes.merge(metrics), guard.token, guard.meta_metrics).layer(refusals)
        }
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

async fn list_projects(State(shared): State<Shared>) -> Result<Json<Vec<ProjectView>>, Error> {
    Ok(Json(shared.projects().await?))
}

async fn show_project(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<ProjectView>, Error> {
    Ok(Json(shared.project(&name).await?))
}

async fn list_buckets(
    State(shared): State<Shared>,
    Query(asked): Query<AfterBucket>,
) -> Result<Json<BucketPage>, Error> {
    Ok(Json(shared.buckets(asked.after).await?))
}

async fn show_bucket(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<BucketView>, Error> {
    Ok(Json(shared.bucket(&name).await?))
}

async fn create_project(State(shared): State<Shared>, bytes: Bytes) -> Result<Json<ProjectKey>, Error> {
    let asked: CreateProject = body(&bytes)?;
    whole(async move { shared.create_project(asked).await }).await
}

async fn create_project_key(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<ProjectKey>, Error> {
    whole(async move { shared.create_project_key(name).await }).await
}

async fn list_webhooks(State(shared): State<Shared>) -> Result<Json<Vec<WebhookView>>, Error> {
    Ok(Json(shared.webhooks().await?))
}

async fn add_webhook(State(shared): State<Shared>, bytes: Bytes) -> Result<Json<WebhookView>, Error> {
    let asked: AddWebhook = body(&bytes)?;
    whole(async move { shared.add_webhook(asked).await }).await
}

async fn remove_webhook(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Error> {
    whole(async move { shared.remove_webhook(&name).await.map(|()| json!({ "removed": name })) }).await
}

async fn show_scrub(State(shared): State<Shared>) -> Json<ScrubView> {
    Json(shared.scrubber.view())
}

async fn start_scrub(State(shared): State<Shared>) -> Json<ScrubView> {
    Json(shared.scrubber.start())
}

async fn show_object_scrub(State(shared): State<Shared>) -> Json<ObjectScrubView> {
    Json(shared.object_scrubber.view())
}

async fn start_object_scrub(
    State(shared): State<Shared>,
    bytes: Bytes,
) -> Result<Json<ObjectScrubView>, Error> {
    Ok(Json(shared.start_object_scrub(body(&bytes)?)?))
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

async fn list_vms(State(shared): State<Shared>) -> Json<VmList> {
    Json(shared.vms().into_iter().map(|(_, vm)| vm).collect())
}

async fn show_vm(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<VmView>, Error> {
    shared.find_vm(&name).map(|(_, vm)| Json(vm))
}

async fn run_vm(State(shared): State<Shared>, bytes: Bytes) -> Result<Json<Value>, Error> {
    let asked: RunVm = body(&bytes)?;
    whole(async move { shared.run_vm(asked).await }).await
}

/// `POST` to something that has a name: what is asked is done to its end.
fn change<Q, A, F>(work: fn(Shared, String, Q) -> F) -> MethodRouter<Shared>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    F: Future<Output = Result<A, Error>> + Send + 'static,
{
    post(async move |State(shared): State<Shared>, Path(name): Path<String>, bytes: Bytes| {
        whole(work(shared, name, body(&bytes)?)).await
    })
}

/// Runs a change to its end even if the client hangs up: half of an attach would be worse than all of it.
async fn whole<T: Send + 'static>(
    change: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<Json<T>, Error> {
    let outcome = tokio::spawn(change).await;
    Ok(Json(outcome.map_err(|error| Error::failed(format!("the daemon failed inside: {error}")))??))
}
