use super::*;
use crate::checksum::crc32;
use crate::error::{ErrorCode, WireError};
use proptest::prelude::*;

fn range() -> BlockRange {
    BlockRange { volume: VolumeId(9), chunk: ChunkIndex(3), first: 1020, count: 4 }
}

fn request(body: RequestBody) -> Request {
    Request { sequence: 77, settled: Version(5), group_epoch: GroupEpoch(2), body }
}

fn requests() -> Vec<Request> {
    let data = Bytes::from(vec![7u8; 4 * BLOCK_LEN]);
    let crcs = BlockCrcs::of(&data);
    let (volume, epoch, client) = (VolumeId(9), VolumeEpoch(4), ClientId([1; 16]));
    [
        RequestBody::Hello { token: [3; 32], client, disk: DiskId([2; 16]) },
        RequestBody::Open { volume, epoch, client, mode: OpenMode::Writer, groups: 128 },
        RequestBody::Open { volume, epoch, client, mode: OpenMode::Reader, groups: 128 },
        RequestBody::List { volume, above: Version(1), cursor: 6 },
        RequestBody::Write { range: range(), version: Version(8), crcs, data, kind: WriteKind::Repair },
        RequestBody::Trim { range: range(), version: Version(8), kind: WriteKind::Normal },
        RequestBody::Flush { volume, through: Version(8), stable: Version(7), whole: false },
        RequestBody::Read { range: range(), epoch },
        RequestBody::DeleteVolume { volume, epoch },
        RequestBody::VolumeStat { volume },
        RequestBody::DiskStat,
    ]
    .into_iter()
    .map(request)
    .collect()
}

/// What catch-up and scrub ask.
fn upkeep() -> Vec<Request> {
    let data = Bytes::from(vec![7u8; 4 * BLOCK_LEN]);
    let crcs = BlockCrcs::of(&data);
    let (volume, client, group) = (VolumeId(9), ClientId([1; 16]), GroupId(5));
    let kind = WriteKind::Reconcile;
    [
        RequestBody::Open { volume, epoch: VolumeEpoch(0), client, mode: OpenMode::Repair, groups: 128 },
        RequestBody::Flush { volume, through: Version(8), stable: Version(7), whole: true },
        RequestBody::AdoptGroup { group },
        RequestBody::Volumes { cursor: 6 },
        RequestBody::Digests { volume, group, groups: 128, cursor: 6 },
        RequestBody::ListChunk { volume, chunk: ChunkIndex(3) },
        RequestBody::CopyIn {
            range: range(),
            version: Version(8),
            expect: None,
            crcs: crcs.clone(),
            data: data.clone(),
        },
        RequestBody::CopyIn {
            range: range(),
            version: Version(8),
            expect: Some(Version(7)),
            crcs: crcs.clone(),
            data: data.clone(),
        },
        RequestBody::CopyTrim { range: range(), version: Version(8) },
        RequestBody::Fence { volume, epoch: VolumeEpoch(4) },
        RequestBody::Verify { range: range() },
        RequestBody::ClearGroup { group, groups: 128 },
        RequestBody::Write { range: range(), version: Version(8), crcs, data, kind },
        RequestBody::Trim { range: range(), version: Version(8), kind },
    ]
    .into_iter()
    .map(request)
    .collect()
}

fn upkeep_replies() -> Vec<Reply> {
    let state = |volume, deleted| VolumeState { volume: VolumeId(volume), fence: VolumeEpoch(3), deleted };
    let block = ReadBlock { version: Version(8), crc: 1, state: BlockState::Corrupt };
    [
        ReplyBody::Volumes { volumes: vec![state(1, false), state(2, true)], next: 3 },
        ReplyBody::Digests { chunks: vec![(ChunkIndex(1), u64::MAX), (ChunkIndex(7), 2)], next: LIST_END },
        ReplyBody::Verify { range: range(), blocks: vec![block; 4] },
    ]
    .into_iter()
    .map(|body| Reply { sequence: 77, body })
    .collect()
}

