//! Members that fail, and maps that change: who is asked, who is waited for, and what the control plane is
//! told.
//!
//! - A member that *is gone* for longer than the grace is reported if the rest can go on without it: another
//!   in-sync member answers, and has been there for as long, and enough of them stay. Otherwise its leaving
//!   would help nobody, and it is waited for.
//! - A member that *failed* (it came back without what it acked, or its disk failed) can't be waited for.
//!   Its life ends: nothing is asked of it and nothing acked in the groups where it sits, until a map comes
//!   in which it is out of them. Nor can a copy be counted on that may have been made from it after it forgot
//!   ([`Doubt`]). If no in-sync member of some group is left that kept everything, there is
//!   nobody to go on with: then they are made to agree again (`agree_again`).
//! - A member that is *slow* ([`slow`](super::slow)) is reported where enough of the others stay.
//! - A new map takes effect at once: who left is not waited for any more, who came is sent all that is in
//!   flight. What was sent with an older epoch is sent again only if its member says that it is stale.

use super::map::{Change, Doubt, GroupPeers, Seat};
use super::peer::{Ask, Link, PeerState};
use super::piece::{Owner, Step};
use super::slow::Pace;
use super::types::{Complaint, CoreOutput, Peer};
use super::{Phase, VolumeCore};
use crate::limits::{CORE_GRACE, CORE_MAP_POLL, CORE_MAP_RETRY, CORE_MAP_TROUBLED, CORE_REPORT_RETRY};
use proto::control::PoolMap;
use proto::message::RequestBody;
use proto::{GroupEpoch, GroupId, Version};
use rt::clock::Instant;
use std::collections::BTreeSet;

/// What is asked of the control plane, and when next.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// A question is unanswered.
    asked: bool,
    /// When to look for something to ask.
    due: Option<Instant>,
    map_asked_at: Instant,
    /// A member knows a newer epoch than this core.
    is_stale: bool,
}

/// How a member failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It was opened again, and lacks what it had acked.
    Forgot,
    /// It can't be used as it is.
    Broken,
}

/// Something that a member refused because this core's map is old.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stale {
    key: usize,
    serial: u64,
    slot: u8,
}

impl VolumeCore {
    pub(super) fn consult_at(&mut self, due: Instant) {
        self.control.due = Some(self.control.due.map_or(due, |now| now.min(due)));
    }

    pub(super) fn consult_deadline(&self) -> Option<Instant> {
        self.control.due.filter(|_| !self.control.asked)
    }

    /// Asks the control plane what there is to ask, one thing at a time.
    pub(super) fn consult(&mut self) {
        let due = self.control.due.is_some_and(|due| due <= self.now);
        if !due || self.control.asked || matches!(self.phase, Phase::New | Phase::Failed(_)) {
            return;
        }
        self.control.due = None;
        for number in 0..self.peers.len() {
            let state = &self.peers[number];
            if !state.is_faulty && !state.is_gone(self.now) {
                if let Some(since) = state.down_since {
                    self.consult_at(since + CORE_GRACE);
                }
                if self.report_if_slow(number) {
                    return;
                }
                continue;
            }
            if state.report_at > self.now {
                self.consult_at(self.peers[number].report_at);
                continue;
            }
            let settling = self.peers.iter().filter_map(|peer| peer.settles_at(self.now)).min();
            let retry = self.now + CORE_REPORT_RETRY;
            self.consult_at(settling.map_or(retry, |at| at.min(retry)));
            let groups = self.evictable(number);
            if groups.is_empty() {
                self.probe_the_quiet();
                self.trust_again(number);
            } else {
                let is_slow = !self.peers[number].is_faulty && self.peers[number].pace.is_late();
                self.report(number, groups, if is_slow { Complaint::Slow } else { Complaint::Failed });
                return;
            }
        }
        let troubled = |peer: &PeerState| peer.is_member() && !peer.is_up() || peer.is_faulty;
        let wait = match () {
            () if self.control.is_stale => CORE_MAP_RETRY,
            () if self.map.short || self.peers.iter().any(troubled) => CORE_MAP_TROUBLED,
            () => CORE_MAP_POLL,
        };
        let due = self.control.map_asked_at + wait;
        if due > self.now {
            self.consult_at(due);
            return;
        }
        self.control.asked = true;
        self.control.map_asked_at = self.now;
        self.out.push(CoreOutput::WantMap { version: self.map.version });
    }

