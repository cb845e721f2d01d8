//! Catch-up as a state machine: answers in, requests out.
//!
//! The order is what makes it right. The group's epoch is adopted at the source *before* anything is read
//! there: every write that the source takes later goes to the target as well, and every one it took before
//! is in its index, so one pass over the source sees all that the target may lack. The adoption outlives a
//! restart of the source. At the target, the last request adopts the epoch too, which is answered when all
//! copies before it are durable.

use super::diff::{Map, Run};
use super::driver::CatchUpConfig;
use super::limits::{CHUNKS_AT_ONCE, READ_BLOCKS, WINDOW_BYTES, WINDOW_REQUESTS};
use super::pace::Meter;
use super::progress::Share;
use super::survey::{Digests, Found, GroupPlace, Survey, SurveyAsk, is_gone, unexpected};
use super::talk::{Heard, Peer, REPAIRER, Speaker, Talk, TalkInput, TalkOutput};
use crate::{Error, ErrorKind};
use bytes::Bytes;
use proto::checksum::{BlockCrcs, crc32};
use proto::message::{
    BlockRange, BlockState, ListEntry, OpenReply, ReadBlock, ReplyBody, RequestBody, VolumeState,
};
use proto::units::{BLOCK_BYTES, BLOCK_LEN, CHUNK_BYTES};
use proto::{ChunkIndex, Version, VolumeEpoch, VolumeId};
use rt::clock::Instant;
use slab::Slab;
use std::collections::{HashMap, HashSet, VecDeque};

const TARGET: Peer = Peer(0);
/// The source that everything is compared with; those behind it are asked for blocks that are bad there.
const SOURCE: Peer = Peer(1);

/// What a catch-up did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CatchUpReport {
    pub volumes: u64,
    /// Chunks whose digests were compared.
    pub chunks_compared: u64,
    pub chunks_differing: u64,
    pub blocks_copied: u64,
    pub bytes_copied: u64,
    pub blocks_trimmed: u64,
    /// Volumes that were deleted while the target was away.
    pub volumes_deleted: u64,
}

/// What an answer is for.
#[derive(Debug)]
enum Ask {
    Adopt,
    Survey(SurveyAsk),
    Delete,
    Fence(VolumeId),
    Reopen(VolumeId),
    List { job: usize },
    Read(Piece),
    Copy { range: BlockRange, trim: bool },
    Last,
}

impl From<SurveyAsk> for Ask {
    fn from(ask: SurveyAsk) -> Self {
        Self::Survey(ask)
    }
}

/// A chunk whose lists are on their way.
#[derive(Debug)]
struct Job {
    volume: VolumeId,
    chunk: ChunkIndex,
    source: Option<Vec<ListEntry>>,
    target: Option<Vec<ListEntry>>,
}

/// Blocks to be read at a source, which has them with `least` or more.
#[derive(Debug, Clone, Copy)]
struct Piece {
    range: BlockRange,
    source: Peer,
    least: Version,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Surveying,
    Copying,
    /// The target makes everything durable.
    Ending,
    Done,
}

/// One run. Its first input is a `Tick`; after [`TalkOutput::Done`] it takes no more.
#[derive(Debug)]
pub struct CatchUpCore {
    place: GroupPlace,
    sources: usize,
    talk: Talk<Ask>,
    survey: Survey,
    phase: Phase,
    /// Chunks that differ, by volume.
    todo: VecDeque<(VolumeId, ChunkIndex)>,
    jobs: Slab<Job>,
    pieces: VecDeque<Piece>,
    /// Bytes being read or copied.
    in_flight: u64,
    /// What stands open for copying; one that comes after it is opened again.
    open: Option<VolumeId>,
    /// The target's fences.
    fences: HashMap<VolumeId, VolumeEpoch>,
    gone: HashSet<VolumeId>,
    meter: Meter,
    /// The pace is what holds the next read back, until then.
    held_back: Option<Instant>,
    share: Share,
    /// Blocks that no source can give, and where the first is.
    bad: Option<(u64, BlockRange)>,
    report: CatchUpReport,
}

type Out = Vec<TalkOutput<CatchUpReport>>;