fn replies() -> Vec<Reply> {
    let block = |state| ReadBlock { version: Version(8), crc: 1, state };
    let blocks = vec![
        block(BlockState::Data),
        block(BlockState::Hole),
        block(BlockState::Corrupt),
        block(BlockState::Trimmed),
    ];
    let entry =
        ListEntry { chunk: ChunkIndex(1), first: 2, count: 3, version: Version(4), kind: ListKind::Trimmed };
    [
        ReplyBody::Hello(HelloReply { disk: DiskId([2; 16]), incarnation: 3, capacity_bytes: 4 }),
        ReplyBody::Open(OpenReply {
            volume: VolumeId(9),
            settled: Version(1),
            stable: Version(2),
            highest: Version(3),
            held_sequence: 4,
            fence: VolumeEpoch(5),
        }),
        ReplyBody::List { entries: vec![entry, entry], next_cursor: LIST_END },
        ReplyBody::Ack,
        ReplyBody::Read { range: range(), blocks, data: vec![Bytes::from(vec![1u8; BLOCK_LEN])] },
        ReplyBody::VolumeStat(VolumeStat { live_blocks: 1, chunks: 2 }),
        ReplyBody::DiskStat(DiskStat { capacity_bytes: 1, index_bytes: 9, ..DiskStat::default() }),
        ReplyBody::Error(WireError::new(ErrorCode::NoSpace, "the disk is full")),
    ]
    .into_iter()
    .map(|body| Reply { sequence: 77, body })
    .collect()
}

fn split(encoded: &Encoded) -> (FrameHeader, Bytes) {
    let header = FrameHeader::decode(encoded.head[..HEADER_BYTES].try_into().unwrap()).unwrap();
    let mut payload = encoded.head[HEADER_BYTES..].to_vec();
    encoded.data.iter().for_each(|data| payload.extend_from_slice(data));
    (header, payload.into())
}

#[test]
fn requests_round_trip() {
    for request in requests().into_iter().chain(upkeep()) {
        let (header, payload) = split(&request.encode());
        assert_eq!(Request::decode(&header, &payload), Ok(request));
    }
}

#[test]
fn replies_round_trip() {
    for reply in replies().into_iter().chain(upkeep_replies()) {
        let (header, payload) = split(&reply.encode());
        assert_eq!(Reply::decode(&header, &payload), Ok(reply));
    }
}

fn encoded_upkeep() -> Vec<Encoded> {
    upkeep().iter().map(Request::encode).chain(upkeep_replies().iter().map(Reply::encode)).collect()
}

fn crc_of(encoded: impl Iterator<Item = Encoded>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for frame in encoded {
        hasher.update(&frame.head);
        frame.data.iter().for_each(|data| hasher.update(data));
    }
    hasher.finalize()
}

#[test]
fn golden_frames() {
    let first = crc_of(requests().iter().map(Request::encode).chain(replies().iter().map(Reply::encode)));
    assert_eq!(first, GOLDEN, "a frame's bytes changed: that is a new wire version, not an edit");
    let one = |encoded: Encoded| (encoded.head[5], u32_at(&encoded.head, 60));
    assert_eq!(encoded_upkeep().into_iter().map(one).collect::<Vec<_>>(), GOLDEN_UPKEEP);
}

const GOLDEN: u32 = 2_827_462_849;
/// Type and header checksum of each frame; the header has the table's checksum, and that the blocks'. (A
/// checksum over the whole would be the same for all: a CRC behind what it is of leaves a constant.)
const GOLDEN_UPKEEP: [(u8, u32); 17] = [
    (2, 1997184590),
    (6, 746263398),
    (11, 1097688087),
    (12, 3640242071),
    (13, 275493347),
    (14, 361117392),
    (15, 979782075),
    (15, 2693964646),
    (16, 1692970177),
    (17, 951017792),
    (18, 1347386319),
    (19, 2492613839),
    (4, 2487570726),
    (5, 2147924798),
    (140, 1762422271),
    (141, 39185380),
    (146, 2779511177),
];