    /// Asks members that have not said anything for a while for something that changes nothing: somebody is to
    /// leave, and it matters whether they are there.
    fn probe_the_quiet(&mut self) {
        for number in 0..self.peers.len() {
            let state = &mut self.peers[number];
            if !state.is_up() || state.is_probed || state.is_heard(self.now) {
                continue;
            }
            state.is_probed = true;
            let peer = Peer(u16::try_from(number).expect("peers are numbered in 16 bits"));
            let (through, stable) = (Version::ZERO, Version::ZERO);
            let body = RequestBody::Flush { volume: self.volume, through, stable, whole: false };
            self.ask(peer, Ask::Forgotten, GroupEpoch(0), body);
        }
    }

    /// A member that failed is back with all it had acked, and in some groups nobody else is there: they go on
    /// with it. It is evicted where somebody is.
    fn trust_again(&mut self, number: usize) {
        let peer = Peer(u16::try_from(number).expect("peers are numbered in 16 bits"));
        let state = &self.peers[number];
        let back = state.is_faulty && state.is_up() && !state.forgot && state.whole == state.incarnation;
        if !back || !self.is_serving() {
            return;
        }
        let (life, peers) = (state.life, &self.peers);
        let there = |seat: Seat| {
            let other = &peers[usize::from(seat.peer.0)];
            seat.peer != peer && other.life == seat.life && other.is_up()
        };
        let (mut trusted, mut left) = (0u32, false);
        for group in &mut self.map.groups {
            let Some(slot) = group.slot_of(peer) else { continue };
            let others = group.in_sync().any(|(_, seat)| there(seat));
            if !others {
                group.trust_one(slot, life);
                trusted += 1;
            }
            left |= others && group.seat(slot).is_some_and(|seat| seat.life != life);
        }
        if trusted == 0 {
            return;
        }
        tracing::warn!(volume = self.volume.0, disk = %self.map.places[number].disk, groups = trusted, "a member is back");
        let state = &mut self.peers[number];
        state.is_faulty = left;
        // Whatever it failed with, what it acked may not be durable.
        state.flush_sent_at = 0;
        let keys: Vec<usize> = self.pieces.iter().map(|(key, _)| key).collect();
        for key in keys {
            let piece = &self.pieces[key];
            let slot = self.map.group(piece.group).slot_of(peer);
            if let Some(slot) = slot.filter(|&slot| piece.waits_for(slot)) {
                self.send_piece(key, slot);
            }
        }
        self.flush_joined(peer);
        self.wake_readers();
    }

    /// Asks for the eviction of a member that is slow, once each time that it is found to be.
    fn report_if_slow(&mut self, number: usize) -> bool {
        if !self.peers[number].pace.is_slow() {
            return false;
        }
        let groups = self.evictable(number);
        let is_any = !groups.is_empty();
        if is_any {
            self.report(number, groups, Complaint::Slow);
            self.peers[number].pace = Pace::default();
        }
        is_any
    }

    fn report(&mut self, number: usize, groups: Vec<(GroupId, GroupEpoch)>, complaint: Complaint) {
        let (place, state) = (&self.map.places[number], &mut self.peers[number]);
        state.report_at = self.now + CORE_REPORT_RETRY;
        let why = match complaint {
            Complaint::Slow => state.pace.complaint(),
            Complaint::Failed if state.is_faulty => state.fault.clone(),
            Complaint::Failed => "it does not answer".to_owned(),
        };
        let why = format!("disk {} at {}: {why}", place.disk, place.addr);
        tracing::warn!(volume = self.volume.0, groups = groups.len(), why, "reported a disk");
        self.stats.reports += 1;
        self.stats.slow_reports += u64::from(complaint == Complaint::Slow);
        self.control.asked = true;
        self.control.map_asked_at = self.now;
        self.out.push(CoreOutput::Report { disk: place.disk, groups, complaint, why });
    }

