//! Takes away what is due. Every gateway has a worker; one in the whole pool is at work, which the control plane says,
//! and another takes over where it was when it falls silent. Two at work would do no harm: each step names what it
//! saw, and the control plane takes away only what still is so.

use super::clock::MovableClock;
use super::rules::Lifecycle;
use super::walk::Walk;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::limits::{
    LIFECYCLE_BATCH, LIFECYCLE_KEEP_EVERY, LIFECYCLE_LOOK_EVERY, LIFECYCLE_MOVED_LOOK_EVERY, LIFECYCLE_PAGE,
    LIFECYCLE_PASS_EVERY, LIFECYCLE_UPLOAD_BATCH, MAX_PAGE,
};
use crate::metrics::{Expired, Metrics};
use crate::objectlog::ObjectLog;
use meta::MetaError;
use meta::audit::{AuditLog, Entry, Item};
use meta::client::Client;
use meta::error::{Entity, ErrorKind};
use meta::lifecycle::{Expiring, Expiry, LifecycleMark, LifecycleProgress, LifecycleStage, ListExpirable};
use meta::object::{BucketRecord, UploadId};
use meta::query::ListUploads;
use meta::setting::SettingKind;
use proto::checksum::crc32;
use rt::clock::{Clock, Instant};
use rt::rng::{Rng, SystemRng};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A gateway's worker. Dropping it stops it, in the middle of whatever it does.
pub struct LifecycleWorker(JoinHandle<()>);

/// What a worker works with.
pub struct Tools {
    pub meta: Client,
    pub log: Arc<ObjectLog>,
    pub metrics: Metrics,
    pub audit: Option<Arc<AuditLog>>,
    /// What locks and leases go by.
    pub clock: Arc<dyn Clock>,
    /// What rules are judged by.
    pub rules_clock: MovableClock,
}

impl LifecycleWorker {
    pub fn start(tools: Tools) -> Self {
        Self(tokio::spawn(async move {
            let id = SystemRng.u64();
            let every = match tools.rules_clock.is_movable() {
                true => LIFECYCLE_MOVED_LOOK_EVERY,
                false => LIFECYCLE_LOOK_EVERY,
            };
            loop {
                if let Err(error) = tools.turn(id).await {
                    tools.metrics.lifecycle_failed();
                    tracing::warn!(%error, cause = fault::cause(&error), "lifecycles wait to be gone on with");
                }
                tokio::time::sleep(every).await;
            }
        }))
    }
}

impl Drop for LifecycleWorker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A pass, as far as this worker knows.
struct Pass<'a> {
    tools: &'a Tools,
    worker: u64,
    now_ms: u64,
    progress: LifecycleProgress,
    kept_at: Instant,
}

/// Why a pass did not go on.
enum Stop {
    /// Another has the work.
    Lost,
    Failed(S3Error),
}

impl From<S3Error> for Stop {
    fn from(error: S3Error) -> Self {
        Self::Failed(error)
    }
}

impl From<MetaError> for Stop {
    fn from(error: MetaError) -> Self {
        Self::Failed(fault::meta(error))
    }
}

impl Tools {
    /// Goes on with a pass if one is under way or due, and nobody else is at it.
    async fn turn(&self, worker: u64) -> S3Result<()> {
        let now_ms = self.rules_clock.now_ms().await?;
        let found = self.meta.lifecycle().await.map_err(fault::meta)?;
        self.metrics.lifecycle_passed(found.progress.ended_ms);
        if !is_due(&found.progress, now_ms) {
            return Ok(());
        }
        let record = self.meta.keep_lifecycle(worker, None).await.map_err(fault::meta)?;
        if record.worker != worker {
            return Ok(());
        }
        let kept_at = self.clock.now();
        let mut pass = Pass { tools: self, worker, now_ms, progress: record.progress, kept_at };
        match pass.run().await {
            Ok(()) => self.metrics.lifecycle_passed(pass.progress.ended_ms),
            Err(Stop::Lost) => tracing::info!("another gateway goes on with the lifecycles"),
            Err(Stop::Failed(error)) => return Err(error),
        }
        Ok(())
    }
}

impl Tools {
    /// Nothing goes as long as nobody would know of it.
    fn check_audit(&self) -> Result<(), Stop> {
        match self.audit.as_ref().and_then(|log| log.trouble()) {
            None => Ok(()),
            Some(why) => {
                let why = format!("Nothing expires as long as the audit log can't be written: {why}");
                Err(S3Error::with(S3Code::ServiceUnavailable, why).into())
            }
        }
    }

    async fn tell_audit(&self, bucket: &BucketRecord, items: Vec<Item>) -> Result<(), Stop> {
        let Some(log) = self.audit.as_ref().filter(|_| !items.is_empty()) else { return Ok(()) };
        let resource = format!("arn:aws:s3:::{}", bucket.name);
        let line = Entry { items, ..Entry::of_daemon("s3:LifecycleExpiration", Some(resource)) };
        log.record(line).await.map_err(|error| {
            let why = "Things expired, and the audit log can't be written";
            S3Error::with(S3Code::ServiceUnavailable, why).source(error).into()
        })
    }
}

