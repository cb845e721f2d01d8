//! The chunk store's batches and index by themselves: `cargo bench -p blockd`.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use blockd::store::micro::{BenchIndex, build_batch, parse_batch};
use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use proto::checksum::crc32;
use proto::message::BlockRange;
use proto::units::{BLOCK_LEN, BLOCKS_PER_CHUNK};
use proto::{ChunkIndex, VolumeId};
use rt::buf::AlignedBuf;

/// 4 GiB: its slots take 16 MiB, more than the caches hold.
const BLOCKS: u32 = 1 << 20;

/// 128 KiB.
const RUN_BLOCKS: u32 = 32;

fn main() {
    divan::main();
}

/// Writes of one block each, all over a volume.
fn writes(count: u32, data: &Bytes) -> Vec<(BlockRange, [u8; 4], Bytes)> {
    let crc = crc32(data).to_le_bytes();
    let range = |at: u32| {
        let (chunk, first) = place(scattered(at));
        BlockRange { volume: VolumeId(1), chunk: ChunkIndex(chunk), first, count: 1 }
    };
    (0..count).map(|at| (range(at), crc, data.clone())).collect()
}

/// Another block for each number, in no order that a cache could follow.
fn scattered(at: u32) -> u32 {
    at.wrapping_mul(0x9e37_79b1) & (BLOCKS - 1)
}

fn place(block: u32) -> (u32, u16) {
    (block / BLOCKS_PER_CHUNK, (block % BLOCKS_PER_CHUNK) as u16)
}

/// With the copies of the blocks and their checksums: as they come over a socket.
#[divan::bench(args = [1, 16, 64])]
fn batch_build_copied(bencher: Bencher<'_, '_>, count: u32) {
    // One byte off, so that no part of it is aligned.
    let writes = writes(count, &AlignedBuf::zeroed(2 * BLOCK_LEN).freeze().slice(1..=BLOCK_LEN));
    bencher.counter(BytesCount::new(count as usize * BLOCK_LEN)).bench(|| build_batch(black_box(&writes)));
}

/// With the checksums and without copies: as they come from a device of the same process.
#[divan::bench(args = [1, 16, 64])]
fn batch_build_shared(bencher: Bencher<'_, '_>, count: u32) {
    let writes = writes(count, &AlignedBuf::zeroed(BLOCK_LEN).freeze());
    bencher.counter(BytesCount::new(count as usize * BLOCK_LEN)).bench(|| build_batch(black_box(&writes)));
}

#[divan::bench(args = [1, 16, 64])]
fn batch_parse(bencher: Bencher<'_, '_>, count: u32) {
    let batch = build_batch(&writes(count, &AlignedBuf::zeroed(BLOCK_LEN).freeze())).to_vec();
    bencher.counter(BytesCount::new(batch.len())).bench(|| parse_batch(black_box(&batch)).unwrap());
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Sequential,
    Random,
}

impl Order {
    fn block(self, at: u32) -> u32 {
        match self {
            Order::Sequential => at & (BLOCKS - 1),
            Order::Random => scattered(at),
        }
    }
}

fn full() -> BenchIndex {
    let mut index = BenchIndex::default();
    for block in 0..BLOCKS {
        let (chunk, at) = place(block);
        index.insert(chunk, at, block + 1, 1);
    }
    index
}

/// A volume written in runs of 128 KiB, one to a batch.
fn full_of_runs() -> BenchIndex {
    let mut index = BenchIndex::default();
    for block in (0..BLOCKS).step_by(RUN_BLOCKS as usize) {
        write_run(&mut index, block, block + 1, 1);
    }
    index
}

fn write_run(index: &mut BenchIndex, block: u32, location: u32, version: u64) {
    let (chunk, at) = place(block);
    index.insert_run(chunk, at, (location, version), &[7; RUN_BLOCKS as usize * 4]);
}

fn insert(bencher: Bencher<'_, '_>, mut index: BenchIndex, order: Order) {
    let mut at = 0;
    bencher.bench_local(|| {
        at += 1;
        let (chunk, block) = place(order.block(at));
        index.insert(chunk, block, at, u64::from(at) + 1);
    });
}

fn lookup(bencher: Bencher<'_, '_>, index: &BenchIndex, order: Order) {
    let mut at = 0;
    bencher.bench_local(|| {
        at += 1;
        let (chunk, block) = place(order.block(at));
        index.lookup(chunk, block)
    });
}

/// Into an index that is full already, as in a volume that has been in use.
#[divan::bench(args = [Order::Sequential, Order::Random])]
fn index_insert(bencher: Bencher<'_, '_>, order: Order) {
    insert(bencher, full(), order);
}

#[divan::bench(args = [Order::Sequential, Order::Random])]
fn index_lookup(bencher: Bencher<'_, '_>, order: Order) {
    lookup(bencher, &full(), order);
}

/// A run in the place of a run, all over the volume.
#[divan::bench]
fn index_insert_run(bencher: Bencher<'_, '_>) {
    let mut index = full_of_runs();
    let mut at = 0;
    bencher.bench_local(|| {
        at += 1;
        write_run(&mut index, scattered(at) / RUN_BLOCKS * RUN_BLOCKS, at, u64::from(at) + 1);
    });
}

/// Single blocks all over a volume that was written in runs: at first they make slots, then they find them.
#[divan::bench]
fn index_insert_into_runs(bencher: Bencher<'_, '_>) {
    insert(bencher, full_of_runs(), Order::Random);
}

#[divan::bench(args = [Order::Sequential, Order::Random])]
fn index_lookup_in_runs(bencher: Bencher<'_, '_>, order: Order) {
    lookup(bencher, &full_of_runs(), order);
}
