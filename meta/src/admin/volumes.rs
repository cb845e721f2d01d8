//! Users' volumes, for people.

use super::no_such_volume;
use super::reply::{ApiError, ApiResult, Json};
use crate::client::Client;
use crate::record::{VolumeKind, VolumeRecord};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};

/// The body of `POST /v1/volumes`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateVolume {
    pub name: String,
    pub size_bytes: u64,
}

/// `GET /v1/volumes`: the users' volumes, those being deleted last.
pub async fn list(State(client): State<Client>) -> ApiResult<Json<impl Serialize>> {
    let mut volumes = client.volumes().await?;
    volumes.retain(|volume| volume.kind == VolumeKind::User);
    Ok(Json(serde_json::json!({ "volumes": volumes })))
}

/// `POST /v1/volumes`
pub async fn create(
    State(client): State<Client>,
    body: Result<Bytes, BytesRejection>,
) -> ApiResult<(StatusCode, Json<VolumeRecord>)> {
    let body = body.map_err(|rejection| ApiError::with_status(rejection.status(), &rejection.body_text()))?;
    let wanted: CreateVolume = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("the body is not {{\"name\": TEXT, \"size_bytes\": NUMBER}}: {error}");
        ApiError::with_status(StatusCode::BAD_REQUEST, &message)
    })?;
    let volume = client.create_volume(&wanted.name, wanted.size_bytes).await?;
    Ok((StatusCode::CREATED, Json(volume)))
}

/// `GET /v1/volumes/{name}`
pub async fn show(
    State(client): State<Client>,
    name: Result<Path<String>, PathRejection>,
) -> ApiResult<Json<VolumeRecord>> {
    let Path(name) = name.map_err(|_| no_such_volume("?"))?;
    Ok(Json(client.volume(&name).await?))
}

/// `DELETE /v1/volumes/{name}`: marks it; the agent removes its data.
pub async fn delete(
    State(client): State<Client>,
    name: Result<Path<String>, PathRejection>,
) -> ApiResult<(StatusCode, Json<VolumeRecord>)> {
    let Path(name) = name.map_err(|_| no_such_volume("?"))?;
    Ok((StatusCode::ACCEPTED, Json(client.delete_volume(&name).await?)))
}
