//! Who may use a bucket: its policy and its public access block.
//!
//! Source: S3 API reference, PutBucketPolicy, GetBucketPolicyStatus, PutPublicAccessBlock and their like.

use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::limits::{MAX_POLICY_BODY_BYTES, MAX_XML_BYTES};
use crate::principals;
use crate::service::S3Request;
use crate::xml::{self, XmlWriter};
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use meta::error::ErrorKind;
use meta::object::BlockPublicAccess;
use policy::{Kind, Policy};
use std::collections::BTreeSet;

/// The header `x-amz-confirm-remove-self-bucket-access` changes nothing: the root of the account that owns the
/// bucket can always read, replace and remove its policy, so nobody locks himself out.
pub async fn put_policy(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let bucket = request.granted.bucket()?;
    let body = request.document(MAX_POLICY_BODY_BYTES).await?;
    let text = String::from_utf8(body.to_vec())
        .map_err(|error| malformed("Policies must be valid JSON in UTF-8", "").source(error))?;
    let policy = Policy::parse(&text, Kind::Bucket(&bucket.record.name))
        .map_err(|error| malformed(&error.message, &error.at).source(error))?;
    // A policy names nobody who doesn't exist.
    let bound = principals::bind(shared, &policy, bucket.account()).await?.map_err(|nobody| {
        S3Error::with(S3Code::MalformedPolicy, "Invalid principal in policy").extra("Detail", nobody)
    })?;
    let named = (bucket.record.name.as_str(), bucket.record.id);
    let put = (text, policy.is_public());
    shared.meta.put_bound_policy(named, put, bound).await.map_err(|error| match error.kind() {
        ErrorKind::PreconditionFailed => S3Error::with(
            S3Code::AccessDenied,
            "User is not authorized to perform s3:PutBucketPolicy on this bucket because public policies are \
                 prevented by the BlockPublicPolicy setting in S3 Block Public Access.",
        )
        .source(error),
        _ => fault::meta(error),
    })?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

fn malformed(what: &str, at: &str) -> S3Error {
    let message = if at.is_empty() { what.to_owned() } else { format!("{at}: {what}") };
    S3Error::with(S3Code::MalformedPolicy, message)
}

pub fn policy(request: &S3Request) -> S3Result<Response<Body>> {
    let text = request.granted.bucket()?.access.policy.clone().ok_or_else(|| no_policy(request))?;
    let mut answer = Response::new(Body::from(text));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

pub async fn delete_policy(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let bucket = &request.granted.bucket()?.record;
    shared.meta.delete_bucket_policy((&bucket.name, bucket.id)).await.map_err(fault::meta)?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

pub fn policy_status(request: &S3Request) -> S3Result<Response<Body>> {
    let public = request.granted.bucket()?.is_public().ok_or_else(|| no_policy(request))?;
    let mut xml = XmlWriter::new("PolicyStatus");
    xml.value("IsPublic", public);
    Ok(answer::xml(xml))
}

fn no_policy(request: &S3Request) -> S3Error {
    S3Error::new(S3Code::NoSuchBucketPolicy).extra("BucketName", request.bucket().unwrap_or_default())
}

pub async fn put_block(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let bucket = &request.granted.bucket()?.record;
    let body = request.document(MAX_XML_BYTES).await?;
    let block = parse_block(&body)?;
    let named = (bucket.name.as_str(), bucket.id);
    shared.meta.put_public_access_block(named, Some(block)).await.map_err(fault::meta)?;
    Ok(answer::empty(StatusCode::OK))
}

pub fn block(request: &S3Request) -> S3Result<Response<Body>> {
    let missing = || {
        let error = S3Error::new(S3Code::NoSuchPublicAccessBlockConfiguration);
        error.extra("BucketName", request.bucket().unwrap_or_default())
    };
    Ok(write_block(request.granted.bucket()?.access.block.ok_or_else(missing)?))
}

/// A public access block's answer.
pub fn write_block(block: BlockPublicAccess) -> Response<Body> {
    let mut xml = XmlWriter::new(BLOCK);
    xml.value("BlockPublicAcls", block.block_public_acls);
    xml.value("IgnorePublicAcls", block.ignore_public_acls);
    xml.value("BlockPublicPolicy", block.block_public_policy);
    xml.value("RestrictPublicBuckets", block.restrict_public_buckets);
    answer::xml(xml)
}

pub async fn delete_block(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let bucket = &request.granted.bucket()?.record;
    let named = (bucket.name.as_str(), bucket.id);
    shared.meta.put_public_access_block(named, None).await.map_err(fault::meta)?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

const BLOCK: &str = "PublicAccessBlockConfiguration";

/// A setting that isn't given is off. One that is misspelt must not be taken for one that isn't given.
pub fn parse_block(body: &[u8]) -> S3Result<BlockPublicAccess> {
    let malformed = || S3Error::new(S3Code::MalformedXML);
    let mut block = BlockPublicAccess::NONE;
    let mut seen = BTreeSet::new();
    for child in xml::parse(body, BLOCK)?.children {
        let setting = match child.name.as_str() {
            "BlockPublicAcls" => &mut block.block_public_acls,
            "IgnorePublicAcls" => &mut block.ignore_public_acls,
            "BlockPublicPolicy" => &mut block.block_public_policy,
            "RestrictPublicBuckets" => &mut block.restrict_public_buckets,
            _ => return Err(malformed()),
        };
        *setting = match child.text.trim() {
            text if text.eq_ignore_ascii_case("true") => true,
            text if text.eq_ignore_ascii_case("false") => false,
            _ => return Err(malformed()),
        };
        if !child.children.is_empty() || !seen.insert(child.name) {
            return Err(malformed());
        }
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_strictly() {
        let parse = |inner: &str| {
            let body =
                format!("<{BLOCK} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inner}</{BLOCK}>");
            parse_block(body.as_bytes()).map_err(|error| error.code())
        };
        let none = BlockPublicAccess::NONE;
        assert_eq!(parse(""), Ok(none));
        assert_eq!(
            parse("<BlockPublicPolicy>true</BlockPublicPolicy><IgnorePublicAcls> FALSE </IgnorePublicAcls>"),
            Ok(BlockPublicAccess { block_public_policy: true, ..none })
        );
        let all = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
        let all: String = all.iter().map(|name| format!("<{name}>true</{name}>")).collect();
        assert_eq!(parse(&all), Ok(BlockPublicAccess::ALL));
        for bad in [
            "<BlockPublicPolicys>true</BlockPublicPolicys>",
            "<BlockPublicPolicy/>",
            "<BlockPublicPolicy>yes</BlockPublicPolicy>",
            "<BlockPublicPolicy>true<x/></BlockPublicPolicy>",
            "<BlockPublicPolicy>true</BlockPublicPolicy><BlockPublicPolicy>false</BlockPublicPolicy>",
        ] {
            assert_eq!(parse(bad), Err(S3Code::MalformedXML), "{bad}");
        }
        assert_eq!(parse_block(b"").unwrap_err().code(), S3Code::MalformedXML);
        assert_eq!(parse_block(b"<Other/>").unwrap_err().code(), S3Code::MalformedXML);
    }
}
