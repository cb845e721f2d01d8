//! The pool keys of a gateway: where they come from, and how they change while it serves.
//!
//! Which keys there are is noted by the control plane, before anything is sealed with them. So a file that is missing, or
//! another pool's, is found at the start: a new key is made only for a pool that never had one.

use super::key_file::KeyFile;
use super::wrap::PoolKey;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::limits::KEY_FILE_LOOK_EVERY;
use meta::client::Client;
use meta::error::ErrorKind;
use meta::sealing::{PoolKeyId, PoolKeyRecord};
use rt::rng::SystemRng;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;

/// What a gateway opens and seals objects' keys with. Dropping it ends the looking at its file.
pub struct Keyring {
    inner: Arc<Inner>,
    looking: JoinHandle<()>,
}

struct Inner {
    meta: Client,
    pool: String,
    path: Option<PathBuf>,
    /// `None` while the pool has no key yet.
    keys: Mutex<Option<Arc<KeyFile>>>,
    /// Held by who makes the first one, or takes the file's new ones.
    changing: tokio::sync::Mutex<()>,
}

impl Keyring {
    /// Reads the file, if there is one.
    ///
    /// Errors: `ServiceUnavailable`, if it lacks keys that the pool needs, with what to do about it.
    pub async fn open(meta: Client, path: Option<PathBuf>) -> S3Result<Self> {
        let pool = meta.status().await.map_err(fault::meta)?.pool;
        let pool = pool.ok_or_else(|| unusable("the pool was not made yet".to_owned()))?.id;
        let inner =
            Inner { meta, pool, path, keys: Mutex::default(), changing: tokio::sync::Mutex::default() };
        let known = inner.meta.pool_keys().await.map_err(fault::meta)?;
        match inner.read().await.map_err(unusable)? {
            None if known.is_empty() => {}
            None => return Err(unusable(inner.missing(&known))),
            Some(file) => {
                inner.check(&file, &known).map_err(unusable)?;
                inner.take(file).await?;
                let path = inner.path.as_deref().unwrap_or(Path::new("")).display().to_string();
                tracing::warn!(
                    path,
                    "objects are encrypted with the keys in this file: without it they are lost; keep a copy elsewhere"
                );
            }
        }
        let inner = Arc::new(inner);
        let looking = tokio::spawn(look_again(Arc::clone(&inner)));
        Ok(Self { inner, looking })
    }

    /// The key that wraps. The pool's first is made here, when it is first needed.
    pub async fn newest(&self) -> S3Result<PoolKey> {
        if let Some(keys) = self.inner.keys() {
            return Ok(keys.newest().clone());
        }
        let _changing = self.inner.changing.lock().await;
        match self.inner.keys() {
            Some(keys) => Ok(keys.newest().clone()),
            None => self.inner.make().await,
        }
    }

    /// The keys, if what the older ones open is to be encrypted anew with the newest.
    pub fn to_rewrap(&self) -> Option<Arc<KeyFile>> {
        self.inner.keys().filter(|keys| keys.rewrap && keys.keys.len() > 1)
    }

