//! Conversations of one run with several chunk servers: greeting, numbering, who waits for what, what is
//! sent again. Pure.

use super::limits::{BUSY_WAIT, MAX_TRIES, MAX_UNANSWERED, REQUEST_TIMEOUT, TIMEOUT_CHECK};
use crate::fast_map::FastMap;
use crate::{Error, ErrorKind};
use proto::control::{DiskPlace, PoolToken};
use proto::message::{Reply, ReplyBody, Request, RequestBody};
use proto::{ClientId, ErrorCode, GroupEpoch, Version};
use rt::clock::Instant;
use std::collections::VecDeque;

/// A chunk server of a run, by its place in the run's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(pub usize);

/// Who all runs are. Stores remember how far the sessions of their latest clients got, and a name for each
/// run would push the writers' out; nobody asks for this one's.
pub(crate) const REPAIRER: ClientId = ClientId(*b"ashlar-repairer\0");

/// An event for a run.
#[derive(Debug)]
pub enum TalkInput {
    /// The connection asked for by [`TalkOutput::Connect`] stands.
    Connected(Peer),
    /// It could not be made, or is gone; and why. Nothing of it may be delivered after this.
    Disconnected(Peer, String),
    /// A frame from the peer, in order.
    Reply(Peer, Reply),
    /// Time has passed. The first one starts the run.
    Tick,
}

/// What a driver does for a run, in order.
#[derive(Debug)]
pub enum TalkOutput<R> {
    Connect(Peer),
    Send(Peer, Request),
    /// The run has ended. Comes once, and nothing after it.
    Done(Result<R, Error>),
}

/// What somebody asked for, and what came of it.
#[derive(Debug)]
pub(crate) struct Heard<A> {
    pub peer: Peer,
    pub ask: A,
    pub result: Result<ReplyBody, Error>,
}

/// Who the run is, and what it tells with every frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speaker {
    pub token: PoolToken,
    pub client: ClientId,
    pub epoch: GroupEpoch,
}

/// The conversations; `A` is what the owner remembers with a request.
#[derive(Debug)]
pub(crate) struct Talk<A> {
    speaker: Speaker,
    peers: Vec<State<A>>,
    /// Requests to servers that were busy, by when they are due; in order, since all wait the same time.
    again: VecDeque<(Instant, Peer, Asked<A>)>,
    heard: VecDeque<Heard<A>>,
    unanswered: usize,
    next_check: Instant,
}

#[derive(Debug)]
struct State<A> {
    place: DiskPlace,
    link: Link,
    /// From its answer to the greeting; it is greeted once.
    incarnation: u64,
    sequence: u64,
    /// What is sent once the server has answered the greeting.
    queue: VecDeque<Asked<A>>,
    waiting: FastMap<u64, (Instant, Asked<A>)>,
}

#[derive(Debug)]
enum Link {
    Idle,
    Connecting { since: Instant },
    Greeting { since: Instant },
    Ready,
    Gone(Error),
}

#[derive(Debug)]
struct Asked<A> {
    ask: A,
    body: RequestBody,
    tries: u16,
}

impl<A> Talk<A> {
    pub fn new(speaker: Speaker, places: Vec<DiskPlace>) -> Self {
        let state = |place| State {
            incarnation: 0,
            place,
            link: Link::Idle,
            sequence: 0,
            queue: VecDeque::new(),
            waiting: FastMap::default(),
        };
        Self {
            speaker,
            peers: places.into_iter().map(state).collect(),
            again: VecDeque::new(),
            heard: VecDeque::new(),
            unanswered: 0,
            next_check: Instant(0),
        }
    }

    /// Asks `peer`; [`next_heard`](Self::next_heard) tells the answer, whatever happens.
    pub fn ask<R>(
        &mut self,
        now: Instant,
        (peer, ask): (Peer, A),
        body: RequestBody,
        out: &mut Vec<TalkOutput<R>>,
    ) {
        self.unanswered += 1;
        self.send(now, peer, Asked { ask, body, tries: 0 }, out);
    }

    /// Requests that were not answered yet.
    pub fn unanswered(&self) -> usize {
        self.unanswered
    }

    pub fn next_heard(&mut self) -> Option<Heard<A>> {
        let heard = self.heard.pop_front()?;
        self.unanswered -= 1;
        Some(heard)
    }

