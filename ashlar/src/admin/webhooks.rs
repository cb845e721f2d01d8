//! Webhooks: where buckets' notifications may go. Tokens are sealed here, where the pool's token is known.

use super::Shared;
use crate::api::{AddWebhook, WebhookView};
use crate::error::Error;
use meta::event::{WebhookRecord, WebhookStatus};
use objectd::auth::seal::Sealer;
use objectd::events::{check_token, check_url, of_webhook};
use rt::clock::{Clock, SystemClock};
use rt::rng::SystemRng;

impl Shared {
    pub async fn webhooks(&self) -> Result<Vec<WebhookView>, Error> {
        Ok(self.meta.webhooks().await?.into_iter().map(view).collect())
    }

    pub async fn add_webhook(&self, asked: AddWebhook) -> Result<WebhookView, Error> {
        if let Some(why) = check_url(&asked.url) {
            return Err(Error::usage(format!("'{}' can't be a webhook's URL: {why}", asked.url)));
        }
        if let Some(why) = asked.token.as_deref().and_then(check_token) {
            return Err(Error::usage(format!("the webhook's token can't be used: {why}")));
        }
        let seal =
            |token: String| Sealer::new(&self.token).seal(&mut SystemRng, &of_webhook(&asked.name), &token);
        let record = WebhookRecord {
            id: 0,
            name: asked.name.clone(),
            url: asked.url,
            token: asked.token.map(seal),
            account: asked.account,
            created_ms: SystemClock.wall().0,
        };
        self.meta.add_webhook(record).await?;
        let mut all = self.webhooks().await?;
        all.retain(|webhook| webhook.name == asked.name);
        all.pop().ok_or_else(|| Error::failed("the webhook was removed at once by somebody else"))
    }

    /// Also what waits for it, a part at a time.
    pub async fn remove_webhook(&self, name: &str) -> Result<(), Error> {
        while self.meta.remove_webhook(name).await? > 0 {}
        Ok(())
    }
}

fn view(webhook: WebhookStatus) -> WebhookView {
    let WebhookStatus { record, state, oldest_ms } = webhook;
    let failing = state.failed_ms > state.delivered_ms;
    WebhookView {
        name: record.name,
        url: record.url,
        has_token: record.token.is_some(),
        account: record.account,
        created_ms: record.created_ms,
        waiting: state.backlog,
        oldest_ms,
        delivered: state.delivered,
        delivered_ms: (state.delivered_ms != 0).then_some(state.delivered_ms),
        dropped_full: state.dropped_full,
        dropped_old: state.dropped_old,
        failing,
        failed_ms: (state.failed_ms != 0).then_some(state.failed_ms),
        last_error: (!state.trouble.is_empty()).then_some(state.trouble),
    }
}
