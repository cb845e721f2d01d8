//! What several members hold of one group: their volumes, and digests of the chunks. Volume by volume, and
//! page by page, so that nobody's disk thread is held up. Catch-up and scrub both begin with it.

use super::limits::MAX_PEERS;
use super::talk::{Peer, Talk, TalkOutput};
use crate::{Error, ErrorKind};
use proto::message::{LIST_END, OpenMode, OpenReply, ReplyBody, RequestBody, VolumeState};
use proto::{ChunkIndex, ClientId, GroupId, VolumeEpoch, VolumeId};
use rt::clock::Instant;
use std::collections::{BTreeMap, VecDeque};

/// What a survey remembers with its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SurveyAsk {
    Volumes,
    Open(VolumeId),
    Digests(VolumeId),
}

/// A chunk's digest at each peer; 0 where it holds nothing.
pub(crate) type Digests = [u64; MAX_PEERS];

/// What a survey found.
#[derive(Debug)]
pub(crate) enum Found {
    /// Every volume that somebody knows, and what each peer says of it. The owner chooses among them:
    /// [`Survey::look_at`].
    Volumes(Vec<(VolumeId, Vec<Option<VolumeState>>)>),
    /// A volume stands open at every peer.
    Opened(Vec<OpenReply>),
    /// Every chunk of the volume that a peer holds something of.
    Chunks(VolumeId, Vec<(ChunkIndex, Digests)>),
    /// A peer says that the volume was deleted meanwhile.
    Gone(VolumeId, Peer),
}

/// A survey of the first `peers` servers of a talk.
#[derive(Debug)]
pub(crate) struct Survey {
    peers: usize,
    place: GroupPlace,
    listing: usize,
    known: BTreeMap<VolumeId, Vec<Option<VolumeState>>>,
    to_look_at: VecDeque<VolumeId>,
    present: Option<Present>,
}

/// Which part of a volume belongs to the run, and who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupPlace {
    pub group: GroupId,
    pub groups: u32,
    pub client: ClientId,
}

impl GroupPlace {
    /// The request that lets a connection repair a volume.
    pub fn open(&self, volume: VolumeId) -> RequestBody {
        let (client, groups, epoch) = (self.client, self.groups, VolumeEpoch(0));
        RequestBody::Open { volume, epoch, client, mode: OpenMode::Repair, groups }
    }
}

/// The volume being looked at.
#[derive(Debug)]
struct Present {
    volume: VolumeId,
    opens: Vec<Option<OpenReply>>,
    /// Peers whose digests are not all there.
    left: usize,
    cursors: Vec<u64>,
    chunks: BTreeMap<ChunkIndex, Digests>,
}

impl Survey {
    pub fn new(peers: usize, place: GroupPlace) -> Self {
        assert!(peers <= MAX_PEERS, "a run's peers are counted when it is made");
        Self { peers, place, listing: 0, known: BTreeMap::new(), to_look_at: VecDeque::new(), present: None }
    }

    /// Asks for the volumes. May be done again once all that was found is dealt with.
    pub fn start<A: From<SurveyAsk>, R>(
        &mut self,
        now: Instant,
        talk: &mut Talk<A>,
        out: &mut Vec<TalkOutput<R>>,
    ) {
        self.listing = self.peers;
        for peer in (0..self.peers).map(Peer) {
            talk.ask(now, (peer, SurveyAsk::Volumes.into()), RequestBody::Volumes { cursor: 0 }, out);
        }
    }

    /// The volumes that matter to the owner, lowest first.
    pub fn look_at(&mut self, volumes: impl Iterator<Item = VolumeId>) {
        self.to_look_at = volumes.collect();
    }

    /// Goes on to the next volume; `false` when there is none left.
    pub fn next_volume<A: From<SurveyAsk>, R>(
        &mut self,
        now: Instant,
        talk: &mut Talk<A>,
        out: &mut Vec<TalkOutput<R>>,
    ) -> bool {
        let Some(volume) = self.to_look_at.pop_front() else { return false };
        let (opens, cursors, chunks) = (vec![None; self.peers], vec![0; self.peers], BTreeMap::new());
        self.present = Some(Present { volume, opens, left: self.peers, cursors, chunks });
        for peer in (0..self.peers).map(Peer) {
            talk.ask(now, (peer, SurveyAsk::Open(volume).into()), self.place.open(volume), out);
        }
        true
    }