#[test]
fn a_frame_spelled_out() {
    let reply = ReplyBody::Volumes {
        volumes: vec![VolumeState { volume: VolumeId(2), fence: VolumeEpoch(3), deleted: true }],
        next: LIST_END,
    };
    let encoded = Reply { sequence: 77, body: reply }.encode();
    let mut table = vec![0xff; 8];
    table.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(encoded.head[HEADER_BYTES..], table);
    let request = upkeep()[4].encode();
    let table = [6, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 128, 0, 0, 0];
    assert_eq!(request.head[HEADER_BYTES..], table);
}

/// Rows 35 and 36 of what hostile peers try, as far as one frame shows it.
#[test]
fn truncated_oversized_and_impossible_upkeep_is_refused() {
    for encoded in encoded_upkeep() {
        let (header, payload) = split(&encoded);
        let refused = |header: &FrameHeader, payload: &Bytes| {
            Request::decode(header, payload).is_err() && Reply::decode(header, payload).is_err()
        };
        for len in [payload.len().saturating_sub(1), payload.len() / 2, payload.len() + 1] {
            let mut cut = payload.to_vec();
            cut.resize(len, 0);
            let is_whole = len == payload.len();
            assert!(is_whole || refused(&header, &cut.clone().into()), "{:?} of {len} bytes", header.kind);
            let mut told = header;
            told.payload_len = u32::try_from(len).unwrap();
            assert!(is_whole || refused(&told, &cut.into()), "{:?} told as {len} bytes", header.kind);
        }
        let mut flipped = payload.to_vec();
        if let Some(byte) = flipped.first_mut() {
            *byte ^= 1;
            assert!(refused(&header, &flipped.into()), "{:?} with a flipped bit", header.kind);
        }
    }
    let with_table = |kind, table: &[u8]| {
        let mut header = FrameHeader::new(kind, 1);
        header.payload_len = u32::try_from(table.len()).unwrap();
        header.table_crc = crc32(table);
        (header, Bytes::copy_from_slice(table))
    };
    let numbers = |group: u32, groups: u32| {
        [[0; 8], (u64::from(groups) << 32 | u64::from(group)).to_le_bytes()].concat()
    };
    for (group, groups) in [(128, 128), (0, 0), (0, MAX_GROUPS + 1)] {
        for (kind, from) in [(FrameType::Digests, 0), (FrameType::ClearGroup, 8)] {
            let (header, payload) = with_table(kind, &numbers(group, groups)[from..]);
            assert!(Request::decode(&header, &payload).is_err(), "{kind:?}: group {group} of {groups}");
        }
    }
    let (header, payload) = with_table(FrameType::AdoptGroup, &u64::from(MAX_GROUPS).to_le_bytes());
    assert!(Request::decode(&header, &payload).is_err());
    for kind in [FrameType::VolumesReply, FrameType::DigestsReply] {
        let (header, payload) = with_table(kind, &vec![0; 8 + 4097 * 16]);
        assert!(Reply::decode(&header, &payload).is_err(), "a page too long");
    }
    let mut open = split(&upkeep()[0].encode());
    open.0.flags = 3;
    assert!(Request::decode(&open.0, &open.1).is_err(), "reader and repairer in one");
}

#[test]
fn a_range_past_the_chunk_is_refused() {
    let mut header = split(&requests()[7].encode()).0;
    header.block_count = 5;
    assert!(Request::decode(&header, &Bytes::new()).is_err());
    header.block_count = 0;
    assert!(Request::decode(&header, &Bytes::new()).is_err());
}

proptest! {
    #[test]
    fn hostile_payloads_never_panic(kind in 0u8..=255, flags: u16, first: u16, count in 0u16..300,
                                    payload in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let Some(kind) = FrameType::from_u8(kind) else { return Ok(()) };
        let mut header = FrameHeader::new(kind, 1);
        header.flags = flags;
        header.first_block = first;
        header.block_count = count;
        header.payload_len = u32::try_from(payload.len()).unwrap();
        header.table_crc = crc32(&payload);
        let payload = Bytes::from(payload);
        let _ = Request::decode(&header, &payload);
        let _ = Reply::decode(&header, &payload);
    }
}
