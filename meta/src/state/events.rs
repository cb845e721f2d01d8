//! Webhooks, and the events that wait for them. A row is written in the step that makes the change it tells of, so
//! that neither can be there without the other; it goes when the webhook has it, or when it is given up.

use super::kv::{Read, Step};
use super::pool::{all, next_number};
use super::txn::{Txn, decode, load};
use super::versions::same_bucket;
use super::{Outcome, keys, names, objects, stored};
use crate::command::{Annotate, Command, DeleteVersion, Deletion, Response};
use crate::error::{Entity, ErrorKind, MetaError, Refusal};
use crate::event::{
    EventBy, EventCause, EventKeeper, EventKind, EventRoute, EventRow, Settled, WebhookRecord, WebhookState,
    WebhookStatus,
};
use crate::identity::account_of;
use crate::limits::{
    EVENT_LEASE_MS, MAX_EVENT_PAGE, MAX_EVENT_ROUTES, MAX_EVENTS, MAX_KEY_BYTES, MAX_LABEL_BYTES,
    MAX_SEALED_BYTES, MAX_SETTING_BYTES, MAX_URL_BYTES, MAX_WEBHOOKS, MAX_WHY_BYTES,
};
use crate::object::{BucketRecord, VersionRef};
use crate::setting::SettingKind;

/// Who is said to delete what has expired, as AWS says it.
const EXPIRER: &str = "s3.amazonaws.com";

pub fn add(txn: &mut Txn<'_>, mut webhook: WebhookRecord) -> Outcome<()> {
    names::webhook(&webhook.name)?;
    webhook.account.as_deref().map_or(Ok(()), names::account)?;
    let token = webhook.token.as_ref().map_or(0, |token| token.0.len());
    if webhook.url.is_empty() || webhook.url.len() > MAX_URL_BYTES || token > MAX_SEALED_BYTES {
        return Err(Refusal::invalid("a webhook's URL or token is empty or too long").into());
    }
    if find(txn, &webhook.name)?.is_some() {
        let message = format!("there is a webhook '{}' already", webhook.name);
        return Err(Refusal::new(ErrorKind::Exists(Entity::Webhook), message).into());
    }
    if all::<WebhookRecord>(txn, keys::webhooks())?.len() >= MAX_WEBHOOKS {
        return Err(Refusal::invalid(format!("a pool has {MAX_WEBHOOKS} webhooks at most")).into());
    }
    webhook.id = next_number(txn, keys::Counter::Webhook)?;
    txn.put(keys::webhook_state(webhook.id), &WebhookState::default())?;
    Ok(txn.put(keys::webhook(&webhook.name), &webhook)?)
}

/// Takes a webhook away that no bucket names, with what waits for it; not all at once, if that is much. Answers how
/// many events are left, and with them the webhook.
pub fn remove(txn: &mut Txn<'_>, name: &str) -> Outcome<u64> {
    let webhook = existing(txn, name)?;
    if let Some(bucket) = user_of(txn, name)? {
        let message = format!("bucket '{bucket}' notifies the webhook '{name}'; end that first");
        return Err(Refusal::new(ErrorKind::InUse(Entity::Webhook), message).into());
    }
    let rows = page(txn, webhook.id, 0, MAX_EVENT_PAGE)?;
    let state = state(txn, webhook.id)?;
    for row in &rows {
        txn.delete(keys::event(webhook.id, row.seq));
    }
    let left = state.backlog.saturating_sub(rows.len() as u64);
    if left == 0 || rows.is_empty() {
        txn.delete(keys::webhook(name));
        txn.delete(keys::webhook_state(webhook.id));
        return Ok(0);
    }
    txn.put(keys::webhook_state(webhook.id), &WebhookState { backlog: left, ..state })?;
    Ok(left)
}

/// A bucket that names the webhook.
fn user_of(view: &dyn Read, webhook: &str) -> Outcome<Option<String>> {
    let uses = |routes: &RoutesRecord| routes.routes.iter().any(|route| route.webhook == webhook);
    let all: Vec<RoutesRecord> = all(view, keys::all_routes())?;
    Ok(all.into_iter().find(uses).map(|routes| routes.bucket))
}

fn find(view: &dyn Read, name: &str) -> Result<Option<WebhookRecord>, MetaError> {
    load(view, &keys::webhook(name))
}

fn existing(view: &dyn Read, name: &str) -> Outcome<WebhookRecord> {
    let missing =
        || Refusal::not_found(Entity::Webhook, format!("there is no webhook '{}'", names::shown(name)));
    Ok(find(view, name)?.ok_or_else(missing)?)
}

