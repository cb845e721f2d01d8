//! A connection between a writer and a chunk server: frames over TCP, or messages within one process.
//!
//! Both carry the same typed requests and replies in the same order, with the same bounds and ends; the cores on
//! either side don't know which it is. Within a process nothing is encoded or copied, and nothing checks again
//! what this program made itself a moment ago: the CRC of each block goes with it all the same, and the store
//! checks it against what it writes, the writer against what it reads.

use bytes::Bytes;
use proto::frame::{FrameError, FrameHeader};
use proto::message::{Encoded, Reply, ReplyBody, Request, RequestBody};
use rt::clock::Instant;
use rt::framed::{FrameConn, Progress, QueueFull};
use rt::local::{LocalConn, LocalDoor, LocalListener, Message};
use rt::ring::{Completion, Reactor};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex, PoisonError};

/// What has a frame.
pub(crate) trait Framed: Sized {
    fn encode(&self) -> Encoded;
    fn decode(header: &FrameHeader, payload: &Bytes) -> Result<Self, FrameError>;
}

impl Framed for Request {
    fn encode(&self) -> Encoded {
        self.encode()
    }

    fn decode(header: &FrameHeader, payload: &Bytes) -> Result<Self, FrameError> {
        Self::decode(header, payload)
    }
}

impl Framed for Reply {
    fn encode(&self) -> Encoded {
        self.encode()
    }

    fn decode(header: &FrameHeader, payload: &Bytes) -> Result<Self, FrameError> {
        Self::decode(header, payload)
    }
}

/// What crosses within the process: requests and replies, which belong to other crates.
#[derive(Debug)]
pub(crate) struct Carried<T>(T);

impl Message for Carried<Request> {
    fn len_bytes(&self) -> usize {
        let data = match &self.0.body {
            RequestBody::Write { data, .. } | RequestBody::CopyIn { data, .. } => data.len(),
            _ => 0,
        };
        size_of::<Request>() + data
    }
}

impl Message for Carried<Reply> {
    fn len_bytes(&self) -> usize {
        let held = match &self.0.body {
            ReplyBody::Read { blocks, data, .. } => {
                size_of_val(&blocks[..]) + data.iter().map(Bytes::len).sum::<usize>()
            }
            ReplyBody::Verify { blocks, .. } => size_of_val(&blocks[..]),
            ReplyBody::List { entries, .. } => size_of_val(&entries[..]),
            ReplyBody::Volumes { volumes, .. } => size_of_val(&volumes[..]),
            ReplyBody::Digests { chunks, .. } => size_of_val(&chunks[..]),
            _ => 0,
        };
        size_of::<Reply>() + held
    }
}

/// One end, which sends `Out` and receives `In`. See [`FrameConn`] for how it is driven.
pub(crate) enum Link<Out, In>
where
    Carried<Out>: Message,
    Carried<In>: Message,
{
    Tcp(FrameConn),
    Local(LocalConn<Carried<Out>, Carried<In>>),
}

impl<Out: Framed, In: Framed> Link<Out, In>
where
    Carried<Out>: Message,
    Carried<In>: Message,
{
    pub fn queue(&mut self, message: Out) -> Result<(), QueueFull> {
        match self {
            Self::Tcp(frames) => frames.queue(message.encode()),
            Self::Local(local) => local.queue(Carried(message)),
        }
    }

    /// The next message that has arrived. After an error the peer can't be trusted: drop the link.
    pub fn next_message(&mut self) -> Result<Option<In>, FrameError> {
        match self {
            Self::Tcp(frames) => match frames.next_frame()? {
                Some((header, payload)) => In::decode(&header, &payload).map(Some),
                None => Ok(None),
            },
            Self::Local(local) => Ok(local.next_message().map(|carried| carried.0)),
        }
    }

    pub fn is_busy(&self) -> bool {
        match self {
            Self::Tcp(frames) => frames.is_busy(),
            Self::Local(local) => local.is_busy(),
        }
    }

    pub fn has_queued(&self) -> bool {
        match self {
            Self::Tcp(frames) => frames.has_queued(),
            Self::Local(local) => local.has_queued(),
        }
    }

    pub fn pump(&mut self, reactor: &mut Reactor) -> io::Result<()> {
        match self {
            Self::Tcp(frames) => frames.pump(reactor),
            Self::Local(local) => {
                local.pump();
                Ok(())
            }
        }
    }

    /// Like [`pump`](Self::pump), but receives nothing more.
    pub fn pump_sends(&mut self, reactor: &mut Reactor) -> io::Result<()> {
        match self {
            Self::Tcp(frames) => frames.pump_sends(reactor),
            Self::Local(local) => {
                local.pump();
                Ok(())
            }
        }
    }

    pub fn on_completion(&mut self, completion: Completion) -> Progress {
        match self {
            Self::Tcp(frames) => frames.on_completion(completion),
            Self::Local(local) => local.on_completion(&completion),
        }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        match self {
            Self::Tcp(frames) => frames.next_deadline(),
            Self::Local(_) => None,
        }
    }

    pub fn on_deadline(&mut self, now: Instant, reactor: &mut Reactor) {
        match self {
            Self::Tcp(frames) => frames.on_deadline(now, reactor),
            Self::Local(_) => {}
        }
    }
}

/// Where a chunk server's writers of this process come in.
pub(crate) type Listener = LocalListener<Carried<Reply>, Carried<Request>>;
type Door = LocalDoor<Carried<Reply>, Carried<Request>>;

/// The chunk servers of this process, by the address at which they listen for everybody else. It is the
/// process's, as its sockets are: who has an address finds its door here as it would find its port in the kernel.
static DOORS: LazyLock<Mutex<HashMap<SocketAddr, Door>>> = LazyLock::new(Mutex::default);

fn doors<R>(with: impl FnOnce(&mut HashMap<SocketAddr, Door>) -> R) -> R {
    with(&mut DOORS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A listener whose door is open at an address until this is dropped.
pub(crate) struct OpenDoor {
    addr: SocketAddr,
    listener: Listener,
}

impl OpenDoor {
    /// Opens a door at an address whose port this process has.
    pub fn open(addr: SocketAddr, listener: Listener) -> Self {
        doors(|doors| doors.insert(addr, listener.door()));
        Self { addr, listener }
    }

    pub fn listener(&self) -> &Listener {
        &self.listener
    }
}

impl Drop for OpenDoor {
    fn drop(&mut self) {
        doors(|doors| doors.remove(&self.addr));
    }
}

/// The door of the chunk server that listens at `addr`, if it is of this process.
pub(crate) fn door(addr: SocketAddr) -> Option<Door> {
    doors(|doors| doors.get(&addr).cloned())
}
