//! One copy of a block that is bad or missing, on its way to being whole.

use super::core::{Ask, Out, ScrubCore};
use crate::client::catchup::survey::{is_gone, unexpected};
use crate::client::catchup::talk::Peer;
use crate::{Error, ErrorKind};
use bytes::Bytes;
use proto::checksum::{BlockCrcs, crc32};
use proto::message::{BlockRange, BlockState, ReplyBody, RequestBody};
use proto::{Version, VolumeEpoch};
use rt::clock::Instant;

/// How often a copy is looked at anew when it changes under the repair.
const TRIES: u8 = 3;

/// What is wrong with a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The medium holds something else.
    Bad,
    /// It is older than what is settled, or not there.
    Missing,
}

/// A repair under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fix {
    pub wrong: Wrong,
    /// Whose copy it is.
    pub peer: Peer,
    /// One block.
    pub range: BlockRange,
    /// What a good copy has at least.
    pub least: Version,
    /// What is held now, and is to be replaced.
    pub held: Version,
    /// The member that is asked for a good copy.
    pub source: Peer,
    /// What came was a trim; it may be forgotten as soon as it is there.
    pub trimmed: bool,
    pub tries: u8,
}

impl Fix {
    pub fn new(wrong: Wrong, peer: Peer, range: BlockRange, least: Version, held: Version) -> Self {
        Self { wrong, peer, range, least, held, source: Peer(0), trimmed: false, tries: 0 }
    }
}

enum End {
    Repaired,
    Unrepairable,
    /// It was no fault: a writer was just there.
    Nothing,
}

impl ScrubCore {
    /// Asks the next member that might have a good copy.
    pub(super) fn fix(&mut self, now: Instant, mut fix: Fix, out: &mut Out) {
        if fix.source == fix.peer {
            fix.source.0 += 1;
        }
        if fix.source.0 < self.members {
            let body = RequestBody::Read { range: fix.range, epoch: VolumeEpoch(0) };
            return self.ask(now, (fix.source, Ask::Source(fix)), body, out);
        }
        // Nobody has one. If the block was trimmed just now, the copy is gone as well.
        self.look_again(now, fix, out);
    }

    /// What a member that might have a good copy said.
    pub(super) fn heard_source(
        &mut self,
        now: Instant,
        mut fix: Fix,
        result: Result<ReplyBody, Error>,
        out: &mut Out,
    ) -> Result<(), Error> {
        let (block, data) = match result {
            Ok(ReplyBody::Read { blocks, data, .. }) if blocks.len() == 1 => (blocks[0], data.concat()),
            Ok(_) => return Err(unexpected(fix.source, &self.talk)),
            Err(error) if is_gone(&error) => {
                self.lose_volume(fix.range.volume);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let range = fix.range;
        match block.state {
            BlockState::Data if block.version >= fix.least && crc32(&data) == block.crc => {
                let (data, expect) = (Bytes::from(data), Some(fix.held));
                // What replaces a copy that a catch-up closed has a lower version, and closes it again.
                let (version, crcs) = (block.version.max(fix.held), BlockCrcs::of(&data));
                self.raise_fence(now, (fix.peer, range.volume), version.epoch(), out);
                let body = RequestBody::CopyIn { range, version, expect, crcs, data };
                self.ask(now, (fix.peer, Ask::Copy(fix)), body, out);
            }
            BlockState::Trimmed if block.version >= fix.least => {
                self.raise_fence(now, (fix.peer, range.volume), block.version.epoch(), out);
                fix.trimmed = true;
                let body = RequestBody::CopyTrim { range, version: block.version };
                self.ask(now, (fix.peer, Ask::Copy(fix)), body, out);
            }
            _ => {
                fix.source.0 += 1;
                self.fix(now, fix, out);
            }
        }
        Ok(())
    }

    /// The copy was taken, or what it was to replace is there no more.
    pub(super) fn heard_copy(
        &mut self,
        now: Instant,
        fix: Fix,
        result: Result<ReplyBody, Error>,
        out: &mut Out,
    ) -> Result<(), Error> {
        match result {
            Ok(ReplyBody::Ack) => self.look_again(now, fix, out),
            Ok(_) => return Err(unexpected(fix.peer, &self.talk)),
            Err(error) if is_gone(&error) => self.lose_volume(fix.range.volume),
            Err(error) if error.kind == ErrorKind::Busy => self.look_again(now, fix, out),
            Err(error) if error.kind == ErrorKind::NoSpace => self.end_fix(&fix, &End::Unrepairable),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn look_again(&mut self, now: Instant, fix: Fix, out: &mut Out) {
        self.ask(now, (fix.peer, Ask::Confirm(fix)), RequestBody::Verify { range: fix.range }, out);
    }

    /// What the medium holds after all.
    pub(super) fn heard_confirm(
        &mut self,
        now: Instant,
        mut fix: Fix,
        result: Result<ReplyBody, Error>,
        out: &mut Out,
    ) -> Result<(), Error> {
        let block = match result {
            Ok(ReplyBody::Verify { blocks, .. }) if blocks.len() == 1 => blocks[0],
            Ok(_) => return Err(unexpected(fix.peer, &self.talk)),
            Err(error) if is_gone(&error) => {
                self.lose_volume(fix.range.volume);
                return Ok(());
            }
            // It is written again and again: whatever was wrong with it is gone.
            Err(error) if error.kind == ErrorKind::Busy => {
                self.end_fix(&fix, &End::Repaired);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let good =
            matches!(block.state, BlockState::Data | BlockState::Trimmed) && block.version >= fix.least;
        // Nobody had a copy, for the third time, and the copy is no better.
        let exhausted = fix.tries + 1 >= TRIES;
        let end = match (fix.wrong, block.state) {
            _ if good => End::Repaired,
            // A bad copy that is not there any more was trimmed, and the trim forgotten.
            (Wrong::Bad, BlockState::Hole) => End::Repaired,
            (Wrong::Missing, BlockState::Hole) if fix.trimmed => End::Repaired,
            _ if !exhausted => {
                fix = Fix { held: block.version, tries: fix.tries + 1, source: Peer(0), ..fix };
                self.fix(now, fix, out);
                return Ok(());
            }
            // Others had data when the lists were made, and none of them has now: it was trimmed.
            (Wrong::Missing, BlockState::Hole) if fix.source.0 >= self.members => End::Nothing,
            _ => End::Unrepairable,
        };
        self.end_fix(&fix, &end);
        Ok(())
    }

    fn end_fix(&mut self, fix: &Fix, end: &End) {
        let BlockRange { volume, chunk, first, .. } = fix.range;
        let (disk, report) = (self.talk.place(fix.peer).disk, &mut self.report);
        match end {
            End::Nothing => return,
            End::Repaired => {
                report.repaired_blocks += 1;
                tracing::warn!(
                    %disk, volume = volume.0, chunk = chunk.0, block = first, wrong = ?fix.wrong,
                    "a copy of a block was repaired"
                );
            }
            End::Unrepairable => {
                report.unrepairable_blocks += 1;
                tracing::error!(
                    %disk, volume = volume.0, chunk = chunk.0, block = first, wrong = ?fix.wrong,
                    "a copy of a block can't be repaired: no member has a good one"
                );
            }
        }
        match fix.wrong {
            Wrong::Bad => report.bad_blocks += 1,
            Wrong::Missing => report.missing_blocks += 1,
        }
    }
}
