//! Webhooks, and what is told them.

use super::Client;
use crate::command::{Annotate, Change, Command, Response};
use crate::error::MetaError;
use crate::event::{
    EventBy, EventCause, EventKeeper, EventRoute, EventRow, Settled, WebhookRecord, WebhookStatus,
};
use crate::query::{Answer, Query};
use std::sync::Arc;

impl Client {
    /// A client whose changes to objects are told to the webhooks of their bucket, if there is a cause to name.
    pub fn telling(&self, cause: Option<EventCause>) -> Self {
        Self { cause: cause.map(Arc::new), ..self.clone() }
    }

    /// Makes a change to objects, told if it is to be.
    pub(super) async fn tell(&self, change: Command) -> Result<Response, MetaError> {
        let is_told = !matches!(
            change,
            Command::Annotate { change: Annotate::Retention { .. } | Annotate::LegalHold(_), .. }
        );
        match self.cause.as_ref().filter(|_| is_told) {
            None => self.propose(change).await,
            Some(cause) => {
                let (change, cause) = (Change(Box::new(change)), EventCause::clone(cause));
                self.propose(Command::Told { change, cause }).await
            }
        }
    }

    pub async fn add_webhook(&self, webhook: WebhookRecord) -> Result<(), MetaError> {
        self.done(Command::AddWebhook(webhook)).await
    }

    /// Takes a webhook away with what waits for it; how many events are left is 0 when it is gone.
    pub async fn remove_webhook(&self, name: &str) -> Result<u64, MetaError> {
        expect!(self.propose(Command::RemoveWebhook { name: name.to_owned() }).await?, Response::Left)
    }

    /// All webhooks, by name.
    pub async fn webhooks(&self) -> Result<Vec<WebhookStatus>, MetaError> {
        expect!(self.query(Query::Webhooks).await?, Answer::Webhooks)
    }

    /// Sets the notification configuration of the bucket with this id, with its routes, or takes it away.
    pub async fn put_notifications(
        &self,
        (bucket, id): (&str, u64),
        (text, routes): (Option<String>, Vec<EventRoute>),
        by: EventBy,
    ) -> Result<(), MetaError> {
        let (bucket, now_ms) = (bucket.to_owned(), self.now_ms());
        self.done(Command::PutNotifications { bucket, id, text, routes, by, now_ms }).await
    }

    /// Takes the work of posting, or goes on holding it. It is another's if the answer names another.
    pub async fn keep_events(&self, worker: u64) -> Result<EventKeeper, MetaError> {
        let command = Command::KeepEvents { worker, now_ms: self.now_ms() };
        expect!(self.propose(command).await?, Response::EventKeeper)
    }

    /// What waits for the webhook with this id, after an event.
    pub async fn events(&self, webhook: u64, after: u64, limit: u32) -> Result<Vec<EventRow>, MetaError> {
        expect!(self.query(Query::Events { webhook, after, limit }).await?, Answer::Events)
    }

    pub async fn settle_events(&self, webhook: u64, settled: Settled) -> Result<(), MetaError> {
        self.done(Command::SettleEvents { webhook, settled, now_ms: self.now_ms() }).await
    }
}
