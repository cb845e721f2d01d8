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

/// Each operation's future is boxed, so that none has room for all the others: it would be copied into its caller's, and
/// that again.
async fn dispatch(
    shared: &Arc<Shared>,
    operation: Operation,
    request: S3Request,
) -> S3Result<Response<Body>> {
    match operation {
        Operation::ListBuckets => Box::pin(bucket::list(shared, &request)).await,
        Operation::CreateBucket => Box::pin(bucket::create(shared, request)).await,
        Operation::HeadBucket => bucket::head(shared),
        Operation::DeleteBucket => Box::pin(bucket::delete(shared, &request)).await,
        Operation::GetBucketLocation => settings::location(shared),
        Operation::GetBucketVersioning => Box::pin(versioning::get(shared, &request)).await,
        Operation::PutBucketVersioning => Box::pin(versioning::put(shared, request)).await,
        Operation::GetBucketAcl => acl::bucket(&request),
        Operation::GetObjectAcl => Box::pin(acl::object(shared, &request)).await,
        Operation::GetObjectTagging => Box::pin(tagging::get(shared, &request)).await,
        Operation::PutObjectTagging => Box::pin(tagging::put(shared, request)).await,
        Operation::DeleteObjectTagging => Box::pin(tagging::delete(shared, &request)).await,
        Operation::GetObjectRetention => Box::pin(locks::retention(shared, &request)).await,
        Operation::PutObjectRetention => Box::pin(locks::put_retention(shared, request)).await,
        Operation::GetObjectLegalHold => Box::pin(locks::legal_hold(shared, &request)).await,
        Operation::PutObjectLegalHold => Box::pin(locks::put_legal_hold(shared, request)).await,
        Operation::PutBucketAcl => Box::pin(acl::put_bucket(shared, request)).await,
        Operation::PutObjectAcl => Box::pin(acl::put_object(shared, request)).await,
        Operation::GetBucketOwnershipControls => ownership::get(&request),
        Operation::PutBucketOwnershipControls => Box::pin(ownership::put(shared, request)).await,
        Operation::DeleteBucketOwnershipControls => Box::pin(ownership::delete(shared, &request)).await,
        Operation::PutBucketPolicy => Box::pin(access::put_policy(shared, request)).await,
        Operation::GetBucketPolicy => access::policy(&request),
        Operation::DeleteBucketPolicy => Box::pin(access::delete_policy(shared, &request)).await,
        Operation::GetBucketPolicyStatus => access::policy_status(&request),
        Operation::PutPublicAccessBlock => Box::pin(access::put_block(shared, request)).await,
        Operation::GetPublicAccessBlock => access::block(&request),
        Operation::DeletePublicAccessBlock => Box::pin(access::delete_block(shared, &request)).await,
        Operation::PutPublicAccessBlockOfAccount => Box::pin(account::put_block(shared, request)).await,
        Operation::GetPublicAccessBlockOfAccount => Box::pin(account::block(shared, &request)).await,
        Operation::DeletePublicAccessBlockOfAccount => {
            Box::pin(account::delete_block(shared, &request)).await
        }
        Operation::PutBucketCors => Box::pin(cors::put(shared, request)).await,
        Operation::GetBucketCors => Box::pin(cors::get(shared, &request)).await,
        Operation::DeleteBucketCors => Box::pin(cors::delete(shared, &request)).await,
        Operation::PutBucketEncryption => Box::pin(encryption::put(shared, request)).await,
        Operation::GetBucketEncryption => Box::pin(encryption::get(shared, &request)).await,
        Operation::DeleteBucketEncryption => Box::pin(encryption::delete(shared, &request)).await,
        Operation::PutBucketLifecycleConfiguration => Box::pin(lifecycle::put(shared, request)).await,
        Operation::GetBucketLifecycleConfiguration => Box::pin(lifecycle::get(shared, &request)).await,
        Operation::DeleteBucketLifecycle => Box::pin(lifecycle::delete(shared, &request)).await,
        Operation::GetBucketReplication => {
            settings::absent(&request, S3Code::ReplicationConfigurationNotFoundError)
        }
        Operation::PutBucketTagging => Box::pin(bucket_tagging::put(shared, request)).await,
        Operation::GetBucketTagging => Box::pin(bucket_tagging::get(shared, &request)).await,
        Operation::DeleteBucketTagging => Box::pin(bucket_tagging::delete(shared, &request)).await,
        Operation::PutBucketWebsite => Box::pin(website::put(shared, request)).await,
        Operation::GetBucketWebsite => Box::pin(website::get(shared, &request)).await,
        Operation::DeleteBucketWebsite => Box::pin(website::delete(shared, &request)).await,
        Operation::PutBucketNotificationConfiguration => Box::pin(notification::put(shared, request)).await,
        Operation::GetBucketNotificationConfiguration => Box::pin(notification::get(shared, &request)).await,
        Operation::PutBucketLogging => Box::pin(logging::put(shared, request)).await,
        Operation::GetBucketLogging => Box::pin(logging::get(shared, &request)).await,
        Operation::GetObjectLockConfiguration => Box::pin(locks::configuration(shared, &request)).await,
        Operation::PutObjectLockConfiguration => Box::pin(locks::put_configuration(shared, request)).await,
        Operation::ListObjectVersions => Box::pin(list_versions::list(shared, &request)).await,
        Operation::ListObjects => Box::pin(list::v1(shared, &request)).await,
        Operation::ListObjectsV2 => Box::pin(list::v2(shared, &request)).await,
        Operation::ListMultipartUploads => Box::pin(list_uploads::list(shared, &request)).await,
        Operation::DeleteObjects => Box::pin(delete::many(shared, request)).await,
        Operation::DeleteObject => Box::pin(delete::one(shared, &request)).await,
        // Its form says who asks, so it is served before anything is granted: by `post::post`.
        Operation::PostObject => Err(S3Error::new(S3Code::MethodNotAllowed)),
        Operation::PutObject => Box::pin(put::put(shared, request)).await,
        Operation::CopyObject => Box::pin(copy::object(shared, request)).await,
        Operation::UploadPartCopy => Box::pin(copy::part(shared, request)).await,
        Operation::GetObject => Box::pin(get::get(shared, &request)).await,
        Operation::HeadObject => Box::pin(get::head(shared, &request)).await,
        Operation::GetObjectAttributes => Box::pin(attributes::get(shared, &request)).await,
        Operation::CreateMultipartUpload => Box::pin(multipart::create(shared, &request)).await,
        Operation::UploadPart => Box::pin(multipart::part(shared, request)).await,
        Operation::ListParts => Box::pin(multipart::list(shared, &request)).await,
        Operation::CompleteMultipartUpload => Box::pin(complete::complete(shared, request)).await,
        Operation::AbortMultipartUpload => Box::pin(multipart::abort(shared, &request)).await,
    }
}
