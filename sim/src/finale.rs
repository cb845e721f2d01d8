//! What is looked at once all is well and nobody works: damage that is counted to the block.

use crate::control::GROUPS;
use crate::damage::{Copy, Damage};
use crate::fault::Trouble;
use crate::scenario::Run;
use crate::world::{Violation, violation};
use blockd::client::scrub::ScrubReport;
use proto::{ChunkIndex, GroupId};

/// Blocks of which copies are damaged at the end of a run.
const DAMAGED: u64 = 6;
/// How often a scrub is tried whose servers could not be reached.
const TRIES: usize = 5;

impl Run {
    /// Every copy that members in sync hold of the tenants' blocks.
    pub fn all_copies(&self) -> Vec<Copy> {
        let mut all = Vec::new();
        for tenant in &self.tenants {
            for chunk in (0..tenant.chunks()).map(ChunkIndex) {
                let group = tenant.group_of(u64::from(chunk.0) << 13, GROUPS);
                all.extend(self.world.copies(tenant.volume, chunk, group));
            }
        }
        all
    }

    fn bad_copies(&self) -> Vec<Copy> {
        self.all_copies().into_iter().filter(|copy| self.world.is_bad(copy)).collect()
    }

    /// Scrubs every group, one after another, and adds up what was seen.
    pub fn scrub_all(&mut self) -> Result<ScrubReport, Violation> {
        let mut sum = ScrubReport::default();
        for group in (0..GROUPS).map(GroupId) {
            self.until("the scrub before", |run| run.world.scrubber.is_idle())?;
            let mut report = None;
            for _ in 0..TRIES {
                self.last_scrub = None;
                if !self.world.start_scrub(group) {
                    return violation("scrub", format!("group {group} can't be scrubbed though all is well"));
                }
                self.until("a scrub", |run| run.world.scrubber.is_idle())?;
                report = self.last_scrub.take();
                if report.is_some() {
                    break;
                }
            }
            let Some(report) = report else {
                return violation("scrub", format!("group {group} could not be scrubbed though all is well"));
            };
            sum.blocks_checked += report.blocks_checked;
            sum.bad_blocks += report.bad_blocks;
            sum.missing_blocks += report.missing_blocks;
            sum.repaired_blocks += report.repaired_blocks;
            sum.unrepairable_blocks += report.unrepairable_blocks;
            sum.skipped_blocks += report.skipped_blocks;
        }
        Ok(sum)
    }

    /// Promise 6: what rots on one disk is found, all of it and nothing else, and repaired from another.
    pub fn prove_scrub(&mut self) -> Result<(), Violation> {
        // What the run left behind goes first.
        self.scrub_all()?;
        self.expect_scrub(0, 0)?;
        let all = self.all_copies();
        if all.is_empty() {
            return Ok(());
        }
        for _ in 0..1 + self.world.rng.below(DAMAGED) {
            let (first, other) = (self.world.rng.pick(&all), self.world.rng.pick(&all));
            let mut copies: Vec<Copy> = all.iter().copied().filter(|copy| copy.is_of(&first)).collect();
            if copies.iter().any(|copy| self.world.is_bad(copy)) {
                continue;
            }
            // One copy, at times all but one.
            let spared = self.world.rng.index(copies.len());
            copies.swap_remove(spared);
            if self.world.rng.chance(70) {
                copies.truncate(1);
            }
            for copy in &copies {
                let same = copy.is_of(&other);
                let damage = self.world.rng.pick(&Damage::ALL);
                let damage = if same && damage == Damage::Misdirected { Damage::Flipped } else { damage };
                self.world.damage(copy, damage, &other)?;
                self.world.count(Trouble::RottenCopy);
            }
        }
        let bad = self.bad_copies().len() as u64;
        self.expect_scrub(bad, 0)?;
        self.expect_scrub(0, 0)
    }

    /// A scrub that must see so many bad copies, of which so many can't be repaired.
    pub fn expect_scrub(&mut self, bad: u64, unrepairable: u64) -> Result<(), Violation> {
        let report = self.scrub_all()?;
        let copies = self.all_copies().len() as u64;
        let as_it_is = report.bad_blocks == bad
            && report.unrepairable_blocks == unrepairable
            && report.repaired_blocks == bad - unrepairable
            && report.missing_blocks == 0
            && report.skipped_blocks == 0
            && report.blocks_checked == copies;
        if !as_it_is {
            let what = format!(
                "of {copies} copies {bad} are bad, {unrepairable} beyond repair, and the scrub says {report:?}"
            );
            return violation("scrub", what);
        }
        let left = self.bad_copies();
        if left.len() as u64 == unrepairable {
            Ok(())
        } else {
            violation("scrub", format!("after a scrub these are bad: {left:?}"))
        }
    }
}
