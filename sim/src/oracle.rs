//! What a volume may hold, sector by sector, told by what was submitted, acked and flushed.
//!
//! Every written sector holds its write's number, so a read says which write it saw. Each write is *decided*
//! at some moment: when it was acked, or when the next writer's open had completed; if it takes effect at
//! all, then before. A write may be seen unless another one that certainly came after it (submitted after
//! it was decided) was acked before the read began and must have survived, or unless a read of decided
//! writes has already seen that another one came later. That is linearizability of a register with one writer
//! at a time, block by block, with the loss that power cuts may bring.

use bytes::Bytes;
use std::collections::BTreeMap;

pub const SECTOR: usize = 512;
const SECTORS_PER_BLOCK: u64 = 8;
const NEVER: u64 = u64::MAX;
const MASK: u64 = 0xa5a5_5a5a_a5a5_5a5a;

/// One write to one sector. Moments are counted events, so no two are the same.
#[derive(Debug, Clone, Copy)]
struct Seen {
    write: u64,
    submitted: u64,
    acked: u64,
    /// From when on copies must not lose it: since it was acked, or since it was submitted if it was acked for what
    /// copies had said that had lost it again by then.
    held: u64,
    decided: u64,
    flushed: bool,
    /// From when on reads have shown that another decided write came later.
    outdone: u64,
}

/// Before the first write: zeros, for ever and durably.
const NOTHING: Seen =
    Seen { write: 0, submitted: 0, acked: 0, held: 0, decided: 0, flushed: true, outdone: NEVER };

/// A write as it was submitted.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    pub first: u64,
    pub end: u64,
    zero: bool,
    /// Which of the volume's writers it is of.
    writer: usize,
    undecided: bool,
}

#[derive(Debug, Default)]
pub struct Oracle {
    sectors: BTreeMap<u64, Vec<Seen>>,
    writes: BTreeMap<u64, Extent>,
    /// Acked writes and when, by their numbers.
    unflushed: BTreeMap<u64, u64>,
    /// When the newest open completed: what was decided before is flushed everywhere.
    opened: u64,
}

/// The content of a write's sectors.
pub fn stamp(write: u64, first_sector: u64, sectors: u64) -> Bytes {
    let mut data = Vec::with_capacity(usize::try_from(sectors).expect("small") * SECTOR);
    for sector in first_sector..first_sector + sectors {
        let mut pair = [0; 16];
        pair[..8].copy_from_slice(&write.to_le_bytes());
        pair[8..].copy_from_slice(&(sector ^ MASK).to_le_bytes());
        (0..SECTOR / 16).for_each(|_| data.extend_from_slice(&pair));
    }
    data.into()
}

fn word(data: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(data[at..at + 8].try_into().expect("eight bytes"))
}

/// The write that a sector's content is of; 0 for zeros.
fn unstamp(sector: u64, data: &[u8]) -> Result<u64, String> {
    let (write, place) = (word(data, 0), word(data, 8));
    let zeros = write == 0 && place == 0;
    let same = data.chunks_exact(16).all(|pair| word(pair, 0) == write && word(pair, 8) == place);
    if !same || !zeros && (place != sector ^ MASK || write == 0) {
        return Err(format!("sector {sector} holds what nobody wrote there"));
    }
    Ok(write)
}

/// Whether a page of a disk holds written data, as opposed to the store's own.
pub fn is_stamped(page: &[u8]) -> bool {
    page.chunks_exact(SECTOR).any(|sector| stamped_by(sector).is_some())
}

/// The write that a sector of a write request is of.
pub fn stamped_by(data: &[u8]) -> Option<u64> {
    let (write, place) = (word(data, 0), word(data, 8) ^ MASK);
    let stamped = place < 1 << 40 && write != 0 && write < 1 << 40;
    (stamped && word(data, 16) == write && word(data, 24) == place ^ MASK).then_some(write)
}

impl Oracle {
    pub fn submitted(
        &mut self,
        (write, writer): (u64, usize),
        (first, sectors): (u64, u64),
        zero: bool,
        now: u64,
    ) {
        self.writes.insert(write, Extent { first, end: first + sectors, zero, writer, undecided: true });
        for sector in first..first + sectors {
            let (acked, decided, outdone) = (NEVER, NEVER, NEVER);
            let seen = Seen { write, submitted: now, acked, held: acked, decided, flushed: false, outdone };
            self.sectors.entry(sector).or_insert_with(|| vec![NOTHING]).push(seen);
        }
    }

    pub fn extent(&self, write: u64) -> Option<Extent> {
        self.writes.get(&write).copied()
    }

    pub fn acked(&mut self, write: u64, now: u64) {
        self.each(write, |seen| {
            (seen.acked, seen.held) = (now, now);
            seen.decided = seen.decided.min(now);
        });
        self.unflushed.insert(write, now);
    }

    /// When a write was acked, no copy held it: those that had taken it had lost power since. Its guest hears of that at
    /// its next flush.
    pub fn was_lost_when_acked(&mut self, write: u64) {
        self.each(write, |seen| seen.held = seen.submitted);
    }

    fn each(&mut self, write: u64, change: impl Fn(&mut Seen)) {
        let Some(extent) = self.writes.get_mut(&write) else { return };
        extent.undecided = false;
        for (_, all) in self.sectors.range_mut(extent.first..extent.end) {
            all.iter_mut().rev().filter(|seen| seen.write == write).for_each(&change);
        }
    }

