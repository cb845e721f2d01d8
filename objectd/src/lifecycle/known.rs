//! Says of an object when it expires.
//!
//! That is for information, and told with every object; so a bucket's rules are read again only every few seconds. What
//! takes objects away never goes by this.

use super::due::Subject;
use super::rules::Lifecycle;
use crate::answer;
use crate::auth::uri::uri_encode;
use crate::error::S3Result;
use crate::fault;
use crate::gateway::Shared;
use crate::http_date;
use crate::limits::{LIFECYCLE_KNOWN_FOR, MAX_KNOWN_LIFECYCLE_BYTES, MAX_KNOWN_LIFECYCLES};
use axum::body::Body;
use http::{HeaderName, Response};
use meta::setting::SettingKind;
use rt::clock::Instant;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const EXPIRATION: HeaderName = HeaderName::from_static("x-amz-expiration");

/// Rules that were read lately, by the bucket's name.
#[derive(Debug, Default)]
pub struct KnownLifecycles(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    buckets: HashMap<String, Entry>,
    /// Of all their texts.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    read_at: Instant,
    rules: Option<Arc<Lifecycle>>,
    bytes: usize,
}

impl KnownLifecycles {
    /// The bucket's rules have changed.
    pub fn forget(&self, bucket: &str) {
        self.lock().remove(bucket);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn of(&self, shared: &Shared, bucket: &str) -> S3Result<Option<Arc<Lifecycle>>> {
        let now = shared.clock.now();
        if let Some(known) = self.lock().buckets.get(bucket)
            && now.since(known.read_at) < LIFECYCLE_KNOWN_FOR
        {
            return Ok(known.rules.clone());
        }
        let found = shared.meta.bucket_setting(bucket, SettingKind::Lifecycle).await;
        let text = found.map_err(fault::meta)?.text;
        let bytes = text.as_ref().map_or(0, String::len);
        let rules = text.map(|text| Lifecycle::parse(text.as_bytes())).transpose()?.map(Arc::new);
        let mut known = self.lock();
        known.remove(bucket);
        if known.buckets.len() >= MAX_KNOWN_LIFECYCLES || known.bytes + bytes > MAX_KNOWN_LIFECYCLE_BYTES {
            *known = Known::default();
        }
        known.bytes += bytes;
        known.buckets.insert(bucket.to_owned(), Entry { read_at: now, rules: rules.clone(), bytes });
        Ok(rules)
    }
}

impl Known {
    fn remove(&mut self, bucket: &str) {
        if let Some(former) = self.buckets.remove(bucket) {
            self.bytes -= former.bytes;
        }
    }
}

/// What `x-amz-expiration` says of an object that is its key's newest version, if it ever expires.
pub async fn expiration(shared: &Shared, bucket: &str, subject: Subject<'_>) -> Option<String> {
    match shared.lifecycles.of(shared, bucket).await {
        Ok(rules) => rules.as_ref().and_then(|rules| described(rules, subject)),
        // The answer stands: it only does not say so.
        Err(error) => {
            tracing::warn!(bucket, %error, cause = fault::cause(&error), "a bucket's lifecycle could not be read");
            None
        }
    }
}

fn described(rules: &Lifecycle, subject: Subject<'_>) -> Option<String> {
    let due = rules.current(subject)?;
    let (date, rule) = (http_date::http(due.at_ms), uri_encode(due.rule.as_bytes(), false));
    Some(format!("expiry-date=\"{date}\", rule-id=\"{rule}\""))
}

pub fn show(answer: &mut Response<Body>, expiration: Option<&str>) {
    if let Some(expiration) = expiration {
        answer::set(answer, EXPIRATION, expiration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_as_aws_says_it() {
        let rules = "<LifecycleConfiguration><Rule><ID>all of it</ID><Filter/><Status>Enabled</Status>\
                     <Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>";
        let rules = Lifecycle::parse(rules.as_bytes()).unwrap();
        // 2014-01-15T10:30:00Z.
        let subject = Subject { key: "k", size: 1, tags: &[], last_modified_ms: 1_389_781_800_000 };
        let said = described(&rules, subject);
        let expected = "expiry-date=\"Sun, 19 Jan 2014 00:00:00 GMT\", rule-id=\"all%20of%20it\"";
        assert_eq!(said.as_deref(), Some(expected));
    }
}
