//! The writer's side for one volume, pure.
//!
//! A [`VolumeCore`] is given the right to write (a lease), opens every member of the volume's groups,
//! makes them agree ([`reconcile`]), and then turns operations into *pieces* ([`piece`]): a piece lies in
//! one chunk and is one request to each in-sync member (a write) or to one of them (a read).
//!
//! - A write is acked when every in-sync member has acked it. Versions decide between overlapping writes,
//!   so they need no order; parts of blocks are read, changed and written under a [`locks`] claim.
//! - A flush covers what was acked before it, on the members that have something unflushed.
//! - Members that are gone are waited for; those that stay away, or fail, are reported to the control plane,
//!   and what waits goes on with the members that its new map names ([`members`]). Users see a stall.
//! - If no member kept what it had acked, all are made to agree again, and one flush fails ([`agree`]).

mod agree;
mod flush;
mod link;
mod locks;
mod map;
mod members;
mod ops;
mod peer;
mod piece;
mod read;
mod reconcile;
mod repair;
mod settled;
mod slow;
mod types;
mod write;

pub use types::{Complaint, CoreInput, CoreOutput, CoreStats, Peer};

use crate::client::{OnFull, VolumeConfig};
use crate::limits::{CORE_GRACE, CORE_OPEN_TIMEOUT, CORE_PAUSE};
use crate::{ClientError, ErrorKind};
use flush::FlushState;
use locks::Locks;
use map::Map;
use members::{Control, Stale};
use ops::Op;
use peer::{Ask, PeerState};
use piece::{Owner, Piece};
use proto::control::PoolToken;
use proto::message::{Request, RequestBody};
use proto::{ClientId, GroupEpoch, Version, VolumeEpoch, VolumeId};
use reconcile::Reconcile;
use repair::Repairs;
use rt::clock::Instant;
use settled::Settled;
use slab::Slab;
use std::collections::VecDeque;

/// What the core is at.
#[derive(Debug)]
enum Phase {
    New,
    /// Some member is not open yet.
    Opening,
    /// All are, and are made to agree.
    Reconciling(Reconcile),
    Serving,
    /// For good.
    Failed(ClientError),
}

/// Something to send again, to one member.
#[derive(Debug, Clone, Copy)]
struct Retry {
    due: Instant,
    key: usize,
    serial: u64,
    slot: u8,
}

/// The writer of one volume.
#[derive(Debug)]
pub struct VolumeCore {
    volume: VolumeId,
    epoch: VolumeEpoch,
    size_bytes: u64,
    token: PoolToken,
    /// Names this writer's sessions for this volume: held sequences are kept by client, and the numbers
    /// of two volumes of one process must not mix.
    session: ClientId,
    on_full: OnFull,
    map: Map,
    /// By [`Peer`].
    peers: Vec<PeerState>,
    phase: Phase,
    open_deadline: Instant,
    /// The open has succeeded.
    has_served: bool,
    control: Control,
    stale: Vec<Stale>,
    ops: Slab<Op>,
    pieces: Slab<Piece>,
    next_serial: u64,
    locks: Locks,
    /// Pieces that can go on now.
    ready: VecDeque<usize>,
    writes: ops::Window,
    others: ops::Window,
    /// Reading pieces that wait for a member to come back or leave.
    read_waiters: Vec<usize>,
    /// Users' pieces that wait until the members agree again.
    held: Vec<usize>,
    /// What the next flush is told instead of success.
    lost_acks: Option<ClientError>,
    settled: Settled,
    stable: Version,
    flush: FlushState,
    /// Both in the order they are due.
    busy: VecDeque<Retry>,
    full: VecDeque<Retry>,
    parked: usize,
    repairs: Repairs,
    /// When the members' pace is judged next.
    pace_due: Option<Instant>,
    /// Why nothing can be written any more.
    write_error: Option<ClientError>,
    data_bytes: usize,
    next_timeout_check: Instant,
    stats: CoreStats,
    now: Instant,
    out: Vec<CoreOutput>,
}

