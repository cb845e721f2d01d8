//! Scrub as a state machine: answers in, requests out. See [`super`] and [`super::fix`].

use super::fix::{Fix, Wrong};
use super::{ScrubConfig, ScrubReport};
use crate::client::catchup::diff::{Known, Map, Run};
use crate::client::catchup::limits::{CHUNKS_AT_ONCE, READ_BLOCKS, WINDOW_BYTES, WINDOW_REQUESTS};
use crate::client::catchup::pace::Meter;
use crate::client::catchup::progress::Share;
use crate::client::catchup::survey::{Found, GroupPlace, Survey, SurveyAsk, is_gone, unexpected};
use crate::client::catchup::talk::{Heard, Peer, REPAIRER, Speaker, Talk, TalkInput, TalkOutput};
use crate::{Error, ErrorKind};
use proto::message::{BlockRange, BlockState, ListEntry, OpenReply, ReadBlock, ReplyBody, RequestBody};
use proto::units::{BLOCK_BYTES, BLOCKS_PER_CHUNK, CHUNK_BYTES};
use proto::{ChunkIndex, Version, VolumeEpoch, VolumeId};
use rt::clock::Instant;
use slab::Slab;
use std::collections::{HashMap, HashSet, VecDeque};

/// What an answer is for.
#[derive(Debug)]
pub(super) enum Ask {
    Survey(SurveyAsk),
    Open(VolumeId),
    Fence,
    List { job: usize },
    Verify { job: usize, range: BlockRange },
    Source(Fix),
    Copy(Fix),
    Confirm(Fix),
}

impl From<SurveyAsk> for Ask {
    fn from(ask: SurveyAsk) -> Self {
        Self::Survey(ask)
    }
}

/// A chunk being scrubbed.
#[derive(Debug)]
struct Job {
    volume: VolumeId,
    chunk: ChunkIndex,
    /// Every version up to it was on all members before the lists were asked for.
    settled: Version,
    lists: Vec<Option<Vec<ListEntry>>>,
    /// Verifications that are still to come.
    left: usize,
    /// What the first member to answer for a block holds.
    seen: HashMap<u16, (Version, u32)>,
    /// Blocks that a catch-up closed somewhere, with the version that their content has elsewhere.
    closed: HashMap<u16, Version>,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    job: usize,
    peer: Peer,
    range: BlockRange,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Surveying,
    Scrubbing,
    Done,
}

pub(super) type Out = Vec<TalkOutput<ScrubReport>>;

/// One run. Its first input is a `Tick`; after [`TalkOutput::Done`] it takes no more.
#[derive(Debug)]
pub struct ScrubCore {
    place: GroupPlace,
    pub(super) members: usize,
    pub(super) talk: Talk<Ask>,
    survey: Survey,
    phase: Phase,
    todo: VecDeque<(VolumeId, ChunkIndex)>,
    jobs: Slab<Job>,
    pieces: VecDeque<Piece>,
    /// Bytes being verified.
    in_flight: u64,
    /// The volume that stands open, and how many members have not said so yet.
    open: Option<VolumeId>,
    opening: usize,
    settled: HashMap<VolumeId, Version>,
    fences: HashMap<(Peer, VolumeId), VolumeEpoch>,
    gone: HashSet<VolumeId>,
    meter: Meter,
    /// The pace is what holds the next verification back, until then.
    held_back: Option<Instant>,
    share: Share,
    pub(super) report: ScrubReport,
}

impl ScrubCore {
    pub fn new(config: &ScrubConfig) -> Self {
        let ScrubConfig { token, group, groups, epoch, pace, .. } = *config;
        let (client, members) = (REPAIRER, config.members.len());
        let place = GroupPlace { group, groups, client };
        Self {
            place,
            members,
            talk: Talk::new(Speaker { token, client, epoch }, config.members.clone()),
            survey: Survey::new(members, place),
            phase: Phase::Starting,
            todo: VecDeque::new(),
            jobs: Slab::new(),
            pieces: VecDeque::new(),
            in_flight: 0,
            open: None,
            opening: 0,
            settled: HashMap::new(),
            fences: HashMap::new(),
            gone: HashSet::new(),
            meter: Meter::new(pace),
            held_back: None,
            share: Share::new(config.progress.clone()),
            report: ScrubReport::default(),
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
            self.survey.start(now, &mut self.talk, out);
        }
        while let Some(heard) = self.talk.next_heard() {
            if let Err(error) = self.heard(now, heard, out) {
                self.phase = Phase::Done;
                return out.push(TalkOutput::Done(Err(error)));
            }
        }
        self.pump(now, out);
    }

