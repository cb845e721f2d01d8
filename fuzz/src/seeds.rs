//! First inputs, made by the encoders themselves. Each is there twice: as it is, and with its checksums made
//! right again after a mutation.

use crate::raft::{FIRST_INDEX, SALT, segment_header};
use bytes::Bytes;
use proto::checksum::{BlockCrcs, crc32};
use proto::disk::batch::{self, DataKind, Entry};
use proto::disk::checkpoint::{
    self, CheckpointCommit, LogHead, PartHeader, PartKind, Record, Slot, put_chunk,
};
use proto::disk::{BatchHeader, CheckpointRoot, Life, Superblock};
use proto::ids::{
    ChunkId, ChunkIndex, ClientId, DiskId, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId,
};
use proto::message::{BlockRange, Encoded, LIST_END, OpenMode, Request, RequestBody, WriteKind};
use proto::reply::{
    BlockState, HelloReply, ListEntry, ListKind, OpenReply, ReadBlock, Reply, ReplyBody, VolumeState,
};
use proto::stat::{DiskStat, VolumeStat};
use proto::units::BLOCK_LEN;
use proto::{ErrorCode, WireError};

const VOLUME: VolumeId = VolumeId(7);
const CLIENT: ClientId = ClientId([1; 16]);
const DISK: DiskId = DiskId([2; 16]);
const VERSION: Version = Version(3 << 40 | 9);

fn range(count: u16) -> BlockRange {
    BlockRange { volume: VOLUME, chunk: ChunkIndex(5), first: 6, count }
}

fn both(bytes: Vec<u8>) -> [Vec<u8>; 2] {
    [0u8, 1].map(|mode| [&[mode], &bytes[..]].concat())
}

pub fn frames() -> Vec<Vec<u8>> {
    let data = Bytes::from((0..2 * BLOCK_LEN).map(|at| at.to_le_bytes()[0]).collect::<Vec<_>>());
    let crcs = BlockCrcs::of(&data);
    let requests = [
        RequestBody::Hello { token: [9; 32], client: CLIENT, disk: DISK },
        RequestBody::Open {
            volume: VOLUME,
            epoch: VolumeEpoch(3),
            client: CLIENT,
            mode: OpenMode::Writer,
            groups: 128,
        },
        RequestBody::List { volume: VOLUME, above: VERSION, cursor: 77 },
        RequestBody::Write {
            range: range(2),
            version: VERSION,
            crcs: crcs.clone(),
            data: data.clone(),
            kind: WriteKind::Repair,
        },
        RequestBody::Trim { range: range(900), version: VERSION, kind: WriteKind::Reconcile },
        RequestBody::Read { range: range(9), epoch: VolumeEpoch(3) },
        RequestBody::DeleteVolume { volume: VOLUME, epoch: VolumeEpoch(3) },
        RequestBody::VolumeStat { volume: VOLUME },
        RequestBody::DiskStat,
        RequestBody::Flush { volume: VOLUME, through: VERSION, stable: VERSION, whole: true },
        RequestBody::AdoptGroup { group: GroupId(6) },
        RequestBody::ClearGroup { group: GroupId(6), groups: 128 },
        RequestBody::Volumes { cursor: 5 },
        RequestBody::Digests { volume: VOLUME, group: GroupId(6), groups: 128, cursor: 5 },
        RequestBody::ListChunk { volume: VOLUME, chunk: ChunkIndex(5) },
        RequestBody::CopyIn {
            range: range(2),
            version: VERSION,
            expect: Some(VERSION),
            crcs,
            data: data.clone(),
        },
        RequestBody::CopyTrim { range: range(900), version: VERSION },
        RequestBody::Fence { volume: VOLUME, epoch: VolumeEpoch(3) },
        RequestBody::Verify { range: range(9) },
    ];
    let block = |state| ReadBlock { version: VERSION, crc: 5, state };
    let entry = |kind| ListEntry { chunk: ChunkIndex(1), first: 2, count: 3, version: VERSION, kind };
    let replies = [
        ReplyBody::Hello(HelloReply { disk: DISK, incarnation: 4, capacity_bytes: 1 << 30 }),
        ReplyBody::Open(OpenReply {
            volume: VOLUME,
            settled: VERSION,
            stable: VERSION,
            highest: VERSION,
            held_sequence: 8,
            fence: VolumeEpoch(3),
        }),
        ReplyBody::List { entries: vec![entry(ListKind::Data), entry(ListKind::Trimmed)], next_cursor: 9 },
        ReplyBody::Ack,
        ReplyBody::Read {
            range: range(4),
            blocks: [BlockState::Data, BlockState::Hole, BlockState::Trimmed, BlockState::Corrupt]
                .map(block)
                .to_vec(),
            data: vec![data.slice(..BLOCK_LEN)],
        },
        ReplyBody::VolumeStat(VolumeStat { live_blocks: 1, chunks: 2 }),
        ReplyBody::DiskStat(DiskStat::default()),
        ReplyBody::Volumes {
            volumes: vec![VolumeState { volume: VOLUME, fence: VolumeEpoch(3), deleted: true }],
            next: LIST_END,
        },
        ReplyBody::Digests { chunks: vec![(ChunkIndex(5), 0x1234), (ChunkIndex(9), 7)], next: 10 },
        ReplyBody::Verify {
            range: range(2),
            blocks: [BlockState::Data, BlockState::Corrupt].map(block).to_vec(),
        },
        ReplyBody::Error(WireError::new(ErrorCode::StaleGroupEpoch, "the group has moved on")),
    ];
    let bytes = |encoded: &Encoded| {
        let mut bytes = encoded.head.to_vec();
        encoded.data.iter().for_each(|data| bytes.extend_from_slice(data));
        bytes
    };
    let asked = requests.into_iter().map(|body| {
        bytes(&Request { sequence: 11, settled: VERSION, group_epoch: GroupEpoch(4), body }.encode())
    });
    let answered = replies.into_iter().map(|body| bytes(&Reply { sequence: 11, body }.encode()));
    asked.chain(answered).flat_map(both).collect()
}

