//! Frames out of a stream of bytes.

use crate::limits::{MIN_RECEIVE_ROOM_BYTES, RECEIVE_BUFFER_BYTES};
use bytes::{Bytes, BytesMut};
use proto::frame::{FrameError, FrameHeader, HEADER_BYTES};

/// Bytes received and not yet taken as frames. A frame's payload is a slice of the buffer it came into,
/// so nothing is copied but the start of a frame that a buffer was too short for.
#[derive(Debug, Default)]
pub(super) struct ReceiveBuffer {
    bytes: BytesMut,
    /// The header of the frame whose payload is not all here yet.
    partial: Option<FrameHeader>,
    /// Bytes of the last frame. The next one is likely as long: a buffer of just that length ends where the
    /// frame does, and nothing of the one behind it has to be moved.
    last_len: usize,
}

impl ReceiveBuffer {
    /// The next whole frame.
    pub fn next_frame(&mut self) -> Result<Option<(FrameHeader, Bytes)>, FrameError> {
        let header = match self.partial {
            Some(header) => header,
            None => {
                let Some(bytes) = self.bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
                // This bounds the payload's length before anything is allocated for it.
                FrameHeader::decode(bytes)?
            }
        };
        let len = header.payload_len as usize;
        if self.bytes.len() < HEADER_BYTES + len {
            self.partial = Some(header);
            return Ok(None);
        }
        self.partial = None;
        self.last_len = HEADER_BYTES + len;
        let mut frame = self.bytes.split_to(HEADER_BYTES + len);
        Ok(Some((header, frame.split_off(HEADER_BYTES).freeze())))
    }

    /// Whether bytes of an unfinished frame are here.
    pub fn is_mid_frame(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Lends the buffer to a receive, with room for what is known to come.
    pub fn lend(&mut self) -> BytesMut {
        let have = self.bytes.len();
        let frame = self.partial.map_or(HEADER_BYTES, |header| HEADER_BYTES + header.payload_len as usize);
        let missing = frame.saturating_sub(have);
        if self.bytes.capacity() - have < missing.max(MIN_RECEIVE_ROOM_BYTES) {
            let wanted = missing.max(RECEIVE_BUFFER_BYTES.max(self.last_len).saturating_sub(have));
            // Takes the same memory again when all frames in it are gone, else new memory.
            if !self.bytes.try_reclaim(wanted) {
                let mut new = BytesMut::with_capacity(have + wanted);
                new.extend_from_slice(&self.bytes);
                self.bytes = new;
            }
        }
        std::mem::take(&mut self.bytes)
    }

    /// Takes the buffer back with what was received.
    pub fn give_back(&mut self, bytes: BytesMut) {
        self.bytes = bytes;
    }
}
