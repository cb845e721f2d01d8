//! The end of every write: durable on every in-sync replica, then named by the index, then answered.

use crate::conditional::WriteCondition;
use crate::error::{S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::objectlog::Pending;
use meta::MetaError;
use meta::object::Precondition;
use std::future::Future;
use std::sync::Arc;

/// Flushes what `pending` wrote, if anything, then runs `change`, which names it in the index.
///
/// Runs in a task of its own: a client that hangs up now must not leave us between the two, not knowing
/// whether the data is named.
pub async fn commit<T: Send + 'static>(
    shared: &Arc<Shared>,
    pending: Option<Pending>,
    change: impl Future<Output = Result<T, MetaError>> + Send + 'static,
) -> S3Result<T> {
    let log = Arc::clone(&shared.log);
    let task = tokio::spawn(async move {
        if pending.is_some() {
            log.flush().await?;
        }
        let outcome = change.await;
        if let Some(pending) = pending {
            match &outcome {
                Err(error) if fault::is_certain(error) => drop(pending),
                // Named, or perhaps named: the next start's sweep looks which.
                _ => pending.keep(),
            }
        }
        // Whatever was replaced is garbage now.
        log.garbage_made();
        outcome.map_err(fault::meta)
    });
    task.await.map_err(S3Error::internal)?
}

/// A write's condition as the index checks it.
pub fn precondition(condition: WriteCondition) -> Precondition {
    match condition {
        WriteCondition::None => Precondition::None,
        WriteCondition::Absent => Precondition::IfNoneMatchAny,
        WriteCondition::Matches(etag) => Precondition::IfMatch(etag),
    }
}
