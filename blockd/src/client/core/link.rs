//! Connections to members: opened, lost, opened again, given up; and their answers, told to whom they
//! concern.

use super::peer::{Ask, Link, Pending};
use super::piece::{Owner, Step};
use super::types::{CoreOutput, Peer};
use super::{Phase, VolumeCore};
use crate::limits::{CORE_GRACE, CORE_REQUEST_TIMEOUT, CORE_TIMEOUT_CHECK};
use crate::{ClientError, ErrorKind};
use proto::message::{HelloReply, OpenMode, OpenReply, Reply, ReplyBody, RequestBody};
use proto::{ErrorCode, GroupEpoch, WireError};

impl VolumeCore {
    pub(super) fn on_connected(&mut self, peer: Peer) {
        let Some(state) = self.peers.get_mut(usize::from(peer.0)) else { return };
        if state.link != Link::Connecting {
            return;
        }
        state.link = Link::Greeting;
        let (token, client) = (self.token.0, self.session);
        let disk = self.map.places[usize::from(peer.0)].disk;
        self.ask(peer, Ask::Hello, GroupEpoch(0), RequestBody::Hello { token, client, disk });
    }

    pub(super) fn on_disconnected(&mut self, peer: Peer) {
        let Some(state) = self.peers.get_mut(usize::from(peer.0)) else { return };
        if matches!(state.link, Link::Lost | Link::Down { .. }) || matches!(self.phase, Phase::Failed(_)) {
            return;
        }
        state.disconnected(self.now);
        if matches!(self.phase, Phase::Reconciling(_)) {
            self.restart_open();
        }
        self.reads_elsewhere(peer);
    }

    /// Takes back what only a standing connection can answer: reads go to another member.
    fn reads_elsewhere(&mut self, peer: Peer) {
        let state = &mut self.peers[usize::from(peer.0)];
        let pieces = &self.pieces;
        let (mut reads, mut repairs) = (Vec::new(), Vec::new());
        state.pending.retain(|_, pending| match pending.ask {
            Ask::Hello | Ask::Open | Ask::List { .. } => false,
            Ask::Flush { .. } => true,
            Ask::Piece { key, serial, .. } => {
                let Some(piece) = pieces.get(key).filter(|piece| piece.serial == serial) else {
                    return false;
                };
                let waits = matches!(piece.step, Step::Writing { repair: false, .. });
                if matches!(piece.step, Step::Reading { .. }) {
                    reads.push(key);
                } else if !waits {
                    repairs.push(key);
                }
                waits
            }
        });
        // In an order that does not depend on the map's.
        reads.sort_unstable();
        repairs.sort_unstable();
        self.ready.extend(reads);
        for key in repairs {
            self.finish_piece(key, Ok(()));
        }
    }

    /// Drops a connection that can't be used further; it is made again after a wait.
    fn drop_connection(&mut self, peer: Peer, why: &str) {
        let disk = self.map.places[usize::from(peer.0)].disk;
        tracing::warn!(volume = self.volume.0, %disk, why, "dropped the connection to a disk");
        self.out.push(CoreOutput::Disconnect(peer));
        self.on_disconnected(peer);
    }

    pub(super) fn disconnect(&mut self, number: usize) {
        let peer = Peer(u16::try_from(number).expect("peers are numbered in 16 bits"));
        if !matches!(self.peers[number].link, Link::Down { .. } | Link::Lost) {
            self.out.push(CoreOutput::Disconnect(peer));
        }
        self.peers[number].link = Link::Lost;
    }

    /// Gives a member up: this writer can't show any more that it holds all it acked.
    ///
    /// Writes and flushes fail from here on. What belongs here instead is to report the member, wait until
    /// the control plane has taken it out of its groups and bumped their epochs, and go on with the rest.
    pub(super) fn lose(&mut self, peer: Peer, why: &str) {
        let place = &self.map.places[usize::from(peer.0)];
        let why = format!("disk {} at {} is lost: {why}", place.disk, place.addr);
        let error = self.error(ErrorKind::Unavailable, why);
        if !self.is_serving() {
            self.fail(error);
            return;
        }
        self.disconnect(usize::from(peer.0));
        self.fail_writes(error);
        self.reads_elsewhere(peer);
        self.peers[usize::from(peer.0)].pending.clear();
        self.wake_readers();
    }

