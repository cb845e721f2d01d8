//! PutBucketOwnershipControls, GetBucketOwnershipControls, DeleteBucketOwnershipControls.

use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::limits::MAX_XML_BYTES;
use crate::service::S3Request;
use crate::xml::{self, XmlWriter};
use axum::body::Body;
use http::{Response, StatusCode};
use meta::error::ErrorKind;
use meta::object::ObjectOwnership;

pub fn get(request: &S3Request) -> S3Result<Response<Body>> {
    let bucket = request.granted.bucket()?;
    let missing = || {
        let error = S3Error::new(S3Code::OwnershipControlsNotFoundError);
        error.extra("BucketName", bucket.record.name.as_str())
    };
    let mut xml = XmlWriter::new("OwnershipControls");
    xml.start("Rule");
    let ownership = match bucket.access.ownership.ok_or_else(missing)? {
        ObjectOwnership::BucketOwnerEnforced => "BucketOwnerEnforced",
        ObjectOwnership::BucketOwnerPreferred => "BucketOwnerPreferred",
        ObjectOwnership::ObjectWriter => "ObjectWriter",
    };
    xml.text("ObjectOwnership", ownership);
    Ok(answer::xml(xml))
}

pub async fn put(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let body = request.document(MAX_XML_BYTES).await?;
    let root = xml::parse(&body, "OwnershipControls")?;
    let rules: Vec<_> = root.children.iter().map(|rule| (rule.name.as_str(), &rule.children[..])).collect();
    let malformed = || S3Error::new(S3Code::MalformedXML);
    let [("Rule", [asked])] = rules[..] else { return Err(malformed()) };
    if asked.name != "ObjectOwnership" {
        return Err(malformed());
    }
    let ownership = parse(asked.only_text()?.trim()).ok_or_else(malformed)?;
    set(shared, &request, Some(ownership), StatusCode::OK).await
}

/// To AWS, a bucket that says nothing is one whose objects belong to whoever puts them.
pub async fn delete(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    set(shared, request, None, StatusCode::NO_CONTENT).await
}

async fn set(
    shared: &Shared,
    request: &S3Request,
    ownership: Option<ObjectOwnership>,
    status: StatusCode,
) -> S3Result<Response<Body>> {
    let bucket = &request.granted.bucket()?.record;
    let put = shared.meta.put_ownership((bucket.name.as_str(), bucket.id), ownership);
    put.await.map_err(|error| match error.kind() {
        ErrorKind::PreconditionFailed => {
            S3Error::new(S3Code::InvalidBucketAclWithObjectOwnership).source(error)
        }
        _ => fault::meta(error),
    })?;
    Ok(answer::empty(status))
}

/// What `x-amz-object-ownership` and the document of that name call one.
pub fn parse(text: &str) -> Option<ObjectOwnership> {
    Some(match text {
        "BucketOwnerEnforced" => ObjectOwnership::BucketOwnerEnforced,
        "BucketOwnerPreferred" => ObjectOwnership::BucketOwnerPreferred,
        "ObjectWriter" => ObjectOwnership::ObjectWriter,
        _ => return None,
    })
}
