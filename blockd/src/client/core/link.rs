//! Connections to members: opened, lost, opened again; and their answers, told to whom they concern.

use super::map::Doubt;
use super::members::Fault;
use super::peer::{Ask, Link, Pending};
use super::piece::Step;
use super::types::{CoreOutput, Peer};
use super::{Phase, VolumeCore};
use crate::limits::{CORE_GRACE, CORE_REQUEST_TIMEOUT, CORE_STUCK_TIMEOUT, CORE_TIMEOUT_CHECK};
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
        if matches!(state.link, Link::Retired | Link::Down { .. }) || matches!(self.phase, Phase::Failed(_)) {
            return;
        }
        state.disconnected(self.now);
        // The map may say by now that it is elsewhere, or out.
        let due = state.down_since.map_or(self.now, |since| (since + CORE_GRACE).max(self.now));
        self.consult_at(due);
        if matches!(self.phase, Phase::Reconciling(_)) {
            self.restart_open();
        }
        self.reads_elsewhere(peer);
    }

    /// Takes back what only a standing connection can answer, or one that is trusted: reads go to another member.
    pub(super) fn reads_elsewhere(&mut self, peer: Peer) {
        let state = &mut self.peers[usize::from(peer.0)];
        let pieces = &self.pieces;
        let (mut reads, mut repairs) = (Vec::new(), Vec::new());
        state.pending.retain(|_, pending| match pending.ask {
            Ask::Hello | Ask::Open | Ask::List { .. } | Ask::Forgotten => false,
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
        repairs.dedup();
        self.ready.extend(reads);
        for key in repairs {
            self.finish_piece(key, Ok(()));
        }
    }

    /// Drops a connection that can't be used further; it is made again after a wait.
    pub(super) fn drop_connection(&mut self, peer: Peer, why: &str) {
        if matches!(self.peers[usize::from(peer.0)].link, Link::Retired | Link::Down { .. }) {
            return;
        }
        let disk = self.map.places[usize::from(peer.0)].disk;
        tracing::warn!(volume = self.volume.0, %disk, why, "dropped the connection to a disk");
        self.out.push(CoreOutput::Disconnect(peer));
        self.on_disconnected(peer);
    }

    /// Ends a connection that is not made again by itself.
    pub(super) fn retire(&mut self, number: usize) {
        let peer = Peer(u16::try_from(number).expect("peers are numbered in 16 bits"));
        if !matches!(self.peers[number].link, Link::Down { .. } | Link::Retired) {
            self.out.push(CoreOutput::Disconnect(peer));
        }
        let state = &mut self.peers[number];
        (state.link, state.down_since) = (Link::Retired, None);
    }

    pub(super) fn wake_readers(&mut self) {
        self.ready.extend(self.read_waiters.drain(..));
    }

    pub(super) fn on_reply(&mut self, peer: Peer, reply: Reply) {
        let Some(state) = self.peers.get_mut(usize::from(peer.0)) else { return };
        if !matches!(state.link, Link::Greeting | Link::Up) {
            return;
        }
        state.heard_at = Some(self.now);
        if std::mem::take(&mut state.is_probed) {
            self.consult_at(self.now);
        }
        let state = &mut self.peers[usize::from(peer.0)];
        let Some(Pending { ask, sent_at }) = state.pending.remove(&reply.sequence) else {
            self.drop_connection(peer, "it answered what was not asked");
            return;
        };
        let understood = match (ask, reply.body) {
            (_, ReplyBody::Error(error)) => {
                self.on_error(peer, ask, error);
                true
            }
            (Ask::Forgotten, _) => true,
            (Ask::Hello, ReplyBody::Hello(hello)) => self.on_hello(peer, hello),
            (Ask::Open, ReplyBody::Open(open)) => self.on_open(peer, open),
            (Ask::List { reconcile }, ReplyBody::List { entries, next_cursor }) => {
                self.listed(peer, reconcile, entries, next_cursor)
            }
            (Ask::Flush { round }, ReplyBody::Ack) => {
                self.note_pace(usize::from(peer.0), sent_at);
                self.flush_acked(peer, round);
                true
            }
            (Ask::Piece { key, serial, slot, .. }, body) => {
                let alive = self.pieces.get(key).filter(|piece| piece.serial == serial);
                let reading = alive.map(|piece| matches!(piece.step, Step::Reading { .. }));
                match (reading, body) {
                    (None, ReplyBody::Ack | ReplyBody::Read { .. }) => true,
                    (Some(false), ReplyBody::Ack) => {
                        let state = &mut self.peers[usize::from(peer.0)];
                        state.acks += 1;
                        state.acked_sequence = state.acked_sequence.max(reply.sequence);
                        self.note_pace(usize::from(peer.0), sent_at);
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
            (ErrorCode::Unauthorized, _) if !self.has_served => self.not_let_in(peer, error),
            (ErrorCode::Io, ask) => {
                if let Ask::Piece { key, serial, .. } = ask
                    && let Some(piece) = self.pieces.get(key).filter(|piece| piece.serial == serial)
                    && matches!(piece.step, Step::Reading { .. })
                {
                    self.ready.push_back(key);
                }
                self.fail_member(peer, Fault::Broken, &format!("its disk failed: {error}"));
            }
            (_, Ask::Piece { key, serial, slot, epoch }) => {
                let Some(piece) = self.pieces.get(key).filter(|piece| piece.serial == serial) else { return };
                match (error.code, &piece.step) {
                    (_, Step::Queued(_)) => {}
                    (ErrorCode::StaleGroupEpoch, _) => self.refused_as_stale(key, slot, epoch),
                    (_, Step::Reading { .. }) => self.read_refused(key, slot, &error),
                    (_, Step::Writing { .. }) => self.write_refused(key, slot, error),
                }
            }
            (_, Ask::Flush { round }) => self.flush_refused(peer, round, &error),
            (_, Ask::Hello | Ask::Open | Ask::List { .. }) => self.drop_connection(peer, &error.to_string()),
            (_, Ask::Forgotten) => {}
        }
    }

    /// A server may have another disk by now, whose predecessor is still a member: that one is away. If nobody
    /// lets this writer in, it is the token.
    fn not_let_in(&mut self, peer: Peer, error: WireError) {
        self.peers[usize::from(peer.0)].is_stranger = true;
        if self.peers.iter().all(|state| state.is_stranger || !state.is_member()) {
            self.fail(ClientError::from(error));
        } else {
            self.drop_connection(peer, &error.to_string());
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
        let holds_all = state.holds_all(state.greeted, open.held_sequence);
        if state.incarnation.is_some() {
            self.stats.reconnects += 1;
        }
        state.came_up(self.now);
        state.opened = Some(open);
        if !holds_all {
            // What it has from here on is judged by what it holds now.
            state.acked_sequence = open.held_sequence;
            state.forgot = true;
        } else if !state.forgot {
            state.whole = state.incarnation;
        }
        if serving && !holds_all {
            self.fail_member(peer, Fault::Forgot, "it restarted without all the writes it had acknowledged");
        }
        let whole = |doubt: &Doubt| {
            doubt.source == Some(peer) && self.peers[usize::from(peer.0)].was_whole(doubt.incarnation)
        };
        self.map.end_doubts(whole);
        if self.is_serving() {
            self.send_again(peer);
            self.wake_readers();
        } else {
            self.open_on();
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
                Ask::Piece { key, serial, slot, .. } => {
                    if self.pieces.get(key).is_some_and(|piece| piece.serial == serial) {
                        self.send_piece(key, slot);
                    }
                }
                Ask::Flush { round } if self.is_flush_round(round) => self.send_flush(peer),
                Ask::Flush { .. } | Ask::Hello | Ask::Open | Ask::List { .. } | Ask::Forgotten => {}
            }
        }
    }

    pub(super) fn tick_links(&mut self) {
        let check = self.now >= self.next_timeout_check;
        if check {
            self.next_timeout_check = self.now + CORE_TIMEOUT_CHECK;
            self.drop_the_late();
        }
        for number in 0..self.peers.len() {
            let state = &mut self.peers[number];
            if matches!(state.link, Link::Down { retry_at } if retry_at <= self.now) {
                state.link = Link::Connecting;
                let peer = Peer(u16::try_from(number).expect("peers are numbered in 16 bits"));
                let place = &self.map.places[number];
                self.out.push(CoreOutput::Connect { peer, disk: place.disk, addr: place.addr });
            }
        }
        if !self.has_served && self.now >= self.open_deadline {
            self.fail(self.error(ErrorKind::Unavailable, self.why_not_open()));
        }
    }

    fn why_not_open(&self) -> String {
        let named = |numbers: &mut dyn Iterator<Item = usize>| {
            let mut disks: Vec<String> = numbers
                .map(|number| &self.map.places[number])
                .map(|place| format!("{} at {}", place.disk, place.addr))
                .collect();
            disks.sort_unstable();
            disks.dedup();
            disks.join(", ")
        };
        let full = named(&mut self.full.iter().filter_map(|retry| {
            let piece = self.pieces.get(retry.key).filter(|piece| piece.serial == retry.serial)?;
            let seat = self.map.group(piece.group).seat(retry.slot)?;
            Some(usize::from(seat.peer.0))
        }));
        if !full.is_empty() {
            return format!(
                "could not be opened in time: what its last writer had in flight does not fit on [{full}], not \
                 even into what these disks keep for it; delete or trim something, or add disks"
            );
        }
        let is_away = |number: &usize| self.peers[*number].is_member() && !self.peers[*number].is_up();
        let away = named(&mut (0..self.peers.len()).filter(is_away));
        format!("could not be opened in time; disks not reached: [{away}]")
    }

    /// Drops connections whose requests are unanswered for too long: soon where somebody else answers, so
    /// that the member can be reported; late where nobody does, since then the fault is not the member's.
    fn drop_the_late(&mut self) {
        for number in 0..self.peers.len() {
            let Some(oldest) = self.peers[number].oldest_sent() else { continue };
            if oldest + CORE_REQUEST_TIMEOUT > self.now {
                continue;
            }
            let others = (0..self.peers.len()).filter(|&other| other != number);
            let alone = !others.into_iter().any(|other| self.peers[other].is_lively(self.now));
            if alone && oldest + CORE_STUCK_TIMEOUT > self.now {
                continue;
            }
            // It was gone from when it stopped answering.
            self.peers[number].down_since.get_or_insert(oldest);
            self.peers[number].pace.note_late(self.now);
            let peer = Peer(u16::try_from(number).expect("peers are numbered in 16 bits"));
            self.drop_connection(peer, "it left a request unanswered for too long");
        }
    }

    /// This process was stopped for a while: nothing that waited meanwhile is late.
    pub(super) fn was_stopped(&mut self, now: rt::clock::Instant) {
        self.forget_paces();
        for peer in &mut self.peers {
            peer.pending.values_mut().for_each(|pending| pending.sent_at = now);
            peer.down_since = peer.down_since.map(|_| now);
        }
    }
}