fn state(view: &dyn Read, id: u64) -> Result<WebhookState, MetaError> {
    Ok(load(view, &keys::webhook_state(id))?.unwrap_or_default())
}

/// All webhooks, by name.
pub fn list(view: &dyn Read) -> Outcome<Vec<WebhookStatus>> {
    let records: Vec<WebhookRecord> = all(view, keys::webhooks())?;
    let status = |record: WebhookRecord| {
        let (state, oldest) = (state(view, record.id)?, page(view, record.id, 0, 1)?);
        Ok(WebhookStatus { record, state, oldest_ms: oldest.first().map(|row| row.time_ms) })
    };
    records.into_iter().map(status).collect()
}

/// What a bucket's configuration comes to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct RoutesRecord {
    bucket: String,
    routes: Vec<EventRoute>,
}

fn routes_of(view: &dyn Read, bucket: u64) -> Result<Vec<EventRoute>, MetaError> {
    let found: Option<RoutesRecord> = load(view, &keys::routes(bucket))?;
    Ok(found.map(|found| found.routes).unwrap_or_default())
}

/// Whether changes to a bucket's objects are told.
pub fn notifies(view: &dyn Read, bucket: u64) -> Result<bool, MetaError> {
    Ok(view.get(&keys::routes(bucket))?.is_some())
}

/// Puts a bucket's configuration and its routes, and tells each one's webhook of it; without a text, takes them away.
pub fn configure(
    txn: &mut Txn<'_>,
    (name, id): (&str, u64),
    (text, routes): (Option<String>, Vec<EventRoute>),
    by: &EventBy,
    now_ms: u64,
) -> Outcome<()> {
    let bucket = same_bucket(txn, name, id)?;
    let Some(text) = text else {
        forget(txn, id)?;
        let setting = keys::setting(id, SettingKind::Notification);
        if txn.get(&setting)?.is_some() {
            txn.delete(setting);
        }
        return Ok(());
    };
    let fits = |route: &EventRoute| {
        route.prefix.len() <= MAX_KEY_BYTES
            && route.suffix.len() <= MAX_KEY_BYTES
            && route.configuration.len() <= MAX_KEY_BYTES
    };
    let many = routes.is_empty() || routes.len() > MAX_EVENT_ROUTES;
    if text.is_empty() || text.len() > MAX_SETTING_BYTES || many || !routes.iter().all(fits) {
        return Err(Refusal::invalid("the notification configuration is empty or too long").into());
    }
    let mut webhooks = Vec::with_capacity(routes.len());
    for route in &routes {
        let webhook = existing(txn, &route.webhook)?;
        if webhook.account.as_deref().is_some_and(|account| account != account_of(&bucket.owner)) {
            // As if it were not there: its name is nobody else's business.
            let message = format!("there is no webhook '{}'", route.webhook);
            return Err(Refusal::not_found(Entity::Webhook, message).into());
        }
        webhooks.push(webhook.id);
    }
    txn.put(keys::setting(id, SettingKind::Notification), &text)?;
    let record = RoutesRecord { bucket: name.to_owned(), routes };
    txn.put(keys::routes(id), &record)?;
    for (route, webhook) in record.routes.iter().zip(webhooks) {
        let row = Happened { key: "", version: None, size: None, etag: None, kind: EventKind::Test };
        append(txn, &bucket, webhook, row.told(route, by, now_ms))?;
    }
    Ok(())
}

/// Forgets where a bucket's events go.
pub fn forget(txn: &mut Txn<'_>, bucket: u64) -> Outcome<()> {
    if txn.get(&keys::routes(bucket))?.is_some() {
        txn.delete(keys::routes(bucket));
    }
    Ok(())
}

/// What a change is about, kept while it is made.
enum About {
    /// What a name leads to afterwards.
    Name {
        key: String,
    },
    Deletions {
        keys: Vec<String>,
    },
}

impl About {
    /// Of a change that may be told, with its bucket and time.
    fn of(change: &Command) -> Result<(String, u64, Self), Refusal> {
        let (bucket, now_ms, about) = match change {
            Command::PutVersion { bucket, key, now_ms, .. }
            | Command::PutSealed { bucket, key, now_ms, .. }
            | Command::CompleteVersion { bucket, key, now_ms, .. }
            | Command::Annotate {
                bucket,
                key,
                change: Annotate::Tags(_) | Annotate::Acl { .. },
                now_ms,
                ..
            } => (bucket, *now_ms, Self::Name { key: key.clone() }),
            Command::DeleteVersions { bucket, objects, now_ms } => {
                let keys = objects.iter().map(|object| object.key.clone()).collect();
                (bucket, *now_ms, Self::Deletions { keys })
            }
            _ => return Err(Refusal::invalid("a change of this kind is not told to anybody")),
        };
        Ok((bucket.clone(), now_ms, about))
    }
}