    /// A key that opens.
    pub fn key(&self, id: PoolKeyId) -> S3Result<PoolKey> {
        let found = self.inner.keys().and_then(|keys| keys.key(id).cloned());
        found.ok_or_else(|| {
            let why = format!("this gateway has no pool key {id}; put it into its key file");
            tracing::error!(why, "an object can't be opened");
            S3Error::with(S3Code::ServiceUnavailable, "The key of this object is not available here")
                .source(why)
        })
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

fn unusable(why: String) -> S3Error {
    S3Error::with(S3Code::ServiceUnavailable, why)
}

impl Inner {
    fn keys(&self) -> Option<Arc<KeyFile>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<KeyFile>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self) -> Result<Option<KeyFile>, String> {
        let Some(path) = self.path.clone() else { return Ok(None) };
        // It may lie on a file system that hangs.
        tokio::task::spawn_blocking(move || KeyFile::read(&path)).await.map_err(|error| error.to_string())?
    }

    fn missing(&self, known: &[PoolKeyRecord]) -> String {
        let ids: Vec<String> = known.iter().map(|key| key.id.to_string()).collect();
        let ids = ids.join(", ");
        match &self.path {
            Some(path) => format!(
                "the pool key file {} is missing, and the pool has encrypted objects; put it back from a copy, or name \
                 the right one with --pool-key (its keys: {ids})",
                path.display()
            ),
            None => {
                format!("the pool has encrypted objects; name the file of its keys with --pool-key ({ids})")
            }
        }
    }

    /// Whether the file is this pool's, and has all keys that open something.
    fn check(&self, file: &KeyFile, known: &[PoolKeyRecord]) -> Result<(), String> {
        let path = self.path.as_deref().unwrap_or(Path::new("")).display();
        if file.pool != self.pool {
            return Err(format!(
                "the pool key file {path} is of the pool {}, and this pool is {}; name the right one with --pool-key",
                file.pool, self.pool
            ));
        }
        let lacking: Vec<String> = known
            .iter()
            .filter(|key| key.uses > 0 && file.key(key.id).is_none())
            .map(|key| key.id.to_string())
            .collect();
        if lacking.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the pool key file {path} lacks keys of encrypted objects: {}; put it back from a copy",
            lacking.join(", ")
        ))
    }

    /// Goes on with what the file holds: the control plane is told first.
    async fn take(&self, file: KeyFile) -> S3Result<()> {
        for key in &file.keys {
            self.meta.note_pool_key(key.id, false).await.map_err(fault::meta)?;
        }
        *self.lock() = Some(Arc::new(file));
        Ok(())
    }

    /// Makes the pool's first key: durable in its file before the control plane knows, and there before it is used.
    async fn make(&self) -> S3Result<PoolKey> {
        let Some(path) = self.path.clone() else {
            let why = "Server-side encryption needs a pool key: start the gateway with --pool-key FILE";
            return Err(S3Error::with(S3Code::NotImplemented, why));
        };
        // Put there since the last look.
        if let Some(file) = self.read().await.map_err(unusable)? {
            let known = self.meta.pool_keys().await.map_err(fault::meta)?;
            self.check(&file, &known).map_err(unusable)?;
            let newest = file.newest().clone();
            self.take(file).await?;
            return Ok(newest);
        }
        let known = self.meta.pool_keys().await.map_err(fault::meta)?;
        if !known.is_empty() {
            return Err(unusable(self.missing(&known)));
        }
        let file = KeyFile::new(&self.pool, &mut SystemRng);
        let newest = file.newest().clone();
        let (written, at) = (file.clone(), path.clone());
        let created = tokio::task::spawn_blocking(move || written.create(&at)).await;
        created.map_err(S3Error::internal)?.map_err(unusable)?;
        if let Err(error) = self.meta.note_pool_key(newest.id, true).await {
            if error.kind() == ErrorKind::PreconditionFailed {
                // Another gateway was first. Nothing was sealed with this one.
                let _ = std::fs::remove_file(&path);
                let known = self.meta.pool_keys().await.map_err(fault::meta)?;
                return Err(unusable(self.missing(&known)));
            }
            return Err(fault::meta(error));
        }
        *self.lock() = Some(Arc::new(file));
        tracing::warn!(
            path = %path.display(), key = %newest.id,
            "a pool key was made: without this file encrypted objects are lost; keep a copy elsewhere"
        );
        Ok(newest)
    }

    /// Takes what the file holds now, if it can be used. What can't is said once, and the keys of before go on.
    async fn look(&self, said: &mut Option<String>) {
        let _changing = self.changing.lock().await;
        let trouble = match self.read().await {
            Ok(found) if found.as_ref() == self.keys().as_deref() => None,
            Ok(Some(file)) => self.change(file).await.err(),
            Ok(None) => self.keys().map(|_| "it is gone; put it back".to_owned()),
            Err(why) => Some(why),
        };
        if let Some(why) = trouble.as_ref().filter(|_| *said != trouble) {
            tracing::warn!(
                why,
                "the pool key file can't be used as it is now; the keys of before are gone on with"
            );
        }
        *said = trouble;
    }

    async fn change(&self, file: KeyFile) -> Result<(), String> {
        let known = self.meta.pool_keys().await.map_err(|error| error.to_string())?;
        self.check(&file, &known)?;
        let (newest, count) = (file.newest().id, file.keys.len());
        self.take(file).await.map_err(|error| error.to_string())?;
        tracing::info!(%newest, count, "the pool key file changed: the newest key is used from now on");
        Ok(())
    }
}

async fn look_again(inner: Arc<Inner>) {
    let mut said = None;
    loop {
        tokio::time::sleep(KEY_FILE_LOOK_EVERY).await;
        inner.look(&mut said).await;
    }
}
