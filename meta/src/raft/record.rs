//! One record of the log: a fixed header, then the entry's payload in postcard.
//!
//! ```text
//!  0 magic "ALR1"   4 body length u32   8 index u64   16 term u64   24 leader u64
//! 32 durable u64   40 committed u64   48 CRC of body u32
//! 52 CRC of bytes 0..52 and the segment's salt u32   56 body
//! ```
//! The salt is a random number in the segment's header: without it, an object's bytes inside a body could
//! pose as a record to the search that follows a damaged one.
//!
//! `durable` is one more than the last index that was flushed when this record was written (0: none). It
//! tells a torn tail, which nobody was promised, from a damaged entry that had been flushed. `committed` is
//! the same for the last index known to be committed: up to there a restart can apply without an election.

use super::{Entry, LogId, TypeConfig};
use crate::error::{ErrorKind, MetaError};
use crate::limits::MAX_RECORD_BYTES;
use openraft::{CommittedLeaderId, EntryPayload};
use proto::checksum::crc32;

const MAGIC: u32 = u32::from_le_bytes(*b"ALR1");
pub const HEADER_BYTES: usize = 56;
const CRC_AT: usize = HEADER_BYTES - 4;

/// How far the log was when a record was written; each is one more than an index, 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    pub durable: u64,
    pub committed: u64,
}

/// What a header says about its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub log_id: LogId,
    pub marks: Marks,
    pub body_bytes: usize,
    body_crc: u32,
}

impl Header {
    /// Bytes of the whole record.
    pub fn record_bytes(&self) -> usize {
        HEADER_BYTES + self.body_bytes
    }
}

/// Appends an entry's record to `out`.
pub fn encode(entry: &Entry, marks: Marks, salt: u64, out: &mut Vec<u8>) -> Result<usize, MetaError> {
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    let written = postcard::to_extend(&entry.payload, std::mem::take(out));
    *out =
        written.map_err(|e| MetaError::new(ErrorKind::Invalid, "can't encode a log entry").with_source(e))?;
    let body = &out[start + HEADER_BYTES..];
    let len = u32::try_from(body.len()).ok().filter(|&len| len as usize <= MAX_RECORD_BYTES);
    let len = len.ok_or_else(|| MetaError::new(ErrorKind::Invalid, "a log entry is too large"))?;
    let body_crc = crc32(body);
    let leader = entry.log_id.leader_id;
    let mut header = [0; HEADER_BYTES];
    header[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4..8].copy_from_slice(&len.to_le_bytes());
    header[8..16].copy_from_slice(&entry.log_id.index.to_le_bytes());
    header[16..24].copy_from_slice(&leader.term.to_le_bytes());
    header[24..32].copy_from_slice(&leader.node_id.to_le_bytes());
    header[32..40].copy_from_slice(&marks.durable.to_le_bytes());
    header[40..48].copy_from_slice(&marks.committed.to_le_bytes());
    header[48..CRC_AT].copy_from_slice(&body_crc.to_le_bytes());
    let header_crc = salted_crc(&header, salt);
    header[CRC_AT..].copy_from_slice(&header_crc.to_le_bytes());
    out[start..start + HEADER_BYTES].copy_from_slice(&header);
    Ok(out.len() - start)
}

fn salted_crc(header: &[u8; HEADER_BYTES], salt: u64) -> u32 {
    let mut salted = [0; CRC_AT + 8];
    salted[..CRC_AT].copy_from_slice(&header[..CRC_AT]);
    salted[CRC_AT..].copy_from_slice(&salt.to_le_bytes());
    crc32(&salted)
}

/// Whether a header could start here: a quick look before [`decode_header`].
pub fn may_start(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_le_bytes())
}

/// The header at the start of `bytes`, if it verifies.
pub fn decode_header(bytes: &[u8], salt: u64) -> Option<Header> {
    let header: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let long = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let body_bytes = word(4) as usize;
    if word(0) != MAGIC || body_bytes > MAX_RECORD_BYTES || word(CRC_AT) != salted_crc(header, salt) {
        return None;
    }
    let log_id = LogId::new(CommittedLeaderId::new(long(16), long(24)), long(8));
    let marks = Marks { durable: long(32), committed: long(40) };
    Some(Header { log_id, marks, body_bytes, body_crc: word(48) })
}

/// Whether `bytes` start with a whole record, and its header.
pub fn verify(bytes: &[u8], salt: u64) -> Option<Header> {
    let header = decode_header(bytes, salt)?;
    let body = bytes.get(HEADER_BYTES..header.record_bytes())?;
    (crc32(body) == header.body_crc).then_some(header)
}

/// The entry of a whole record.
pub fn decode(bytes: &[u8], salt: u64) -> Option<Entry> {
    let header = verify(bytes, salt)?;
    let payload: EntryPayload<TypeConfig> =
        postcard::from_bytes(&bytes[HEADER_BYTES..header.record_bytes()]).ok()?;
    Some(Entry { log_id: header.log_id, payload })
}

#[cfg(test)]
mod tests {
    use super::super::CommandBatch;
    use super::*;
    use crate::command::Command;
    use std::sync::Arc;

    const GOLDEN: &str = "414c5231060000002c0100000000000005000000000000000300000000000000\
        2c010000000000002b01000000000000";

    const MARKS: Marks = Marks { durable: 300, committed: 299 };
    const SALT: u64 = 0x0123_4567_89ab_cdef;

    fn entry() -> Entry {
        let command = Command::DeleteVolume { name: "v1".into() };
        let payload = EntryPayload::Normal(CommandBatch(Arc::new(vec![command])));
        Entry { log_id: LogId::new(CommittedLeaderId::new(5, 3), 300), payload }
    }

    #[test]
    fn golden_bytes_never_change() {
        let mut bytes = vec![0xee];
        let len = encode(&entry(), MARKS, SALT, &mut bytes).unwrap();
        assert_eq!(len, bytes.len() - 1);
        let record = &bytes[1..];
        assert_eq!(hex::encode(&record[..48]), GOLDEN);
        // The payload: Normal, one command, DeleteVolume, its name.
        assert_eq!(hex::encode(&record[HEADER_BYTES..]), "010104027631");
        let read = decode(record, SALT).unwrap();
        assert_eq!(read.log_id, entry().log_id);
        let EntryPayload::Normal(batch) = read.payload else { panic!("not commands") };
        assert_eq!(*batch.0, vec![Command::DeleteVolume { name: "v1".into() }]);
    }

    #[test]
    fn any_flipped_bit_or_missing_byte_is_refused() {
        let mut good = Vec::new();
        encode(&entry(), MARKS, SALT, &mut good).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&bad, SALT).is_none(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(verify(&good[..len], SALT).is_none(), "{len} bytes");
        }
        assert!(verify(&good, SALT + 1).is_none(), "another segment's record");
    }
}
