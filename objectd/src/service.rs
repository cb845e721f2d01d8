//! One request's way: authenticate, route, authorize, do, answer. In that order, always.

use crate::access_log::Visit;
use crate::answer::{self, RequestId};
use crate::arrival::{Arrival, TlsVersion};
use crate::audit::{self, Trace, Trail};
use crate::auth::uri::Query;
use crate::auth::{Authenticated, Principal};
use crate::authorize::{Granted, Routed, authorize, unrouted};
use crate::cors::CrossOrigin;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::iam;
use crate::lent_body::LentBody;
use crate::operation::Operation;
use crate::ops;
use crate::payload::{BodyPlan, PayloadAuth};
use crate::target::{Target, virtual_bucket};
use crate::website;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, ORIGIN, SERVER};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;

/// A request that may be served.
pub struct S3Request {
    pub parts: Parts,
    pub body: LentBody,
    /// How the body must be read.
    pub payload: PayloadAuth,
    pub target: Target,
    pub query: Query,
    pub principal: Principal,
    pub granted: Arc<Granted>,
}

impl S3Request {
    /// The bucket's name. Only operations on buckets and objects ask.
    pub fn bucket(&self) -> S3Result<&str> {
        self.target.bucket.as_deref().ok_or_else(|| S3Error::new(S3Code::InvalidBucketName))
    }

    /// The bucket's and the key's name. Only operations on objects ask.
    pub fn object(&self) -> S3Result<(&str, &str)> {
        let missing = || S3Error::with(S3Code::InvalidArgument, "The request names no key");
        Ok((self.bucket()?, self.target.key.as_deref().ok_or_else(missing)?))
    }

    pub fn header(&self, name: &'static str) -> S3Result<Option<&str>> {
        crate::auth::single_header(&self.parts.headers, &HeaderName::from_static(name))
    }

    /// The whole body, a small document such as XML, of at most `max_bytes`. It can be read once.
    ///
    /// Errors: as of [`BodyPlan::document`], and whatever is wrong with the body.
    pub async fn document(&self, max_bytes: usize) -> S3Result<Bytes> {
        let plan = BodyPlan::document(&self.parts, self.payload.clone(), max_bytes as u64)?;
        let (body, _) = plan.reader(self.body.clone()).collect().await?;
        Ok(body)
    }
}

