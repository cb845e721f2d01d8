//! Encrypts the keys of objects anew with the newest pool key, where the key file asks for it, so that older ones come to
//! open nothing and can go. The data stays as it is.
//!
//! Several gateways that do it at once do no harm: each step names what it saw, and is refused if that is another now.

use super::key_file::KeyFile;
use super::keyring::Keyring;
use super::wrap::Name;
use crate::error::{S3Error, S3Result};
use crate::fault;
use crate::limits::{
    KEY_FILE_LOOK_EVERY, MAX_BUCKET_PAGE, REWRAP_AGAIN_AFTER, REWRAP_PAGE, REWRAP_PAUSE, REWRAPS_IN_FLIGHT,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use meta::client::Client;
use meta::error::ErrorKind;
use meta::object::{FoundVersion, VersionRef};
use meta::query::{ListVersions, ObjectPart};
use meta::sealing::{PoolKeyId, SealedBy};
use rt::clock::{Clock, Instant};
use rt::rng::SystemRng;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A gateway's worker. Dropping it stops it, in the middle of whatever it does.
pub struct RewrapWorker(JoinHandle<()>);

impl RewrapWorker {
    pub fn start(meta: Client, keyring: Arc<Keyring>, clock: Arc<dyn Clock>) -> Self {
        Self(tokio::spawn(async move {
            let mut last: Option<(PoolKeyId, Instant)> = None;
            loop {
                tokio::time::sleep(KEY_FILE_LOOK_EVERY).await;
                let Some(keys) = keyring.to_rewrap() else { continue };
                let newest = keys.newest().id;
                // Unfinished uploads keep their keys until they are objects, so one pass may not be the end of it.
                let recent = |at: Instant| clock.now().since(at) < REWRAP_AGAIN_AFTER;
                if last.is_some_and(|(of, at)| of == newest && recent(at)) {
                    continue;
                }
                match (Pass { meta: &meta, keys: &keys }).run().await {
                    Ok(Some(count)) => {
                        tracing::info!(count, %newest, "objects' keys were encrypted anew");
                        last = Some((newest, clock.now()));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, cause = fault::cause(&error), "objects' keys wait to be encrypted anew");
                    }
                }
            }
        }))
    }
}

impl Drop for RewrapWorker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Pass<'a> {
    meta: &'a Client,
    keys: &'a KeyFile,
}

impl Pass<'_> {
    /// Goes over all objects; how many were changed, or `None` if none needs to be.
    async fn run(&self) -> S3Result<Option<u64>> {
        let known = self.meta.pool_keys().await.map_err(fault::meta)?;
        let newest = self.keys.newest().id;
        if known.iter().all(|key| key.uses == 0 || key.id == newest || self.keys.key(key.id).is_none()) {
            return Ok(None);
        }
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.meta.buckets("", after, MAX_BUCKET_PAGE).await.map_err(fault::meta)?;
            for bucket in page.buckets {
                count += self.bucket(bucket.name).await?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(Some(count)),
            }
        }
    }

    async fn bucket(&self, bucket: String) -> S3Result<u64> {
        let mut list = ListVersions { bucket, limit: REWRAP_PAGE, ..ListVersions::default() };
        let mut count = 0;
        loop {
            let page = match self.meta.list_versions(list.clone()).await {
                Ok(page) => page,
                // It is gone, with all that was in it.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => return Ok(count),
                Err(error) => return Err(fault::meta(error)),
            };
            let bucket = &list.bucket;
            let objects = page.versions.into_iter().filter(|version| !version.marker);
            let changes =
                objects.map(|found| async move { self.object(bucket, &found.key, found.version).await });
            count += futures_util::stream::iter(changes)
                .buffer_unordered(REWRAPS_IN_FLIGHT)
                .try_fold(0, |sum, changed| async move { Ok(sum + u64::from(changed)) })
                .await?;
            let Some((key, version)) = page.next else { return Ok(count) };
            (list.after_key, list.after_version) = (Some(key), version.map(VersionRef::Id));
            tokio::time::sleep(REWRAP_PAUSE).await;
        }
    }

    /// Whether it was changed. What is overwritten or deleted meanwhile needs no change.
    async fn object(&self, bucket: &str, key: &str, version: VersionRef) -> S3Result<bool> {
        let found = match self.meta.version((bucket, key), Some(version), ObjectPart::Head).await {
            Ok(FoundVersion::Object(found)) => found,
            Ok(FoundVersion::DeleteMarker { .. }) => return Ok(false),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => return Ok(false),
            Err(error) => return Err(fault::meta(error)),
        };
        let Some(sealing) = found.sealing else { return Ok(false) };
        let newest = self.keys.newest();
        let SealedBy::Pool(id) = sealing.by else { return Ok(false) };
        let Some(old) = self.keys.key(id).filter(|_| id != newest.id) else { return Ok(false) };
        let name = Name { bucket, key };
        let Some(data_key) = old.unwrap(name, &sealing.wrapped) else {
            // Left as it is: a read of it says so too.
            let error = S3Error::internal("an object's key does not open with its pool key");
            tracing::error!(%error, bucket, key, "an object's key can't be encrypted anew");
            return Ok(false);
        };
        let wrapped = newest.wrap(&mut SystemRng, name, &data_key);
        let change =
            self.meta.rewrap((bucket, key), Some(version), sealing.wrapped, (newest.id, wrapped)).await;
        match change {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::PreconditionFailed | ErrorKind::NotFound(_)) => {
                Ok(false)
            }
            Err(error) => Err(fault::meta(error)),
        }
    }
}
