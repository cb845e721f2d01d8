//! Messages between two reactors of one process.
//!
//! It is to a [`FrameConn`](crate::framed::FrameConn) what a call is to a letter: the same order, bounds and ends,
//! without encoding, sockets and copies. A message changes hands as it is, with the buffers it points to. What is
//! queued in one turn of the writer's loop goes over at once, so that under load the locks and wake-ups are per
//! batch, as the system calls of a socket would be.

mod lane;

use crate::framed::{CONNECT, OwnerTag, Progress, QueueFull, RECEIVE, SEND};
use crate::limits::{BUSY_QUEUED_BYTES, MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES};
use crate::ring::{Completion, Notes, Reactor, Token};
use lane::{Address, Found, Lane};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// What goes over a local connection.
pub trait Message: Send + 'static {
    /// Bytes of memory it keeps from being freed, roughly: what queues are bounded by.
    fn len_bytes(&self) -> usize;
}

/// One end of a connection, which sends `Out` and receives `In`.
///
/// Completions reach it through its owner, by the token's id, as a `FrameConn`'s do. After it has taken messages and
/// queued some, the owner calls [`pump`](Self::pump) once. Dropping it ends the connection; what was pumped
/// before still arrives.
#[derive(Debug)]
pub struct LocalConn<Out: Message, In: Message> {
    out: Arc<Lane<Out>>,
    inbound: Arc<Lane<In>>,
    /// Queued and not moved into the lane.
    staged: Vec<Out>,
    received: VecDeque<In>,
    /// Memory of the last take, to swap with the lane again.
    spare: Vec<In>,
    /// Where this end is told that the other took what it sent.
    room: Address,
    arrivals: Address,
}

impl<Out: Message, In: Message> LocalConn<Out, In> {
    fn new(notes: Notes, tag: OwnerTag, out: Arc<Lane<Out>>, inbound: Arc<Lane<In>>) -> Self {
        let address = |kind| Address { notes: notes.clone(), token: tag.token(kind) };
        let arrivals = address(RECEIVE);
        inbound.set_reader(arrivals.clone());
        Self {
            out,
            inbound,
            staged: Vec::new(),
            received: VecDeque::new(),
            spare: Vec::new(),
            room: address(SEND),
            arrivals,
        }
    }

    /// Queues a message; it leaves with the next [`pump`](Self::pump).
    pub fn queue(&mut self, message: Out) -> Result<(), QueueFull> {
        let len = message.len_bytes();
        if self.staged.len() >= MAX_QUEUED_FRAMES || self.out.len_bytes() + len > MAX_QUEUED_BYTES {
            return Err(QueueFull);
        }
        self.out.add_bytes(len);
        self.staged.push(message);
        Ok(())
    }

    /// Whether so much waits to be taken that the owner should take no more requests from the peer. When that
    /// is over, [`Progress::Sent`] follows.
    pub fn is_busy(&self) -> bool {
        self.out.len_bytes() > BUSY_QUEUED_BYTES
    }

    /// Whether something is still to be moved over by a pump.
    pub fn has_queued(&self) -> bool {
        !self.staged.is_empty()
    }

    /// The next message that has arrived.
    pub fn next_message(&mut self) -> Option<In> {
        if self.received.is_empty() {
            self.inbound.take(&mut self.spare, In::len_bytes);
            self.received.extend(self.spare.drain(..));
        }
        self.received.pop_front()
    }

    /// Hands over all that is queued.
    pub fn pump(&mut self) {
        if !self.staged.is_empty() {
            self.out.put(&mut self.staged, &self.room);
        }
    }

    /// Takes a note with this connection's id.
    pub fn on_completion(&mut self, completion: &Completion) -> Progress {
        match completion.token.kind() {
            CONNECT => Progress::Connected,
            SEND => Progress::Sent,
            _ => self.arrived(),
        }
    }

    fn arrived(&mut self) -> Progress {
        if self.received.is_empty() && self.inbound.take(&mut self.spare, In::len_bytes) == Found::End {
            return Progress::Closed(io::Error::new(io::ErrorKind::ConnectionAborted, "closed"));
        }
        self.received.extend(self.spare.drain(..));
        if self.inbound.is_ended() {
            // What came before the end is taken first; then this is told of the end once more.
            self.arrivals.tell();
        }
        Progress::Received
    }
}

impl<Out: Message, In: Message> Drop for LocalConn<Out, In> {
    fn drop(&mut self) {
        self.out.end();
        self.inbound.abandon();
    }
}

/// Where local connections come in: the end that sends `Out` and receives `In`. Its own end closes the door.
#[derive(Debug)]
pub struct LocalListener<Out: Message, In: Message> {
    door: LocalDoor<Out, In>,
    notes: Notes,
}

/// What others connect through. Clones are the same door.
#[derive(Debug)]
pub struct LocalDoor<Out: Message, In: Message> {
    shared: Arc<Shared<Out, In>>,
}

#[derive(Debug)]
struct Shared<Out, In> {
    /// `None` once the listener is gone.
    waiting: Mutex<Option<VecDeque<Pair<Out, In>>>>,
    listener: Address,
}

/// The listener's lanes of a connection that it has not taken yet.
type Pair<Out, In> = (Arc<Lane<Out>>, Arc<Lane<In>>);

impl<Out: Message, In: Message> Clone for LocalDoor<Out, In> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<Out: Message, In: Message> LocalListener<Out, In> {
    /// Listens on a reactor: notes with `token` say that there is somebody to [`accept`](Self::accept).
    pub fn new(reactor: &Reactor, token: Token) -> Self {
        let notes = reactor.notes();
        let listener = Address { notes: notes.clone(), token };
        let shared = Shared { waiting: Mutex::new(Some(VecDeque::new())), listener };
        Self { door: LocalDoor { shared: Arc::new(shared) }, notes }
    }

    pub fn door(&self) -> LocalDoor<Out, In> {
        self.door.clone()
    }

    /// Takes one connection, which may have messages already. A connection that is not taken in is closed by
    /// dropping it.
    pub fn accept(&self, tag: OwnerTag) -> Option<LocalConn<Out, In>> {
        let (out, inbound) = self.door.waiting(|waiting| waiting.as_mut()?.pop_front())?;
        Some(LocalConn::new(self.notes.clone(), tag, out, inbound))
    }
}

impl<Out: Message, In: Message> Drop for LocalListener<Out, In> {
    fn drop(&mut self) {
        let waiting = self.door.waiting(Option::take);
        for (out, inbound) in waiting.into_iter().flatten() {
            out.end();
            inbound.abandon();
        }
    }
}

impl<Out: Message, In: Message> LocalDoor<Out, In> {
    /// Connects from another reactor. [`Progress::Connected`] follows there. `None`: nobody listens any more.
    pub fn connect(&self, reactor: &Reactor, tag: OwnerTag) -> Option<LocalConn<In, Out>> {
        let (out, inbound) = (Arc::new(Lane::default()), Arc::new(Lane::default()));
        let pair = (Arc::clone(&inbound), Arc::clone(&out));
        let conn = LocalConn::new(reactor.notes(), tag, out, inbound);
        self.waiting(|waiting| waiting.as_mut().map(|waiting| waiting.push_back(pair)))?;
        self.shared.listener.tell();
        reactor.notes().leave(tag.token(CONNECT));
        Some(conn)
    }

    fn waiting<R>(&self, with: impl FnOnce(&mut Option<VecDeque<Pair<Out, In>>>) -> R) -> R {
        with(&mut self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[path = "local_test.rs"]
mod tests;
