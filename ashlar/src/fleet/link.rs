//! A daemon's side of the fleet: it calls the admin API, reports, and does what it is asked.

use super::{DaemonId, Order, Outcome, Part, Poll};
use crate::error::{Error, Exit};
use crate::limits::{MAX_ANSWER_BYTES, MAX_ORDERS, POLL_RETRY, POLL_TIMEOUT};
use rt::rng::{Rng, SystemRng};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where the admin API is, and what opens it.
#[derive(Clone)]
pub struct Endpoint {
    pub url: String,
    pub token: String,
}

/// Reports and serves until it is dropped.
pub async fn run(part: Arc<dyn Part>, endpoint: Endpoint) {
    let http = match reqwest::Client::builder().no_proxy().timeout(POLL_TIMEOUT).build() {
        Ok(http) => http,
        Err(error) => {
            tracing::error!(%error, "can't make an HTTP client, so nothing can be asked of this daemon");
            return;
        }
    };
    let (sender, receiver) = mpsc::channel(MAX_ORDERS);
    let caller = Caller {
        daemon: part.daemon(),
        instance: hex::encode(SystemRng.id()),
        http,
        endpoint,
        known: BTreeSet::new(),
        outcomes: Vec::new(),
        sender,
        receiver,
        part,
    };
    caller.run().await;
}

struct Caller {
    part: Arc<dyn Part>,
    daemon: DaemonId,
    instance: String,
    http: reqwest::Client,
    endpoint: Endpoint,
    /// Orders taken and not yet reported as done to somebody who heard it.
    known: BTreeSet<u64>,
    outcomes: Vec<Outcome>,
    sender: mpsc::Sender<Outcome>,
    receiver: mpsc::Receiver<Outcome>,
}

impl Caller {
    async fn run(mut self) {
        let mut reached = true;
        loop {
            let brought = self.outcomes.len();
            let calling = call(self.http.clone(), self.endpoint.clone(), self.poll());
            let called = tokio::select! {
                called = calling => called,
                // Done: told at once, by another call. What the broken-off one may have brought comes again.
                Some(outcome) = self.receiver.recv() => {
                    self.outcomes.push(outcome);
                    continue;
                }
            };
            match called {
                Ok(orders) => {
                    if !reached {
                        tracing::info!("the control plane answers again");
                    }
                    reached = true;
                    for outcome in self.outcomes.drain(..brought) {
                        self.known.remove(&outcome.id);
                    }
                    self.take(orders);
                }
                Err(error) => {
                    if reached {
                        tracing::warn!(%error, "the control plane can't be reached; what is served goes on");
                    }
                    reached = false;
                    tokio::time::sleep(POLL_RETRY).await;
                }
            }
        }
    }

    fn poll(&self) -> Poll {
        Poll {
            daemon: self.daemon.clone(),
            instance: self.instance.clone(),
            report: self.part.report(),
            known: self.known.iter().copied().collect(),
            outcomes: self.outcomes.clone(),
        }
    }

    fn take(&mut self, orders: Vec<Order>) {
        for order in orders {
            if !self.known.insert(order.id) {
                continue;
            }
            let performing = Arc::clone(&self.part).perform(order.task);
            let (sender, id) = (self.sender.clone(), order.id);
            tokio::spawn(async move {
                // In a task of its own, so that a panic becomes an answer.
                let result = tokio::spawn(performing)
                    .await
                    .unwrap_or_else(|error| Err(Error::failed(format!("the daemon failed inside: {error}"))));
                let _ = sender.send(Outcome { id, result: result.map_err(Into::into) }).await;
            });
        }
    }
}

async fn call(http: reqwest::Client, endpoint: Endpoint, poll: Poll) -> Result<Vec<Order>, Error> {
    let failed = |error: reqwest::Error| Error::new(Exit::Unavailable, error.without_url().to_string());
    let url = format!("{}/v1/daemons/poll", endpoint.url);
    let response = http.post(url).bearer_auth(&endpoint.token).json(&poll).send().await.map_err(failed)?;
    let status = response.status();
    if response.content_length().is_some_and(|length| length > MAX_ANSWER_BYTES as u64) {
        return Err(Error::failed("the control plane's answer is too long"));
    }
    let bytes = response.bytes().await.map_err(failed)?;
    if status.is_success() {
        return serde_json::from_slice(&bytes).map_err(|error| {
            Error::failed(format!("can't understand the control plane ({error}); is it another version?"))
        });
    }
    let message = match serde_json::from_slice::<crate::api::ErrorBody>(&bytes) {
        Ok(body) => body.error.message,
        Err(_) => format!("it answered {status}"),
    };
    Err(Error::new(Exit::of_status(status.as_u16()), message))
}
