//! What a browser is shown that something went wrong, where the bucket has no page of its own for it.

use crate::answer::{self, RequestId};
use crate::error::S3Error;
use crate::xml::escape;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use std::fmt::Write as _;

pub fn error_page(error: &S3Error, id: RequestId, host_id: &str) -> Response<Body> {
    let status = error.status();
    let mut page = format!("<html>\n<head><title>{status}</title></head>\n<body>\n<h1>{status}</h1>\n<ul>\n");
    let mut item = |name: &str, value: &str| {
        // Writing to a string can't fail.
        let _ = write!(page, "<li>{name}: ");
        escape(value, &mut page);
        page.push_str("</li>\n");
    };
    item("Code", error.code().as_str());
    item("Message", error.message());
    for (name, value) in error.extras() {
        item(name, value);
    }
    item("RequestId", &id.to_string());
    item("HostId", host_id);
    page.push_str("</ul>\n<hr/>\n</body>\n</html>\n");
    let mut answer = answer::empty(status);
    for (name, value) in error.headers() {
        answer::set(&mut answer, name.clone(), value);
    }
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    *answer.body_mut() = Body::from(page);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::S3Code;

    #[tokio::test]
    async fn nothing_of_a_request_becomes_a_part_of_the_page() {
        let error = S3Error::new(S3Code::NoSuchKey).extra("Key", "<script>\"&");
        let answer = error_page(&error, RequestId(1), "gw");
        assert_eq!(answer.status(), 404);
        let body = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            text.contains("<li>Code: NoSuchKey</li>")
                && text.contains("<li>RequestId: 0000000000000001</li>")
        );
        assert!(text.contains("<li>Key: &lt;script&gt;&quot;&amp;</li>"), "{text}");
    }
}
