//! What a volume may hold, sector by sector, told by what was submitted, acked and flushed.
//!
//! Every written sector holds its write's number, so a read says which write it saw. A write *may be seen*
//! unless another one that certainly came after it (submitted after it was acked) is *required*: acked before
//! the read began, or, after a power cut of all replicas, flushed.

use bytes::Bytes;
use std::collections::BTreeMap;

pub const SECTOR: usize = 512;
const SECTORS_PER_BLOCK: u64 = 8;

/// What must have survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Survives {
    /// Everything acked: some replica kept its disk's cache.
    Acked,
    /// Only what was flushed.
    Flushed,
}

/// One write to one sector. Moments are counted events, so no two are the same.
#[derive(Debug, Clone, Copy)]
struct Seen {
    write: u64,
    submitted: u64,
    acked: u64,
    flushed: bool,
}

/// Before the first write: zeros, for ever and durably.
const NOTHING: Seen = Seen { write: 0, submitted: 0, acked: 0, flushed: true };

#[derive(Debug, Clone, Copy)]
struct Extent {
    first: u64,
    end: u64,
    zero: bool,
}

#[derive(Debug, Default)]
pub struct Oracle {
    sectors: BTreeMap<u64, Vec<Seen>>,
    writes: BTreeMap<u64, Extent>,
    unflushed: Vec<(u64, u64)>,
}

/// The content of a write's sectors.
pub fn stamp(write: u64, first_sector: u64, sectors: u64) -> Bytes {
    let mut data = Vec::new();
    for sector in first_sector..first_sector + sectors {
        for _ in 0..SECTOR / 16 {
            data.extend_from_slice(&write.to_le_bytes());
            data.extend_from_slice(&(sector ^ 0xa5a5_5a5a_a5a5_5a5a).to_le_bytes());
        }
    }
    data.into()
}

/// The write that a sector's content is of; 0 for zeros.
fn unstamp(sector: u64, data: &[u8]) -> Result<u64, String> {
    if data.iter().all(|&byte| byte == 0) {
        return Ok(0);
    }
    let write = u64::from_le_bytes(data[..8].try_into().expect("eight bytes"));
    if data != stamp(write, sector, 1) {
        return Err(format!("sector {sector} holds what nobody wrote there"));
    }
    Ok(write)
}

/// Whether a page of a disk holds written data, as opposed to the store's own.
pub fn is_stamped(page: &[u8]) -> bool {
    let word = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().expect("eight bytes"));
    let sector = word(8) ^ 0xa5a5_5a5a_a5a5_5a5a;
    sector < 1 << 40 && word(0) != 0 && word(0) < 1 << 40 && page[..SECTOR] == stamp(word(0), sector, 1)
}

impl Oracle {
    pub fn submitted(&mut self, write: u64, first: u64, sectors: u64, zero: bool, now: u64) {
        self.writes.insert(write, Extent { first, end: first + sectors, zero });
        for sector in first..first + sectors {
            let seen = Seen { write, submitted: now, acked: u64::MAX, flushed: false };
            self.sectors.entry(sector).or_insert_with(|| vec![NOTHING]).push(seen);
        }
    }

    pub fn acked(&mut self, write: u64, now: u64) {
        let Some(extent) = self.writes.get(&write).copied() else { return };
        for sector in extent.first..extent.end {
            let seen =
                self.sectors.get_mut(&sector).and_then(|all| all.iter_mut().find(|s| s.write == write));
            if let Some(seen) = seen {
                seen.acked = now;
            }
        }
        self.unflushed.push((write, now));
    }

    /// A flush submitted at `submitted` succeeded. `oldest_read`: when the oldest read in progress began.
    pub fn flushed(&mut self, submitted: u64, oldest_read: u64) {
        let (covered, rest) = std::mem::take(&mut self.unflushed).into_iter().partition(|w| w.1 < submitted);
        let covered: Vec<(u64, u64)> = covered;
        self.unflushed = rest;
        for (write, _) in covered {
            let extent = self.writes[&write];
            for sector in extent.first..extent.end {
                let Some(all) = self.sectors.get_mut(&sector) else { continue };
                let mut since = None;
                for seen in all.iter_mut().filter(|seen| seen.write == write) {
                    seen.flushed = true;
                    since = Some(seen.submitted).filter(|_| seen.acked < oldest_read);
                }
                // What certainly came before something durable never comes back, but in a read that began
                // before that was acked.
                if let Some(since) = since {
                    all.retain(|seen| seen.acked >= since);
                }
            }
        }
    }