    /// A flush that a writer submitted at `began` succeeded. `oldest_read`: when the oldest read in progress
    /// began.
    pub fn flushed(&mut self, writer: usize, began: u64, oldest_read: u64) {
        let covers = |write: &u64, acked: &u64| *acked < began && self.writes[write].writer == writer;
        let covered: Vec<u64> = self
            .unflushed
            .iter()
            .filter(|(write, acked)| covers(write, acked))
            .map(|(&write, _)| write)
            .collect();
        for write in covered {
            self.unflushed.remove(&write);
            self.each(write, |seen| seen.flushed = true);
            self.prune(write, oldest_read);
        }
    }

    /// A flush of the writer failed: its guest knows that what was acked before may be gone, and no later flush
    /// that succeeds takes that back.
    pub fn flush_failed(&mut self, writer: usize) {
        let Self { unflushed, writes, .. } = self;
        unflushed.retain(|write, _| writes.get(write).is_none_or(|extent| extent.writer != writer));
    }

    /// What certainly came before something durable never comes back, but in a read that began before that
    /// was acked.
    fn prune(&mut self, write: u64, oldest_read: u64) {
        let Some(extent) = self.writes.get(&write) else { return };
        for (_, all) in self.sectors.range_mut(extent.first..extent.end) {
            let durable = all.iter().find(|seen| seen.write == write && seen.acked < oldest_read);
            if let Some(since) = durable.map(|seen| seen.submitted) {
                all.retain(|seen| seen.decided >= since);
            }
        }
    }

    /// A new writer's open has completed: what earlier writers left undone is done by now, or never will be.
    pub fn opened(&mut self, writer: usize, now: u64) {
        let left = |extent: &Extent| extent.undecided && extent.writer != writer;
        let undecided: Vec<u64> =
            self.writes.iter().filter(|(_, extent)| left(extent)).map(|(&write, _)| write).collect();
        for write in undecided {
            self.each(write, |seen| seen.decided = seen.decided.min(now));
        }
        self.opened = now;
        // What the guest of a dead writer saw and did not flush may be gone.
        for seen in self.sectors.values_mut().flatten() {
            seen.outdone = NEVER;
        }
    }

    /// When the newest writer's open completed.
    pub fn opened_at(&self) -> u64 {
        self.opened
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

    /// Checks data read at `first` by a read that began at `began` and ended at `now`. `kept` says of a
    /// sector and of the moment from which copies held it whether what was not flushed must have survived.
    pub fn check_read(
        &mut self,
        (first, data): (u64, &[u8]),
        (began, now): (u64, u64),
        kept: &dyn Fn(u64, u64) -> bool,
    ) -> Result<(), String> {
        let values = self.values(first, data)?;
        for (sector, value) in (first..).zip(&values) {
            let Some(all) = self.sectors.get(&sector) else {
                if *value == 0 {
                    continue;
                }
                return Err(format!("sector {sector} holds write {value} and was never written"));
            };
            let sure = |seen: &&Seen| seen.acked < began && (seen.flushed || kept(sector, seen.held));
            let latest = all.iter().filter(sure).map(|seen| seen.submitted).max().unwrap_or(0);
            let may =
                |seen: &&Seen| self.value(seen) == *value && seen.decided >= latest && seen.outdone >= began;
            let mut seen = all.iter().filter(may);
            let Some(one) = seen.next().copied() else {
                return Err(format!("sector {sector} holds write {value}, which may not be seen: {all:?}"));
            };
            if seen.next().is_none() && one.decided < began {
                self.saw(sector, &one, began, now);
            }
        }
        Ok(())
    }

    /// A read of decided writes saw `one`: the others came before it, or never.
    fn saw(&mut self, sector: u64, one: &Seen, began: u64, now: u64) {
        let Some(all) = self.sectors.get_mut(&sector) else { return };
        if one.decided <= self.opened && self.opened < began {
            for seen in all.iter_mut().filter(|seen| seen.write == one.write) {
                seen.acked = seen.acked.min(now);
                seen.flushed = true;
            }
        }
        for seen in all.iter_mut().filter(|seen| seen.write != one.write && seen.decided < began) {
            seen.outdone = seen.outdone.min(now);
        }
    }

    /// Checks what is only to be what somebody wrote there: a read of a writer that was replaced.
    pub fn check_content(&self, first: u64, data: &[u8]) -> Result<(), String> {
        self.values(first, data).map(drop)
    }

    /// The writes seen, sector by sector; no block may mix two that both cover the sectors they are seen in.
    fn values(&self, first: u64, data: &[u8]) -> Result<Vec<u64>, String> {
        let sectors = data.chunks_exact(SECTOR).zip(first..);
        let values: Vec<u64> =
            sectors.map(|(data, sector)| unstamp(sector, data)).collect::<Result<_, _>>()?;
        for (at, pair) in values.windows(2).enumerate() {
            let (a, b, sector) = (pair[0], pair[1], first + at as u64);
            if a == b || a == 0 || b == 0 || (sector + 1).is_multiple_of(SECTORS_PER_BLOCK) {
                continue;
            }
            let covers = |extent: &Extent| extent.first <= sector && sector + 1 < extent.end;
            if [a, b].iter().all(|write| self.writes.get(write).is_some_and(covers)) {
                return Err(format!("a block is torn: sector {sector} of write {a}, the next one of {b}"));
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
#[path = "oracle_test.rs"]
mod tests;
