//! One node of the control plane: opens its data folder, mends what it may, and runs Raft.

use crate::audit::{AuditLog, decision};
use crate::client::Client;
use crate::command::{Command, Response};
use crate::error::{ErrorKind, MetaError};
use crate::identity_command::{Identified, IdentityAnswer, IdentityQuery};
use crate::known::{Known, KnownAnswers};
use crate::limits::{
    ELECTION_TIMEOUT_MS, HEARTBEAT_MS, MAX_OPEN_WAIT_MS, SNAPSHOT_AFTER_BYTES, START_TIMEOUT_MS, STOP_POLL_MS,
};
use crate::metrics::MetaMetrics;
use crate::planner;
use crate::query::{Answer, BucketAccess, Query};
use crate::raft::apply::{Machine, applied_of};
use crate::raft::files::{Folder, FolderLock};
use crate::raft::log::{LogFiles, LogStore};
use crate::raft::network::PeerNetwork;
use crate::raft::proposer::Proposer;
use crate::raft::sled_kv::SledKv;
use crate::raft::snapshot::SnapshotFolder;
use crate::raft::view::View;
use crate::raft::{Raft, io_failed};
use crate::state;
use crate::state::kv::Kv as _;
use openraft::{BasicNode, RaftMetrics, ServerState, SnapshotPolicy};
use proto::ids::NodeId;
use rt::clock::{Clock, SystemClock};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How a node of the control plane runs.
#[derive(Clone)]
pub struct MetaConfig {
    /// The data folder: log, snapshots, materialised state.
    pub dir: PathBuf,
    /// This voter's id.
    pub node: NodeId,
    /// Fills in the times of commands.
    pub clock: Arc<dyn Clock>,
    pub metrics: MetaMetrics,
    /// Bytes of log after which a snapshot is taken.
    pub snapshot_after_bytes: u64,
    /// How the pool mends and balances itself; `None` leaves that to whoever runs [`planner::run`].
    pub planner: Option<planner::Settings>,
    /// Where decisions are told. Without one, nobody is told.
    pub audit: Option<Arc<AuditLog>>,
}

impl MetaConfig {
    /// A node with the usual settings.
    pub fn new(dir: impl Into<PathBuf>, node: NodeId) -> Self {
        Self {
            dir: dir.into(),
            node,
            clock: Arc::new(SystemClock),
            metrics: MetaMetrics::default(),
            snapshot_after_bytes: SNAPSHOT_AFTER_BYTES,
            planner: None,
            audit: None,
        }
    }
}

/// A running node. [`stop`](Self::stop) it; dropping it is like a crash, which loses nothing.
pub struct MetaNode {
    local: Arc<Local>,
    log: LogStore,
    lock: Mutex<Option<FolderLock>>,
    planner: Option<AbortHandle>,
}

/// The in-process side of a client.
pub(crate) struct Local {
    raft: Raft,
    /// Whether it leads, and whom.
    leadership: watch::Receiver<RaftMetrics<u64, BasicNode>>,
    /// Gone once the node has stopped, so that its files are closed however long clients live.
    view: RwLock<Option<Arc<View<SledKv>>>>,
    proposer: Proposer,
    metrics: MetaMetrics,
    node: u64,
    clock: Arc<dyn Clock>,
    audit: Option<Arc<AuditLog>>,
    keys: KnownAnswers<Identified>,
    buckets: KnownAnswers<BucketAccess>,
}

