//! Asks, before a long body is read or copied, whether a quota would refuse it in the end. Only an early look: the step
//! that commits decides. Below a length, what is written in vain costs less than asking every time would.

use crate::error::S3Result;
use crate::fault;
use crate::gateway::Shared;
use crate::limits::EARLY_QUOTA_BYTES;
use meta::quota::Incoming;

/// Errors: `QuotaExceeded`.
pub async fn check(shared: &Shared, bucket: &str, incoming: Incoming, bytes: u64) -> S3Result<()> {
    if bytes < EARLY_QUOTA_BYTES {
        return Ok(());
    }
    shared.meta.room(bucket, incoming, bytes).await.map_err(fault::meta)
}

/// The same for an object under a key.
pub async fn check_object(shared: &Shared, (bucket, key): (&str, &str), bytes: u64) -> S3Result<()> {
    check(shared, bucket, Incoming::Object { key: key.to_owned() }, bytes).await
}
