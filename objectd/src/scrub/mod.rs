//! A check that no data of objects is lost and none is left behind: the index against itself, against what the object
//! logs hold on the disks, and against the usages that are kept. Nothing has to stand still for it: what seems wrong is
//! looked at again in a way that tells a fault from a change (see [`log`] and `meta::state`'s check).

mod blocks;
mod deep;
mod limits;
mod log;
mod report;

pub use report::{BadObject, CounterOff, Lost, Phase, Report};

use blocks::{Marks, both};
use limits::{MAX_LISTED, MAX_ORPHANS, MAX_TROUBLES, RECLAIM_BATCH};
use log::{LogWalk, Window, chunk_of};
use meta::MetaError;
use meta::check::{IndexFault, NamingTable};
use meta::client::Client;
use meta::object::Extent;
use meta::quota::QuotaOf;
use meta::record::{VolumeKind, VolumeState};
use proto::control::PoolToken;
use proto::ids::VolumeId;
use proto::units::{BLOCK_BYTES, CHUNK_BYTES};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What to look at, and what to do about it.
pub struct ScrubConfig {
    pub meta: Client,
    pub token: PoolToken,
    /// Per log, the mark below which its gateway has nothing on its way.
    pub marks: BTreeMap<VolumeId, u64>,
    pub reading: Reading,
    pub repair: Repair,
    /// Between the look that finds an orphan and the one that confirms it.
    pub grace: Duration,
    pub progress: Arc<Progress>,
}

/// How much of the data is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// None: blocks have to be there.
    Nothing,
    /// All, and what checksums and ETags can be computed of it.
    All,
}

/// What is done about what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    Nothing,
    /// Orphans are given back, and usages put right.
    WhatCanBe,
}

/// What was found so far.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Report>);

impl Progress {
    pub fn report(&self) -> Report {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// An orphaned range of a log.
type Orphan = (VolumeId, Range<u64>);

/// Looks at everything. What can't be looked at is among the report's troubles.
pub async fn scrub(config: &ScrubConfig) -> Report {
    let scrub = Scrub { config };
    if let Err(error) = scrub.all().await {
        scrub.trouble(format!("the control plane does not answer: {error}"));
    }
    config.progress.change(|report| report.phase = Phase::Done);
    config.progress.report()
}

struct Scrub<'a> {
    config: &'a ScrubConfig,
}

impl Scrub<'_> {
    fn change(&self, change: impl FnOnce(&mut Report)) {
        self.config.progress.change(change);
    }

    fn enter(&self, phase: Phase) {
        self.change(|report| report.phase = phase);
    }

    fn trouble(&self, why: String) {
        self.change(|report| {
            if report.troubles.len() < MAX_TROUBLES && !report.troubles.contains(&why) {
                report.troubles.push(why);
            }
        });
    }

    async fn all(&self) -> Result<(), MetaError> {
        self.enter(Phase::Index);
        for table in [NamingTable::Objects, NamingTable::Parts] {
            self.naming(table).await?;
        }
        self.enter(Phase::Logs);
        let orphans = self.logs().await?;
        self.enter(Phase::Usages);
        self.usages().await?;
        if self.config.reading == Reading::All {
            self.enter(Phase::Data);
            deep::read_all(self).await?;
        }
        if !orphans.is_empty() && self.config.repair == Repair::WhatCanBe {
            self.enter(Phase::SecondLook);
            self.give_back(orphans).await?;
        }
        Ok(())
    }