impl MetaNode {
    /// Opens the folder (making it if it is not there), rebuilds the materialised state if it has to, and
    /// returns once every change that was ever acknowledged is readable.
    pub async fn start(config: MetaConfig) -> Result<Self, MetaError> {
        let folder = Folder::new(&config.dir);
        let lock = folder.open()?;
        let (log, view) = open(&folder, &config.metrics, config.node).await?;
        let machine =
            Machine::new(Arc::clone(&view), SnapshotFolder::new(folder.snapshots()), config.metrics.clone())?;
        let snapshot_bytes = machine.snapshot_bytes();
        let last = log.last_index();
        let raft = start_raft(config.node, log.clone(), machine).await?;
        wait_until_current(&raft, last).await?;
        let after = snapshot_trigger(raft.clone(), log.clone(), snapshot_bytes, config.snapshot_after_bytes);
        let proposer = Proposer::start(raft.clone(), config.metrics.clone(), after);
        let view = RwLock::new(Some(view));
        let (metrics, clock, audit) = (config.metrics, config.clock, config.audit);
        let local = Arc::new(Local {
            leadership: raft.metrics(),
            raft,
            view,
            proposer,
            metrics,
            node: config.node.0,
            clock,
            audit,
            keys: KnownAnswers::default(),
            buckets: KnownAnswers::default(),
        });
        let planner = config.planner.map(|settings| {
            let clock = Arc::clone(&local.clock);
            let client = Client::local(Arc::clone(&local), Arc::clone(&clock));
            tokio::spawn(planner::run(client, clock, settings)).abort_handle()
        });
        Ok(Self { local, log, lock: Mutex::new(Some(lock)), planner })
    }

    /// A client in this process.
    pub fn client(&self) -> Client {
        Client::local(Arc::clone(&self.local), Arc::clone(&self.local.clock))
    }

    pub fn metrics(&self) -> MetaMetrics {
        self.local.metrics.clone()
    }

    /// Takes a snapshot now, without waiting for it.
    pub async fn snapshot(&self) -> Result<(), MetaError> {
        self.local.raft.trigger().snapshot().await.map_err(stopped)
    }

    /// Stops: what is in the air is finished or refused, and the materialised state is written out, so that
    /// the next start has nothing to do. Clients get `Unavailable` from now on.
    pub async fn stop(&self) -> Result<(), MetaError> {
        self.planner.iter().for_each(AbortHandle::abort);
        let shut = self.local.raft.shutdown().await;
        shut.map_err(|e| {
            MetaError::new(ErrorKind::Storage, "the control plane did not stop cleanly").with_source(e)
        })?;
        let view = self.local.view.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut view) = view else { return Ok(()) };
        // Queries and openraft's tasks let go of the state a moment after the shutdown.
        let view = loop {
            match Arc::try_unwrap(view) {
                Ok(view) => break view,
                Err(shared) => view = shared,
            }
            tokio::time::sleep(Duration::from_millis(STOP_POLL_MS)).await;
        };
        let log = self.log.clone();
        let close = tokio::task::spawn_blocking(move || {
            log.close();
            view.into_kv()?.flush()
        });
        close.await.map_err(|e| MetaError::new(ErrorKind::Storage, "stopping died").with_source(e))??;
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }
}

impl Drop for MetaNode {
    fn drop(&mut self) {
        self.planner.iter().for_each(AbortHandle::abort);
    }
}

impl Local {
    pub(crate) fn metrics(&self) -> MetaMetrics {
        self.metrics.clone()
    }

    pub(crate) async fn propose(&self, mut command: Command) -> Result<Response, MetaError> {
        let stamped = match &mut command {
            Command::Told { change, .. } => change.0.as_mut(),
            other => other,
        };
        match stamped {
            // One clock for all disks: the keepers' clocks may differ by more than a disk may be silent.
            Command::DiskSeen { seen_ms, .. } => *seen_ms = self.clock.wall().0,
            // And for all locks: no gateway's clock ends a retention.
            Command::PutVersion { now_ms, .. }
            | Command::PutSealed { now_ms, .. }
            | Command::NotePoolKey { now_ms, .. }
            | Command::DeleteVersions { now_ms, .. }
            | Command::CompleteVersion { now_ms, .. }
            | Command::Annotate { now_ms, .. }
            | Command::KeepLifecycle { now_ms, .. }
            | Command::PutNotifications { now_ms, .. }
            | Command::KeepEvents { now_ms, .. }
            | Command::SettleEvents { now_ms, .. }
            | Command::Expire { now_ms, .. } => *now_ms = self.clock.wall().0,
            _ => {}
        }
        let Some((audit, line)) = self.audit.as_ref().zip(decision::line(&command)) else {
            return self.proposer.propose(command).await;
        };
        let result = self.proposer.propose(command).await;
        // Not waited for: a pool must be able to do without a disk that fails even if nobody can be told.
        audit.note(decision::done(line, &result));
        result
    }

