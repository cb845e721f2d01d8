//! The operations, one file a topic. Each is reached only from here, after authorization.

mod access;
mod account;
mod acl;
mod attributes;
mod bucket;
mod bucket_setting;
mod bucket_tagging;
pub mod checksums;
mod commit;
mod complete;
mod copy;
pub mod cors;
mod delete;
mod encryption;
mod found;
mod get;
mod lifecycle;
mod list;
mod list_uploads;
mod list_versions;
mod locks;
mod logging;
mod multipart;
mod notification;
mod ownership;
pub mod post;
pub mod put;
mod settings;
mod tagging;
mod versioning;
pub mod website;

use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Shared;
use crate::operation::Operation;
use crate::service::S3Request;
use axum::body::Body;
use http::Response;
use std::sync::Arc;

/// Does what was asked and allowed. Who may not list a bucket isn't told that a key is missing there: AWS answers
/// as if it were forbidden.
pub async fn perform(
    shared: &Arc<Shared>,
    operation: Operation,
    request: S3Request,
) -> S3Result<Response<Body>> {
    let granted = Arc::clone(&request.granted);
    dispatch(shared, operation, request).await.map_err(|error| match error.code() {
        S3Code::NoSuchKey | S3Code::NoSuchVersion if granted.hides_missing() => {
            S3Error::new(S3Code::AccessDenied).source(error)
        }
        _ => error,
    })
}

async fn dispatch(
    shared: &Arc<Shared>,
    operation: Operation,
    request: S3Request,
) -> S3Result<Response<Body>> {
    match operation {
        Operation::ListBuckets => bucket::list(shared, &request).await,
        Operation::CreateBucket => bucket::create(shared, request).await,
        Operation::HeadBucket => bucket::head(shared),
        Operation::DeleteBucket => bucket::delete(shared, &request).await,
        Operation::GetBucketLocation => settings::location(shared),
        Operation::GetBucketVersioning => versioning::get(shared, &request).await,
        Operation::PutBucketVersioning => versioning::put(shared, request).await,
        Operation::GetBucketAcl => acl::bucket(&request),
        Operation::GetObjectAcl => acl::object(shared, &request).await,
        Operation::GetObjectTagging => tagging::get(shared, &request).await,
        Operation::PutObjectTagging => tagging::put(shared, request).await,
        Operation::DeleteObjectTagging => tagging::delete(shared, &request).await,
        Operation::GetObjectRetention => locks::retention(shared, &request).await,
        Operation::PutObjectRetention => locks::put_retention(shared, request).await,
        Operation::GetObjectLegalHold => locks::legal_hold(shared, &request).await,
        Operation::PutObjectLegalHold => locks::put_legal_hold(shared, request).await,
        Operation::PutBucketAcl => acl::put_bucket(shared, request).await,
        Operation::PutObjectAcl => acl::put_object(shared, request).await,
        Operation::GetBucketOwnershipControls => ownership::get(&request),
        Operation::PutBucketOwnershipControls => ownership::put(shared, request).await,
        Operation::DeleteBucketOwnershipControls => ownership::delete(shared, &request).await,
        Operation::PutBucketPolicy => access::put_policy(shared, request).await,
        Operation::GetBucketPolicy => access::policy(&request),
        Operation::DeleteBucketPolicy => access::delete_policy(shared, &request).await,
        Operation::GetBucketPolicyStatus => access::policy_status(&request),
        Operation::PutPublicAccessBlock => access::put_block(shared, request).await,
        Operation::GetPublicAccessBlock => access::block(&request),
        Operation::DeletePublicAccessBlock => access::delete_block(shared, &request).await,
        Operation::PutPublicAccessBlockOfAccount => account::put_block(shared, request).await,
        Operation::GetPublicAccessBlockOfAccount => account::block(shared, &request).await,
        Operation::DeletePublicAccessBlockOfAccount => account::delete_block(shared, &request).await,
        Operation::PutBucketCors => cors::put(shared, request).await,
        Operation::GetBucketCors => cors::get(shared, &request).await,
        Operation::DeleteBucketCors => cors::delete(shared, &request).await,
        Operation::PutBucketEncryption => encryption::put(shared, request).await,
        Operation::GetBucketEncryption => encryption::get(shared, &request).await,
        Operation::DeleteBucketEncryption => encryption::delete(shared, &request).await,
        Operation::PutBucketLifecycleConfiguration => lifecycle::put(shared, request).await,
        Operation::GetBucketLifecycleConfiguration => lifecycle::get(shared, &request).await,
        Operation::DeleteBucketLifecycle => lifecycle::delete(shared, &request).await,
        Operation::GetBucketReplication => {
            settings::absent(&request, S3Code::ReplicationConfigurationNotFoundError)
        }
        Operation::PutBucketTagging => bucket_tagging::put(shared, request).await,
        Operation::GetBucketTagging => bucket_tagging::get(shared, &request).await,
        Operation::DeleteBucketTagging => bucket_tagging::delete(shared, &request).await,
        Operation::PutBucketWebsite => website::put(shared, request).await,
        Operation::GetBucketWebsite => website::get(shared, &request).await,
        Operation::DeleteBucketWebsite => website::delete(shared, &request).await,
        Operation::PutBucketNotificationConfiguration => notification::put(shared, request).await,
        Operation::GetBucketNotificationConfiguration => notification::get(shared, &request).await,
        Operation::PutBucketLogging => logging::put(shared, request).await,
        Operation::GetBucketLogging => logging::get(shared, &request).await,
        Operation::GetObjectLockConfiguration => locks::configuration(shared, &request).await,
        Operation::PutObjectLockConfiguration => locks::put_configuration(shared, request).await,
        Operation::ListObjectVersions => list_versions::list(shared, &request).await,
        Operation::ListObjects => list::v1(shared, &request).await,
        Operation::ListObjectsV2 => list::v2(shared, &request).await,
        Operation::ListMultipartUploads => list_uploads::list(shared, &request).await,
        Operation::DeleteObjects => delete::many(shared, request).await,
        Operation::DeleteObject => delete::one(shared, &request).await,
        // Its form says who asks, so it is served before anything is granted: by `post::post`.
        Operation::PostObject => Err(S3Error::new(S3Code::MethodNotAllowed)),
        Operation::PutObject => put::put(shared, request).await,
        Operation::CopyObject => copy::object(shared, request).await,
        Operation::UploadPartCopy => copy::part(shared, request).await,
        Operation::GetObject => get::get(shared, &request).await,
        Operation::HeadObject => get::head(shared, &request).await,
        Operation::GetObjectAttributes => attributes::get(shared, &request).await,
        Operation::CreateMultipartUpload => multipart::create(shared, &request).await,
        Operation::UploadPart => multipart::part(shared, request).await,
        Operation::ListParts => multipart::list(shared, &request).await,
        Operation::CompleteMultipartUpload => complete::complete(shared, request).await,
        Operation::AbortMultipartUpload => multipart::abort(shared, &request).await,
    }
}