pub fn batches() -> Vec<Vec<u8>> {
    let crcs = [1, 2, 3, 4, 5, 6, 7, 8];
    let data = |kind| Entry::Data { kind, range: range(2), version: VERSION, crcs: &crcs };
    let all = [
        data(DataKind::Write),
        data(DataKind::Repair),
        data(DataKind::Move),
        Entry::Trim { range: range(1000), version: VERSION },
        Entry::Lost { range: range(1), version: VERSION },
        Entry::Fence { volume: VOLUME, epoch: VolumeEpoch(3) },
        Entry::Delete { volume: VOLUME },
        Entry::Horizon { volume: VOLUME, settled: VERSION, stable: Version(5), whole: true },
        Entry::Session { client: CLIENT, sequence: 12 },
        Entry::Group { group: GroupId(6), epoch: GroupEpoch(7) },
        Entry::Clear { group: GroupId(6), groups: 128, epoch: GroupEpoch(8) },
    ];
    let batch = |entries: &[Entry<'_>]| {
        let mut bytes = Vec::new();
        for entry in entries {
            let at = bytes.len();
            bytes.resize(at + entry.len_bytes(), 0);
            entry.encode_to(&mut bytes[at..]);
        }
        let header = BatchHeader {
            disk: DISK,
            incarnation: 3,
            sequence: 40,
            segment_first: 38,
            flushed: 39,
            segment: 2,
            block: 17,
            header_blocks: u16::try_from(BatchHeader::blocks_for(bytes.len())).expect("a block or two"),
            data_blocks: entries.iter().map(Entry::data_blocks).sum(),
            entries: u32::try_from(entries.len()).expect("a few"),
            entries_len: u32::try_from(bytes.len()).expect("a few"),
            entries_crc: crc32(&bytes),
        };
        let mut out = vec![0; batch::HEADER_BYTES];
        header.encode_to(&mut out);
        out.extend_from_slice(&bytes);
        let mut whole = out.clone();
        whole.resize(usize::from(header.header_blocks) * BLOCK_LEN, 0);
        // The first whole, the second for checksums to be made right, which pads by itself.
        [[&[0], &whole[..]].concat(), [&[1], &out[..]].concat()]
    };
    let mut seeds: Vec<Vec<u8>> = all.iter().flat_map(|entry| batch(&[*entry])).collect();
    seeds.extend(batch(&all));
    seeds
}

