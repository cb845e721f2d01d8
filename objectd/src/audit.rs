//! What of a request goes into the audit log: all that change something, and all that are denied.

use crate::answer::RequestId;
use crate::arrival::Arrival;
use crate::auth::Principal;
use crate::auth::uri::Query;
use crate::error::{S3Code, S3Error};
use crate::gateway::Shared;
use crate::target::Target;
use axum::body::Body;
use http::header::{AUTHORIZATION, HOST, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, Response, Uri};
use meta::audit::{Entry, Item, Outcome, Who, cut, outcome};
use meta::limits::MAX_LABEL_BYTES;
use std::sync::Arc;

/// As nginx has it: nobody was there any more to be answered.
const CLIENT_GONE: u16 = 499;

/// What is found out about a request on its way.
#[derive(Default)]
pub struct Trace {
    pub operation: Option<&'static str>,
    /// Whose signature was right, or nobody where none was needed.
    pub proven: Option<Principal>,
    /// What it is about, if its head does not say.
    pub resource: Option<String>,
}

/// What became of each of the objects that a request named, as an extension of its answer.
#[derive(Debug, Clone)]
pub struct Items(pub Arc<Vec<Item>>);

/// A request's line, until it is written. Most requests get none, so it is made of the head's parts at the end only.
pub struct Trail {
    shared: Arc<Shared>,
    id: RequestId,
    arrival: Option<Arrival>,
    uri: Uri,
    /// Of the head, those that a line needs.
    headers: [Option<HeaderValue>; 3],
    service: &'static str,
    is_change: bool,
    pub trace: Trace,
}

impl Trail {
    /// `service` is that of a call of IAM or STS.
    pub fn begin(
        shared: &Arc<Shared>,
        (parts, id): (&Parts, RequestId),
        service: Option<&'static str>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            id,
            arrival: parts.extensions.get::<Arrival>().copied(),
            uri: parts.uri.clone(),
            headers: [HOST, USER_AGENT, AUTHORIZATION].map(|name| parts.headers.get(name).cloned()),
            service: service.unwrap_or("s3"),
            is_change: !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS),
            trace: Trace::default(),
        }
    }

    /// Why nothing may be changed now: nobody would know who did it.
    pub fn refusal(&self) -> Option<S3Error> {
        let why = self.shared.audit.as_ref().filter(|_| self.is_change)?.trouble()?;
        let why = format!("Nothing is changed as long as the audit log can't be written: {why}");
        Some(S3Error::with(S3Code::ServiceUnavailable, why))
    }

    /// Writes the line, if the request is one that gets a line.
    ///
    /// Errors: it was a change, and can't be written.
    pub fn end(
        mut self,
        answer: &Response<Body>,
        error: Option<&S3Error>,
    ) -> impl Future<Output = Result<(), S3Error>> + Send + use<> {
        let status = answer.status().as_u16();
        let is_change = std::mem::take(&mut self.is_change);
        let log = self.shared.audit.clone().filter(|_| is_change || outcome(status) == Outcome::Denied);
        let line = log.map(|log| {
            let mut line = self.line(status, error.map(|error| error.code().as_str()));
            if let Some(Items(items)) = answer.extensions().get() {
                line.items = items.to_vec();
            }
            (log, line)
        });
        async move {
            let Some((log, line)) = line else { return Ok(()) };
            match log.record(line).await {
                Err(error) if is_change => {
                    let why = "It may be done, and the audit log can't be written";
                    Err(S3Error::with(S3Code::InternalError, why).source(error))
                }
                _ => Ok(()),
            }
        }
    }

    fn line(&mut self, status: u16, error: Option<&str>) -> Entry {
        let [host, agent, authorization] = &self.headers;
        let text = |value: &Option<HeaderValue>| {
            value.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let host = text(host).unwrap_or_default();
        let target = Target::parse(&host, self.uri.path(), &self.shared.bases).ok();
        Entry {
            who: who(self.trace.proven.as_ref(), text(authorization).as_deref(), &self.uri),
            from: self.arrival.map(|arrival| arrival.peer.to_string()),
            tls: self.arrival.and_then(|arrival| arrival.tls).map(|tls| tls.as_str().to_owned()),
            user_agent: text(agent).map(|agent| cut(&agent)),
            resource: self.trace.resource.take().or_else(|| arn(&target?)),
            request: Some(self.id.to_string()),
            status,
            outcome: outcome(status),
            error: error.map(str::to_owned),
            ..Entry::of_daemon(
                &format!("{}:{}", self.service, self.trace.operation.unwrap_or("Unknown")),
                None,
            )
        }
    }
}

impl Drop for Trail {
    /// A client that hung up is no reason to forget what it may have changed.
    fn drop(&mut self) {
        if let Some(log) = self.shared.audit.clone().filter(|_| self.is_change) {
            let line = self.line(CLIENT_GONE, Some("ClientGone"));
            log.note(line);
        }
    }
}

pub fn arn(target: &Target) -> Option<String> {
    let bucket = target.bucket.as_deref()?;
    let key = target.key.as_deref().map_or(String::new(), |key| format!("/{key}"));
    Some(format!("arn:aws:s3:::{bucket}{key}"))
}

fn who(proven: Option<&Principal>, authorization: Option<&str>, uri: &Uri) -> Who {
    match proven {
        Some(Principal::Key { access_key_id, holder, .. }) => {
            Who::Key { arn: holder.arn(), account: holder.account.clone(), access_key: access_key_id.clone() }
        }
        Some(Principal::Anonymous) => Who::Anonymous,
        None => {
            claimed_key(authorization, uri).map_or(Who::Anonymous, |access_key| Who::Unproven { access_key })
        }
    }
}

/// The access key that a request names, whether its sender has it or not.
fn claimed_key(authorization: Option<&str>, uri: &Uri) -> Option<String> {
    let of_credential = |credential: &str| credential.split('/').next().map(str::to_owned);
    let in_header = authorization.and_then(|text| of_credential(text.split_once("Credential=")?.1));
    let in_query = || of_credential(Query::parse(uri.query()).ok()?.get("X-Amz-Credential")?);
    let is_key = |key: &String| {
        !key.is_empty()
            && key.len() <= MAX_LABEL_BYTES
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    in_header.or_else(in_query).filter(is_key)
}
