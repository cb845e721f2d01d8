//! Puts what has gathered into the target buckets: some time after the first line, when much waits, and at the end.
//!
//! A target's policy must let the service do it, at each delivery anew: what was taken back is obeyed. Log objects go the
//! way of every object, below HTTP. They are requests of nobody, and have no lines of their own: a bucket that logs into
//! itself would else never come to rest.

use super::collect::Pile;
use super::config::{Logging, Source};
use crate::bucket_rules::{Asked, BucketRules};
use crate::context::time_keys;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::identity_rules::IdentityRules;
use crate::limits::{LOG_RETRY, LOG_STOP_TIMEOUT, MAX_INLINE_BYTES};
use crate::metrics::LogLines;
use crate::ops::put::{Data, New, Received, store};
use crate::payload::{ChecksumAlgorithm, ChecksumSet};
use crate::sse::cipher::DataKey;
use crate::sse::{Sink, Transport};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use meta::audit::Entry;
use meta::error::{Entity, ErrorKind};
use meta::event::{EventBy, EventCause, EventKind};
use meta::object::BucketRecord;
use meta::setting::SettingKind;
use policy::{Caller, Context};
use rt::rng::{Rng, SystemRng};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Who delivers, as policies name it.
const SERVICE: &str = "logging.s3.amazonaws.com";

/// A gateway's deliveries. Dropping them stops them, in the middle of whatever they do.
pub struct LogDelivery {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl LogDelivery {
    pub fn start(shared: Arc<Shared>, every: Duration) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut last, mut failed) = (false, false);
            while !last {
                let wait = if failed { every.min(LOG_RETRY) } else { every };
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    // What can't be delivered is not more deliverable for being much.
                    () = shared.access_log.full.notified(), if !failed => {}
                    () = stopped.cancelled() => last = true,
                }
                failed = !deliver_all(&shared).await;
            }
        });
        Self { stop, task }
    }

    /// Delivers what waits, for a bounded time, and ends.
    pub async fn finish(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(LOG_STOP_TIMEOUT, &mut self.task).await.is_err() {
            tracing::warn!("access logs were not delivered in time, and lines are lost");
        }
    }
}

impl Drop for LogDelivery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether nothing is to be tried again.
async fn deliver_all(shared: &Arc<Shared>) -> bool {
    let mut all = true;
    for pile in shared.access_log.take() {
        let (bucket, lines) = (pile.bucket.clone(), pile.lines);
        match deliver(shared, &pile).await {
            Ok(true) => shared.metrics.log_lines(LogLines::Delivered, lines),
            // It doesn't log any more, or is gone.
            Ok(false) => shared.metrics.log_lines(LogLines::Ended, lines),
            Err(error) if is_refusal(error.code()) => {
                tracing::warn!(bucket, lines, %error, cause = fault::cause(&error), "an access log can't be delivered");
                shared.metrics.log_lines(LogLines::Refused, lines);
            }
            Err(error) => {
                tracing::warn!(bucket, lines, %error, cause = fault::cause(&error), "an access log waits");
                shared.metrics.log_failed();
                shared.access_log.put_back(pile);
                all = false;
            }
        }
    }
    all
}

/// What another try would meet again.
fn is_refusal(code: S3Code) -> bool {
    matches!(
        code,
        S3Code::InvalidTargetBucketForLogging
            | S3Code::MalformedXML
            | S3Code::KeyTooLongError
            | S3Code::QuotaExceeded
    )
}

/// Whether it was delivered; not if its bucket doesn't log any more.
async fn deliver(shared: &Arc<Shared>, pile: &Pile) -> S3Result<bool> {
    let found = match shared.meta.bucket_setting(&pile.bucket, SettingKind::Logging).await {
        Ok(found) if found.bucket.id == pile.id => found,
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound(Entity::Bucket) => return Ok(false),
        Err(error) => return Err(fault::meta(error)),
    };
    let logging = found.text.map(|text| Logging::parse(text.as_bytes())).transpose()?.flatten();
    let Some(logging) = logging else { return Ok(false) };
    let account = meta::identity::account_of(&found.bucket.owner);
    let source = Source { account, region: &shared.region, bucket: &pile.bucket };
    let key = logging.key(source, (pile.event_ms(), shared.now_ms()), SystemRng.u64());
    let target = check_target(shared, &found.bucket, (&logging.target, &key)).await?;
    put(shared, &target, &key, Bytes::from(pile.text.clone().into_bytes())).await?;
    tell_audit(shared, &logging.target, &key).await?;
    Ok(true)
}