    pub(crate) async fn query(&self, query: &Query) -> Result<Answer, MetaError> {
        let read = |view: &View<SledKv>| state::answer(view, query, Some(self.clock.wall().0));
        let answer = self.current().await.and_then(|view| read(&view));
        self.counted(answer)
    }

    /// [`IdentityQuery::Identify`], kept while it can't change.
    pub(crate) async fn identify(&self, key: &str) -> Result<Arc<Known<Identified>>, MetaError> {
        let found = self.current().await.and_then(|view| {
            self.keys.get(view.revision(), key.as_bytes(), || {
                let query = Query::Identity(IdentityQuery::Identify { key: key.to_owned() });
                let answer = expect!(state::answer(&*view, &query, None)?, Answer::Identity)?;
                expect!(answer, IdentityAnswer::Identified).map(|found| *found)
            })
        });
        self.counted(found)
    }

    /// [`Query::BucketAccess`], kept while it can't change.
    pub(crate) async fn bucket_access(&self, name: &str) -> Result<Arc<Known<BucketAccess>>, MetaError> {
        let found = self.current().await.and_then(|view| {
            self.buckets.get(view.revision(), name.as_bytes(), || {
                let query = Query::BucketAccess { name: name.to_owned() };
                expect!(state::answer(&*view, &query, None)?, Answer::BucketAccess)
            })
        });
        self.counted(found)
    }

    fn counted<T>(&self, answer: Result<T, MetaError>) -> Result<T, MetaError> {
        let outcome = match &answer {
            Ok(_) => "answered",
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => "not_found",
            Err(_) => "failed",
        };
        MetaMetrics::count(&self.metrics.queries, outcome);
        answer
    }

    /// The state, a read of which is linearizable now.
    async fn current(&self) -> Result<Arc<View<SledKv>>, MetaError> {
        self.ensure_current().await?;
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner).clone();
        view.ok_or_else(|| MetaError::new(ErrorKind::Unavailable, "the control plane has stopped"))
    }

    /// Makes sure that a read of the state now is linearizable.
    ///
    /// The sole voter that leads needs to ask nobody: nothing commits but through it, and it acknowledges a
    /// change only after the state has it.
    async fn ensure_current(&self) -> Result<(), MetaError> {
        let sole_leader = {
            let metrics = self.leadership.borrow();
            if let Err(fatal) = &metrics.running_state {
                return Err(stopped(fatal.clone()));
            }
            let voters = metrics.membership_config.membership().get_joint_config();
            metrics.state == ServerState::Leader
                && voters.iter().all(|voters| voters.len() == 1 && voters.contains(&self.node))
                && !voters.is_empty()
        };
        if sole_leader {
            return Ok(());
        }
        let current = self.raft.ensure_linearizable().await;
        current.map(|_| ()).map_err(|e| {
            MetaError::new(ErrorKind::Unavailable, "the control plane has no leader here").with_source(e)
        })
    }
}

fn stopped(fatal: openraft::error::Fatal<u64>) -> MetaError {
    MetaError::new(ErrorKind::Unavailable, "the control plane has stopped").with_source(fatal)
}

