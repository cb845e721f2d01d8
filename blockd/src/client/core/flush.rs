//! Flushes: one round at a time; those that come meanwhile share the next.
//!
//! A round asks every member that acked something since its last flush. One that leaves all its groups is
//! not waited for any more; one that fails must have left before the round can end.

use super::members::Fault;
use super::peer::{Ask, PeerState};
use super::types::Peer;
use super::{Phase, VolumeCore};
use crate::ClientError;
use crate::limits::{CORE_BUSY_WAIT, CORE_FLUSH_BYTES, CORE_FLUSH_INTERVAL};
use proto::message::RequestBody;
use proto::{ErrorCode, GroupEpoch, Version, WireError};
use rt::clock::Instant;
use std::collections::VecDeque;

/// A flush under way on every member that had something unflushed when it began.
#[derive(Debug)]
struct Round {
    /// Tells its answers from those to a round that was dropped.
    serial: u64,
    ops: Vec<usize>,
    /// In no order.
    unanswered: Vec<Peer>,
    /// Somebody had something to flush when it began.
    is_needed: bool,
    /// Settled when the round began: stable when it ends, since every member acked it before.
    through: Version,
}

#[derive(Debug, Default)]
pub(super) struct FlushState {
    round: Option<Round>,
    waiting: Vec<usize>,
    retries: VecDeque<(Instant, Peer)>,
    last_started: Instant,
    bytes: u64,
    rounds: u64,
    /// The stable horizon, and whether all groups were whole, as all members were told last.
    told: (Version, bool),
}

/// Which members a round asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// Those that acked something since their last flush.
    Dirty,
    All,
}

impl VolumeCore {
    /// A user's flush. It waits out a round that began before it, since that may not cover it.
    pub(super) fn flush_asked(&mut self, op: usize) {
        self.flush.waiting.push(op);
        if self.is_serving() && self.flush.round.is_none() {
            self.start_flush(Whom::Dirty);
        }
    }

    pub(super) fn flush_bytes_written(&mut self, bytes: u64) {
        self.flush.bytes += bytes;
        if self.flush.bytes >= CORE_FLUSH_BYTES && self.flush.round.is_none() && self.is_serving() {
            self.start_flush(Whom::Dirty);
        }
    }

    /// Starts a round for all that wait.
    pub(super) fn start_flush(&mut self, which: Whom) {
        let peers: Vec<Peer> = (0..self.peers.len())
            .filter(|&number| self.peers[number].is_member())
            .filter(|&number| which == Whom::All || self.peers[number].is_dirty())
            .map(|number| Peer(u16::try_from(number).expect("peers are numbered in 16 bits")))
            .collect();
        if which == Whom::All {
            self.flush.told = self.horizon();
        }
        self.flush.rounds += 1;
        self.flush.round = Some(Round {
            serial: self.flush.rounds,
            ops: std::mem::take(&mut self.flush.waiting),
            unanswered: peers.clone(),
            is_needed: !peers.is_empty(),
            through: self.settled.settled(),
        });
        self.flush.bytes = 0;
        self.flush.last_started = self.now;
        for &peer in &peers {
            self.send_flush(peer);
        }
        self.flush_on();
    }

    /// Sends the round's flush to a member, for the first time or again.
    pub(super) fn send_flush(&mut self, peer: Peer) {
        let Some(round) = &self.flush.round else { return };
        let (volume, through) = (self.volume, round.through);
        let (stable, whole) = if self.tells_horizons(peer) { self.horizon() } else { (Version::ZERO, false) };
        let ask = Ask::Flush { round: round.serial };
        let state = &mut self.peers[usize::from(peer.0)];
        state.flush_sent_at = state.acks;
        self.ask(peer, ask, GroupEpoch(0), RequestBody::Flush { volume, through, stable, whole });
    }

    /// What members may forget tombstones by: the stable horizon, and whether all groups are whole.
    fn horizon(&self) -> (Version, bool) {
        (self.stable, self.map.whole && !self.peers.iter().any(|peer| peer.is_faulty))
    }

    /// Whether members have yet to be told that they may forget tombstones. A round tells of the one before, and
    /// of groups that were whole then: a writer that rests would leave them full of tombstones for good.
    fn has_news(&self) -> bool {
        let all_up = self.peers.iter().all(|peer| peer.is_up() || !peer.is_member());
        let (stable, whole) = self.horizon();
        all_up && whole && self.flush.told != (stable, whole)
    }

    /// Whether a member's answer would be to the round under way.
    pub(super) fn is_flush_round(&self, serial: u64) -> bool {
        self.flush.round.as_ref().is_some_and(|round| round.serial == serial)
    }

