//! A clock that stands still and two keys, for tests.

use std::sync::Arc;

use rt::clock::{Clock, Instant, WallMillis};

use super::holder::Holder;
use super::keys::{KeyFuture, KeyRecord, KeyStatus, KeyStore, Secret};
use super::{Authenticated, Authenticator};
use crate::error::S3Result;

/// The key of AWS's published examples.
pub const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub const DISABLED_KEY_ID: &str = "AKIADISABLED";
/// 2013-05-24T00:00:00Z, the moment of AWS's examples.
pub const EXAMPLE_S: u64 = 1_369_353_600;

struct StillClock(u64);

impl Clock for StillClock {
    fn now(&self) -> Instant {
        Instant(1)
    }

    fn wall(&self) -> WallMillis {
        WallMillis(self.0 * 1000)
    }
}

struct TwoKeys;

impl KeyStore for TwoKeys {
    fn key<'a>(&'a self, access_key_id: &'a str, _: Option<&'a str>) -> KeyFuture<'a> {
        let status = match access_key_id {
            KEY_ID => Some(KeyStatus::Active),
            DISABLED_KEY_ID => Some(KeyStatus::Disabled),
            _ => None,
        };
        let record = status.map(|status| KeyRecord {
            secret: Secret::new(SECRET),
            status,
            owner: "owner".into(),
            holder: Holder::root("owner"),
        });
        Box::pin(async move { Ok(record.map(Arc::new)) })
    }
}

/// The configured region.
pub const REGION: &str = "ashlar-1";

/// Runs `request` past an authenticator whose clock shows `unix_s`.
pub async fn authenticate<B>(request: http::Request<B>, unix_s: u64) -> S3Result<Authenticated> {
    let (parts, _) = request.into_parts();
    Authenticator::new(Arc::new(TwoKeys), Arc::new(StillClock(unix_s)), REGION).authenticate(&parts).await
}