    /// The groups that a member which failed, is gone or is slow should leave, and can.
    fn evictable(&self, number: usize) -> Vec<(GroupId, GroupEpoch)> {
        let peer = Peer(u16::try_from(number).expect("peers are numbered in 16 bits"));
        let gone = self.peers[number].is_gone(self.now);
        let slow = self.peers[number].pace.is_slow();
        // Not to be left with one that is dead as well, and that nobody has asked for anything since it died.
        let lively: Vec<bool> = self.peers.iter().map(|peer| peer.is_heard(self.now)).collect();
        let mut groups = Vec::new();
        for (id, group) in (0u32..).zip(&self.map.groups) {
            let Some(seat) = group.slot_of(peer).and_then(|slot| group.seat(slot)) else { continue };
            let failed = !self.is_trusted(group, seat.peer);
            if !failed && !gone && !slow {
                continue;
            }
            let another = group.in_sync().any(|(_, other)| {
                let number = usize::from(other.peer.0);
                // After an outage of many, each has its time to come back from when the first one is there.
                let in_time = failed || self.peers[number].is_settled(self.now);
                other.peer != peer && lively[number] && in_time && self.trusts(other)
            });
            let others = group.in_sync_count() - u32::from(seat.in_sync);
            let enough = others >= self.map.min_in_sync || gone && !seat.in_sync;
            if another && (failed || enough) {
                groups.push((GroupId(id), group.epoch));
            }
        }
        groups
    }

    pub(super) fn trusts(&self, seat: Seat) -> bool {
        self.peers[usize::from(seat.peer.0)].life == seat.life
    }

    fn is_trusted(&self, group: &GroupPeers, peer: Peer) -> bool {
        group.slot_of(peer).and_then(|slot| group.seat(slot)).is_some_and(|seat| self.trusts(seat))
    }

    /// A member failed in a way that waiting does not mend.
    pub(super) fn fail_member(&mut self, peer: Peer, fault: Fault, why: &str) {
        let number = usize::from(peer.0);
        let place = &self.map.places[number];
        tracing::warn!(volume = self.volume.0, disk = %place.disk, why, "a member failed");
        self.stats.failed_members += 1;
        if fault == Fault::Broken {
            self.drop_connection(peer, why);
        }
        self.distrust(peer, why);
        if matches!(self.phase, Phase::Reconciling(_)) {
            self.restart_open();
        }
        if fault == Fault::Forgot {
            self.fail_copies(|_, source| source == Some(peer));
        }
        self.agree_if_lost();
    }

    /// Copies in doubt whose source, in a group, had lost writes, or will never be known not to: neither can they
    /// be counted on.
    fn fail_copies(&mut self, lost: impl Fn(&GroupPeers, Option<Peer>) -> bool) {
        if !self.map.doubtful || !self.is_serving() {
            return;
        }
        let of = |group| GroupPeers::doubts(group).filter(|(_, doubt)| lost(group, doubt.source));
        let doubted = self.map.groups.iter().flat_map(of).map(|(peer, _)| peer);
        let doubted: BTreeSet<Peer> =
            doubted.filter(|peer| !self.peers[usize::from(peer.0)].is_faulty).collect();
        for peer in doubted {
            let why = "it was copied from a disk that may have lost writes";
            tracing::warn!(volume = self.volume.0, disk = %self.map.places[usize::from(peer.0)].disk, why);
            self.distrust(peer, why);
            let state = &mut self.peers[usize::from(peer.0)];
            (state.forgot, state.whole) = (true, None);
        }
    }

    /// A member's seats are lost to it: it is to leave them at once.
    fn distrust(&mut self, peer: Peer, why: &str) {
        let state = &mut self.peers[usize::from(peer.0)];
        state.fail(why);
        state.report_at = state.report_at.min(self.now);
        self.reads_elsewhere(peer);
        self.take_back(peer);
        self.flush_left(peer);
        self.consult_at(self.now);
    }

    /// Nobody is left to go on with in some group: all are made to agree.
    fn agree_if_lost(&mut self) {
        let nobody = |group: &GroupPeers| !group.in_sync().any(|(_, seat)| self.trusts(seat));
        if self.is_serving() && self.map.groups.iter().any(nobody) {
            self.agree_again();
        }
    }