    pub(super) fn flush_acked(&mut self, peer: Peer, round: u64) {
        if self.is_flush_round(round) {
            let through = self.flush.round.as_ref().map_or(Version::ZERO, |round| round.through);
            let state = &mut self.peers[usize::from(peer.0)];
            state.flushed = state.flushed.max(through);
            self.flush_left(peer);
            self.flush_on();
        }
    }

    /// A member has nothing more to do for the round: it is flushed, or its answer would not count.
    pub(super) fn flush_left(&mut self, peer: Peer) {
        if let Some(round) = &mut self.flush.round {
            round.unanswered.retain(|&waiting| waiting != peer);
        }
    }

    /// A member is to be asked for the round under way after all.
    pub(super) fn flush_joined(&mut self, peer: Peer) {
        let Some(round) = &mut self.flush.round else { return };
        if !round.unanswered.contains(&peer) {
            round.unanswered.push(peer);
            self.send_flush(peer);
        }
    }

    /// Ends the round if it may: everybody that is still a member is flushed, everybody that failed has left,
    /// and enough are in sync for what it covers.
    pub(super) fn flush_on(&mut self) {
        let peers = &self.peers;
        let Some(round) = &mut self.flush.round else { return };
        round.unanswered.retain(|peer| peers[usize::from(peer.0)].is_member());
        let reconciling = matches!(self.phase, Phase::Reconciling(_));
        let faulty = peers.iter().any(|peer| peer.is_faulty);
        let short = self.map.short && round.is_needed && !reconciling;
        if round.unanswered.is_empty() && !faulty && !short {
            self.flush_round_done();
        }
    }

    pub(super) fn flush_refused(&mut self, peer: Peer, round: u64, error: &WireError) {
        if !self.is_flush_round(round) {
            return;
        }
        match error.code {
            ErrorCode::Busy | ErrorCode::NoSpace => {
                self.flush.retries.push_back((self.now + CORE_BUSY_WAIT, peer));
            }
            _ => self.fail_member(peer, Fault::Broken, &format!("its flush failed: {error}")),
        }
    }

    fn flush_round_done(&mut self) {
        let Some(round) = self.flush.round.take() else { return };
        self.stable = self.stable.max(round.through);
        let stable = self.stable;
        if self.map.end_doubts(|doubt| doubt.until <= stable) {
            self.wake_readers();
        }
        let lost = if round.ops.is_empty() { None } else { self.lost_acks.take() };
        for op in round.ops {
            self.flush_done(op, lost.clone().map_or(Ok(()), Err));
        }
        if matches!(self.phase, Phase::Reconciling(_)) {
            self.reconciled();
        } else if !self.flush.waiting.is_empty() {
            self.start_flush(Whom::Dirty);
        }
    }

    /// Starts the round that waited for the volume to serve.
    pub(super) fn flush_waiting(&mut self) {
        if !self.flush.waiting.is_empty() && self.flush.round.is_none() {
            self.start_flush(Whom::Dirty);
        }
    }

    /// Drops the round when an open starts again. Whoever waited for it waits for the next.
    pub(super) fn forget_flush_round(&mut self) {
        if let Some(round) = self.flush.round.take() {
            self.flush.waiting.splice(..0, round.ops);
        }
        self.flush.retries.clear();
    }

    pub(super) fn fail_flushes(&mut self, error: &ClientError) {
        let mut ops = std::mem::take(&mut self.flush.waiting);
        ops.extend(self.flush.round.take().into_iter().flat_map(|round| round.ops));
        for op in ops {
            self.flush_done(op, Err(error.clone()));
        }
    }

    pub(super) fn tick_flush(&mut self) {
        while let Some((_, peer)) = self.flush.retries.pop_front_if(|(due, _)| *due <= self.now) {
            if self.flush.round.as_ref().is_some_and(|round| round.unanswered.contains(&peer)) {
                self.send_flush(peer);
            }
        }
        if self.background_flush_at().is_some_and(|at| at <= self.now) {
            let is_dirty = self.peers.iter().any(PeerState::is_dirty);
            self.start_flush(if is_dirty { Whom::Dirty } else { Whom::All });
        }
    }

    fn background_flush_at(&self) -> Option<Instant> {
        let idle = self.is_serving() && self.write_error.is_none() && self.flush.round.is_none();
        let wanted = || self.peers.iter().any(PeerState::is_dirty) || self.has_news() || self.map.doubtful;
        let due = idle && wanted();
        due.then(|| self.flush.last_started + CORE_FLUSH_INTERVAL)
    }

    pub(super) fn flush_deadline(&self) -> Option<Instant> {
        self.flush.retries.front().map(|(due, _)| *due).into_iter().chain(self.background_flush_at()).min()
    }
}