/// Makes a change, and the rows that tell of it.
pub fn told(txn: &mut Txn<'_>, change: Command, cause: &EventCause) -> Outcome<Response> {
    let (bucket, now_ms, about) = About::of(&change)?;
    let longest = [&cause.by.principal, &cause.by.source, &cause.by.request, &cause.by.host];
    if longest.into_iter().any(|text| text.len() > MAX_KEY_BYTES) {
        return Err(Refusal::invalid("who brought a change about has too long a name").into());
    }
    let response = super::dispatch(txn, change)?;
    let bucket = objects::bucket(txn, &bucket)?;
    let routes = routes_of(txn, bucket.id)?;
    if routes.is_empty() {
        return Ok(response);
    }
    let teller = Teller { bucket: &bucket, routes: &routes, by: &cause.by, now_ms };
    match (about, &response) {
        (About::Name { key }, Response::Version(version)) => {
            if let Some(there) = stored::find(txn, bucket.id, &key, *version)? {
                let (size, etag) = (Some(there.size), Some(there.etag));
                let what = Happened { key: &key, version: *version, size, etag, kind: cause.kind };
                teller.tell(txn, &what)?;
            }
        }
        (About::Deletions { keys }, Response::DeletedVersions(results)) => {
            for (key, result) in keys.iter().zip(results) {
                if let Ok(deletion) = result {
                    teller.deletion(
                        txn,
                        key,
                        *deletion,
                        [EventKind::RemovedDelete, EventKind::RemovedMarker],
                    )?;
                }
            }
        }
        _ => {}
    }
    Ok(response)
}

/// Tells of what a lifecycle took away.
pub fn expired(
    txn: &mut Txn<'_>,
    bucket: &BucketRecord,
    gone: &DeleteVersion,
    deletion: Deletion,
    now_ms: u64,
) -> Outcome<()> {
    let routes = routes_of(txn, bucket.id)?;
    if routes.is_empty() {
        return Ok(());
    }
    let by = EventBy { principal: EXPIRER.to_owned(), source: EXPIRER.to_owned(), ..EventBy::default() };
    let teller = Teller { bucket, routes: &routes, by: &by, now_ms };
    teller.deletion(txn, &gone.key, deletion, [EventKind::ExpiredDelete, EventKind::ExpiredMarker])
}

/// What happened to one name.
struct Happened<'a> {
    key: &'a str,
    version: Option<VersionRef>,
    size: Option<u64>,
    etag: Option<String>,
    kind: EventKind,
}

impl Happened<'_> {
    fn told(&self, route: &EventRoute, by: &EventBy, now_ms: u64) -> EventRow {
        EventRow {
            seq: 0,
            kind: self.kind,
            configuration: route.configuration.clone(),
            bucket: String::new(),
            owner: String::new(),
            key: self.key.to_owned(),
            version: self.version,
            size: self.size,
            etag: self.etag.clone(),
            time_ms: now_ms,
            by: by.clone(),
        }
    }
}

struct Teller<'a> {
    bucket: &'a BucketRecord,
    routes: &'a [EventRoute],
    by: &'a EventBy,
    now_ms: u64,
}

impl Teller<'_> {
    /// A deletion is told as the first of two kinds, or as the second if it left a delete marker. One that changed
    /// nothing isn't told.
    fn deletion(
        &self,
        txn: &mut Txn<'_>,
        key: &str,
        deletion: Deletion,
        [gone, covered]: [EventKind; 2],
    ) -> Outcome<()> {
        // A marker that was named is one that went.
        let made = match deletion.version {
            Some(version) if deletion.marker => {
                stored::find(txn, self.bucket.id, key, Some(version))?.is_some()
            }
            _ => false,
        };
        if !made && !deletion.existed {
            return Ok(());
        }
        let kind = if made { covered } else { gone };
        self.tell(txn, &Happened { key, version: deletion.version, size: None, etag: None, kind })
    }

    fn tell(&self, txn: &mut Txn<'_>, what: &Happened<'_>) -> Outcome<()> {
        for route in self.routes.iter().filter(|route| route.matches(what.kind, what.key)) {
            // It can't be removed while a route names it.
            if let Some(webhook) = find(txn, &route.webhook)? {
                append(txn, self.bucket, webhook.id, what.told(route, self.by, self.now_ms))?;
            }
        }
        Ok(())
    }
}