    /// When a `Tick` is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let check = self.peers.iter().any(State::is_owed).then_some(self.next_check);
        self.again.front().map(|(due, ..)| *due).into_iter().chain(check).min()
    }

    /// In which of its lives the disk answers.
    pub fn incarnation(&self, peer: Peer) -> u64 {
        self.peers[peer.0].incarnation
    }

    pub fn place(&self, peer: Peer) -> &DiskPlace {
        &self.peers[peer.0].place
    }

    /// Takes one event in.
    pub fn step<R>(&mut self, now: Instant, input: TalkInput, out: &mut Vec<TalkOutput<R>>) {
        match input {
            TalkInput::Connected(peer) => self.greet(now, peer, out),
            TalkInput::Disconnected(peer, why) => self.lose(peer, &why),
            TalkInput::Reply(peer, reply) => self.reply(now, peer, reply, out),
            TalkInput::Tick => {}
        }
        while self.again.front().is_some_and(|(due, ..)| *due <= now) {
            let Some((_, peer, asked)) = self.again.pop_front() else { break };
            self.send(now, peer, asked, out);
        }
        if self.next_check <= now {
            self.next_check = now + TIMEOUT_CHECK;
            for peer in (0..self.peers.len()).map(Peer) {
                if self.peers[peer.0].oldest().is_some_and(|at| now.since(at) > REQUEST_TIMEOUT) {
                    self.lose(peer, "it does not answer");
                }
            }
        }
    }

    fn send<R>(&mut self, now: Instant, peer: Peer, asked: Asked<A>, out: &mut Vec<TalkOutput<R>>) {
        let Speaker { epoch, .. } = self.speaker;
        let state = &mut self.peers[peer.0];
        match &state.link {
            Link::Gone(error) => {
                self.heard.push_back(Heard { peer, ask: asked.ask, result: Err(error.clone()) });
            }
            // A server closes a connection that owes it too much.
            Link::Ready if state.waiting.len() >= MAX_UNANSWERED => state.queue.push_back(asked),
            Link::Ready => {
                state.sequence += 1;
                let (sequence, body) = (state.sequence, asked.body.clone());
                state.waiting.insert(sequence, (now, asked));
                let request = Request { sequence, settled: Version::ZERO, group_epoch: epoch, body };
                out.push(TalkOutput::Send(peer, request));
            }
            Link::Idle => {
                state.link = Link::Connecting { since: now };
                state.queue.push_back(asked);
                out.push(TalkOutput::Connect(peer));
            }
            Link::Connecting { .. } | Link::Greeting { .. } => state.queue.push_back(asked),
        }
    }

    fn greet<R>(&mut self, now: Instant, peer: Peer, out: &mut Vec<TalkOutput<R>>) {
        let Speaker { token, client, epoch } = self.speaker;
        let state = &mut self.peers[peer.0];
        if !matches!(state.link, Link::Connecting { .. }) {
            return;
        }
        state.link = Link::Greeting { since: now };
        let body = RequestBody::Hello { token: token.0, client, disk: state.place.disk };
        let request = Request { sequence: 0, settled: Version::ZERO, group_epoch: epoch, body };
        out.push(TalkOutput::Send(peer, request));
    }

    fn reply<R>(&mut self, now: Instant, peer: Peer, reply: Reply, out: &mut Vec<TalkOutput<R>>) {
        let state = &mut self.peers[peer.0];
        if let Link::Greeting { .. } = state.link {
            match reply.body {
                ReplyBody::Hello(hello) if hello.disk == state.place.disk => {
                    state.link = Link::Ready;
                    state.incarnation = hello.incarnation;
                    for asked in std::mem::take(&mut state.queue) {
                        self.send(now, peer, asked, out);
                    }
                }
                ReplyBody::Error(error) => self.lose(peer, &error.message),
                _ => self.lose(peer, "its greeting is another disk's"),
            }
            return;
        }
        let Some((_, mut asked)) = state.waiting.remove(&reply.sequence) else {
            return self.lose(peer, "it answered what nobody asked");
        };
        if let Some(next) = state.queue.pop_front() {
            self.send(now, peer, next, out);
        }
        let result = match reply.body {
            ReplyBody::Error(error) => {
                let retry = matches!(error.code, ErrorCode::Busy | ErrorCode::BadChecksum);
                if retry && asked.tries < MAX_TRIES {
                    asked.tries += 1;
                    self.again.push_back((now + BUSY_WAIT, peer, asked));
                    return;
                }
                let mut error = Error::from(error);
                error.message = format!("disk {}: {}", self.peers[peer.0].place.disk, error.message);
                Err(error)
            }
            body => Ok(body),
        };
        self.heard.push_back(Heard { peer, ask: asked.ask, result });
    }

    /// The connection is of no more use: everything asked, now and later, is answered with why.
    fn lose(&mut self, peer: Peer, why: &str) {
        let state = &mut self.peers[peer.0];
        if let Link::Gone(_) = state.link {
            return;
        }
        let DiskPlace { disk, addr, .. } = state.place;
        let error = Error::new(ErrorKind::Unavailable, format!("disk {disk} at {addr} is lost: {why}"));
        state.link = Link::Gone(error.clone());
        let waiting = std::mem::take(&mut state.waiting);
        let mut waiting: Vec<_> =
            waiting.into_iter().map(|(sequence, (_, asked))| (sequence, asked)).collect();
        // In the order they were sent: the simulator's runs repeat.
        waiting.sort_unstable_by_key(|(sequence, _)| *sequence);
        let asked = waiting.into_iter().map(|(_, asked)| asked).chain(std::mem::take(&mut state.queue));
        self.heard.extend(asked.map(|asked| Heard { peer, ask: asked.ask, result: Err(error.clone()) }));
    }
}

impl<A> State<A> {
    fn is_owed(&self) -> bool {
        !self.waiting.is_empty() || matches!(self.link, Link::Connecting { .. } | Link::Greeting { .. })
    }

    /// Since when an answer is due.
    fn oldest(&self) -> Option<Instant> {
        match self.link {
            Link::Connecting { since } | Link::Greeting { since } => Some(since),
            _ => self.waiting.values().map(|(at, _)| *at).min(),
        }
    }
}