    /// Takes an answer in.
    pub fn heard<A: From<SurveyAsk>, R>(
        &mut self,
        now: Instant,
        (peer, ask, result): (Peer, SurveyAsk, Result<ReplyBody, Error>),
        talk: &mut Talk<A>,
        out: &mut Vec<TalkOutput<R>>,
    ) -> Result<Option<Found>, Error> {
        let volume = match ask {
            SurveyAsk::Volumes => return self.volumes(now, peer, result?, talk, out),
            SurveyAsk::Open(volume) | SurveyAsk::Digests(volume) => volume,
        };
        let Some(present) = self.present.as_mut().filter(|present| present.volume == volume) else {
            // It is gone; this is what another peer had to say of it.
            return result.map(|_| None).or_else(|error| if is_gone(&error) { Ok(None) } else { Err(error) });
        };
        let body = match result {
            Err(error) if is_gone(&error) => {
                self.present = None;
                return Ok(Some(Found::Gone(volume, peer)));
            }
            result => result?,
        };
        match body {
            ReplyBody::Open(open) => {
                present.opens[peer.0] = Some(open);
                let opens: Option<Vec<OpenReply>> = present.opens.iter().copied().collect();
                if opens.is_some() {
                    for peer in (0..self.peers).map(Peer) {
                        self.ask_digests(now, peer, talk, out);
                    }
                }
                Ok(opens.map(Found::Opened))
            }
            ReplyBody::Digests { chunks, next } => {
                if next <= present.cursors[peer.0] {
                    return Err(stuck(peer, talk));
                }
                for (chunk, digest) in chunks {
                    present.chunks.entry(chunk).or_default()[peer.0] = digest;
                }
                present.cursors[peer.0] = next;
                if next != LIST_END {
                    self.ask_digests(now, peer, talk, out);
                    return Ok(None);
                }
                present.left -= 1;
                if present.left > 0 {
                    return Ok(None);
                }
                let chunks = self.present.take().map(|present| present.chunks).unwrap_or_default();
                Ok(Some(Found::Chunks(volume, chunks.into_iter().collect())))
            }
            _ => Err(unexpected(peer, talk)),
        }
    }

    fn ask_digests<A: From<SurveyAsk>, R>(
        &mut self,
        now: Instant,
        peer: Peer,
        talk: &mut Talk<A>,
        out: &mut Vec<TalkOutput<R>>,
    ) {
        let Some(present) = &self.present else { return };
        let (volume, cursor) = (present.volume, present.cursors[peer.0]);
        let GroupPlace { group, groups, .. } = self.place;
        let body = RequestBody::Digests { volume, group, groups, cursor };
        talk.ask(now, (peer, SurveyAsk::Digests(volume).into()), body, out);
    }

    fn volumes<A: From<SurveyAsk>, R>(
        &mut self,
        now: Instant,
        peer: Peer,
        body: ReplyBody,
        talk: &mut Talk<A>,
        out: &mut Vec<TalkOutput<R>>,
    ) -> Result<Option<Found>, Error> {
        let ReplyBody::Volumes { volumes, next } = body else { return Err(unexpected(peer, talk)) };
        let last = volumes.last().map_or(0, |held| held.volume.0);
        for held in volumes {
            self.known.entry(held.volume).or_insert_with(|| vec![None; self.peers])[peer.0] = Some(held);
        }
        if next != LIST_END {
            if next <= last {
                return Err(stuck(peer, talk));
            }
            let body = RequestBody::Volumes { cursor: next };
            talk.ask(now, (peer, SurveyAsk::Volumes.into()), body, out);
            return Ok(None);
        }
        self.listing -= 1;
        let all = (self.listing == 0).then(|| std::mem::take(&mut self.known).into_iter().collect());
        Ok(all.map(Found::Volumes))
    }
}

/// Whether an error says that a volume was deleted.
pub(crate) fn is_gone(error: &Error) -> bool {
    error.kind == ErrorKind::Closed
}

fn stuck<A>(peer: Peer, talk: &Talk<A>) -> Error {
    let disk = talk.place(peer).disk;
    Error::new(ErrorKind::Invalid, format!("disk {disk} turns in circles: a page ends before it began"))
}

/// An answer of another type than the question's.
pub(crate) fn unexpected<A>(peer: Peer, talk: &Talk<A>) -> Error {
    let disk = talk.place(peer).disk;
    Error::new(ErrorKind::Invalid, format!("disk {disk} answered something else than was asked"))
}