    fn wake_readers(&mut self) {
        self.ready.extend(self.read_waiters.drain(..));
    }

    pub(super) fn on_reply(&mut self, peer: Peer, reply: Reply) {
        let Some(state) = self.peers.get_mut(usize::from(peer.0)) else { return };
        if !matches!(state.link, Link::Greeting | Link::Up) {
            return;
        }
        let Some(Pending { ask, .. }) = state.pending.remove(&reply.sequence) else {
            self.drop_connection(peer, "it answered what was not asked");
            return;
        };
        let understood = match (ask, reply.body) {
            (_, ReplyBody::Error(error)) => {
                self.on_error(peer, ask, error);
                true
            }
            (Ask::Hello, ReplyBody::Hello(hello)) => self.on_hello(peer, hello),
            (Ask::Open, ReplyBody::Open(open)) => self.on_open(peer, open),
            (Ask::List { reconcile }, ReplyBody::List { entries, next_cursor }) => {
                self.listed(peer, reconcile, entries, next_cursor)
            }
            (Ask::Flush { round }, ReplyBody::Ack) => {
                if self.is_flush_round(round) {
                    self.flush_acked();
                }
                true
            }
            (Ask::Piece { key, serial, slot }, body) => {
                let alive = self.pieces.get(key).filter(|piece| piece.serial == serial);
                let reading = alive.map(|piece| matches!(piece.step, Step::Reading { .. }));
                match (reading, body) {
                    (None, ReplyBody::Ack | ReplyBody::Read { .. }) => true,
                    (Some(false), ReplyBody::Ack) => {
                        let state = &mut self.peers[usize::from(peer.0)];
                        state.acks += 1;
                        state.acked_sequence = state.acked_sequence.max(reply.sequence);
                        self.write_acked(key, slot);
                        true
                    }
                    (Some(true), ReplyBody::Read { range, blocks, data }) => {
                        let understood = self.read_answered((key, slot), range, blocks, data);
                        if !understood {
                            self.ready.push_back(key);
                        }
                        understood
                    }
                    _ => false,
                }
            }
            _ => false,
        };
        if !understood {
            self.drop_connection(peer, "its answer does not fit the request");
        }
    }

    fn on_error(&mut self, peer: Peer, ask: Ask, error: WireError) {
        match (error.code, ask) {
            (ErrorCode::Fenced | ErrorCode::Deleted, _) => self.fail(ClientError::from(error)),
            (ErrorCode::Unauthorized, _) if !self.is_serving() => self.fail(ClientError::from(error)),
            (_, Ask::Piece { key, serial, slot }) => {
                let Some(piece) = self.pieces.get(key).filter(|piece| piece.serial == serial) else { return };
                match piece.step {
                    Step::Reading { .. } => self.read_refused(key, slot, &error),
                    Step::Writing { .. } => self.write_refused(key, slot, error),
                    Step::Queued(_) => {}
                }
            }
            (_, Ask::Flush { round }) => {
                if self.is_flush_round(round) {
                    self.flush_refused(peer, &error);
                }
            }
            (_, Ask::Hello | Ask::Open | Ask::List { .. }) => self.drop_connection(peer, &error.to_string()),
        }
    }

    fn on_hello(&mut self, peer: Peer, hello: HelloReply) -> bool {
        if hello.disk != self.map.places[usize::from(peer.0)].disk {
            return false;
        }
        self.peers[usize::from(peer.0)].greeted = hello.incarnation;
        let groups = u32::try_from(self.map.groups.len()).expect("checked against MAX_GROUPS");
        let (volume, epoch, client) = (self.volume, self.epoch, self.session);
        let open = RequestBody::Open { volume, epoch, client, mode: OpenMode::Writer, groups };
        self.ask(peer, Ask::Open, GroupEpoch(0), open);
        true
    }

