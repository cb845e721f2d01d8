//! Frames into as few sends as they fit in.

use crate::limits::{MAX_IOVECS, MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES};
use bytes::{Buf, Bytes, BytesMut};
use proto::message::Encoded;
use std::collections::VecDeque;

/// Frames on their way to the socket, bounded in count and bytes.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    frames: VecDeque<Encoded>,
    /// Bytes queued and bytes in the send that runs.
    bytes: usize,
    /// What a short send left; goes before `frames`.
    rest: Vec<Bytes>,
    /// Small pieces are copied together here: an acknowledgement is cheaper to copy than to point to.
    small: BytesMut,
}

/// Pieces of up to this many bytes are copied together.
const COPY_UP_TO: usize = 1024;
/// Memory that small pieces are copied into at a time.
const SMALL_BYTES: usize = 16 << 10;

/// The queue of frames to a peer is full: the peer does not read, or reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

impl SendQueue {
    /// Bytes that are not with the kernel's socket yet.
    pub fn len_bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.rest.is_empty()
    }

    pub fn push(&mut self, frame: Encoded) -> Result<(), QueueFull> {
        let len = frame.len_bytes();
        if self.frames.len() >= MAX_QUEUED_FRAMES || self.bytes + len > MAX_QUEUED_BYTES {
            return Err(QueueFull);
        }
        self.bytes += len;
        self.frames.push_back(frame);
        Ok(())
    }

    /// The buffers of the next send: all that is queued, or as much as one send takes.
    pub fn gather(&mut self) -> Vec<Bytes> {
        let mut bufs = std::mem::take(&mut self.rest);
        while let Some(frame) = self.frames.front() {
            // Its pieces, the small ones before them, and the small ones after them.
            if bufs.len() + frame.data.len() + 2 > MAX_IOVECS && !bufs.is_empty() {
                break;
            }
            let Some(frame) = self.frames.pop_front() else { break };
            self.add(&mut bufs, frame.head);
            frame.data.into_iter().for_each(|data| self.add(&mut bufs, data));
        }
        self.finish_small(&mut bufs);
        bufs
    }

    /// Takes back the buffers of a send that moved `sent` bytes.
    pub fn sent(&mut self, mut bufs: Vec<Bytes>, sent: usize) {
        self.bytes -= sent;
        let mut left = sent;
        let whole = bufs.iter().take_while(|buf| {
            let gone = left >= buf.len();
            left -= if gone { buf.len() } else { 0 };
            gone
        });
        let whole = whole.count();
        bufs.drain(..whole);
        if let Some(first) = bufs.first_mut() {
            first.advance(left);
        }
        self.rest = bufs;
    }

    fn add(&mut self, bufs: &mut Vec<Bytes>, piece: Bytes) {
        if piece.len() > COPY_UP_TO {
            self.finish_small(bufs);
            bufs.push(piece);
            return;
        }
        if self.small.capacity() - self.small.len() < piece.len() {
            self.finish_small(bufs);
            self.small.reserve(SMALL_BYTES);
        }
        self.small.extend_from_slice(&piece);
    }

    fn finish_small(&mut self, bufs: &mut Vec<Bytes>) {
        if !self.small.is_empty() {
            bufs.push(self.small.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(head: usize, data: &[usize]) -> Encoded {
        let piece = |len: usize| Bytes::from(vec![len.to_le_bytes()[0]; len]);
        Encoded { head: piece(head), data: data.iter().map(|&len| piece(len)).collect() }
    }

    fn flat(frames: &[Encoded]) -> Vec<u8> {
        let pieces: Vec<_> =
            frames.iter().flat_map(|f| std::iter::once(&f.head).chain(&f.data)).cloned().collect();
        pieces.concat()
    }

    #[test]
    fn whatever_the_socket_takes_all_bytes_go_out_in_order() {
        let frames: Vec<_> = (0..700).map(|i| frame(64 + i, &[4096, 10, 1025][..i % 4])).collect();
        for step in [usize::MAX, 50_000, 1_000_003] {
            let mut queue = SendQueue::default();
            frames.iter().for_each(|frame| queue.push(frame.clone()).unwrap());
            let mut seen = Vec::new();
            while !queue.is_empty() {
                let bufs = queue.gather();
                assert!(bufs.len() <= MAX_IOVECS);
                let all: Vec<u8> = bufs.concat();
                let sent = all.len().min(step);
                seen.extend_from_slice(&all[..sent]);
                queue.sent(bufs, sent);
            }
            assert!(seen == flat(&frames));
            assert_eq!(queue.len_bytes(), 0);
        }
    }

    #[test]
    fn a_full_queue_says_so() {
        let mut queue = SendQueue::default();
        (0..MAX_QUEUED_FRAMES).for_each(|_| queue.push(frame(64, &[])).unwrap());
        assert_eq!(queue.push(frame(64, &[])), Err(QueueFull));
        let mut queue = SendQueue::default();
        let big = frame(64, &[1 << 20]);
        // Each is a little longer than its data.
        let fit = (MAX_QUEUED_BYTES >> 20) - 1;
        (0..fit).for_each(|_| queue.push(big.clone()).unwrap());
        assert_eq!(queue.push(big), Err(QueueFull));
        assert_eq!(queue.gather().len(), 2 * fit);
    }
}
