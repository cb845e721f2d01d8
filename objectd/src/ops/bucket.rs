//! ListBuckets, CreateBucket, HeadBucket, DeleteBucket.

use super::ownership;
use crate::acl::{self, Asked, check_grantees};
use crate::answer;
use crate::auth::single_header;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::limits::{MAX_BUCKET_PAGE, MAX_XML_BYTES};
use crate::service::S3Request;
use crate::stored_headers::refuse_unserved;
use crate::target::{filled, number};
use crate::xml::{self, XmlWriter};
use crate::{http_date, listing};
use axum::body::Body;
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, Response, StatusCode};
use meta::acl::Grants;
use meta::client::acl::NewBucket;
use meta::error::{Entity, ErrorKind};
use meta::object::ObjectOwnership;

const OWNERSHIP: HeaderName = HeaderName::from_static("x-amz-object-ownership");
const REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

pub async fn list(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let query = &request.query;
    let owner = request.principal.require()?;
    let paged = number(query, "max-buckets", MAX_BUCKET_PAGE)?;
    if paged == Some(0) {
        return Err(S3Error::with(S3Code::InvalidArgument, "max-buckets must be between 1 and 10000"));
    }
    let limit = paged.unwrap_or(MAX_BUCKET_PAGE);
    let prefix = query.get("prefix").unwrap_or_default();
    let region = filled(query, "bucket-region").is_none_or(|region| region == shared.region);
    let mut after = filled(query, "continuation-token").map(listing::open_token).transpose()?;
    let mut found = Vec::new();
    // The control plane's pages are of all accounts' buckets; ours are gathered from them.
    let next = loop {
        let page = shared.meta.buckets(prefix, after, meta::limits::MAX_PAGE).await.map_err(fault::meta)?;
        for bucket in page.buckets.into_iter().filter(|bucket| region && bucket.owner == owner) {
            found.push(bucket);
        }
        if found.len() > limit as usize {
            found.truncate(limit as usize);
            break found.last().map(|bucket| bucket.name.clone());
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break None,
        }
    };
    let mut xml = XmlWriter::new("ListAllMyBucketsResult");
    listing::owner(&mut xml, "Owner", owner);
    xml.start("Buckets");
    for bucket in &found {
        xml.start("Bucket");
        xml.text("Name", &bucket.name);
        xml.text("CreationDate", &http_date::iso(bucket.created_ms));
        if paged.is_some() {
            xml.text("BucketRegion", &shared.region);
        }
        xml.end();
    }
    xml.end();
    xml.optional("Prefix", filled(query, "prefix"));
    xml.optional("ContinuationToken", next.as_deref().map(listing::token).as_deref());
    Ok(answer::xml(xml))
}

pub async fn create(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let name = request.bucket()?.to_owned();
    let owner = request.principal.require()?.to_owned();
    let headers = &request.parts.headers;
    refuse_unserved(headers)?;
    let locked = wants_lock(headers)?;
    let acls = acls_of_new(shared, &owner, headers).await?;
    let body = request.document(MAX_XML_BYTES).await?;
    check_location(&body, &shared.region)?;
    let created = match acls {
        Some((ownership, acl)) => {
            let (name, owner) = (name.clone(), owner.clone());
            shared.meta.create_bucket_with_acls(NewBucket { name, owner, locked, ownership, acl }).await
        }
        None if locked => shared.meta.create_locked_bucket(&name, &owner).await,
        None => shared.meta.create_bucket(&name, &owner).await,
    };
    if let Err(error) = created {
        if error.kind() != ErrorKind::Exists(Entity::Bucket) {
            return Err(fault::meta(error));
        }
        let mine = shared.meta.bucket(&name).await.is_ok_and(|bucket| bucket.owner == owner);
        let code = if mine { S3Code::BucketAlreadyOwnedByYou } else { S3Code::BucketAlreadyExists };
        return Err(S3Error::new(code).extra("BucketName", name));
    }
    let mut answer = answer::empty(StatusCode::OK);
    answer::set(&mut answer, LOCATION, &format!("/{name}"));
    Ok(answer)
}