    /// Nothing that is in flight counts as held by a member that failed: all of it waits until it is out.
    fn take_back(&mut self, peer: Peer) {
        self.peers[usize::from(peer.0)].pending.clear();
        let mut repairs = Vec::new();
        let map = &self.map;
        for (key, piece) in &mut self.pieces {
            let Some(slot) = map.group(piece.group).slot_of(peer) else { continue };
            match &mut piece.step {
                Step::Writing { pending, repair: false, .. } => *pending |= 1 << slot,
                Step::Writing { pending, repair: true, .. } if *pending & 1 << slot != 0 => repairs.push(key),
                Step::Writing { .. } | Step::Queued(_) | Step::Reading { .. } => {}
            }
        }
        repairs.into_iter().for_each(|key| self.finish_piece(key, Ok(())));
    }

    /// A member knows a newer membership of the piece's group than the epoch it was asked with.
    pub(super) fn refused_as_stale(&mut self, key: usize, slot: u8, epoch: GroupEpoch) {
        let piece = &self.pieces[key];
        let (serial, reading) = (piece.serial, matches!(piece.step, Step::Reading { .. }));
        if self.map.group(piece.group).epoch > epoch {
            // The newer map came while this was on its way.
            if reading {
                self.ready.push_back(key);
            } else {
                self.send_piece(key, slot);
            }
            return;
        }
        self.stale.push(Stale { key, serial, slot });
        self.control.is_stale = true;
        self.consult_at(self.now);
    }

    fn send_stale(&mut self) {
        for Stale { key, serial, slot } in std::mem::take(&mut self.stale) {
            let Some(piece) = self.pieces.get(key).filter(|piece| piece.serial == serial) else { continue };
            match &piece.step {
                Step::Reading { .. } => self.ready.push_back(key),
                Step::Writing { pending, .. } if pending & 1 << slot != 0 => self.send_piece(key, slot),
                Step::Writing { .. } | Step::Queued(_) => {}
            }
        }
    }

    pub(super) fn on_no_map(&mut self) {
        self.control.asked = false;
        self.consult_at(self.now);
    }

    pub(super) fn on_map(&mut self, map: &PoolMap) {
        self.on_no_map();
        if map.version <= self.map.version || matches!(self.phase, Phase::Failed(_)) {
            return;
        }
        let (peers, stable) = (&self.peers, self.stable);
        let doubt = |source: Option<Peer>, incarnation, until: Version| {
            let known = source.and_then(|source| peers.get(usize::from(source.0)));
            let flushed = known.map_or(stable, |state| state.flushed.max(stable));
            let whole = known.is_some_and(|state| state.was_whole(incarnation));
            (until > flushed && !whole).then_some(Doubt { source, incarnation, until })
        };
        let life = |peer: Peer| peers.get(usize::from(peer.0)).map_or(0, |state| state.life);
        let changes = match self.map.take(map, life, doubt) {
            Ok(changes) => changes,
            Err(error) => {
                tracing::error!(volume = self.volume.0, %error, "the control plane gave a map of no use");
                return;
            }
        };
        tracing::info!(volume = self.volume.0, version = map.version, changed = changes.len(), "a new map");
        self.control.is_stale = false;
        self.seat_peers(&changes);
        self.forget_left(&changes);
        self.fail_copies(|group, source| source.is_none_or(|source| group.slot_of(source).is_none()));
        self.agree_if_lost();
        if matches!(self.phase, Phase::Reconciling(_)) && !changes.is_empty() {
            self.restart_open();
        }
        self.reseat_pieces(&changes);
        self.send_stale();
        self.wake_readers();
        self.flush_on();
        self.open_on();
    }

