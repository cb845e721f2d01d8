//! Reads of settings. Each answer is the truth: what can't be set yet is absent, off, or the owner's alone.

use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::listing;
use crate::operation::absent_setting;
use crate::service::S3Request;
use crate::xml::XmlWriter;
use axum::body::Body;
use http::Response;
use meta::object::{BucketRecord, ObjectOwnership};
use meta::query::ObjectPart;

pub fn location(shared: &Shared) -> S3Result<Response<Body>> {
    let mut xml = XmlWriter::new("LocationConstraint");
    // AWS's oldest region is written as nothing; clients know that.
    if shared.region != "us-east-1" {
        xml.inner_text(&shared.region);
    }
    Ok(answer::xml(xml))
}

/// No bucket has ever had versioning switched on: an empty document says that.
pub fn versioning() -> S3Result<Response<Body>> {
    Ok(answer::xml(XmlWriter::new("VersioningConfiguration")))
}

pub fn acl(request: &S3Request) -> S3Result<Response<Body>> {
    Ok(owner_has_all(&request.owner))
}

pub async fn object_acl(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    must_exist(shared, request).await?;
    Ok(owner_has_all(&request.owner))
}

pub async fn object_tagging(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    must_exist(shared, request).await?;
    let mut xml = XmlWriter::new("Tagging");
    xml.start("TagSet");
    Ok(answer::xml(xml))
}

pub fn ownership(request: &S3Request) -> S3Result<Response<Body>> {
    let mut xml = XmlWriter::new("OwnershipControls");
    xml.start("Rule");
    let ownership = match bucket(request)?.ownership {
        ObjectOwnership::BucketOwnerEnforced => "BucketOwnerEnforced",
        ObjectOwnership::BucketOwnerPreferred => "BucketOwnerPreferred",
        ObjectOwnership::ObjectWriter => "ObjectWriter",
    };
    xml.text("ObjectOwnership", ownership);
    Ok(answer::xml(xml))
}

pub fn public_access_block(request: &S3Request) -> S3Result<Response<Body>> {
    let block = bucket(request)?.block_public_access;
    let mut xml = XmlWriter::new("PublicAccessBlockConfiguration");
    xml.value("BlockPublicAcls", block.block_public_acls);
    xml.value("IgnorePublicAcls", block.ignore_public_acls);
    xml.value("BlockPublicPolicy", block.block_public_policy);
    xml.value("RestrictPublicBuckets", block.restrict_public_buckets);
    Ok(answer::xml(xml))
}

pub fn absent(request: &S3Request) -> S3Result<Response<Body>> {
    let code = absent_setting(&request.query).unwrap_or(S3Code::NotImplemented);
    Err(S3Error::new(code).extra("BucketName", request.bucket()?))
}

async fn must_exist(shared: &Shared, request: &S3Request) -> S3Result<()> {
    let (bucket, key) = request.object()?;
    shared.meta.object(bucket, key, ObjectPart::Head).await.map_err(fault::meta)?;
    Ok(())
}

fn bucket(request: &S3Request) -> S3Result<&BucketRecord> {
    request.granted.bucket.as_ref().ok_or_else(|| S3Error::new(S3Code::NoSuchBucket))
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
