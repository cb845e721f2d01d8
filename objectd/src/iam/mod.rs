//! IAM and STS at the S3 endpoint, in AWS's Query API: a form that is posted to `/`, answered in XML.
//!
//! The signature is made for the service `iam` or `sts`, never `s3`, over the body's hash; so the body is read, up to
//! a bound, before its sender is known, but not before a key is named that exists. No call of S3 is a form posted to `/`, and a signature of one service is none
//! of another.
//!
//! Source: IAM API reference, "Making query requests"; STS API reference.

mod account;
mod action;
mod boundary;
mod call;
mod fault;
mod identities;
mod keys;
mod managed;
mod sts;
mod tags;
mod versions;

use crate::answer::{self, RequestId};
use crate::arrival::Arrival;
use crate::audit::Trace;
use crate::auth::uri::Query;
use crate::auth::{Authenticated, Who, single_header};
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Shared;
use crate::lent_body::LentBody;
use crate::limits::{BODY_TIMEOUT, MAX_CALL_BYTES};
use crate::target::Target;
use crate::xml::XmlWriter;
use action::{Action, Do, Service};
use axum::body::Body;
use bytes::{Buf as _, BytesMut};
use call::Call;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use http_body_util::BodyExt as _;
use meta::audit::cut;
use std::pin::Pin;

/// Whether this is a call of IAM or STS: a form posted to no bucket.
pub fn is_call(parts: &Parts, bases: &[String]) -> bool {
    let form = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = parts.uri.authority().map_or(host, |authority| authority.as_str());
    let no_bucket =
        || Target::parse(host, parts.uri.path(), bases).is_ok_and(|target| target.bucket.is_none());
    form && parts.method == Method::POST && parts.uri.query().is_none() && no_bucket()
}

/// Serves one.
pub async fn serve(
    shared: &Shared,
    parts: &Parts,
    body: &mut LentBody,
    id: RequestId,
    trace: &mut Trace,
) -> Result<Response<Body>, S3Error> {
    let found = begin(shared, parts, body).await.map_err(fault::translated)?;
    let Begun { action, form, authenticated } = found;
    trace.proven = Some(authenticated.principal.clone());
    (trace.operation, trace.resource) = (Some(action.name), named(&form));
    let arrival = parts.extensions.get::<Arrival>().copied();
    let arrival = arrival.ok_or_else(|| S3Error::internal("a request came without its peer's address"))?;
    let sent = (&parts.headers, arrival);
    let call = Call::new(shared, action, &form, &authenticated.principal, sent)?;
    let performed: Performing<'_> = Box::pin(perform(&call));
    let mut xml = performed.await.map_err(fault::translated)?;
    xml.start("ResponseMetadata");
    xml.text("RequestId", &id.to_string());
    Ok(text_xml(xml))
}

/// An error's answer.
pub fn error(error: &S3Error, service: Option<&str>, id: RequestId) -> Response<Body> {
    let iam = [Service::Iam, Service::Sts].into_iter().find(|known| Some(known.scope()) == service);
    let mut xml = XmlWriter::in_namespace("ErrorResponse", iam.unwrap_or(Service::Iam).namespace());
    xml.start("Error");
    xml.text("Type", if error.status().is_server_error() { "Receiver" } else { "Sender" });
    xml.text("Code", error.code().as_str());
    xml.text("Message", error.message());
    xml.end();
    xml.text("RequestId", &id.to_string());
    let mut answer = text_xml(xml);
    *answer.status_mut() = error.status();
    answer
}

fn text_xml(xml: XmlWriter) -> Response<Body> {
    let mut answer = answer::xml(xml);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    answer
}

/// The service that a request says it is signed for; nothing of it is verified.
pub fn claimed_service(parts: &Parts) -> Option<&'static str> {
    let header = parts.headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let services = [Service::Iam, Service::Sts].map(Service::scope);
    services.into_iter().find(|service| header.contains(&format!("/{service}/aws4_request")))
}

/// What a call is about, of what it says: never a document or a secret.
fn named(form: &Query) -> Option<String> {
    const NAMES: [&str; 12] = [
        "UserName",
        "GroupName",
        "RoleName",
        "NewUserName",
        "NewGroupName",
        "NewPath",
        "VersionId",
        "PermissionsBoundary",
        "PolicyName",
        "PolicyArn",
        "RoleArn",
        "AccessKeyId",
    ];
    let said = NAMES.iter().filter_map(|name| Some(format!("{name}={}", cut(form.get(name)?))));
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join(" "))
}

/// What a call does; its type is erased, since all of them in one are more than the compiler follows.
type Performing<'a> = Pin<Box<dyn Future<Output = S3Result<XmlWriter>> + Send + 'a>>;

struct Begun {
    action: &'static Action,
    form: Query,
    authenticated: Authenticated,
}

