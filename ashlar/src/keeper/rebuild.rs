//! One disk catching up: group after group, a few at a time, each from a member in sync.

use super::membership::standing;
use crate::fleet::Rebuild;
use crate::limits::{JOIN_TRIES, REBUILD_BYTES_PER_SECOND, REBUILDS_AT_ONCE};
use blockd::client::catchup::{CatchUpConfig, Pace, Progress, ProgressSnapshot, catch_up};
use meta::ErrorKind;
use meta::client::Client;
use proto::control::{Copied, DiskPlace, Group, MemberState, PoolMap, PoolToken};
use proto::ids::DiskId;
use rt::clock::{Clock, Instant, SystemClock};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::{JoinHandle, JoinSet};

/// What a rebuild needs.
pub struct Run {
    pub meta: Client,
    pub token: PoolToken,
    pub disk: DiskId,
}

/// A rebuild on its way. Dropping it ends it; what it copied stays.
pub struct Rebuilding {
    task: JoinHandle<Result<(), String>>,
    progress: Arc<Progress>,
    groups_done: Arc<AtomicU64>,
    groups_begun: Arc<AtomicU64>,
    groups_total: u64,
    began: Instant,
}

impl Run {
    pub fn start(self, groups_total: usize) -> Rebuilding {
        let progress = Arc::<Progress>::default();
        let (groups_done, groups_begun) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (shared, done) = (Arc::clone(&progress), Arc::clone(&groups_done));
        let begun = Arc::clone(&groups_begun);
        let task = tokio::spawn(async move { self.run(shared, done, begun).await });
        Rebuilding {
            task,
            progress,
            groups_done,
            groups_begun,
            groups_total: groups_total as u64,
            began: SystemClock.now(),
        }
    }

    /// Until no group is left to catch up in, or until none of those left can be now.
    async fn run(
        &self,
        progress: Arc<Progress>,
        done: Arc<AtomicU64>,
        begun: Arc<AtomicU64>,
    ) -> Result<(), String> {
        let mut failed: BTreeSet<_> = BTreeSet::new();
        // Members that a catch-up with failed. Finding out costs half a minute where a network swallows what is
        // sent, so no other group asks them: those are the next run's.
        let mut avoided = BTreeSet::new();
        let mut trouble = None;
        let mut running = JoinSet::new();
        let mut busy: BTreeSet<_> = BTreeSet::new();
        loop {
            // Every join and every eviction changes epochs, so each group starts from the newest map.
            let map = self.meta.pool_map().await.map_err(|error| error.to_string())?;
            let behind = standing(&map, self.disk, |state| state == MemberState::CatchingUp);
            for (id, _) in behind {
                if running.len() < REBUILDS_AT_ONCE && !busy.contains(&id) && !failed.contains(&id) {
                    let group = map.groups.iter().find(|group| group.id == id);
                    let config = group.and_then(|group| self.config(&map, group, &avoided, &progress));
                    let Some(config) = config else {
                        failed.insert(id);
                        trouble = Some(format!("no member of group {id} that is in sync can be copied from"));
                        continue;
                    };
                    busy.insert(id);
                    begun.fetch_add(1, Ordering::Relaxed);
                    let (meta, disk, source) = (self.meta.clone(), self.disk, config.source.disk);
                    running.spawn(async move { (id, source, one(&meta, disk, config).await) });
                }
            }
            let Some(ended) = running.join_next().await else {
                return trouble.filter(|_| !failed.is_empty()).map_or(Ok(()), Err);
            };
            let (id, source, outcome) = ended.map_err(|error| format!("a catch-up ended badly: {error}"))?;
            busy.remove(&id);
            match outcome {
                Ok(()) => {
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Err(why) => {
                    avoided.insert(source);
                    let others = map.groups.iter().filter(|group| group.id == id).flat_map(Group::in_sync);
                    if others.map(|member| member.disk).all(|disk| avoided.contains(&disk)) {
                        failed.insert(id);
                    }
                    trouble = Some(format!("group {id}: {why}"));
                }
            }
        }
    }

    fn config(
        &self,
        map: &PoolMap,
        group: &Group,
        avoided: &BTreeSet<DiskId>,
        progress: &Arc<Progress>,
    ) -> Option<CatchUpConfig> {
        let mut in_sync: Vec<DiskPlace> =
            group.in_sync().filter_map(|member| map.place(member.disk)).cloned().collect();
        if in_sync.is_empty() {
            return None;
        }
        // The sources take turns, so that a rebuild reads from all of them.
        let turn = group.id.0 as usize % in_sync.len();
        in_sync.rotate_left(turn);
        let source = in_sync.iter().position(|place| !avoided.contains(&place.disk));
        let source = in_sync.remove(source.unwrap_or(0));
        Some(CatchUpConfig {
            target: map.place(self.disk)?.clone(),
            source,
            others: in_sync,
            group: group.id,
            epoch: group.epoch,
            groups: u32::try_from(map.groups.len()).ok()?,
            token: self.token,
            leases: Vec::new(),
            pace: Pace { bytes_per_second: REBUILD_BYTES_PER_SECOND },
            progress: Arc::clone(progress),
        })
    }
}

/// Catches up and joins. A volume that is opened meanwhile wants another look, which is short.
async fn one(meta: &Client, disk: DiskId, config: CatchUpConfig) -> Result<(), String> {
    let at = (config.group, config.epoch);
    let mut tries = 0;
    loop {
        // Before the run, so that its last look is later.
        let leases = meta.leases().await.map_err(|error| error.to_string())?;
        let config = CatchUpConfig { leases: leases.epochs, ..config.clone() };
        let source = config.source.disk;
        let report = catch_up(config).await.map_err(|error| error.to_string())?;
        tries += 1;
        let copied = Copied { group: at.0, disk, source, incarnation: report.source_incarnation };
        match meta.join(copied, at.1, leases.revision).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() != ErrorKind::PreconditionFailed || tries == JOIN_TRIES => {
                return Err(error.to_string());
            }
            Err(error) => {
                let now = meta.leases().await.map_err(|error| error.to_string())?;
                // Then it is the group that changed.
                if now.revision == leases.revision {
                    return Err(error.to_string());
                }
                tracing::debug!(%disk, group = %at.0, %error, "a catch-up looks again");
            }
        }
    }
}