/// Puts a row behind the others of its webhook. Where there are too many, the oldest gives way: what is told last is
/// nearest to how things are.
fn append(txn: &mut Txn<'_>, bucket: &BucketRecord, webhook: u64, row: EventRow) -> Outcome<()> {
    let mut state = state(txn, webhook)?;
    if state.backlog >= MAX_EVENTS
        && let Some(oldest) = page(txn, webhook, 0, 1)?.first()
    {
        txn.delete(keys::event(webhook, oldest.seq));
        state.backlog -= 1;
        state.dropped_full += 1;
    }
    let seq = next_number(txn, keys::Counter::Event)?;
    let (name, owner) = (bucket.name.clone(), account_of(&bucket.owner).to_owned());
    txn.put(keys::event(webhook, seq), &EventRow { seq, bucket: name, owner, ..row })?;
    state.backlog += 1;
    Ok(txn.put(keys::webhook_state(webhook), &state)?)
}

/// Rows of a webhook after a number, in order.
pub fn page(view: &dyn Read, webhook: u64, after: u64, limit: u32) -> Result<Vec<EventRow>, MetaError> {
    let within = keys::events(webhook);
    let limit = limit.clamp(1, MAX_EVENT_PAGE) as usize;
    let (mut rows, mut failed) = (Vec::new(), None);
    let Some(from) = after.checked_add(1) else { return Ok(rows) };
    view.scan(&keys::event(webhook, from), &mut |key, value| {
        if !key.starts_with(&within) || rows.len() == limit {
            return Step::Stop;
        }
        match decode(value) {
            Ok(row) => rows.push(row),
            Err(error) => {
                failed = Some(error);
                return Step::Stop;
            }
        }
        Step::Next
    })?;
    failed.map_or(Ok(rows), Err)
}

/// Takes away rows that the webhook has, or that were given up. Those that are gone already are not counted again.
pub fn settle(txn: &mut Txn<'_>, webhook: u64, settled: Settled, now_ms: u64) -> Outcome<()> {
    let key = keys::webhook_state(webhook);
    // A webhook that was removed meanwhile has nothing left.
    let Some(mut state) = load::<WebhookState>(txn, &key)? else { return Ok(()) };
    if settled.done.len() + settled.expired.len() > MAX_EVENT_PAGE as usize {
        return Err(Refusal::invalid(format!("at most {MAX_EVENT_PAGE} events are settled at once")).into());
    }
    let mut take = |seqs: &[u64]| -> Outcome<u64> {
        let mut taken = 0;
        for seq in seqs {
            let row = keys::event(webhook, *seq);
            if txn.get(&row)?.is_some() {
                txn.delete(row);
                taken += 1;
            }
        }
        Ok(taken)
    };
    let (done, expired) = (take(&settled.done)?, take(&settled.expired)?);
    state.backlog = state.backlog.saturating_sub(done + expired);
    state.delivered += done;
    state.dropped_old += expired;
    if done > 0 {
        state.delivered_ms = now_ms;
    }
    if let Some(trouble) = settled.trouble {
        state.failed_ms = now_ms;
        state.trouble = trouble.chars().take(MAX_WHY_BYTES / 4).collect();
    }
    Ok(txn.put(key, &state)?)
}

/// Gives the work of posting to who asks, unless another holds it.
pub fn keep(txn: &mut Txn<'_>, worker: u64, now_ms: u64) -> Outcome<EventKeeper> {
    let kept: EventKeeper = load(txn, &keys::event_keeper())?.unwrap_or_default();
    // A time further ahead than any is set to was set before the clock was put back.
    let holds = kept.until_ms > now_ms && kept.until_ms <= now_ms.saturating_add(EVENT_LEASE_MS);
    if kept.worker != worker && holds {
        return Ok(kept);
    }
    let record = EventKeeper { worker, until_ms: now_ms.saturating_add(EVENT_LEASE_MS) };
    txn.put(keys::event_keeper(), &record)?;
    Ok(record)
}

const _: () = assert!(MAX_LABEL_BYTES <= MAX_KEY_BYTES);

#[cfg(test)]
#[path = "events_test.rs"]
mod tests;
