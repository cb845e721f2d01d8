//! PostObject: what a browser's form uploads, by a policy that somebody signed.
//!
//! The form comes before its file and says who lets it be uploaded; so it is read first, as bounded as a head is, and
//! nothing of the file is stored before that is decided.

use super::acl;
use super::put::{Data, New, Received, store};
use crate::answer;
use crate::arrival::Arrival;
use crate::audit::Trace;
use crate::auth::uri::uri_encode;
use crate::auth::{Authenticated, SignedForm};
use crate::authorize::{Routed, authorize};
use crate::error::{S3Code, S3Error, S3Result};
use crate::events;
use crate::gateway::Shared;
use crate::lent_body::LentBody;
use crate::limits::{BODY_TIMEOUT, MAX_INLINE_BYTES, MAX_PUT_BYTES};
use crate::names;
use crate::operation::Operation;
use crate::payload::{BodyPlan, PayloadReader};
use crate::post::{FileBody, Form, FormReader, LengthRange, PostPolicy};
use crate::sse::cipher::DataKey;
use crate::sse::{Sink, Transport};
use crate::target::Target;
use crate::xml::XmlWriter;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, LOCATION};
use http::request::Parts;
use http::{Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use meta::audit::cut;
use meta::event::EventKind;
use std::sync::Arc;

/// Serves a form to the bucket `target`. `anonymous` is what the head alone says: nothing.
pub async fn post(
    shared: &Arc<Shared>,
    parts: &Parts,
    (target, anonymous): (Target, Authenticated),
    mut body: LentBody,
    trace: &mut Trace,
) -> S3Result<Response<Body>> {
    let bucket = target.bucket.ok_or_else(|| S3Error::new(S3Code::MethodNotAllowed))?;
    let total = crate::auth::single_header(&parts.headers, &CONTENT_LENGTH)?;
    let total: u64 =
        total.and_then(|text| text.parse().ok()).ok_or_else(|| S3Error::new(S3Code::MissingContentLength))?;
    let (form, reader) = read_form(parts, &mut body).await?;
    let (authenticated, range) = signer(shared, &form, (&bucket, anonymous)).await?;
    let key = form.field("key")?.unwrap_or_default().to_owned();
    trace.proven = Some(authenticated.principal.clone());
    trace.resource = Some(format!("arn:aws:s3:::{bucket}/{}", cut(&key)));
    names::check_key(&key)?;
    // Said by the form, as a PUT would by its head: all that follows is the same for both.
    let mut said = parts.clone();
    said.headers = form.headers(&parts.headers)?;
    let target = Target { bucket: Some(bucket.clone()), key: Some(key.clone()) };
    let operation = Operation::PostObject;
    let routed = Routed { parts: &said, authenticated: &authenticated, operation, target: &target };
    let granted = authorize(shared, &routed).await?;
    let who = (parts, &authenticated.principal);
    let meta = events::telling(shared, who, &granted, EventKind::CreatedPost);
    let new = New::of((&bucket, &key), &said.headers, shared.now_ms())?;
    let mut new = new.with_acl(acl::of_new(shared, &granted, &said.headers).await?);
    new.seal(shared, (&said.headers, Transport::of(parts)), granted.bucket()?).await?;
    let plan = BodyPlan::document(&said, authenticated.payload, MAX_PUT_BYTES)?;
    let reader = plan.reader(FileBody::new(reader, body));
    let received = receive(shared, reader, (range, total), new.key()).await?;
    let etag = answer::quoted(&received.digest.etag());
    let stored = store((shared, meta), new, received).await?;
    let mut answer = done(parts, &form, (&bucket, &key), &etag)?;
    stored.show(&mut answer);
    Ok(answer)
}

/// Reads up to the file's first byte.
async fn read_form(parts: &Parts, body: &mut LentBody) -> S3Result<(Form, FormReader)> {
    let content_type = crate::auth::single_header(&parts.headers, &CONTENT_TYPE)?.unwrap_or_default();
    let mut reader = FormReader::new(content_type)?;
    loop {
        if let Some(form) = reader.form()? {
            return Ok((form.settle()?, reader));
        }
        let frame = tokio::time::timeout(BODY_TIMEOUT, body.frame()).await;
        let frame = frame.map_err(|_| S3Error::new(S3Code::RequestTimeout))?;
        let frame = frame.ok_or_else(|| S3Error::new(S3Code::MalformedPOSTRequest))?;
        let frame = frame.map_err(|error| S3Error::new(S3Code::IncompleteBody).source(error))?;
        if let Ok(data) = frame.into_data() {
            reader.push(&data);
        }
    }
}

/// Who signed the form's policy, and how long the file may be by it. A form without a policy is anybody's.
async fn signer(
    shared: &Shared,
    form: &Form,
    (bucket, anonymous): (&str, Authenticated),
) -> S3Result<(Authenticated, LengthRange)> {
    const SIGNING: [&str; 4] = ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"];
    let missing = |name: &str| {
        let why = format!(
            "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
        );
        S3Error::with(S3Code::InvalidArgument, why).extra("ArgumentName", name)
    };
    if form.field("awsaccesskeyid")?.is_some() || form.field("signature")?.is_some() {
        let why =
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
        return Err(S3Error::with(S3Code::InvalidRequest, why));
    }
    let Some(policy) = form.field("policy")? else {
        return match SIGNING.into_iter().find(|name| form.fields.iter().any(|field| field.name == *name)) {
            Some(_) => Err(missing("policy")),
            None => Ok((anonymous, LengthRange { least: 0, most: MAX_PUT_BYTES })),
        };
    };
    let mut values = [""; SIGNING.len()];
    for (value, name) in values.iter_mut().zip(SIGNING) {
        *value = form.field(name)?.ok_or_else(|| missing(name))?;
    }
    let [algorithm, credential, date, signature] = values;
    let token = form.field("x-amz-security-token")?;
    let signed = SignedForm { policy, algorithm, credential, date, signature, token };
    let authenticated = shared.authenticator.authenticate_form(&signed).await?;
    let text = BASE64.decode(policy.trim()).map_err(|error| {
        S3Error::with(S3Code::InvalidPolicyDocument, "Invalid Policy: it is not base64").source(error)
    })?;
    let range = PostPolicy::parse(&text)?.check(bucket, &form.fields, shared.now_ms())?;
    Ok((authenticated, LengthRange { most: range.most.min(MAX_PUT_BYTES), ..range }))
}

/// Reads the file to its end: nobody says how long it is, but that it is less than the request.
async fn receive(
    shared: &Arc<Shared>,
    mut reader: PayloadReader<FileBody<LentBody>>,
    (range, total): (LengthRange, u64),
    key: Option<DataKey>,
) -> S3Result<Received> {
    let (mut small, mut sink, mut length) = (BytesMut::new(), None, 0u64);
    while let Some(data) = reader.next().await? {
        length += data.len() as u64;
        if length > range.most {
            return Err(S3Error::new(S3Code::EntityTooLarge)
                .extra("ProposedSize", length.to_string())
                .extra("MaxSizeAllowed", range.most.to_string()));
        }
        if sink.is_none() && length <= MAX_INLINE_BYTES as u64 {
            small.extend_from_slice(&data);
            continue;
        }
        let part = || key.as_ref().map(DataKey::whole);
        let sink = sink.get_or_insert_with(|| Sink::new(Arc::clone(&shared.log), total, part()));
        if !small.is_empty() {
            sink.push(std::mem::take(&mut small).freeze()).await?;
        }
        sink.push(data).await?;
    }
    if length < range.least {
        return Err(S3Error::new(S3Code::EntityTooSmall)
            .extra("ProposedSize", length.to_string())
            .extra("MinSizeAllowed", range.least.to_string()));
    }
    let data = match sink {
        Some(sink) => Data::Logged(sink.finish().await?),
        None => Data::inline(small.freeze(), key.as_ref()),
    };
    let digest = reader.finish()?;
    shared.metrics.received(digest.length_bytes);
    Ok(Received { data, digest })
}

/// What the form asks to be answered with.
fn done(parts: &Parts, form: &Form, (bucket, key): (&str, &str), etag: &str) -> S3Result<Response<Body>> {
    let redirect = form.field("success_action_redirect")?.or(form.field("redirect")?);
    if let Some(url) = redirect.and_then(|url| redirection(url, (bucket, key), etag)) {
        let mut answer = answer::empty(StatusCode::SEE_OTHER);
        answer::set(&mut answer, LOCATION, &url);
        answer::set(&mut answer, ETAG, etag);
        return Ok(answer);
    }
    let host = crate::auth::single_header(&parts.headers, &HOST)?.unwrap_or_default();
    let secure = parts.extensions.get::<Arrival>().is_some_and(|arrival| arrival.tls.is_some());
    let scheme = if secure { "https" } else { "http" };
    let location = format!("{scheme}://{host}/{bucket}/{}", uri_encode(key.as_bytes(), true));
    let mut answer = match form.field("success_action_status")? {
        Some("200") => answer::empty(StatusCode::OK),
        Some("201") => {
            let mut xml = XmlWriter::plain("PostResponse");
            xml.text("Location", &location);
            xml.text("Bucket", bucket);
            xml.text("Key", key);
            xml.text("ETag", etag);
            let mut answer = answer::xml(xml);
            *answer.status_mut() = StatusCode::CREATED;
            answer
        }
        // AWS: anything else is as if it were not there.
        _ => answer::empty(StatusCode::NO_CONTENT),
    };
    answer::set(&mut answer, ETAG, etag);
    answer::set(&mut answer, LOCATION, &location);
    Ok(answer)
}

/// `None` for what is no URL of the web: AWS answers as if it were not there.
fn redirection(url: &str, (bucket, key): (&str, &str), etag: &str) -> Option<String> {
    let parsed: Uri = url.parse().ok()?;
    if !matches!(parsed.scheme_str(), Some("http" | "https")) {
        return None;
    }
    let joint = if parsed.query().is_some() { '&' } else { '?' };
    let value = |text: &str| uri_encode(text.as_bytes(), false);
    Some(format!("{url}{joint}bucket={}&key={}&etag={}", value(bucket), value(key), value(etag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_web_is_redirected_to() {
        let to = |url| redirection(url, ("buc", "a b/c"), "\"e\"");
        let added = "bucket=buc&key=a%20b%2Fc&etag=%22e%22";
        assert_eq!(to("http://a.test/done"), Some(format!("http://a.test/done?{added}")));
        assert_eq!(to("https://a.test/done?x=1"), Some(format!("https://a.test/done?x=1&{added}")));
        for bad in ["", "done.html", "/done", "javascript:alert(1)", "ftp://a.test/", "http://a test/"] {
            assert_eq!(to(bad), None, "{bad}");
        }
    }
}
