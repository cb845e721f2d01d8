//! Scrub: goes over a group's members in the background, compares what they know, verifies what their disks
//! hold, and repairs from a good copy what is bad or missing.
//!
//! A writer may go on meanwhile, and is no cause for alarm: only versions that are settled (on all members in
//! sync, as the writer said before the lists were made) are compared, so that what is on its way to some
//! member is not thought lost; and a repair only takes the place of the very version that was found bad.

mod core;
mod fix;

pub use self::core::ScrubCore;

use super::catchup::driver::{self, Run};
use super::catchup::limits::MAX_PEERS;
use super::catchup::{Pace, Progress, TalkInput, TalkOutput};
use crate::{Error, ErrorKind};
use proto::control::{DiskPlace, PoolToken};
use proto::{GroupEpoch, GroupId};
use rt::clock::Instant;
use std::sync::Arc;

/// One scrub: of one group, over all its members in sync.
#[derive(Debug, Clone)]
pub struct ScrubConfig {
    /// The group's members in sync; two at least, or nothing could be compared or repaired.
    pub members: Vec<DiskPlace>,
    pub group: GroupId,
    pub epoch: GroupEpoch,
    /// Groups of the pool.
    pub groups: u32,
    pub token: PoolToken,
    /// Bytes a second read from all the members' disks together.
    pub pace: Pace,
    pub progress: Arc<Progress>,
}

/// What a scrub saw and did. Copies are counted: a block that is bad at two members counts twice.
/// `bad_blocks + missing_blocks = repaired_blocks + unrepairable_blocks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrubReport {
    pub volumes: u64,
    pub chunks: u64,
    /// Copies of blocks read from their medium and compared with their checksum.
    pub blocks_checked: u64,
    /// Copies that fail their checksum, or that the device can't read.
    pub bad_blocks: u64,
    /// Copies that are older than what is settled, or not there at all; trims, too.
    pub missing_blocks: u64,
    pub repaired_blocks: u64,
    /// Copies for which no member has anything to put in their place.
    pub unrepairable_blocks: u64,
    /// Blocks of which two members hold the same version and different data, both with good checksums:
    /// nobody can tell which is right. It takes a writer's fault to make one.
    pub conflicting_blocks: u64,
    /// Copies that were being written again and again whenever they were to be verified.
    pub skipped_blocks: u64,
}

/// Scrubs one group. An error leaves undone what it left undone: run it again, with a new map if it is
/// `Unavailable`. Dropping the future ends the run.
pub async fn scrub(config: ScrubConfig) -> Result<ScrubReport, Error> {
    if !(2..=MAX_PEERS).contains(&config.members.len()) {
        let why = format!("group {} has {} members in sync to scrub", config.group, config.members.len());
        return Err(Error::new(ErrorKind::Invalid, why));
    }
    driver::run(ScrubCore::new(&config), config.members.clone()).await
}

impl Run for ScrubCore {
    type Report = ScrubReport;

    fn step(&mut self, now: Instant, input: TalkInput, out: &mut Vec<TalkOutput<ScrubReport>>) {
        ScrubCore::step(self, now, input, out);
    }

    fn next_deadline(&self) -> Option<Instant> {
        ScrubCore::next_deadline(self)
    }
}

#[cfg(test)]
mod core_test;
