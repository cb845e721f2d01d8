//! The materialised state in sled. It can always be rebuilt, so it is flushed only on a clean stop and with a snapshot,
//! so that it does not have to be: durability is the log's.

use crate::error::{ErrorKind, MetaError};
use crate::limits::{MAX_SLED_CACHE_BYTES, MIN_SLED_CACHE_BYTES, SLED_CACHE_DIVISOR};
use crate::state::kv::{Batch, Kv, Pair, Read, Step};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// One sled tree.
pub struct SledKv {
    db: sled::Db,
}

impl SledKv {
    /// Opens or makes the database. sled panics on some damage; that too comes back as an error.
    pub fn open(path: &Path) -> Result<Self, MetaError> {
        let config = sled::Config::new().path(path).cache_capacity(cache_bytes()).flush_every_ms(None);
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => Ok(Self { db }),
            // Somebody still has it open: no reason to call it broken.
            Ok(Err(error)) if error.to_string().contains("could not acquire lock") => {
                let message = "the materialised state is still open elsewhere";
                Err(MetaError::new(ErrorKind::Unavailable, message).with_source(error))
            }
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(MetaError::new(ErrorKind::Corrupt, "sled panicked while opening its files")),
        }
    }
}

/// How much of the state may be in memory.
fn cache_bytes() -> u64 {
    let share = rt::memory::available_bytes().unwrap_or(0) / SLED_CACHE_DIVISOR;
    share.clamp(MIN_SLED_CACHE_BYTES, MAX_SLED_CACHE_BYTES)
}

fn failed(error: sled::Error) -> MetaError {
    MetaError::new(ErrorKind::Storage, "the materialised state failed").with_source(error)
}

impl Read for SledKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        Ok(self.db.get(key).map_err(failed)?.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Step) -> Result<(), MetaError> {
        let mut pairs = self.db.range(from..);
        while let Some(pair) = pairs.next() {
            let (key, value) = pair.map_err(failed)?;
            match visit(&key, &value) {
                Step::Next => {}
                Step::Seek(to) => pairs = self.db.range(to..),
                Step::Stop => break,
            }
        }
        Ok(())
    }

    fn last_below(&self, below: &[u8]) -> Result<Option<Pair>, MetaError> {
        let found = self.db.get_lt(below).map_err(failed)?;
        Ok(found.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }
}

impl Kv for SledKv {
    fn apply(&self, batch: Batch) -> Result<(), MetaError> {
        let mut changes = sled::Batch::default();
        for (key, value) in batch {
            match value {
                Some(value) => changes.insert(key, value),
                None => changes.remove(key),
            }
        }
        self.db.apply_batch(changes).map_err(failed)
    }

    fn flush(&self) -> Result<(), MetaError> {
        self.db.flush().map(|_| ()).map_err(failed)
    }
}
