//! Has events posted. Every gateway has a worker; one in the whole pool is at work, which the control plane says, and
//! another takes over when it falls silent. A row goes only after its webhook took it, so whatever is killed when, an
//! event is told at least once; two workers at once would tell some twice.
//!
//! Each webhook has a task of its own, and waits by itself after it failed: a dead one holds nobody else up. Events of one
//! key are posted one after the other, in order; those of different keys at once, a few at a time.

use super::courier::{Address, Courier};
use super::message;
use crate::auth::seal::Sealer;
use crate::error::S3Result;
use crate::fault;
use crate::limits::{
    EVENT_GIVE_UP, EVENT_KEEP_EVERY, EVENT_LOOK_EVERY, EVENT_PAGE, EVENT_PAGES, EVENT_RETRY,
    EVENT_RETRY_MOST, EVENTS_IN_FLIGHT,
};
use crate::metrics::Metrics;
use futures_util::StreamExt as _;
use meta::client::Client;
use meta::event::{EventRow, Settled, WebhookRecord, WebhookStatus};
use meta::limits::MAX_EVENT_AGE_MS;
use rt::clock::{Clock, Instant};
use rt::rng::{Rng, SystemRng};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A gateway's worker. Dropping it stops it, in the middle of whatever it does.
pub struct EventWorker(JoinHandle<()>);

/// What a worker works with.
#[derive(Clone)]
pub struct Tools {
    pub meta: Client,
    pub metrics: Metrics,
    pub sealer: Arc<Sealer>,
    pub clock: Arc<dyn Clock>,
    pub region: String,
}

impl EventWorker {
    pub fn start(tools: Tools) -> Self {
        Self(tokio::spawn(async move {
            let mut worker =
                Worker { id: SystemRng.u64(), tools, courier: None, kept_at: None, hooks: HashMap::new() };
            loop {
                if let Err(error) = worker.turn().await {
                    tracing::warn!(%error, cause = fault::cause(&error), "notifications wait to be gone on with");
                }
                tokio::time::sleep(EVENT_LOOK_EVERY).await;
            }
        }))
    }
}

impl Drop for EventWorker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Worker {
    id: u64,
    tools: Tools,
    /// Made when there is something to post.
    courier: Option<Courier>,
    /// When the control plane last said that the work is this worker's.
    kept_at: Option<Instant>,
    hooks: HashMap<u64, Hook>,
}

/// A webhook as this worker knows it.
#[derive(Default)]
struct Hook {
    round: Option<Round>,
    /// Rounds that failed, one after the other.
    failures: u32,
    /// Since when it is left alone, and for how long.
    waits: Option<(Instant, Duration)>,
    /// As it was last told of.
    dropped: u64,
}

/// What is posted to one webhook now. Dropping it stops it.
struct Round(JoinHandle<bool>);

impl Drop for Round {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Worker {
    async fn turn(&mut self) -> S3Result<()> {
        let found = self.tools.meta.webhooks().await.map_err(fault::meta)?;
        self.tools.metrics.webhooks(&found);
        self.hooks.retain(|id, _| found.iter().any(|webhook| webhook.record.id == *id));
        self.end_rounds().await;
        let waiting: Vec<WebhookStatus> = found.into_iter().filter(|hook| hook.state.backlog > 0).collect();
        if waiting.is_empty() {
            self.kept_at = None;
            return Ok(());
        }
        if !self.keep().await? {
            // Another posts; what this one was at is told twice rather than never.
            self.hooks.clear();
            return Ok(());
        }
        let courier = match &self.courier {
            Some(courier) => courier.clone(),
            None => self.courier.insert(Courier::new()?).clone(),
        };
        let now = self.tools.clock.now();
        for webhook in waiting {
            let hook = self.hooks.entry(webhook.record.id).or_default();
            hook.tell_dropped(&webhook);
            if hook.round.is_none() && hook.is_due(now) {
                let job =
                    Job { tools: self.tools.clone(), courier: courier.clone(), webhook: webhook.record };
                hook.round = Some(Round(tokio::spawn(job.run())));
            }
        }
        Ok(())
    }

    /// Takes or goes on holding the work; whether it is this worker's.
    async fn keep(&mut self) -> S3Result<bool> {
        let now = self.tools.clock.now();
        if self.kept_at.is_some_and(|kept_at| now.since(kept_at) < EVENT_KEEP_EVERY) {
            return Ok(true);
        }
        let keeper = self.tools.meta.keep_events(self.id).await.map_err(fault::meta)?;
        self.kept_at = (keeper.worker == self.id).then_some(now);
        Ok(self.kept_at.is_some())
    }

    async fn end_rounds(&mut self) {
        let now = self.tools.clock.now();
        for hook in self.hooks.values_mut() {
            if !hook.round.as_ref().is_some_and(|round| round.0.is_finished()) {
                continue;
            }
            let Some(mut round) = hook.round.take() else { continue };
            match (&mut round.0).await {
                Ok(true) => (hook.failures, hook.waits) = (0, None),
                Ok(false) | Err(_) => {
                    hook.waits = Some((now, backoff(hook.failures, &mut SystemRng)));
                    hook.failures = hook.failures.saturating_add(1);
                }
            }
        }
    }
}

impl Hook {
    fn is_due(&self, now: Instant) -> bool {
        self.waits.is_none_or(|(since, wait)| now.since(since) >= wait)
    }

