//! Gives the space of deleted and replaced objects back.

use super::log::ObjectLog;
use crate::error::S3Result;
use crate::fault;
use crate::limits::{GARBAGE_BATCH_WAIT, GARBAGE_IDLE, GARBAGE_PAGE, GARBAGE_RETRY, TRIMS_IN_FLIGHT};
use futures_util::TryStreamExt as _;
use meta::object::Extent;
use std::ops::Range;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Trims what the control plane says is garbage, after one sweep of what earlier lives left. Dropping it stops
/// it.
pub struct GarbageWorker(JoinHandle<()>);

impl GarbageWorker {
    pub fn start(log: Arc<ObjectLog>) -> Self {
        Self(tokio::spawn(async move {
            let mut swept = false;
            loop {
                match log.work(&mut swept).await {
                    Ok(Progress::More) => {}
                    // What is pinned comes free when its reader ends, which nobody tells.
                    Ok(Progress::Waiting) => tokio::time::sleep(GARBAGE_RETRY).await,
                    Ok(Progress::Idle) => {
                        let _ = tokio::time::timeout(GARBAGE_IDLE, log.garbage.notified()).await;
                        // Deletions come in bursts: one pass for all of a burst.
                        tokio::time::sleep(GARBAGE_BATCH_WAIT).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, cause = fault::cause(&error), "space of deleted objects is not given back yet");
                        tokio::time::sleep(GARBAGE_RETRY).await;
                    }
                }
            }
        }))
    }
}

impl Drop for GarbageWorker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Progress {
    /// There may be more to do at once.
    More,
    /// All that is left is being read.
    Waiting,
    Idle,
}

impl ObjectLog {
    async fn work(&self, swept: &mut bool) -> S3Result<Progress> {
        if !*swept {
            self.sweep().await?;
            *swept = true;
        }
        let mut from = 0;
        let mut waiting = false;
        let mut trimmed = false;
        loop {
            let limit = u32::try_from(GARBAGE_PAGE).unwrap_or(u32::MAX);
            let page = self.meta.garbage(self.id, from, limit).await.map_err(fault::meta)?;
            self.settle_lookups().await;
            let (pinned, free): (Vec<Extent>, Vec<Extent>) =
                page.extents.into_iter().partition(|e| self.pins.is_pinned(e.offset..e.offset + e.len));
            waiting |= !pinned.is_empty();
            if !free.is_empty() {
                trimmed = true;
                self.give_space_back(free).await?;
            }
            match page.next_bytes {
                Some(next) => from = next,
                None => break,
            }
        }
        Ok(match (waiting, trimmed) {
            (true, _) => Progress::Waiting,
            (false, true) => Progress::More,
            (false, false) => Progress::Idle,
        })
    }

    async fn give_space_back(&self, extents: Vec<Extent>) -> S3Result<()> {
        let trims = merged(&extents).into_iter().map(|range| Ok(self.trim(range)));
        futures_util::stream::iter(trims)
            .try_buffer_unordered(TRIMS_IN_FLIGHT)
            .try_collect::<()>()
            .await
            .map_err(fault::volume)?;
        // A trim that a power cut takes back must still be in the queue.
        self.flush().await?;
        self.meta.garbage_done(self.id, extents).await.map_err(fault::meta)
    }
}

/// Neighbouring extents as one range each. `extents` are in order.
fn merged(extents: &[Extent]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for extent in extents {
        let end = extent.offset.saturating_add(extent.len);
        match ranges.last_mut() {
            Some(last) if last.end == extent.offset => last.end = end,
            _ => ranges.push(extent.offset..end),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ids::VolumeId;

    #[test]
    fn neighbours_are_trimmed_together() {
        let extent = |offset, len| Extent { volume: VolumeId(1), offset, len };
        let extents = [extent(0, 10), extent(10, 5), extent(20, 5)];
        assert_eq!(merged(&extents), [0..15, 20..25]);
    }
}