    /// Sectors that were ever written, as ranges of whole blocks: (first sector, sectors).
    pub fn touched_blocks(&self) -> Vec<(u64, u64)> {
        let mut blocks: Vec<u64> = self.sectors.keys().map(|sector| sector / SECTORS_PER_BLOCK).collect();
        blocks.dedup();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for block in blocks {
            match ranges.last_mut() {
                Some((first, len)) if *first + *len == block && *len < 256 => *len += 1,
                _ => ranges.push((block, 1)),
            }
        }
        ranges.iter().map(|(first, len)| (first * SECTORS_PER_BLOCK, len * SECTORS_PER_BLOCK)).collect()
    }

    fn value(&self, seen: &Seen) -> u64 {
        let zero = self.writes.get(&seen.write).is_none_or(|extent| extent.zero);
        if zero { 0 } else { seen.write }
    }

    /// Checks data read at `first`, by a read that began at `began`.
    pub fn check_read(&self, first: u64, data: &[u8], began: u64) -> Result<(), String> {
        let values = self.values(first, data)?;
        for (sector, value) in (first..).zip(&values) {
            let none = [NOTHING];
            let all = self.sectors.get(&sector).map_or(&none[..], Vec::as_slice);
            let required = |seen: &Seen| seen.acked < began;
            self.check_sector(sector, *value, all, required)?;
        }
        Ok(())
    }

    /// Checks data read first after a new writer opened; from then on it is the one truth.
    pub fn check_survivor(&mut self, first: u64, data: &[u8], survives: Survives) -> Result<(), String> {
        let values = self.values(first, data)?;
        for (sector, value) in (first..).zip(&values) {
            let Some(all) = self.sectors.get(&sector) else { continue };
            let required = |seen: &Seen| match survives {
                Survives::Acked => seen.acked < u64::MAX,
                Survives::Flushed => seen.flushed,
            };
            self.check_sector(sector, *value, all, required)?;
            let truth = all.iter().rfind(|seen| self.value(seen) == *value).copied().unwrap_or(NOTHING);
            let truth = Seen { submitted: 0, acked: 0, flushed: true, ..truth };
            self.sectors.insert(sector, vec![truth]);
        }
        Ok(())
    }

    /// Nothing acked before a crash waits for a flush any more: the open has settled it.
    pub fn forget_unflushed(&mut self) {
        self.unflushed.clear();
    }

    fn check_sector(
        &self,
        sector: u64,
        value: u64,
        all: &[Seen],
        required: impl Fn(&Seen) -> bool,
    ) -> Result<(), String> {
        let latest = all.iter().filter(|seen| required(seen)).map(|seen| seen.submitted).max().unwrap_or(0);
        let may = |seen: &&Seen| self.value(seen) == value && seen.acked >= latest;
        if all.iter().any(|seen| may(&seen)) {
            return Ok(());
        }
        let known: Vec<u64> = all.iter().map(|seen| seen.write).collect();
        Err(format!(
            "sector {sector} holds write {value}, which may not be seen; its writes are {known:?}: {all:?}"
        ))
    }

    /// The writes seen, sector by sector; no block may mix two that both cover the sectors they are seen in.
    fn values(&self, first: u64, data: &[u8]) -> Result<Vec<u64>, String> {
        let values: Vec<u64> = data
            .chunks_exact(SECTOR)
            .zip(first..)
            .map(|(data, sector)| unstamp(sector, data))
            .collect::<Result<_, _>>()?;
        for (at, &a) in values.iter().enumerate() {
            let sector = first + at as u64;
            let block_end = (sector / SECTORS_PER_BLOCK + 1) * SECTORS_PER_BLOCK;
            for (other, &b) in (sector + 1..block_end).zip(&values[at + 1..]) {
                if a == b || a == 0 || b == 0 {
                    continue;
                }
                let both = [a, b].iter().all(|write| {
                    self.writes.get(write).is_some_and(|extent| extent.first <= sector && other < extent.end)
                });
                if both {
                    return Err(format!(
                        "a block is torn: sector {sector} of write {a}, sector {other} of {b}"
                    ));
                }
            }
        }
        Ok(values)
    }
}