/// A pass that was interrupted goes on at once; a clock that was put back is no reason to wait.
fn is_due(progress: &LifecycleProgress, now_ms: u64) -> bool {
    let every_ms = u64::try_from(LIFECYCLE_PASS_EVERY.as_millis()).unwrap_or(u64::MAX);
    progress.mark.is_some()
        || progress.began_ms.is_none_or(|began_ms| now_ms < began_ms || now_ms - began_ms >= every_ms)
}

impl Pass<'_> {
    async fn run(&mut self) -> Result<(), Stop> {
        let mark = match self.progress.mark.take() {
            Some(mark) => mark,
            None => {
                self.progress.began_ms = Some(self.now_ms);
                LifecycleMark { bucket: String::new(), stage: LifecycleStage::Versions { after_key: None } }
            }
        };
        let mut after = Some(mark.bucket.clone()).filter(|name| !name.is_empty());
        if let Some(name) = &after {
            match self.tools.meta.bucket(name).await {
                Ok(bucket) => self.bucket(&bucket, mark.stage).await?,
                Err(error) if error.kind() == ErrorKind::NotFound(Entity::Bucket) => {}
                Err(error) => return Err(error.into()),
            }
        }
        loop {
            let limit = u32::try_from(MAX_PAGE).unwrap_or(u32::MAX);
            let page = self.tools.meta.buckets("", after, limit).await?;
            for bucket in &page.buckets {
                self.bucket(bucket, LifecycleStage::Versions { after_key: None }).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.progress.mark = None;
        self.progress.ended_ms = Some(self.now_ms);
        self.keep().await
    }

    /// Does one bucket. One that can't be done is left for the next pass, unless nothing can be.
    async fn bucket(&mut self, bucket: &BucketRecord, stage: LifecycleStage) -> Result<(), Stop> {
        self.note(bucket, stage.clone()).await?;
        match self.bucket_with_rules(bucket, stage).await {
            Err(Stop::Failed(error)) if error.code() != S3Code::ServiceUnavailable => {
                // If nothing is broken: it went, or its rules changed, or are of a later build.
                if error.status().is_server_error() {
                    self.tools.metrics.lifecycle_failed();
                }
                tracing::warn!(bucket = bucket.name, %error, cause = fault::cause(&error), "a bucket's lifecycle waits");
                Ok(())
            }
            other => other,
        }
    }

    async fn bucket_with_rules(&mut self, bucket: &BucketRecord, stage: LifecycleStage) -> Result<(), Stop> {
        let found = self.tools.meta.bucket_setting(&bucket.name, SettingKind::Lifecycle).await?;
        let Some(text) = found.text.filter(|_| found.bucket.id == bucket.id) else { return Ok(()) };
        let rules = Lifecycle::parse(text.as_bytes())?;
        let known = Known { bucket, rules: &rules, crc: crc32(text.as_bytes()) };
        if let LifecycleStage::Versions { after_key } = stage {
            for prefix in rules.prefixes() {
                self.versions(&known, prefix, after_key.clone()).await?;
            }
        }
        for prefix in rules.upload_prefixes() {
            self.uploads(&known, prefix).await?;
        }
        Ok(())
    }

    async fn versions(
        &mut self,
        known: &Known<'_>,
        prefix: &str,
        after_key: Option<String>,
    ) -> Result<(), Stop> {
        let mut walk = Walk::new(known.rules, self.now_ms, self.tools.clock.wall().0);
        let mut after = after_key.map(|key| (key, None));
        // Up to where all of a key was looked at: a walk must begin with its newest version.
        let mut done_key = None;
        loop {
            let list = ListExpirable {
                bucket: known.bucket.name.clone(),
                prefix: prefix.to_owned(),
                after,
                limit: LIFECYCLE_PAGE,
            };
            let page = self.tools.meta.list_expirable(list).await?;
            let last = page.versions.last().map(|last| (last.key.clone(), Some(last.slot)));
            let mut due = Vec::new();
            for entry in page.versions {
                if last.as_ref().is_some_and(|(key, _)| *key != entry.key) {
                    done_key = Some(entry.key.clone());
                }
                walk.step(entry, &mut due);
            }
            if !page.more {
                walk.end(&mut due);
                return self.expire(known, due).await;
            }
            self.expire(known, due).await?;
            self.note(known.bucket, LifecycleStage::Versions { after_key: done_key.clone() }).await?;
            after = last;
        }
    }

    async fn uploads(&mut self, known: &Known<'_>, prefix: &str) -> Result<(), Stop> {
        let mut after: Option<(String, Option<UploadId>)> = None;
        loop {
            let (after_key, after_upload) = after.map_or((None, None), |(key, id)| (Some(key), id));
            let list = ListUploads {
                bucket: known.bucket.name.clone(),
                prefix: prefix.to_owned(),
                delimiter: None,
                after_key,
                after_upload,
                limit: LIFECYCLE_PAGE,
            };
            let page = self.tools.meta.list_uploads(list).await?;
            let due = page.uploads.into_iter().filter(|upload| {
                let due = known.rules.upload(&upload.key, upload.initiated_ms);
                due.is_some_and(|due| due.at_ms <= self.now_ms)
            });
            let due: Vec<Expiry> = due
                .map(|upload| Expiry { key: upload.key, what: Expiring::Upload { upload: upload.id } })
                .collect();
            self.expire(known, due).await?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
            self.note(known.bucket, LifecycleStage::Uploads).await?;
        }
    }

    /// Has things taken away, few at a time: while one step is applied, nobody else's is.
    async fn expire(&mut self, known: &Known<'_>, mut things: Vec<Expiry>) -> Result<(), Stop> {
        for thing in &mut things {
            if let Expiring::Current { nonce, .. } = &mut thing.what {
                *nonce = SystemRng.u64();
            }
        }
        let is_upload = |thing: &Expiry| matches!(thing.what, Expiring::Upload { .. });
        let batch = if things.iter().any(is_upload) { LIFECYCLE_UPLOAD_BATCH } else { LIFECYCLE_BATCH };
        for batch in things.chunks(batch) {
            self.tools.check_audit()?;
            let named = (known.bucket.name.as_str(), known.bucket.id);
            let results = self.tools.meta.expire(named, known.crc, batch.to_vec()).await?;
            let mut gone = Vec::new();
            for (thing, result) in batch.iter().zip(results) {
                match result {
                    Ok(true) => {
                        self.tools.metrics.expired(kind_of(&thing.what));
                        gone.push(item_of(thing));
                    }
                    Ok(false) => {}
                    Err(refusal) => {
                        tracing::debug!(bucket = known.bucket.name, key = thing.key, %refusal, "kept");
                    }
                }
            }
            self.tools.log.garbage_made();
            self.tools.tell_audit(known.bucket, gone).await?;
            self.keep_now_and_then().await?;
        }
        Ok(())
    }

    /// Where to go on from, should this worker fall silent.
    async fn note(&mut self, bucket: &BucketRecord, stage: LifecycleStage) -> Result<(), Stop> {
        self.progress.mark = Some(LifecycleMark { bucket: bucket.name.clone(), stage });
        self.keep_now_and_then().await
    }

    async fn keep_now_and_then(&mut self) -> Result<(), Stop> {
        if self.tools.clock.now().since(self.kept_at) < LIFECYCLE_KEEP_EVERY {
            return Ok(());
        }
        self.keep().await
    }

    async fn keep(&mut self) -> Result<(), Stop> {
        let record = self.tools.meta.keep_lifecycle(self.worker, Some(self.progress.clone())).await?;
        self.kept_at = self.tools.clock.now();
        if record.worker == self.worker { Ok(()) } else { Err(Stop::Lost) }
    }
}

/// A bucket, and its rules as they were read.
struct Known<'a> {
    bucket: &'a BucketRecord,
    rules: &'a Lifecycle,
    crc: u32,
}

