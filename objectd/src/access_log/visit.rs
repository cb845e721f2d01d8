//! A request as its log line sees it: its head when it comes, the rest when the last byte of its answer went.

use super::collect::{Collector, Known};
use super::line::{Line, operation};
use crate::answer::RequestId;
use crate::arrival::{Arrival, TlsVersion};
use crate::audit::{Items, Trace};
use crate::auth::{Principal, Who};
use crate::copy_source::CopySource;
use crate::gateway::Shared;
use crate::target::{Target, virtual_bucket};
use axum::body::Body;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, HOST, REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Method, Response, Uri, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use rt::clock::{Clock, Instant};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A request whose bucket may log.
pub struct Visit {
    id: RequestId,
    began: Instant,
    time_ms: u64,
    method: Method,
    uri: Uri,
    version: Version,
    /// All of the head's, which share their bytes with it.
    headers: HeaderMap,
    arrival: Option<Arrival>,
}

impl Visit {
    pub fn begin(shared: &Shared, parts: &Parts, (id, began): (RequestId, Instant)) -> Self {
        Self {
            id,
            began,
            time_ms: shared.now_ms(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            headers: parts.headers.clone(),
            arrival: parts.extensions.get::<Arrival>().copied(),
        }
    }

    /// The lines of a request to a bucket that logs, to be ended with its answer. What is found out on its way is in
    /// `trace`.
    pub fn lines(self, shared: &Shared, trace: &Trace) -> Option<Lines> {
        if shared.access_log.is_idle() {
            return None;
        }
        let host = self.header(HOST.as_str()).unwrap_or_default();
        let sites = virtual_bucket(&host, &shared.website_bases).is_some();
        let bases = if sites { &shared.website_bases } else { &shared.bases };
        let target = Target::parse(&host, self.uri.path(), bases).ok()?;
        let bucket = target.bucket?;
        let copied = self.copied(shared, trace);
        let known = shared.access_log.known(&bucket);
        if known.is_none() && copied.is_none() {
            return None;
        }
        let requester = match &trace.proven {
            Some(Principal::Key { owner, holder, .. }) => match &holder.who {
                Who::Root => Some(owner.clone()),
                Who::User(_) | Who::Role { .. } | Who::Federated { .. } => Some(holder.arn()),
            },
            Some(Principal::Anonymous) | None => None,
        };
        let signed = matches!(trace.proven, Some(Principal::Key { .. }));
        let in_header = self.headers.contains_key(AUTHORIZATION);
        let line = Line {
            owner: known.as_ref().map(|known| known.owner.clone()).unwrap_or_default(),
            bucket,
            time_ms: self.time_ms,
            remote: self.arrival.map(|arrival| arrival.address().to_string()),
            requester,
            request: self.id.to_string(),
            operation: operation(trace.operation, self.method.as_str(), target.key.is_some()),
            key: target.key,
            uri: Some(self.request_uri()),
            referer: self.header(REFERER.as_str()),
            agent: self.header(USER_AGENT.as_str()),
            version: self.version_id(),
            host_id: shared.host_id.clone(),
            signature: signed.then_some("SigV4"),
            auth: signed.then_some(if in_header { "AuthHeader" } else { "QueryString" }),
            host: Some(host),
            tls: self.arrival.and_then(|arrival| arrival.tls).map(|version| match version {
                TlsVersion::V1_2 => "TLSv1.2",
                TlsVersion::V1_3 => "TLSv1.3",
            }),
            ..Line::default()
        };
        Some(Lines {
            size: self.sent_size(trace),
            line,
            known,
            copied,
            began: self.began,
            collector: Arc::clone(&shared.access_log),
            clock: Arc::clone(&shared.clock),
        })
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// Without what would let a reader of the log repeat a presigned request.
    fn request_uri(&self) -> String {
        let query = self.uri.query().map_or(String::new(), |query| {
            let hidden = |pair: &str| match pair.split_once('=') {
                Some((name, _)) if SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret)) => {
                    format!("{name}=REDACTED")
                }
                _ => pair.to_owned(),
            };
            format!("?{}", query.split('&').map(hidden).collect::<Vec<_>>().join("&"))
        });
        format!("{} {}{query} {:?}", self.method, self.uri.path(), self.version)
    }