    async fn naming(&self, table: NamingTable) -> Result<(), MetaError> {
        let mut after = None;
        loop {
            let page = self.config.meta.check_naming(table, after).await?;
            self.change(|report| {
                report.entries += page.entries;
                report.extents += page.extents;
                report.bytes = report.bytes.saturating_add(page.bytes);
            });
            self.index_faults(page.faults);
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn index_faults(&self, faults: Vec<IndexFault>) {
        self.change(|report| {
            report.index_fault_count += faults.len() as u64;
            let room = MAX_LISTED.saturating_sub(report.index_faults.len());
            report.index_faults.extend(faults.into_iter().take(room));
        });
    }

    /// Goes through all logs; what is orphaned comes back.
    async fn logs(&self) -> Result<Vec<Orphan>, MetaError> {
        let meta = &self.config.meta;
        let is_log = |kind: &VolumeKind| matches!(kind, VolumeKind::ObjectLog { .. });
        let mut volumes = meta.volumes().await?;
        volumes.retain(|volume| is_log(&volume.kind) && volume.state == VolumeState::Ready);
        self.change(|report| report.logs = volumes.len() as u64);
        let mut orphans = Vec::new();
        for volume in volumes {
            self.owned(volume.id).await?;
            self.log(volume.id, &mut orphans).await?;
            self.change(|report| report.logs_done += 1);
        }
        Ok(orphans)
    }

    /// Everything that is owned has an owner that names it.
    async fn owned(&self, volume: VolumeId) -> Result<(), MetaError> {
        let mut from = 0;
        loop {
            let page = self.config.meta.check_owned(volume, from, limits::CHECK_PAGE).await?;
            self.index_faults(page.faults);
            match page.next_bytes {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }

    async fn walk(&self, volume: VolumeId) -> Result<LogWalk, MetaError> {
        let meta = &self.config.meta;
        let log = meta.log(volume).await?;
        let known = self.config.marks.get(&volume).copied().unwrap_or(0);
        let settled = log.sealed_bytes.max(known);
        let marks = Marks { swept: log.swept_bytes, sealed: log.sealed_bytes, settled };
        Ok(LogWalk::new(meta.clone(), self.config.token, volume, marks))
    }

    async fn log(&self, volume: VolumeId, orphans: &mut Vec<Orphan>) -> Result<(), MetaError> {
        let mut walk = self.walk(volume).await?;
        let mut chunk = 0;
        loop {
            let end = LogWalk::window_end(chunk);
            let window = walk.look(chunk, end).await?;
            let is_empty = window.verdict.held == 0;
            self.take_in(&walk, window, orphans).await?;
            chunk = end;
            if end == u32::MAX {
                return Ok(());
            }
            // Addresses are never used twice, so most of an old log's have nothing behind them.
            if is_empty {
                let (next, troubles) = walk.next_used(chunk).await?;
                troubles.into_iter().for_each(|why| self.trouble(why));
                match next {
                    Some(next) => chunk = next,
                    None => return Ok(()),
                }
            }
        }
    }

    async fn take_in(
        &self,
        walk: &LogWalk,
        window: Window,
        orphans: &mut Vec<Orphan>,
    ) -> Result<(), MetaError> {
        let Window { verdict, unproven, troubles } = window;
        troubles.into_iter().for_each(|why| self.trouble(why));
        self.change(|report| {
            report.held_bytes += verdict.held * BLOCK_BYTES;
            report.waiting_bytes += verdict.waiting * BLOCK_BYTES;
            report.in_flight_bytes += verdict.in_flight * BLOCK_BYTES;
            report.unproven_chunks += unproven;
            for range in &verdict.orphans {
                report.orphaned_bytes += range.end - range.start;
                if report.orphans.len() < MAX_LISTED {
                    report.orphans.push(extent(walk.volume, range));
                }
            }
        });
        let room = MAX_ORPHANS.saturating_sub(orphans.len());
        orphans.extend(verdict.orphans.into_iter().take(room).map(|range| (walk.volume, range)));
        self.missing(walk, &verdict.missing).await
    }

    /// What was named and wasn't held is lost if it is named still.
    async fn missing(&self, walk: &LogWalk, missing: &[Range<u64>]) -> Result<(), MetaError> {
        let mut lost: BTreeMap<u64, (Extent, u64)> = BTreeMap::new();
        for range in missing {
            for extent in walk.named_extents(range.clone()).await? {
                let end = extent.offset.saturating_add(extent.len).next_multiple_of(BLOCK_BYTES);
                let bytes = range.end.min(end).saturating_sub(range.start.max(extent.offset));
                lost.entry(extent.offset).or_insert((extent, 0)).1 += bytes;
            }
        }
        for (extent, missing_bytes) in lost.into_values().filter(|(_, bytes)| *bytes > 0) {
            let owner = self.config.meta.extent_owner(extent.volume, extent.offset).await?;
            // Deleted just now.
            let Some(owner) = owner else { continue };
            self.change(|report| {
                report.lost_extents += 1;
                if report.lost.len() < MAX_LISTED {
                    report.lost.push(Lost { extent, missing_bytes, owner });
                }
            });
        }
        Ok(())
    }

    /// Orphans that a second look finds as well go to the garbage, for their logs' gateways to trim.
    async fn give_back(&self, orphans: Vec<Orphan>) -> Result<(), MetaError> {
        tokio::time::sleep(self.config.grace).await;
        let mut by_log: BTreeMap<VolumeId, Vec<Range<u64>>> = BTreeMap::new();
        for (volume, range) in orphans {
            by_log.entry(volume).or_default().push(range);
        }
        for (volume, first_look) in by_log {
            let mut walk = self.walk(volume).await?;
            let mut confirmed = Vec::new();
            let mut looked_to = 0;
            for range in &first_look {
                let chunk = chunk_of(range.start).max(looked_to);
                looked_to = chunk_of(range.end.next_multiple_of(CHUNK_BYTES));
                if chunk < looked_to {
                    let second_look = walk.look(chunk, looked_to).await?.verdict.orphans;
                    confirmed.extend(both(&first_look, &second_look));
                }
            }
            for batch in confirmed.chunks(RECLAIM_BATCH) {
                let extents = batch.iter().map(|range| extent(volume, range)).collect();
                let bytes = self.config.meta.reclaim_extents(extents).await?;
                self.change(|report| report.reclaimed_bytes += bytes);
            }
        }
        Ok(())
    }

    async fn usages(&self) -> Result<(), MetaError> {
        let meta = &self.config.meta;
        let mut after = None;
        loop {
            let page = meta.buckets("", after, meta::limits::MAX_PAGE).await?;
            for bucket in page.buckets {
                let of = QuotaOf::Bucket(bucket.name.clone());
                match self.usage(of, format!("bucket {}", bucket.name)).await {
                    Err(error) if matches!(error.kind(), meta::ErrorKind::NotFound(_)) => {}
                    other => other?,
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for account in meta.accounts().await? {
            let of = QuotaOf::Project(account.number.clone());
            self.usage(of, format!("project {}", account.number)).await?;
        }
        Ok(())
    }

    /// Counts while others go on; only what differs is counted again while nothing changes.
    async fn usage(&self, of: QuotaOf, name: String) -> Result<(), MetaError> {
        let meta = &self.config.meta;
        self.change(|report| report.usages += 1);
        if meta.recount(of.clone()).await?.is_right() {
            return Ok(());
        }
        let mend = self.config.repair == Repair::WhatCanBe;
        let found = meta.recount_still(of, mend).await?;
        if !found.is_right() {
            self.change(|report| report.counters_off.push(CounterOff::new(name, found, mend)));
        }
        Ok(())
    }
}

fn extent(volume: VolumeId, range: &Range<u64>) -> Extent {
    Extent { volume, offset: range.start, len: range.end - range.start }
}
