//! What goes into a replica and what comes out.

use crate::store::IoId;
use proto::control::PoolToken;
use proto::message::{Reply, Request};
use rt::buf::{AlignedBuf, Gather};
use std::io;

/// A client's connection, as the driver numbers them; a number is not used again while the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId(pub u64);

/// What a replica is made with, beside its store.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    pub token: PoolToken,
}

/// An event for a replica. As with the store, a driver gives all it has to
/// `Replica::submit` and then calls `pump` once, so that many writes share a batch.
#[derive(Debug)]
pub enum ReplicaInput {
    Connected(ConnId),
    /// A well-formed request, in the order it came on its connection.
    Request(ConnId, Request),
    /// The connection is gone; nothing sent to it matters any more.
    Closed(ConnId),
    /// As [`crate::store::Event::DiskDone`].
    DiskDone {
        io: IoId,
        buf: Option<AlignedBuf>,
        result: io::Result<()>,
    },
    /// Time has passed: due every [`crate::store::limits::TICK_INTERVAL`] or so.
    Tick,
    /// Checkpoint and end: [`ReplicaOutput::Stopped`] follows. Requests after it get errors.
    Stop,
}

/// What a driver does for a replica, in order.
#[derive(Debug)]
pub enum ReplicaOutput {
    Send(ConnId, Reply),
    /// Send what is queued and close. No `Closed` is due for it, and nothing of it may be delivered any more.
    Close(ConnId),
    /// As [`crate::store::Action::DiskRead`].
    DiskRead {
        io: IoId,
        offset: u64,
        buf: AlignedBuf,
    },
    /// As [`crate::store::Action::DiskWrite`].
    DiskWrite {
        io: IoId,
        offset: u64,
        buf: Gather,
    },
    /// As [`crate::store::Action::DiskFlush`].
    DiskFlush {
        io: IoId,
    },
    /// The store's last checkpoint is durable: the server may end.
    Stopped,
}
