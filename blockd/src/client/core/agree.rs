//! Opening, beginning to open again, and agreeing again in the middle of a volume's service.

use super::flush::Whom;
use super::map::{GroupPeers, Seat};
use super::peer::{Ask, Link};
use super::piece::{Goal, Owner, Step, Todo};
use super::settled::Settled;
use super::types::CoreOutput;
use super::{Phase, Version, VolumeCore};
use crate::ErrorKind;
use crate::limits::CORE_GRACE;

impl VolumeCore {
    /// Goes on with an open once every member is there.
    pub(super) fn open_on(&mut self) {
        let all_up = self.peers.iter().all(|peer| peer.is_up() || !peer.is_member());
        if !matches!(self.phase, Phase::Opening) || !all_up {
            return;
        }
        if self.has_served && self.map.groups.iter().any(|group| !self.is_kept(group)) {
            let why = "every in-sync replica of some of its data lost writes that were acknowledged and not yet \
                       flushed (a power cut?): check the file system on it";
            let error = self.error(ErrorKind::Io, why);
            tracing::error!(volume = self.volume.0, %error, "writes were lost");
            self.lost_acks = Some(error);
        }
        // Whatever they forgot: from here on all have what the open makes them agree on.
        for group in &mut self.map.groups {
            group.trust(|peer| self.peers[usize::from(peer.0)].life);
        }
        self.peers.iter_mut().for_each(|peer| peer.is_faulty = false);
        self.start_reconcile();
    }

    /// Whether some in-sync member of a group kept all that was acked since all agreed last.
    fn is_kept(&self, group: &GroupPeers) -> bool {
        let whole = |seat: &Seat| seat.doubt.is_none() && !self.peers[usize::from(seat.peer.0)].forgot;
        group.in_sync().any(|(_, seat)| whole(&seat))
    }

    /// A member went away while the volume was being made to agree: what was listed may be no more.
    pub(super) fn restart_open(&mut self) {
        self.phase = Phase::Opening;
        self.forget_flush_round();
        // Users' operations have not begun, or are held.
        self.pieces.retain(|_, piece| piece.owner != Owner::Reconcile);
        self.forget_removed();
        self.busy.clear();
        self.full.clear();
        self.stale.clear();
        for state in &mut self.peers {
            // Answers to the rest still come, and are told from new ones by their serials.
            if !state.is_up() {
                state.pending.retain(|_, pending| matches!(pending.ask, Ask::Hello | Ask::Open));
            }
        }
    }

    /// No in-sync member of some group is left that did not fail: what some of them kept is taken to all, as when
    /// a volume is opened. If none of them kept all it had acked, the next flush says that writes may be lost.
    ///
    /// All connections are made anew, so that nothing of before can still arrive; what is in flight is written
    /// anew behind it, with new versions.
    pub(super) fn agree_again(&mut self) {
        tracing::error!(volume = self.volume.0, "every in-sync member failed: they are made to agree again");
        self.phase = Phase::Opening;
        self.forget_flush_round();
        self.busy.clear();
        self.full.clear();
        self.stale.clear();
        self.read_waiters.clear();
        self.begin_pieces_anew();
        self.settled = Settled::at(self.settled.last());
        for number in 0..self.peers.len() {
            let state = &mut self.peers[number];
            state.pending.clear();
            if !matches!(state.link, Link::Up | Link::Greeting | Link::Connecting) {
                continue;
            }
            let peer = super::Peer(u16::try_from(number).expect("peers are numbered in 16 bits"));
            self.out.push(CoreOutput::Disconnect(peer));
            self.peers[number].disconnected(self.now);
        }
        self.consult_at(self.now + CORE_GRACE);
    }

    /// Takes all pieces back to their beginnings, with the locks they have, to run when the volume serves.
    fn begin_pieces_anew(&mut self) {
        let mut repairs = Vec::new();
        let queued: Vec<usize> = self.ready.drain(..).collect();
        self.held.extend(queued);
        for (key, piece) in &mut self.pieces {
            let idle = Step::Reading { goal: Goal::User, tried: 0, corrupt: 0 };
            piece.tries = 0;
            piece.step = match std::mem::replace(&mut piece.step, idle) {
                queued @ Step::Queued(_) => {
                    piece.step = queued;
                    continue;
                }
                Step::Writing { body, repair: false, .. } => Step::Queued(Todo::Write(body)),
                Step::Reading { goal: Goal::Merge(edit), .. } => Step::Queued(Todo::Read(Goal::Merge(edit))),
                Step::Reading { goal: Goal::User, .. } => Step::Queued(Todo::Read(Goal::User)),
                repair @ (Step::Writing { .. } | Step::Reading { .. }) => {
                    repairs.push(key);
                    repair
                }
            };
            self.held.push(key);
        }
        repairs.into_iter().for_each(|key| self.finish_piece(key, Ok(())));
        self.repairs.forget_slots();
        self.held.sort_unstable();
        self.held.dedup();
        let pieces = &self.pieces;
        self.held.retain(|&key| pieces.contains(key));
    }

    /// All members agree, durably: serve.
    pub(super) fn reconciled(&mut self) {
        self.phase = Phase::Serving;
        // Everything of older epochs is the same and flushed everywhere; this epoch's rewrites are settled.
        self.stable = self.stable.max(Version::first_of(self.epoch));
        let again = std::mem::replace(&mut self.has_served, true);
        self.peers.iter_mut().for_each(|peer| peer.forgot = false);
        self.ready.extend(self.held.drain(..));
        if again {
            // No new epoch tells a catch-up that what its target alone has was given up: what is stable does.
            self.start_flush(Whom::All);
        } else {
            self.out.push(CoreOutput::Opened(Ok(())));
            self.flush_waiting();
        }
    }

    /// The last step of an open: what was found is made durable everywhere.
    pub(super) fn flush_agreed(&mut self) {
        self.start_flush(Whom::All);
    }
}