impl Rebuilding {
    /// How it ended, if it has.
    pub async fn ended(&mut self) -> Option<Result<(), String>> {
        if !self.task.is_finished() {
            return None;
        }
        let outcome = (&mut self.task).await;
        Some(outcome.unwrap_or_else(|error| Err(format!("it ended badly: {error}"))))
    }

    pub fn view(&self, disk: DiskId) -> Rebuild {
        let snapshot = self.progress.snapshot();
        let running = SystemClock.now().since(self.began);
        Rebuild {
            disk: disk.to_string(),
            groups_done: self.groups_done.load(Ordering::Relaxed).min(self.groups_total),
            groups_total: self.groups_total,
            copied_bytes: snapshot.done_bytes,
            total_bytes: total_bytes(&snapshot, self.groups_begun.load(Ordering::Relaxed), self.groups_total),
            running_ms: u64::try_from(running.as_millis()).unwrap_or(u64::MAX),
            trouble: None,
        }
    }
}

/// What is known to be copied in the groups that were begun, and as much for each of the others.
fn total_bytes(snapshot: &ProgressSnapshot, begun: u64, groups: u64) -> u64 {
    let others = groups.saturating_sub(begun);
    let mean = snapshot.total_bytes.checked_div(begun).unwrap_or(0);
    snapshot.total_bytes.saturating_add(mean.saturating_mul(others))
}

impl Drop for Rebuilding {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_never_passes_what_is_there() {
        let rebuild = |copied_bytes, total_bytes, running_ms| Rebuild {
            disk: "d".into(),
            groups_done: 0,
            groups_total: 8,
            copied_bytes,
            total_bytes,
            running_ms,
            trouble: None,
        };
        let seen =
            |done_bytes, total_bytes| ProgressSnapshot { done_bytes, total_bytes, ..Default::default() };
        assert_eq!(total_bytes(&seen(0, 0), 0, 8), 0);
        assert_eq!(total_bytes(&seen(50, 400), 4, 8), 800);
        assert_eq!(total_bytes(&seen(50, 400), 9, 8), 400, "some were begun again");
        let early = rebuild(0, 0, 5);
        assert_eq!((early.percent(), early.seconds_left()), (0, None));
        let half = rebuild(400, 800, 2000);
        assert_eq!((half.percent(), half.seconds_left()), (50, Some(2)));
        let over = rebuild(900, 800, 2000);
        assert_eq!((over.percent(), over.seconds_left()), (99, Some(0)));
        let huge = rebuild(u64::MAX, u64::MAX, u64::MAX);
        assert_eq!((huge.percent(), huge.seconds_left()), (99, Some(0)));
    }
}