    pub(super) fn ask(&mut self, now: Instant, whom: (Peer, Ask), body: RequestBody, out: &mut Out) {
        self.talk.ask(now, whom, body, out);
    }

    fn peers(&self) -> impl Iterator<Item = Peer> + use<> {
        (0..self.members).map(Peer)
    }

    fn heard(&mut self, now: Instant, heard: Heard<Ask>, out: &mut Out) -> Result<(), Error> {
        let Heard { peer, ask, result } = heard;
        match ask {
            Ask::Survey(ask) => {
                match self.survey.heard(now, (peer, ask, result), &mut self.talk, out)? {
                    None => return Ok(()),
                    Some(Found::Opened(opens)) => {
                        for (peer, open) in self.peers().zip(&opens) {
                            self.opened(peer, open);
                        }
                        return Ok(());
                    }
                    Some(Found::Volumes(volumes)) => {
                        // A volume that one member knows as deleted is being deleted at the others.
                        let stands = |states: &[Option<_>]| {
                            states.iter().flatten().all(|state: &proto::message::VolumeState| !state.deleted)
                        };
                        let chosen = volumes.iter().filter(|(_, states)| stands(states));
                        self.survey.look_at(chosen.map(|(volume, _)| *volume));
                    }
                    Some(Found::Chunks(volume, chunks)) => {
                        self.report.volumes += 1;
                        for (chunk, _) in chunks {
                            self.share.expect(CHUNK_BYTES * self.members as u64);
                            self.todo.push_back((volume, chunk));
                        }
                    }
                    Some(Found::Gone(volume, _)) => self.lose_volume(volume),
                }
                if !self.survey.next_volume(now, &mut self.talk, out) {
                    self.phase = Phase::Scrubbing;
                }
                Ok(())
            }
            Ask::Open(volume) => {
                self.opening -= 1;
                match result {
                    Ok(ReplyBody::Open(open)) => self.opened(peer, &open),
                    Ok(_) => return Err(unexpected(peer, &self.talk)),
                    Err(error) if is_gone(&error) => self.lose_volume(volume),
                    Err(error) => return Err(error),
                }
                Ok(())
            }
            // If the volume is gone, so will the copy be that it was for.
            Ask::Fence => result.map(drop).or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) }),
            Ask::List { job } => self.listed(now, (peer, job), result, out),
            Ask::Verify { job, range } => {
                self.in_flight -= bytes_of(&range);
                self.verified(now, Piece { job, peer, range }, result, out)
            }
            Ask::Source(fix) => self.heard_source(now, fix, result, out),
            Ask::Copy(fix) => self.heard_copy(now, fix, result, out),
            Ask::Confirm(fix) => self.heard_confirm(now, fix, result, out),
        }
    }

    fn opened(&mut self, peer: Peer, open: &OpenReply) {
        // What any member was told is true of all of them.
        let settled = self.settled.entry(open.volume).or_default();
        *settled = open.settled.max(*settled);
        self.fences.insert((peer, open.volume), open.fence);
    }

    /// A member in sync was open to every writer, so its fence has every version's epoch; unless it lost it.
    pub(super) fn raise_fence(
        &mut self,
        now: Instant,
        (peer, volume): (Peer, VolumeId),
        epoch: VolumeEpoch,
        out: &mut Out,
    ) {
        let fence = self.fences.entry((peer, volume)).or_default();
        if *fence < epoch {
            *fence = epoch;
            self.ask(now, (peer, Ask::Fence), RequestBody::Fence { volume, epoch }, out);
        }
    }

    /// The volume was deleted: what is left of it is nobody's concern.
    pub(super) fn lose_volume(&mut self, volume: VolumeId) {
        self.gone.insert(volume);
    }

    /// Sends what may be sent now; ends the run when there is nothing left.
    fn pump(&mut self, now: Instant, out: &mut Out) {
        if self.phase != Phase::Scrubbing {
            return;
        }
        self.held_back = None;
        while self.has_room() && !self.pieces.is_empty() {
            if !self.meter.is_free(now) {
                self.held_back = Some(self.meter.free_at());
                break;
            }
            let Some(Piece { job, peer, range }) = self.pieces.pop_front() else { break };
            self.meter.spend(now, bytes_of(&range));
            self.in_flight += bytes_of(&range);
            self.ask(now, (peer, Ask::Verify { job, range }), RequestBody::Verify { range }, out);
        }
        while self.jobs.len() < CHUNKS_AT_ONCE && self.has_room() {
            let Some(&(volume, _)) = self.todo.front() else { break };
            if self.open != Some(volume) {
                self.open_volume(now, volume, out);
            }
            // What is settled must be known before the lists are asked for.
            if self.opening > 0 {
                break;
            }
            let Some((volume, chunk)) = self.todo.pop_front() else { break };
            self.start_chunk(now, volume, chunk, out);
        }
        if self.todo.is_empty() && self.pieces.is_empty() && self.talk.unanswered() == 0 {
            self.phase = Phase::Done;
            self.share.finish();
            out.push(TalkOutput::Done(Ok(self.report)));
        }
    }

    fn has_room(&self) -> bool {
        self.in_flight < WINDOW_BYTES && self.talk.unanswered() < WINDOW_REQUESTS
    }

    fn open_volume(&mut self, now: Instant, volume: VolumeId, out: &mut Out) {
        self.open = Some(volume);
        self.opening = self.members;
        for peer in self.peers() {
            self.ask(now, (peer, Ask::Open(volume)), self.place.open(volume), out);
        }
    }

    fn start_chunk(&mut self, now: Instant, volume: VolumeId, chunk: ChunkIndex, out: &mut Out) {
        if self.gone.contains(&volume) {
            return self.share.spare(CHUNK_BYTES * self.members as u64);
        }
        self.report.chunks += 1;
        let settled = self.settled.get(&volume).copied().unwrap_or_default();
        let lists = vec![None; self.members];
        let job =
            Job { volume, chunk, settled, lists, left: 0, seen: HashMap::new(), closed: HashMap::new() };
        let job = self.jobs.insert(job);
        for peer in self.peers() {
            self.ask(now, (peer, Ask::List { job }), RequestBody::ListChunk { volume, chunk }, out);
        }
    }

    fn listed(
        &mut self,
        now: Instant,
        (peer, key): (Peer, usize),
        result: Result<ReplyBody, Error>,
        out: &mut Out,
    ) -> Result<(), Error> {
        let job = &mut self.jobs[key];
        let entries = match result {
            Ok(ReplyBody::List { entries, .. }) if entries.iter().all(|entry| entry.chunk == job.chunk) => {
                entries
            }
            Ok(_) => return Err(unexpected(peer, &self.talk)),
            Err(error) if is_gone(&error) => {
                self.gone.insert(job.volume);
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        job.lists[peer.0] = Some(entries);
        let lists: Option<Vec<Map>> =
            job.lists.iter().map(|entries| entries.as_deref().map(Map::of)).collect();
        let Some(maps) = lists else { return Ok(()) };
        let (volume, chunk, settled) = (job.volume, job.chunk, job.settled);
        job.lists.clear();
        let expected = CHUNK_BYTES * self.members as u64;
        if self.gone.contains(&volume) {
            self.jobs.remove(key);
            self.share.spare(expected);
            return Ok(());
        }
        self.jobs[key].closed = closed(&maps);
        let mut blocks = 0;
        for (peer, map) in self.peers().zip(&maps) {
            for Run { first, count, .. } in map.data(READ_BLOCKS) {
                let range = BlockRange { volume, chunk, first, count };
                blocks += u64::from(count);
                self.pieces.push_back(Piece { job: key, peer, range });
                self.jobs[key].left += 1;
            }
        }
        self.share.spare(expected - blocks * BLOCK_BYTES);
        if self.jobs[key].left == 0 {
            self.jobs.remove(key);
        }
        for (peer, block, held, least) in behind(&maps, settled) {
            let range = BlockRange { volume, chunk, first: block, count: 1 };
            self.fix(now, Fix::new(Wrong::Missing, peer, range, least, held), out);
        }
        Ok(())
    }

    fn verified(
        &mut self,
        now: Instant,
        piece: Piece,
        result: Result<ReplyBody, Error>,
        out: &mut Out,
    ) -> Result<(), Error> {
        let Piece { job, peer, range } = piece;
        self.share.done(now, bytes_of(&range));
        let mut bad = Vec::new();
        match result {
            Ok(ReplyBody::Verify { range: of, blocks }) if of == range => {
                for (block, held) in (range.first..).zip(&blocks) {
                    let single = BlockRange { first: block, count: 1, ..range };
                    match held.state {
                        BlockState::Data => {
                            self.report.blocks_checked += 1;
                            self.compare(job, block, held);
                        }
                        BlockState::Corrupt => {
                            self.report.blocks_checked += 1;
                            let elsewhere = self.jobs[job].closed.get(&block).copied();
                            let least = elsewhere.filter(|_| held.version.is_last()).unwrap_or(held.version);
                            bad.push(Fix::new(Wrong::Bad, peer, single, least, held.version));
                        }
                        // Trimmed since the list was made.
                        BlockState::Hole | BlockState::Trimmed => {}
                    }
                }
            }
            Ok(_) => return Err(unexpected(peer, &self.talk)),
            Err(error) if is_gone(&error) => self.lose_volume(range.volume),
            Err(error) if error.kind == ErrorKind::Busy => {
                self.report.skipped_blocks += u64::from(range.count);
            }
            Err(error) => return Err(error),
        }
        self.jobs[job].left -= 1;
        if self.jobs[job].left == 0 {
            self.jobs.remove(job);
        }
        for fix in bad {
            self.fix(now, fix, out);
        }
        Ok(())
    }

    /// Two good copies with one version must be the same.
    fn compare(&mut self, job: usize, block: u16, held: &ReadBlock) {
        let new = (held.version, held.crc);
        let seen = *self.jobs[job].seen.entry(block).or_insert(new);
        if seen.0 == new.0 && seen.1 != new.1 {
            self.report.conflicting_blocks += 1;
            let Job { volume, chunk, .. } = &self.jobs[job];
            tracing::error!(
                volume = volume.0, chunk = chunk.0, block, version = %held.version,
                "two members hold different data with one version"
            );
        }
    }
}

/// The blocks that some member has as a catch-up closed them: over the content that the others have under a
/// lower version, the highest of which is given.
fn closed(maps: &[Map]) -> HashMap<u16, Version> {
    let blocks = 0..u16::try_from(BLOCKS_PER_CHUNK).expect("1024");
    let versions = |block: u16| maps.iter().map(move |map| map.get(block).version);
    let closed = blocks.filter(|&block| versions(block).any(Version::is_last));
    let below = |block| versions(block).filter(|version| !version.is_last()).max();
    closed.filter_map(|block| Some((block, below(block)?))).collect()
}

/// The copies that lack something settled: whose, which block, what is held there, what should be at least.
fn behind(maps: &[Map], settled: Version) -> Vec<(Peer, u16, Version, Version)> {
    let mut behind = Vec::new();
    for block in 0..u16::try_from(BLOCKS_PER_CHUNK).expect("1024") {
        let known = maps.iter().map(|map| map.get(block));
        // What a catch-up closed has the content that the others have under a lower version.
        let counts = |known: &Known| known.version <= settled && !known.version.is_last();
        let best = known.clone().filter(counts).max_by_key(|known| known.version);
        let best = best.unwrap_or_default();
        for (peer, held) in known.enumerate() {
            // A trim that one member has forgotten and another not is no difference.
            let forgotten = best.trimmed && held == Known::default();
            if held.version < best.version && !forgotten {
                behind.push((Peer(peer), block, held.version, best.version));
            }
        }
    }
    behind
}

fn bytes_of(range: &BlockRange) -> u64 {
    u64::from(range.count) * BLOCK_BYTES
}
