//! Audit logs: where a daemon's is, how much of it is kept, and what of the admin API goes into it.

use crate::error::{Error, Exit};
use crate::limits::{AUDIT_KEEP_BYTES, AUDIT_KEEP_DAYS, MAX_BODY_BYTES};
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use meta::audit::{AuditConfig, AuditLog, Entry, Outcome, Who, cut_to, outcome};
use meta::limits::MAX_AUDIT_DETAIL_BYTES;
use rt::clock::SystemClock;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// The name of the control plane's log.
pub const CONTROL_PLANE: &str = "control-plane";

/// How much of a log is kept, of the two bounds the one that is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    pub days: u32,
    pub bytes: u64,
}

impl Keep {
    /// Of days and sizes as flags have them, and as the config file below them does.
    pub fn resolve(days: [Option<u32>; 2], sizes: [Option<&String>; 2]) -> Result<Self, Error> {
        let days = days.into_iter().flatten().next().unwrap_or(AUDIT_KEEP_DAYS);
        let size = sizes.into_iter().flatten().next();
        if days == 0 {
            return Err(Error::usage("audit-keep-days is 1 at least"));
        }
        let bytes = size.map_or(Ok(AUDIT_KEEP_BYTES), |text| {
            proto::size::parse(text).map_err(|error| Error::usage(format!("audit-keep-size: {error}")))
        })?;
        Ok(Self { days, bytes })
    }

    /// Opens a daemon's log, one of those in `dir`.
    pub fn open(self, dir: &Path, name: &str) -> Result<Arc<AuditLog>, Error> {
        let config = AuditConfig { dir: dir.join(name), keep_days: self.days, keep_bytes: self.bytes };
        Ok(Arc::new(AuditLog::open(config, Arc::new(SystemClock))?))
    }
}

/// Tells of every request to the admin API that changes something, to its end even if the client hangs up.
pub async fn changes(
    State(log): State<Arc<AuditLog>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::GET {
        return next.run(request).await;
    }
    let done = tokio::spawn(change(log, peer, request, next)).await;
    done.unwrap_or_else(|error| Error::failed(format!("the daemon failed inside: {error}")).into_response())
}

async fn change(log: Arc<AuditLog>, peer: SocketAddr, request: Request, next: Next) -> Response {
    if let Some(why) = log.trouble() {
        let why = format!("nothing is changed as long as the audit log can't be written: {why}");
        return Error::new(Exit::Unavailable, why).into_response();
    }
    let mut line = line(&request, peer, Who::Admin);
    let (parts, body) = request.into_parts();
    let body = match axum::body::to_bytes(body, MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(error) => {
            return Error::usage(format!("the request's body can't be read: {error}")).into_response();
        }
    };
    line.detail = (!body.is_empty()).then(|| cut_to(&without_token(&body), MAX_AUDIT_DETAIL_BYTES));
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    line.status = response.status().as_u16();
    line.outcome = outcome(line.status);
    match log.record(line).await {
        Err(error) if response.status().is_success() => {
            let why = format!("it is done, and the audit log can't be written: {error}");
            Error::failed(why).into_response()
        }
        _ => response,
    }
}

/// A body as it is told: a secret in it is nobody's who reads the log.
fn without_token(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(mut fields)) if fields.get("token").is_some_and(|token| !token.is_null()) => {
            fields.insert("token".to_owned(), Value::from("redacted"));
            Value::Object(fields).to_string()
        }
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}

/// Tells of every request to the admin API that is refused, whatever it asks for.
pub async fn refusals(
    State(log): State<Arc<AuditLog>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let mut line = line(&request, peer, Who::Anonymous);
    let response = next.run(request).await;
    line.status = response.status().as_u16();
    line.outcome = outcome(line.status);
    if line.outcome == Outcome::Denied {
        // It is refused whether it can be told or not.
        let _ = log.record(line).await;
    }
    response
}

fn line(request: &Request, peer: SocketAddr, who: Who) -> Entry {
    let path = cut_to(request.uri().path(), MAX_AUDIT_DETAIL_BYTES);
    Entry {
        who,
        from: Some(peer.to_string()),
        ..Entry::of_daemon(&format!("admin:{}", request.method()), Some(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_told() {
        let told = without_token(br#"{"name":"a","token":"se\u0063ret"}"#);
        assert_eq!(told, r#"{"name":"a","token":"redacted"}"#);
        for same in [r#"{"name":"a","token":null}"#, r#"{ "size_bytes": 1 }"#, "no JSON"] {
            assert_eq!(without_token(same.as_bytes()), same);
        }
    }
}