/// [`open_stores`] off the async threads. sled's files may stay open for a moment after the node before this
/// one in the same process (another process is kept out by the folder's lock), so it is given that moment.
async fn open(
    folder: &Folder,
    metrics: &MetaMetrics,
    node: NodeId,
) -> Result<(LogStore, Arc<View<SledKv>>), MetaError> {
    let mut waited_ms = 0;
    loop {
        let (folder, metrics) = (folder.clone(), metrics.clone());
        let opened = tokio::task::spawn_blocking(move || open_stores(&folder, &metrics, node)).await;
        match opened {
            Ok(Err(error)) if error.kind() == ErrorKind::Unavailable && waited_ms < MAX_OPEN_WAIT_MS => {
                tokio::time::sleep(Duration::from_millis(STOP_POLL_MS)).await;
                waited_ms += STOP_POLL_MS;
            }
            Ok(result) => return result,
            Err(died) => {
                let message = "opening the control plane's data died";
                return Err(MetaError::new(ErrorKind::Storage, message).with_source(died));
            }
        }
    }
}

/// Opens the log and the state, and rebuilds the state if it is missing, broken or not of this log.
fn open_stores(
    folder: &Folder,
    metrics: &MetaMetrics,
    node: NodeId,
) -> Result<(LogStore, Arc<View<SledKv>>), MetaError> {
    let files = LogFiles::read(folder)?;
    check_not_emptied(&files, node)?;
    let snapshot = SnapshotFolder::new(folder.snapshots()).newest()?;
    let facts = files.facts();
    let why = match SledKv::open(&folder.state()) {
        Ok(kv) => {
            let view = View::new(kv);
            match unusable(&view, &files)? {
                None => return Ok((files.open(metrics)?, Arc::new(view))),
                Some(why) => why,
            }
        }
        Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
        Err(error) => error.to_string(),
    };
    let fresh = facts.last.is_none() && snapshot.is_none();
    if !fresh {
        tracing::warn!(why, "rebuilding the materialised state from the newest snapshot and the log");
        metrics.rebuilds.inc();
    }
    match fs::remove_dir_all(folder.state()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_failed("remove", &folder.state(), error));
        }
        _ => {}
    }
    let view = View::new(SledKv::open(&folder.state())?);
    let purged = facts.purged;
    match snapshot {
        Some(mut snapshot) if purged <= snapshot.meta.last_log_id => {
            let applied = applied_of(&snapshot.meta);
            view.replace(&applied, &mut snapshot)?;
        }
        _ if purged.is_some() => {
            let message = "the materialised state has to be rebuilt, but the log behind the newest snapshot is \
                           gone and so is the snapshot: restore the data folder from a backup";
            return Err(MetaError::new(ErrorKind::Corrupt, message));
        }
        _ => {}
    }
    Ok((files.open(metrics)?, Arc::new(view)))
}

/// A node stands for election only once its log names it as a voter, durably: with a vote for itself, an empty
/// log is one that lost what it had, and waiting for a leader would be waiting for ever.
fn check_not_emptied(files: &LogFiles, node: NodeId) -> Result<(), MetaError> {
    let facts = files.facts();
    let stood = facts.vote.is_some_and(|vote| vote.leader_id().voted_for() == Some(node.0));
    if facts.last.is_some() || !stood {
        return Ok(());
    }
    let message = "the control plane's log is empty, though this node once voted for itself: the log lost what \
                   had been durable. Restore the data folder from a backup";
    Err(MetaError::new(ErrorKind::Corrupt, message))
}

