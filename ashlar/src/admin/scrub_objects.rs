//! The check of objects, one at a time, begun when somebody asks.

use super::Shared;
use crate::api::{ObjectScrubView, StartObjectScrub};
use crate::error::{Error, Exit};
use crate::limits::OBJECT_SCRUB_GRACE;
use objectd::scrub::{Progress, Reading, Repair, ScrubConfig, scrub};
use proto::ids::VolumeId;
use rt::clock::{Clock, SystemClock};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The check that runs, or the last one.
#[derive(Default)]
pub struct ObjectScrubber(Mutex<Option<Run>>);

struct Run {
    progress: Arc<Progress>,
    asked: StartObjectScrub,
    started_ms: u64,
    finished_ms: Option<u64>,
}

impl ObjectScrubber {
    fn lock(&self) -> MutexGuard<'_, Option<Run>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn view(&self) -> ObjectScrubView {
        let run = self.lock();
        let Some(run) = run.as_ref() else { return ObjectScrubView::default() };
        ObjectScrubView {
            running: run.finished_ms.is_none(),
            started_ms: run.started_ms,
            finished_ms: run.finished_ms,
            deep: run.asked.deep,
            repair: run.asked.repair,
            report: run.progress.report(),
        }
    }
}

impl Shared {
    /// Begins a check. One that runs is another's, who may want it otherwise.
    pub fn start_object_scrub(&self, asked: StartObjectScrub) -> Result<ObjectScrubView, Error> {
        let progress: Arc<Progress> = Arc::default();
        {
            let mut run = self.object_scrubber.lock();
            if run.as_ref().is_some_and(|run| run.finished_ms.is_none()) {
                let why = "a check of objects is running; ashlar scrub objects --status shows how far it is";
                return Err(Error::new(Exit::Conflict, why));
            }
            let (progress, started_ms) = (Arc::clone(&progress), SystemClock.wall().0);
            *run = Some(Run { progress, asked: asked.clone(), started_ms, finished_ms: None });
        }
        let config = ScrubConfig {
            meta: self.meta.clone(),
            token: self.token,
            marks: self.log_marks(),
            reading: if asked.deep { Reading::All } else { Reading::Nothing },
            repair: if asked.repair { Repair::WhatCanBe } else { Repair::Nothing },
            grace: OBJECT_SCRUB_GRACE,
            progress,
        };
        let scrubber = Arc::clone(&self.object_scrubber);
        tokio::spawn(async move {
            // However it ends, the next one may begin.
            let done = tokio::spawn(async move { scrub(&config).await }).await;
            if let Some(run) = scrubber.lock().as_mut() {
                run.finished_ms = Some(SystemClock.wall().0);
            }
            match done {
                Ok(report) if report.is_well() => tracing::info!("a check of objects found all well"),
                Ok(report) => tracing::warn!(?report, "a check of objects found something"),
                Err(error) => tracing::error!(%error, "a check of objects failed inside"),
            }
        });
        Ok(self.object_scrubber.view())
    }

    /// How far each gateway's log is settled, as they last said; what they said stays true.
    fn log_marks(&self) -> BTreeMap<VolumeId, u64> {
        let mut marks = BTreeMap::new();
        for log in self.fleet.seen().into_iter().flat_map(|seen| seen.report.logs) {
            let known = marks.entry(VolumeId(log.volume)).or_insert(log.settled_bytes);
            *known = log.settled_bytes.max(*known);
        }
        marks
    }
}
