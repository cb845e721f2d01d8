//! One object log against what the control plane says of it, window by window.
//!
//! The order makes it sound while everybody goes on working. The marks are read first, then what is named, then the garbage
//! queue, then who is in sync, and what those hold last. What was neither named nor garbage before the disks were asked,
//! below the mark up to which all is settled, can't become either: it is an orphan, or was just trimmed. What was
//! named and isn't held is asked for once more: addresses are never used twice, so what is still named then was all the time.

use super::blocks::{ChunkBlocks, Marks, Verdict};
use super::limits::{CHECK_PAGE, WINDOW_CHUNKS};
use blockd::ClientError;
use blockd::client::runs::VolumeRuns;
use meta::MetaError;
use meta::client::Client;
use meta::object::Extent;
use proto::ChunkIndex;
use proto::control::{PoolMap, PoolToken};
use proto::ids::{DiskId, VolumeId};
use proto::message::ListEntry;
use proto::units::CHUNK_BYTES;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A log that is being looked at.
pub struct LogWalk {
    pub meta: Client,
    pub token: PoolToken,
    pub volume: VolumeId,
    pub marks: Marks,
    /// One connection to each disk that answered last.
    runs: BTreeMap<DiskId, VolumeRuns>,
}

/// What a window of the log came to.
#[derive(Debug, Default)]
pub struct Window {
    pub verdict: Verdict,
    /// Chunks that could not be judged.
    pub unproven: u64,
    pub troubles: BTreeSet<String>,
}

/// A disk's runs by chunk.
type Listing = BTreeMap<u32, Vec<ListEntry>>;

impl LogWalk {
    pub fn new(meta: Client, token: PoolToken, volume: VolumeId, marks: Marks) -> Self {
        Self { meta, token, volume, marks, runs: BTreeMap::new() }
    }

    /// Where a window that begins with this chunk ends.
    pub fn window_end(chunk: u32) -> u32 {
        chunk.saturating_add(WINDOW_CHUNKS)
    }

    /// Looks at the chunks from `first` to before `end`.
    pub async fn look(&mut self, first: u32, end: u32) -> Result<Window, MetaError> {
        let bytes = u64::from(first) * CHUNK_BYTES..u64::from(end) * CHUNK_BYTES;
        let named = self.named(bytes.clone()).await?;
        let garbage = self.garbage(bytes.clone()).await?;
        let map = self.meta.pool_map().await?;
        let mut window = Window::default();
        let listings = self.list(&map, (first, end), &mut window.troubles).await;
        let mut chunks: BTreeSet<u32> = listings.values().flat_map(BTreeMap::keys).copied().collect();
        for range in &named {
            chunks.extend(chunks_of(range, first..end));
        }
        for chunk in chunks {
            let group = map.group(self.volume, ChunkIndex(chunk));
            let members: Vec<DiskId> = group.in_sync().map(|member| member.disk).collect();
            let known: Vec<&Listing> = members.iter().filter_map(|disk| listings.get(disk)).collect();
            if known.is_empty() {
                window.unproven += 1;
                continue;
            }
            let mut blocks = ChunkBlocks::new(chunk);
            for listing in &known {
                blocks.member(listing.get(&chunk).map_or(&[][..], Vec::as_slice));
            }
            let within = u64::from(chunk) * CHUNK_BYTES..(u64::from(chunk) + 1) * CHUNK_BYTES;
            overlapping(&named, &within).for_each(|range| blocks.named(range));
            overlapping(&garbage, &within).for_each(|range| blocks.garbage(range));
            let mut verdict = blocks.judge(self.marks);
            if known.len() < members.len() && !verdict.missing.is_empty() {
                // Another copy, which doesn't answer, may hold it.
                window.unproven += 1;
                verdict.missing.clear();
            }
            merge(&mut window.verdict, verdict);
        }
        Ok(window)
    }

    async fn named(&self, bytes: Range<u64>) -> Result<Vec<Range<u64>>, MetaError> {
        let extents = self.named_extents(bytes).await?;
        Ok(extents.into_iter().map(|extent| range_of(&extent)).collect())
    }

    /// What is named within a range now.
    pub async fn named_extents(&self, bytes: Range<u64>) -> Result<Vec<Extent>, MetaError> {
        let (mut found, mut from) = (Vec::new(), bytes.start);
        loop {
            let page = self.meta.referenced_extents(self.volume, from..bytes.end, CHECK_PAGE).await?;
            found.extend(page.extents);
            match page.next_bytes {
                Some(next) => from = next,
                None => return Ok(found),
            }
        }
    }

    async fn garbage(&self, bytes: Range<u64>) -> Result<Vec<Range<u64>>, MetaError> {
        let (mut found, mut from) = (Vec::new(), bytes.start);
        loop {
            let page = self.meta.garbage(self.volume, from, CHECK_PAGE).await?;
            found.extend(page.extents.iter().map(range_of).filter(|range| range.start < bytes.end));
            match page.next_bytes {
                Some(next) if next < bytes.end => from = next,
                _ => return Ok(found),
            }
        }
    }

