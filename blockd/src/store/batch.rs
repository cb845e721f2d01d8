//! One batch's buffer: header and entries in front, data behind.

use proto::checksum::crc32;
use proto::disk::batch::HEADER_BYTES;
use proto::disk::{BatchHeader, Entry};
use proto::ids::DiskId;
use proto::units::BLOCK_LEN;
use rt::buf::AlignedBuf;

/// Fills a batch whose size was planned.
pub(super) struct BatchBuilder {
    buf: AlignedBuf,
    header_blocks: usize,
    entries: u32,
    entries_end: usize,
    data_end: usize,
}

impl BatchBuilder {
    pub fn new(entries_len: usize, data_blocks: usize) -> Self {
        let header_blocks = BatchHeader::blocks_for(entries_len);
        // `finish` sees to it that all of the data is written over.
        let mut buf = AlignedBuf::recycled((header_blocks + data_blocks) * BLOCK_LEN);
        buf[..header_blocks * BLOCK_LEN].fill(0);
        Self {
            buf,
            header_blocks,
            entries: 0,
            entries_end: HEADER_BYTES,
            data_end: header_blocks * BLOCK_LEN,
        }
    }

    pub fn header_blocks(&self) -> u32 {
        u32::try_from(self.header_blocks).expect("a batch has few header blocks")
    }

    pub fn entry(&mut self, entry: &Entry<'_>) {
        self.entries_end += entry.encode_to(&mut self.buf[self.entries_end..self.header_blocks * BLOCK_LEN]);
        self.entries += 1;
    }

    /// Copies one block in and returns the CRC of what was copied: it is hot in the cache just then, so
    /// memory is passed over once.
    pub fn copy_block(&mut self, block: &[u8]) -> u32 {
        let target = &mut self.buf[self.data_end..self.data_end + BLOCK_LEN];
        target.copy_from_slice(block);
        self.data_end += BLOCK_LEN;
        crc32(target)
    }

    /// Writes the header, with `place` saying whose and where the batch is.
    pub fn finish(mut self, place: impl FnOnce(&mut BatchHeader)) -> AlignedBuf {
        assert_eq!(self.data_end, self.buf.len(), "a batch holds exactly the data it was planned for");
        let entries_len = self.entries_end - HEADER_BYTES;
        let mut header = BatchHeader {
            disk: DiskId::default(),
            incarnation: 0,
            sequence: 0,
            segment_first: 0,
            flushed: 0,
            segment: 0,
            block: 0,
            header_blocks: u16::try_from(self.header_blocks).expect("a batch has few header blocks"),
            data_blocks: u32::try_from(self.data_end / BLOCK_LEN - self.header_blocks).expect("bounded"),
            entries: self.entries,
            entries_len: u32::try_from(entries_len).expect("bounded"),
            entries_crc: crc32(&self.buf[HEADER_BYTES..self.entries_end]),
        };
        assert_eq!(BatchHeader::blocks_for(entries_len), self.header_blocks, "the entries were planned");
        place(&mut header);
        header.encode_to(&mut self.buf);
        self.buf
    }
}
