//! PutBucketAcl, GetBucketAcl, PutObjectAcl, GetObjectAcl, and whose a new object is.
//!
//! Source: S3 API reference, PutBucketAcl, PutObjectAcl; S3 User Guide, "Controlling ownership of objects and disabling
//! ACLs for your bucket".

use super::found::Wanted;
use crate::acl::{self, Asked, NOBODY, check_grantees};
use crate::answer;
use crate::authorize::Granted;
use crate::error::{S3Code, S3Error, S3Result};
use crate::events;
use crate::fault;
use crate::gateway::Shared;
use crate::limits::MAX_XML_BYTES;
use crate::service::S3Request;
use crate::version;
use axum::body::Body;
use http::{HeaderMap, Response, StatusCode};
use meta::acl::ObjectAcl;
use meta::event::EventKind;
use policy::{Acl, CannedAcl, ObjectOwnership};

pub fn bucket(request: &S3Request) -> S3Result<Response<Body>> {
    Ok(answer::xml(acl::write(&request.granted.bucket()?.acl())))
}

pub async fn object(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let object = Wanted::of(request)?.head(shared).await?;
    request.granted.check_unchanged(&object.annotations)?;
    let acl = request.granted.bucket()?.acl_of(object.annotations.acl.as_ref());
    let mut answer = answer::xml(acl::write(&acl));
    version::show(&mut answer, object.version);
    Ok(answer)
}

pub async fn put_bucket(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let bucket = request.granted.bucket()?;
    if !bucket.has_acls() {
        return Err(S3Error::new(S3Code::AccessControlListNotSupported));
    }
    let owner = bucket.record.owner.as_str();
    let acl = said(&request, owner).await?;
    check_grantees(shared, &acl, &[owner]).await?;
    if bucket.blocks(&acl) {
        return Err(acl::blocked());
    }
    let named = (bucket.record.name.as_str(), bucket.record.id);
    shared.meta.put_bucket_acl(named, acl::kept(&acl)).await.map_err(fault::meta)?;
    Ok(answer::empty(StatusCode::OK))
}

pub async fn put_object(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let bucket = request.granted.bucket()?;
    if !bucket.has_acls() {
        return Err(S3Error::new(S3Code::AccessControlListNotSupported));
    }
    let wanted = Wanted::of(&request)?;
    let seen = wanted.head(shared).await?.annotations;
    request.granted.check_unchanged(&seen)?;
    let (owner, bucket_owner) = (bucket.acl_of(seen.acl.as_ref()).owner, bucket.record.owner.as_str());
    refuse_for_objects(&Asked::of(&request.parts.headers)?)?;
    let acl = said(&request, &owner).await?;
    check_grantees(shared, &acl, &[&owner, bucket_owner]).await?;
    if bucket.blocks(&acl) {
        return Err(acl::blocked());
    }
    let named = (wanted.bucket, wanted.key);
    let who = (&request.parts, &request.principal);
    let meta = events::telling(shared, who, &request.granted, EventKind::AclPut);
    let changed = meta.put_object_acl(named, wanted.version, seen.acl, acl::kept(&acl));
    let version = changed.await.map_err(|error| wanted.missing(error))?;
    let mut answer = answer::empty(StatusCode::OK);
    version::show(&mut answer, version);
    Ok(answer)
}

/// What a request's headers or its body say of what belongs to this owner.
async fn said(request: &S3Request, owner: &str) -> S3Result<Acl> {
    let asked = Asked::of(&request.parts.headers)?;
    let body = request.document(MAX_XML_BYTES).await?;
    match (asked, body.is_empty()) {
        (Asked::Nothing, true) => {
            Err(S3Error::new(S3Code::MissingSecurityHeader).extra("MissingHeaderName", "x-amz-acl"))
        }
        (Asked::Nothing, false) => {
            let acl = acl::parse(&body)?;
            // Nobody gives away what he owns by naming another.
            if acl.owner == owner { Ok(acl) } else { Err(S3Error::new(S3Code::AccessDenied)) }
        }
        (asked, true) => {
            let bucket_owner = &request.granted.bucket()?.record.owner;
            Ok(asked.expand(owner, bucket_owner))
        }
        (_, false) => Err(S3Error::new(S3Code::UnexpectedContent)),
    }
}

/// Logs are delivered to buckets.
fn refuse_for_objects(asked: &Asked) -> S3Result<()> {
    match asked {
        Asked::Canned(CannedAcl::LogDeliveryWrite) => {
            Err(S3Error::with(S3Code::InvalidArgument, "There is no such canned ACL of objects.")
                .extra("ArgumentName", "x-amz-acl")
                .extra("ArgumentValue", "log-delivery-write"))
        }
        _ => Ok(()),
    }
}

/// Whose a new object is and what it grants, by the headers of the request that makes it.
///
/// Errors: `AccessControlListNotSupported` where ACLs are off and it asks for one, but the owner's own; `AccessDenied` if it is
/// public and that is blocked.
pub async fn of_new(shared: &Shared, granted: &Granted, headers: &HeaderMap) -> S3Result<Option<ObjectAcl>> {
    let bucket = granted.bucket()?;
    let asked = Asked::of(headers)?;
    let bucket_owner = bucket.record.owner.as_str();
    if !bucket.has_acls() {
        return match asked.is_the_owners_own(bucket_owner) {
            true => Ok(None),
            false => Err(S3Error::new(S3Code::AccessControlListNotSupported)),
        };
    }
    refuse_for_objects(&asked)?;
    let writer = granted.owner().unwrap_or(NOBODY);
    let given_up = bucket.ownership() == ObjectOwnership::BucketOwnerPreferred
        && asked == Asked::Canned(CannedAcl::BucketOwnerFullControl);
    let owner = if given_up { bucket_owner } else { writer };
    let acl = asked.expand(owner, bucket_owner);
    check_grantees(shared, &acl, &[writer, bucket_owner]).await?;
    if bucket.blocks(&acl) {
        return Err(acl::blocked());
    }
    Ok(acl::kept_object(bucket_owner, &acl))
}
