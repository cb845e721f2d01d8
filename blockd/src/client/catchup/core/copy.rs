//! From a source's medium to the target's: reading, judging, writing.

use super::{Ask, CatchUpCore, Out, Piece, SOURCE, TARGET, acked, bytes_of};
use crate::Error;
use crate::client::catchup::survey::{is_gone, unexpected};
use crate::client::catchup::talk::Peer;
use bytes::Bytes;
use proto::checksum::{BlockCrcs, crc32};
use proto::message::{BlockRange, BlockState, ReadBlock, ReplyBody, RequestBody};
use proto::units::{BLOCK_BYTES, BLOCK_LEN};
use proto::{Version, VolumeEpoch};
use rt::clock::Instant;

impl CatchUpCore {
    pub(super) fn start_read(&mut self, now: Instant, piece: Piece, out: &mut Out) {
        let bytes = bytes_of(&piece.range);
        self.in_flight += bytes;
        self.meter.spend(now, bytes);
        if piece.source != SOURCE {
            let volume = piece.range.volume;
            self.talk.ask(now, (piece.source, Ask::Reopen(volume)), self.place.open(volume), out);
        }
        let body = RequestBody::Read { range: piece.range, epoch: VolumeEpoch(0) };
        self.talk.ask(now, (piece.source, Ask::Read(piece)), body, out);
    }

    /// A source's blocks are here: on to the target, each with the version it came with.
    pub(super) fn read(
        &mut self,
        now: Instant,
        piece: Piece,
        result: Result<ReplyBody, Error>,
        out: &mut Out,
    ) -> Result<(), Error> {
        let (range, source) = (piece.range, piece.source);
        let (blocks, data) = match result {
            Ok(ReplyBody::Read { range: of, blocks, data }) if of == range => (blocks, data),
            Ok(_) => return Err(unexpected(source, &self.talk)),
            Err(error) if is_gone(&error) => {
                self.lose_volume(now, range.volume, source, out);
                self.share.spare(bytes_of(&range));
                return Ok(());
            }
            Err(error) if source == SOURCE => return Err(error),
            // Another source that can't be asked is one that has nothing good.
            Err(_) => {
                self.ask_next_source(piece);
                return Ok(());
            }
        };
        let mut run: Option<(BlockRange, Version, Vec<Bytes>)> = None;
        let mut data = data.into_iter().flat_map(|bytes| {
            (0..bytes.len() / BLOCK_LEN).map(move |at| bytes.slice(at * BLOCK_LEN..(at + 1) * BLOCK_LEN))
        });
        for (block, held) in (range.first..).zip(&blocks) {
            let single = BlockRange { first: block, count: 1, ..range };
            let bytes = if held.state == BlockState::Data { data.next() } else { None };
            let new = held.version.max(piece.over.unwrap_or_default());
            match (judge(&piece, held, bytes), &mut run) {
                (Judged::Copy(bytes), Some((run, version, all)))
                    if run.first + run.count == block && *version == new =>
                {
                    run.count += 1;
                    all.push(bytes);
                }
                (Judged::Copy(bytes), _) => {
                    self.copy_in(now, run.replace((single, new, vec![bytes])), out);
                }
                (Judged::Trim, _) => {
                    self.share.spare(BLOCK_BYTES);
                    self.copy_trim(now, single, new, out);
                }
                (Judged::Bad, _) => {
                    let least = piece.least.max(held.version);
                    self.ask_next_source(Piece { range: single, least, ..piece });
                }
                (Judged::Nothing, _) => self.share.spare(BLOCK_BYTES),
            }
        }
        self.copy_in(now, run, out);
        Ok(())
    }

    /// Tries the next source for each block of a piece, or counts them as bad.
    fn ask_next_source(&mut self, piece: Piece) {
        let source = Peer(piece.source.0 + 1);
        for block in piece.range.first..piece.range.first + piece.range.count {
            let range = BlockRange { first: block, count: 1, ..piece.range };
            if source.0 <= self.sources {
                self.pieces.push_front(Piece { range, source, ..piece });
            } else {
                self.bad.get_or_insert((0, range)).0 += 1;
                self.share.spare(BLOCK_BYTES);
            }
        }
    }

    fn copy_in(&mut self, now: Instant, run: Option<(BlockRange, Version, Vec<Bytes>)>, out: &mut Out) {
        let Some((range, version, blocks)) = run else { return };
        self.raise_fence(now, range.volume, version.epoch(), out);
        let data: Bytes = match <[Bytes; 1]>::try_from(blocks) {
            Ok([one]) => one,
            Err(many) => many.concat().into(),
        };
        self.in_flight += bytes_of(&range);
        let body = RequestBody::CopyIn { range, version, expect: None, crcs: BlockCrcs::of(&data), data };
        self.talk.ask(now, (TARGET, Ask::Copy { range, trim: false }), body, out);
    }

    pub(super) fn copy_trim(&mut self, now: Instant, range: BlockRange, version: Version, out: &mut Out) {
        self.raise_fence(now, range.volume, version.epoch(), out);
        let body = RequestBody::CopyTrim { range, version };
        self.talk.ask(now, (TARGET, Ask::Copy { range, trim: true }), body, out);
    }

    pub(super) fn copied(
        &mut self,
        now: Instant,
        (peer, range, trim): (Peer, BlockRange, bool),
        result: Result<ReplyBody, Error>,
        out: &mut Out,
    ) -> Result<(), Error> {
        let bytes = if trim { 0 } else { bytes_of(&range) };
        self.in_flight -= bytes;
        match result {
            Ok(body) => acked(peer, &body, &self.talk)?,
            Err(error) if is_gone(&error) => {
                self.lose_volume(now, range.volume, peer, out);
                self.share.spare(bytes);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        if trim {
            self.report.blocks_trimmed += u64::from(range.count);
        } else {
            self.report.blocks_copied += u64::from(range.count);
            self.report.bytes_copied += bytes;
            self.share.done(now, bytes);
        }
        Ok(())
    }
}

/// What is to be done with one block that a source gave.
enum Judged {
    Copy(Bytes),
    Trim,
    Nothing,
    Bad,
}

fn judge(piece: &Piece, held: &ReadBlock, bytes: Option<Bytes>) -> Judged {
    let old = held.version < piece.least;
    match (held.state, bytes) {
        // What the way here damaged is no better than what a disk did.
        (BlockState::Data, Some(bytes)) if !old && crc32(&bytes) == held.crc => Judged::Copy(bytes),
        (BlockState::Trimmed, _) if !old => Judged::Trim,
        (BlockState::Hole, _) if piece.source == SOURCE && piece.over.is_some() => Judged::Trim,
        // Trimmed since the list was made, and forgotten already.
        (BlockState::Hole, _) if piece.source == SOURCE => Judged::Nothing,
        _ => Judged::Bad,
    }
}
