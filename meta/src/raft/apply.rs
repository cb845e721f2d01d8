//! The Raft state machine: applies committed entries to the state, makes snapshots of it and installs them.

use super::snapshot::{SnapshotFile, SnapshotFolder, SnapshotWriter};
use super::view::{Applied, View};
use super::{
    BatchResult, Entry, LogId, RaftStorageError, SnapshotMeta, StoredMembership, TypeConfig, cant_read,
    cant_write, io_failed,
};
use crate::error::{ErrorKind, MetaError};
use crate::limits::SNAPSHOT_BLOCK_BYTES;
use crate::metrics::MetaMetrics;
use crate::state::kv::Kv;
use crate::state::txn::Txn;
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::fs::File;

/// The state machine of one node.
pub struct Machine<K> {
    view: Arc<View<K>>,
    applied: Applied,
    folder: SnapshotFolder,
    snapshot_bytes: Arc<AtomicU64>,
    metrics: MetaMetrics,
}

impl<K: Kv + Send + Sync + 'static> Machine<K> {
    pub fn new(view: Arc<View<K>>, folder: SnapshotFolder, metrics: MetaMetrics) -> Result<Self, MetaError> {
        let applied = view.applied()?.unwrap_or_default();
        let snapshot_bytes = folder.newest()?.map_or(0, |snapshot| snapshot.len_bytes);
        Ok(Self { view, applied, folder, snapshot_bytes: Arc::new(AtomicU64::new(snapshot_bytes)), metrics })
    }

    /// The length of the newest snapshot, in bytes.
    pub fn snapshot_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.snapshot_bytes)
    }

    fn apply_all(&mut self, entries: impl Iterator<Item = Entry>) -> Result<Vec<BatchResult>, MetaError> {
        let mut txn = Txn::new(&*self.view);
        let mut results = Vec::new();
        let mut applied = self.applied.clone();
        for entry in entries {
            applied.log_id = Some(entry.log_id);
            results.push(match entry.payload {
                EntryPayload::Blank => BatchResult::default(),
                EntryPayload::Membership(membership) => {
                    applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                    BatchResult::default()
                }
                EntryPayload::Normal(batch) => {
                    // The log's cache mostly holds the other reference, so the commands are copied.
                    let commands = Arc::unwrap_or_clone(batch.0);
                    let all = commands.into_iter().map(|command| crate::state::apply(&mut txn, command));
                    BatchResult(all.collect::<Result<_, _>>()?)
                }
            });
        }
        self.view.commit(txn.into_batch(), &applied)?;
        self.applied = applied;
        let index = self.applied.log_id.map_or(0, |log_id| log_id.index);
        self.metrics.applied_index.set(i64::try_from(index).unwrap_or(i64::MAX));
        Ok(results)
    }

    fn install(&mut self, meta: &SnapshotMeta) -> Result<(), MetaError> {
        let temporary = self.folder.temporary("received");
        // Verified to its end before anything is replaced.
        let mut whole = SnapshotFile::open(&temporary)?;
        if whole.meta.last_log_id != meta.last_log_id {
            return Err(MetaError::new(ErrorKind::Corrupt, "the received snapshot is of another log id"));
        }
        whole.by_ref().try_for_each(|block| block.map(|_| ()))?;
        let path = self.folder.publish(&temporary, meta)?;
        let mut snapshot = SnapshotFile::open(&path)?;
        let applied = applied_of(&snapshot.meta);
        self.view.replace(&applied, &mut snapshot)?;
        self.snapshot_bytes.store(snapshot.len_bytes, Ordering::Relaxed);
        self.applied = applied;
        Ok(())
    }
}

/// The applied mark of a state that was filled from a snapshot.
pub fn applied_of(meta: &SnapshotMeta) -> Applied {
    Applied { log_id: meta.last_log_id, membership: meta.last_membership.clone() }
}