    fn on_open(&mut self, peer: Peer, open: OpenReply) -> bool {
        if open.volume != self.volume || open.fence < self.epoch {
            return false;
        }
        if open.fence > self.epoch {
            let why = format!("a newer writer (epoch {}) has opened it", open.fence);
            self.fail(self.error(ErrorKind::Fenced, why));
            return true;
        }
        let serving = self.is_serving();
        let state = &mut self.peers[usize::from(peer.0)];
        if serving && !state.holds_all(state.greeted, open.held_sequence) {
            self.lose(peer, "it restarted without all the writes it had acknowledged");
            return true;
        }
        if state.incarnation.is_some() {
            self.stats.reconnects += 1;
        }
        state.came_up();
        state.opened = Some(open);
        if serving {
            self.send_again(peer);
            self.wake_readers();
        } else if self.peers.iter().all(|state| state.is_up()) {
            self.start_reconcile();
        }
        true
    }

    /// Sends what a member had not answered, in its order, under new numbers: versions make that harmless.
    fn send_again(&mut self, peer: Peer) {
        let pending = std::mem::take(&mut self.peers[usize::from(peer.0)].pending);
        let mut asks: Vec<(u64, Ask)> =
            pending.into_iter().map(|(seq, pending)| (seq, pending.ask)).collect();
        asks.sort_unstable_by_key(|(sequence, _)| *sequence);
        for (_, ask) in asks {
            match ask {
                Ask::Piece { key, serial, slot } => {
                    if self.pieces.get(key).is_some_and(|piece| piece.serial == serial) {
                        self.send_piece(key, slot);
                    }
                }
                Ask::Flush { round } if self.is_flush_round(round) => self.send_flush(peer),
                Ask::Flush { .. } | Ask::Hello | Ask::Open | Ask::List { .. } => {}
            }
        }
    }

    /// A member went away while the volume was being made to agree: what was listed may be no more.
    fn restart_open(&mut self) {
        self.phase = Phase::Opening;
        self.forget_flush_round();
        // Everything in progress is the open's own: users' operations have not begun.
        self.pieces.retain(|_, piece| piece.owner != Owner::Reconcile);
        self.forget_removed();
        self.busy.clear();
        self.full.clear();
        for state in &mut self.peers {
            let handshake = |ask| matches!(ask, Ask::Hello | Ask::Open);
            // Answers to the rest still come, and are told from new ones by their serials.
            if !state.is_up() {
                state.pending.retain(|_, pending| handshake(pending.ask));
            }
        }
    }

    pub(super) fn tick_links(&mut self) {
        let check = self.now >= self.next_timeout_check;
        if check {
            self.next_timeout_check = self.now + CORE_TIMEOUT_CHECK;
        }
        for number in 0..self.peers.len() {
            let peer = Peer(u16::try_from(number).expect("peers are numbered in 16 bits"));
            let state = &mut self.peers[number];
            let gone = state.down_since.is_some_and(|since| since + CORE_GRACE <= self.now);
            if gone && matches!(self.phase, Phase::Serving) {
                let why = format!("it could not be reached for {} s", CORE_GRACE.as_secs());
                self.lose(peer, &why);
                continue;
            }
            let late = |pending: &Pending| pending.sent_at + CORE_REQUEST_TIMEOUT <= self.now;
            if check && matches!(state.link, Link::Up | Link::Greeting) && state.pending.values().any(late) {
                self.drop_connection(peer, "it left a request unanswered for too long");
                continue;
            }
            if matches!(state.link, Link::Down { retry_at } if retry_at <= self.now) {
                state.link = Link::Connecting;
                let place = &self.map.places[number];
                self.out.push(CoreOutput::Connect { peer, disk: place.disk, addr: place.addr });
            }
        }
        if matches!(self.phase, Phase::Opening | Phase::Reconciling(_)) && self.now >= self.open_deadline {
            let down = self.peers.iter().zip(&self.map.places).filter(|(state, _)| !state.is_up());
            let disks: Vec<String> =
                down.map(|(_, place)| format!("{} at {}", place.disk, place.addr)).collect();
            let why = format!("could not be opened in time; disks not reached: [{}]", disks.join(", "));
            self.fail(self.error(ErrorKind::Unavailable, why));
        }
    }
}
