//! PutBucketLifecycleConfiguration, GetBucketLifecycleConfiguration, DeleteBucketLifecycle. What a configuration does is
//! done by [`LifecycleWorker`](crate::lifecycle::LifecycleWorker).

use super::bucket_setting;
use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Shared;
use crate::lifecycle::Lifecycle;
use crate::limits::MAX_LIFECYCLE_BYTES;
use crate::service::S3Request;
use axum::body::Body;
use http::{HeaderName, Response, StatusCode};
use meta::setting::SettingKind;
use rt::rng::{Rng, SystemRng};

const TRANSITION_SIZE: &str = "x-amz-transition-default-minimum-object-size";
/// AWS's default; it is about transitions, of which there are none.
const ALL_CLASSES: &str = "all_storage_classes_128K";

pub async fn put(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    match request.header(TRANSITION_SIZE)? {
        None | Some(ALL_CLASSES) => {}
        Some("varies_by_storage_class") => {
            let why = "Transitions are not offered: there is one storage class, STANDARD.";
            return Err(S3Error::with(S3Code::NotImplemented, why));
        }
        Some(other) => {
            return Err(S3Error::new(S3Code::InvalidArgument)
                .extra("ArgumentName", TRANSITION_SIZE)
                .extra("ArgumentValue", other));
        }
    }
    let body = request.document(MAX_LIFECYCLE_BYTES).await?;
    let mut rules = Lifecycle::parse(&body)?;
    rules.name_rules(|| hex::encode(SystemRng.id()));
    let text = rules.xml().finish();
    if text.len() > MAX_LIFECYCLE_BYTES {
        return Err(S3Error::new(S3Code::MaxMessageLengthExceeded));
    }
    bucket_setting::put(shared, &request, SettingKind::Lifecycle, text).await?;
    shared.lifecycles.forget(request.bucket()?);
    Ok(with_transition_size(answer::empty(StatusCode::OK)))
}

pub async fn get(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let none = S3Code::NoSuchLifecycleConfiguration;
    bucket_setting::get(shared, request, SettingKind::Lifecycle, none).await.map(with_transition_size)
}

pub async fn delete(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let answer = bucket_setting::delete(shared, request, SettingKind::Lifecycle).await?;
    shared.lifecycles.forget(request.bucket()?);
    Ok(answer)
}

fn with_transition_size(mut answer: Response<Body>) -> Response<Body> {
    answer::set(&mut answer, HeaderName::from_static(TRANSITION_SIZE), ALL_CLASSES);
    answer
}
