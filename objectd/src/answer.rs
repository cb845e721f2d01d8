//! Answers: their bodies, and errors as S3 writes them.

use crate::error::S3Error;
use crate::xml::XmlWriter;
use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

/// A request's id, shown in answers and logs: 16 upper-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub u64);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// An answer with no body.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// An answer whose body is the document.
pub fn xml(document: XmlWriter) -> Response<Body> {
    let mut answer = Response::new(Body::from(document.finish()));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

/// An error's answer. `path` is its `Resource` unless it names one; HEAD gets no body (the connection drops it).
pub fn error(error: &S3Error, path: &str, id: RequestId, host_id: &str) -> Response<Body> {
    let status = error.status();
    if status == StatusCode::NOT_MODIFIED {
        return empty(status);
    }
    let mut xml = XmlWriter::plain("Error");
    xml.text("Code", error.code().as_str());
    xml.text("Message", error.message());
    for (name, value) in error.extras() {
        xml.text(name, value);
    }
    xml.text("Resource", error.resource_path().unwrap_or(path));
    xml.text("RequestId", &id.to_string());
    xml.text("HostId", host_id);
    let mut answer = self::xml(xml);
    *answer.status_mut() = status;
    for (name, value) in error.headers() {
        set(&mut answer, name.clone(), value);
    }
    let extra =
        |wanted: &str| error.extras().iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    if let (StatusCode::RANGE_NOT_SATISFIABLE, Some(size)) = (status, extra("ActualObjectSize")) {
        set(&mut answer, http::header::CONTENT_RANGE, &format!("bytes */{size}"));
    }
    answer
}

/// Sets a header, if the value can be one: CR, LF and other controls never get into an answer's head
/// (HOSTILE 11).
pub fn set(answer: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        answer.headers_mut().insert(name, value);
    }
}

/// `"tag"`.
pub fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// Removes what a HEAD's answer must not have, keeping the length that a GET would have.
pub fn without_body(answer: Response<Body>) -> Response<Body> {
    use axum::body::HttpBody as _;
    let (mut parts, body) = answer.into_parts();
    if parts.status.is_success() && !parts.headers.contains_key(CONTENT_LENGTH) {
        if let Some(len) = body.size_hint().exact() {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        }
    } else if !parts.status.is_success() {
        parts.headers.remove(CONTENT_TYPE);
    }
    Response::from_parts(parts, Body::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::S3Code;

    #[tokio::test]
    async fn errors_have_the_documented_shape() {
        let failed = S3Error::new(S3Code::InvalidRange).extra("ActualObjectSize", "10");
        let answer = error(&failed, "/buc/a<b", RequestId(0xab), "host");
        assert_eq!(answer.status(), 416);
        assert_eq!(answer.headers()["content-range"], "bytes */10");
        let body = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.ends_with(
            "<Error><Code>InvalidRange</Code><Message>The requested range is not satisfiable.</Message>\
             <ActualObjectSize>10</ActualObjectSize><Resource>/buc/a&lt;b</Resource>\
             <RequestId>00000000000000AB</RequestId><HostId>host</HostId></Error>"
        ));
    }

    #[test]
    fn controls_never_reach_a_header() {
        let mut answer = empty(StatusCode::OK);
        set(&mut answer, CONTENT_TYPE, "a\r\nx-evil: 1");
        assert!(answer.headers().is_empty());
    }
}
