//! Frames over TCP on a reactor: what both ends of the block protocol use.
//!
//! A connection has at most one receive and one send with the kernel. Everything queued goes out in one
//! send; everything that has arrived comes in with one receive. So under load the system calls and the
//! ring's entries are per batch, not per frame.

mod listener;
mod receive;
mod send;

pub use listener::{FrameListener, OwnerTag};
pub use send::QueueFull;

use crate::clock::Instant;
use crate::limits::BUSY_QUEUED_BYTES;
use crate::net;
use crate::ring::{Completion, Fd, Op, OpId, Reactor, RecvOrder, Token};
use bytes::Bytes;
use proto::frame::{FrameError, FrameHeader};
use proto::message::Encoded;
use receive::ReceiveBuffer;
use send::SendQueue;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Kinds of operation in a connection's tokens; an owner keeps off them.
pub(crate) const CONNECT: u8 = 0xf0;
pub(crate) const RECEIVE: u8 = 0xf1;
pub(crate) const SEND: u8 = 0xf2;
const ACCEPT: u8 = 0xf3;

/// Whether a completion belongs to a connection; its token's `id` says to which.
pub fn is_connection(token: Token) -> bool {
    matches!(token.kind(), CONNECT | RECEIVE | SEND)
}

/// What a completion did to a connection.
#[derive(Debug)]
pub enum Progress {
    /// The connection that was being made stands.
    Connected,
    /// Bytes arrived; look for frames.
    Received,
    /// Queued frames left, and the queue has room.
    Sent,
    /// It is over; drop it. At the stream's end between two frames the kind is `ConnectionAborted`.
    Closed(io::Error),
}

/// One TCP connection that carries frames.
///
/// Completions reach it through its owner, by the token's id. After it has taken frames and queued some,
/// the owner calls [`pump`](Self::pump) once. Dropping it closes the socket; what is still to complete
/// then comes to nobody, and its buffers are freed.
#[derive(Debug)]
pub struct FrameConn {
    fd: Fd,
    tag: OwnerTag,
    state: State,
    received: ReceiveBuffer,
    receiving: bool,
    order: RecvOrder,
    queue: SendQueue,
    sending: bool,
}

#[derive(Debug)]
enum State {
    Connecting { id: OpId, deadline: Instant },
    Open,
}

impl FrameConn {
    /// Starts to connect. [`Progress::Connected`] or [`Progress::Closed`] follows, the latter by
    /// `deadline` if the owner calls [`on_deadline`](Self::on_deadline).
    pub fn connect(
        reactor: &mut Reactor,
        tag: OwnerTag,
        addr: SocketAddr,
        deadline: Instant,
    ) -> io::Result<Self> {
        let fd = Arc::new(net::no_delay(net::tcp_socket(&addr)?)?);
        let op = Op::Connect { fd: Fd::clone(&fd), addr };
        let id = reactor.push(tag.token(CONNECT), op).map_err(|_| ring_full())?;
        Ok(Self::new(fd, tag, State::Connecting { id, deadline }))
    }

    /// A connection that a listener accepted.
    pub fn accepted(tag: OwnerTag, socket: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(Arc::new(net::no_delay(socket)?), tag, State::Open))
    }

    fn new(fd: Fd, tag: OwnerTag, state: State) -> Self {
        Self {
            fd,
            tag,
            state,
            received: ReceiveBuffer::default(),
            receiving: false,
            order: RecvOrder::AfterPoll,
            queue: SendQueue::default(),
            sending: false,
        }
    }

    /// Queues a frame; it leaves with the next [`pump`](Self::pump).
    pub fn queue(&mut self, frame: Encoded) -> Result<(), QueueFull> {
        self.queue.push(frame)
    }

    /// Whether so much waits to be sent that the owner should take no more requests from the peer.
    pub fn is_busy(&self) -> bool {
        self.queue.len_bytes() > BUSY_QUEUED_BYTES
    }

    /// Whether something is still to be sent.
    pub fn has_queued(&self) -> bool {
        self.sending || !self.queue.is_empty()
    }

    /// The next whole frame that has arrived. After an error the stream can't be trusted: drop it.
    pub fn next_frame(&mut self) -> Result<Option<(FrameHeader, Bytes)>, FrameError> {
        if self.receiving { Ok(None) } else { self.received.next_frame() }
    }

    /// Starts what there is to start: one send of all that is queued, and one receive.
    pub fn pump(&mut self, reactor: &mut Reactor) -> io::Result<()> {
        self.pump_sends(reactor)?;
        if matches!(self.state, State::Open) && !self.receiving {
            let op = Op::Recv { fd: Fd::clone(&self.fd), buf: self.received.lend(), order: self.order };
            reactor.push(self.tag.token(RECEIVE), op).map_err(|_| ring_full())?;
            self.receiving = true;
        }
        Ok(())
    }

    /// Like [`pump`](Self::pump), but receives nothing: the peer asks more than it takes answers.
    pub fn pump_sends(&mut self, reactor: &mut Reactor) -> io::Result<()> {
        if matches!(self.state, State::Open) && !self.sending && !self.queue.is_empty() {
            let op = Op::Send { fd: Fd::clone(&self.fd), bufs: self.queue.gather() };
            reactor.push(self.tag.token(SEND), op).map_err(|_| ring_full())?;
            self.sending = true;
        }
        Ok(())
    }

    /// Takes a completion with this connection's id.
    pub fn on_completion(&mut self, completion: Completion) -> Progress {
        match (completion.op, completion.result) {
            (Op::Connect { .. }, Ok(_)) => {
                self.state = State::Open;
                Progress::Connected
            }
            (Op::Recv { buf, .. }, result) => {
                self.receiving = false;
                self.received.give_back(buf);
                match result {
                    Ok(0) if self.received.is_mid_frame() => Progress::Closed(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "closed within a frame",
                    )),
                    Ok(0) => Progress::Closed(io::Error::new(io::ErrorKind::ConnectionAborted, "closed")),
                    Ok(_) => {
                        self.order = if completion.more { RecvOrder::Now } else { RecvOrder::AfterPoll };
                        Progress::Received
                    }
                    Err(error) => Progress::Closed(error),
                }
            }
            (Op::Send { bufs, .. }, Ok(sent)) => {
                self.sending = false;
                self.queue.sent(bufs, sent as usize);
                Progress::Sent
            }
            (_, Err(error)) => Progress::Closed(error),
            (op, Ok(_)) => {
                Progress::Closed(io::Error::other(format!("an operation of another kind: {op:?}")))
            }
        }
    }

    /// When [`on_deadline`](Self::on_deadline) is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Connecting { deadline, .. } => Some(deadline),
            State::Open => None,
        }
    }

    /// Gives up connecting when the deadline has passed; `Closed` follows.
    pub fn on_deadline(&mut self, now: Instant, reactor: &mut Reactor) {
        if let State::Connecting { id, deadline } = self.state
            && now >= deadline
        {
            reactor.cancel(id);
        }
    }
}

impl Drop for FrameConn {
    fn drop(&mut self) {
        // The operations with the kernel hold the file open; this ends them.
        net::shut_down(&self.fd);
    }
}

fn ring_full() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "the reactor's backlog is full")
}

#[cfg(test)]
#[path = "framed_test.rs"]
mod tests;