/// Whose the objects of a new bucket are to be and what it is to grant, if ACLs are to be on.
async fn acls_of_new(
    shared: &Shared,
    owner: &str,
    headers: &HeaderMap,
) -> S3Result<Option<(ObjectOwnership, Grants)>> {
    let ownership = match single_header(headers, &OWNERSHIP)? {
        None => ObjectOwnership::BucketOwnerEnforced,
        Some(text) => ownership::parse(text).ok_or_else(|| {
            let why = format!("Invalid x-amz-object-ownership header: {text}");
            S3Error::with(S3Code::InvalidArgument, why).extra("ArgumentName", OWNERSHIP.as_str())
        })?,
    };
    let asked = Asked::of(headers)?;
    if ownership == ObjectOwnership::BucketOwnerEnforced {
        return match asked.is_the_owners_own(owner) {
            true => Ok(None),
            false => Err(S3Error::new(S3Code::InvalidBucketAclWithObjectOwnership)),
        };
    }
    let acl = asked.expand(owner, owner);
    check_grantees(shared, &acl, &[owner]).await?;
    if acl.is_public() {
        // New buckets have all blocks.
        return Err(S3Error::new(S3Code::InvalidBucketAclWithBlockPublicAccessError));
    }
    Ok(Some((ownership, acl::kept(&acl))))
}

/// Whether the bucket is to have an object lock.
fn wants_lock(headers: &HeaderMap) -> S3Result<bool> {
    // What isn't "false" was judged as wanting one, and so it is.
    let lock = single_header(headers, &HeaderName::from_static("x-amz-bucket-object-lock-enabled"))?;
    Ok(lock.is_some_and(|value| !value.trim().eq_ignore_ascii_case("false")))
}

fn check_location(body: &[u8], region: &str) -> S3Result<()> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let root = xml::parse(body, "CreateBucketConfiguration")?;
    if root.children.iter().any(|child| child.name != "LocationConstraint") {
        return Err(S3Error::new(S3Code::NotImplemented).extra("Header", "CreateBucketConfiguration"));
    }
    match root.child_text("LocationConstraint") {
        None | Some("") => Ok(()),
        Some(asked) if asked == region => Ok(()),
        Some(asked) => Err(S3Error::with(
            S3Code::IllegalLocationConstraintException,
            format!(
                "The {asked} location constraint is incompatible for the region specific endpoint this request was sent to."
            ),
        )),
    }
}

pub fn head(shared: &Shared) -> S3Result<Response<Body>> {
    let mut answer = answer::empty(StatusCode::OK);
    answer::set(&mut answer, REGION, &shared.region);
    // There are no access points, so no name is an alias of one.
    answer::set(&mut answer, HeaderName::from_static("x-amz-access-point-alias"), "false");
    Ok(answer)
}

pub async fn delete(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    shared.meta.delete_bucket(request.bucket()?).await.map_err(fault::meta)?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_region_is_a_location() {
        let body = |location: &str| {
            format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LocationConstraint>{location}</LocationConstraint></CreateBucketConfiguration>"
            )
        };
        let check = |body: &str| check_location(body.as_bytes(), "here").map_err(|error| error.code());
        assert_eq!(check(""), Ok(()));
        assert_eq!(check(&body("here")), Ok(()));
        assert_eq!(check(&body("")), Ok(()));
        assert_eq!(check(&body("there")), Err(S3Code::IllegalLocationConstraintException));
        assert_eq!(check("<a/>"), Err(S3Code::MalformedXML));
        let tags = "<CreateBucketConfiguration><Tags/></CreateBucketConfiguration>";
        assert_eq!(check(tags), Err(S3Code::NotImplemented));
    }
}