pub fn checkpoints() -> Vec<Vec<u8>> {
    let chunk = ChunkId { volume: VOLUME, index: ChunkIndex(5) };
    let slot = |location| Slot { location, crc: 6, version: VERSION };
    let mut records = Vec::new();
    let slots = [(0, slot(300)), (1, slot(301)), (9, slot(Slot::TRIMMED)), (1023, slot(Slot::LOST))];
    put_chunk(&mut records, chunk, Version(4), slots.into_iter());
    Record::Volume {
        volume: VOLUME,
        deleted: false,
        fence: VolumeEpoch(3),
        settled: VERSION,
        stable: Version(2),
        whole: true,
        highest: VERSION,
    }
    .encode_to(&mut records);
    Record::Session { client: CLIENT, sequence: 5, batch: 6 }.encode_to(&mut records);
    let commit = CheckpointCommit {
        replay_from: 30,
        next_sequence: 40,
        parts: 3,
        heads: vec![LogHead { segment: 2, block: 17, segment_first: 38 }],
        segments: vec![(9, 2), (10, 1)],
    };
    let part = |kind, payload: &[u8]| {
        let header = PartHeader {
            kind,
            part: 1,
            disk: DISK,
            checkpoint: 8,
            segment: 9,
            block: 1,
            payload_len: u32::try_from(payload.len()).expect("a few"),
            payload_crc: crc32(payload),
        };
        let mut out = vec![0; checkpoint::HEADER_BYTES];
        header.encode_to(&mut out);
        out.extend_from_slice(payload);
        let mut whole = out.clone();
        whole.resize(header.blocks() * BLOCK_LEN, 0);
        [[&[0], &whole[..]].concat(), [&[1], &out[..]].concat()]
    };
    part(PartKind::Records, &records).into_iter().chain(part(PartKind::Commit, &commit.encode())).collect()
}

pub fn superblocks() -> Vec<Vec<u8>> {
    let root = |id| CheckpointRoot { id, replay_from: 30, next_sequence: 40, segment: 9, block: 3 };
    let superblock = Superblock {
        disk: DISK,
        generation: 12,
        segment_blocks: 256,
        segments: 64,
        first_block: 256,
        checkpoint: Some(root(8)),
        previous: Some(root(7)),
        lives: vec![Life { incarnation: 2, first_sequence: 31 }, Life { incarnation: 3, first_sequence: 38 }],
    };
    let fresh = Superblock { checkpoint: None, previous: None, lives: Vec::new(), ..superblock.clone() };
    [superblock, fresh].into_iter().flat_map(|superblock| both(superblock.encode().to_vec())).collect()
}

/// Bodies of log records in postcard, as the log's own tests have them: blank, commands, a membership.
fn bodies() -> Vec<Vec<u8>> {
    vec![
        vec![0],
        // Normal, one command, DeleteVolume, "v1".
        vec![1, 1, 4, 2, b'v', b'1'],
        // Normal: OpenVolume 7, CreateVolume "v" of 1 MiB.
        vec![1, 2, 6, 7, 3, 1, b'v', 0x80, 0x80, 0x40, 5],
        // Normal, CreateBucket "b" of "o".
        vec![1, 1, 14, 1, b'b', 1, b'o', 9],
        // Membership: one config of voter 1, one node.
        vec![2, 1, 1, 1, 1, 1, 1, b'a'],
    ]
}

