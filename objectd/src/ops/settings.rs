//! Reads of settings. Each answer is the truth: what can't be set yet is absent.

use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Shared;
use crate::service::S3Request;
use crate::xml::XmlWriter;
use axum::body::Body;
use http::Response;

pub fn location(shared: &Shared) -> S3Result<Response<Body>> {
    let mut xml = XmlWriter::new("LocationConstraint");
    // AWS's oldest region is written as nothing; clients know that.
    if shared.region != "us-east-1" {
        xml.inner_text(&shared.region);
    }
    Ok(answer::xml(xml))
}

pub fn absent(request: &S3Request, code: S3Code) -> S3Result<Response<Body>> {
    Err(S3Error::new(code).extra("BucketName", request.bucket()?))
}
