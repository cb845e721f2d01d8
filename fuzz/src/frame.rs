//! Frames between a client and a chunk server.

use crate::{mode, put};
use bytes::Bytes;
use proto::checksum::crc32;
use proto::frame::{FrameHeader, HEADER_BYTES, MAGIC, WIRE_VERSION};
use proto::message::{Encoded, Request};
use proto::reply::{Reply, ReplyBody};
use proto::units::BLOCK_LEN;

/// Header and payload. With right checksums, every split of the payload into table and blocks is tried.
pub fn run(input: &[u8]) {
    let Some((fix, bytes)) = mode(input) else { return };
    let Some((header, payload)) = bytes.split_at_checked(HEADER_BYTES) else { return };
    let mut header: [u8; HEADER_BYTES] = header.try_into().expect("as long as a header");
    let payload = Bytes::copy_from_slice(payload);
    if !fix {
        return decode(&header, &payload);
    }
    for blocks in 0..=payload.len() / BLOCK_LEN {
        let table = &payload[..payload.len() - blocks * BLOCK_LEN];
        put(&mut header, 0, &MAGIC);
        header[4] = WIRE_VERSION;
        put(&mut header, 52, &u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        put(&mut header, 56, &crc32(table).to_le_bytes());
        let crc = crc32(&header[..60]);
        put(&mut header, 60, &crc.to_le_bytes());
        decode(&header, &payload);
    }
}

fn decode(bytes: &[u8; HEADER_BYTES], payload: &Bytes) {
    let Ok(header) = FrameHeader::decode(bytes) else { return };
    let again = FrameHeader::decode(&header.encode()).expect("what was encoded decodes");
    assert_eq!(again, header);
    if let Ok(request) = Request::decode(&header, payload) {
        let (header, payload) = whole(&request.encode());
        assert_eq!(Request::decode(&header, &payload).as_ref(), Ok(&request));
    }
    if let Ok(reply) = Reply::decode(&header, payload) {
        let (header, payload) = whole(&reply.encode());
        let again = Reply::decode(&header, &payload).expect("what was encoded decodes");
        match (&reply.body, &again.body) {
            // A message that is no UTF-8 is shown with other letters, and may then be too long.
            (ReplyBody::Error(error), ReplyBody::Error(again)) => assert_eq!(error.code, again.code),
            _ => assert_eq!(reply, again),
        }
    }
}

fn whole(encoded: &Encoded) -> (FrameHeader, Bytes) {
    let (header, table) = encoded.head.split_at(HEADER_BYTES);
    let mut payload = table.to_vec();
    encoded.data.iter().for_each(|data| payload.extend_from_slice(data));
    let header = FrameHeader::decode(header.try_into().expect("a header")).expect("what was encoded decodes");
    (header, payload.into())
}