impl CatchUpCore {
    pub fn new(config: &CatchUpConfig) -> Self {
        let CatchUpConfig { token, group, groups, epoch, pace, .. } = *config;
        let client = REPAIRER;
        let place = GroupPlace { group, groups, client };
        let places = config.places();
        Self {
            place,
            sources: places.len() - 1,
            talk: Talk::new(Speaker { token, client, epoch }, places),
            survey: Survey::new(2, place),
            phase: Phase::Starting,
            todo: VecDeque::new(),
            jobs: Slab::new(),
            pieces: VecDeque::new(),
            in_flight: 0,
            open: None,
            fences: HashMap::new(),
            gone: HashSet::new(),
            meter: Meter::new(pace),
            held_back: None,
            share: Share::new(config.progress.clone()),
            bad: None,
            report: CatchUpReport::default(),
        }
    }

    /// When a `Tick` is due; harmless at any other time.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.talk.next_deadline().into_iter().chain(self.held_back).min()
    }

    /// Takes one event in, and adds what is to be done to `out`.
    pub fn step(&mut self, now: Instant, input: TalkInput, out: &mut Out) {
        if self.phase == Phase::Done {
            return;
        }
        self.talk.step(now, input, out);
        if self.phase == Phase::Starting {
            self.phase = Phase::Surveying;
            let body = RequestBody::AdoptGroup { group: self.place.group };
            self.talk.ask(now, (SOURCE, Ask::Adopt), body, out);
        }
        while let Some(heard) = self.talk.next_heard() {
            if let Err(error) = self.heard(now, heard, out) {
                return self.end(Err(error), out);
            }
        }
        self.pump(now, out);
    }

    fn end(&mut self, result: Result<CatchUpReport, Error>, out: &mut Out) {
        self.phase = Phase::Done;
        if result.is_ok() {
            self.share.finish();
        }
        out.push(TalkOutput::Done(result));
    }

    fn heard(&mut self, now: Instant, heard: Heard<Ask>, out: &mut Out) -> Result<(), Error> {
        let Heard { peer, ask, result } = heard;
        match ask {
            Ask::Survey(ask) => {
                match self.survey.heard(now, (peer, ask, result), &mut self.talk, out)? {
                    None => {}
                    Some(Found::Volumes(volumes)) => self.choose(now, &volumes, out),
                    Some(Found::Opened(opens)) => self.opened(now, &opens, out),
                    Some(Found::Chunks(volume, chunks)) => self.compare(now, volume, &chunks, out),
                    Some(Found::Gone(volume, peer)) => {
                        self.lose_volume(now, volume, peer, out);
                        self.next_volume(now, out);
                    }
                }
                Ok(())
            }
            Ask::Adopt => {
                acked(peer, &result?, &self.talk)?;
                self.survey.start(now, &mut self.talk, out);
                Ok(())
            }
            Ask::Last => {
                acked(peer, &result?, &self.talk)?;
                self.end(Ok(self.report), out);
                Ok(())
            }
            Ask::Delete => {
                acked(peer, &result?, &self.talk)?;
                self.report.volumes_deleted += 1;
                Ok(())
            }
            Ask::Fence(volume) | Ask::Reopen(volume) => match result {
                // The read behind it fails too, and knows what to do.
                Err(_) if peer > SOURCE => Ok(()),
                Err(error) if is_gone(&error) => {
                    self.lose_volume(now, volume, peer, out);
                    Ok(())
                }
                result => result.map(drop),
            },
            Ask::List { job } => self.listed(now, (peer, job), result, out),
            Ask::Read(piece) => {
                self.in_flight -= bytes_of(&piece.range);
                self.read(now, piece, result, out)
            }
            Ask::Copy { range, trim } => self.copied(now, (peer, range, trim), result, out),
        }
    }

    /// Chooses what to look at: the source's volumes that stand at both.
    fn choose(&mut self, now: Instant, volumes: &[(VolumeId, Vec<Option<VolumeState>>)], out: &mut Out) {
        let mut both = Vec::new();
        for (volume, states) in volumes {
            let Some(source) = states[SOURCE.0] else { continue };
            let target = states[TARGET.0];
            let deleted = target.is_some_and(|target| target.deleted);
            if source.deleted && !deleted {
                self.delete(now, *volume, out);
            } else if !source.deleted && !deleted {
                both.push(*volume);
            }
        }
        self.report.volumes = both.len() as u64;
        self.survey.look_at(both.into_iter());
        self.next_volume(now, out);
    }

    fn next_volume(&mut self, now: Instant, out: &mut Out) {
        if !self.survey.next_volume(now, &mut self.talk, out) {
            self.phase = Phase::Copying;
        }
    }

    fn opened(&mut self, now: Instant, opens: &[OpenReply], out: &mut Out) {
        let (target, source) = (opens[TARGET.0], opens[SOURCE.0]);
        self.fences.insert(target.volume, target.fence);
        self.raise_fence(now, target.volume, source.fence, out);
    }

    /// Fences at the target what is fenced at the source. What is sent after it is taken after it.
    fn raise_fence(&mut self, now: Instant, volume: VolumeId, epoch: VolumeEpoch, out: &mut Out) {
        let fence = self.fences.entry(volume).or_default();
        if *fence < epoch {
            *fence = epoch;
            let body = RequestBody::Fence { volume, epoch };
            self.talk.ask(now, (TARGET, Ask::Fence(volume)), body, out);
        }
    }

    fn delete(&mut self, now: Instant, volume: VolumeId, out: &mut Out) {
        // It is deleted for good, so no writer's epoch is above this.
        let epoch = Version(u64::MAX).epoch();
        let body = RequestBody::DeleteVolume { volume, epoch };
        self.talk.ask(now, (TARGET, Ask::Delete), body, out);
    }

    /// The volume was deleted at `peer` while it was being copied.
    fn lose_volume(&mut self, now: Instant, volume: VolumeId, peer: Peer, out: &mut Out) {
        if self.gone.insert(volume) && peer != TARGET {
            self.delete(now, volume, out);
        }
    }

    fn compare(&mut self, now: Instant, volume: VolumeId, chunks: &[(ChunkIndex, Digests)], out: &mut Out) {
        for (chunk, digests) in chunks {
            self.report.chunks_compared += 1;
            // What only the target holds is not the source's to judge.
            if digests[SOURCE.0] != 0 && digests[SOURCE.0] != digests[TARGET.0] {
                self.report.chunks_differing += 1;
                self.share.expect(CHUNK_BYTES);
                self.todo.push_back((volume, *chunk));
            }
        }
        self.next_volume(now, out);
    }

    /// Sends what may be sent now; ends the run when there is nothing left.
    fn pump(&mut self, now: Instant, out: &mut Out) {
        if self.phase != Phase::Copying {
            return;
        }
        self.held_back = None;
        while self.has_room() && !self.pieces.is_empty() {
            if !self.meter.is_free(now) {
                self.held_back = Some(self.meter.free_at());
                break;
            }
            let Some(piece) = self.pieces.pop_front() else { break };
            self.start_read(now, piece, out);
        }
        while self.jobs.len() < CHUNKS_AT_ONCE && self.pieces.len() < CHUNKS_AT_ONCE && self.has_room() {
            let Some((volume, chunk)) = self.todo.pop_front() else { break };
            self.start_chunk(now, volume, chunk, out);
        }
        if self.todo.is_empty() && self.pieces.is_empty() && self.talk.unanswered() == 0 {
            self.finish(now, out);
        }
    }

    fn has_room(&self) -> bool {
        self.in_flight < WINDOW_BYTES && self.talk.unanswered() < WINDOW_REQUESTS
    }

    fn finish(&mut self, now: Instant, out: &mut Out) {
        if let Some((blocks, first)) = self.bad {
            let BlockRange { volume, chunk, first, .. } = first;
            let why = format!(
                "{blocks} blocks are bad at every source, the first is block {first} of chunk {} of volume \
                 {volume}; write, trim or restore them, then catch up again",
                chunk.0
            );
            return self.end(Err(Error::new(ErrorKind::Corrupt, why)), out);
        }
        self.phase = Phase::Ending;
        let body = RequestBody::AdoptGroup { group: self.place.group };
        self.talk.ask(now, (TARGET, Ask::Last), body, out);
    }

    fn start_chunk(&mut self, now: Instant, volume: VolumeId, chunk: ChunkIndex, out: &mut Out) {
        if self.gone.contains(&volume) {
            return self.share.spare(CHUNK_BYTES);
        }
        if self.open != Some(volume) {
            self.open = Some(volume);
            for peer in [TARGET, SOURCE] {
                self.talk.ask(now, (peer, Ask::Reopen(volume)), self.place.open(volume), out);
            }
        }
        let job = self.jobs.insert(Job { volume, chunk, source: None, target: None });
        for peer in [TARGET, SOURCE] {
            self.talk.ask(now, (peer, Ask::List { job }), RequestBody::ListChunk { volume, chunk }, out);
        }
    }

    fn listed(
        &mut self,
        now: Instant,
        (peer, job): (Peer, usize),
        result: Result<ReplyBody, Error>,
        out: &mut Out,
    ) -> Result<(), Error> {
        let Some(Job { volume, chunk, .. }) = self.jobs.get(job) else { return Ok(()) };
        let (volume, chunk) = (*volume, *chunk);
        let entries = match result {
            Ok(ReplyBody::List { entries, .. }) => entries,
            Ok(_) => return Err(unexpected(peer, &self.talk)),
            // Its twin's answer comes yet, and must find the job still there, or nothing in its place.
            Err(error) if is_gone(&error) => {
                self.lose_volume(now, volume, peer, out);
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        if entries.iter().any(|entry| entry.chunk != chunk) {
            return Err(unexpected(peer, &self.talk));
        }
        let held = &mut self.jobs[job];
        if peer == TARGET {
            held.target = Some(entries);
        } else {
            held.source = Some(entries);
        }
        let (Some(source), Some(target)) = (&held.source, &held.target) else { return Ok(()) };
        let newer = Map::of(source).newer_than(&Map::of(target), READ_BLOCKS);
        self.jobs.remove(job);
        if self.gone.contains(&volume) {
            self.share.spare(CHUNK_BYTES);
            return Ok(());
        }
        let data = newer.iter().filter(|run| !run.known.trimmed).map(|run| u64::from(run.count));
        self.share.spare(CHUNK_BYTES - data.sum::<u64>() * BLOCK_BYTES);
        for Run { first, count, known } in newer {
            let range = BlockRange { volume, chunk, first, count };
            if known.trimmed {
                self.copy_trim(now, range, known.version, out);
            } else {
                // The highest version of the run says nothing of each block; only one alone is held to it.
                self.pieces.push_back(Piece { range, source: SOURCE, least: Version::ZERO });
            }
        }
        Ok(())
    }

    fn start_read(&mut self, now: Instant, piece: Piece, out: &mut Out) {
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
    fn read(
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
            match (self.judge(&piece, held, bytes), &mut run) {
                (Judged::Copy(bytes), Some((run, version, all)))
                    if run.first + run.count == block && *version == held.version =>
                {
                    run.count += 1;
                    all.push(bytes);
                }
                (Judged::Copy(bytes), _) => {
                    self.copy_in(now, run.replace((single, held.version, vec![bytes])), out);
                }
                (Judged::Trim, _) => {
                    self.share.spare(BLOCK_BYTES);
                    self.copy_trim(now, single, held.version, out);
                }
                (Judged::Bad, _) => {
                    self.ask_next_source(Piece {
                        range: single,
                        source,
                        least: piece.least.max(held.version),
                    });
                }
                (Judged::Nothing, _) => self.share.spare(BLOCK_BYTES),
            }
        }
        self.copy_in(now, run, out);
        Ok(())
    }

    fn judge(&self, piece: &Piece, held: &ReadBlock, bytes: Option<Bytes>) -> Judged {
        let old = held.version < piece.least;
        match (held.state, bytes) {
            // What a copy on the way here damaged is no better than what a disk did.
            (BlockState::Data, Some(bytes)) if !old && crc32(&bytes) == held.crc => Judged::Copy(bytes),
            (BlockState::Trimmed, _) if !old => Judged::Trim,
            // Trimmed since the list was made, and forgotten already.
            (BlockState::Hole, _) if piece.source == SOURCE => Judged::Nothing,
            _ => Judged::Bad,
        }
    }

    /// Tries the next source for each block of a piece, or counts them as bad.
    fn ask_next_source(&mut self, piece: Piece) {
        let source = Peer(piece.source.0 + 1);
        for block in piece.range.first..piece.range.first + piece.range.count {
            let range = BlockRange { first: block, count: 1, ..piece.range };
            if source.0 <= self.sources {
                self.pieces.push_front(Piece { range, source, least: piece.least });
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

    fn copy_trim(&mut self, now: Instant, range: BlockRange, version: Version, out: &mut Out) {
        self.raise_fence(now, range.volume, version.epoch(), out);
        let body = RequestBody::CopyTrim { range, version };
        self.talk.ask(now, (TARGET, Ask::Copy { range, trim: true }), body, out);
    }

    fn copied(
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

fn bytes_of(range: &BlockRange) -> u64 {
    u64::from(range.count) * BLOCK_BYTES
}

fn acked<A>(peer: Peer, body: &ReplyBody, talk: &Talk<A>) -> Result<(), Error> {
    if *body == ReplyBody::Ack { Ok(()) } else { Err(unexpected(peer, talk)) }
}
