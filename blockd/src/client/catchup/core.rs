//! Catch-up as a state machine: answers in, requests out.
//!
//! The order is what makes it right. The group's epoch is adopted at the source *before* anything is read
//! there: every write that the source takes later goes to the target as well, and every one it took before
//! is in its index, so one pass over the source sees all that the target may lack. The adoption outlives a
//! restart of the source. At the target, the epoch is adopted behind the copies, which is answered when all of
//! them are durable.
//!
//! The target may also hold what no in-sync member has: a write that reached it alone before its writer died.
//! Once a newer writer has fenced the source, no such write can be acked or seen any more, so the source's
//! content takes its place, under the last version of the dead writer's epoch: above all that writer gave,
//! below all that others give. (With the newest writer's epoch it may be on its way to the source still; if
//! not, that writer's successor settles it: among members in sync, or here, since volumes that were opened
//! anew during the pass are looked at again before the end; and the end waits a while for every writer that had
//! its lease when the run began to open the source. If there was a lease since, the join is refused.)

mod copy;

use super::diff::{Map, Run};
use super::driver::CatchUpConfig;
use super::limits::{CHUNKS_AT_ONCE, LEASE_PATIENCE, LEASE_WAIT, READ_BLOCKS, WINDOW_BYTES, WINDOW_REQUESTS};
use super::pace::Meter;
use super::progress::Share;
use super::survey::{Digests, Found, GroupPlace, Survey, SurveyAsk, is_gone, unexpected};
use super::talk::{Heard, Peer, REPAIRER, Speaker, Talk, TalkInput, TalkOutput};
use crate::{Error, ErrorKind};
use proto::message::{BlockRange, ListEntry, OpenReply, ReplyBody, RequestBody, VolumeState};
use proto::units::{BLOCK_BYTES, CHUNK_BYTES};
use proto::{ChunkIndex, Version, VolumeEpoch, VolumeId};
use rt::clock::Instant;
use slab::Slab;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

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
    /// Blocks of dead writers that only the target had.
    pub orphans_replaced: u64,
    /// Volumes that were deleted while the target was away.
    pub volumes_deleted: u64,
    /// The life of the source that all of it was read in.
    pub source_incarnation: u64,
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
    Durable,
    Horizon,
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
    /// The source's content goes over something higher, with this version.
    over: Option<Version>,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    /// Round by round: volumes, then the chunks of those that are new or were opened anew.
    Surveying,
    Copying,
    /// The target makes it durable.
    Flushing,
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
    /// Of the target and the source, those that adopted the epoch.
    adopted: usize,
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
    /// The source's fence, and what it knew as stable, before its lists were asked for.
    source_opens: HashMap<VolumeId, (VolumeEpoch, Version)>,
    /// Chunks in which the target had something of the present writer that the source had not, and the highest such
    /// version. It is on its way to the source; or its writer has given it up, and tells the source so.
    ahead: BTreeMap<(VolumeId, ChunkIndex), Version>,
    /// Only those are looked at, and not before a moment again.
    looks_ahead: bool,
    look_ahead_at: Option<Instant>,
    /// What the source knows as stable and the target does not.
    horizons: Vec<(VolumeId, Version)>,
    gone: HashSet<VolumeId>,
    /// The newest epochs that the control plane gave.
    leases: Vec<(VolumeId, VolumeEpoch)>,
    /// Since when all is done but that some of those writers have not opened the source; and when it is looked
    /// at again.
    waits_since: Option<Instant>,
    look_at: Option<Instant>,
    /// Everything copied so far is durable at the target.
    durable: bool,
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
            adopted: 0,
            todo: VecDeque::new(),
            jobs: Slab::new(),
            pieces: VecDeque::new(),
            in_flight: 0,
            open: None,
            fences: HashMap::new(),
            source_opens: HashMap::new(),
            ahead: BTreeMap::new(),
            looks_ahead: false,
            look_ahead_at: None,
            horizons: Vec::new(),
            gone: HashSet::new(),
            leases: config.leases.clone(),
            waits_since: None,
            look_at: None,
            durable: false,
            meter: Meter::new(pace),
            held_back: None,
            share: Share::new(config.progress.clone()),
            bad: None,
            report: CatchUpReport::default(),
        }
    }

    /// When a `Tick` is due; harmless at any other time.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.talk.next_deadline().into_iter().chain(self.held_back).chain(self.look_at).min()
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
            // At the target, too, before anything is compared: an order to clear the group there that was
            // overtaken is refused from then on.
            self.talk.ask(now, (TARGET, Ask::Adopt), body.clone(), out);
            self.talk.ask(now, (SOURCE, Ask::Adopt), body, out);
        }
        while let Some(heard) = self.talk.next_heard() {
            if let Err(error) = self.heard(now, heard, out) {
                return self.end(Err(error), out);
            }
        }
        if self.phase == Phase::Surveying && self.look_at.is_some_and(|at| at <= now) {
            self.look_at = None;
            self.survey.start(now, &mut self.talk, out);
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
                self.adopted += 1;
                if self.adopted == 2 {
                    self.survey.start(now, &mut self.talk, out);
                }
                Ok(())
            }
            Ask::Durable => {
                acked(peer, &result?, &self.talk)?;
                self.durable = true;
                // Who was fenced meanwhile?
                self.phase = Phase::Surveying;
                self.copy_horizons(now, out);
                self.survey.start(now, &mut self.talk, out);
                Ok(())
            }
            // Without it, only the next open is slower.
            Ask::Horizon => Ok(()),
            Ask::Delete => {
                acked(peer, &result?, &self.talk)?;
                self.report.volumes_deleted += 1;
                Ok(())
            }
            Ask::Fence(volume) | Ask::Reopen(volume) => match result {
                Ok(ReplyBody::Open(open)) if peer == SOURCE => {
                    if let Some((_, stable)) = self.source_opens.get_mut(&volume) {
                        *stable = open.stable.max(*stable);
                    }
                    Ok(())
                }
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
                let seen = self.source_opens.get(volume);
                self.report.volumes += u64::from(seen.is_none());
                if seen.is_none_or(|(fence, _)| *fence < source.fence) {
                    both.push(*volume);
                }
            }
        }
        if both.is_empty() && self.durable {
            let since = *self.waits_since.get_or_insert(now);
            let done = self.ahead.is_empty() && self.all_opened(volumes);
            if done || now.since(since) >= LEASE_PATIENCE {
                self.report.source_incarnation = self.talk.incarnation(SOURCE);
                return self.end(Ok(self.report), out);
            }
            if self.ahead.is_empty() || self.look_ahead_at.is_some_and(|at| at > now) {
                self.look_at = Some(now + LEASE_WAIT);
            } else {
                self.look_ahead(now);
            }
            return;
        }
        self.waits_since = None;
        self.looks_ahead = false;
        self.durable = false;
        self.survey.look_at(both.into_iter());
        self.next_volume(now, out);
    }

    /// Looks once more at the chunks where the target was ahead.
    fn look_ahead(&mut self, now: Instant) {
        self.look_ahead_at = Some(now + LEASE_WAIT);
        self.looks_ahead = true;
        self.todo.extend(self.ahead.keys());
        self.share.expect(CHUNK_BYTES * self.ahead.len() as u64);
        // What is stable there by now is heard again.
        self.open = None;
        self.phase = Phase::Copying;
    }

    /// Notes whether the target is ahead in a chunk. Of what came since the first look, nothing is waited for.
    fn note_ahead(
        &mut self,
        chunk: (VolumeId, ChunkIndex),
        (source, target): (&Map, &Map),
        limits: (VolumeEpoch, Version),
    ) {
        let known = self.ahead.remove(&chunk).filter(|_| self.looks_ahead);
        let ahead = source.ahead_in(target, limits, known.unwrap_or(Version(u64::MAX)));
        self.ahead.extend(ahead.map(|version| (chunk, version)));
    }

    /// Whether the newest writer of every volume has opened the source. What an earlier one left at the target
    /// alone is no orphan by the source's fence before that, and that writer's open does not ask the target.
    fn all_opened(&self, volumes: &[(VolumeId, Vec<Option<VolumeState>>)]) -> bool {
        self.leases.iter().all(|(volume, epoch)| {
            let at = volumes.binary_search_by_key(volume, |(id, _)| *id).ok();
            let known = at.and_then(|at| volumes[at].1[SOURCE.0]);
            // A volume that the source never heard of was never written in this group.
            known.is_none_or(|source| source.deleted || source.fence >= *epoch)
        })
    }

    fn next_volume(&mut self, now: Instant, out: &mut Out) {
        if !self.survey.next_volume(now, &mut self.talk, out) {
            self.phase = Phase::Copying;
        }
    }

    fn opened(&mut self, now: Instant, opens: &[OpenReply], out: &mut Out) {
        let (target, source) = (opens[TARGET.0], opens[SOURCE.0]);
        self.fences.insert(target.volume, target.fence);
        self.source_opens.insert(source.volume, (source.fence, source.stable));
        if source.stable > target.stable {
            self.horizons.push((source.volume, source.stable));
        }
        self.raise_fence(now, target.volume, source.fence, out);
    }

    /// All that is stable at the source is durable at the target now.
    fn copy_horizons(&mut self, now: Instant, out: &mut Out) {
        for (volume, stable) in std::mem::take(&mut self.horizons) {
            if !self.gone.contains(&volume) {
                let body = RequestBody::Flush { volume, through: stable, stable, whole: false };
                self.talk.ask(now, (TARGET, Ask::Reopen(volume)), self.place.open(volume), out);
                self.talk.ask(now, (TARGET, Ask::Horizon), body, out);
            }
        }
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
            if digests[SOURCE.0] != digests[TARGET.0] {
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
            self.finish_round(now, out);
        }
    }

    fn has_room(&self) -> bool {
        self.in_flight < WINDOW_BYTES && self.talk.unanswered() < WINDOW_REQUESTS
    }

    /// All that was found is copied: the target makes it durable, and the volumes are looked at once more.
    fn finish_round(&mut self, now: Instant, out: &mut Out) {
        if let Some((blocks, first)) = self.bad {
            let BlockRange { volume, chunk, first, .. } = first;
            let why = format!(
                "{blocks} blocks are bad at every source, the first is block {first} of chunk {} of volume \
                 {volume}; write, trim or restore them, then catch up again",
                chunk.0
            );
            return self.end(Err(Error::new(ErrorKind::Corrupt, why)), out);
        }
        self.phase = Phase::Flushing;
        let body = RequestBody::AdoptGroup { group: self.place.group };
        self.talk.ask(now, (TARGET, Ask::Durable), body, out);
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
        let (source, target) = (Map::of(source), Map::of(target));
        let newer = source.newer_than(&target, READ_BLOCKS);
        let limits = self.source_opens.get(&volume).copied().unwrap_or_default();
        let orphans = source.orphans_in(&target, limits);
        self.jobs.remove(job);
        self.note_ahead((volume, chunk), (&source, &target), limits);
        if self.gone.contains(&volume) {
            self.share.spare(CHUNK_BYTES);
            return Ok(());
        }
        let data = newer.iter().filter(|run| !run.known.trimmed).map(|run| u64::from(run.count));
        self.share.spare(CHUNK_BYTES - (data.sum::<u64>() + orphans.len() as u64) * BLOCK_BYTES);
        self.report.orphans_replaced += orphans.len() as u64;
        for (first, orphan) in orphans {
            let range = BlockRange { volume, chunk, first, count: 1 };
            // The newest epoch's last version would be above what its writer has yet to give.
            let epoch = orphan.version.epoch();
            let over = Some(if epoch < limits.0 { Version::last_of(epoch) } else { orphan.version });
            self.pieces.push_back(Piece { range, source: SOURCE, least: Version::ZERO, over });
        }
        for Run { first, count, known } in newer {
            let range = BlockRange { volume, chunk, first, count };
            if known.trimmed {
                self.copy_trim(now, range, known.version, out);
            } else {
                // The highest version of the run says nothing of each block; only one alone is held to it.
                self.pieces.push_back(Piece { range, source: SOURCE, least: Version::ZERO, over: None });
            }
        }
        Ok(())
    }
}

fn bytes_of(range: &BlockRange) -> u64 {
    u64::from(range.count) * BLOCK_BYTES
}

fn acked<A>(peer: Peer, body: &ReplyBody, talk: &Talk<A>) -> Result<(), Error> {
    if *body == ReplyBody::Ack { Ok(()) } else { Err(unexpected(peer, talk)) }
}