impl VolumeCore {
    /// A core that starts with its first [`CoreInput::Tick`]. Fails if the lease's map is broken or has a
    /// group without an in-sync member.
    pub fn new(config: VolumeConfig) -> Result<Self, ClientError> {
        let VolumeConfig { lease, token, client, on_full, control: _ } = config;
        let map = Map::of(&lease)?;
        let mut session = client;
        for (byte, volume) in session.0[8..].iter_mut().zip(lease.volume.0.to_le_bytes()) {
            *byte ^= volume;
        }
        let first = Version::first_of(lease.epoch);
        Ok(Self {
            volume: lease.volume,
            epoch: lease.epoch,
            size_bytes: lease.size_bytes,
            token,
            session,
            on_full,
            peers: map.places.iter().map(|_| PeerState::new(Instant(0))).collect(),
            map,
            phase: Phase::New,
            open_deadline: Instant(0),
            has_served: false,
            control: Control::default(),
            stale: Vec::new(),
            ops: Slab::new(),
            pieces: Slab::new(),
            next_serial: 0,
            locks: Locks::default(),
            ready: VecDeque::new(),
            writes: ops::Window::default(),
            others: ops::Window::default(),
            read_waiters: Vec::new(),
            held: Vec::new(),
            lost_acks: None,
            settled: Settled::at(first),
            stable: Version::ZERO,
            flush: FlushState::default(),
            busy: VecDeque::new(),
            full: VecDeque::new(),
            parked: 0,
            repairs: Repairs::default(),
            pace_due: None,
            write_error: None,
            data_bytes: 0,
            next_timeout_check: Instant(0),
            stats: CoreStats::default(),
            now: Instant(0),
            out: Vec::new(),
        })
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub fn stats(&self) -> CoreStats {
        let members_away = self.peers.iter().filter(|peer| peer.is_member() && !peer.is_up()).count();
        CoreStats { operations: self.ops.len(), members_away, map_version: self.map.version, ..self.stats }
    }

    /// The volume was made larger. It never gets smaller while it is open.
    pub fn set_size(&mut self, size_bytes: u64) {
        self.size_bytes = self.size_bytes.max(size_bytes);
    }

    /// Takes one event; what is to be done about it is added to `out`.
    pub fn step(&mut self, now: Instant, input: CoreInput, out: &mut Vec<CoreOutput>) {
        // Asked only now and then, so that it costs nothing.
        if now.since(self.now) > CORE_PAUSE
            && self.next_deadline().is_some_and(|due| now.since(due.max(self.now)) > CORE_PAUSE)
        {
            self.was_stopped(now);
        }
        self.now = now;
        std::mem::swap(&mut self.out, out);
        match input {
            CoreInput::Submit { id, op } => self.submit(id, op),
            CoreInput::Connected(peer) => self.on_connected(peer),
            CoreInput::Disconnected(peer) => self.on_disconnected(peer),
            CoreInput::Reply(peer, reply) => self.on_reply(peer, reply),
            CoreInput::Map(map) => self.on_map(&map),
            CoreInput::NoMap => self.on_no_map(),
            CoreInput::Tick => self.on_tick(),
        }
        self.pump();
        self.consult();
        std::mem::swap(&mut self.out, out);
    }

    /// When the core wants its next [`CoreInput::Tick`].
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::New => return Some(self.now),
            Phase::Failed(_) => return None,
            Phase::Opening | Phase::Reconciling(_) | Phase::Serving => {}
        }
        let open = (!self.has_served).then_some(self.open_deadline);
        let retries = [self.busy.front(), self.full.front()].into_iter().flatten().map(|retry| retry.due);
        let links = self.peers.iter().filter_map(|peer| peer.deadline(self.next_timeout_check));
        let flush = self.flush_deadline();
        let (control, pace) = (self.consult_deadline(), self.pace_deadline());
        open.into_iter().chain(retries).chain(links).chain(flush).chain(control).chain(pace).min()
    }

    fn on_tick(&mut self) {
        if matches!(self.phase, Phase::New) {
            self.phase = Phase::Opening;
            self.open_deadline = self.now + CORE_OPEN_TIMEOUT;
            for peer in &mut self.peers {
                *peer = PeerState::new(self.now);
            }
            self.consult_at(self.now + CORE_GRACE);
        }
        self.tick_links();
        self.tick_retries();
        self.tick_flush();
        self.tick_pace();
    }

    /// Runs whatever can go on, until nothing can.
    fn pump(&mut self) {
        loop {
            if let Some(key) = self.ready.pop_front() {
                self.run_piece(key);
            } else if !self.admit() && !self.start_repairs() {
                break;
            }
        }
    }

    fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Serving)
    }

    /// Notes a request and, if the member can take it now, sends it; else it is sent when it comes back.
    fn ask(&mut self, peer: Peer, ask: Ask, group_epoch: GroupEpoch, body: RequestBody) {
        let state = &mut self.peers[usize::from(peer.0)];
        let sequence = state.ask(ask, self.now);
        let state = &self.peers[usize::from(peer.0)];
        if state.is_up() || matches!(ask, Ask::Hello | Ask::Open) {
            // Until the members agree, nothing of older epochs may be called settled.
            let settled = if self.tells_horizons(peer) { self.settled.settled() } else { Version::ZERO };
            let request = Request { sequence, settled, group_epoch, body };
            self.out.push(CoreOutput::Send(peer, request));
        }
    }

    /// Whether a member may be told what is settled and stable: a volume's horizons are not true of a member
    /// that is catching up, or out, in some of its groups.
    fn tells_horizons(&self, peer: Peer) -> bool {
        let number = usize::from(peer.0);
        self.is_serving() && !self.map.behind[number] && !self.peers[number].is_faulty
    }

    /// Sends a piece's request to the member in `slot`, unless it has failed: then it is to leave.
    fn send_piece(&mut self, key: usize, slot: u8) {
        let piece = &self.pieces[key];
        let group = self.map.group(piece.group);
        let Some(seat) = group.seat(slot).filter(|&seat| self.trusts(seat)) else { return };
        let peer = seat.peer;
        let body = piece.request(self.volume, self.epoch);
        let epoch = group.epoch;
        let ask = Ask::Piece { key, serial: piece.serial, slot, epoch };
        self.ask(peer, ask, epoch, body);
    }

    fn tick_retries(&mut self) {
        while let Some(retry) = self.busy.pop_front_if(|retry| retry.due <= self.now) {
            self.retry(retry);
        }
        while let Some(retry) = self.full.pop_front_if(|retry| retry.due <= self.now) {
            self.retry(retry);
        }
    }

    fn retry(&mut self, retry: Retry) {
        let piece = self.pieces.get(retry.key).filter(|piece| piece.serial == retry.serial);
        if piece.is_some_and(|piece| piece.waits_for(retry.slot)) {
            self.send_piece(retry.key, retry.slot);
        }
    }

    /// Nothing can be written any more, and why: every write and flush, in progress or to come, fails.
    fn fail_writes(&mut self, error: ClientError) {
        if self.write_error.is_some() {
            return;
        }
        tracing::error!(volume = self.volume.0, %error, "the volume can't be written any more");
        self.write_error = Some(error.clone());
        let keys: Vec<usize> =
            self.pieces.iter().filter(|(_, piece)| piece.is_write()).map(|(key, _)| key).collect();
        // Only writes take locks, so all of them go at once, and nobody's turn comes.
        self.locks.clear();
        for key in keys {
            // The end of one may be the end of all: an open that can't write fails as a whole.
            let Some(piece) = self.pieces.get_mut(key) else { return };
            piece.locked = false;
            self.finish_piece(key, Err(error.clone()));
        }
        self.forget_removed();
        self.repairs = Repairs::default();
        self.fail_stalled_writes(&error);
        self.fail_flushes(&error);
    }

    /// The volume is of no more use to this writer: everything fails.
    fn fail(&mut self, error: ClientError) {
        let before = std::mem::replace(&mut self.phase, Phase::Failed(error.clone()));
        match before {
            Phase::Failed(first) => {
                self.phase = Phase::Failed(first);
                return;
            }
            Phase::New | Phase::Opening | Phase::Reconciling(_) if !self.has_served => {
                self.out.push(CoreOutput::Opened(Err(error.clone())));
            }
            Phase::New | Phase::Opening | Phase::Reconciling(_) | Phase::Serving => {}
        }
        self.pieces.clear();
        self.ready.clear();
        self.read_waiters.clear();
        self.held.clear();
        self.stale.clear();
        self.locks.clear();
        self.busy.clear();
        self.full.clear();
        self.writes.clear();
        self.others.clear();
        self.flush = FlushState::default();
        self.repairs = Repairs::default();
        for op in std::mem::take(&mut self.ops) {
            self.out.push(CoreOutput::Complete { id: op.1.id, result: Err(error.clone()) });
        }
        self.data_bytes = 0;
        for number in 0..self.peers.len() {
            self.peers[number].pending.clear();
            self.retire(number);
        }
    }

    /// Ends a piece: gives its lock to the next, and tells its owner.
    fn finish_piece(&mut self, key: usize, result: Result<(), ClientError>) {
        let piece = self.pieces.remove(key);
        self.unlock(&piece);
        match piece.owner {
            Owner::Op(op) => self.piece_of_op_done(op, piece.count, result),
            Owner::Parked => self.parked -= 1,
            Owner::Repair => self.repairs.active -= 1,
            Owner::Reconcile => self.reconcile_piece_done(result),
        }
    }

    /// Takes the keys of removed pieces out of the queues, before a key is used again.
    fn forget_removed(&mut self) {
        let pieces = &self.pieces;
        self.ready.retain(|&key| pieces.contains(key));
        self.read_waiters.retain(|&key| pieces.contains(key));
        self.held.retain(|&key| pieces.contains(key));
    }

    fn unlock(&mut self, piece: &Piece) {
        if let (true, Some(claim)) = (piece.locked, piece.claim()) {
            self.locks.release(claim, &mut self.ready);
        }
    }

    fn error(&self, kind: ErrorKind, why: impl std::fmt::Display) -> ClientError {
        ClientError::new(kind, format!("volume {}: {why}", self.volume))
    }
}

#[cfg(test)]
#[path = "doubt_test.rs"]
mod doubt_tests;
#[cfg(test)]
#[path = "full_test.rs"]
mod full_tests;
#[cfg(test)]
#[path = "members_test.rs"]
mod members_tests;
#[cfg(test)]
#[path = "random_test.rs"]
mod random_tests;
#[cfg(test)]
#[path = "rig_test.rs"]
mod rig;
#[cfg(test)]
#[path = "slow_test.rs"]
mod slow_tests;
#[cfg(test)]
#[path = "core_test.rs"]
mod tests;
