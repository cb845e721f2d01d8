use super::*;
use crate::checksum::crc32;
use crate::ids::{
    ChunkId, ChunkIndex, ClientId, DiskId, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId,
};
use crate::message::BlockRange;
use crate::units::BLOCK_LEN;
use proptest::prelude::*;

fn superblock() -> Superblock {
    Superblock {
        disk: DiskId([7; 16]),
        generation: 5,
        segment_blocks: 256,
        segments: 63,
        first_block: 256,
        checkpoint: Some(CheckpointRoot { id: 3, replay_from: 80, next_sequence: 90, segment: 4, block: 9 }),
        previous: Some(CheckpointRoot { id: 2, replay_from: 45, next_sequence: 50, segment: 1, block: 2 }),
        lives: vec![Life { incarnation: 8, first_sequence: 90 }, Life { incarnation: 9, first_sequence: 95 }],
    }
}

fn range() -> BlockRange {
    BlockRange { volume: VolumeId(0x0102_0304), chunk: ChunkIndex(5), first: 1022, count: 2 }
}

fn all_entries() -> Vec<Entry<'static>> {
    let (volume, version) = (VolumeId(9), Version(0x55));
    vec![
        Entry::Data { kind: DataKind::Write, range: range(), version, crcs: &[1, 2, 3, 4, 5, 6, 7, 8] },
        Entry::Data { kind: DataKind::Repair, range: range(), version, crcs: &[0; 8] },
        Entry::Data { kind: DataKind::Move, range: range(), version, crcs: &[9; 8] },
        Entry::Trim { range: range(), version },
        Entry::Lost { range: range(), version },
        Entry::Fence { volume, epoch: VolumeEpoch(7) },
        Entry::Delete { volume },
        Entry::Horizon { volume, settled: Version(3), stable: Version(2), whole: true },
        Entry::Session { client: ClientId([4; 16]), sequence: 11 },
        Entry::Group { group: GroupId(127), epoch: GroupEpoch(6) },
    ]
}

fn batch() -> Vec<u8> {
    let mut out = vec![0; BLOCK_LEN];
    let mut at = batch::HEADER_BYTES;
    for entry in all_entries() {
        at += entry.encode_to(&mut out[at..]);
    }
    let header = BatchHeader {
        disk: DiskId([7; 16]),
        incarnation: 2,
        sequence: 3,
        segment_first: 1,
        flushed: 2,
        segment: 4,
        block: 5,
        header_blocks: 1,
        data_blocks: 6,
        entries: 10,
        entries_len: u32::try_from(at - batch::HEADER_BYTES).unwrap(),
        entries_crc: crc32(&out[batch::HEADER_BYTES..at]),
    };
    header.encode_to(&mut out);
    out
}

fn commit() -> CheckpointCommit {
    CheckpointCommit {
        replay_from: 40,
        next_sequence: 90,
        parts: 12,
        heads: vec![LogHead { segment: 6, block: 7, segment_first: 33 }],
        segments: vec![(4, 10), (5, 2)],
    }
}

fn part() -> Vec<u8> {
    let mut payload = Vec::new();
    let chunk = ChunkId { volume: VolumeId(9), index: ChunkIndex(1) };
    let slot = |location| Slot { location, crc: 0xdead_beef, version: Version(8) };
    let slots = [(3, slot(300)), (4, slot(301)), (9, slot(Slot::TRIMMED))];
    checkpoint::put_chunk(&mut payload, chunk, Version(7), slots.into_iter());
    records_behind(payload)
}