    /// Connects to who is new, and lets go of who is in no group any more.
    fn seat_peers(&mut self, changes: &[Change]) {
        while self.peers.len() < self.map.places.len() {
            let mut state = PeerState::new(self.now);
            (state.link, state.down_since) = (Link::Retired, None);
            self.peers.push(state);
        }
        let mut seated = vec![false; self.peers.len()];
        let mut faulty = vec![false; self.peers.len()];
        let mut stays = vec![false; self.peers.len()];
        for (number, group) in (0u32..).zip(&self.map.groups) {
            let came = change_of(changes, number).came;
            for (slot, seat) in group.seats() {
                let peer = usize::from(seat.peer.0);
                seated[peer] = true;
                faulty[peer] |= self.peers[peer].life != seat.life;
                stays[peer] |= came & 1 << slot == 0;
            }
        }
        let serving = self.is_serving();
        for number in 0..self.peers.len() {
            let state = &mut self.peers[number];
            state.is_faulty = faulty[number];
            if serving && state.forgot && !faulty[number] {
                // All that it is counted on for was copied from others since.
                (state.forgot, state.whole) = (false, state.incarnation);
            }
            if seated[number] && !stays[number] && !state.is_up() {
                // All its seats are new: it is not asked for what it acked in others.
                state.acked_sequence = 0;
            }
            match (seated[number], state.is_member()) {
                (true, false) => {
                    (state.link, state.down_since) = (Link::Down { retry_at: self.now }, Some(self.now));
                }
                (true, true) => {
                    if let Link::Down { retry_at } = &mut state.link {
                        // It may be elsewhere now.
                        *retry_at = (*retry_at).min(self.now);
                    }
                }
                (false, true) => {
                    self.stats.evicted_members += 1;
                    self.peers[number].pace = Pace::default();
                    self.retire(number);
                }
                (false, false) => {}
            }
        }
    }

    /// Answers of members to what they were asked in seats they left concern nobody.
    fn forget_left(&mut self, changes: &[Change]) {
        let mut reads = Vec::new();
        for state in &mut self.peers {
            if !state.is_member() {
                for (_, pending) in state.pending.drain() {
                    reads.extend(piece_of(pending.ask));
                }
                continue;
            }
            for pending in state.pending.values_mut() {
                let Ask::Piece { key, serial, slot, .. } = pending.ask else { continue };
                let piece = self.pieces.get(key).filter(|piece| piece.serial == serial);
                let gone = |group| {
                    let Change { left, again, .. } = change_of(changes, group);
                    (left | again) & 1 << slot != 0
                };
                if piece.is_some_and(|piece| gone(piece.group)) {
                    reads.extend(piece_of(pending.ask));
                    pending.ask = Ask::Forgotten;
                }
            }
        }
        // In an order that does not depend on the tables'.
        reads.sort_unstable();
        for (key, serial) in reads {
            let piece = self.pieces.get(key).filter(|piece| piece.serial == serial);
            if piece.is_some_and(|piece| matches!(piece.step, Step::Reading { .. })) {
                self.ready.push_back(key);
            }
        }
        self.repairs.forget_slots();
    }

    /// Writes wait for their groups' present members.
    fn reseat_pieces(&mut self, changes: &[Change]) {
        let keys: Vec<usize> = self.pieces.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Some(piece) = self.pieces.get_mut(key) else { continue };
            let Change { left, came, again, .. } = change_of(changes, piece.group);
            let came = came | again;
            match &mut piece.step {
                Step::Queued(_) => {}
                Step::Reading { tried, corrupt, .. } => {
                    *tried &= !(left | came);
                    *corrupt &= !(left | came);
                }
                Step::Writing { pending, repair: true, .. } => {
                    *pending &= !(left | again);
                    if *pending == 0 {
                        self.finish_piece(key, Ok(()));
                    }
                }
                Step::Writing { pending, repair: false, .. } => {
                    *pending = *pending & !left | came;
                    for slot in super::write::slots(came) {
                        self.send_piece(key, slot);
                    }
                    self.settle_write(key);
                }
            }
        }
    }

    /// Whether a piece's write may be acked once all members have it.
    pub(super) fn has_enough(&self, owner: Owner, group: u32) -> bool {
        // An open's own rewrites bring the members there are into agreement; nobody is told that they are kept.
        owner == Owner::Reconcile || self.map.group(group).in_sync_count() >= self.map.min_in_sync
    }
}

fn piece_of(ask: Ask) -> Option<(usize, u64)> {
    if let Ask::Piece { key, serial, .. } = ask { Some((key, serial)) } else { None }
}

/// What a new map changed in a group.
fn change_of(changes: &[Change], group: u32) -> Change {
    let none = Change { group, left: 0, came: 0, again: 0 };
    changes.binary_search_by_key(&group, |change| change.group).map_or(none, |at| changes[at])
}
