//! Notifications: what buckets tell webhooks.
//!
//! [`config`] reads and writes configurations, [`message`] writes what is told; both are pure. The control plane keeps a
//! row for every event from the step that made it ([`meta::event`]); [`worker`] has [`courier`] post them.
//!
//! Source: S3 User Guide, "Amazon S3 Event Notifications", "Event message structure", "Configuring event notifications
//! using object key name filtering"; S3 API reference, PutBucketNotificationConfiguration.

mod config;
mod courier;
mod message;
mod worker;

pub use config::{Notifications, arn_of, bad_destination};
pub use courier::{check_token, check_url, of_webhook};
pub use worker::{EventWorker, Tools};

use crate::answer::RequestId;
use crate::arrival::Arrival;
use crate::auth::Principal;
use crate::authorize::Granted;
use crate::gateway::Shared;
use http::request::Parts;
use meta::client::Client;
use meta::event::{EventBy, EventCause, EventKind};

/// The control plane, which tells the bucket's webhooks of changes that are made through this. Where the bucket has none,
/// nothing is said of who asks.
pub fn telling(
    shared: &Shared,
    (parts, principal): (&Parts, &Principal),
    granted: &Granted,
    kind: EventKind,
) -> Client {
    let notifies = granted.bucket.as_ref().is_some_and(|bucket| bucket.notifies);
    let cause = notifies.then(|| EventCause { kind, by: by(shared, parts, principal) });
    shared.meta.telling(cause)
}

/// Who asks, as events name it.
pub fn by(shared: &Shared, parts: &Parts, principal: &Principal) -> EventBy {
    EventBy {
        principal: match principal {
            Principal::Anonymous => "Anonymous".to_owned(),
            Principal::Key { holder, .. } => format!("AWS:{}", holder.id()),
        },
        source: parts.extensions.get::<Arrival>().map(|from| from.address().to_string()).unwrap_or_default(),
        request: parts.extensions.get::<RequestId>().map(RequestId::to_string).unwrap_or_default(),
        host: shared.host_id.clone(),
    }
}