/// A part of `payload` and records of the other kinds.
fn records_behind(mut payload: Vec<u8>) -> Vec<u8> {
    let records = [
        Record::Volume {
            volume: VolumeId(9),
            deleted: true,
            fence: VolumeEpoch(3),
            settled: Version(4),
            stable: Version(5),
            highest: Version(6),
            whole: true,
        },
        Record::Session { client: ClientId([4; 16]), sequence: 11, batch: 12 },
        Record::Group { group: GroupId(127), epoch: GroupEpoch(6) },
    ];
    records.iter().for_each(|record| record.encode_to(&mut payload));
    let mut out = vec![0; PartHeader::blocks_for(payload.len()) * BLOCK_LEN];
    out[checkpoint::HEADER_BYTES..][..payload.len()].copy_from_slice(&payload);
    let header = PartHeader {
        kind: PartKind::Records,
        part: 1,
        disk: DiskId([7; 16]),
        checkpoint: 2,
        segment: 3,
        block: 4,
        payload_len: u32::try_from(payload.len()).unwrap(),
        payload_crc: crc32(&payload),
    };
    header.encode_to(&mut out);
    out
}

/// Changing one of these is a new format version, not an edit.
#[test]
fn golden_bytes() {
    assert_eq!(&superblock().encode()[..16], b"ASHLARDK\x01\0\x02\0\0\0\0\0");
    assert_eq!(&batch()[..16], b"ASHBATCH\x01\0\x01\0\x06\0\0\0");
    assert_eq!(&part()[..16], b"ASHCKPNT\x02\0\x01\0\x01\0\0\0");
    let mut trim = [0; batch::ENTRY_BYTES];
    Entry::Trim { range: range(), version: Version(0x55) }.encode_to(&mut trim);
    let hex: String = trim.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, "0400fe03020000000403020100000000050000000000000055000000000000000000000000000000");
    let crcs = [
        crc32(&superblock().encode()[..4092]),
        crc32(&batch()),
        crc32(&part_of_version_1()),
        crc32(&commit().encode()),
        crc32(&part_with_runs()),
    ];
    assert_eq!(crcs, GOLDEN);
}

const GOLDEN: [u32; 5] = [1_921_336_018, 576_332_214, 3_152_775_037, 1_815_957_188, 3_268_877_237];

/// As builds before runs wrote it.
fn part_of_version_1() -> Vec<u8> {
    let mut bytes = part();
    dress(&mut bytes, checkpoint::MAGIC, 124);
    bytes
}

fn runs() -> [Run; 3] {
    let crcs = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]].concat();
    let whole = Run::new(1021, (0x0102_0304, 0x0102_0301), Version(0x55), &crcs);
    [
        Run::new(8, (900, 899), Version(0x77), &[7; 64]).part(9..24),
        whole.part(1021..1022),
        whole.part(1023..1024),
    ]
}

fn part_with_runs() -> Vec<u8> {
    let mut payload = Vec::new();
    let chunk = ChunkId { volume: VolumeId(9), index: ChunkIndex(1) };
    checkpoint::put_chunk(&mut payload, chunk, Version(0), [].into_iter());
    checkpoint::put_runs(&mut payload, chunk, &dead(), runs().into_iter());
    records_behind(payload)
}

fn dead() -> checkpoint::BlockBits {
    std::array::from_fn(|word| if word == 0 { 0x0102 << 8 } else { 0 })
}

#[test]
fn parts_of_version_1_are_read() {
    let (old, new) = (part_of_version_1(), part());
    let header = PartHeader::decode(&old).unwrap();
    assert_eq!(Ok(header), PartHeader::decode(&new));
    assert_eq!(header.check_payload(&old), header.check_payload(&new));
    let mut newer = part();
    newer[8] = 3;
    assert_eq!(PartHeader::decode(&newer), Err(DiskError::NewerFormat(3)));
}