    /// What each disk that is in sync of anything holds of these chunks; those that can't say are left out.
    async fn list(
        &mut self,
        map: &PoolMap,
        (first, end): (u32, u32),
        troubles: &mut BTreeSet<String>,
    ) -> BTreeMap<DiskId, Listing> {
        let mut listings = BTreeMap::new();
        for disk in in_sync(map) {
            match self.list_disk(map, disk, (first, end)).await {
                Ok(entries) => {
                    let mut listing = Listing::new();
                    for entry in entries {
                        listing.entry(entry.chunk.0).or_default().push(entry);
                    }
                    listings.insert(disk, listing);
                }
                Err(why) => {
                    troubles.insert(format!("disk {disk} could not be looked at: {why}"));
                }
            }
        }
        listings
    }

    /// A connection that was kept may have ended since: then once more on a new one.
    async fn list_disk(
        &mut self,
        map: &PoolMap,
        disk: DiskId,
        (first, end): (u32, u32),
    ) -> Result<Vec<ListEntry>, String> {
        let (first, end) = (ChunkIndex(first), ChunkIndex(end));
        if let Some(mut kept) = self.runs.remove(&disk)
            && let Ok(entries) = kept.within(first, end).await
        {
            self.runs.insert(disk, kept);
            return Ok(entries);
        }
        let said = |error: ClientError| error.to_string();
        let mut fresh = self.connect(map, disk).await?;
        let entries = fresh.within(first, end).await.map_err(said)?;
        self.runs.insert(disk, fresh);
        Ok(entries)
    }

    async fn connect(&self, map: &PoolMap, disk: DiskId) -> Result<VolumeRuns, String> {
        let place = map.place(disk).ok_or("the control plane doesn't know where it is")?;
        let groups = u32::try_from(map.groups.len()).map_err(|error| error.to_string())?;
        VolumeRuns::open(place, self.token, self.volume, groups).await.map_err(|error| error.to_string())
    }

    /// The first chunk from this one on in which anything is named, garbage or held, and which disks could not say.
    pub async fn next_used(&mut self, from: u32) -> Result<(Option<u32>, BTreeSet<String>), MetaError> {
        let bytes = u64::from(from) * CHUNK_BYTES;
        let named = self.meta.referenced_extents(self.volume, bytes..u64::MAX, 1).await?;
        let garbage = self.meta.garbage(self.volume, bytes, 1).await?;
        let extents = named.extents.iter().chain(&garbage.extents);
        let mut next = extents.map(|extent| chunk_of(extent.offset).max(from)).min();
        let map = self.meta.pool_map().await?;
        let mut troubles = BTreeSet::new();
        for disk in in_sync(&map) {
            let known = match self.connect(&map, disk).await {
                Ok(mut fresh) => fresh.next_used(ChunkIndex(from)).await.map_err(|error| error.to_string()),
                Err(why) => Err(why),
            };
            match known {
                Ok(chunk) => next = next.into_iter().chain(chunk.map(|chunk| chunk.0)).min(),
                Err(why) => {
                    troubles.insert(format!("disk {disk} could not be looked at: {why}"));
                }
            }
        }
        Ok((next, troubles))
    }
}

/// Disks that are in sync in any group.
fn in_sync(map: &PoolMap) -> BTreeSet<DiskId> {
    map.groups.iter().flat_map(|group| group.in_sync().map(|member| member.disk)).collect()
}

fn range_of(extent: &Extent) -> Range<u64> {
    extent.offset..extent.offset.saturating_add(extent.len)
}

/// The chunk of an offset. Logs are far smaller than what has no number.
pub fn chunk_of(offset: u64) -> u32 {
    u32::try_from(offset / CHUNK_BYTES).unwrap_or(u32::MAX)
}

fn chunks_of(range: &Range<u64>, within: Range<u32>) -> Range<u32> {
    let end = chunk_of(range.end.saturating_sub(1).max(range.start)).saturating_add(1);
    chunk_of(range.start).max(within.start)..end.min(within.end)
}

/// Those of `ranges`, which are in order and don't overlap, that reach into `within`.
fn overlapping<'a>(ranges: &'a [Range<u64>], within: &Range<u64>) -> impl Iterator<Item = &'a Range<u64>> {
    let first = ranges.partition_point(|range| range.end <= within.start);
    let end = within.end;
    ranges[first..].iter().take_while(move |range| range.start < end)
}

fn merge(into: &mut Verdict, from: Verdict) {
    into.held += from.held;
    into.waiting += from.waiting;
    into.in_flight += from.in_flight;
    from.orphans.into_iter().for_each(|range| super::blocks::add(&mut into.orphans, range));
    from.missing.into_iter().for_each(|range| super::blocks::add(&mut into.missing, range));
}
