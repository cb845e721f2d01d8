//! The store's hot pieces one by one, for the micro-benchmarks in `benches/`. Not for use.

use super::batch::{BatchBuilder, Data};
use super::chunk::Place;
use super::index::{Index, OnEqual, Written};
use bytes::Bytes;
use proto::checksum::crc32;
use proto::disk::batch::HEADER_BYTES;
use proto::disk::{BatchHeader, DataKind, DiskError, Entry};
use proto::message::BlockRange;
use proto::units::BLOCK_LEN;
use proto::{ChunkIndex, Version, VolumeId};
use rt::buf::Gather;

/// The index of a disk with one volume.
#[derive(Debug, Default)]
pub struct BenchIndex(Index);

impl BenchIndex {
    const VOLUME: VolumeId = VolumeId(1);

    /// One block was written.
    pub fn insert(&mut self, chunk: u32, block: u16, location: u32, version: u64) {
        self.insert_run(chunk, block, (location, version), &[0; 4]);
    }

    /// Neighbouring blocks were written, with these CRCs. A batch with nothing else has its header at `location`.
    pub fn insert_run(&mut self, chunk: u32, first: u16, (location, version): (u32, u64), crcs: &[u8]) {
        let data = Written { batch: location, location: location + 1, version: Version(version), crcs };
        self.0.apply_data((Self::VOLUME, ChunkIndex(chunk), first), OnEqual::Keep, &data, |_| {});
    }

    /// Where a block lies.
    pub fn lookup(&self, chunk: u32, block: u16) -> u32 {
        let Place { location, .. } = self.0.place(Self::VOLUME, ChunkIndex(chunk), block);
        location
    }

    pub fn memory_bytes(&self) -> u64 {
        self.0.memory_bytes()
    }
}

/// A batch of writes of one block each, laid out and checked as they go to the device: copied or, if all are aligned,
/// shared.
pub fn build_batch(blocks: &[(BlockRange, [u8; 4], Bytes)]) -> Gather {
    let entries = blocks.iter().map(|(range, crcs, _)| entry(*range, crcs).len_bytes()).sum();
    let data = Data::of(blocks.iter().map(|(_, _, data)| &data[..]));
    let mut builder = BatchBuilder::new(entries, blocks.len(), data);
    for (range, crcs, data) in blocks {
        builder.entry(&entry(*range, crcs));
        assert_eq!(crc32(data).to_le_bytes(), *crcs);
        builder.place(data.clone());
    }
    builder.finish(|header| header.sequence = 1)
}

fn entry(range: BlockRange, crcs: &[u8]) -> Entry<'_> {
    Entry::Data { kind: DataKind::Write, range, version: Version(1), crcs }
}

/// Reads a batch as recovery does: header, entries, and every block's checksum. Its data blocks.
pub fn parse_batch(bytes: &[u8]) -> Result<u32, DiskError> {
    let header = BatchHeader::decode(&bytes[..HEADER_BYTES])?;
    let (head, mut data) = bytes.split_at(usize::from(header.header_blocks) * BLOCK_LEN);
    for entry in proto::disk::batch::entries(header.check_entries(head)?) {
        let Entry::Data { crcs, .. } = entry? else { continue };
        for crc in crcs.chunks_exact(4) {
            let (block, rest) = data.split_at(BLOCK_LEN);
            if crc32(block).to_le_bytes() != crc {
                return Err(DiskError::BodyChecksum);
            }
            data = rest;
        }
    }
    Ok(header.data_blocks)
}