async fn tell_audit(shared: &Shared, bucket: &str, key: &str) -> S3Result<()> {
    let Some(log) = &shared.audit else { return Ok(()) };
    let line = Entry::of_daemon("s3:LogDelivery", Some(format!("arn:aws:s3:::{bucket}/{key}")));
    // It is delivered; another try would deliver it twice.
    if let Err(error) = log.record(line).await {
        tracing::error!(%error, "an access log was delivered, and the audit log can't be written");
    }
    Ok(())
}

/// The target of a bucket's logs, if a log object may be put there under this key.
///
/// Errors: `InvalidTargetBucketForLogging` if it isn't there, is another owner's or has an object lock, or if its policy doesn't
/// let the service in.
pub async fn check_target(
    shared: &Shared,
    source: &BucketRecord,
    (target, key): (&str, &str),
) -> S3Result<Arc<BucketRules>> {
    let refuse = |why: &'static str| {
        Err(S3Error::with(S3Code::InvalidTargetBucketForLogging, why).extra("TargetBucket", target))
    };
    let found = match shared.meta.bucket_access(target).await {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound(Entity::Bucket) => {
            return refuse("The target bucket for logging does not exist");
        }
        Err(error) => return Err(fault::meta(error)),
    };
    let rules = BucketRules::of(&found, &shared.parsed_policies)?;
    if rules.record.owner != source.owner {
        return refuse("The owner for the bucket to be logged and the target bucket must be the same.");
    }
    if shared.meta.versioning(target).await.map_err(fault::meta)?.lock.is_some() {
        return refuse("A bucket with an object lock can't be the target of logs");
    }
    let mut context = Context::new();
    time_keys(&mut context, shared.now_ms());
    context
        .set("aws:SourceArn", format!("arn:aws:s3:::{}", source.name))
        .set("aws:SourceAccount", rules.account())
        .set("aws:PrincipalIsAWSService", "true")
        .set("aws:PrincipalServiceName", SERVICE)
        .set("aws:SecureTransport", "true")
        .set("aws:RequestedRegion", shared.region.as_str());
    let asked = Asked {
        caller: &Caller::Service { name: SERVICE.to_owned() },
        rules: &IdentityRules::default(),
        owner: None,
        action: "s3:PutObject",
        key: Some(key),
        object: None,
        context: &context,
    };
    if !rules.decide(asked).allowed {
        return refuse(
            "The target bucket's policy must allow s3:PutObject to the service logging.s3.amazonaws.com below the \
             target prefix",
        );
    }
    Ok(rules)
}

async fn put(shared: &Arc<Shared>, target: &BucketRules, key: &str, text: Bytes) -> S3Result<()> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let mut new = New::of((&target.record.name, key), &headers, shared.now_ms())?;
    // As the target's setting says: the log asks for nothing itself.
    new.seal(shared, (&headers, Transport::Clear), target).await?;
    let sealed_with = new.key();
    let mut sums = ChecksumSet::new(ChecksumAlgorithm::Crc64Nvme, false);
    sums.update(&text);
    let data = if text.len() <= MAX_INLINE_BYTES {
        Data::inline(text, sealed_with.as_ref())
    } else {
        let part = sealed_with.as_ref().map(DataKey::whole);
        let mut sink = Sink::new(Arc::clone(&shared.log), text.len() as u64, part);
        sink.push(text).await?;
        Data::Logged(sink.finish().await?)
    };
    let by = || EventBy {
        principal: format!("AWS:{SERVICE}"),
        source: SERVICE.to_owned(),
        host: shared.host_id.clone(),
        ..EventBy::default()
    };
    let cause = target.notifies.then(|| EventCause { kind: EventKind::CreatedPut, by: by() });
    let meta = shared.meta.telling(cause);
    store((shared, meta), new, Received { data, digest: sums.finish() }).await.map(|_| ())
}