fn record(index: u64, body: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend_from_slice(b"ALR1");
    header.extend_from_slice(&u32::try_from(body.len()).expect("a few").to_le_bytes());
    for number in [index, 5, 3, index, index - 1] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    header.extend_from_slice(&crc32(body).to_le_bytes());
    let salted = [&header[..], &SALT.to_le_bytes()].concat();
    header.extend_from_slice(&crc32(&salted).to_le_bytes());
    [header, body.to_vec()].concat()
}

pub fn raft_records() -> Vec<Vec<u8>> {
    bodies().iter().flat_map(|body| both(record(FIRST_INDEX, body))).collect()
}

pub fn raft_segments() -> Vec<Vec<u8>> {
    let mut plain = vec![0];
    plain.extend(segment_header());
    let mut script = vec![1];
    for (step, body) in (0u8..).zip(bodies()) {
        plain.extend(record(FIRST_INDEX + u64::from(step), &body));
        script.extend([7, 0x12, u8::try_from(body.len()).expect("a few")]);
        script.extend(&body);
        let torn = [&script[..], &[1, 0x10, 2, 1, 0]].concat();
        script.extend([step, 0x10, 1, 9]);
        if step == 3 {
            script = torn;
        }
    }
    let whole = plain.clone();
    plain.resize(plain.len() + 5000, 0);
    let half = whole[..whole.len() - 7].to_vec();
    vec![whole, plain, half, script]
}

pub fn raft_snapshots() -> Vec<Vec<u8>> {
    let block = |number: u32, payload: &[u8]| {
        let mut out = u32::try_from(payload.len()).expect("a few").to_le_bytes().to_vec();
        out.extend(crc32(&[&number.to_le_bytes(), payload].concat()).to_le_bytes());
        out.extend_from_slice(payload);
        out
    };
    // The log id 5-3-300, no membership, the id "300".
    let id = [1, 5, 3, 0xac, 2, 0, 0, 0, 3, b'3', b'0', b'0'];
    let mut out = b"ASHMSNP1".to_vec();
    for number in [meta::limits::FORMAT_VERSION, 12, crc32(&id)] {
        out.extend(number.to_le_bytes());
    }
    out.extend(id);
    out.extend(block(0, &[1, 0, 0, 0, 1, 0, 0, 0, b'a', b'1', 1, 0, 0, 0, 0, 0, 0, 0, b'b']));
    out.extend(block(1, &[1, 0, 0, 0, 3, 0, 0, 0, b'c', b'3', b'3', b'3']));
    let mut end = block(2, &3u64.to_le_bytes());
    end[..4].fill(0);
    out.extend(end);
    both(out).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds that their reader refuses would start every mutation outside the format.
    #[test]
    fn seeds_are_what_they_claim() {
        for seed in raft_records() {
            assert!(meta::fuzz::log_record(&seed[1..], SALT), "{seed:?}");
        }
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x");
        std::fs::write(&path, &raft_snapshots()[0][1..]).expect("a file");
        assert_eq!(meta::fuzz::snapshot(&path).expect("a snapshot"), 3);
        std::fs::write(&path, &raft_segments()[0][1..]).expect("a file");
        assert_eq!(meta::fuzz::log_segment(&path, FIRST_INDEX).expect("a segment"), 5);
        for seed in batches().iter().filter(|seed| seed[0] == 0) {
            let header = BatchHeader::decode(&seed[1..]).expect("a header");
            header.check_entries(&seed[1..]).expect("entries");
        }
        for seed in checkpoints().iter().filter(|seed| seed[0] == 0) {
            let header = PartHeader::decode(&seed[1..]).expect("a header");
            header.check_payload(&seed[1..]).expect("a payload");
        }
        for seed in superblocks() {
            let block = seed[1..].try_into().expect("a block");
            Superblock::decode(block).expect("a superblock");
        }
    }
}
