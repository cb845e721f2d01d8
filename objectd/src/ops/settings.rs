//! Reads of settings. Each answer is the truth: what can't be set yet is absent, off, or the owner's alone.

use super::found::Wanted;
use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Shared;
use crate::limits::MAX_XML_BYTES;
use crate::listing;
use crate::service::S3Request;
use crate::version;
use crate::xml::{self, XmlWriter};
use axum::body::Body;
use http::{Response, StatusCode};
use meta::object::ObjectOwnership;

pub fn location(shared: &Shared) -> S3Result<Response<Body>> {
    let mut xml = XmlWriter::new("LocationConstraint");
    // AWS's oldest region is written as nothing; clients know that.
    if shared.region != "us-east-1" {
        xml.inner_text(&shared.region);
    }
    Ok(answer::xml(xml))
}

pub fn acl(request: &S3Request) -> S3Result<Response<Body>> {
    Ok(owner_has_all(&request.granted.bucket()?.record.owner))
}

pub async fn object_acl(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let object = Wanted::of(request)?.head(shared).await?;
    request.granted.check_unchanged(&object.annotations)?;
    let mut answer = owner_has_all(&request.granted.bucket()?.record.owner);
    version::show(&mut answer, object.version);
    Ok(answer)
}

pub fn ownership(request: &S3Request) -> S3Result<Response<Body>> {
    let mut xml = XmlWriter::new("OwnershipControls");
    xml.start("Rule");
    let ownership = match request.granted.bucket()?.record.ownership {
        ObjectOwnership::BucketOwnerEnforced => "BucketOwnerEnforced",
        ObjectOwnership::BucketOwnerPreferred => "BucketOwnerPreferred",
        ObjectOwnership::ObjectWriter => "ObjectWriter",
    };
    xml.text("ObjectOwnership", ownership);
    Ok(answer::xml(xml))
}

/// The only one there is can be put. The others would have ACLs count, and so would none at all.
pub async fn put_ownership(request: S3Request) -> S3Result<Response<Body>> {
    let body = request.document(MAX_XML_BYTES).await?;
    let root = xml::parse(&body, "OwnershipControls")?;
    let rules: Vec<_> = root.children.iter().map(|rule| (rule.name.as_str(), &rule.children[..])).collect();
    let [("Rule", [asked])] = rules[..] else { return Err(S3Error::new(S3Code::MalformedXML)) };
    match (asked.name.as_str(), asked.text.trim()) {
        ("ObjectOwnership", "BucketOwnerEnforced") => Ok(answer::empty(StatusCode::OK)),
        ("ObjectOwnership", "BucketOwnerPreferred" | "ObjectWriter") => Err(acls_are_not_offered()),
        _ => Err(S3Error::new(S3Code::MalformedXML)),
    }
}

/// To AWS, a bucket without ownership controls is one whose objects belong to whoever put them, by ACLs.
pub fn delete_ownership() -> S3Result<Response<Body>> {
    Err(acls_are_not_offered())
}

fn acls_are_not_offered() -> S3Error {
    S3Error::with(S3Code::NotImplemented, "ACLs are not offered: every bucket is BucketOwnerEnforced")
}

/// ACLs are off in every bucket.
pub fn put_acl(request: &S3Request) -> S3Result<Response<Body>> {
    match request.granted.bucket()?.record.ownership {
        ObjectOwnership::BucketOwnerEnforced => Err(S3Error::new(S3Code::AccessControlListNotSupported)),
        ObjectOwnership::BucketOwnerPreferred | ObjectOwnership::ObjectWriter => Err(acls_are_not_offered()),
    }
}

pub fn absent(request: &S3Request, code: S3Code) -> S3Result<Response<Body>> {
    Err(S3Error::new(code).extra("BucketName", request.bucket()?))
}

fn owner_has_all(owner: &str) -> Response<Body> {
    let mut xml = XmlWriter::new("AccessControlPolicy");
    listing::owner(&mut xml, "Owner", owner);
    xml.start("AccessControlList");
    xml.start("Grant");
    xml.start_with(
        "Grantee",
        "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"",
    );
    xml.text("ID", owner);
    xml.text("DisplayName", owner);
    xml.end();
    xml.text("Permission", "FULL_CONTROL");
    answer::xml(xml)
}