#[test]
fn runs_round_trip_and_say_where_their_blocks_lie() {
    let bytes = part_with_runs();
    let header = PartHeader::decode(&bytes).unwrap();
    let all: Vec<_> = records(header.check_payload(&bytes).unwrap()).map(Result::unwrap).collect();
    let Record::Runs { chunk, dead: bits, runs: row } = all[1] else { panic!("{:?}", all[1]) };
    assert_eq!((chunk.index, bits), (ChunkIndex(1), dead()));
    let read: Vec<Run> = checkpoint::runs_of(row).collect();
    assert_eq!(read, runs());
    let run = read[2];
    assert_eq!((run.first(), run.end(), run.version), (1023, 1024, Version(0x55)));
    assert_eq!(
        (run.location(1023), run.batch(), run.piece()),
        (0x0102_0306, 0x0102_0301, 0x0102_0304..0x0102_0307)
    );
    let mut again = Vec::new();
    all[1].encode_to(&mut again);
    assert_eq!(records(&again).collect::<Vec<_>>(), [Ok(all[1])]);
    // A block past the chunk, past the piece, and a piece with no header in front of it.
    let at = checkpoint::RUNS_BYTES;
    for (offset, value) in [(3, 4), (2, 17), (4, 14), (6, 0), (26, 0xff), (7, 0x80)] {
        let mut bad = again.clone();
        bad[at + offset] = value;
        assert!(records(&bad).next().unwrap().is_err(), "byte {offset}");
    }
    for pair in [[runs()[1], runs()[0]], [runs()[0], runs()[0]]] {
        let mut bad = Vec::new();
        checkpoint::put_runs(&mut bad, chunk, &dead(), pair.into_iter());
        assert!(records(&bad).next().unwrap().is_err(), "{pair:?}");
    }
}

#[test]
fn a_run_vouches_for_its_own_crcs_only() {
    let crcs: Vec<u8> = (0..64).collect();
    let run = Run::new(100, (900, 899), Version(1), &crcs).part(104..106);
    assert!(run.vouches_for(&crcs));
    assert!(!run.vouches_for(&crcs[..60]) && !run.vouches_for(&crcs[16..24]) && !run.vouches_for(&[0; 64]));
}

#[test]
fn superblock_round_trips_and_notices_every_bit() {
    let bytes = superblock().encode();
    assert_eq!(Superblock::decode(&bytes), Ok(superblock()));
    for bit in 0..BLOCK_LEN * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Superblock::decode(&flipped).is_err(), "bit {bit} went unnoticed");
    }
}

/// What is mounted counts on from these.
#[test]
fn counters_that_would_overflow_are_refused() {
    for wild in [1 << 62, u64::MAX] {
        let mut all: Vec<Superblock> = (0..6).map(|_| superblock()).collect();
        all[0].generation = wild;
        all[1].lives[1].incarnation = wild;
        all[2].lives[1].first_sequence = wild;
        all[3].checkpoint.as_mut().unwrap().id = wild;
        all[4].checkpoint.as_mut().unwrap().replay_from = wild;
        all[5].previous.as_mut().unwrap().next_sequence = wild;
        all.iter().for_each(|one| assert!(Superblock::decode(&one.encode()).is_err(), "{one:?}"));
        let mut bytes = batch();
        for at in [32, 40, 48, 56] {
            let mut wild_batch = bytes.clone();
            wild_batch[at..at + 8].copy_from_slice(&wild.to_le_bytes());
            dress(&mut wild_batch, batch::MAGIC, 124);
            assert!(BatchHeader::decode(&wild_batch).is_err(), "offset {at}");
        }
        dress(&mut bytes, batch::MAGIC, 124);
        assert!(BatchHeader::decode(&bytes).is_ok());
    }
}

#[test]
fn a_newer_superblock_says_so() {
    let mut bytes = superblock().encode();
    bytes[8] = 2;
    assert_eq!(Superblock::decode(&bytes), Err(DiskError::NewerFormat(2)));
    assert_eq!(Superblock::peek_version(&bytes), Some(2));
}