/// What went, as the audit log names it: a version only if that is gone, and not where a delete marker covers it.
fn item_of(thing: &Expiry) -> Item {
    let version = match &thing.what {
        Expiring::Current { .. } => None,
        Expiring::Noncurrent { seen, .. } | Expiring::LoneMarker { seen } => Some(seen.version.to_string()),
        Expiring::Upload { upload } => Some(format!("upload {upload}")),
    };
    Item { key: thing.key.clone(), version, error: None }
}

fn kind_of(what: &Expiring) -> Expired {
    match what {
        Expiring::Current { .. } => Expired::Object,
        Expiring::Noncurrent { .. } => Expired::NoncurrentVersion,
        Expiring::LoneMarker { .. } => Expired::DeleteMarker,
        Expiring::Upload { .. } => Expired::Upload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_follow_each_other_by_the_clock_that_rules_go_by() {
        let every_ms = u64::try_from(LIFECYCLE_PASS_EVERY.as_millis()).unwrap();
        let began = |began_ms| LifecycleProgress { began_ms: Some(began_ms), ..Default::default() };
        assert!(is_due(&LifecycleProgress::default(), 0));
        assert!(!is_due(&began(1000), 1000) && !is_due(&began(1000), 999 + every_ms));
        assert!(is_due(&began(1000), 1000 + every_ms) && is_due(&began(1000), 999));
        let mark = LifecycleMark { bucket: "b".into(), stage: LifecycleStage::Uploads };
        assert!(is_due(&LifecycleProgress { mark: Some(mark), ..began(1000) }, 1000));
    }
}
