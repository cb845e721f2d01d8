//! What a chunk server's disk holds.

use crate::{mode, put};
use proto::checksum::crc32;
use proto::disk::checkpoint::{self, CheckpointCommit, PartHeader, PartKind, Record};
use proto::disk::superblock::Superblock;
use proto::disk::{BatchHeader, FORMAT_VERSION, batch, entries, records};
use proto::units::BLOCK_LEN;

const CRC_AT: usize = 124;

/// A batch's header blocks; with right checksums, lengths are made to fit as well.
pub fn batch(input: &[u8]) {
    let Some((fix, bytes)) = mode(input) else { return };
    let mut bytes = bytes.to_vec();
    if fix && bytes.len() >= batch::HEADER_BYTES {
        let entries = bytes[batch::HEADER_BYTES..].to_vec();
        let blocks = BatchHeader::blocks_for(entries.len());
        put(&mut bytes, 0, &batch::MAGIC);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 10, &u16::try_from(blocks).unwrap_or(u16::MAX).to_le_bytes());
        put(&mut bytes, 76, &u32::try_from(entries.len()).unwrap_or(u32::MAX).to_le_bytes());
        put(&mut bytes, 80, &crc32(&entries).to_le_bytes());
        put(&mut bytes, 84, &[0; 40]);
        let crc = crc32(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes.resize(blocks * BLOCK_LEN, 0);
    }
    let Ok(header) = BatchHeader::decode(&bytes) else { return };
    let mut again = [0; batch::HEADER_BYTES];
    header.encode_to(&mut again);
    assert_eq!(BatchHeader::decode(&again), Ok(header));
    if let Ok(checked) = header.check_entries(&bytes) {
        for entry in entries(checked) {
            let entry = entry.expect("checked entries decode");
            let mut out = vec![0xff; entry.len_bytes()];
            entry.encode_to(&mut out);
            assert_eq!(entries(&out).next(), Some(Ok(entry)));
        }
    }
    // As recovery reads them before their checksum is known to be right: any bytes.
    entries(&bytes[batch::HEADER_BYTES..]).for_each(drop);
}

/// A checkpoint's part, and its payload read as either kind.
pub fn checkpoint(input: &[u8]) {
    let Some((fix, bytes)) = mode(input) else { return };
    let mut bytes = bytes.to_vec();
    if fix && bytes.len() >= checkpoint::HEADER_BYTES {
        let payload = bytes[checkpoint::HEADER_BYTES..].to_vec();
        put(&mut bytes, 0, &checkpoint::MAGIC);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 48, &u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        put(&mut bytes, 52, &crc32(&payload).to_le_bytes());
        put(&mut bytes, 56, &[0; 68]);
        let crc = crc32(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes.resize(PartHeader::blocks_for(payload.len()) * BLOCK_LEN, 0);
    }
    if let Some(payload) = bytes.get(checkpoint::HEADER_BYTES..) {
        read_payload(payload);
    }
    let Ok(header) = PartHeader::decode(&bytes) else { return };
    let mut again = [0; checkpoint::HEADER_BYTES];
    header.encode_to(&mut again);
    assert_eq!(PartHeader::decode(&again), Ok(header));
    let Ok(payload) = header.check_payload(&bytes) else { return };
    match header.kind {
        PartKind::Records => read_payload(payload),
        PartKind::Commit => {
            if let Ok(commit) = CheckpointCommit::decode(payload) {
                assert_eq!(CheckpointCommit::decode(&commit.encode()), Ok(commit));
            }
        }
    }
}

fn read_payload(payload: &[u8]) {
    for record in records(payload).map_while(Result::ok) {
        let mut out = Vec::new();
        record.encode_to(&mut out);
        let again = records(&out).next().expect("one record").expect("what was encoded decodes");
        match (record, again) {
            (Record::Chunk { chunk, base, runs }, Record::Chunk { chunk: c, base: b, runs: r }) => {
                assert_eq!((chunk, base), (c, b));
                // Neighbouring runs are written as one.
                let slots = |runs| checkpoint::chunk_slots(runs).collect::<Vec<_>>();
                assert_eq!(slots(runs), slots(r));
            }
            (record, again) => assert_eq!(record, again),
        }
    }
    let _ = CheckpointCommit::decode(payload);
}

/// One copy of a superblock.
pub fn superblock(input: &[u8]) {
    let Some((fix, bytes)) = mode(input) else { return };
    let mut block = [0; BLOCK_LEN];
    let len = bytes.len().min(BLOCK_LEN);
    block[..len].copy_from_slice(&bytes[..len]);
    if fix {
        put(&mut block, 0, &proto::disk::superblock::MAGIC);
        put(&mut block, 8, &FORMAT_VERSION.to_le_bytes());
        let crc = crc32(&block[..BLOCK_LEN - 4]);
        put(&mut block, BLOCK_LEN - 4, &crc.to_le_bytes());
    }
    let _ = Superblock::peek_version(&block);
    let Ok(superblock) = Superblock::decode(&block) else { return };
    assert!(superblock.end_block() <= u64::from(u32::MAX));
    assert_eq!(Superblock::decode(&superblock.encode()), Ok(superblock));
}
