//! One client's connection at a chunk server.

use crate::fast_map::FastMap;
use crate::limits::{MAX_CLOSING_TICKS, MAX_OWED_READ_BYTES};
use crate::link::Link;
use proto::frame::FrameError;
use proto::limits::MAX_REQUESTS_PER_CONNECTION;
use proto::message::{Reply, Request, RequestBody};
use rt::framed::QueueFull;

/// A connection, and what its client has asked and not been answered yet.
pub(super) struct Conn {
    pub link: Link<Reply, Request>,
    /// Bytes of each read to answer, by sequence.
    reads: FastMap<u64, usize>,
    read_bytes: usize,
    /// Send what is queued, then drop.
    pub closing: bool,
    closing_ticks: u32,
    /// In the list of those to be pumped.
    pub touched: bool,
}

impl Conn {
    pub fn new(link: Link<Reply, Request>) -> Self {
        Self {
            link,
            reads: FastMap::default(),
            read_bytes: 0,
            closing: false,
            closing_ticks: 0,
            touched: false,
        }
    }

    /// The next request; `None` when there is none, or the client must first take its answers: what it
    /// may make this server hold is bounded.
    pub fn next_request(&mut self) -> Result<Option<Request>, FrameError> {
        if self.closing || self.is_busy() {
            return Ok(None);
        }
        let Some(request) = self.link.next_message()? else { return Ok(None) };
        // A verify's answer is short, but the blocks are in memory while it is made.
        if let RequestBody::Read { range, .. } | RequestBody::Verify { range } = &request.body {
            self.read_bytes += range.len_bytes();
            if let Some(same) = self.reads.insert(request.sequence, range.len_bytes()) {
                self.read_bytes -= same;
            }
        }
        Ok(Some(request))
    }

    /// Whether the client must take answers before it is heard again.
    pub fn is_busy(&self) -> bool {
        self.link.is_busy()
            || self.read_bytes > MAX_OWED_READ_BYTES
            || self.reads.len() > MAX_REQUESTS_PER_CONNECTION
    }

    /// Called at each tick; `false` once a closing connection's client had its time to take what is left.
    pub fn lingers(&mut self) -> bool {
        self.closing_ticks += u32::from(self.closing);
        self.closing_ticks <= MAX_CLOSING_TICKS
    }

    /// Queues a reply.
    pub fn reply(&mut self, reply: Reply) -> Result<(), QueueFull> {
        if let Some(bytes) = self.reads.remove(&reply.sequence) {
            self.read_bytes -= bytes;
        }
        self.link.queue(reply)
    }
}
