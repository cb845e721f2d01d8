//! PutBucketLogging, GetBucketLogging. What a configuration does is done by [`access_log`](crate::access_log).

use super::bucket_setting;
use crate::access_log::{Logging, Source, check_target};
use crate::answer;
use crate::error::S3Result;
use crate::gateway::Shared;
use crate::limits::MAX_LOGGING_BYTES;
use crate::service::S3Request;
use axum::body::Body;
use http::{Response, StatusCode};
use meta::identity::account_of;
use meta::setting::SettingKind;

pub async fn put(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let body = request.document(MAX_LOGGING_BYTES).await?;
    match Logging::parse(&body)? {
        Some(logging) => {
            let source = &request.granted.bucket()?.record;
            let (account, region) = (account_of(&source.owner), shared.region.as_str());
            let named = Source { account, region, bucket: &source.name };
            let key = logging.key(named, (shared.now_ms(), shared.now_ms()), 0);
            check_target(shared, source, (&logging.target, &key)).await?;
            let text = Logging::xml(Some(&logging)).finish();
            bucket_setting::put(shared, &request, SettingKind::Logging, text).await?;
        }
        None => {
            bucket_setting::delete(shared, &request, SettingKind::Logging).await?;
        }
    }
    Ok(answer::empty(StatusCode::OK))
}

pub async fn get(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    bucket_setting::get_or(shared, request, SettingKind::Logging, || Logging::xml(None)).await
}
