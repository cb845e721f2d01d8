//! Frames, batches' entries and checksums by themselves: `cargo bench -p proto`.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use proto::checksum::{BlockCrcs, crc32};
use proto::disk::{DataKind, Entry};
use proto::frame::{FrameHeader, HEADER_BYTES};
use proto::ids::{ChunkIndex, GroupEpoch, Version, VolumeId};
use proto::message::{BlockRange, Request, RequestBody, WriteKind};
use proto::units::BLOCK_LEN;

fn main() {
    divan::main();
}

/// A write of so many blocks, with its checksums.
fn write(blocks: u16) -> Request {
    let data = Bytes::from(vec![7; usize::from(blocks) * BLOCK_LEN]);
    Request {
        sequence: 12_345,
        settled: Version(99),
        group_epoch: GroupEpoch(3),
        body: RequestBody::Write {
            range: BlockRange { volume: VolumeId(1), chunk: ChunkIndex(17), first: 5, count: blocks },
            version: Version(100),
            crcs: BlockCrcs::of(&data),
            data,
            kind: WriteKind::Normal,
        },
    }
}

#[divan::bench(args = [1, 32])]
fn frame_encode(bencher: Bencher<'_, '_>, blocks: u16) {
    let request = write(blocks);
    bencher.bench(|| black_box(&request).encode());
}

/// As a server does with what came from a socket: the header, then the payload's table. Data isn't looked at.
#[divan::bench(args = [1, 32])]
fn frame_decode(bencher: Bencher<'_, '_>, blocks: u16) {
    let encoded = write(blocks).encode();
    let header: [u8; HEADER_BYTES] = encoded.head[..HEADER_BYTES].try_into().unwrap();
    let payload: Bytes = [&encoded.head[HEADER_BYTES..], &encoded.data.concat()].concat().into();
    bencher.bench(|| {
        let header = FrameHeader::decode(black_box(&header)).unwrap();
        Request::decode(&header, black_box(&payload)).unwrap()
    });
}

#[divan::bench(args = [64, BLOCK_LEN, 1 << 20])]
fn crc32_of(bencher: Bencher<'_, '_>, len: usize) {
    let data = vec![7; len];
    bencher.counter(BytesCount::new(len)).bench(|| crc32(black_box(&data)));
}

/// One write's entry in a batch's header, and back.
#[divan::bench]
fn entry_encode_and_decode(bencher: Bencher<'_, '_>) {
    let range = BlockRange { volume: VolumeId(1), chunk: ChunkIndex(17), first: 5, count: 1 };
    let entry = Entry::Data { kind: DataKind::Write, range, version: Version(100), crcs: &[1, 2, 3, 4] };
    let mut out = [0; 64];
    bencher.bench_local(|| {
        let len = black_box(&entry).encode_to(&mut out);
        let read = proto::disk::batch::entries(black_box(&out[..len])).next().unwrap().unwrap();
        read.data_blocks()
    });
}