    fn version_id(&self) -> Option<String> {
        let query = crate::auth::uri::Query::parse(self.uri.query()).ok()?;
        query.get("versionId").map(str::to_owned)
    }

    /// The size of an object that the request brings.
    fn sent_size(&self, trace: &Trace) -> Option<u64> {
        if !matches!(trace.operation, Some("PutObject" | "UploadPart")) {
            return None;
        }
        let decoded = self.header("x-amz-decoded-content-length");
        decoded.or_else(|| self.header(CONTENT_LENGTH.as_str()))?.parse().ok()
    }

    /// The object that a copy reads, if its bucket logs.
    fn copied(&self, shared: &Shared, trace: &Trace) -> Option<(CopySource, Known)> {
        if !matches!(trace.operation, Some("CopyObject" | "UploadPartCopy")) {
            return None;
        }
        let source = CopySource::of(&self.headers).ok()??;
        let known = shared.access_log.known(&source.bucket)?;
        Some((source, known))
    }
}

const SECRET: [&str; 2] = ["X-Amz-Signature", "X-Amz-Security-Token"];

/// The lines of a request that is being answered.
pub struct Lines {
    line: Line,
    /// Of the line's bucket, if that logs.
    known: Option<Known>,
    copied: Option<(CopySource, Known)>,
    size: Option<u64>,
    began: Instant,
    collector: Arc<Collector>,
    clock: Arc<dyn Clock>,
}

impl Lines {
    /// Has them written when the answer's last byte was given away, or its client left.
    pub fn end(mut self, answer: Response<Body>, error: Option<&'static str>) -> Response<Body> {
        self.line.status = Some(answer.status().as_u16());
        self.line.error = error.map(str::to_owned);
        self.line.turnaround_ms = Some(self.took_ms());
        self.line.size = self.size.or_else(|| size_of(&self.line, &answer));
        let items = answer.extensions().get::<Items>().map(|Items(items)| Arc::clone(items));
        if let (Some(known), Some(items)) = (&self.known, items) {
            for item in items.iter() {
                let line = Line {
                    operation: "BATCH.DELETE.OBJECT".to_owned(),
                    key: Some(item.key.clone()),
                    version: item.version.clone(),
                    uri: None,
                    status: Some(if item.error.is_some() { self.line.status.unwrap_or(200) } else { 204 }),
                    error: item.error.clone(),
                    turnaround_ms: None,
                    size: None,
                    ..self.line.clone()
                };
                self.collector.push(known.id, &line);
            }
        }
        let (parts, body) = answer.into_parts();
        Response::from_parts(parts, Body::new(Counted { body, sent: 0, lines: Some(self) }))
    }

    fn took_ms(&self) -> u64 {
        u64::try_from(self.clock.now().since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    fn done(mut self, sent: u64) {
        self.line.sent = sent;
        self.line.total_ms = Some(self.took_ms());
        if let Some((source, known)) = self.copied.take() {
            let line = Line {
                owner: known.owner,
                bucket: source.bucket,
                operation: format!("{}_GET", self.line.operation),
                key: Some(source.key),
                version: source.version.map(|version| version.to_string()),
                sent: 0,
                size: None,
                ..self.line.clone()
            };
            self.collector.push(known.id, &line);
        }
        if let Some(known) = &self.known {
            self.collector.push(known.id, &self.line);
        }
    }
}

/// The whole size of an object that is read, as its answer says it.
fn size_of(line: &Line, answer: &Response<Body>) -> Option<u64> {
    if !line.operation.ends_with(".OBJECT") || !matches!(answer.status().as_u16(), 200 | 206) {
        return None;
    }
    let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    match text(CONTENT_RANGE) {
        Some(range) => range.rsplit_once('/')?.1.parse().ok(),
        None if line.operation.contains(".GET.") || line.operation.contains(".HEAD.") => {
            text(CONTENT_LENGTH).and_then(|length| length.parse().ok()).or(answer.body().size_hint().exact())
        }
        None => None,
    }
}

/// A body that counts what was taken of it.
struct Counted {
    body: Body,
    sent: u64,
    lines: Option<Lines>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(lines) = self.lines.take() {
            lines.done(self.sent);
        }
    }
}
