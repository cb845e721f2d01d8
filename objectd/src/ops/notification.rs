//! PutBucketNotificationConfiguration, GetBucketNotificationConfiguration. What a configuration does is done by the
//! control plane, which keeps what is to be told, and by [`EventWorker`](crate::events::EventWorker).

use super::bucket_setting;
use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::events::{self, Notifications};
use crate::fault;
use crate::gateway::Shared;
use crate::limits::MAX_NOTIFICATION_BYTES;
use crate::service::S3Request;
use axum::body::Body;
use http::{Response, StatusCode};
use meta::error::{Entity, ErrorKind};
use meta::setting::SettingKind;
use rt::rng::{Rng, SystemRng};

const SKIP: &str = "x-amz-skip-destination-validation";

pub async fn put(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    if request.header(SKIP)?.is_some_and(|skip| !skip.eq_ignore_ascii_case("false")) {
        let why = "Destinations are always checked: there is nothing to notify where there is none.";
        return Err(S3Error::with(S3Code::NotImplemented, why).extra("Header", SKIP));
    }
    let body = request.document(MAX_NOTIFICATION_BYTES).await?;
    let mut asked = Notifications::parse(&body, &shared.region)?;
    asked.name(|| hex::encode(SystemRng.id()));
    let text = (!asked.is_empty()).then(|| asked.xml().finish());
    if text.as_ref().is_some_and(|text| text.len() > meta::limits::MAX_SETTING_BYTES) {
        return Err(S3Error::new(S3Code::MaxMessageLengthExceeded));
    }
    let bucket = &request.granted.bucket()?.record;
    let named = (bucket.name.as_str(), bucket.id);
    let by = events::by(shared, &request.parts, &request.principal);
    let put = shared.meta.put_notifications(named, (text, asked.routes()), by).await;
    match put {
        Err(error) if error.kind() == ErrorKind::NotFound(Entity::Webhook) => {
            Err(missing(shared, &request, &asked).await?.source(error))
        }
        other => other.map(|()| answer::empty(StatusCode::OK)).map_err(fault::meta),
    }
}

/// In AWS's words, which of its destinations is none.
async fn missing(shared: &Shared, request: &S3Request, asked: &Notifications) -> S3Result<S3Error> {
    let known = shared.meta.webhooks().await.map_err(fault::meta)?;
    let account = request.granted.bucket()?.account();
    let may = |name: &str| {
        let record = known.iter().map(|known| &known.record).find(|record| record.name == name);
        record.is_some_and(|record| record.account.as_deref().is_none_or(|only| only == account))
    };
    let first = asked.webhooks().find(|name| !may(name)).and_then(|name| asked.arn_of(name));
    Ok(events::bad_destination(first.unwrap_or_default()))
}

pub async fn get(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    bucket_setting::get_or(shared, request, SettingKind::Notification, || Notifications::default().xml())
        .await
}
