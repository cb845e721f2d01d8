//! PutBucketWebsite, GetBucketWebsite, DeleteBucketWebsite, and what a website's host answers.
//!
//! A visitor is nobody, whatever the request says of who it is; each page is got as GetObject by nobody, so the
//! bucket's policy and its public access block decide about it as they do elsewhere.

use super::{bucket_setting, perform};
use crate::answer;
use crate::arrival::Arrival;
use crate::auth::single_header;
use crate::auth::uri::uri_encode;
use crate::authorize::{Routed, authorize};
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::lent_body::LentBody;
use crate::limits::MAX_WEBSITE_BYTES;
use crate::names;
use crate::operation::Operation;
use crate::service::S3Request;
use crate::target::Target;
use crate::website::{Asked, Redirection, Website};
use axum::body::Body;
use http::header::{
    ALLOW, AUTHORIZATION, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LOCATION, RANGE,
};
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode};
use meta::error::{Entity, ErrorKind};
use meta::setting::SettingKind;
use std::sync::Arc;

pub async fn put(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let body = request.document(MAX_WEBSITE_BYTES).await?;
    let text = Website::parse(&body)?.xml().finish();
    if text.len() > MAX_WEBSITE_BYTES {
        return Err(S3Error::new(S3Code::MaxMessageLengthExceeded));
    }
    bucket_setting::put(shared, &request, SettingKind::Website, text).await?;
    Ok(answer::empty(StatusCode::OK))
}

pub async fn get(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    bucket_setting::get(shared, request, SettingKind::Website, S3Code::NoSuchWebsiteConfiguration).await
}

pub async fn delete(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    bucket_setting::delete(shared, request, SettingKind::Website).await
}

/// A visit to a website's host.
pub struct Visit<'a> {
    pub shared: &'a Arc<Shared>,
    pub parts: &'a Parts,
    pub body: &'a LentBody,
    pub target: Target,
}

/// How much of a request's own wishes count for what is got for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wishes {
    /// Ranges and conditions: it is what was asked for.
    Kept,
    /// It is the whole of something else.
    Dropped,
}

impl Visit<'_> {
    /// Answers it. An error is for a page of the gateway's own.
    pub async fn answer(&self) -> S3Result<Response<Body>> {
        if !matches!(self.parts.method, Method::GET | Method::HEAD) {
            return Err(S3Error::new(S3Code::MethodNotAllowed).header(ALLOW, "GET, HEAD".to_owned()));
        }
        let key = self.target.key.as_deref().unwrap_or_default();
        let secure = self.parts.extensions.get::<Arrival>().is_some_and(|arrival| arrival.tls.is_some());
        let host = single_header(&self.parts.headers, &HOST)?.unwrap_or_default();
        let host = self.parts.uri.authority().map_or(host, |authority| authority.as_str());
        let asked = Asked { scheme: if secure { "https" } else { "http" }, host, key };
        let website = self.website().await?;
        let pages = match &website {
            Website::RedirectAll(elsewhere) => return redirect(&elsewhere.redirection(asked)),
            Website::Pages(pages) => pages,
        };
        if let Some(redirection) = pages.before(asked) {
            return redirect(&redirection);
        }
        let error = match self.read(&pages.page_of(key), Wishes::Kept).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        // Who may not list a bucket is told that what is missing is forbidden, so both may mean a folder.
        let is_missing = matches!(error.code(), S3Code::NoSuchKey | S3Code::AccessDenied);
        if is_missing && !key.is_empty() && !key.ends_with('/') {
            let folder = format!("{key}/");
            if self.read(&pages.page_of(&folder), Wishes::Dropped).await.is_ok() {
                let location = format!("/{}", uri_encode(folder.as_bytes(), true));
                return redirect(&Redirection { status: 302, location });
            }
        }
        if let Some(redirection) = pages.instead_of(error.status().as_u16(), asked) {
            return redirect(&redirection);
        }
        let Some(document) = pages.error.as_deref().filter(|_| error.status().is_client_error()) else {
            return Err(error);
        };
        match self.read(document, Wishes::Dropped).await {
            Ok(mut answer) => {
                *answer.status_mut() = error.status();
                Ok(answer)
            }
            Err(missing) => {
                tracing::debug!(document, error = %missing, "an error document can't be shown");
                Err(error)
            }
        }
    }

    /// A bucket that isn't there is as one that is no website: strangers don't learn which there are.
    async fn website(&self) -> S3Result<Website> {
        let bucket = self.target.bucket.as_deref().unwrap_or_default();
        let none = || S3Error::new(S3Code::NoSuchWebsiteConfiguration).extra("BucketName", bucket);
        match self.shared.meta.bucket_setting(bucket, SettingKind::Website).await {
            Ok(found) => Website::parse(found.text.ok_or_else(none)?.as_bytes()).map_err(S3Error::internal),
            Err(error) if error.kind() == ErrorKind::NotFound(Entity::Bucket) => Err(none()),
            Err(error) => Err(fault::meta(error)),
        }
    }

    /// What anybody who asked for this key would get.
    async fn read(&self, key: &str, wishes: Wishes) -> S3Result<Response<Body>> {
        names::check_key(key)?;
        let operation = match self.parts.method {
            Method::HEAD => Operation::HeadObject,
            _ => Operation::GetObject,
        };
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.parts.method.clone();
        parts.extensions = self.parts.extensions.clone();
        parts.headers = self.parts.headers.clone();
        let mut dropped: Vec<HeaderName> =
            parts.headers.keys().filter(|name| name.as_str().starts_with("x-amz-")).cloned().collect();
        dropped.push(AUTHORIZATION);
        if wishes == Wishes::Dropped {
            dropped.extend([
                RANGE,
                IF_RANGE,
                IF_MATCH,
                IF_NONE_MATCH,
                IF_MODIFIED_SINCE,
                IF_UNMODIFIED_SINCE,
            ]);
        }
        for name in dropped {
            parts.headers.remove(name);
        }
        let authenticated = self.shared.authenticator.authenticate(&parts).await?;
        let target = Target { bucket: self.target.bucket.clone(), key: Some(key.to_owned()) };
        let routed = Routed { parts: &parts, authenticated: &authenticated, operation, target: &target };
        let granted = Arc::new(authorize(self.shared, &routed).await?);
        let request = S3Request {
            parts,
            body: self.body.clone(),
            payload: authenticated.payload,
            target,
            query: authenticated.query,
            principal: authenticated.principal,
            granted,
        };
        perform(self.shared, operation, request).await
    }
}

fn redirect(to: &Redirection) -> S3Result<Response<Body>> {
    let mut answer = answer::empty(StatusCode::from_u16(to.status).map_err(S3Error::internal)?);
    answer::set(&mut answer, LOCATION, &to.location);
    Ok(answer)
}