/// Why the state can't be used with this log, if it can't. An error if the state proves that the log lost
/// what had been durable.
fn unusable(view: &View<SledKv>, files: &LogFiles) -> Result<Option<String>, MetaError> {
    let facts = files.facts();
    let applied = match view.applied() {
        Ok(Some(applied)) => applied.log_id,
        Ok(None) => None,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let Some(applied) = applied else {
        return Ok(facts.last.map(|_| "it is empty or was not finished".to_owned()));
    };
    if facts.last.is_none_or(|last| last.index < applied.index) {
        if facts.was_torn {
            let message = format!(
                "the log ends in a damaged entry that the state had applied already (index {}): the log lost \
                 what had been durable. Restore the data folder from a backup",
                applied.index
            );
            return Err(MetaError::new(ErrorKind::Corrupt, message));
        }
        return Ok(Some(format!("it is at index {}, which the log does not have", applied.index)));
    }
    if facts.purged.is_some_and(|purged| applied.index < purged.index) {
        return Ok(Some(format!("it is at index {}, which the log has dropped", applied.index)));
    }
    match files.log_id(applied.index)? {
        Some(log_id) if log_id == applied => Ok(None),
        _ => Ok(Some(format!("its entry {} is not the log's", applied.index))),
    }
}

async fn start_raft(node: NodeId, log: LogStore, machine: Machine<SledKv>) -> Result<Raft, MetaError> {
    let failed = |message: &'static str| {
        move |error: &dyn std::fmt::Display| MetaError::new(ErrorKind::Storage, format!("{message}: {error}"))
    };
    let config = openraft::Config {
        cluster_name: "ashlar".to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_TIMEOUT_MS.start,
        election_timeout_max: ELECTION_TIMEOUT_MS.end,
        // Snapshots are taken by bytes of log, not by entries.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        ..Default::default()
    };
    let config = config.validate().map_err(|e| failed("Raft's settings are wrong")(&e))?;
    let raft = Raft::new(node.0, Arc::new(config), PeerNetwork, log, machine);
    let raft = raft.await.map_err(|e| failed("Raft does not start")(&e))?;
    let initialized = raft.is_initialized().await.map_err(|e| failed("Raft does not start")(&e))?;
    if initialized {
        // A sole voter needs no one's word, so it need not wait for a timeout either.
        raft.trigger().elect().await.map_err(|e| failed("Raft does not start")(&e))?;
    } else {
        let voters = BTreeMap::from([(node.0, BasicNode::default())]);
        raft.initialize(voters).await.map_err(|e| failed("Raft does not initialise")(&e))?;
    }
    Ok(raft)
}

/// Waits for a leader and for the state to have all that the log held at the start.
async fn wait_until_current(raft: &Raft, last: Option<u64>) -> Result<(), MetaError> {
    let timeout = Some(Duration::from_millis(START_TIMEOUT_MS));
    let wait = raft.wait(timeout);
    let ready = wait.metrics(
        |metrics| {
            metrics.current_leader.is_some()
                && metrics.last_applied.map(|log_id| log_id.index) >= last
                && metrics.last_applied.is_some()
        },
        "the log is applied",
    );
    ready.await.map(|_| ()).map_err(|e| {
        MetaError::new(ErrorKind::Unavailable, "the control plane did not become ready").with_source(e)
    })
}

/// What decides, after each entry, whether a snapshot is due: when the log outgrew both a fixed size and
/// the last snapshot, so that snapshots at most double what is written.
fn snapshot_trigger(
    raft: Raft,
    log: LogStore,
    snapshot_bytes: Arc<AtomicU64>,
    after_bytes: u64,
) -> impl Fn() + Send + Sync + 'static {
    let triggered_at = AtomicU64::new(0);
    move || {
        let fresh = log.fresh_bytes();
        let due = after_bytes.max(snapshot_bytes.load(Ordering::Relaxed));
        let last = triggered_at.load(Ordering::Relaxed);
        // `fresh` falls when the snapshot is done; until then, trigger again only after as much again.
        let since = if fresh >= last { fresh - last } else { fresh };
        if since >= due
            && triggered_at.compare_exchange(last, fresh, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            let raft = raft.clone();
            tokio::spawn(async move { raft.trigger().snapshot().await });
        } else if fresh < last {
            let _ = triggered_at.compare_exchange(last, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[path = "node_test.rs"]
mod tests;
