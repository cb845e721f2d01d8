//! What is looked at once all is well and nobody works: damage that is counted to the block.

use crate::control::GROUPS;
use crate::damage::{Copy, Damage};
use crate::fault::Trouble;
use crate::oracle::stamp;
use crate::scenario::Run;
use crate::tenant::What;
use crate::world::{SECOND, Violation, violation};
use blockd::client::scrub::ScrubReport;
use blockd::client::{Holes, VolumeOp};
use proto::units::{BLOCK_BYTES, BLOCKS_PER_CHUNK};
use proto::{ChunkIndex, GroupId};
use std::collections::BTreeSet;

/// Blocks of which copies are damaged at the end of a run.
const DAMAGED: u64 = 6;
/// Blocks of each volume of which all copies are.
const DEAD: u64 = 3;
/// How long anything may take by then.
const PATIENCE: u64 = 120 * SECOND;
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

    /// All operations come to their ends, and soon.
    pub fn quiet(&mut self, checker: &'static str) -> Result<(), Violation> {
        let deadline = self.world.now + PATIENCE;
        while !self.tenants.iter().all(|tenant| tenant.is_quiet() && tenant.burst == 0) {
            if self.world.now > deadline {
                let doing: Vec<_> = self.tenants.iter().map(|tenant| &tenant.doing).collect();
                return violation(checker, format!("these are not done though all is well: {doing:?}"));
            }
            self.step()?;
        }
        Ok(())
    }

    /// Promise 6: if every copy is bad, an error, never wrong bytes; what is written then heals the block.
    pub fn prove_all_bad(&mut self) -> Result<(), Violation> {
        let all = self.all_copies();
        let mut dead: BTreeSet<(usize, u64)> = BTreeSet::new();
        let mut bad = 0;
        for number in 0..self.tenants.len() {
            let volume = self.tenants[number].volume;
            let of_it: Vec<Copy> = all.iter().copied().filter(|copy| copy.volume == volume).collect();
            for _ in 0..if of_it.is_empty() { 0 } else { DEAD } {
                let one = self.world.rng.pick(&of_it);
                let block = u64::from(one.chunk.0) * u64::from(BLOCKS_PER_CHUNK) + u64::from(one.block);
                if !dead.insert((number, block)) {
                    continue;
                }
                for copy in of_it.iter().filter(|copy| copy.is_of(&one)) {
                    let damage = self.world.rng.pick(&[Damage::Flipped, Damage::Unreadable, Damage::Lost]);
                    self.world.damage(copy, damage, &one)?;
                    bad += 1;
                }
                self.world.count(Trouble::EveryCopyBad);
            }
        }
        for &(number, block) in &dead {
            self.touch_dead(number, block);
        }
        self.quiet("corrupt")?;
        self.expect_scrub(bad, bad)?;
        for &(number, block) in &dead {
            let writer = self.tenants[number].writer.expect("the tenants are quiet");
            let (offset, sectors) = (block * BLOCK_BYTES, (block * 8, 8));
            if self.world.rng.chance(70) {
                let op = |id| VolumeOp::Write { offset, data: stamp(id, block * 8, 8) };
                self.start_write(number, writer, sectors, false, op);
            } else {
                let op = VolumeOp::Trim { offset, len: BLOCK_BYTES };
                self.start_write(number, writer, sectors, true, |_| op);
            }
        }
        self.quiet("corrupt")?;
        for &(number, _) in &dead {
            let writer = self.tenants[number].writer.expect("the tenants are quiet");
            self.read_everything(number, writer);
        }
        self.quiet("corrupt")?;
        self.expect_scrub(0, 0)
    }

    /// A block of which every copy is bad is read, and written in part.
    fn touch_dead(&mut self, number: usize, block: u64) {
        let writer = self.tenants[number].writer.expect("the tenants are quiet");
        let (offset, first) = (block * BLOCK_BYTES, block * 8 + 2);
        let len = usize::try_from(BLOCK_BYTES).expect("small");
        self.start(number, writer, What::Bad, VolumeOp::Read { offset, len, holes: Holes::Zeros });
        let (id, now) = (self.next_id, self.world.moment());
        self.tenants[number].oracle.submitted((id, writer), (first, 3), false, now);
        let op = VolumeOp::Write { offset: first * 512, data: stamp(id, first, 3) };
        self.start(number, writer, What::Bad, op);
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