impl<K: Kv + Send + Sync + 'static> RaftStateMachine<TypeConfig> for Machine<K> {
    type SnapshotBuilder = Builder<K>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), RaftStorageError> {
        Ok((self.applied.log_id, self.applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<BatchResult>, RaftStorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.apply_all(entries.into_iter()).map_err(|e| cant_write(&e))
    }

    async fn get_snapshot_builder(&mut self) -> Builder<K> {
        self.view.begin_snapshot();
        Builder {
            view: Arc::clone(&self.view),
            applied: self.applied.clone(),
            folder: self.folder.clone(),
            snapshot_bytes: Arc::clone(&self.snapshot_bytes),
            metrics: self.metrics.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<File>, RaftStorageError> {
        let path = self.folder.temporary("received");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).await;
        file.map(Box::new).map_err(|e| cant_write(&io_failed("make", &path, e)))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<File>,
    ) -> Result<(), RaftStorageError> {
        let path = self.folder.temporary("received");
        snapshot.sync_all().await.map_err(|e| cant_write(&io_failed("sync", &path, e)))?;
        self.install(meta).map_err(|e| cant_write(&e))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, RaftStorageError> {
        let newest = self.folder.newest().map_err(|e| cant_read(&e))?;
        let Some(SnapshotFile { path, meta, .. }) = newest else { return Ok(None) };
        let file = File::open(&path).await.map_err(|e| cant_read(&io_failed("open", &path, e)))?;
        Ok(Some(Snapshot { meta, snapshot: Box::new(file) }))
    }
}

/// Writes the snapshot that was begun when it was made.
pub struct Builder<K: Kv> {
    view: Arc<View<K>>,
    applied: Applied,
    folder: SnapshotFolder,
    snapshot_bytes: Arc<AtomicU64>,
    metrics: MetaMetrics,
}

impl<K: Kv> Drop for Builder<K> {
    fn drop(&mut self) {
        self.view.end_snapshot();
    }
}

impl<K: Kv + Send + Sync + 'static> RaftSnapshotBuilder<TypeConfig> for Builder<K> {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, RaftStorageError> {
        let index = self.applied.log_id.map_or(0, |log_id| log_id.index);
        let meta = SnapshotMeta {
            last_log_id: self.applied.log_id,
            last_membership: self.applied.membership.clone(),
            snapshot_id: index.to_string(),
        };
        let (view, folder, written) = (Arc::clone(&self.view), self.folder.clone(), meta.clone());
        let build = tokio::task::spawn_blocking(move || write_snapshot(&view, &folder, &written));
        let joined = build
            .await
            .map_err(|e| MetaError::new(ErrorKind::Storage, "the snapshot's thread died").with_source(e));
        let (path, bytes) = joined.and_then(|built| built).map_err(|e| cant_write(&e))?;
        self.snapshot_bytes.store(bytes, Ordering::Relaxed);
        self.metrics.snapshots.inc();
        tracing::info!(index, bytes, "took a snapshot of the control plane's state");
        let file = File::open(&path).await.map_err(|e| cant_read(&io_failed("open", &path, e)))?;
        Ok(Snapshot { meta, snapshot: Box::new(file) })
    }
}

fn write_snapshot<K: Kv>(
    view: &View<K>,
    folder: &SnapshotFolder,
    meta: &SnapshotMeta,
) -> Result<(std::path::PathBuf, u64), MetaError> {
    let temporary = folder.temporary("building");
    let mut writer = SnapshotWriter::create(&temporary, meta)?;
    loop {
        let page = view.read_snapshot(SNAPSHOT_BLOCK_BYTES)?;
        if page.is_empty() {
            break;
        }
        writer.block(&page)?;
    }
    let bytes = writer.finish()?;
    // After this the log is purged up to the snapshot: a crash must not take the state back behind that.
    view.settle()?;
    Ok((folder.publish(&temporary, meta)?, bytes))
}
