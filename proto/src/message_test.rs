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
        RequestBody::Write { range: range(), version: Version(8), crcs, data, repair: true },
        RequestBody::Trim { range: range(), version: Version(8) },
        RequestBody::Flush { volume, through: Version(8), stable: Version(7) },
        RequestBody::Read { range: range(), epoch },
        RequestBody::DeleteVolume { volume, epoch },
        RequestBody::VolumeStat { volume },
        RequestBody::DiskStat,
    ]
    .into_iter()
    .map(request)
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
    for request in requests() {
        let (header, payload) = split(&request.encode());
        assert_eq!(Request::decode(&header, &payload), Ok(request));
    }
}

#[test]
fn replies_round_trip() {
    for reply in replies() {
        let (header, payload) = split(&reply.encode());
        assert_eq!(Reply::decode(&header, &payload), Ok(reply));
    }
}

#[test]
fn golden_frames() {
    let all = requests().iter().map(Request::encode).chain(replies().iter().map(Reply::encode)).fold(
        0u32,
        |crc, encoded| {
            let mut hasher = crc32fast::Hasher::new_with_initial(crc);
            hasher.update(&encoded.head);
            encoded.data.iter().for_each(|data| hasher.update(data));
            hasher.finalize()
        },
    );
    assert_eq!(all, GOLDEN, "a frame's bytes changed: that is a new wire version, not an edit");
}

const GOLDEN: u32 = 2_827_462_849;

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
