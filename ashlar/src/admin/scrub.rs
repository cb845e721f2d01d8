//! The scrubber: goes over group after group, gently every few days, and briskly when somebody asks.

use super::Shared;
use crate::api::{ScrubCounts, ScrubView};
use crate::limits::{
    SCRUB_BRISK_BYTES_PER_SECOND, SCRUB_FIRST, SCRUB_GENTLE_BYTES_PER_SECOND, SCRUB_INTERVAL, SCRUB_RETRY,
    SCRUB_TRIES,
};
use blockd::client::catchup::{Pace, Progress};
use blockd::client::scrub::{ScrubConfig, ScrubReport, scrub};
use proto::control::{DiskPlace, Group, PoolMap};
use proto::ids::GroupId;
use rt::clock::{Clock, SystemClock};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What the scrubber is doing and has done.
#[derive(Default)]
pub struct Scrubber {
    view: Mutex<ScrubView>,
    /// Somebody waits for it.
    brisk: AtomicBool,
    asked: Notify,
    progress: Mutex<Arc<Progress>>,
}

impl Scrubber {
    /// Begins a pass now, or makes the one that runs brisk.
    pub fn start(&self) -> ScrubView {
        self.brisk.store(true, Ordering::SeqCst);
        let running = {
            let mut view = self.lock();
            std::mem::replace(&mut view.running, true)
        };
        if !running {
            self.asked.notify_one();
        }
        self.view()
    }

    pub fn view(&self) -> ScrubView {
        let mut view = self.lock().clone();
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner).snapshot();
        if view.running && view.groups_total > 0 {
            // What is done of the present group counts as a part of it.
            let parts = view.groups_done * 100 + u64::from(progress.percent().min(99));
            view.percent = (parts / view.groups_total).min(99);
            let ran_ms = SystemClock.wall().0.saturating_sub(view.started_ms);
            view.seconds_left = (ran_ms * view.groups_total.saturating_sub(view.groups_done))
                .checked_div(view.groups_done)
                .map(|ms| ms.div_ceil(1000));
        }
        view
    }

    fn lock(&self) -> MutexGuard<'_, ScrubView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scrubs until it is dropped.
pub async fn run(shared: Shared) {
    let mut wait = SCRUB_FIRST;
    loop {
        // A pass that was asked for while another ran has been made brisk, so nothing is lost here.
        let _ = tokio::time::timeout(wait, shared.scrubber.asked.notified()).await;
        wait = SCRUB_INTERVAL;
        pass(&shared).await;
        shared.scrubber.brisk.store(false, Ordering::SeqCst);
    }
}

async fn pass(shared: &Shared) {
    let scrubber = &shared.scrubber;
    let map = shared.meta.pool_map().await;
    let groups: Vec<GroupId> = match map {
        Ok(map) => map.groups.iter().map(|group| group.id).collect(),
        Err(error) => {
            let mut view = scrubber.lock();
            view.running = false;
            view.troubles = vec![format!("it could not begin: {error}")];
            return;
        }
    };
    {
        let mut view = scrubber.lock();
        *view = ScrubView {
            running: true,
            passes: view.passes,
            started_ms: SystemClock.wall().0,
            groups_total: groups.len() as u64,
            ..ScrubView::default()
        };
    }
    tracing::info!(groups = groups.len(), "a scrub begins");
    for id in groups {
        let outcome = group(shared, id).await;
        let mut view = scrubber.lock();
        view.groups_done += 1;
        match outcome {
            Ok(report) => add(&mut view.counts, &report),
            Err(why) => {
                view.groups_skipped += 1;
                tracing::warn!(group = %id, why, "a group was not scrubbed");
                if view.troubles.len() < MAX_TROUBLES {
                    view.troubles.push(format!("group {id} was not scrubbed: {why}"));
                }
            }
        }
    }
    let mut view = scrubber.lock();
    view.running = false;
    view.passes += 1;
    view.percent = 100;
    view.finished_ms = Some(SystemClock.wall().0);
    tracing::info!(counts = ?view.counts, skipped = view.groups_skipped, "a scrub has ended");
}

/// Reasons that are kept for people to read.
const MAX_TROUBLES: usize = 10;

/// One group, again with a newer map if it changed or if somebody was not there.
async fn group(shared: &Shared, id: GroupId) -> Result<ScrubReport, String> {
    let mut tries = 0;
    loop {
        let outcome = try_group(shared, id).await;
        tries += 1;
        match outcome {
            Err(why) if tries < SCRUB_TRIES => {
                tracing::debug!(group = %id, why, "a scrub of a group is tried again");
                tokio::time::sleep(SCRUB_RETRY).await;
            }
            outcome => return outcome,
        }
    }
}

async fn try_group(shared: &Shared, id: GroupId) -> Result<ScrubReport, String> {
    let map = shared.meta.pool_map().await.map_err(|error| error.to_string())?;
    let group = map.groups.iter().find(|group| group.id == id).ok_or("it is gone")?;
    let progress = Arc::<Progress>::default();
    *shared.scrubber.progress.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&progress);
    let bytes_per_second = if shared.scrubber.brisk.load(Ordering::SeqCst) {
        SCRUB_BRISK_BYTES_PER_SECOND
    } else {
        SCRUB_GENTLE_BYTES_PER_SECOND
    };
    let config = ScrubConfig {
        members: members(&map, group),
        group: id,
        epoch: group.epoch,
        groups: u32::try_from(map.groups.len()).map_err(|error| error.to_string())?,
        token: shared.token,
        pace: Pace { bytes_per_second },
        progress,
    };
    scrub(config).await.map_err(|error| error.to_string())
}

fn members(map: &PoolMap, group: &Group) -> Vec<DiskPlace> {
    group.in_sync().filter_map(|member| map.place(member.disk)).cloned().collect()
}

fn add(counts: &mut ScrubCounts, report: &ScrubReport) {
    counts.chunks += report.chunks;
    counts.blocks_checked += report.blocks_checked;
    counts.bad_blocks += report.bad_blocks;
    counts.missing_blocks += report.missing_blocks;
    counts.repaired_blocks += report.repaired_blocks;
    counts.unrepairable_blocks += report.unrepairable_blocks;
    counts.conflicting_blocks += report.conflicting_blocks;
    counts.skipped_blocks += report.skipped_blocks;
}