/// Answers one request. Never fails: errors are answers too.
/// `ambiguous` says that the head's body could be delimited in two ways (HOSTILE 12).
pub async fn answer(shared: &Arc<Shared>, request: Request<Incoming>, ambiguous: bool) -> Response<Body> {
    let began = shared.clock.now();
    let id = shared.next_request();
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(id);
    let arrival = parts.extensions.get::<Arrival>().copied();
    let visit = Visit::begin(shared, &parts, (id, began));
    let head = Head {
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        expects: parts.headers.contains_key(EXPECT),
        id,
    };
    let page = Page::of(shared, &parts);
    let body = LentBody::new(body);
    let expects = head.expects.then(|| body.clone());
    let way = Way::of(shared, &parts, page.is_some());
    let mut trail = Trail::begin(shared, (&parts, id), way.service());
    let result = match trail.refusal() {
        Some(refusal) => Err(refusal),
        None if ambiguous => {
            let why = "A request has one Content-Length or one Transfer-Encoding";
            Err(S3Error::with(S3Code::InvalidRequest, why))
        }
        None => go(shared, way, (parts, body), id, &mut trail.trace).await,
    };
    let operation = trail.trace.operation;
    let lines = visit.lines(shared, &trail.trace);
    if let Some(principal) = &trail.trace.proven {
        shared.key_uses.note(principal, way.service().unwrap_or("s3"), shared.now_ms());
    }
    let answer_error = |error: &S3Error| {
        log_error(&head, operation, error);
        let mut answer = way.error(shared, &head, error);
        if error.code() == S3Code::RequestTimeout || ambiguous {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    };
    let (mut answer, error) = match result {
        Ok(answer) => (answer, None),
        Err(error) => (answer_error(&error), Some(error)),
    };
    let mut code = error.as_ref().map(|error| error.code().as_str());
    if let Err(error) = trail.end(&answer, error.as_ref()).await {
        answer = answer_error(&error);
        code = Some(error.code().as_str());
    }
    if expects.is_some_and(|body| !body.was_continued()) {
        // Botocore takes the status of an answer that no 100 came before for that of the connection's next answer too.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(page) = page {
        page.let_see(shared, &head, &mut answer).await;
    }
    if head.method == Method::HEAD {
        answer = answer::without_body(answer);
    }
    finish(shared, &head, &mut answer);
    let took = shared.clock.now().since(began);
    shared.metrics.answered(operation, answer.status(), took);
    tracing::debug!(
        request = %id,
        peer = arrival.map(|arrival| tracing::field::display(arrival.peer)),
        tls = arrival.and_then(|arrival| arrival.tls).map(TlsVersion::as_str),
        method = %head.method,
        operation = operation.unwrap_or("none"),
        status = answer.status().as_u16(),
        took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    match lines {
        Some(lines) => lines.end(answer, code),
        None => answer,
    }
}

/// Which of the gateway's faces a request is for.
#[derive(Clone, Copy)]
enum Way {
    /// A bucket's website.
    Site,
    /// A call of IAM or STS, and which it says it is signed for.
    Call(Option<&'static str>),
    /// What a browser asks before a page of another site may.
    Preflight,
    S3,
}

impl Way {
    fn of(shared: &Shared, parts: &Parts, is_of_page: bool) -> Self {
        if parts.method == Method::OPTIONS && is_of_page {
            Self::Preflight
        } else if site_of(shared, parts) {
            Self::Site
        } else if iam::is_call(parts, &shared.bases) {
            Self::Call(iam::claimed_service(parts))
        } else {
            Self::S3
        }
    }

    fn service(self) -> Option<&'static str> {
        if let Self::Call(service) = self { service } else { None }
    }

    fn error(self, shared: &Shared, head: &Head, error: &S3Error) -> Response<Body> {
        match self {
            Self::Site => website::error_page(error, head.id, &shared.host_id),
            Self::Call(service) => iam::error(error, service, head.id),
            Self::Preflight | Self::S3 => answer::error(error, &head.path, head.id, &shared.host_id),
        }
    }
}

async fn go(
    shared: &Arc<Shared>,
    way: Way,
    (parts, body): (Parts, LentBody),
    id: RequestId,
    trace: &mut Trace,
) -> S3Result<Response<Body>> {
    match way {
        // Boxed: these are rare, and every request of S3 would carry the room for them.
        Way::Site => Box::pin(serve_site(shared, parts, body, trace)).await,
        Way::Call(_) => Box::pin(serve_call(shared, parts, body, id, trace)).await,
        Way::Preflight => ops::cors::preflight(shared, &parts, target_of(shared, &parts)).await,
        // Boxed too, or its future would be copied into this one, and that into its caller's, at every request.
        Way::S3 => Box::pin(serve(shared, parts, body, trace)).await,
    }
}

struct Head {
    method: Method,
    path: String,
    /// Whether its client waits for a `100 Continue`.
    expects: bool,
    id: RequestId,
}

/// The page of another site that a browser asks for, and what it asks of.
struct Page {
    origin: String,
    target: S3Result<Target>,
}

impl Page {
    fn of(shared: &Shared, parts: &Parts) -> Option<Self> {
        let origin = crate::auth::single_header(&parts.headers, &ORIGIN).ok()??.to_owned();
        Some(Self { origin, target: target_of(shared, parts) })
    }

    /// Preflights have answered for themselves.
    async fn let_see(self, shared: &Shared, head: &Head, answer: &mut Response<Body>) {
        if head.method != Method::OPTIONS {
            let asked = CrossOrigin { origin: &self.origin, method: head.method.as_str(), headers: "" };
            ops::cors::show(shared, asked, self.target, answer).await;
        }
    }
}

async fn serve(
    shared: &Arc<Shared>,
    parts: Parts,
    mut body: LentBody,
    trace: &mut Trace,
) -> S3Result<Response<Body>> {
    let expects = parts.headers.contains_key(EXPECT);
    let (mut began, mut is_form) = (false, false);
    let result = match begin(shared, &parts, trace).await {
        Ok(Begun::Form(target, authenticated)) => {
            is_form = true;
            ops::post::post(shared, &parts, (target, authenticated), body.clone(), trace).await
        }
        Ok(Begun::Granted(granted)) => {
            let (authenticated, target, granted, operation) = *granted;
            began = true;
            let Authenticated { principal, payload, query, .. } = authenticated;
            let granted = Arc::new(granted);
            let request = S3Request { parts, body: body.clone(), payload, target, query, principal, granted };
            ops::perform(shared, operation, request).await
        }
        Err(error) => Err(error),
    };
    // What follows a form's file is nothing, and still has to come before the next request.
    if result.is_err() || is_form {
        drain(expects, began, &mut body).await;
    }
    result
}

/// Whether a request is to a website's host.
fn site_of(shared: &Shared, parts: &Parts) -> bool {
    host_of(parts).is_ok_and(|host| virtual_bucket(host, &shared.website_bases).is_some())
}

/// A visit to a website.
async fn serve_site(
    shared: &Arc<Shared>,
    parts: Parts,
    mut body: LentBody,
    trace: &mut Trace,
) -> S3Result<Response<Body>> {
    trace.operation = Some("WebsiteVisit");
    trace.proven = Some(Principal::Anonymous);
    let expects = parts.headers.contains_key(EXPECT);
    let result = match target_of(shared, &parts) {
        Ok(target) => {
            trace.resource = audit::arn(&target);
            ops::website::Visit { shared, parts: &parts, body: &body, target }.answer().await
        }
        Err(error) => Err(error),
    };
    drain(expects, false, &mut body).await;
    result
}

/// A call of IAM or STS.
async fn serve_call(
    shared: &Shared,
    parts: Parts,
    mut body: LentBody,
    id: RequestId,
    trace: &mut Trace,
) -> S3Result<Response<Body>> {
    let expects = parts.headers.contains_key(EXPECT);
    let result = iam::serve(shared, &parts, &mut body, id, trace).await;
    if result.is_err() {
        drain(expects, false, &mut body).await;
    }
    result
}

/// What a head came to.
enum Begun {
    Granted(Box<(Authenticated, Target, Granted, Operation)>),
    /// Who asks, and for which key, is in the body.
    Form(Target, Authenticated),
}

/// All that is decided from the head alone. Nothing of the body is read before it, so a client that expects a
/// `100 Continue` gets its refusal instead.
async fn begin(shared: &Shared, parts: &Parts, trace: &mut Trace) -> S3Result<Begun> {
    let authenticated = shared.authenticator.authenticate(parts).await?;
    trace.proven = Some(authenticated.principal.clone());
    let (target, operation) = route(shared, parts, &authenticated.query)
        .map_err(|error| unrouted(&authenticated.principal, error))?;
    trace.operation = Some(operation.name());
    if operation == Operation::PostObject {
        return match authenticated.principal {
            Principal::Anonymous => Ok(Begun::Form(target, authenticated)),
            // A form's signature is in the form.
            Principal::Key { .. } => Err(S3Error::new(S3Code::MethodNotAllowed)),
        };
    }
    let asked = Routed { parts, authenticated: &authenticated, operation, target: &target };
    let granted = authorize(shared, &asked).await?;
    Ok(Begun::Granted(Box::new((authenticated, target, granted, operation))))
}

fn route(shared: &Shared, parts: &Parts, query: &Query) -> S3Result<(Target, Operation)> {
    let target = target_of(shared, parts)?;
    let operation = Operation::route(&parts.method, &target, query, &parts.headers)?;
    Ok((target, operation))
}

fn target_of(shared: &Shared, parts: &Parts) -> S3Result<Target> {
    let host = host_of(parts)?;
    let bases = if site_of(shared, parts) { &shared.website_bases } else { &shared.bases };
    Target::parse(host, parts.uri.path(), bases)
}

fn host_of(parts: &Parts) -> S3Result<&str> {
    let host = crate::auth::single_header(&parts.headers, &HOST)?.unwrap_or_default();
    Ok(parts.uri.authority().map_or(host, |authority| authority.as_str()))
}

/// Reads away what is left of a failed request's body, so that its client sees the answer. Never for a client
/// that waits to be told to go on; for strangers, little.
async fn drain(expects: bool, began: bool, body: &mut LentBody) {
    use crate::limits::{DRAIN_BYTES, DRAIN_TIMEOUT, REFUSED_DRAIN_BYTES};
    if !expects || body.was_asked() {
        let max = if began { DRAIN_BYTES } else { REFUSED_DRAIN_BYTES };
        body.drain(max, DRAIN_TIMEOUT).await;
    }
}

fn log_error(head: &Head, operation: Option<&'static str>, error: &S3Error) {
    let operation = operation.unwrap_or("none");
    let (code, cause) = (error.code().as_str(), fault::cause(error));
    if error.status().is_server_error() && error.code() != S3Code::NotImplemented {
        tracing::error!(request = %head.id, operation, code, message = error.message(), cause, "a request failed");
    } else {
        tracing::debug!(request = %head.id, operation, code, message = error.message(), cause, "refused");
    }
}

/// What every answer carries.
fn finish(shared: &Shared, head: &Head, answer: &mut Response<Body>) {
    answer::set(answer, HeaderName::from_static("x-amz-request-id"), &head.id.to_string());
    answer::set(answer, HeaderName::from_static("x-amz-id-2"), &shared.host_id);
    // The date is set by hyper, which writes each second's only once.
    answer.headers_mut().insert(SERVER, HeaderValue::from_static("Ashlar"));
    if answer.status() == StatusCode::NO_CONTENT {
        answer.headers_mut().remove(CONTENT_LENGTH);
    }
}