    /// What the control plane gave up is said once.
    fn tell_dropped(&mut self, webhook: &WebhookStatus) {
        let dropped = webhook.state.dropped_full + webhook.state.dropped_old;
        if dropped > self.dropped {
            let (name, trouble) = (&webhook.record.name, &webhook.state.trouble);
            tracing::error!(webhook = name, dropped, trouble, "notifications were given up");
        }
        self.dropped = dropped;
    }
}

/// Doubled with each failure, and somewhere in the upper half of that, so that not all come at once.
fn backoff(failures: u32, rng: &mut impl Rng) -> Duration {
    let whole =
        EVENT_RETRY.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(EVENT_RETRY_MOST);
    let half = whole / 2;
    let spread = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_millis(rng.u64() % spread)
}

/// All that waits for one webhook now.
struct Job {
    tools: Tools,
    courier: Courier,
    webhook: WebhookRecord,
}

/// A bucket and a key, whose events come in order.
type Name = (String, String);

impl Job {
    /// Whether the webhook took all.
    async fn run(self) -> bool {
        match self.rounds().await {
            Ok(all) => all,
            Err(error) => {
                tracing::warn!(webhook = self.webhook.name, %error, cause = fault::cause(&error), "notifications wait");
                false
            }
        }
    }

    async fn rounds(&self) -> S3Result<bool> {
        let address = Address::of(&self.webhook, &self.tools.sealer);
        let (mut after, mut stuck) = (0, HashSet::new());
        for _ in 0..EVENT_PAGES {
            let page =
                self.tools.meta.events(self.webhook.id, after, EVENT_PAGE).await.map_err(fault::meta)?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            let settled = match &address {
                Ok(address) => self.page(address, page, &mut stuck).await,
                Err(why) => self.nowhere(page, why),
            };
            let none_taken = settled.done.is_empty();
            let trouble = settled.trouble.is_some();
            self.settle(settled).await?;
            if trouble && none_taken {
                return Ok(false);
            }
        }
        Ok(stuck.is_empty())
    }

    async fn settle(&self, settled: Settled) -> S3Result<()> {
        if settled == Settled::default() {
            return Ok(());
        }
        if let Some(why) = &settled.trouble {
            tracing::warn!(webhook = self.webhook.name, why, "a webhook did not take a notification");
        }
        self.tools.meta.settle_events(self.webhook.id, settled).await.map_err(fault::meta)
    }

    fn is_expired(&self, row: &EventRow) -> bool {
        self.tools.clock.wall().0.saturating_sub(row.time_ms) > MAX_EVENT_AGE_MS
    }

    /// Of a webhook that can't be posted to, only the old ones go.
    fn nowhere(&self, page: Vec<EventRow>, why: &str) -> Settled {
        let expired = page.iter().filter(|row| self.is_expired(row)).map(|row| row.seq).collect();
        Settled { expired, trouble: Some(why.to_owned()), ..Settled::default() }
    }

    /// Posts a page, all keys beside each other. A key that got stuck waits with all its later events.
    async fn page(&self, address: &Address, page: Vec<EventRow>, stuck: &mut HashSet<Name>) -> Settled {
        let mut settled = Settled::default();
        let mut chains: BTreeMap<Name, Vec<EventRow>> = BTreeMap::new();
        for row in page {
            let name = (row.bucket.clone(), row.key.clone());
            if self.is_expired(&row) {
                settled.expired.push(row.seq);
            } else if !stuck.contains(&name) {
                chains.entry(name).or_default().push(row);
            }
        }
        let seen = Seen::default();
        let posted = futures_util::stream::iter(chains)
            .map(|(name, rows)| self.chain(address, &seen, (name, rows)))
            .buffer_unordered(EVENTS_IN_FLIGHT);
        let posted: Vec<Chain> = posted.collect().await;
        for chain in posted {
            settled.done.extend(chain.done);
            if let Some((name, why)) = chain.stuck {
                stuck.insert(name);
                settled.trouble = why.or(settled.trouble);
            }
        }
        settled
    }

    async fn chain(&self, address: &Address, seen: &Seen, (name, rows): (Name, Vec<EventRow>)) -> Chain {
        let mut done = Vec::new();
        for row in rows {
            if seen.is_hopeless() {
                return Chain { done, stuck: Some((name, None)) };
            }
            let body = message::body(&row, &self.tools.region);
            let taken = self.courier.post(address, body).await;
            self.tools.metrics.notified(taken.is_ok());
            match taken {
                Ok(()) => {
                    seen.taken.store(true, Ordering::Relaxed);
                    done.push(row.seq);
                }
                Err(why) => {
                    seen.failed.fetch_add(1, Ordering::Relaxed);
                    return Chain { done, stuck: Some((name, Some(why))) };
                }
            }
        }
        Chain { done, stuck: None }
    }
}

/// What became of the events of one key: where it got stuck, also why, unless nobody tried.
struct Chain {
    done: Vec<u64>,
    stuck: Option<(Name, Option<String>)>,
}

/// What is seen of a webhook while a page is posted to it.
#[derive(Default)]
struct Seen {
    taken: AtomicBool,
    failed: AtomicU32,
}

impl Seen {
    /// It took none of so many: the others are spared the wait for its timeout.
    fn is_hopeless(&self) -> bool {
        !self.taken.load(Ordering::Relaxed) && self.failed.load(Ordering::Relaxed) >= EVENT_GIVE_UP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_bound_and_differ() {
        for failures in 0..40 {
            let whole = EVENT_RETRY.saturating_mul(1 << failures.min(20)).min(EVENT_RETRY_MOST);
            for _ in 0..50 {
                let wait = backoff(failures, &mut SystemRng);
                assert!(wait >= whole / 2 && wait <= whole, "{failures}: {wait:?}");
            }
        }
        let all: HashSet<Duration> = (0..50).map(|_| backoff(10, &mut SystemRng)).collect();
        assert!(all.len() > 10);
    }
}
