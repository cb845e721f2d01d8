//! One member disk as the writer sees it: its connection, its session, what it has not answered yet.

use super::slow::Pace;
use crate::fast_map::FastMap;
use crate::limits::{CORE_GRACE, CORE_LIVELY, CORE_RECONNECT_FIRST, CORE_RECONNECT_LAST};
use proto::message::OpenReply;
use proto::{GroupEpoch, Version};
use rt::clock::Instant;
use std::time::Duration;

/// How far the connection to a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// To be tried (again) at a moment.
    Down {
        retry_at: Instant,
    },
    Connecting,
    /// `Hello` or `Open` is unanswered.
    Greeting,
    Up,
    /// In no group (any more): not connected.
    Retired,
}

/// What an unanswered request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Hello,
    Open,
    List {
        reconcile: u64,
    },
    Flush {
        round: u64,
    },
    /// A piece's write, trim or read, for the member in `slot` of its group.
    Piece {
        key: usize,
        serial: u64,
        slot: u8,
        epoch: GroupEpoch,
    },
    /// Nobody waits for the answer any more.
    Forgotten,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub ask: Ask,
    pub sent_at: Instant,
}

/// The state of one member.
#[derive(Debug)]
pub(super) struct PeerState {
    pub link: Link,
    /// Since when it is not `Up`; kept until it is.
    pub down_since: Option<Instant>,
    /// Since when it is `Up`, while it is.
    up_since: Instant,
    retry_wait: Duration,
    /// Grows when it fails in a way that being back does not mend: it came back without what it had acked,
    /// or its disk failed. The seats it took in an earlier life are lost to it: it is not asked for anything
    /// there, and nothing is acked there, until the control plane has taken it out.
    pub life: u32,
    /// Why it began its present life.
    pub fault: String,
    /// Whether some seat of it is of an earlier life.
    pub is_faulty: bool,
    /// It lacks something that was acked since the members agreed last: it came back without it, or it was copied
    /// from one that may have.
    pub forgot: bool,
    /// Its server did not let this writer in when it was asked last.
    pub is_stranger: bool,
    /// How fast it answers.
    pub pace: Pace,
    /// When it answered anything last, and whether it was asked something only to hear from it.
    pub heard_at: Option<Instant>,
    pub is_probed: bool,
    /// Not reported again before this.
    pub report_at: Instant,
    /// From the newest `HelloReply` of a session that was opened.
    pub incarnation: Option<u64>,
    /// The newest incarnation in which it had all it should have.
    pub whole: Option<u64>,
    /// That of a session being opened.
    pub greeted: u64,
    /// What it said when it was opened last.
    pub opened: Option<OpenReply>,
    next_sequence: u64,
    pub pending: FastMap<u64, Pending>,
    /// Writes and trims acked, ever.
    pub acks: u64,
    /// `acks` when the newest flush was sent: below it all is covered by that flush.
    pub flush_sent_at: u64,
    /// Versions up to this one it has on its disk, as far as they concern it.
    pub flushed: Version,
    /// The highest sequence of an acked write or trim.
    pub acked_sequence: u64,
}

impl PeerState {
    pub fn new(now: Instant) -> Self {
        Self {
            link: Link::Down { retry_at: now },
            down_since: Some(now),
            up_since: now,
            retry_wait: CORE_RECONNECT_FIRST,
            life: 0,
            fault: String::new(),
            is_faulty: false,
            forgot: false,
            is_stranger: false,
            pace: Pace::default(),
            heard_at: None,
            is_probed: false,
            report_at: now,
            incarnation: None,
            whole: None,
            greeted: 0,
            opened: None,
            next_sequence: 1,
            pending: FastMap::default(),
            acks: 0,
            flush_sent_at: 0,
            flushed: Version::ZERO,
            acked_sequence: 0,
        }
    }

    pub fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    pub fn is_member(&self) -> bool {
        self.link != Link::Retired
    }

    /// Numbers a request and notes it as unanswered.
    pub fn ask(&mut self, ask: Ask, sent_at: Instant) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.pending.insert(sequence, Pending { ask, sent_at });
        sequence
    }

    /// Whether something it acked may still be lost by a power cut: a flush must ask it.
    pub fn is_dirty(&self) -> bool {
        self.acks > self.flush_sent_at
    }

    /// Whether a member that came back, perhaps in another life, has all it acked. That it has flushed all
    /// of it does not say so: a block that went bad since may have ended the replay of its log early.
    pub fn holds_all(&self, incarnation: u64, held_sequence: u64) -> bool {
        self.incarnation == Some(incarnation) || held_sequence >= self.acked_sequence
    }

    /// Whether it is known to have had all it had acked in this incarnation of it: it had so in that one, or later.
    pub fn was_whole(&self, incarnation: u64) -> bool {
        self.whole.is_some_and(|whole| whole >= incarnation)
    }

    /// When the oldest request that its present connection has to answer was sent.
    pub fn oldest_sent(&self) -> Option<Instant> {
        let handshake = self.link == Link::Greeting;
        let asked = |pending: &&Pending| !handshake || matches!(pending.ask, Ask::Hello | Ask::Open);
        if !matches!(self.link, Link::Up | Link::Greeting) {
            return None;
        }
        self.pending.values().filter(asked).map(|pending| pending.sent_at).min()
    }

    /// Whether it is there and answers.
    pub fn is_lively(&self, now: Instant) -> bool {
        self.is_up() && self.oldest_sent().is_none_or(|sent| sent + CORE_LIVELY > now)
    }

    /// Whether it is there for certain: it has just answered. A connection on which nothing is said may have no other
    /// end any more.
    pub fn is_heard(&self, now: Instant) -> bool {
        self.is_lively(now) && self.heard_at.is_some_and(|at| at + CORE_LIVELY > now)
    }

    /// Whether it has been there for as long as another one is waited for.
    pub fn is_settled(&self, now: Instant) -> bool {
        self.is_up() && self.up_since + CORE_GRACE <= now
    }

    /// When that will be.
    pub fn settles_at(&self, now: Instant) -> Option<Instant> {
        Some(self.up_since + CORE_GRACE).filter(|&at| self.is_up() && at > now)
    }

    /// Whether it was away for longer than it is waited for.
    pub fn is_gone(&self, now: Instant) -> bool {
        self.is_member() && self.down_since.is_some_and(|since| since + CORE_GRACE <= now)
    }

    /// When a connection is to be tried, or requests are to be looked at that are unanswered for too long.
    pub fn deadline(&self, timeout_check: Instant) -> Option<Instant> {
        match self.link {
            Link::Down { retry_at } => Some(retry_at),
            Link::Retired | Link::Connecting => None,
            Link::Greeting | Link::Up => (!self.pending.is_empty()).then_some(timeout_check),
        }
    }

    /// The connection is gone: when to try again.
    pub fn disconnected(&mut self, now: Instant) {
        self.down_since.get_or_insert(now);
        self.is_probed = false;
        self.link = Link::Down { retry_at: now + self.retry_wait };
        self.retry_wait = (self.retry_wait * 2).min(CORE_RECONNECT_LAST);
    }

    pub fn came_up(&mut self, now: Instant) {
        self.link = Link::Up;
        self.is_stranger = false;
        self.pace.came_up();
        self.up_since = now;
        self.down_since = None;
        self.retry_wait = CORE_RECONNECT_FIRST;
        self.incarnation = Some(self.greeted);
    }

    /// Its present seats are lost to it.
    pub fn fail(&mut self, why: &str) {
        self.life += 1;
        self.fault = why.to_owned();
        self.is_faulty = true;
    }
}
