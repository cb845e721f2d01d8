//! What buckets tell webhooks: which changes, to whom, and what is on its way.
//!
//! The control plane reads no configuration. A gateway that parsed one hands its routes along with its text, and a
//! change to an object leaves a row for each route that it matches in the step that makes it: an event is lost only
//! with the change itself. Gateways post the rows.

use crate::identity::Sealed;
use crate::object::VersionRef;
use serde::{Deserialize, Serialize};

/// What happened. Its number is a bit of [`EventRoute::kinds`] and in rows: new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum EventKind {
    CreatedPut,
    CreatedPost,
    CreatedCopy,
    CreatedComplete,
    RemovedDelete,
    RemovedMarker,
    TaggingPut,
    TaggingDelete,
    ExpiredDelete,
    ExpiredMarker,
    /// A configuration was put; every route's webhook is told.
    Test,
    AclPut,
}

impl EventKind {
    pub const fn bit(self) -> u32 {
        1 << (self as u8)
    }
}

/// Where events go. Made by the pool's operator: no tenant says what is connected to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRecord {
    /// Given by the control plane, and never used again; what is proposed has 0.
    pub id: u64,
    pub name: String,
    pub url: String,
    /// What it is shown to prove who posts.
    pub token: Option<Sealed>,
    /// Only buckets of this account may name it.
    pub account: Option<String>,
    pub created_ms: u64,
}

/// One part of a bucket's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRoute {
    /// The webhook's name.
    pub webhook: String,
    /// The configuration's id.
    pub configuration: String,
    /// The [bits](EventKind::bit) of what it is about.
    pub kinds: u32,
    pub prefix: String,
    pub suffix: String,
}

impl EventRoute {
    pub fn matches(&self, kind: EventKind, key: &str) -> bool {
        self.kinds & kind.bit() != 0 && key.starts_with(&self.prefix) && key.ends_with(&self.suffix)
    }
}

/// Who brought a change about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventBy {
    /// As events name it.
    pub principal: String,
    /// The address that the request came from.
    pub source: String,
    pub request: String,
    /// The gateway.
    pub host: String,
}

/// A change, and what it is told as: of a deletion, what became of it says that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCause {
    pub kind: EventKind,
    pub by: EventBy,
}

/// An event on its way to a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// Goes up from event to event of the whole pool.
    pub seq: u64,
    pub kind: EventKind,
    pub configuration: String,
    pub bucket: String,
    pub owner: String,
    /// Empty of a test.
    pub key: String,
    pub version: Option<VersionRef>,
    /// Of what is there after it.
    pub size: Option<u64>,
    pub etag: Option<String>,
    pub time_ms: u64,
    pub by: EventBy,
}

/// How it goes with a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WebhookState {
    /// Events that wait.
    pub backlog: u64,
    pub delivered: u64,
    /// Given up: because there were too many, and because they were too old.
    pub dropped_full: u64,
    pub dropped_old: u64,
    /// When an event was last taken; 0 before the first.
    pub delivered_ms: u64,
    /// When one was last not, and why.
    pub failed_ms: u64,
    pub trouble: String,
}

/// A webhook with how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookStatus {
    pub record: WebhookRecord,
    pub state: WebhookState,
    /// When what waits longest happened.
    pub oldest_ms: Option<u64>,
}

/// Who posts, in the whole pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventKeeper {
    /// Random, of one life of a gateway.
    pub worker: u64,
    /// Until then, by the control plane's clock, nobody else takes the work over.
    pub until_ms: u64,
}

/// What became of rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Settled {
    /// Taken by the webhook.
    pub done: Vec<u64>,
    /// Given up for their age.
    pub expired: Vec<u64>,
    /// Why the last one that wasn't taken was not.
    pub trouble: Option<String>,
}