#[test]
fn batch_round_trips_and_notices_every_bit() {
    let bytes = batch();
    let header = BatchHeader::decode(&bytes).unwrap();
    let body = header.check_entries(&bytes).unwrap();
    let decoded: Result<Vec<_>, _> = entries(body).collect();
    assert_eq!(decoded.unwrap(), all_entries());
    for bit in 0..BLOCK_LEN * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let seen = BatchHeader::decode(&flipped).and_then(|h| h.check_entries(&flipped).map(<[u8]>::len));
        assert!(seen.is_err(), "bit {bit} went unnoticed");
    }
}

#[test]
fn checkpoint_round_trips_and_notices_every_bit() {
    assert_eq!(CheckpointCommit::decode(&commit().encode()), Ok(commit()));
    let bytes = part();
    let header = PartHeader::decode(&bytes).unwrap();
    let all: Result<Vec<_>, _> = records(header.check_payload(&bytes).unwrap()).collect();
    let all = all.unwrap();
    let Record::Chunk { base: Version(7), runs, .. } = all[0] else { panic!("{:?}", all[0]) };
    let slots: Vec<_> = checkpoint::chunk_slots(runs).map(|(block, slot)| (block, slot.location)).collect();
    assert_eq!(slots, [(3, 300), (4, 301), (9, Slot::TRIMMED)]);
    assert!(matches!(all[1], Record::Volume { deleted: true, whole: true, .. }));
    assert!(matches!(all[2], Record::Session { sequence: 11, .. }));
    assert_eq!(all[3], Record::Group { group: GroupId(127), epoch: GroupEpoch(6) });
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let seen = PartHeader::decode(&flipped).and_then(|h| h.check_payload(&flipped).map(<[u8]>::len));
        assert!(seen.is_err(), "bit {bit} went unnoticed");
    }
}

/// Gives `bytes` a valid start and checksum, so that the checks behind those are reached.
fn dress(bytes: &mut [u8], magic: [u8; 8], crc_at: usize) {
    bytes[..8].copy_from_slice(&magic);
    bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    let crc = crc32(&bytes[..crc_at]);
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(seed in proptest::collection::vec(any::<u8>(), 1..600), sparse: bool) {
        let mut block = [0u8; BLOCK_LEN];
        if sparse {
            block[8..8 + seed.len()].copy_from_slice(&seed);
        } else {
            block.iter_mut().zip(seed.iter().cycle()).for_each(|(b, s)| *b = *s);
        }
        let mut sb = block;
        dress(&mut sb, superblock::MAGIC, BLOCK_LEN - 4);
        let _ = Superblock::decode(&sb);
        let mut b = block;
        dress(&mut b, batch::MAGIC, 124);
        if let Ok(header) = BatchHeader::decode(&b) {
            let _ = header.check_entries(&b);
        }
        let mut p = block;
        dress(&mut p, checkpoint::MAGIC, 124);
        if let Ok(header) = PartHeader::decode(&p) {
            let _ = header.check_payload(&p);
        }
        let _ = entries(&seed).count();
        let _ = records(&seed).count();
        let _ = CheckpointCommit::decode(&seed);
    }
}

/// It came after the others, whose bytes are in the golden batch.
#[test]
fn a_cleared_group_spelled_out() {
    let entry = Entry::Clear { group: GroupId(127), groups: 128, epoch: GroupEpoch(6) };
    let mut bytes = [0xff; batch::ENTRY_BYTES];
    assert_eq!(entry.encode_to(&mut bytes), bytes.len());
    let mut expected = [0; batch::ENTRY_BYTES];
    (expected[0], expected[8], expected[16], expected[24]) = (11, 127, 128, 6);
    assert_eq!(bytes, expected);
    assert_eq!(entries(&bytes).collect::<Vec<_>>(), [Ok(entry)]);
    for (at, value) in [(3, 1), (12, 1), (20, 1), (28, 1), (39, 1), (16, 127)] {
        let mut bad = bytes;
        bad[at] = value;
        assert!(entries(&bad).next().unwrap().is_err(), "byte {at}");
    }
}