async fn begin(shared: &Shared, parts: &Parts, body: &mut LentBody) -> S3Result<Begun> {
    if single_header(&parts.headers, &CONTENT_ENCODING)?.is_some() {
        return Err(S3Error::with(S3Code::InvalidRequest, "A form has no Content-Encoding"));
    }
    let service = claimed_service(parts).ok_or_else(|| {
        let signed = parts.headers.contains_key(http::header::AUTHORIZATION);
        if signed {
            let why = "Credential should be scoped to the service 'iam' or 'sts'";
            S3Error::with(S3Code::SignatureDoesNotMatch, why)
        } else {
            S3Error::with(S3Code::MissingAuthenticationToken, "Request is missing Authentication Token")
        }
    })?;
    let begun = shared.authenticator.begin(parts, service).await?;
    let bytes = read(body).await?;
    let authenticated = begun.finish(parts, &bytes)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| S3Error::new(S3Code::InvalidURI).source(error))?;
    let form = Query::parse_form(text)?;
    let unknown = |name: &str, version: &str| {
        let why = format!("Could not find operation {name} for version {version}");
        S3Error::with(S3Code::InvalidAction, why)
    };
    let (name, version) = (form.get("Action").unwrap_or_default(), form.get("Version").unwrap_or_default());
    let action = Action::find(name, version).ok_or_else(|| unknown(name, version))?;
    if action.service.scope() != service {
        let why = format!("Credential should be scoped to correct service: '{}'.", action.service.scope());
        return Err(S3Error::with(S3Code::SignatureDoesNotMatch, why));
    }
    // AWS: what GetSessionToken gave, without a second factor, is for other services than these.
    // What GetFederationToken gave is for S3 only.
    let may = match authenticated.principal.who() {
        Some(Who::Role { .. }) => true,
        Some(Who::Federated { .. }) => action.does == Do::CallerIdentity,
        _ => {
            let few = matches!(
                action.does,
                Do::CallerIdentity | Do::AssumeRole | Do::SessionToken | Do::FederationToken
            );
            few || !authenticated.principal.is_temporary()
        }
    };
    if !may {
        return Err(S3Error::new(S3Code::InvalidToken));
    }
    Ok(Begun { action, form, authenticated })
}

async fn read(body: &mut LentBody) -> S3Result<bytes::Bytes> {
    let reading = async {
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| S3Error::new(S3Code::IncompleteBody).source(error))?;
            let Ok(data) = frame.into_data() else { continue };
            if all.len() + data.remaining() > MAX_CALL_BYTES {
                return Err(S3Error::new(S3Code::MaxMessageLengthExceeded));
            }
            all.extend_from_slice(&data);
        }
        Ok(all.freeze())
    };
    tokio::time::timeout(BODY_TIMEOUT, reading).await.map_err(|_| S3Error::new(S3Code::RequestTimeout))?
}

async fn perform(call: &Call<'_>) -> S3Result<XmlWriter> {
    match call.action.does {
        Do::Create(kind) => identities::create(call, kind).await,
        Do::Get(kind) => identities::get(call, kind).await,
        Do::List(kind) => identities::list(call, kind).await,
        Do::Delete(kind) => identities::delete(call, kind).await,
        Do::PutInline(kind) => identities::put_inline(call, kind).await,
        Do::GetInline(kind) => identities::get_inline(call, kind).await,
        Do::ListInline(kind) => identities::list_inline(call, kind).await,
        Do::DeleteInline(kind) => identities::delete_inline(call, kind).await,
        Do::UpdateTrust => identities::update_trust(call).await,
        Do::Update(kind) => identities::update(call, kind).await,
        Do::UpdateRole { shows } => identities::update_role(call, shows).await,
        Do::PutBoundary(kind) => boundary::put(call, kind).await,
        Do::DeleteBoundary(kind) => boundary::delete(call, kind).await,
        Do::Tag(on) => tags::tag(call, on).await,
        Do::Untag(on) => tags::untag(call, on).await,
        Do::ListTags(on) => tags::list(call, on).await,
        Do::AccountSummary => account::summary(call).await,
        Do::AuthorizationDetails => account::details(call).await,
        Do::SetMember { member } => identities::set_member(call, member).await,
        Do::ListGroupsOfUser => identities::list_groups_of_user(call).await,
        Do::Attach(kind) => managed::set_attached(call, kind, true).await,
        Do::Detach(kind) => managed::set_attached(call, kind, false).await,
        Do::ListAttached(kind) => managed::list_attached(call, kind).await,
        Do::CreatePolicy => managed::create(call).await,
        Do::GetPolicy => managed::get(call).await,
        Do::CreateVersion => versions::create(call).await,
        Do::GetVersion => versions::get(call).await,
        Do::ListVersions => versions::list(call).await,
        Do::SetDefaultVersion => versions::set_default(call).await,
        Do::DeleteVersion => versions::delete(call).await,
        Do::ListEntities => managed::entities(call).await,
        Do::ListPolicies => managed::list(call).await,
        Do::DeletePolicy => managed::delete(call).await,
        Do::CreateKey => keys::create(call).await,
        Do::ListKeys => keys::list(call).await,
        Do::UpdateKey => keys::update(call).await,
        Do::DeleteKey => keys::delete(call).await,
        Do::KeyLastUsed => keys::last_used(call).await,
        Do::CallerIdentity => Ok(sts::caller_identity(call)),
        Do::SessionToken => sts::session_token(call),
        Do::FederationToken => sts::federation_token(call).await,
        Do::AssumeRole => sts::assume_role(call).await,
    }
}
